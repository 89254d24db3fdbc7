"""A factor generator of parts that are separate by construction."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.dense import parameters_of, two_layers
from iedr_geo.nn.generator.factors import FactorGenerator, Factors, Folded
from iedr_geo.nn.generator.residual import hidden_of_sums


class SeparateGenerator(FactorGenerator):
    r"""A factor generator whose intrinsic factors know no context (not in the paper).

    .. math::
        \mathbf{o}_{in} &= \mathbf{u}' + \mathrm{MLP}_1(\mathbf{u}') \\
        \mathbf{o}_{ex} &= \mathbf{c}' + \mathrm{MLP}_2([\mathbf{u} \odot \mathbf{c},
        \mathbf{u}', \mathbf{c}'])

    Args:
        channels (int): Size of the readouts and of each factor.
        hidden_channels (int, optional): Size of both hidden layers.
            (default: :obj:`128`)

    Shapes: see :class:`ResidualGenerator`.
    """

    second_embeddings = True
    context_free_intrinsic = True

    def __init__(self, channels: int, hidden_channels: int = 128) -> None:
        super().__init__(channels)
        self.intrinsic_mlp = MLP([channels, hidden_channels, channels], norm=None)
        self.extrinsic_mlp = MLP([3 * channels, hidden_channels, channels], norm=None)

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts."""
        readout, sums = entity.chunk(2, dim=-1)
        of_context, sums_of_context = context.chunk(2, dim=-1)
        product = readout * of_context
        sides = (side.expand_as(product) for side in (sums, sums_of_context))
        x = torch.cat([product, *sides], dim=-1)
        extrinsic = two_layers(x, *parameters_of(self.extrinsic_mlp)) + sums_of_context
        return Factors(self.intrinsic(entity, context), extrinsic)

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone, which are the same in every context."""
        shape = torch.broadcast_shapes(entity.shape, context.shape)
        sums = entity[..., self.channels :]
        out = sums + two_layers(sums, *parameters_of(self.intrinsic_mlp))
        return out.expand(*shape[:-1], self.channels)

    def hidden(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the hidden layer of the extrinsic factors; see
        :meth:`ResidualGenerator.hidden`.
        """
        return hidden_of_sums(self.extrinsic_mlp, context)

    def fold(self, vectors: Factors, context: Tensor) -> Folded:
        """Folds vectors into the last layer of the extrinsic factors; see
        :meth:`MLPGenerator.fold`.
        """
        _, _, weight, bias = parameters_of(self.extrinsic_mlp)
        of_context = (vectors.extrinsic * context[..., self.channels :]).sum(dim=-1)
        constant = vectors.extrinsic @ bias + of_context
        return Folded(vectors.extrinsic @ weight, None, constant)
