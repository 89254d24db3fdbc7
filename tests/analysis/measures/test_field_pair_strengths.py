"""Strengths of pairs of fields against a loop over rows and pairs."""

import pytest
import torch
from cinema import EDGES, FIELDS, make_cinema

from iedr_geo.analysis import field_pair_strengths
from iedr_geo.data import InteractionDataset
from iedr_geo.nn import IEDR, MeanEncoder


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
    ('edges', 'encoder', 'chunk_size', 'rows'),
    [
        ('complete', 'sign', 1024, range(8)),
        ('complete', 'bi', 2, [7, 2, 0, 1, 5, 3, 6, 4] * 2),
        ('weighted', 'sign', 2, range(8)),
        ('directed', 'bi', 1024, [0, 1, 1]),  # Rows count as often as they come.
        ('some without', 'sign', 2, range(8)),
    ],
)
def test_against_loops(cinema, edges, encoder, chunk_size, rows):
    dataset = cinema.with_edges(**EDGES[edges])[[*rows]]
    # Dropout plays no part.
    model = make(dataset, encoder=encoder, dropout=0.5)
    for side in FIELDS:
        expected = by_hand(model, dataset, side)
        table = field_pair_strengths(model, dataset, side, chunk_size)
        assert list(table) == ['field_a', 'field_b', 'strength']
        actual = {(a, b): s for a, b, s in table.itertuples(index=False)}
        assert actual == pytest.approx(expected, abs=1e-7) and len(table) == len(actual)
        assert table['strength'].is_monotonic_decreasing
        assert table['strength'].iloc[0] > 1e-3


def test_bad_arguments(cinema):
    own = MeanEncoder()
    own.conv = torch.nn.Identity()  # Of no pairs.
    for encoder, name in (('mean', 'Mean'), ('mlp', 'MLP'), (own, 'Mean')):
        with pytest.raises(ValueError, match=f'user encoder.*{name}Encoder, looks at no'):
            field_pair_strengths(make(cinema, encoder=encoder), cinema, 'user')
