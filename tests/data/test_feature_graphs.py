"""Stores of feature graphs, with everything graphs can have, against PyG and by hand."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from cinema import FRAME, TABLES, build, decode, make_schema
from compare import assert_same_data
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import AddSelfLoops, Compose, NormalizeFeatures

from iedr_geo.data import FeatureGraphs
from iedr_geo.data.feature_graphs import Edges, map_tensors, ragged_arange
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.transforms import Complete, FieldPairs, RemoveSelfLoops
from iedr_geo.transforms.complete import complete_edge_index

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=5)
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
        ends = torch.cat([data.edge_index for data in graphs], dim=1)
        edges = Edges(ends, counts.cumsum(0), together('edge_weight'))
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
def test_batch_is_that_of_pyg(graphs: list[Data], data: st.DataObject):
    store = store_of(graphs)
    parts = with_ids(graphs, store)
    ids = data.draw(st.lists(st.integers(0, len(graphs) - 1), min_size=1, max_size=5))
    batch, expected = store.batch(torch.tensor(ids)), [parts[i] for i in ids]
    assert_same_data(batch, Batch.from_data_list(expected))
    assert_same_data(Batch.from_data_list(batch.to_data_list()), batch)
    assert_same_data(store[ids[0]], parts[ids[0]])
    assert_same_data(store[ids[0] - len(store)], parts[ids[0]])


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
        assert not store.is_complete or copied.is_complete
        parts = with_ids(expected, copied)
        every = torch.arange(len(ids))
        assert_same_data(copied.batch(every), Batch.from_data_list(parts))
    whole = FeatureGraphs.from_state(store.state())
    assert_same_data(whole.batch(chosen), store.batch(chosen))


@st.composite
def two_stores(draw: st.DrawFn) -> tuple[list[Data], list[Data]]:
    """Graphs of one schema: what is a vector in one store is one in the other."""
    kinds = st.just(draw(KINDS))
    return draw(drawn_graphs(kinds)), draw(drawn_graphs(kinds))


@settings(max_examples=60)
@given(two_stores())
def test_concatenated_stores_are_the_graphs_of_both(two: tuple):
    one, two = two
    stores = store_of(one), store_of(two)
    both = stores[0].concatenate(stores[1])
    assert both.is_complete == all(store.is_complete for store in stores)
    samples = [*one, *two]
    if any('edge_weight' in data for data in samples) and not both.is_complete:
        for data in samples:
            data.edge_weight = data.get('edge_weight', torch.ones(data.num_edges))
    expected = Batch.from_data_list(with_ids(samples, both))
    assert_same_data(both.batch(torch.arange(len(both))), expected)


@settings(max_examples=60)
@given(two_stores())
def test_same_number_where_nodes_are_the_same(two: tuple):
    """Hashes in any store; both in any order of the nodes if graphs are complete."""
    one, two = two
    stores = store_of(one), store_of(two)
    wanted = [sorted(nodes_of(data)) for data in (*one, *two)]
    hashes = [number for store in stores for number in store.hashes().tolist()]
    both = stores[0].concatenate(stores[1])
    contents = [nodes_of(data) for data in (*one, *two)]
    contents = wanted if both.is_complete else contents
    content = both.content().tolist()
    for meanings, numbers in ((wanted, hashes), (contents, content)):
        pairs = {(str(m), number) for m, number in zip(meanings, numbers, strict=True)}
        assert len(pairs) == len(set(map(str, meanings))) == len(set(numbers))
    assert set(content) == set(range(len(set(content))))


@pytest.mark.parametrize('side', SIDES)
def test_hashes_of_every_type_of_column(side: Side):
    """The cells of each row are swapped for those of the others, one at a time."""
    schema = make_schema()
    build(TABLES, schema)
    frame = TABLES[FRAME[side]][schema.sources(side)].astype(object)
    frames = [frame.iloc[::-1]]
    for name in frame:
        for shift in range(len(frame)):
            cells = frame[name].tolist()
            frames.append(frame.assign(**{name: [*cells[shift:], *cells[:shift]]}))
    if 'genres' in frame:
        frames.append(frame.assign(genres=['q|p', 'p ', None, '', 'r|q']))
    number: dict[tuple, int] = {}
    for changed in frames:
        graphs = schema.encode(side, changed)
        hashes = graphs.hashes().tolist()
        for nodes, got in zip(decode(graphs, schema), hashes, strict=True):
            assert number.setdefault(tuple(sorted(map(str, nodes))), got) == got
    assert len(set(number.values())) == len(number) > len(frame)


@given(SIZES)
def test_complete_edge_index_against_loops(sizes: list[int]):
    edges, first = [], 0
    for size in sizes:
        nodes = range(first, first + size)
        edges += [[source, target] for target in nodes for source in nodes]
        first += size
    assert complete_edge_index(torch.tensor(sizes)).t().tolist() == edges


@given(SIZES, st.data())
def test_ragged_arange_against_loops(sizes: list[int], data: st.DataObject):
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    index = data.draw(st.lists(st.integers(0, len(sizes) - 1), max_size=6))
    elements, out_ptr = ragged_arange(ptr, torch.tensor(index, dtype=torch.long))
    segments = [list(range(ptr[i], ptr[i + 1])) for i in index]
    assert elements.tolist() == [element for segment in segments for element in segment]
    sizes = [len(segment) for segment in segments]
    assert out_ptr.tolist() == [sum(sizes[:i]) for i in range(len(index) + 1)]


@given(SIZES, st.booleans(), st.data())
def test_other_embedding_rows(sizes: list[int], with_values: bool, data: st.DataObject):
    size, ptr = sum(sizes), torch.tensor([0, *sizes]).cumsum(0)
    value = torch.randint(2, (size,)).float() if with_values else None
    graphs = FeatureGraphs(torch.randint(5, (size,)), ptr, value)
    graphs = graphs.with_edges(RemoveSelfLoops())
    before = graphs.x.clone()
    rows = data.draw(st.lists(st.integers(0, 3), min_size=5, max_size=5))
    changed = graphs.with_x(torch.tensor(rows)[graphs.x])
    assert changed.x.tolist() == [rows[x] for x in before.tolist()]
    assert torch.equal(graphs.x, before)
    assert changed.ptr is graphs.ptr and changed.value is value
    assert changed.edges is graphs.edges
    if not with_values:
        assert changed.node_id is None
        return
    # Nodes that share an id share row and value.
    kinds = set(zip(changed.node_id.tolist(), changed.x.tolist(), value, strict=True))
    assert len(kinds) >= len(set(changed.node_id.tolist()))
    # Any rows may be given, also such that tell apart what was alike.
    apart = graphs.with_x(torch.arange(size))
    assert len(set(apart.node_id.tolist())) == size


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


@pytest.mark.parametrize('index', [3, -4])
def test_no_such_graph(index: int):
    with pytest.raises(IndexError, match=f'Graph {index} of 3'):
        GRAPHS[index]


@pytest.mark.parametrize('ptr', [[0, 2, 2, 3], [0, 2, 1, 3]])
def test_graph_without_a_node(ptr: list[int]):
    with pytest.raises(ValueError, match='graph 1 has none'):
        FeatureGraphs(torch.tensor([1, 2, 3]), torch.tensor(ptr))


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

    def spy(data: Batch) -> Data:
        seen.append(data.num_graphs)
        assert torch.equal(
            data.field, field[data.x.new_tensor(first_of(seen)) :][: data.num_nodes]
        )
        return transform(data)

    def first_of(sizes: list[int]) -> int:
        return sum(COLLECTION[: sum(sizes[:-1])])

    changed = graphs.with_edges(spy, edges, field=field, field_names=['a', 'b', 'c'])
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
    assert torch.equal(again.edges.ends, fewer.edges.ends)
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
