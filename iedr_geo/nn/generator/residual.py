"""A factor generator that is added to sums of second embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.dense import parameters_of, two_layers
from iedr_geo.nn.generator.factors import FactorGenerator, Factors, Folded
from iedr_geo.nn.generator.mlp import fold_last
from iedr_geo.nn.loss.fused_contrastive import Layers, combined


class ResidualGenerator(FactorGenerator):
    r"""A factor generator that is added to sums of second embeddings (not in the paper).

    .. math::
        [\mathbf{o}_{in}, \mathbf{o}_{ex}] = [\mathbf{u}', \mathbf{c}'] +
        \mathrm{MLP}([\mathbf{u} \odot \mathbf{c}, \mathbf{u}', \mathbf{c}'])

    Args:
        channels (int): Size of the readouts and of each factor.
        hidden_channels (int, optional): Size of the hidden layer.
            (default: :obj:`128`)

    Shapes:
        - **input:** readouts and sums of second embeddings :math:`[\mathbf{u},
          \mathbf{u}']`, :math:`(*, 2F)`, the same of contexts, which broadcast
        - **output:** :class:`Factors`, each :math:`(*, F)`
    """

    second_embeddings = True

    def __init__(self, channels: int, hidden_channels: int = 128) -> None:
        super().__init__(channels)
        self.mlp = MLP([3 * channels, hidden_channels, 2 * channels], norm=None)

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts."""
        x = combined(entity, context, 'residual')
        intrinsic, extrinsic = two_layers(x, *parameters_of(self.mlp)).chunk(2, dim=-1)
        return Factors(
            intrinsic + entity[..., self.channels :],
            extrinsic + context[..., self.channels :],
        )

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone, at two thirds of the cost."""
        *layers, operation = self.intrinsic_layers()
        out = two_layers(combined(entity, context, operation), *layers)
        return out + entity[..., self.channels :]

    def intrinsic_layers(self) -> Layers:
        """Returns the two layers of the intrinsic factors."""
        hidden, last = self.mlp.lins
        size = self.channels
        return Layers(
            hidden.weight, hidden.bias, last.weight[:size], last.bias[:size], 'residual'
        )

    def hidden(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the hidden layer; see :meth:`MLPGenerator.hidden`.

        The weights are of readouts and sums side by side, :math:`(C, H, 2F)`.
        """
        first = self.mlp.lins[0]
        of_product, of_sums, of_contexts = first.weight.chunk(3, dim=1)
        readout, sums = context.chunk(2, dim=-1)
        weight = of_product * readout.unsqueeze(1)
        weight = torch.cat([weight, of_sums.expand_as(weight)], dim=-1)
        return weight, first.bias + sums @ of_contexts.t()

    def fold(self, vector: Tensor, context: Tensor) -> Folded:
        """Folds vectors into the last layer; see :meth:`MLPGenerator.fold`."""
        last = self.mlp.lins[1]
        weight, _, constant = fold_last(vector, last.weight, last.bias)
        constant = constant + (vector * context[..., self.channels :]).sum(dim=-1)
        direct = torch.cat([torch.zeros_like(vector), vector], dim=-1)
        return Folded(weight, direct, constant)
