"""Messages of feature graphs, evaluated once for each distinct pair of features."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import cumsum, segment

from iedr_geo.nn.distinct_pairs import distinct_pairs
from iedr_geo.nn.sparse import Compressed, sparse_product


class FeaturePairs(NamedTuple):
    r"""The distinct unordered pairs of features that a batch of graphs holds.

    The message :math:`h(\mathbf{x}_i \odot \mathbf{x}_j)` of SIGN depends on the
    features at both ends of an edge and not on their order. Graphs share features, so a
    batch has far fewer pairs than edges.

    Args:
        left: A node at one end of each pair, of shape :math:`(P)`.
        right: A node at its other end, of shape :math:`(P)`.
        pair: The pair of each edge, of shape :math:`(E)`; edges are sorted by graph.
        weight: The contribution of each edge to the mean over its target's edges and then
            over its graph's nodes, of shape :math:`(E)`.
        edge_ptr: Where each graph's edges begin, of shape :math:`(G + 1)`.
    """

    left: Tensor
    right: Tensor
    pair: Tensor
    weight: Tensor
    edge_ptr: Tensor

    @classmethod
    def of_edges(
        cls,
        node_id: Tensor,
        edge_index: Tensor,
        ptr: Tensor,
        edge_weight: Tensor | None = None,
    ) -> FeaturePairs:
        """Returns the pairs of some graphs.

        Args:
            node_id: A number for each node; nodes with the same number have the same
                features. Of shape :math:`(N)`.
            edge_index: The edges, of shape :math:`(2, E)`.
            ptr: Where each graph's nodes begin, and the last ends, of shape
                :math:`(G + 1)`.
            edge_weight: The weight of each edge, of shape :math:`(E)`.
        """
        size, num_nodes = ptr.diff(), node_id.numel()
        graph_of_node = torch.arange(size.numel(), device=ptr.device)
        graph_of_node = graph_of_node.repeat_interleave(size, output_size=num_nodes)
        graph = graph_of_node.index_select(0, edge_index[1])
        if (graph[1:] < graph[:-1]).any():  # Batches of PyG are sorted already.
            order = graph.argsort(stable=True)
            edge_index = edge_index[:, order]
            edge_weight = None if edge_weight is None else edge_weight[order]
        source, target = edge_index
        degree = torch.bincount(target, minlength=num_nodes)
        # In float64, so that the sums agree with a mean in any precision.
        weight = (1 / (degree * size[graph_of_node]).double()).index_select(0, target)
        if edge_weight is not None:
            weight = weight * edge_weight.detach()
        one, two = node_id[source], node_id[target]
        first, pair, _ = distinct_pairs(torch.minimum(one, two), torch.maximum(one, two))
        return cls(source[first], target[first], pair, weight, cumsum(degree)[ptr])

    def mean(self, message: Tensor) -> Tensor:
        """Takes the mean over each node's edges, then over each graph's nodes.

        Args:
            message: The message of each pair, of shape :math:`(P, F)`.

        Returns:
            The readout of each graph, of shape :math:`(G, F)`.
        """
        weight = self.weight.to(torch.promote_types(message.dtype, torch.float32))
        return sparse_product(message, Compressed(self.edge_ptr, self.pair, weight))

    def dropout_mean(self, message: Tensor, rows: Tensor, p: float) -> Tensor:
        """Takes the mean of messages that each row drops out on its own.

        The same law as if every row had a graph of its own, and under the same state of
        the random generator the same numbers.

        Args:
            message: The message of each pair, of shape :math:`(P, F)`.
            rows: The graph of each row, of shape :math:`(B)`.
            p: The probability with which an entry of a message is zeroed.

        Returns:
            The readout of each row, of shape :math:`(B, F)`.
        """
        size = self.edge_ptr.diff()[rows]
        ptr = cumsum(size)
        shift = (self.edge_ptr[rows] - ptr[:-1]).repeat_interleave(size)
        edge = torch.arange(shift.numel(), device=shift.device) + shift
        # In single precision at least: a row sums many messages.
        message = message.to(torch.promote_types(message.dtype, torch.float32))
        message = F.dropout(message[self.pair[edge]], p)
        weight = self.weight[edge].to(message.dtype).unsqueeze(1)
        return segment(message * weight, ptr, reduce='sum')
