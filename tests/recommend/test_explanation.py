"""Explanations against scores of samples that are put together by hand."""

from __future__ import annotations

import copy
from itertools import combinations_with_replacement
from typing import Any

import pandas as pd
import pytest
import torch
from cinema import EDGES, FIELDS, make_cinema
from shop import CONTEXTS, make_model, make_shop
from torch_geometric.data import Batch, Data

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionData,
    InteractionDataset,
    MultiCategorical,
)
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Explanation, Recommender, UnknownValueWarning
from iedr_geo.recommend.explanation import explain
from iedr_geo.transforms import FieldPairs

SHOP = make_shop()
CONTEXT = CONTEXTS[1]
FEATURES = [
    *(('user', f) for f in ('customer=4', 'age=<number>', 'income=<number>', 'town=y')),
    *(('item', f) for f in ('tags=p', 'tags=q', 'tags=r', 'price=3 to 9')),
    *(('context', f) for f in ('day=mon', 'gift=False')),
]
# One without an id, and an article with a tag that no other has.
STRANGER = {'age': -2, 'income': 0.5, 'town': 'y'}
NOVELTY = {'tags': 's|p|z', 'price': 8.5}
NEW_FEATURES = [
    ('user', 'customer=<missing>'),
    *FEATURES[1:4],
    *(('item', f) for f in ('tags=s', 'tags=p', 'tags=<unknown>', 'price=3 to 9')),
    *FEATURES[8:],
]


def encoded(dataset: InteractionDataset, **rows: dict[str, Any]) -> dict[str, Data]:
    """The graph of each side, by its features."""
    graphs = {}
    for side, row in rows.items():
        blank = dict.fromkeys(dataset.schema.sources(side))
        graphs[side] = dataset.schema.encode(
            side, pd.DataFrame([blank | row], dtype=object)
        )[0]
        for name in ('graph_id', 'node_id'):
            graphs[side].pop(name, None)
    return graphs


def scores_of(model: IEDR, variants: list[dict[str, Data]]) -> list[float]:
    samples, follow = [], [f'x_{side}' for side in FIELDS]
    for graphs in variants:
        data = InteractionData(num_nodes=sum(g.num_nodes for g in graphs.values()))
        for side, graph in graphs.items():
            for name, value in graph:
                data[f'{name}_{side}'] = value
        samples.append(data)
    return model(Batch.from_data_list(samples, follow_batch=follow)).tolist()


def without(graph: Data, nodes: set[int], i: int = -1, j: int = -1) -> Data:
    """Writes down what is left, node by node and edge by edge."""
    kept = [n for n in range(graph.num_nodes) if n not in nodes]
    edges = [
        (e, kept.index(source), kept.index(target))
        for e, (source, target) in enumerate(graph.edge_index.t().tolist())
        if not {source, target} & nodes and {source, target} != {i, j}
    ]
    out, rows = copy.copy(graph), [e for e, *_ in edges]
    out.x = graph.x[kept]
    ends = [pair for _, *pair in edges]
    out.edge_index = torch.tensor(ends, dtype=torch.long).view(-1, 2).t()
    if 'edge_weight' in graph:
        out.edge_weight = graph.edge_weight[rows]
    if 'value' in graph:
        out.value = graph.value[kept]
    for name in graph.keys():  # noqa: SIM118
        if name.startswith('vector_'):
            owners = [n for n, x in enumerate(graph.x.tolist()) if x == int(name[7:])]
            out[name] = graph[name][[row for row, n in enumerate(owners) if n in kept]]
    return out


def check(found: Explanation, model: IEDR, graphs: dict[str, Data]) -> None:
    """Compares all rows with scores of samples by hand."""
    sides: dict[str, list[str]] = {'features': [], 'pairs': []}
    variants: dict[str, list] = {'features': [graphs], 'pairs': [graphs]}
    for side, graph in graphs.items():
        for i in range(graph.num_nodes):
            sides['features'].append(side)
            variants['features'].append(graphs | {side: without(graph, {i})})
        for pair in combinations_with_replacement(range(graph.num_nodes), 2):
            sides['pairs'].append(side)
            variants['pairs'].append(graphs | {side: without(graph, set(), *pair)})
    for name, table in (('features', found.features), ('pairs', found.pairs)):
        whole, *rest = scores_of(model, variants[name])
        assert found.score == pytest.approx(whole, abs=1e-10)
        assert sum(found.parts.values()) == pytest.approx(whole, abs=1e-10)
        assert table['side'].tolist() == sides[name]
        expected = [whole - score for score in rest]
        assert table['difference'].tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ('user', 'item', 'features', 'arguments'),
    [
        (4, 112, FEATURES, {'encoder': 'sign'}),
        (4, 112, FEATURES, {'encoder': 'bi', 'pointwise': True}),
        (4, 112, FEATURES, {'encoder': 'mean', 'pointwise': True}),
        (4, 112, FEATURES, {'encoder': 'mlp'}),
        (STRANGER, NOVELTY, NEW_FEATURES, {'generator': 'linear', 'pointwise': True}),
        (STRANGER, NOVELTY, NEW_FEATURES, {'generator': 'split'}),
        (STRANGER, NOVELTY, NEW_FEATURES, {'generator': 'residual', 'pointwise': True}),
    ],
)
@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.UnknownValueWarning')
def test_equals_samples_by_hand(user, item, features, arguments, device):
    """Neither the stored graphs nor the model are changed."""
    model = make_model(SHOP.schema, **arguments).double()
    recommender = Recommender(copy.deepcopy(model).to(device), SHOP)
    found = [recommender.explain(user, item, CONTEXT) for _ in range(2)]
    customer = {'customer': 4, 'age': 2, 'income': 2, 'town': 'y'}
    graphs = encoded(
        SHOP,
        user=user if isinstance(user, dict) else customer,
        item=item if isinstance(item, dict) else {'tags': 'p|q|r', 'price': 3},
        context=CONTEXT,
    )
    for one in found:
        check(one, model, graphs)
        rows = one.features[['side', 'feature']].itertuples(index=False, name=None)
        assert list(rows) == features
        pairs = [
            (side, a, b)
            for (side, a), (other, b) in combinations_with_replacement(features, 2)
            if side == other
        ]
        names = ['side', 'feature_a', 'feature_b']
        assert list(one.pairs[names].itertuples(index=False, name=None)) == pairs
        assert list(one.parts) == list(recommender.parts)
        assert one.features['difference'].abs().min() > 1e-6
    # What looks at no pairs has nothing to lose with them, others do.
    largest = one.pairs['difference'].abs().max()
    assert (largest < 1e-6) == (arguments.get('encoder') in ('mean', 'mlp'))


NEW = {'studio': 't', 'genres': 'q|p', 'poster': [2.0, -1.0, 0.5]}
# One edge and one vector: tensors of equal lengths, for different things.
SINGLE = {'item': FieldPairs([('studio', 'poster', 2)], directed=True)}


@pytest.mark.parametrize(
    ('edges', 'film'),
    [*((name, 13) for name in EDGES), ('single', 13), ('single', 11), ('weighted', NEW)],
)
@pytest.mark.filterwarnings('ignore:.*graphs have no edges')
def test_edges_and_vectors_of_ones_own(edges, film):
    dataset = make_cinema(EDGES.get(edges, SINGLE))
    model = make_model(dataset.schema, pointwise=True).double()
    context = {'time': pd.Timestamp('2024-03-02 06:45'), 'with': 'friends'}
    found = Recommender(model, dataset).explain(3, film, context)
    graphs = encoded(dataset, user={}, item=film if film is NEW else {}, context=context)
    stored = {'user': dataset.users[0]}
    if film is not NEW:
        stored['item'] = dataset.items[film - 10]
    for side, graph in stored.items():
        for name in ('graph_id', 'node_id'):
            graph.pop(name, None)
        graphs[side] = graph
    check(found, model, graphs)
    assert (found.pairs['difference'].abs().max() > 1e-6) == (edges != 'none')


@pytest.mark.parametrize('size', [1, 4])
def test_variants_in_chunks(size):
    """New ones of a stored sample keep its ids."""
    model, which = make_model(SHOP.schema, encoder='bi').double(), torch.tensor([2])

    def called(batch):
        sizes.append(len(batch))
        assert {*batch.user_id.tolist()} == {2} and {*batch.context_id.tolist()} == {-1}
        return model(batch)

    sizes: list[int] = []
    graphs = {side: (getattr(SHOP, f'{side}s').select(which), 2) for side in FIELDS}
    graphs['context'] = graphs['context'][0], -1
    arguments = graphs, SHOP.schema.names(), {'a': 1.0}, torch.device('cpu')
    one, two = explain(called, *arguments, size), explain(model, *arguments)
    assert set(sizes[:-1]) == {size}
    for name in ('features', 'pairs'):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))
    assert one.parts == two.parts == {'a': 1.0}


def test_sides_of_a_single_feature():
    """They have no rows: without it nothing would remain."""
    log = pd.DataFrame({'user': ['a', 'b'], 'item': [1, 2], 'place': ['x', 'y']})
    items = pd.DataFrame({'item': [1, 2], 'tags': [['p'], ['q', 'p']]})
    schema = FeatureSchema(
        [Categorical('user')], [MultiCategorical('tags')], [Categorical('place')]
    )
    dataset = InteractionDataset.from_pandas(log, None, items, schema)
    recommender = Recommender(make_model(schema), dataset)
    found = recommender.explain('a', 1, {'place': 'y'})
    assert list(found.features) == ['side', 'feature', 'difference']
    assert list(found.pairs) == ['side', 'feature_a', 'feature_b', 'difference']
    assert found.features.empty and found.pairs.empty
    assert 'Without' not in str(found)
    found = recommender.explain('a', 2, {'place': 'y'})
    assert found.features['feature'].tolist() == ['tags=q', 'tags=p']
    assert found.pairs['side'].tolist() == ['item'] * 3


def test_reads_well():
    """The score with its parts, features by the size of the difference, and a note."""
    recommender = Recommender(make_model(SHOP.schema), SHOP)
    with pytest.warns(UnknownValueWarning, match='tags'):
        found = recommender.explain(4, NOVELTY, CONTEXT)
    first, heading, *rows, note = str(found).splitlines()
    parts = [f'{name} {part:+.3f}' for name, part in found.parts.items()]
    assert first == f'score {found.score:+.3f} = ' + '  '.join(parts)
    assert heading == 'Without a feature it falls by:'
    assert 'do not add up' in note
    expected = found.features.sort_values('difference', key=lambda d: -d.abs())[:8]
    assert rows == [
        f'  {row.difference:+.3f}  {row.feature} ({row.side})'
        for row in expected.itertuples()
    ]
