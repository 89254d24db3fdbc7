"""Stores of feature graphs, with everything graphs can have, against PyG and by hand."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from compare import assert_same_data
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import AddSelfLoops, Compose

from iedr_geo.data import FeatureGraphs
from iedr_geo.data.feature_graphs import Edges, map_tensors
from iedr_geo.transforms import Complete, FieldPairs, RemoveSelfLoops

WIDTHS = {1: 2, 4: 1}  # Rows whose nodes are vectors, and their lengths.


KINDS = st.tuples(st.booleans(), st.booleans())


@st.composite
def drawn_graphs(
    draw: st.DrawFn, kinds: st.SearchStrategy[tuple[bool, bool]] = KINDS
) -> list[Data]:
    """Graphs of one store: each has values, vectors, edges or weights, or none has."""
    values, vectors = draw(kinds)
    edges, weights = draw(st.booleans()), draw(st.booleans())
    out = []
    for _ in range(draw(st.integers(1, 4))):
        x = draw(st.lists(st.integers(0, 5), min_size=1, max_size=4))
        nodes = range(len(x))
        pairs = [(t, s) for t in nodes for s in nodes]
        if edges:
            pairs = sorted(draw(st.sets(st.sampled_from(pairs))))
        index = [[s for _, s in pairs], [t for t, _ in pairs]]
        data = Data(x=torch.tensor(x), edge_index=torch.tensor(index, dtype=torch.long))
        if edges and weights:
            drawn = [draw(st.sampled_from([0.5, -1.0, 0.0])) for _ in pairs]
            data.edge_weight = torch.tensor(drawn)
        if values:
            # What a vector is times has no further factor.
            drawn = [draw(st.sampled_from([1.0, 0.5])) for _ in x]
            is_vector = [vectors and row in WIDTHS for row in x]
            data.value = torch.tensor(drawn).masked_fill(torch.tensor(is_vector), 1.0)
        for row, width in WIDTHS.items() if vectors else ():
            entries = [
                [draw(st.integers(0, 1)) for _ in range(width)] for i in x if i == row
            ]
            data[f'vector_{row}'] = torch.tensor(entries).float().view(-1, width)
        out.append(data)
    return out


def store_of(graphs: list[Data]) -> FeatureGraphs:
    """Puts a store together from its parts, without any graph's help."""

    def together(name: str) -> torch.Tensor | None:
        return torch.cat([g[name] for g in graphs], -1) if name in graphs[0] else None

    def ptr(counts: list[int]) -> torch.Tensor:
        return torch.tensor([0, *counts]).cumsum(0)

    vectors = {
        row: torch.cat([g[f'vector_{row}'] for g in graphs])
        for row in WIDTHS
        if f'vector_{row}' in graphs[0]
    }
    edges, weight = None, together('edge_weight')
    if weight is not None or any(g.num_edges < g.num_nodes**2 for g in graphs):
        counts = [g.num_edges for g in graphs]
        edges = Edges(together('edge_index'), ptr(counts), weight)
    sizes = [g.num_nodes for g in graphs]
    return FeatureGraphs(together('x'), ptr(sizes), together('value'), vectors, edges)


def nodes_of(data: Data) -> list[tuple]:
    """Embedding row, value and vector of each node."""
    left = {
        row: iter(data.get(f'vector_{row}', torch.empty(0)).tolist()) for row in WIDTHS
    }
    values = data.get('value', torch.ones(data.num_nodes)).tolist()
    nodes = []
    for x, value in zip(data.x.tolist(), values, strict=True):
        vector = next(left[x], None) if x in left else None
        # What a vector is times has no further factor.
        nodes.append((x, value) if vector is None else (x, *vector))
    return nodes


def with_ids(graphs: list[Data], store: FeatureGraphs) -> list[Data]:
    """Adds the numbers of nodes and graphs, once it is sure that they mean the same."""
    nodes = [node for data in graphs for node in nodes_of(data)]
    ids = store.x if store.node_id is None else store.node_id
    by_id = dict(zip(ids.tolist(), nodes, strict=True))
    assert [by_id[i] for i in ids.tolist()] == nodes
    assert len(by_id) == len(set(nodes))
    out, first = [], 0
    for i, data in enumerate(graphs):
        data = data.clone()
        if store.node_id is not None:
            data.node_id = ids[first : first + data.num_nodes]
        data.graph_id = torch.tensor([i])
        first += data.num_nodes
        out.append(data)
    return out


@settings(max_examples=60)
@given(drawn_graphs(), st.data())
def test_batches_are_those_of_pyg(graphs: list[Data], data: st.DataObject):
    store = store_of(graphs)
    parts = with_ids(graphs, store)
    ids = data.draw(st.lists(st.integers(0, len(graphs) - 1), min_size=1, max_size=5))
    chosen, every = torch.tensor(ids), torch.arange(len(ids))
    batch = store.batch(chosen)
    assert_same_data(batch, Batch.from_data_list([parts[i] for i in ids]))
    assert_same_data(Batch.from_data_list(batch.to_data_list()), batch)
    for index in (ids[0], ids[0] - len(store)):
        assert_same_data(store[index], parts[ids[0]])
    read = FeatureGraphs.from_state(store.state())
    assert_same_data(read.batch(chosen), batch)
    for copied in (FeatureGraphs.from_batch(batch), store.select(chosen)):
        assert len(copied) == len(ids)
        assert not store.is_complete or copied.is_complete
        own = with_ids([graphs[i] for i in ids], copied)
        assert_same_data(copied.batch(every), Batch.from_data_list(own))


@st.composite
def two_stores(draw: st.DrawFn) -> tuple[list[Data], list[Data]]:
    """Graphs of one schema: what is a vector in one store is one in the other."""
    kinds = st.just(draw(KINDS))
    return draw(drawn_graphs(kinds)), draw(drawn_graphs(kinds))


@settings(max_examples=60)
@given(two_stores())
def test_two_stores(two: tuple):
    one, two = two
    stores = store_of(one), store_of(two)
    both, graphs = stores[0].concatenate(stores[1]), [*one, *two]
    # Hashes in any store; both in any order of the nodes if graphs are complete.
    sets = [sorted(nodes_of(data)) for data in graphs]
    hashes = [number for store in stores for number in store.hashes().tolist()]
    lists = sets if both.is_complete else [nodes_of(data) for data in graphs]
    content = both.content().tolist()
    for meanings, numbers in ((sets, hashes), (lists, content)):
        pairs = {(str(m), number) for m, number in zip(meanings, numbers, strict=True)}
        assert len(pairs) == len(set(map(str, meanings))) == len(set(numbers))
    assert set(content) == set(range(len(set(content))))
    # Put together, they are the graphs of both.
    assert both.is_complete == all(store.is_complete for store in stores)
    if any('edge_weight' in data for data in graphs) and not both.is_complete:
        for data in graphs:
            data.edge_weight = data.get('edge_weight', torch.ones(data.num_edges))
    expected = Batch.from_data_list(with_ids(graphs, both))
    assert_same_data(both.batch(torch.arange(len(both))), expected)


def test_order_counts_where_it_means_something():
    x, ptr = torch.tensor([1, 2, 2, 1]), torch.tensor([0, 2, 4])
    store = FeatureGraphs(x, ptr)
    assert store.content().tolist() == [0, 0]
    assert len(set(store.with_edges(RemoveSelfLoops()).content().tolist())) == 2
    vectors = {1: torch.tensor([[0.0, 1.0], [1.0, 0.0]])}
    assert len(set(FeatureGraphs(x, ptr, None, vectors).hashes().tolist())) == 2


@given(drawn_graphs(), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_other_embedding_rows(graphs: list[Data], rows: list[int]):
    store = store_of(graphs)
    before = store.x.clone()
    changed = store.with_x(torch.tensor(rows)[store.x])
    assert changed.x.tolist() == [rows[x] for x in before.tolist()]
    assert torch.equal(store.x, before)
    for name in ('ptr', 'value', 'edges', 'vectors'):
        assert getattr(changed, name) is getattr(store, name)
    if store.node_id is None:
        assert changed.node_id is None
        return
    # Nodes share an id where they did and have the same row, also a row of their own.
    apart = store.with_x(torch.arange(before.numel()))
    for other in (changed, apart):
        kinds = set(zip(store.node_id.tolist(), other.x.tolist(), strict=True))
        ids = set(other.node_id.tolist())
        triples = zip(store.node_id, other.x, other.node_id, strict=True)
        assert len({tuple(map(int, t)) for t in triples}) == len(kinds) == len(ids)


GRAPHS = FeatureGraphs(torch.tensor([4, 7, 7, 2]), torch.tensor([0, 2, 3, 4]))


def unasked(batch: Batch) -> list[str]:
    return [name for name, value in dict.items(batch._store._mapping) if callable(value)]


def test_edges_are_made_when_they_are_asked_for(device: torch.device):
    batch = GRAPHS.batch(torch.tensor([1, 0]))
    assert batch.num_graphs == 2 and batch.num_nodes == 3
    assert unasked(batch) == ['edge_index', 'batch']
    copies = {
        'copied': copy.copy(batch),
        'pickled': pickle.loads(pickle.dumps(batch)),
        'moved': map_tensors(batch, lambda tensor: tensor.to(device)),
    }
    for name, copied in copies.items():
        assert unasked(copied) == ['edge_index', 'batch'], name
        assert copied.edge_index.tolist() == [[0, 1, 2, 1, 2], [0, 1, 1, 2, 2]]
        assert copied.get('batch').tolist() == [0, 1, 1]
        assert copied.edge_index.device == copied.x.device
        assert unasked(copied) == []
    assert unasked(batch) == ['edge_index', 'batch']
    assert batch.get('value', 3) == 3


def test_completeness_is_decided_by_the_edges():
    edges = GRAPHS.with_edges(RemoveSelfLoops())
    assert GRAPHS.is_complete and not edges.is_complete
    whole = Edges(
        torch.tensor([[0, 1, 0, 1, 0, 0], [0, 0, 1, 1, 0, 0]]), torch.tensor([0, 4, 5, 6])
    )
    parts = GRAPHS.x, GRAPHS.ptr, None, None
    assert FeatureGraphs(*parts, whole).is_complete
    assert not FeatureGraphs(*parts, whole._replace(weight=torch.ones(6))).is_complete
    # As many edges as a complete graph has, and yet others.
    other = torch.tensor([[0, 1, 1, 1, 0, 0], [0, 0, 0, 1, 0, 0]])
    assert not FeatureGraphs(*parts, whole._replace(ends=other)).is_complete
    batch = GRAPHS.batch(torch.arange(3))
    batch.edge_index = other + torch.tensor([0, 0, 0, 0, 2, 3])
    assert not FeatureGraphs.from_batch(batch).is_complete
    # Batches of PyG are sorted by graph; what a user assigns need not be.
    order = torch.tensor([5, 0, 4, 1, 2, 3])
    batch.edge_index, batch.edge_weight = batch.edge_index[:, order], 1.0 * order
    store = FeatureGraphs.from_batch(batch)
    assert torch.equal(store.edges.ends, other)
    assert store.edges.weight.tolist() == list(range(6))


def test_bad_graphs():
    for index in (3, -4):
        with pytest.raises(IndexError, match=f'Graph {index} of 3'):
            GRAPHS[index]
    for ptr in ([0, 2, 2, 3], [0, 2, 1, 3]):
        with pytest.raises(ValueError, match='graph 1 has none'):
            FeatureGraphs(torch.tensor([1, 2, 3]), torch.tensor(ptr))


def test_other_device(device: torch.device):
    edges = Edges(torch.tensor([[0, 0], [1, 0]]), torch.tensor([0, 1, 2]), torch.ones(2))
    vectors = {3: torch.tensor([[1.0, 2.0]])}
    store = FeatureGraphs(
        torch.tensor([3, 7, 7]), torch.tensor([0, 2, 3]), None, vectors, edges
    )
    moved = store.to(device)
    assert str(store) == 'FeatureGraphs(2, nodes=3, edges=2)'
    assert moved.edges.ends.device.type == moved.vectors[3].device.type == device.type
    ids = torch.tensor([1, 0, 1])
    assert_same_data(moved.batch(ids.to(device)).cpu(), store.batch(ids))
    again = moved.with_edges(RemoveSelfLoops())
    assert again.edges.ends.device.type == device.type
    assert_same_data(
        again.batch(ids).cpu(), store.with_edges(RemoveSelfLoops()).batch(ids)
    )
    assert store.x.is_cpu
    elsewhere = store.to('meta').state()
    assert elsewhere.pop('value') is None
    for name, value in elsewhere.items():
        tensors = value.values() if isinstance(value, dict) else [value]
        assert all(tensor.is_meta for tensor in tensors), name


def test_many_vectors_do_not_overflow():
    """Numbers of nodes are told apart, however many fields of vectors there are."""
    rows, num = torch.arange(8), 3000
    x = rows.repeat(num)
    vectors = {int(row): torch.arange(num).float().view(-1, 1) for row in rows}
    value = torch.rand(x.numel())
    store = FeatureGraphs(x, torch.arange(x.numel() + 1), value, vectors)
    assert store.node_id.unique().numel() == x.numel()
    assert int(store.node_id.min()) == 0 and int(store.node_id.max()) == x.numel() - 1


COLLECTION = [2, 1, 3, 4, 1, 2]


def collection() -> FeatureGraphs:
    ptr = torch.tensor([0, *COLLECTION]).cumsum(0)
    return FeatureGraphs(torch.arange(13) % 4, ptr)


def heavier(data: Batch) -> Batch:
    """Gives weights where a graph has three nodes, and no others."""
    data.edge_index = data.edge_index[:, data.edge_index[0] >= data.edge_index[1]]
    size = data.ptr.diff()[data.batch[data.edge_index[0]]]
    if (size == 3).any():
        data.edge_weight = (size == 3) * 1.5 + (size != 3)
    return data


def shuffled(data: Batch) -> Batch:
    """Integers as weights, in any order."""
    data.edge_index = data.edge_index[:, torch.randperm(data.num_edges)]
    source, target = data.edge_index - data.ptr[data.batch[data.edge_index[0]]]
    data.edge_weight = 1 + 10 * source + target
    return data


@pytest.mark.parametrize('edges', [1, 5, 10, 16, 1 << 22])
@pytest.mark.parametrize(
    'transform',
    [
        RemoveSelfLoops(),
        heavier,
        FieldPairs([('a', 'b', 2), ('a', 'a')]),
        Compose([RemoveSelfLoops(), shuffled]),
    ],
    ids=['loops', 'heavier', 'pairs', 'shuffled'],
)
def test_chunks(transform: Any, edges: int):
    """Graphs that the transform is given together do not matter to each other."""
    graphs, seen, field = collection(), [], torch.arange(13) % 3
    every = torch.arange(len(graphs))

    def spy(data: Batch) -> Data:
        first = sum(COLLECTION[: sum(seen)])
        assert torch.equal(data.field, field[first : first + data.num_nodes])
        seen.append(data.num_graphs)
        return transform(data)

    names = ['a', 'b', 'c']
    changed = graphs.with_edges(spy, edges, field=field, field_names=names)
    assert sum(seen) == len(graphs) and (len(seen) > 1) == (edges < 35)
    expected = []
    for i, size in enumerate(COLLECTION):
        data = graphs.batch(every[i : i + 1])
        data.field, data.field_names = field[graphs.ptr[i] :][:size], names
        data = transform(data)
        order = (data.edge_index[1] * size + data.edge_index[0]).argsort()
        one = Data(x=data.x, edge_index=data.edge_index[:, order])
        if not isinstance(transform, RemoveSelfLoops):
            weight = data.get('edge_weight', torch.ones(data.num_edges))
            one.edge_weight = weight[order].float()
        one.graph_id = every[i : i + 1]
        expected.append(one)
    assert_same_data(changed.batch(every), Batch.from_data_list(expected))
    assert graphs.edges is None
    assert changed.with_edges(None).edges is None


def test_edges_are_drawn_from_complete_graphs():
    """Whatever edges there are: transforms do not add up."""
    fewer = collection().with_edges(RemoveSelfLoops())
    assert fewer.with_edges(Complete()).is_complete
    again = fewer.with_edges(RemoveSelfLoops())
    assert all(map(torch.equal, again.edges[:2], fewer.edges[:2]))


def setting(name: str, value: Any) -> Any:
    """A transform that sets an attribute, given the batch if it is a function."""
    return lambda data: data.update({name: value(data) if callable(value) else value})


NODES, ONE_WEIGHT = 'changes the nodes of the graphs', 'one finite weight'


@pytest.mark.parametrize(
    ('transform', 'message'),
    [
        (setting('x', lambda data: data.x + 1), f'function {NODES}'),
        (setting('x', lambda data: data.x[1:]), NODES),
        (lambda data: data.subgraph(data.x != 3), NODES),
        (
            setting('edge_index', torch.tensor([[0, 3], [0, 1]])),
            'function draws an edge from graph 2 to graph 0',
        ),
        (AddSelfLoops(), 'AddSelfLoops draws an edge twice: give it a weight'),
        (setting('edge_index', torch.tensor([[0, 1, 0], [1, 1, 1]])), 'an edge twice'),
        (
            setting('edge_weight', torch.ones(3)),
            rf'{ONE_WEIGHT} \(got weights of shape \(3,\) for 35 edges\)',
        ),
        (setting('edge_weight', torch.ones(35, 1)), rf'{ONE_WEIGHT} .*shape \(35, 1\)'),
        (setting('edge_weight', torch.full((35,), torch.nan)), ONE_WEIGHT),
        (setting('edge_weight', torch.full((35,), torch.inf)), ONE_WEIGHT),
        (lambda data: None, 'function returns no graph, but None'),
    ],
)
def test_what_a_transform_may_not_do(transform: Any, message: str):
    with pytest.raises(ValueError, match=message):
        collection().with_edges(transform)
