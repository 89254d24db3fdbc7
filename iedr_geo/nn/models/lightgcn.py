"""LightGCN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.utils.sparse import index2ptr, ptr2index

from iedr_geo.nn.models.bipartite import Vectors
from iedr_geo.nn.models.mf import MF
from iedr_geo.nn.sparse import Compressed, layer_sum, sparse_product

if TYPE_CHECKING:
    from typing_extensions import Self

    from iedr_geo.data import BipartiteGraph


class LightGCN(MF):
    r"""The LightGCN model from the `"LightGCN: Simplifying and Powering Graph Convolution
    Network for Recommendation" <https://arxiv.org/abs/2002.02126>`_ paper.

    .. math::
        \mathbf{x}_i = \frac{1}{L + 1} \sum_{l=0}^{L} \mathbf{x}^{(l)}_i, \qquad
        \mathbf{x}^{(l+1)}_i = \sum_{j \in \mathcal{N}(i)}
        \frac{1}{\sqrt{\deg(i) \deg(j)}} \mathbf{x}^{(l)}_j.

    It computes what :class:`torch_geometric.nn.LightGCN` computes. The adjacency is
    normalised once, and as it is symmetric, its product with the gradient is that of the
    forward pass. Without layers, the model is :class:`MF`.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        edge_index (torch.Tensor): The edges in both directions, sorted by row, with items
            numbered after users, as :meth:`BipartiteGraph.adjacency` gives them.
        edge_weight (torch.Tensor): Their normalised weights.
        channels (int, optional): Size of the vectors. (default: :obj:`128`)
        num_layers (int, optional): The number of layers :math:`L`. (default: :obj:`2`)
        dropout (float, optional): Probability of zeroing an entry after each layer, as
            the authors of DICE do. (default: :obj:`0`)
        **kwargs (optional): Further arguments of :class:`MF`.

    Raises:
        ValueError: If the edges are not sorted by row or not symmetric.
    """

    arguments = (*MF.arguments, 'num_layers', 'dropout')
    ptr: Tensor
    column: Tensor
    weight: Tensor

    def __init__(
        self,
        num_users: int,
        num_items: int,
        edge_index: Tensor,
        edge_weight: Tensor,
        channels: int = 128,
        num_layers: int = 2,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_users, num_items, channels, **kwargs)
        if num_layers < 0 or not 0 <= dropout < 1:
            raise ValueError(
                f'`num_layers` must not be negative and `dropout` from 0 to less than 1 '
                f'(got {num_layers} and {dropout})'
            )
        size = num_users + num_items
        if isinstance(edge_index, EdgeIndex):
            edge_index = edge_index.as_tensor()
        row, column = edge_index.unbind(0)
        _check_symmetric(row, column, edge_weight, size)
        self.num_layers, self.dropout = num_layers, dropout
        self.register_buffer('ptr', index2ptr(row, size))
        # Copies: loading a state must not change the graph's.
        self.register_buffer('column', column.clone())
        self.register_buffer('weight', edge_weight.clone())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """Makes a model of the edges of a state that can be loaded into it."""
        size = config['num_users'] + config['num_items']
        if state['ptr'].numel() != size + 1:
            raise ValueError(f'The edges are not between {size} users and items')
        edges = torch.stack([ptr2index(state['ptr']), state['column']])
        return cls(edge_index=edges, edge_weight=state['weight'], **config)

    def check_graph(self, graph: BipartiteGraph) -> None:
        """Raises an error if the adjacency has other edges than the training graph."""
        users = self.ptr[: self.num_users + 1]
        item = self.column[: int(users[-1])] - self.num_users
        edges = item >= 0  # The others are self-loops.
        user = ptr2index(users)[edges]
        same = torch.equal(user, graph.user.to(user.device)) and torch.equal(
            item[edges], graph.item.to(user.device)
        )
        if not same:
            raise ValueError(
                f'The adjacency of {type(self).__name__} has {len(user)} edges, not the '
                f'{graph.num_edges} of the training graph: make the model of '
                f'`train.adjacency()`'
            )

    def propagate(self) -> Tensor:
        """Returns the sums over layers of all users, then items, :math:`(U + I, F)`."""
        adjacency = Compressed(self.ptr, self.column, self.weight)
        x = torch.cat([self.user.weight, self.item.weight])
        if self.dropout == 0 or not self.training:
            return layer_sum(x, adjacency, self.num_layers)
        out = x
        for _ in range(self.num_layers):
            x = sparse_product(x, adjacency, adjacency)
            x = F.dropout(x, self.dropout)
            out = out + x
        return out

    def forward(self, user: Tensor, item: Tensor) -> Vectors:
        """Returns the vectors of users and items."""
        users, items = self.propagate().split([self.num_users, self.num_items])
        # The mean of the rows that are looked up costs less than that of all.
        scale = self.num_layers + 1
        return F.embedding(user, users) / scale, F.embedding(item, items) / scale

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'channels={self.channels}, num_layers={self.num_layers})'
        )


def _check_symmetric(row: Tensor, column: Tensor, weight: Tensor, size: int) -> None:
    if row.numel() != weight.numel():
        raise ValueError(f'{row.numel()} edges have {weight.numel()} weights')
    if row.numel() and not 0 <= int(column.min()) <= int(column.max()) < size:
        raise ValueError(f'Edges must be between nodes 0 to {size - 1}')
    edge, order = (column * size + row).sort(stable=True)
    if not torch.equal(edge, row * size + column):
        raise ValueError(
            'The edges must be sorted by row, then column, and each one be there in both '
            'directions: see BipartiteGraph.adjacency'
        )
    if not torch.equal(weight, weight[order]):
        raise ValueError('An edge must weigh the same in both directions')
