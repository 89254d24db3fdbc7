"""Batches built by tensor operations must equal PyG's, graph by graph."""

import pytest
import torch
from compare import assert_same_data
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from iedr_geo.data import FeatureGraphs
from iedr_geo.data.feature_graphs import complete_edge_index, ragged_arange

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
