"""Encoders that look at the mean of a graph's features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP
from torch_geometric.utils import segment


def mean_readout(x: Tensor, ptr: Tensor | None = None) -> Tensor:
    """Takes the mean over each graph's nodes.

    Args:
        x: Node features, of shape :math:`(N, F)`.
        ptr: Where each graph's nodes begin, and the last ends, of shape
            :math:`(G + 1)`. :obj:`None` for a single graph.
    """
    if ptr is None:
        return x.mean(dim=0, keepdim=True)
    return segment(x, ptr, reduce='mean')


class MeanEncoder(torch.nn.Module):
    r"""The mean of the node features (*AVG* in Table 10 of the IEDR paper).

    .. math::
        \mathbf{u} = \frac{1}{n} \sum_i \mathbf{z}_i

    Interchangeable with :class:`SIGN`; the edges play no part.
    """

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None = None,
        ptr: Tensor | None = None,
        edge_weight: Tensor | None = None,
        node_id: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Returns the readout of each graph, or of each row."""
        out = self._of_mean(mean_readout(x, ptr))
        return out if rows is None else out[rows]

    def _of_mean(self, mean: Tensor) -> Tensor:
        """Returns readouts, given the means that they are made of."""
        return mean


class MLPEncoder(MeanEncoder):
    r"""An MLP of the mean of the node features (*MLP* in Table 10 of the IEDR paper).

    .. math::
        \mathbf{u} = \mathrm{MLP}\left( \frac{1}{n} \sum_i \mathbf{z}_i \right)

    Interchangeable with :class:`SIGN`; the edges play no part.

    Args:
        in_channels (int): Size of the node features.
        hidden_channels (int, optional): Size of the hidden layer.
            (default: :obj:`128`)
        out_channels (int, optional): Size of the readouts.
            (default: :obj:`in_channels`)
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 128,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.mlp = MLP(
            [in_channels, hidden_channels, out_channels or in_channels], norm=None
        )

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        self.mlp.reset_parameters()

    def _of_mean(self, mean: Tensor) -> Tensor:
        out: Tensor = self.mlp(mean)
        return out
