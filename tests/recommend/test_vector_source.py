"""Recommendations by the vectors of users and items, against sorted inner products."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from shop import (
    ARTICLES,
    BIPARTITE,
    CUSTOMERS,
    IDS,
    assert_similar,
    bought,
    make_bipartite,
    make_graph,
)

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import BipartiteModel, LightGCN
from iedr_geo.recommend import Recommender


@pytest.fixture
def graph() -> BipartiteGraph:
    return make_graph()


def halves(model: BipartiteModel, user: int) -> dict[str, list[float]]:
    """Both parts of the scores of all items, by their definition."""
    users, items = model(torch.tensor(user), torch.arange(12))
    product = (users * items).tolist()
    return {
        'interest': [sum(row[:3]) for row in product],
        'conformity': [sum(row[3:]) for row in product],
    }


@pytest.mark.parametrize('kind', BIPARTITE)
def test_bipartite_equals_brute_force(graph, kind, device):
    model = make_bipartite(kind, graph)
    expected = {}
    for user, customer in enumerate(CUSTOMERS['customer']):
        scores = model.score(torch.full((12,), user), torch.arange(12)).tolist()
        columns = {'item': IDS, 'score': scores}
        columns |= halves(model, user) if kind == 'DICE' else {}
        table = pd.DataFrame(columns).sort_values('score', ascending=False, kind='stable')
        expected[customer] = table
    recommender = Recommender(model.to(device), graph.to(device))
    assert recommender.parts == (('interest', 'conformity') if kind == 'DICE' else ())
    for customer, scores in expected.items():
        for exclude, candidates in ((None, None), (True, IDS[2:9]), (False, None)):
            table = scores[scores['item'].isin(candidates or IDS)]
            if exclude is not False:
                table = table[~table['item'].isin(bought(customer))]
            for k in (1, 4, 20):
                actual = recommender.recommend(customer, None, k, exclude, candidates)
                assert list(actual) == ['item', 'rank', 'score', *recommender.parts]
                assert actual['rank'].tolist() == list(range(1, len(actual) + 1))
                assert_frame_equal(
                    actual.drop(columns='rank'),
                    table[:k].reset_index(drop=True),
                    check_dtype=False,
                )
    rows = pd.DataFrame({'user': [4, 17, 30, 4], 'day': 'mon'}, index=list('wxyz'))
    many = recommender.recommend_many(rows, 3)
    assert many['row'].tolist() == list('wwwyyyzzz')
    for label in 'wyz':
        one = recommender.recommend(rows.loc[label, 'user'], k=3)
        assert_frame_equal(
            many[many['row'] == label][list(one)].reset_index(drop=True), one
        )


@pytest.mark.parametrize('kind', BIPARTITE)
def test_bipartite_knows_neither_contexts_nor_strangers(graph, kind):
    recommender = Recommender(make_bipartite(kind, graph), graph)
    for stranger in (99, {'town': 'x'}):
        for call in (
            lambda one: recommender.recommend(one),
            lambda one: recommender.recommend_many(pd.DataFrame({'user': [30, one]})),
            lambda one: recommender.score(one, 40),
        ):
            with pytest.raises(ValueError, match=rf'no user {stranger!r}, and no feat'):
                call(stranger)
    with pytest.raises(ValueError, match='no item 99'):
        recommender.score(30, 99)
    for call in (
        recommender.recommend,
        lambda *args: recommender.score(args[0], 40, args[1]),
    ):
        with pytest.raises(ValueError, match=r"knows no contexts.*'day'"):
            call(30, {'day': 'mon'})


@pytest.mark.parametrize('by', [None, 'interest', 'conformity'])
def test_bipartite_similarity(graph, by):
    model = make_bipartite('DICE', graph)
    model.backbone.reset_parameters()
    recommender = Recommender(model, graph)
    columns = model.factors[by or 'interest']
    for side, name in (('user', 'users'), ('item', 'items')):
        vectors = getattr(model.backbone, side).weight[:, columns]
        table = CUSTOMERS['customer'] if side == 'user' else ARTICLES['article']
        cosine = torch.nn.functional.cosine_similarity(vectors, vectors[1], dim=1)
        expected = dict(zip(map(str, table), cosine.tolist(), strict=True))
        del expected[str(table[1])]
        found = getattr(recommender, f'similar_{name}')(table[1], k=3, by=by)
        assert_similar(found, side, expected, 3)


def test_model_without_factors(graph):
    recommender = Recommender(make_bipartite('MF', graph), graph)
    with pytest.raises(ValueError, match=r'no factor .*none'):
        recommender.similar_items(40)


@pytest.mark.parametrize('kind', ['MF', 'DICE'])
def test_bipartite_explanation(graph, kind):
    recommender = Recommender(make_bipartite(kind, graph), graph)
    found = recommender.explain(30, 7)
    assert found.score == recommender.score(30, 7)
    assert tuple(found.parts) == recommender.parts
    assert kind == 'MF' or sum(found.parts.values()) == found.score
    assert found.features.empty and found.pairs.empty
    assert str(found).startswith(f'score {found.score:+.3f}')


def test_bipartite_model_goes_its_own_way(graph):
    """It is left in its mode, and later steps of training do not reach the vectors."""
    model = LightGCN(5, 12, *graph.adjacency(), channels=6, dropout=0.5)
    recommender = Recommender(model, graph)
    assert model.training
    expected = Recommender(model.eval(), graph).recommend(30)
    torch.nn.init.zeros_(model.item.weight)
    assert_frame_equal(recommender.recommend(30), expected)
