"""Messages of feature graphs, evaluated once for each distinct pair of features."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from iedr_geo.nn.conv.message_dropout import draw_kept, dropout_sum
from iedr_geo.nn.sparse import Compressed, sparse_product

KEYS_AN_EDGE = 8  # Up to so many, counting is faster than sorting, on a CPU.
MANY_EDGES = 2**19  # From here on, their order matters to a CPU's cache.


class _Pairing(NamedTuple):
    """The nodes of each pair, the pair of each edge and, if sorted, edges by pair."""

    left: Tensor
    right: Tensor
    pair: Tensor
    by_pair: tuple[Tensor, Tensor] | None = None


def _keys(one: Tensor, two: Tensor, size: Tensor | int) -> Tensor:
    return torch.minimum(one, two).mul_(size).add_(torch.maximum(one, two))


def _sort_pairs(node_id: Tensor, source: Tensor, target: Tensor) -> _Pairing:
    key = _keys(node_id[source], node_id[target], node_id.max() + 1)
    ordered, order = key.sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    pair = torch.empty_like(order)
    pair[order] = first.cumsum(0) - 1
    start = first.nonzero().view(-1)
    chosen = order[start]
    ptr = torch.cat([start, start.new_tensor([order.numel()])])
    return _Pairing(source[chosen], target[chosen], pair, (ptr, order))


def _count(key: Tensor, num_keys: int) -> tuple[Tensor, Tensor]:
    """Returns the distinct keys, and the place of each key among them."""
    seen = torch.zeros(num_keys, dtype=torch.bool).index_fill_(0, key, True)
    place = seen.cumsum(0, dtype=torch.int32).sub_(1)
    return seen.nonzero().view(-1), place.index_select(0, key)


def _count_pairs(node_id: Tensor, source: Tensor, target: Tensor) -> _Pairing | None:
    """Pairs by a table of all pairs, unless that is far larger than the edges are."""
    max_keys = KEYS_AN_EDGE * source.numel()
    if (num_ids := int(node_id.max()) + 1) > max_keys:
        return None
    distinct, feature = _count(node_id, num_ids)
    if (num_pairs := (size := distinct.numel()) ** 2) > max_keys:
        return None
    feature = feature.long()
    one, two = feature.index_select(0, source), feature.index_select(0, target)
    key, pair = _count(_keys(one, two, size), num_pairs)
    num_nodes = node_id.numel()
    node = torch.full_like(distinct, num_nodes)  # The first with each feature.
    node.scatter_reduce_(0, feature, torch.arange(num_nodes), 'amin')
    return _Pairing(node[key // size], node[key % size], pair)


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
        edge_ptr: Where each graph's edges begin, of shape :math:`(G + 1)`. Of complete
            graphs with many edges, where each node's begin.
    """

    def __init__(
        self,
        node_id: Tensor,
        source: Tensor,
        target: Tensor,
        weight: Tensor,
        edge_ptr: Tensor,
    ) -> None:
        pairing = _count_pairs(node_id, source, target) if node_id.is_cpu else None
        if pairing is None:
            pairing = _sort_pairs(node_id, source, target)
        self.left, self.right, self.pair, self._by_pair = pairing
        self.weight = weight
        self.edge_ptr = edge_ptr
        self._rows: tuple[Tensor, int] | None = None  # Their graphs, if not themselves.

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
        size, graph_of_node = _graphs_of_nodes(node_id, ptr)
        graph = graph_of_node.index_select(0, edge_index[1])
        if (graph[1:] < graph[:-1]).any():  # Batches of PyG are sorted already.
            order = graph.argsort(stable=True)
            edge_index = edge_index[:, order]
            edge_weight = None if edge_weight is None else edge_weight[order]
        source, target = edge_index
        degree = torch.bincount(target, minlength=node_id.numel())
        # In float64, so that the sums agree with a mean in any precision.
        share = 1 / (degree * size[graph_of_node]).double()
        weight = share.index_select(0, target)
        if edge_weight is not None:
            weight = weight * edge_weight.detach()
        return cls(node_id, source, target, weight, cumsum(degree)[ptr])

    @classmethod
    def of_complete_graphs(cls, node_id: Tensor, ptr: Tensor) -> FeaturePairs:
        """Returns the pairs of graphs in which every node has an edge from every node.

        Each pair of nodes counts for the edges in both directions, which halves the
        work. Only the mean can be taken of them: dropout tells the directions apart.

        Args:
            node_id: As in :meth:`of_edges`.
            ptr: As in :meth:`of_edges`.
        """
        size, graph = _graphs_of_nodes(node_id, ptr)
        node = torch.arange(node_id.numel(), device=ptr.device)
        count = ptr[graph + 1] - node  # A node is paired with itself and those after it.
        end = cumsum(count)
        edge_ptr = end[ptr]
        many = node_id.is_cpu and int(end[-1]) > MANY_EDGES
        if many:
            # With the nodes of each graph in the order of their features, and then a
            # row for each node, again by feature, one row reads what the last has read.
            order = node_id.argsort(stable=True)
            order = order[graph[order].argsort(stable=True)]
            node_id = node_id[order]
            node = node_id.argsort(stable=True)
            graph, count = graph[node], count[node]
            edge_ptr = end = cumsum(count)
        shift = (node - end[:-1]).repeat_interleave(count)
        source = torch.arange(shift.numel(), device=ptr.device).add_(shift)
        target = node.repeat_interleave(count, output_size=source.numel())
        share = 2 / size.double().square()
        weight = share[graph].repeat_interleave(count, output_size=source.numel())
        weight[end[:-1]] /= 2  # Itself.
        out = cls(node_id, source, target, weight, edge_ptr)
        if many:
            out.left, out.right = order[out.left], order[out.right]
            out._rows = graph, size.numel()
        return out

    def _transposed(self, matrix: Compressed) -> Compressed:
        if self._by_pair is None:
            return matrix.transposed(self.left.numel())
        ptr, order = self._by_pair
        size = matrix.ptr.diff()
        row = torch.arange(size.numel(), device=order.device)
        row = row.repeat_interleave(size, output_size=order.numel())
        return Compressed(ptr, row[order], matrix.value[order])

    def mean(self, message: Tensor) -> Tensor:
        """Takes the mean over each node's edges, then over each graph's nodes.

        Args:
            message: The message of each pair, of shape :math:`(P, F)`.

        Returns:
            The readout of each graph, of shape :math:`(G, F)`.
        """
        weight = self.weight.to(torch.promote_types(message.dtype, torch.float32))
        matrix = Compressed(self.edge_ptr, self.pair, weight)
        if torch.is_grad_enabled() and message.requires_grad:
            out = sparse_product(message, matrix, self._transposed(matrix))
        else:
            out = matrix.matmul(message)
        if self._rows is None:
            return out
        graph, num_graphs = self._rows
        return out.new_zeros(num_graphs, out.size(1)).index_add(0, graph, out)

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
