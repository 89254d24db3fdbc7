"""A ragged store of feature graphs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import cumsum

from iedr_geo.transforms.complete import complete_edge_index

EDGES = 1 << 22  # That a transform sees at a time, as far as whole graphs allow.
VECTOR = 'vector_'  # Before the embedding row, in the name of the vectors of a batch.


def ragged_arange(ptr: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the elements of the segments :obj:`index`, in order, and their pointer.

    Args:
        ptr: Where each segment begins, and the end of the last, of shape
            :math:`(G + 1)`.
        index: The segments wanted, in any order and with repetition, of shape
            :math:`(B)`.
    """
    sizes = ptr[index + 1] - ptr[index]
    out_ptr = cumsum(sizes)
    shift = (ptr[index] - out_ptr[:-1]).repeat_interleave(sizes)
    return torch.arange(shift.numel(), device=ptr.device) + shift, out_ptr


class Edges(NamedTuple):
    """The edges of many graphs.

    Args:
        ends: Source and target of each edge, counted from its graph's first node, of
            shape :math:`(2, E)`.
        ptr: Where each graph's edges begin, and the end of the last, :math:`(G + 1)`.
        weight: The weight of each edge, of shape :math:`(E)`. :obj:`None` if all are one.
    """

    ends: Tensor
    ptr: Tensor
    weight: Tensor | None = None


class FeatureGraphs:
    r"""The feature graphs of one side (users, items or contexts).

    Each node is one feature value. As long as :meth:`with_edges` has not said otherwise,
    all ordered pairs of a graph's nodes are edges, self-loops included; the store then
    holds the nodes alone and builds the edges that are asked for.

    Args:
        x: The embedding row of each node, of shape :math:`(N)`.
        ptr: Where each graph's nodes begin, and the end of the last, of shape
            :math:`(G + 1)`.
        value: The factor of each node's embedding, of shape :math:`(N)`. :obj:`None`
            where all are one.
        vectors: By embedding row, the vectors of the nodes in that row, in their order,
            of shape :math:`(N_x, D)`: such a node is its vector times the embeddings of
            that row and the :math:`D - 1` after it.
        edges: The edges of each graph, ordered by graph, then target, then source.
            :obj:`None` for complete graphs: edges that are all there, without weights,
            are not kept.

    Example:
        >>> graphs = FeatureGraphs(torch.tensor([4, 7, 7]), torch.tensor([0, 2, 3]))
        >>> graphs[0]
        Data(x=[2], edge_index=[2, 4], graph_id=[1])
        >>> graphs.batch(torch.tensor([1, 0, 1])).num_graphs
        3
    """

    def __init__(
        self,
        x: Tensor,
        ptr: Tensor,
        value: Tensor | None = None,
        vectors: Mapping[int, Tensor] | None = None,
        edges: Edges | None = None,
    ) -> None:
        if (ptr[1:] <= ptr[:-1]).any():
            empty = int((ptr[1:] <= ptr[:-1]).nonzero()[0])
            raise ValueError(f'A feature graph needs a node: graph {empty} has none')
        self.x = x
        self.ptr = ptr
        self.value = value
        self.vectors = dict(vectors or {})
        self.edges = self._unless_complete(edges)
        # Which of a row's vectors each node has.
        self._which = {row: (x == row).cumsum(0) - 1 for row in self.vectors}

    @cached_property
    def node_id(self) -> Tensor | None:
        """Numbers the nodes: the same number where row, value and vector are the same."""
        if self.value is None and not self.vectors:
            return None
        key, below = self.x, 0
        if self.value is not None:
            values, number = torch.unique(self.value, return_inverse=True)
            key = key * values.numel() + number
        for row, vectors in self.vectors.items():
            table = np.ascontiguousarray(vectors.cpu().numpy())
            text = table.view(
                np.dtype((np.void, max(1, table.itemsize * table.shape[1])))
            )
            distinct, number = np.unique(text.ravel(), return_inverse=True)
            # Below all others: products of many numbers would not fit.
            own = -1 - below - torch.from_numpy(number).to(key.device)
            key = key.masked_scatter(self.x == row, own)
            below += len(distinct)
        return torch.unique(key, return_inverse=True)[1]

    def _unless_complete(self, edges: Edges | None) -> Edges | None:
        """Returns the edges, or nothing if they are those of complete graphs."""
        if edges is None or edges.weight is not None:
            return edges
        if not torch.equal(edges.ptr.diff(), self.ptr.diff().square()):
            return edges  # Too few or too many, seen without making all the others.
        return None if torch.equal(edges.ends, self._complete_edges().ends) else edges

    def _complete_edges(self) -> Edges:
        sizes = self.ptr.diff()
        ptr = cumsum(sizes * sizes)
        start = self.ptr[:-1].repeat_interleave(ptr.diff())
        return Edges(complete_edge_index(sizes) - start, ptr)

    @property
    def is_complete(self) -> bool:
        """If :obj:`True`, each node has an edge from every node of its graph, itself
        included, and edges have no weights.
        """
        return self.edges is None

    def __len__(self) -> int:
        return self.ptr.numel() - 1

    def __getitem__(self, index: int) -> Data:
        if not -len(self) <= index < len(self):
            raise IndexError(f'Graph {index} of {len(self)}')
        data: Data = self.batch(torch.tensor([index % len(self)])).get_example(0)
        return data

    def batch(self, ids: Tensor) -> Batch:
        """Returns the graphs :obj:`ids` as one batch.

        Equal to ``Batch.from_data_list([graphs[i] for i in ids])``.

        Args:
            ids: The graphs, in any order and with repetition, of shape :math:`(B)`.
        """
        ids = ids.to(self.ptr.device)
        nodes, ptr = ragged_arange(self.ptr, ids)
        content: dict[str, Any] = {'x': self.x[nodes]}
        slices = {'x': ptr}
        if self.edges is None:
            content['edge_index'] = _complete_edge_index
            slices['edge_index'] = cumsum(ptr.diff().square())
        else:
            edge, edge_ptr = ragged_arange(self.edges.ptr, ids)
            shift = ptr[:-1].repeat_interleave(edge_ptr.diff())
            content['edge_index'] = self.edges.ends[:, edge] + shift
            slices['edge_index'] = edge_ptr
            if self.edges.weight is not None:
                content['edge_weight'] = self.edges.weight[edge]
                slices['edge_weight'] = edge_ptr
        if self.value is not None:
            content['value'], slices['value'] = self.value[nodes], ptr
        for row, which in self._which.items():
            here = content['x'] == row
            content[f'{VECTOR}{row}'] = self.vectors[row][which[nodes[here]]]
            slices[f'{VECTOR}{row}'] = cumsum(here.long())[ptr]
        if self.node_id is not None:
            content['node_id'], slices['node_id'] = self.node_id[nodes], ptr
        content['graph_id'] = ids
        slices['graph_id'] = torch.arange(ids.numel() + 1)
        batch = Batch(_base_cls=Data)
        batch._store._mapping = _WhenAsked(content, ptr=ptr, batch=_batch_vector)
        batch._num_graphs = ids.numel()
        zeros = torch.zeros(ids.numel(), dtype=torch.long)
        batch._slice_dict, batch._inc_dict = slices, dict.fromkeys(content, zeros)
        batch._inc_dict['edge_index'] = ptr[:-1]
        return batch

    @classmethod
    def from_batch(cls, batch: Batch) -> FeatureGraphs:
        """Returns the graphs of a batch as a store, in its order.

        Args:
            batch: The graphs as :meth:`batch` returns them, also with other edges.
        """
        vectors = {
            int(name.removeprefix(VECTOR)): batch[name]
            for name in batch.keys()  # noqa: SIM118
            if name.startswith(VECTOR)
        }
        edges = None
        if not callable(dict.get(batch._store._mapping, 'edge_index')):
            index, weight = batch.edge_index, batch.get('edge_weight')
            graph = batch.batch[index[1]]
            if (graph[1:] < graph[:-1]).any():
                order = graph.argsort(stable=True)
                index, graph = index[:, order], graph[order]
                weight = None if weight is None else weight[order]
            ptr = cumsum(torch.bincount(graph, minlength=batch.num_graphs))
            edges = Edges(index - batch.ptr[graph], ptr, weight)
        return cls(batch.x, batch.ptr, batch.get('value'), vectors, edges)

    def select(self, index: Tensor) -> FeatureGraphs:
        """Returns some of the graphs, in any order and with repetition, as a store."""
        return self.from_batch(self.batch(index))

    def regroup(self, nodes: Tensor, ptr: Tensor) -> FeatureGraphs:
        """Returns complete graphs of some of the nodes, as a store.

        Args:
            nodes: The nodes, in the order of the new graphs.
            ptr: Where each new graph's nodes begin, and the end of the last.
        """
        x, value = self.x[nodes], None if self.value is None else self.value[nodes]
        vectors = {
            row: self.vectors[row][which[nodes[x == row]]]
            for row, which in self._which.items()
        }
        return FeatureGraphs(x, ptr, value, vectors)

    def concatenate(self, other: FeatureGraphs) -> FeatureGraphs:
        """Returns these graphs and then others of the same side, as a store."""
        other = other.to(self.x.device)
        both = self, other
        edges = None
        if not (self.is_complete and other.is_complete):
            one, two = (g.edges or g._complete_edges() for g in both)
            edges = Edges(
                torch.cat([one.ends, two.ends], dim=1),
                _concatenate_ptr(one.ptr, two.ptr),
                _concatenate_or_ones([one.weight, two.weight], [one.ends, two.ends]),
            )
        rows = sorted(self.vectors.keys() | other.vectors.keys())
        return FeatureGraphs(
            torch.cat([self.x, other.x]),
            _concatenate_ptr(self.ptr, other.ptr),
            _concatenate_or_ones([g.value for g in both], [g.x for g in both]),
            {
                row: torch.cat([g.vectors[row] for g in both if row in g.vectors])
                for row in rows
            },
            edges,
        )

    def content(self) -> Tensor:
        """Numbers the graphs: the same number where the nodes are, in whatever order if
        graphs are complete.

        Returns:
            Numbers from 0 on, of shape :math:`(G)`.
        """
        nodes = self._node_hashes()
        if not self.is_complete:  # Edges may go by the order of the nodes.
            begin = self.ptr[:-1].repeat_interleave(self.ptr.diff())
            position = torch.arange(nodes.size) - begin.cpu()
            nodes = _mixed(nodes ^ _mixed(position.numpy()))
        number = np.unique(self._graph_hashes(nodes), return_inverse=True)[1]
        return torch.from_numpy(number).to(self.x.device)

    def hashes(self) -> np.ndarray:
        """Returns a number for each graph: the same where the nodes are, in any order,
        also of graphs in another store of the same schema.

        Returns:
            Unsigned 64-bit numbers, of shape :math:`(G)`. That two graphs of a million
            share one by chance is as likely as one in ten million.
        """
        return self._graph_hashes(self._node_hashes())

    def _node_hashes(self) -> np.ndarray:
        x = self.x.cpu().numpy()
        few = x.max() < x.size  # Rows, which are then looked up.
        node = _mixed(np.arange(x.max() + 1))[x] if few else _mixed(x)
        if self.value is not None:
            value = self.value.cpu().float().numpy() + 0.0  # Zero has two signs.
            node = _mixed(node ^ _mixed(value.view(np.int32).astype(np.int64)))
        for row, vectors in self.vectors.items():
            table = vectors.cpu().float().numpy() + 0.0
            bits = table.view(np.int32).astype(np.int64)
            column = np.arange(table.shape[1], dtype=np.int64) << 32
            here = (self.x == row).cpu().numpy()
            node[here] ^= _mixed(bits + column).sum(axis=1, dtype=np.uint64)
        return node

    def _graph_hashes(self, node: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.add.reduceat(_mixed(node), self.ptr[:-1].cpu().numpy())
        return sums

    def with_edges(
        self,
        transform: Callable[[Data], Data] | None,
        edges_at_a_time: int = EDGES,
        **attributes: Any,
    ) -> FeatureGraphs:
        """Returns graphs of the same nodes, with the edges that a transform gives them.

        Args:
            transform: The transform that builds the edges from the complete graphs, many
                of which it is given at a time, as one :class:`Batch`. It may set
                :obj:`edge_weight`. :obj:`None` for complete graphs.
            edges_at_a_time: The number of edges that it is given at a time, as far as
                whole graphs allow. Changes speed and memory alone.
            **attributes: What else the transform finds in the batch: tensors with a row
                for each node, or anything else.

        Raises:
            ValueError: If the transform changes nodes, or an edge leaves its graph,
                comes twice or has no finite weight.
        """
        changed = copy.copy(self)
        changed.edges = None
        if transform is None:
            return changed
        chunk = self.ptr.diff().square().cumsum(0) // edges_at_a_time
        parts = []
        for ids in torch.arange(len(self), device=chunk.device).split(
            torch.unique_consecutive(chunk, return_counts=True)[1].tolist()
        ):
            batch = changed.batch(ids)
            nodes = slice(int(self.ptr[ids[0]]), int(self.ptr[ids[-1] + 1]))
            for name, attribute in attributes.items():
                is_tensor = isinstance(attribute, Tensor)
                batch[name] = attribute[nodes] if is_tensor else attribute
            # A copy, so that what it changes is seen.
            parts.append(_edges(batch, transform(copy.copy(batch)), transform))
        indices = [part.ends for part in parts]
        edges = Edges(
            torch.cat(indices, dim=1),
            cumsum(torch.cat([part.ptr.diff() for part in parts])),
            _concatenate_or_ones([part.weight for part in parts], indices),
        )
        changed.edges = self._unless_complete(edges)
        return changed

    def with_x(self, x: Tensor) -> FeatureGraphs:
        """Returns the store with other embedding rows, the rest of it shared.

        Args:
            x: The embedding row of each node, of shape :math:`(N)`. Nodes that are
                vectors keep theirs.
        """
        changed = copy.copy(self)
        changed.x = x
        if self.node_id is not None:  # Nodes that were alike may not be any more.
            pair = torch.stack([x, self.node_id])
            changed.node_id = torch.unique(pair, dim=1, return_inverse=True)[1]
        return changed

    def to(self, device: torch.device | str) -> FeatureGraphs:
        """Returns the store on another device."""

        def move(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: tensor.to(device) for key, tensor in value.items()}
            if isinstance(value, Edges):
                return Edges(*map(move, value))
            return None if value is None else value.to(device)

        _ = self.node_id  # Where graphs are made, so that no batch waits for it.
        moved = FeatureGraphs.__new__(FeatureGraphs)
        vars(moved).update({name: move(value) for name, value in vars(self).items()})
        return moved

    def state(self) -> dict[str, Any]:
        """Returns all tensors, for a file; :meth:`from_state` reads them."""
        edges = None if self.edges is None else self.edges._asdict()
        names = ('x', 'ptr', 'value', 'vectors')
        return {name: getattr(self, name) for name in names} | {'edges': edges}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> FeatureGraphs:
        """Reads what :meth:`state` returned."""
        edges = state['edges']
        return cls(**{**state, 'edges': None if edges is None else Edges(**edges)})

    def __repr__(self) -> str:
        edges = '' if self.edges is None else f', edges={self.edges.ends.size(1)}'
        return f'{self.__class__.__name__}({len(self)}, nodes={self.x.numel()}{edges})'


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Returns numbers in which all bits depend on all bits (the end of SplitMix64)."""
    mixed = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: np.ndarray = mixed ^ (mixed >> np.uint64(31))
    return out


def _concatenate_ptr(one: Tensor, two: Tensor) -> Tensor:
    return torch.cat([one, one[-1:] + two[1:]])


def _concatenate_or_ones(
    tensors: list[Tensor | None], like: list[Tensor]
) -> Tensor | None:
    """Concatenates what is there and ones elsewhere; nothing if nothing is there."""
    if all(tensor is None for tensor in tensors):
        return None
    return torch.cat(
        [
            torch.ones(other.size(-1), device=other.device) if tensor is None else tensor
            for tensor, other in zip(tensors, like, strict=True)
        ]
    )


def _edges(before: Batch, after: Data, transform: Any) -> Edges:
    """Returns the edges that a transform gave to the graphs of a batch, in order."""
    name = type(transform).__name__
    if not isinstance(after, Data):
        raise ValueError(f'{name} returns no graph, but {after!r}')
    same = after.num_nodes == before.num_nodes and torch.equal(after.x, before.x)
    if not same:
        raise ValueError(f'{name} changes the nodes of the graphs, not only their edges')
    source, target = after.edge_index
    weight = after.get('edge_weight')
    outside = (before.batch[source] != before.batch[target]).nonzero()
    if outside.numel():
        edge = int(outside[0])
        raise ValueError(
            f'{name} draws an edge from graph {int(before.batch[source[edge]])} to graph '
            f'{int(before.batch[target[edge]])} of the batch that it is given'
        )
    if weight is not None and not (
        weight.shape == source.shape and weight.isfinite().all()
    ):
        raise ValueError(
            f'{name} must give every edge one finite weight (got weights of shape '
            f'{tuple(weight.shape)} for {source.numel()} edges)'
        )
    key, order = (target * before.num_nodes + source).sort()
    if (key[1:] == key[:-1]).any():
        raise ValueError(f'{name} draws an edge twice: give it a weight instead')
    source, target = source[order], target[order]
    graph = before.batch[target]
    return Edges(
        torch.stack([source, target]) - before.ptr[graph],
        cumsum(torch.bincount(graph, minlength=before.num_graphs)),
        None if weight is None else weight[order].float(),
    )


def _complete_edge_index(attributes: _WhenAsked) -> Tensor:
    return complete_edge_index(attributes['ptr'].diff())


def _batch_vector(attributes: _WhenAsked) -> Tensor:
    size = attributes['ptr'].diff()
    return torch.arange(size.numel(), device=size.device).repeat_interleave(size)


class _WhenAsked(dict[str, Any]):
    """The attributes of a batch, some of which are functions of the others.

    Such a one is evaluated when it is first asked for. Many models never do.
    """

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if callable(value):
            value = self[name] = value(self)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def map(self, function: Callable[[Tensor], Tensor]) -> None:
        """Applies a function to the tensors that are there."""
        for name, value in self.items():
            if isinstance(value, Tensor):
                self[name] = function(value)


def map_tensors(batch: Batch, function: Callable[[Tensor], Tensor]) -> Batch:
    """Returns a copy of a batch of :meth:`FeatureGraphs.batch` with other tensors, in
    which what nobody has asked for yet is still not there.
    """
    mapped = copy.copy(batch)
    mapped._store._mapping.map(function)
    return mapped
