"""Messages of feature graphs, evaluated once for each distinct pair of features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from iedr_geo.nn.conv.message_dropout import draw_kept, dropout_sum
from iedr_geo.nn.sparse import Compressed, sparse_product


def _graphs_of_nodes(node_id: Tensor, ptr: Tensor) -> tuple[Tensor, Tensor]:
    size = ptr.diff()
    graph = torch.arange(size.numel(), device=ptr.device)
    return size, graph.repeat_interleave(size, output_size=node_id.numel())


class FeaturePairs:
    r"""The distinct unordered pairs of features that a batch of graphs holds.

    The message :math:`h(\mathbf{x}_i \odot \mathbf{x}_j)` of SIGN depends on the
    features at both ends of an edge and not on their order. Graphs share features, so a
    batch has far fewer pairs than edges.

    Build it with :meth:`of_edges` or, for less, with :meth:`of_complete_graphs`.

    Attributes of edges follow the order of the edges, once they are sorted by graph.

    Attributes:
        left, right: A node at either end of each pair, of shape :math:`(P)`.
        pair: The pair of each edge, of shape :math:`(E)`.
        weight: What each edge contributes to the mean over its target's edges and then
            over its graph's nodes, of shape :math:`(E)`.
        edge_ptr: Where each graph's edges begin, of shape :math:`(G + 1)`.
    """

    def __init__(
        self,
        node_id: Tensor,
        source: Tensor,
        target: Tensor,
        graph: Tensor,
        weight: Tensor,
        num_graphs: int,
    ) -> None:
        one, two = node_id[source], node_id[target]
        key = torch.minimum(one, two) * (node_id.max() + 1) + torch.maximum(one, two)
        ordered, order = key.sort(stable=True)
        first = torch.ones_like(ordered, dtype=torch.bool)
        first[1:] = ordered[1:] != ordered[:-1]
        self.pair = torch.empty_like(order)
        self.pair[order] = first.cumsum(0) - 1
        start = first.nonzero().view(-1)
        chosen = order[start]
        self.left, self.right = source[chosen], target[chosen]
        self.weight = weight
        self.edge_ptr = cumsum(torch.bincount(graph, minlength=num_graphs))
        self._pair_ptr = torch.cat([start, start.new_tensor([order.numel()])])
        self._by_pair = order
        self._graph = graph

    @classmethod
    def of_edges(
        cls,
        node_id: Tensor,
        edge_index: Tensor,
        ptr: Tensor,
        edge_weight: Tensor | None = None,
    ) -> FeaturePairs:
        """Returns the pairs of any graphs.

        Args:
            node_id: A number for each node; nodes with the same number have the same
                features. Of shape :math:`(N)`.
            edge_index: The edges, of shape :math:`(2, E)`.
            ptr: Where each graph's nodes begin, and the last ends, of shape
                :math:`(G + 1)`.
            edge_weight: The weight of each edge, of shape :math:`(E)`.
        """
        size, node_graph = _graphs_of_nodes(node_id, ptr)
        graph = node_graph[edge_index[1]]
        if (graph[1:] < graph[:-1]).any():  # Batches of PyG are sorted already.
            graph, order = graph.sort(stable=True)
            edge_index = edge_index[:, order]
            edge_weight = None if edge_weight is None else edge_weight[order]
        source, target = edge_index
        degree = torch.bincount(target, minlength=node_id.numel())
        # In float64, so that the sums agree with a mean in any precision.
        weight = 1 / (degree[target] * size[graph]).double()
        if edge_weight is not None:
            weight = weight * edge_weight.detach()
        return cls(node_id, source, target, graph, weight, size.numel())

    @classmethod
    def of_complete_graphs(cls, node_id: Tensor, ptr: Tensor) -> FeaturePairs:
        """Returns the pairs of graphs in which every node has an edge from every node.

        Each pair of nodes counts for the edges in both directions, which halves what is
        to be sorted.

        Args:
            node_id: As in :meth:`of_edges`.
            ptr: As in :meth:`of_edges`.
        """
        size, node_graph = _graphs_of_nodes(node_id, ptr)
        node = torch.arange(node_id.numel(), device=ptr.device)
        start = ptr[node_graph]
        count = node - start + 1  # A node is paired with those up to itself.
        target = node.repeat_interleave(count)
        shift = (start - cumsum(count)[:-1]).repeat_interleave(count)
        source = torch.arange(target.numel(), device=ptr.device) + shift
        graph = node_graph[target]
        weight = torch.where(source == target, 1.0, 2.0).double() / size[graph].square()
        return cls(node_id, source, target, graph, weight, size.numel())

    def mean(self, message: Tensor) -> Tensor:
        """Takes the mean over each node's edges, then over each graph's nodes.

        Args:
            message: The message of each pair, of shape :math:`(P, F)`.

        Returns:
            The readout of each graph, of shape :math:`(G, F)`.
        """
        return sparse_product(
            message,
            Compressed(self.edge_ptr, self.pair, self.weight),
            Compressed(
                self._pair_ptr, self._graph[self._by_pair], self.weight[self._by_pair]
            ),
        )

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
        shift = (self.edge_ptr[rows] - cumsum(size)[:-1]).repeat_interleave(size)
        edge = torch.arange(shift.numel(), device=shift.device) + shift
        kept = draw_kept(edge.numel(), message.size(1), p, message.device)
        return dropout_sum(message, self.pair[edge], self.weight[edge], kept, size, p)
