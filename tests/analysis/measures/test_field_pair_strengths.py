"""Strengths of pairs of fields against a loop over rows and pairs."""

from itertools import product

import pandas as pd
import pytest
import torch
from cinema import EDGES, FIELDS, make_cinema

from iedr_geo.analysis import field_pair_strengths
from iedr_geo.data import InteractionDataset
from iedr_geo.nn import IEDR, MeanEncoder
from iedr_geo.transforms import FieldPairs


@pytest.fixture(scope='module')
def cinema() -> InteractionDataset:
    return make_cinema()


def make(dataset: InteractionDataset, **kwargs) -> IEDR:
    torch.manual_seed(3)
    return IEDR(dataset.schema.num_embeddings, 3, 5, **kwargs).double()


@torch.no_grad()
def by_hand(model: IEDR, dataset: InteractionDataset, side: str) -> dict:
    """The deviation of what each pair of fields adds to the readouts of the rows."""
    names, network = FIELDS[side], model.encoders[side].conv.nn
    graphs = getattr(dataset, f'{side}s')
    rows: list[dict] = []
    for entity in getattr(dataset, side).tolist():
        graph = graphs[entity]
        z = model.node_features(graphs.batch(torch.tensor([entity])))
        edges = graph.edge_index.t().tolist()
        weights = graph.get('edge_weight', torch.ones(len(edges))).tolist()
        offsets = list(dataset.schema.offsets(side).values())
        field = [sum(x >= first for first in offsets) - 1 for x in graph.x.tolist()]
        sums: dict = {}
        for (source, target), weight in zip(edges, weights, strict=True):
            degree = sum(other == target for _, other in edges)
            pair = tuple(sorted((field[source], field[target])))
            term = weight * network(z[source] * z[target]) / (degree * graph.num_nodes)
            sums[pair] = sums.get(pair, 0) + term
        rows.append(sums)
    pairs = {pair for sums in rows for pair in sums}
    zero = torch.zeros(3, dtype=torch.double)
    out = {}
    for a, b in pairs:
        table = torch.stack([sums.get((a, b), zero) for sums in rows])
        out[names[a], names[b]] = table.var(dim=0, correction=0).sum().sqrt().item()
    return out


@pytest.mark.filterwarnings('ignore:.*graphs have no edges')
@pytest.mark.parametrize(
    ('edges', 'encoder', 'chunk_size'),
    [
        ('complete', 'sign', 1024),
        ('complete', 'bi', 2),
        ('weighted', 'sign', 2),
        ('directed', 'bi', 1024),
        ('some without', 'sign', 2),
    ],
)
def test_against_loops(cinema, edges, encoder, chunk_size):
    dataset = cinema.with_edges(**EDGES[edges])
    # Dropout plays no part.
    model = make(dataset, encoder=encoder, dropout=0.5)
    for side in FIELDS:
        expected = by_hand(model, dataset, side)
        table = field_pair_strengths(model, dataset, side, chunk_size)
        assert list(table) == ['field_a', 'field_b', 'strength']
        actual = {(a, b): s for a, b, s in table.itertuples(index=False)}
        assert actual.keys() == expected.keys() and len(table) == len(expected)
        for pair, strength in expected.items():
            assert actual[pair] == pytest.approx(strength, abs=1e-7), pair
        assert table['strength'].is_monotonic_decreasing
        assert table['strength'].iloc[0] > 1e-3


def test_order_and_number_of_rows(cinema):
    """Rows count as often as they come; others of the dataset do not."""
    model = make(cinema)
    whole = field_pair_strengths(model, cinema, 'item')
    for rows in ([7, 2, 0, 1, 5, 3, 6, 4], [*range(8)] * 2):
        again = field_pair_strengths(model, cinema[rows], 'item')
        pd.testing.assert_frame_equal(again, whole)
    part = field_pair_strengths(model, cinema[[0, 1, 1]], 'item')
    expected = by_hand(model, cinema[[0, 1, 1]], 'item')
    for a, b, strength in part.itertuples(index=False):
        assert strength == pytest.approx(expected[a, b], abs=1e-7)
    assert field_pair_strengths(model, cinema[[3]], 'item')['strength'].max() < 1e-6


@pytest.mark.parametrize('k', [1, 3, 6, 99])
def test_strongest(cinema, k):
    model = make(cinema)
    strengths = by_hand(model, cinema, 'item')
    ranked = sorted(strengths, key=lambda pair: -strengths[pair])
    table = field_pair_strengths(model, cinema, 'item')
    transform = FieldPairs.strongest(table, k)
    assert isinstance(transform, FieldPairs) and not transform.directed
    assert transform.pairs == [(*pair, 1.0) for pair in ranked[:k]]
    kept = {frozenset(pair) for pair in ranked[:k]}
    graph = cinema.with_edges(item=transform).items[0]
    names = ['studio', 'genres', 'genres', 'poster']
    expected = [
        [i, j] for j, i in product(range(4), repeat=2) if {names[i], names[j]} in kept
    ]
    assert graph.edge_index.t().tolist() == expected


def test_bad_arguments(cinema):
    with pytest.raises(ValueError, match=r'`k` must be at least 1 \(got 0\)'):
        FieldPairs.strongest(pd.DataFrame(columns=['field_a', 'field_b']), 0)
    own = MeanEncoder()
    own.conv = torch.nn.Identity()  # Of no pairs.
    for encoder, name in (('mean', 'Mean'), ('mlp', 'MLP'), (own, 'Mean')):
        with pytest.raises(ValueError, match=f'user encoder.*{name}Encoder, looks at no'):
            field_pair_strengths(make(cinema, encoder=encoder), cinema, 'user')
