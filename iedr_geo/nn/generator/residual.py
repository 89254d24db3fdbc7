"""A factor generator that is added to sums of second embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.generator.factors import FactorGenerator, Factors, Folded
from iedr_geo.nn.generator.mlp import MLPGenerator


class ResidualGenerator(MLPGenerator):
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

    further_embeddings = 1

    def __init__(self, channels: int, hidden_channels: int = 128) -> None:
        FactorGenerator.__init__(self, channels)
        self.combine = 'residual'
        self.mlp = MLP([3 * channels, hidden_channels, 2 * channels], norm=None)

    def _added(self, out: Tensor, readout: Tensor) -> Tensor:
        return out + readout[..., self.channels :]

    def hidden(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the hidden layer: :meth:`MLPGenerator.hidden`."""
        first = self.mlp.lins[0]
        of_product, _, of_contexts = first.weight.chunk(3, dim=1)
        readout, sums = context.chunk(2, dim=-1)
        bias = first.bias + sums @ of_contexts.t()
        return of_product * readout.unsqueeze(1), bias

    def stable_hidden(self, entity: Tensor) -> Tensor:
        """Returns what sums add to the hidden layer in every context."""
        of_sums = self.mlp.lins[0].weight.chunk(3, dim=1)[1]
        return entity[..., self.channels :] @ of_sums.t()

    def fold(self, vectors: Factors, context: Tensor) -> Folded:
        """Folds vectors into the last layer; see :meth:`MLPGenerator.fold`."""
        weight, _, constant = super().fold(vectors, context)
        intrinsic, extrinsic = vectors
        constant = constant + (extrinsic * context[..., self.channels :]).sum(dim=-1)
        direct = torch.cat([torch.zeros_like(intrinsic), intrinsic], dim=-1)
        return Folded(weight, direct, constant)

    __repr__ = FactorGenerator.__repr__
