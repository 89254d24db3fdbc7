"""Batches built by tensor operations must equal PyG's, graph by graph."""

import pytest
import torch
from cinema import FRAME, TABLES, build, decode, make_schema
from compare import assert_same_data
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.transforms import BaseTransform

from iedr_geo.data import FeatureGraphs
from iedr_geo.data.feature_graphs import complete_edge_index, ragged_arange
from iedr_geo.data.schema import SIDES, Side

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=5)
GRAPHS = [[4, 7], [7], [2, 4, 9], [4, 7]]
VALUES = [[1.0, 0.5], [0.5], [1.0, -2.0, 1.0], [1.0, -2.0]]


def store(sizes: list[int], with_values: bool) -> FeatureGraphs:
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    x = torch.randint(5, (sum(sizes),))
    return FeatureGraphs(x, ptr, torch.randn(sum(sizes)) if with_values else None)


def graphs_by_hand(with_values: bool) -> tuple[FeatureGraphs, list[Data]]:
    """Returns a store, and what its graphs should be, written out."""
    nodes = list(zip(sum(GRAPHS, []), sum(VALUES, []), strict=True))  # noqa: RUF017
    distinct = sorted(set(nodes))
    samples = []
    for i, (x, value) in enumerate(zip(GRAPHS, VALUES, strict=True)):
        pairs = zip(x, value, strict=True)
        edges = [[s, t] for t in range(len(x)) for s in range(len(x))]
        data = Data(x=torch.tensor(x), edge_index=torch.tensor(edges).t().contiguous())
        if with_values:
            data.value = torch.tensor(value)
            data.node_id = torch.tensor([distinct.index(p) for p in pairs])
        data.graph_id = torch.tensor([i])
        samples.append(data)
    return FeatureGraphs(
        torch.tensor([x for x, _ in nodes]),
        torch.tensor([0, 2, 3, 6, 8]),
        torch.tensor([v for _, v in nodes]) if with_values else None,
    ), samples


@pytest.mark.parametrize('with_values', [False, True])
def test_graphs_by_hand(with_values: bool, device: torch.device):
    graphs, expected = graphs_by_hand(with_values)
    graphs = graphs.to(device)
    assert len(graphs) == 4
    for i, data in enumerate(expected):
        assert_same_data(graphs[i], data)
        assert_same_data(graphs[i - 4], data)
    ids = torch.tensor([2, 0, 0, 3, 1, 2], device=device)
    batch = graphs.batch(ids)
    assert batch.x.device == batch.edge_index.device == batch.batch.device == ids.device
    assert_same_data(batch, Batch.from_data_list([expected[i] for i in ids]))


@given(SIZES, st.booleans(), st.data())
def test_batch_is_that_of_pyg(sizes: list[int], with_values: bool, data: st.DataObject):
    graphs = store(sizes, with_values)
    ids = data.draw(st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=6))
    expected = Batch.from_data_list([graphs[i] for i in ids])
    assert_same_data(graphs.batch(torch.tensor(ids)), expected)


def test_batch_of_parts_of_a_batch():
    graphs = store([2, 1, 3], True)
    batch = graphs.batch(torch.tensor([2, 1, 0, 2]))
    assert_same_data(Batch.from_data_list(batch.to_data_list()), batch)
    assert_same_data(
        Batch.from_data_list(batch[torch.tensor([3, 1])]),
        graphs.batch(torch.tensor([2, 1])),
    )


@given(SIZES, st.booleans(), st.data())
def test_other_embedding_rows(sizes: list[int], with_values: bool, data: st.DataObject):
    graphs = store(sizes, with_values)
    if with_values:
        value = torch.randint(2, (sum(sizes),)).float()
        graphs = FeatureGraphs(graphs.x, graphs.ptr, value)
    before = graphs.x.clone()
    rows = data.draw(st.lists(st.integers(0, 3), min_size=5, max_size=5))
    changed = graphs.with_x(torch.tensor(rows)[graphs.x])
    assert changed.x.tolist() == [rows[x] for x in before.tolist()]
    assert torch.equal(graphs.x, before)
    assert changed.ptr is graphs.ptr and changed.value is graphs.value
    if not with_values:
        assert changed.node_id is None
        return
    # Nodes that share an id share row and value.
    kinds = set(
        zip(changed.node_id.tolist(), changed.x.tolist(), value.tolist(), strict=True)
    )
    assert len(kinds) == len(set(changed.node_id.tolist()))
    # Any rows may be given, also such that tell apart what was alike.
    apart = graphs.with_x(torch.arange(sum(sizes)))
    assert len(set(apart.node_id.tolist())) == sum(sizes)


def test_node_ids_tell_values_apart():
    """Nodes share an id where both row and value agree, and nowhere else."""
    graphs = store([3, 2, 4, 1], True)
    graphs = FeatureGraphs(graphs.x, graphs.ptr, torch.randint(2, (10,)).float())
    nodes = list(zip(graphs.x.tolist(), graphs.value.tolist(), strict=True))
    same = torch.tensor([[a == b for a in nodes] for b in nodes])
    assert torch.equal(graphs.node_id.unsqueeze(0) == graphs.node_id.unsqueeze(1), same)
    assert 1 < len(set(nodes)) < 10
    assert store([3, 2], False).node_id is None


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


KINDS = st.fixed_dictionaries(
    {name: st.booleans() for name in ('value', 'vector', 'edges', 'weight')}
)
VECTOR, SIZE = 3, 2  # An embedding row whose nodes are vectors, and their size.


class Loopless(BaseTransform):
    def __init__(self, weighted: bool) -> None:
        self.weighted = weighted

    def forward(self, data: Data) -> Data:
        source, target = data.edge_index
        data.edge_index = data.edge_index[:, source != target]
        if self.weighted:
            data.edge_weight = 1.0 + torch.arange(data.num_edges) % 3
        return data


def draw_store(sizes: list[int], kind: dict[str, bool], seed: int = 0) -> FeatureGraphs:
    """A store of few different nodes, with or without all that they can have."""
    torch.manual_seed(seed)
    ptr = torch.tensor([0, *sizes]).cumsum(0)
    x = torch.randint(4 if kind['vector'] else 3, (sum(sizes),))
    vectors = torch.randint(2, (int((x == VECTOR).sum()), SIZE)).float()
    value = torch.randint(2, (sum(sizes),)).float().masked_fill(x == VECTOR, 1)
    value = value if kind['value'] else None
    graphs = FeatureGraphs(x, ptr, value, {VECTOR: vectors} if kind['vector'] else {})
    return graphs.with_edges(Loopless(kind['weight'])) if kind['edges'] else graphs


def nodes_of(data: Data) -> list[tuple]:
    """Embedding row, value and vector of each node."""
    vectors = iter(data.get(f'vector_{VECTOR}', torch.empty(0)).tolist())
    values = data.get('value', torch.ones(data.num_nodes)).tolist()
    return [
        (x, value, *(next(vectors) if x == VECTOR else ()))
        for x, value in zip(data.x.tolist(), values, strict=True)
    ]


@given(st.tuples(SIZES, SIZES), st.tuples(KINDS, KINDS))
def test_concatenated_stores_are_the_graphs_of_both(sizes: tuple, kinds: tuple):
    stores = [draw_store(*each) for each in zip(sizes, kinds, (0, 1), strict=True)]
    both = stores[0].concatenate(stores[1])
    assert len(both) == sum(map(len, sizes))
    assert (both.edges is None) == (not any(kind['edges'] for kind in kinds))
    attributes = {name for graphs in stores for name in graphs[0].keys()}  # noqa: SIM118
    samples = []
    for graphs in stores:
        for data in (graphs[i] for i in range(len(graphs))):
            # What one of the two lacks.
            ones = {'value': data.num_nodes, 'edge_weight': data.num_edges}
            for name in attributes - set(data.keys()):
                data[name] = torch.ones(ones.get(name, 0))
            if f'vector_{VECTOR}' in attributes and not len(data[f'vector_{VECTOR}']):
                data[f'vector_{VECTOR}'] = torch.ones(0, SIZE)
            data.graph_id = torch.tensor([len(samples)])
            samples.append(data)
    expected = Batch.from_data_list(samples)
    actual = both.batch(torch.arange(len(both)))
    nodes = nodes_of(expected)
    assert nodes_of(actual) == nodes
    if 'node_id' in attributes:
        same = torch.tensor([[one == two for one in nodes] for two in nodes])
        node_id = actual.node_id
        assert torch.equal(node_id.unsqueeze(0) == node_id.unsqueeze(1), same)
        expected.node_id = node_id
        for data, sample in zip(actual.to_data_list(), samples, strict=True):
            sample.node_id = data.node_id
        expected = Batch.from_data_list(samples)
    assert_same_data(actual, expected)
    state = FeatureGraphs.from_state(both.state())
    assert_same_data(state.batch(torch.arange(len(both))), actual)


@given(st.tuples(SIZES, SIZES), st.booleans(), st.booleans(), st.integers(0, 99))
def test_same_hash_where_nodes_are_the_same(
    sizes: tuple, value: bool, vector: bool, seed: int
):
    """In any order, and in any store."""
    kind = {'value': value, 'vector': vector, 'edges': False, 'weight': False}
    stores = [draw_store(each, kind, seed + i) for i, each in enumerate(sizes)]
    graphs = [graphs[i] for graphs in stores for i in range(len(graphs))]
    wanted = [tuple(sorted(nodes_of(data))) for data in graphs]
    hashes = [number for store in stores for number in store.hashes().tolist()]
    pairs = set(zip(wanted, hashes, strict=True))
    assert len(pairs) == len(set(wanted)) == len(set(hashes))
    content = stores[0].concatenate(stores[1]).content().tolist()
    pairs = set(zip(wanted, content, strict=True))
    assert len(pairs) == len(set(wanted)) == len(set(content))
    assert set(content) == set(range(len(pairs)))


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


@pytest.mark.parametrize('index', [3, -4])
def test_no_such_graph(index: int):
    with pytest.raises(IndexError, match=f'Graph {index} of 3'):
        store([1, 2, 1], False)[index]


@pytest.mark.parametrize('ptr', [[0, 2, 2, 3], [0, 2, 1, 3]])
def test_graph_without_a_node(ptr: list[int]):
    with pytest.raises(ValueError, match='graph 1 has none'):
        FeatureGraphs(torch.tensor([1, 2, 3]), torch.tensor(ptr))


def test_repr():
    assert str(store([1, 2], True)) == 'FeatureGraphs(2, nodes=3)'
