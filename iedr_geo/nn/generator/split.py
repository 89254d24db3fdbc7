"""A factor generator of two networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.dense import parameters_of, two_layers
from iedr_geo.nn.generator.factors import FactorGenerator, Factors, Folded
from iedr_geo.nn.generator.mlp import check_combine, hidden_in_contexts
from iedr_geo.nn.loss.fused_contrastive import combined


class SplitGenerator(FactorGenerator):
    r"""A factor generator of two networks, one of which sees no context (*IEDR*\
    :sub:`sp`, Section 7.4 of `Su et al. <https://doi.org/10.1145/3722553>`_).

    .. math::
        \mathbf{o}_{in} = \mathrm{MLP}_1(\mathbf{u}), \qquad
        \mathbf{o}_{ex} = \mathrm{MLP}_2(\mathbf{u} \circ \mathbf{c})

    Args:
        channels (int): Size of the readouts and of each factor.
        hidden_channels (int, optional): Size of both hidden layers.
            (default: :obj:`128`)
        combine (str, optional): As in :class:`MLPGenerator`. (default: :obj:`"product"`)

    Shapes: see :class:`MLPGenerator`.
    """

    context_free_intrinsic = True

    def __init__(
        self, channels: int, hidden_channels: int = 128, combine: str = 'product'
    ) -> None:
        super().__init__(channels)
        check_combine(combine)
        self.combine = combine
        sizes = [channels, hidden_channels, channels]
        self.intrinsic_mlp = MLP(sizes, norm=None)
        self.extrinsic_mlp = MLP(sizes, norm=None)

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts."""
        x = combined(entity, context, self.combine)
        extrinsic = two_layers(x, *parameters_of(self.extrinsic_mlp))
        return Factors(self.intrinsic(entity, context), extrinsic)

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone, which are the same in every context."""
        shape = torch.broadcast_shapes(entity.shape, context.shape)
        return two_layers(entity, *parameters_of(self.intrinsic_mlp)).expand(shape)

    def hidden(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the hidden layer of the extrinsic factors; see
        :meth:`MLPGenerator.hidden`.
        """
        weight, bias, _, _ = parameters_of(self.extrinsic_mlp)
        return hidden_in_contexts(weight, bias, context, self.combine)

    def fold(self, vectors: Factors, context: Tensor) -> Folded:
        """Folds vectors into the last layer of the extrinsic factors; see
        :meth:`MLPGenerator.fold`.
        """
        _, _, weight, bias = parameters_of(self.extrinsic_mlp)
        return Folded(vectors.extrinsic @ weight, None, vectors.extrinsic @ bias)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.channels}, combine={self.combine!r})'
