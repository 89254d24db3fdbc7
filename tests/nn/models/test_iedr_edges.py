"""IEDR on graphs with other edges and with vectors: both forms, and double loops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from cinema import DIRECTED, EDGES, FIELDS, make_cinema, values_of
from torch import Tensor
from torch_geometric.data import Batch

from iedr_geo.data import InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import IEDR, IEDR_VARIANTS
from iedr_geo.transforms import FieldPairs, RemoveSelfLoops
from runs import assert_same_run, run

# Graphs without edges are what some of these tests are about.
pytestmark = pytest.mark.filterwarnings('ignore:.*graphs have no edges')

FOLLOW = [f'x_{side}' for side in FIELDS]
ROWS = [0, 1, 2, 3, 0, 4, 5, 6, 7]
VARIANTS = {
    name: IEDR_VARIANTS[name] for name in ('IEDR', 'BI', 'AVG', 'dropout', 'released')
}
VARIANTS['residual'] = {'generator': 'residual', 'pointwise': True}
VARIANTS['BI and dropout'] = {'encoder': 'bi', 'dropout': 0.3}


@pytest.fixture(scope='module')
def cinema() -> InteractionDataset:
    return make_cinema()


def make(dataset: InteractionDataset, **kwargs: Any) -> IEDR:
    torch.manual_seed(0)
    sizes = {'channels': 3, 'hidden_channels': 5, 'num_negatives': 3}
    return IEDR(dataset.schema.num_embeddings, **sizes, **kwargs).double()


def as_batch(dataset: InteractionDataset, rows: list[int] = ROWS) -> InteractionBatch:
    part = dataset[rows]
    return InteractionBatch.from_ids(part, part.user, part.item, part.context, part.y)


@pytest.mark.parametrize(
    ('variant', 'edges'),
    [
        *product(('IEDR', 'dropout', 'residual'), EDGES),
        *product(('BI', 'BI and dropout', 'AVG', 'released'), ('own', 'some without')),
    ],
)
def test_distinct_graphs_equal_rows_of_their_own(
    variant, edges, cinema, device, monkeypatch
):
    # Rows that are contrasted once draw once, which rows of their own do not.
    monkeypatch.setattr(
        'iedr_geo.nn.models.iedr.distinct_pairs', lambda *ids: (None, None)
    )
    dataset = cinema.with_edges(**EDGES[edges])
    model = make(dataset, **VARIANTS[variant]).to(device)
    batch = as_batch(dataset.to(device))
    fast = run(model, batch)
    if edges != 'none':  # Or equal gradients would say nothing.
        for name in ('embedding', 'encoders.user', 'encoders.item', 'encoders.context'):
            mine = [g for n, g in fast['total'].items() if n.startswith(name)]
            assert all(g.abs().max() > 1e-6 for g in mine), name
    assert_same_run(run(model, batch.expand()), fast, tol=1e-10)
    samples = [dataset[i] for i in ROWS]
    plain = Batch.from_data_list(samples, follow_batch=FOLLOW).to(device)
    assert_same_run(run(model, plain), fast, tol=1e-10)


@pytest.mark.parametrize('variant', VARIANTS)
def test_complete_graphs_by_a_transform_are_those_by_default(variant, cinema):
    model = make(cinema, **VARIANTS[variant])
    drawn = make_cinema(edges=EDGES['complete again'])
    assert_same_run(run(model, as_batch(drawn)), run(model, as_batch(cinema)), tol=0)
    for side in FIELDS:
        assert getattr(drawn, f'{side}s').edges is None


@pytest.mark.parametrize('variant', ['IEDR', 'dropout', 'BI'])
def test_weights_of_one_are_no_weights(variant, cinema):
    def weigh(data):
        data.edge_weight = torch.ones(data.num_edges)
        return data

    model = make(cinema, **VARIANTS[variant])
    for edges in (None, RemoveSelfLoops()):
        plain = cinema.with_edges(**dict.fromkeys(FIELDS, edges))
        weighted = cinema.with_edges(
            **dict.fromkeys(FIELDS, lambda data, e=edges: weigh(e(data) if e else data))
        )
        assert weighted.users.edges.weight.eq(1).all()
        runs = [run(model, as_batch(dataset)) for dataset in (plain, weighted)]
        assert_same_run(*runs, tol=1e-12)


# Whether there is an edge from a node of one field and place to another: its weight.
Rule = Callable[[str, int, str, int], float | None]


def without_loops(one: str, i: int, two: str, j: int) -> float | None:
    return None if i == j else 1.0


def weighted(one: str, i: int, two: str, j: int) -> float | None:
    weights = {
        ('taste', 'town'): 2.0,
        ('age', 'age'): -0.5,
        ('poster', 'studio'): 0.5,
        ('genres', 'genres'): 3.0,
        ('poster', 'poster'): 1.0,
        ('time.hour.cyclic', 'with'): 0.25,
        ('time.weekday', 'time.weekday'): 1.0,
    }
    return weights.get(tuple(sorted((one, two))))


def composed(one: str, i: int, two: str, j: int) -> float | None:
    return None if i == j else weighted(one, i, two, j)


def directed(source: str, i: int, target: str, j: int) -> float | None:
    weights = {
        ('taste', 'town'): 1.0,
        ('age', 'town'): 2.0,
        ('genres', 'studio'): 3.0,
        ('poster', 'studio'): 1.0,
        ('with', 'time.hour.cyclic'): 1.0,
    }
    return weights.get((source, target))


def own(source: str, i: int, target: str, j: int) -> float | None:
    return 0.5 + i if j == i + 1 else None


RULES: dict[str, Rule] = {
    'complete': lambda *ends: 1.0,
    'loops removed': without_loops,
    'weighted': weighted,
    'directed': directed,
    'composed': composed,
    'complete again': lambda *ends: 1.0,
    'own': own,
    'none': lambda *ends: None,
}


def features_by_hand(
    table: Tensor, dataset: InteractionDataset, side: str, row: int
) -> list[tuple[str, Tensor]]:
    """Field and features of each node, read off the tables and the vocabulary."""
    schema, nodes = dataset.schema, []
    for field, value, factor in values_of(side, row):
        first = schema.offsets(side)[field]
        if value == '<vector>':  # Its entries times as many rows.
            rows = table[first + 2 : first + 2 + len(factor)]
            z = sum(float(v) * e for v, e in zip(factor, rows, strict=True))
        elif value is None:
            z = table[first + 1]
        else:
            place = schema.vocabulary[side][field].index(value)
            z = float(factor) * table[first + 2 + place]
        nodes.append((field, z))
    return nodes


def readout_by_hand(nodes: list[tuple[str, Tensor]], rule: Rule, message) -> Tensor:
    out = torch.zeros_like(nodes[0][1])
    for j, (target, z_j) in enumerate(nodes):
        total, degree = torch.zeros_like(out), 0
        for i, (source, z_i) in enumerate(nodes):
            weight = rule(source, i, target, j)
            if weight is not None:
                degree += 1
                total = total + weight * message(z_j * z_i)
        out = out + total / max(1, degree)
    return out / len(nodes)


@pytest.mark.parametrize('edges', RULES)
@pytest.mark.parametrize('encoder', ['sign', 'bi'])
def test_readouts_against_double_loops(edges, encoder, cinema, perceptron, assert_same):
    dataset = cinema.with_edges(**EDGES[edges])
    model = make(dataset, encoder=encoder)
    batch = as_batch(dataset)
    places = {'user': dataset.user, 'item': dataset.item}
    for side, actual in zip(FIELDS, model.readouts(batch), strict=True):
        network = model.encoders[side].conv.nn

        def message(x: Tensor, network=network) -> Tensor:
            return x if encoder == 'bi' else perceptron(network, x)

        expected = []
        for ticket in ROWS:
            row = ticket if side == 'context' else int(places[side][ticket])
            nodes = features_by_hand(model.embedding.weight, dataset, side, row)
            expected.append(readout_by_hand(nodes, RULES[edges], message))
        tensors = [model.embedding.weight] if edges != 'none' else []
        # Values and vectors are stored in single precision.
        assert_same(actual, torch.stack(expected), tensors, tol=1e-6)


def test_directed_edges_point_where_messages_go(cinema):
    """The target alone has a message, of its source."""
    [graph] = cinema.with_edges(user=DIRECTED['user']).users.batch(torch.tensor([0]))[:]
    assert graph.edge_index.tolist() == [[1, 2], [0, 0]]
    turned = FieldPairs([('town', 'taste')], directed=True)
    graph = cinema.with_edges(user=turned).users[0]
    assert graph.edge_index.tolist() == [[0], [2]]


def test_features_of_nodes(cinema):
    """Vectors are a linear map of theirs, in the pointwise terms too."""
    model = make(cinema, pointwise=True)
    graphs = cinema.items.batch(torch.tensor([3, 2, 0]))
    expected = [
        features_by_hand(model.embedding.weight, cinema, 'item', i) for i in (3, 2, 0)
    ]
    nodes = torch.stack([z for film in expected for _, z in film])
    torch.testing.assert_close(model.node_features(graphs), nodes)
    _, terms = model.encode_graphs('item', graphs)
    sums = [
        sum(z for _, z in features_by_hand(model.pointwise.weight, cinema, 'item', i))
        for i in (3, 2, 0)
    ]
    torch.testing.assert_close(terms, torch.cat(sums))


def test_gradient_of_a_vector_is_the_vector(cinema):
    """Each row that it is multiplied with has its entry; a blank one has none."""
    model = make(cinema)
    first = cinema.schema.offsets('item')['poster']
    for film, vector in ((0, [1, 2, -1]), (1, [0.5, 0, 2]), (4, [0, 0, 0])):
        model.zero_grad()
        nodes = model.node_features(cinema.items.batch(torch.tensor([film])))
        nodes[-1].sum().backward()
        grad = model.embedding.weight.grad[first : first + 5]
        assert torch.equal(
            grad, torch.tensor([0, 0, *vector]).double()[:, None].expand(5, 3)
        )
        assert model.embedding.weight.grad.abs().sum() == 3 * np.abs(vector).sum()


def test_complete_graphs_that_lose_an_edge_are_seen(cinema):
    """Batches note down that they are complete; what changes them must not be lost."""
    model, batch = make(cinema), as_batch(cinema)
    fewer = copy.copy(batch)
    fewer.item = RemoveSelfLoops()(batch.item)
    expected = model(as_batch(cinema.with_edges(item=RemoveSelfLoops())))
    assert torch.equal(model(fewer), expected)
    assert (model(batch) != expected).any()
    weighted = copy.copy(batch)
    weighted.item = copy.copy(batch.item)
    weighted.item.edge_weight = torch.full((batch.item.num_edges,), 2.0)
    expected = 2 * model.readouts(batch)[1]
    torch.testing.assert_close(model.readouts(weighted)[1], expected)
