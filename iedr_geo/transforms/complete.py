"""Complete graphs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform
from torch_geometric.utils import cumsum


def complete_edge_index(sizes: Tensor) -> Tensor:
    r"""Returns the edges of disjoint complete graphs, self-loops included.

    Edges are ordered by graph, then target, then source.

    Args:
        sizes: The number of nodes of each graph, of shape :math:`(G)`.

    Returns:
        Source and target of every edge, of shape :math:`(2, \sum_g n_g^2)`.
    """
    size = sizes.repeat_interleave(sizes)  # Of each node's graph.
    node = torch.arange(size.numel(), device=sizes.device)
    first = cumsum(sizes)[:-1].repeat_interleave(sizes)
    target = node.repeat_interleave(size)
    shift = (first - cumsum(size)[:-1]).repeat_interleave(size)
    source = torch.arange(target.numel(), device=sizes.device) + shift
    return torch.stack([source, target])


class Complete(BaseTransform):
    r"""Gives each node an edge from every node of its graph, itself included.

    Feature graphs are complete unless a transform says otherwise. What edges there were,
    and their weights, are dropped.
    """

    def forward(self, data: Data) -> Data:
        """Returns the complete graph, or graphs if it is a batch of several."""
        ptr = data.get('ptr')
        if ptr is None:
            device = None if data.x is None else data.x.device
            ptr = torch.tensor([0, data.num_nodes], device=device)
        data.edge_index = complete_edge_index(ptr.diff())
        if 'edge_weight' in data:
            del data.edge_weight
        return data
