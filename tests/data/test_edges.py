"""Graphs with edges, weights and vectors of their own, against PyG and by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from compare import assert_same_data
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import AddSelfLoops, Compose, NormalizeFeatures

from iedr_geo.data import FeatureGraphs, feature_graphs
from iedr_geo.data.feature_graphs import Edges
from iedr_geo.transforms import Complete, FieldPairs, RemoveSelfLoops
from iedr_geo.transforms.complete import is_complete

WIDTHS = {1: 2, 4: 1}  # Rows whose nodes are vectors, and their lengths.


@st.composite
def drawn_graphs(draw: st.DrawFn) -> list[Data]:
    """Graphs of one store: each has values, vectors, edges or weights, or none has."""
    values, vectors, edges, weights = (draw(st.booleans()) for _ in range(4))
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
            data.edge_weight = torch.tensor(
                draw(
                    st.lists(
                        st.sampled_from([0.5, -1.0, 0.0]),
                        min_size=len(pairs),
                        max_size=len(pairs),
                    )
                )
            )
        if values:
            data.value = torch.tensor([draw(st.sampled_from([1.0, 0.5])) for _ in x])
        for row, width in WIDTHS.items() if vectors else ():
            entries = [
                [draw(st.integers(0, 1)) for _ in range(width)] for i in x if i == row
            ]
            data[f'vector_{row}'] = torch.tensor(entries).float().view(-1, width)
        out.append(data)
    return out


def store_of(graphs: list[Data]) -> FeatureGraphs:
    """Puts a store together from its parts, without any graph's help."""
    sizes = torch.tensor([data.num_nodes for data in graphs])
    names = [set(data.keys()) for data in graphs]
    assert all(one == names[0] for one in names)

    def together(name: str) -> torch.Tensor | None:
        if name not in graphs[0]:
            return None
        return torch.cat([data[name] for data in graphs])

    edges = None
    if (
        any(data.num_edges < data.num_nodes**2 for data in graphs)
        or 'edge_weight' in graphs[0]
    ):
        counts = torch.tensor([0] + [data.num_edges for data in graphs])
        place = torch.cat([data.edge_index for data in graphs], dim=1)
        edges = Edges(place, counts.cumsum(0), together('edge_weight'))
    return FeatureGraphs(
        together('x'),
        torch.cat([torch.tensor([0]), sizes.cumsum(0)]),
        together('value'),
        {
            row: together(f'vector_{row}')
            for row in WIDTHS
            if f'vector_{row}' in graphs[0]
        },
        edges,
    )


def with_ids(graphs: list[Data], store: FeatureGraphs) -> list[Data]:
    """Adds the numbers of nodes and graphs, once it is sure that they mean the same."""
    nodes = []
    for data in graphs:
        left = {
            row: iter(data.get(f'vector_{row}', torch.empty(0)).tolist())
            for row in WIDTHS
        }
        values = data.get('value', torch.ones(data.num_nodes)).tolist()
        for x, value in zip(data.x.tolist(), values, strict=True):
            vector = next(left[x], None) if x in left else None
            # What a vector is times has no further factor.
            nodes.append((x, tuple(vector)) if vector is not None else (x, value))
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


@settings(max_examples=40)
@given(drawn_graphs(), st.data())
def test_batch_is_that_of_pyg(graphs: list[Data], data: st.DataObject):
    store = store_of(graphs)
    parts = with_ids(graphs, store)
    ids = data.draw(st.lists(st.integers(0, len(graphs) - 1), min_size=1, max_size=5))
    batch = store.batch(torch.tensor(ids))
    assert_same_data(batch, Batch.from_data_list([parts[i] for i in ids]))
    assert is_complete(batch) == (store.edges is None)
    assert_same_data(store[ids[0]], parts[ids[0]])


@settings(max_examples=40)
@given(drawn_graphs(), st.data())
def test_ways_there_and_back(graphs: list[Data], data: st.DataObject):
    store = store_of(graphs)
    ids = data.draw(st.lists(st.integers(0, len(graphs) - 1), min_size=1, max_size=5))
    expected = [graphs[i] for i in ids]
    chosen = torch.tensor(ids)
    for copied in (
        FeatureGraphs.from_batch(store.batch(chosen)),
        store.select(chosen),
        FeatureGraphs.from_state(store.state()).select(chosen),
    ):
        assert len(copied) == len(ids)
        assert (copied.edges is None) == (store.edges is None)
        parts = with_ids(expected, copied)
        every = torch.arange(len(ids))
        assert_same_data(copied.batch(every), Batch.from_data_list(parts))
    whole = FeatureGraphs.from_state(store.state())
    assert_same_data(whole.batch(chosen), store.batch(chosen))


def test_file(tmp_path):
    """Nothing in a store has to be pickled."""
    edges = Edges(torch.tensor([[0, 1], [1, 1]]), torch.tensor([0, 2]), torch.ones(2))
    store = FeatureGraphs(
        torch.tensor([3, 7]),
        torch.tensor([0, 2]),
        torch.tensor([1.0, 2.0]),
        {3: torch.tensor([[1.0, 2.0]])},
        edges,
    )
    torch.save(store.state(), tmp_path / 'graphs.pt')
    read = torch.load(tmp_path / 'graphs.pt', weights_only=True)
    assert_same_data(FeatureGraphs.from_state(read)[0], store[0])
    assert str(store) == 'FeatureGraphs(1, nodes=2, edges=2)'


def test_other_device(device: torch.device):
    edges = Edges(torch.tensor([[0, 0], [1, 0]]), torch.tensor([0, 1, 2]), torch.ones(2))
    vectors = {3: torch.tensor([[1.0, 2.0]])}
    store = FeatureGraphs(
        torch.tensor([3, 7, 7]), torch.tensor([0, 2, 3]), None, vectors, edges
    )
    moved = store.to(device)
    assert moved.edges.place.device.type == moved.vectors[3].device.type == device.type
    ids = torch.tensor([1, 0, 1])
    assert_same_data(moved.batch(ids.to(device)).cpu(), store.batch(ids))
    again = moved.with_edges(RemoveSelfLoops())
    assert again.edges.place.device.type == device.type
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


def test_other_rows():
    store = FeatureGraphs(
        torch.tensor([4, 7, 7]), torch.tensor([0, 2, 3]), torch.tensor([1.0, 2, 3])
    )
    store = store.with_edges(RemoveSelfLoops())
    changed = store.with_x(torch.tensor([5, 5, 6]))
    assert changed.x.tolist() == [5, 5, 6] and store.x.tolist() == [4, 7, 7]
    for name in ('edge_index', 'value'):
        assert torch.equal(changed[0][name], store[0][name])


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
def test_chunks(transform: Any, edges: int, monkeypatch):
    """Graphs that the transform is given together do not matter to each other."""
    monkeypatch.setattr(feature_graphs, 'EDGES', edges)
    graphs, seen, field = collection(), [], torch.arange(13) % 3

    def spy(data: Batch) -> Data:
        seen.append(data.num_graphs)
        assert torch.equal(
            data.field, field[data.x.new_tensor(first_of(seen)) :][: data.num_nodes]
        )
        return transform(data)

    def first_of(sizes: list[int]) -> int:
        return sum(COLLECTION[: sum(sizes[:-1])])

    changed = graphs.with_edges(spy, field=field, field_names=['a', 'b', 'c'])
    assert sum(seen) == len(graphs) and (len(seen) > 1) == (edges < 35)
    expected = []
    for i, size in enumerate(COLLECTION):
        data = graphs.batch(torch.tensor([i]))
        data.field, data.field_names = field[graphs.ptr[i] :][:size], ['a', 'b', 'c']
        data = transform(data)
        order = (data.edge_index[1] * size + data.edge_index[0]).argsort()
        one = Data(x=data.x, edge_index=data.edge_index[:, order])
        if not isinstance(transform, RemoveSelfLoops):
            weight = data.get('edge_weight', torch.ones(data.num_edges))
            one.edge_weight = weight[order].float()
        one.graph_id = torch.tensor([i])
        expected.append(one)
    every = torch.arange(len(graphs))
    assert_same_data(changed.batch(every), Batch.from_data_list(expected))
    assert graphs.edges is None
    assert changed.with_edges(None).edges is None


def test_edges_are_drawn_from_complete_graphs():
    """Whatever edges there are: transforms do not add up."""
    graphs = collection()
    fewer = graphs.with_edges(RemoveSelfLoops())
    assert fewer.with_edges(Complete()).edges is None
    assert fewer.with_edges(lambda data: data).edges is None
    again = fewer.with_edges(RemoveSelfLoops())
    assert torch.equal(again.edges.place, fewer.edges.place)
    assert torch.equal(again.edges.ptr, fewer.edges.ptr)


def changed(data: Batch, **attributes: Any) -> Batch:
    for name, value in attributes.items():
        data[name] = value
    return data


@pytest.mark.parametrize(
    ('transform', 'message'),
    [
        (lambda data: changed(data, x=data.x + 1), 'function changes the nodes'),
        (lambda data: changed(data, x=data.x[1:]), 'function changes the nodes'),
        (lambda data: data.subgraph(data.x != 3), 'function changes the nodes'),
        (Compose([NormalizeFeatures()]), None),  # Of no effect on numbers of rows.
        (
            lambda data: changed(data, edge_index=torch.tensor([[0, 3], [0, 1]])),
            'function draws an edge from graph 2 to graph 0',
        ),
        (AddSelfLoops(), 'AddSelfLoops draws an edge twice: give it a weight'),
        (
            lambda data: changed(data, edge_index=torch.tensor([[0, 1, 0], [1, 1, 1]])),
            'draws an edge twice',
        ),
        (
            lambda data: changed(data, edge_weight=torch.ones(3)),
            r'one finite weight \(got weights of shape \(3,\) for 35 edges\)',
        ),
        (
            lambda data: changed(data, edge_weight=torch.ones(35, 1)),
            r'one finite weight \(got weights of shape \(35, 1\)',
        ),
        (
            lambda data: changed(data, edge_weight=torch.ones(35).log() / 0),
            'one finite weight',
        ),
        (
            lambda data: changed(data, edge_weight=torch.full((35,), torch.inf)),
            'one finite weight',
        ),
    ],
)
def test_what_a_transform_may_not_do(transform: Any, message: str | None):
    graphs = collection()
    if message is None:
        graphs = FeatureGraphs(graphs.x.float(), graphs.ptr)
        message = 'Compose changes the nodes'
    with pytest.raises(ValueError, match=message):
        graphs.with_edges(transform)
