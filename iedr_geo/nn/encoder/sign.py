"""SIGN as a graph encoder, and its variant without a network."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.conv.feature_pairs import FeaturePairs
from iedr_geo.nn.conv.sign_conv import SIGNConv
from iedr_geo.nn.encoder.mean import mean_readout


class SIGN(torch.nn.Module):
    r"""The Statistical Interaction Graph Network from the `"Detecting Beneficial Feature
    Interactions for Recommender Systems" <https://arxiv.org/abs/2008.00404>`_ paper, as
    the encoder of IEDR (Section 3.1 of `Su et al.
    <https://doi.org/10.1145/3722553>`_).

    .. math::
        \mathbf{u} = \frac{1}{n} \sum_i \frac{1}{|\mathcal{N}(i)|}
        \sum_{j \in \mathcal{N}(i)} e_{ij} \,
        \mathrm{MLP}(\mathbf{z}_i \odot \mathbf{z}_j)

    Given :obj:`node_id`, each message is evaluated once for every distinct pair of
    features in place of once for every edge, with the same result.

    Args:
        in_channels (int): Size of the node features.
        hidden_channels (int, optional): Size of the MLP's hidden layer.
            (default: :obj:`128`)
        out_channels (int, optional): Size of the readouts.
            (default: :obj:`in_channels`)
        dropout (float, optional): The probability with which an entry of a message is
            zeroed during training. (default: :obj:`0.0`)

    Shapes:
        - **input:** node features :math:`(N, F_{in})`, edge indices :math:`(2, E)`,
          the graphs' node pointers :math:`(G + 1)` *(optional, for a single graph)*,
          edge weights :math:`(E)` *(optional)*, node numbers :math:`(N)`, equal only
          where the features are *(optional)*, the graph of each row :math:`(B)`
          *(optional)*
        - **output:** readouts :math:`(G, F_{out})`, or :math:`(B, F_{out})` given rows
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 128,
        out_channels: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv = SIGNConv(
            MLP([in_channels, hidden_channels, out_channels or in_channels], norm=None),
            dropout=dropout,
        )

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        self.conv.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        ptr: Tensor | None = None,
        edge_weight: Tensor | None = None,
        node_id: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Returns the readout of each graph, or of each row.

        Args:
            x: Node features.
            edge_index: Edge indices.
            ptr: The graphs' node pointers (default: a single graph).
            edge_weight: Edge weights (default: one).
            node_id: Node numbers, equal only where the features are (default: every
                edge is evaluated).
            rows: The graph of each row (default: readouts of graphs).
        """
        dropout = self.conv.dropout if self.training else 0.0
        learned = edge_weight is not None and edge_weight.requires_grad
        if node_id is None or learned:
            if rows is not None and dropout > 0:
                raise ValueError(
                    'Rows that share a graph cannot drop messages out on their own '
                    'without `node_id` or with learned edge weights: give every row '
                    'a graph of its own'
                )
            out = mean_readout(self.conv(x, edge_index, edge_weight), ptr)
            return out if rows is None else out[rows]
        if ptr is None:
            ptr = torch.tensor([0, x.size(0)], device=x.device)
        pairs = FeaturePairs.of_edges(node_id, edge_index, ptr, edge_weight)
        message = self.conv.nn(x[pairs.left] * x[pairs.right])
        if dropout > 0:
            if rows is None:
                rows = torch.arange(ptr.numel() - 1, device=x.device)
            return pairs.dropout_mean(message, rows, dropout)
        out = pairs.mean(message)
        return out if rows is None else out[rows]


class BiInteractionEncoder(SIGN):
    r"""The mean product of the features of each edge (*BI* in Table 10 of the IEDR
    paper), after the Bi-interaction layer of the `"Neural Factorization Machines for
    Sparse Predictive Analytics" <https://arxiv.org/abs/1708.05027>`_ paper.

    .. math::
        \mathbf{u} = \frac{1}{n} \sum_i \frac{1}{|\mathcal{N}(i)|}
        \sum_{j \in \mathcal{N}(i)} e_{ij} \, \mathbf{z}_i \odot \mathbf{z}_j

    .. note::
        Table 10 takes the mean over all pairs of features, each with itself included. On
        complete graphs that is the square of the mean of the features.

    Args:
        dropout (float, optional): As in :class:`SIGN`. (default: :obj:`0.0`)

    Shapes: see :class:`SIGN`.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        torch.nn.Module.__init__(self)
        self.conv = SIGNConv(torch.nn.Identity(), dropout=dropout)
