"""Pairs of fields against loops over the edges."""

import networkx as nx
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from iedr_geo.transforms import FieldPairs

NAMES = ['a', 'b', 'c']
WEIGHTS = st.sampled_from([0.5, 1.0, -2.0, 0.0])
PAIRS = st.dictionaries(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), WEIGHTS, min_size=1
)


def graph_of(fields: list[int], edges: list[tuple[int, int]], weighted: bool) -> Data:
    data = Data(
        x=torch.arange(len(fields)),
        edge_index=torch.tensor(edges, dtype=torch.long).view(-1, 2).t(),
        field=torch.tensor(fields),
        field_names=NAMES,
    )
    if weighted:
        data.edge_weight = torch.arange(len(edges)) / 4 + 0.25
    return data


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Data], bool]:
    weighted, out = draw(st.booleans()), []
    for _ in range(draw(st.integers(1, 3))):
        fields = draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
        nodes = st.integers(0, len(fields) - 1)
        edges = draw(st.lists(st.tuples(nodes, nodes), max_size=8, unique=True))
        out.append(graph_of(fields, edges, weighted))
    return out, weighted


@settings(max_examples=40)
@given(graphs(), PAIRS, st.booleans())
def test_against_loops(drawn: tuple, pairs: dict, directed: bool):
    parts, had_weights = drawn
    if not directed:  # One of a pair and its reverse.
        pairs = {tuple(sorted(pair)): weight for pair, weight in pairs.items()}
    transform = FieldPairs([(*pair, w) for pair, w in pairs.items()], directed)
    has_weights = had_weights or any(w != 1 for w in pairs.values())
    for data in parts:
        edges, weights = [], []
        for e, (source, target) in enumerate(data.edge_index.t().tolist()):
            ends = NAMES[data.field[source]], NAMES[data.field[target]]
            ends = ends if directed else tuple(sorted(ends))
            if ends in pairs:
                edges.append([source, target])
                before = data.edge_weight[e].item() if had_weights else 1.0
                weights.append(before * pairs[ends])
        alone = transform(data)
        assert alone.edge_index.t().tolist() == edges
        assert ('edge_weight' in alone) == has_weights
        if has_weights:
            assert alone.edge_weight.tolist() == weights
    batch = Batch.from_data_list(parts)
    wanted = Batch.from_data_list([*map(transform, parts)])
    # The names of one graph, or of every graph, as PyG collates them.
    for names in (NAMES, batch.field_names):
        batch.field_names = names
        together = transform(batch)
        assert torch.equal(together.edge_index, wanted.edge_index)
        if has_weights:
            assert torch.equal(together.edge_weight, wanted.edge_weight)
    assert batch.num_edges == sum(data.num_edges for data in parts)  # As it was.


def test_strongest():
    table = pd.DataFrame({'field_a': ['b', 'a', 'a'], 'field_b': ['c', 'a', 'b']})
    for k in (1, 3, 9):
        wanted = [('b', 'c', 1.0), ('a', 'a', 1.0), ('a', 'b', 1.0)][:k]
        assert FieldPairs.strongest(table, k).pairs == wanted
    with pytest.raises(ValueError, match=r'`k` must be at least 1 \(got 0\)'):
        FieldPairs.strongest(table, 0)


@pytest.mark.parametrize('directed', [False, True])
def test_from_networkx(directed: bool):
    graph = (nx.DiGraph if directed else nx.Graph)()
    graph.add_edge('a', 'b', weight=2)
    graph.add_edge('c', 'c')
    if directed:
        graph.add_edge('b', 'a', weight=-1)
    transform = FieldPairs.from_networkx(graph)
    data = transform(graph_of([0, 1, 2], [(0, 1), (1, 0), (2, 2), (0, 2)], False))
    assert data.edge_index.t().tolist() == [[0, 1], [1, 0], [2, 2]]
    assert data.edge_weight.tolist() == [2, -1 if directed else 2, 1]
    assert str(transform) == f'FieldPairs({2 + directed} pairs, directed={directed})'


@pytest.mark.parametrize(
    ('pairs', 'directed', 'message'),
    [
        ([], False, 'no pairs'),
        (['ab'], False, "'ab' is no pair"),
        ([('a',)], False, r"\('a',\) is no pair"),
        ([('a', 'b', 1, 2)], True, 'is no pair'),
        ([('a', 'b'), ('b', 'a')], False, "'b', 'a' comes twice"),
        ([('a', 'b'), ('a', 'b', 2)], True, "'a', 'b' comes twice"),
        ([('a', 'b', float('nan'))], False, r"'a', 'b' is not finite \(nan\)"),
        ([('a', 'b', float('inf'))], False, 'not finite'),
    ],
)
def test_bad_pairs(pairs: list, directed: bool, message: str):
    with pytest.raises(ValueError, match=message):
        FieldPairs(pairs, directed)


def test_bad_graphs():
    FieldPairs([('a', 'b'), ('b', 'a')], directed=True)
    multi = nx.MultiGraph([('a', 'b'), ('a', 'b')])
    with pytest.raises(ValueError, match='several edges'):
        FieldPairs.from_networkx(multi)
    with pytest.raises(ValueError, match='no pairs'):
        FieldPairs.from_networkx(nx.Graph())
    data = graph_of([0, 1], [(0, 1)], False)
    with pytest.raises(ValueError, match=r"no field 'd' \(there are: a, b, c\)"):
        FieldPairs([('a', 'd')])(data)
    other = graph_of([0], [(0, 0)], False)
    other.field_names = ['b', 'a', 'c']
    with pytest.raises(ValueError, match='different `field_names`'):
        FieldPairs([('a', 'b')])(Batch.from_data_list([data, other]))
    del data.field_names
    with pytest.raises(ValueError, match='tells the field of no node'):
        FieldPairs([('a', 'b')])(data)
