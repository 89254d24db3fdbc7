"""Explanations against scores of samples that are put together by hand."""

from __future__ import annotations

import copy
from itertools import combinations_with_replacement
from typing import Any

import pandas as pd
import pytest
import torch
from cinema import EDGES, FIELDS, FILMS, GUESTS, make_cinema
from shop import CONTEXTS, make_model, make_shop
from torch_geometric.data import Batch, Data

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
)
from iedr_geo.loader import InteractionBatch
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
    *(('item', f) for f in ('tags=<unknown>', 'tags=p', 'tags=s', 'price=3 to 9')),
    *FEATURES[8:],
]


def encoded(dataset: InteractionDataset, **rows: dict[str, Any]) -> dict[str, Data]:
    """The graph of each side, by its features."""
    graphs = {}
    for side, row in rows.items():
        blank = dict.fromkeys(dataset.schema.sources(side))
        frame = pd.DataFrame([blank | row], dtype=object)
        graphs[side] = dataset.schema.encode(side, frame)[0]
        for name in ('graph_id', 'node_id'):
            graphs[side].pop(name, None)
    return graphs


def scores_of(model: IEDR, variants: list[dict[str, Data]]) -> list[float]:
    arguments: dict[str, Any] = {}
    for side in FIELDS:
        arguments[side] = Batch.from_data_list([graphs[side] for graphs in variants])
        arguments[f'{side}_graph'] = torch.arange(len(variants))
    return model(InteractionBatch(**arguments)).tolist()


def without(graph: Data, nodes: set[int], i: int = -1, j: int = -1) -> Data:
    """Writes down what is left, node by node and edge by edge."""
    kept = [n for n in range(graph.num_nodes) if n not in nodes]
    edges = {
        e: [kept.index(end) for end in ends]
        for e, ends in enumerate(graph.edge_index.t().tolist())
        if not {*ends} & nodes and {*ends} != {i, j}
    }
    out = copy.copy(graph)
    out.x = graph.x[kept]
    out.edge_index = torch.tensor([*edges.values()], dtype=torch.long).view(-1, 2).t()
    if 'edge_weight' in graph:
        out.edge_weight = graph.edge_weight[[*edges]]
    if 'value' in graph:
        out.value = graph.value[kept]
    for name in graph.keys():  # noqa: SIM118
        if name.startswith('vector_'):
            owners = [n for n, x in enumerate(graph.x.tolist()) if x == int(name[7:])]
            out[name] = graph[name][[row for row, n in enumerate(owners) if n in kept]]
    return out


def check(found: Explanation, model: IEDR, graphs: dict[str, Data]) -> None:
    """Compares all rows with scores of samples by hand."""
    features, pairs = [], []
    for side, graph in graphs.items():
        nodes = range(graph.num_nodes)
        features += [(side, without(graph, {i})) for i in nodes]
        both = combinations_with_replacement(nodes, 2)
        pairs += [(side, without(graph, set(), *pair)) for pair in both]
    for variants, table in ((features, found.features), (pairs, found.pairs)):
        assert table['side'].tolist() == [side for side, _ in variants]
        changed = [graphs | {side: variant} for side, variant in variants]
        whole, *rest = scores_of(model, [graphs, *changed])
        assert found.score == pytest.approx(whole, abs=1e-10)
        assert sum(found.parts.values()) == pytest.approx(whole, abs=1e-10)
        expected = [whole - score for score in rest]
        assert table['difference'].tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(
    ('user', 'item', 'features', 'arguments'),
    [
        (4, 112, FEATURES, {'encoder': 'sign'}),
        (4, 112, FEATURES, {'encoder': 'mean', 'pointwise': True}),
        (STRANGER, NOVELTY, NEW_FEATURES, {'encoder': 'bi', 'pointwise': True}),
        (STRANGER, NOVELTY, NEW_FEATURES, {'encoder': 'mlp', 'generator': 'split'}),
    ],
)
@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.UnknownValueWarning')
def test_equals_samples_by_hand(user, item, features, arguments, device):
    """Neither the stored graphs nor the model are changed."""
    model = make_model(SHOP.schema, **arguments).double()
    recommender = Recommender(copy.deepcopy(model).to(device), SHOP)
    customer = {'customer': 4, 'age': 2, 'income': 2, 'town': 'y'}
    graphs = encoded(
        SHOP,
        user=customer if user == 4 else user,
        item={'tags': 'p|q|r', 'price': 3} if item == 112 else item,
        context=CONTEXT,
    )
    pairs = [
        (side, a, b)
        for (side, a), (other, b) in combinations_with_replacement(features, 2)
        if side == other
    ]
    for one in [recommender.explain(user, item, CONTEXT) for _ in range(2)]:
        check(one, model, graphs)
        for table, rows in ((one.features, features), (one.pairs, pairs)):
            names = table.drop(columns='difference').itertuples(index=False, name=None)
            assert list(names) == rows
        assert list(one.parts) == list(recommender.parts)
        assert one.features['difference'].abs().min() > 1e-6
    # What looks at no pairs has nothing to lose with them, others do.
    largest = one.pairs['difference'].abs().max()
    assert (largest < 1e-6) == (arguments['encoder'] in ('mean', 'mlp'))


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
    item = film if film is NEW else FILMS.iloc[film - 10].to_dict()
    graphs = encoded(dataset, user=GUESTS.iloc[0].to_dict(), item=item, context=context)
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
    arguments = graphs, SHOP.schema, {'a': 1.0}, torch.device('cpu')
    one, two = explain(called, *arguments, size), explain(model, *arguments)
    assert set(sizes[:-1]) == {size}
    for name in ('features', 'pairs'):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(two, name))
    assert one.parts == two.parts == {'a': 1.0}


def test_sides_of_a_single_feature():
    """Without it nothing would remain: a missing value takes its place."""
    log = pd.DataFrame({'user': ['a', 'b'], 'item': [1, 2], 'place': ['x', 'y']})
    items = pd.DataFrame({'item': [1, 2], 'tags': [['p'], ['q', 'p']]})
    columns = [Categorical('user')], [MultiCategorical('tags')], [Categorical('place')]
    schema = FeatureSchema(*columns)
    dataset = InteractionDataset.from_pandas(log, None, items, schema)
    model = make_model(schema, encoder='bi', pointwise=True).double()
    recommender = Recommender(model, dataset)
    found = recommender.explain('a', 1, {'place': 'y'})
    assert list(found.pairs) == ['side', 'feature_a', 'feature_b', 'difference']
    assert found.features['feature'].tolist() == ['user=a', 'tags=p', 'place=y']
    assert found.pairs.empty
    graphs = encoded(
        dataset, user={'user': 'a'}, item={'tags': ['p']}, context={'place': 'y'}
    )
    variants = [
        graphs | encoded(dataset, **{side: dict.fromkeys([name])})
        for side, name in (('user', 'user'), ('item', 'tags'), ('context', 'place'))
    ]
    whole, *rest = scores_of(model, [graphs, *variants])
    differences = [whole - score for score in rest]
    assert found.features['difference'].tolist() == pytest.approx(differences, abs=1e-10)
    for feature, side, difference in zip(
        ('user=a', 'tags=p', 'place=y'), FIELDS, differences, strict=True
    ):
        line = f'  {difference:+.3f}  {feature} ({side}, replaced by missing)'
        assert line in str(found).splitlines()
    found = recommender.explain('a', 2, {'place': 'y'})
    assert found.features['feature'].tolist() == ['user=a', 'tags=p', 'tags=q', 'place=y']
    assert found.pairs['side'].tolist() == ['item'] * 3
    assert str(found).count('replaced by missing') == 2


def test_reads_well():
    """The score with its parts, features by the size of the difference, and a note."""
    recommender = Recommender(make_model(SHOP.schema), SHOP)
    with pytest.warns(UnknownValueWarning, match='tags'):
        found = recommender.explain(4, NOVELTY, CONTEXT)
    first, heading, *rows, note = str(found).splitlines()
    parts = '  '.join(f'{name} {part:+.3f}' for name, part in found.parts.items())
    assert first == f'score {found.score:+.3f} = {parts}'
    assert heading == 'Without a feature it falls by:' and 'do not add up' in note
    expected = found.features.sort_values('difference', key=lambda d: -d.abs())[:8]
    assert rows == [
        f'  {row.difference:+.3f}  {row.feature} ({row.side})'
        for row in expected.itertuples()
    ]
