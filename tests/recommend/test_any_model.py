"""Recommenders of models that the library does not know, and of its baselines."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import TABLES, build
from shop import (
    ARTICLES,
    CONTEXTS,
    CUSTOMERS,
    IDS,
    SALES,
    bought,
    make_graph,
    make_model,
    make_shop,
    row_of,
)
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import MF, ContextPopularity, Factors, IEDRFactors, Popularity, Repeat
from iedr_geo.recommend import ContextIgnoredWarning, Recommender, UnknownValueWarning
from iedr_geo.scoring import InteractionScorer

Data = InteractionDataset | BipartiteGraph
USERS = [str(customer) for customer in CUSTOMERS['customer']]


class Lookup(torch.nn.Module):
    """Has a score for each triple of numbers, and the last of each side for the new."""

    def __init__(self, dataset: InteractionDataset) -> None:
        super().__init__()
        sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
        self.table = torch.nn.Parameter(torch.randn(*(size + 1 for size in sizes)))
        self.asked: set[int] = set()

    def forward(self, batch: InteractionBatch) -> Tensor:
        self.asked |= set(batch.item_id.tolist())
        return self.table[batch.user_id, batch.item_id, batch.context_id]


class Pairs(torch.nn.Module):
    """Has a score for each pair of numbers."""

    def __init__(self, graph: BipartiteGraph) -> None:
        super().__init__()
        size = graph.num_users, graph.num_items
        self.table = torch.nn.Parameter(torch.randint(-3, 4, size).double())
        self.asked: set[int] = set()

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        self.asked |= set(item.flatten().tolist())
        return self.table[user, item]


class Encoded(NamedTuple):
    logits: Tensor
    parts: dict[str, Tensor]
    factors: IEDRFactors


class Towers(torch.nn.Module):
    """Has parts and factors, of which the second goes by the context."""

    def __init__(self, dataset: InteractionDataset) -> None:
        super().__init__()
        self.side = torch.nn.ParameterDict(
            {
                side: torch.randn(len(getattr(dataset, f'{side}s')), 4)
                for side in ('user', 'item', 'context')
            }
        )

    def encode(self, batch: InteractionBatch) -> Encoded:
        context = self.side['context'][batch.context_id]
        user, item = (
            Factors(x, x * context)
            for x in (self.side['user'][batch.user_id], self.side['item'][batch.item_id])
        )
        parts = {
            'taste': (user.intrinsic * item.intrinsic).sum(1),
            'mood': (user.extrinsic * item.extrinsic).sum(1),
        }
        return Encoded(sum(parts.values()), parts, IEDRFactors(user, item))

    def forward(self, batch: InteractionBatch) -> Tensor:
        return self.encode(batch).logits


@pytest.fixture(scope='module')
def shop() -> InteractionDataset:
    return make_shop()


@pytest.fixture(scope='module')
def graph() -> BipartiteGraph:
    return make_graph()


def number_of(dataset: InteractionDataset, context: dict[str, Any]) -> int:
    """The number of a context by the dataset's own table; -1 of one that is new."""
    table = dataset.context_frame
    same = (table[list(context)] == pd.Series(context)).all(axis=1)
    return int(np.flatnonzero(same)[0]) if same.any() else -1


def assert_scores(table: pd.DataFrame, scores: Tensor, left: set[str]) -> None:
    """Checks a table of items against the scores of all, best first."""
    item = table.columns[list(table).index('rank') - 1]
    best = sorted(left, key=lambda i: (-scores[IDS.index(i)].item(), IDS.index(i)))
    assert table[item].tolist() == best[: len(table)]
    assert table['score'].tolist() == [scores[IDS.index(i)].item() for i in table[item]]
    assert table['rank'].tolist() == list(range(1, len(table) + 1))


@pytest.mark.parametrize('sales', [SALES, SALES[::-1]], ids=['as they are', 'backwards'])
def test_known_by_their_numbers(sales):
    """Whatever the order of the log; -1 is what is new."""
    shop = make_shop(sales)
    model = Lookup(shop)
    recommender = Recommender(model, shop)
    new = {'day': 'mon', 'gift': None}
    found = set()
    for context in (*shop.context_frame.to_dict('records'), new):
        place = number_of(shop, context)
        found.add(place)
        shuffled = pd.Series(dict(reversed(context.items())), dtype=object)
        for user, number in ((30, USERS.index('30')), ('4', USERS.index('4'))):
            for one in (context, shuffled):
                table = recommender.recommend(user, one)
                left = set(IDS) - bought(int(user))
                assert_scores(table, model.table[number, :, place], left)
        stranger = row_of(30)  # Described, not named: a person of no number.
        assert_scores(
            recommender.recommend(stranger, context), model.table[-1, :, place], {*IDS}
        )
        like = ARTICLES.to_dict('records')[2]
        for item, row in ((40, IDS.index('40')), (like, -1)):
            score = recommender.score(stranger, item, context)
            assert score == model.table[-1, row, place].item()
    assert found == {*range(shop.num_contexts), -1}
    users = [30, {'town': 'y'}, 4, 'Zoe', 30, 4]
    contexts = [CONTEXTS[0], new, CONTEXTS[3], CONTEXTS[0], new, CONTEXTS[1]]
    pairs = zip(users, contexts, strict=True)
    rows = pd.DataFrame([{'customer': u} | c for u, c in pairs], dtype=object)
    with pytest.warns(UnknownValueWarning, match="'Zoe'"):
        many = recommender.recommend_many(rows, 12, exclude_seen=False)
    for row, user in enumerate(users):
        number = USERS.index(str(user)) if str(user) in USERS else -1
        scores = model.table[number, :, number_of(shop, contexts[row])]
        assert_scores(many[many['row'] == row], scores, {*IDS})


SPELLINGS: list[tuple[int, dict[str, Any]]] = [
    (0, {'time': pd.Timestamp('2024-02-28 12:00'), 'heat': np.float32(1)}),
    (0, {'time': '2024-02-29 23:00:00.5', 'heat': '1', 'snacks': ('m', 'm')}),
    (1, {'time': np.datetime64('2024-03-03T11:59'), 'heat': 2, 'snacks': float('nan')}),
    (3, {'with': float('nan'), 'time': pd.NaT, 'heat': pd.NA, 'snacks': ['n', 'm']}),
    (3, {'snacks': np.array(['m', 'n'])}),
    (4, {'heat': -3, 'snacks': ()}),
]


@pytest.mark.parametrize('order', [1, -1])
@pytest.mark.parametrize(('row', 'changes'), SPELLINGS)
def test_contexts_in_other_words(row, changes, order):
    log = TABLES['log']
    dataset = build(TABLES | {'log': log[::order]})
    model = Lookup(dataset)
    context = log[['with', 'time', 'heat', 'snacks']].iloc[row].to_dict() | changes
    place = dataset.context[row if order == 1 else len(log) - 1 - row]
    recommender = Recommender(model, dataset)
    user, item = dataset.user_ids.get_loc('7'), dataset.item_ids.get_loc('11')
    score = recommender.score(7, 11, context)
    assert score == model.table[user, item, place].item()


def test_popular_in_a_context(tmp_path):
    """Whichever number the context has, also in a folder."""
    for sales in (SALES, SALES[::-1]):
        shop = make_shop(sales)
        recommender = Recommender(ContextPopularity.fit(shop), shop)
        recommender.save(tmp_path / 'model')
        every = Counter(map(str, sales['article']))
        for one in (recommender, Recommender.load(tmp_path / 'model')):
            for context in CONTEXTS:
                here = (sales[list(context)] == pd.Series(context)).all(axis=1)
                counts = Counter(map(str, sales['article'][here]))
                table = one.recommend(5, dict(reversed(context.items())), 12, False)
                best = sorted(IDS, key=lambda i: (-counts[i], -every[i], IDS.index(i)))
                assert table['article'].tolist() == best
                shares = [counts[i] + every[i] / (1 + len(sales)) for i in best]
                assert table['score'].tolist() == pytest.approx(shares)


@pytest.mark.parametrize('kind', ['dataset', 'graph'])
def test_candidates_alone_are_scored(shop, graph, kind):
    candidates, k = [100, 64, 31, 23, 7], 3
    data: Data = shop if kind == 'dataset' else graph
    model = Lookup(shop) if kind == 'dataset' else Pairs(graph)
    context = CONTEXTS[0] if kind == 'dataset' else None
    recommender = Recommender(model, data)
    recommender.recommend(30, context)  # Once, it is seen whether contexts matter.
    rows = pd.DataFrame([{'customer': u, 'user': u} | CONTEXTS[0] for u in (4, 30, 17)])
    for call in (
        lambda: recommender.recommend(30, context, k, candidates=candidates),
        lambda: recommender.recommend_many(rows, k, None, candidates, False),
    ):
        model.asked.clear()
        call()
        assert model.asked == {IDS.index(str(i)) for i in candidates}
    model.asked.clear()
    recommender.score(30, 40, context)
    assert model.asked == {IDS.index('40')}


def test_graph_by_numbers(graph):
    """Ties are in the order of the items."""
    model = Pairs(graph)
    recommender = Recommender(model, graph)
    assert recommender.parts == ()
    for number, user in enumerate(USERS):
        for exclude in (None, True, False):
            left = {*IDS} if exclude is False else {*IDS} - bought(int(user))
            for k in (1, 5, 20):
                table = recommender.recommend(user, None, k, exclude)
                assert len(table) == min(k, len(left))
                assert_scores(table, model.table[number], left)
        assert recommender.score(user, 7) == model.table[number, IDS.index('7')]
    found = recommender.explain(30, 7)
    assert (found.score, found.parts) == (recommender.score(30, 7), {})
    assert found.features.empty and str(found) == f'score {found.score:+.3f}'
    for call, message in (
        (lambda: recommender.recommend(99), 'no user 99, and no features'),
        (lambda: recommender.score(30, {'tags': 'p'}), "no item {'tags': 'p'}, and no"),
        (lambda: recommender.recommend(30, CONTEXTS[0]), "knows no contexts.*'day'"),
        (lambda: recommender.similar_items(40), r'no factor .*none'),
        (lambda: recommender.embeddings('user'), 'no vectors of users'),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize('missing', [None, np.nan, pd.NA, pd.NaT])
def test_missing_id_is_no_id(missing):
    log = pd.DataFrame({'user': ['None', 'nan', '<NA>', '7'], 'item': list('abca')})
    graph = BipartiteGraph.from_pandas(log)
    recommender = Recommender(MF(4, 3, 4), graph)
    assert len(recommender.recommend('None', k=3)) == 2
    for user in (7, '7', 7.0):
        assert len(recommender.recommend(user, k=3)) == 2
    with pytest.raises(ValueError, match='The model has no user'):
        recommender.recommend(missing)


def of_user(batch: InteractionBatch) -> Tensor:
    """Moves all scores with the context, and so no list."""
    return batch.item_id.float() + 100 * batch.context_id + batch.user_id


def many_contexts() -> InteractionDataset:
    """Each context has a row of its own, and few of the items."""
    log = TABLES['log'].iloc[[0] * 60].assign(heat=range(60))
    items = TABLES['items'].iloc[[0] * 200].assign(film=range(200))
    log = log.assign(film=[(7 * i) % 200 for i in range(60)])
    return build(TABLES | {'log': log, 'items': items})


@pytest.mark.parametrize(
    ('make', 'ignores'),
    [
        (Popularity.fit, True),
        (lambda shop: of_user, True),
        (Lookup, False),
        (ContextPopularity.fit, False),
        (Repeat.fit, False),
        (lambda shop: make_model(shop.schema), False),
        (lambda shop: make_model(shop.schema, generator='split'), False),
    ],
)
def test_a_model_that_ignores_contexts(make: Callable, ignores: bool, shop, tmp_path):
    """Is told of once, where one asks; other models never are."""
    for dataset in (shop, many_contexts()):
        row = dataset.context_frame.iloc[0].to_dict()
        user, name = dataset.user_ids[0], dataset.user_name
        model = make(dataset)
        made = [Recommender(model, dataset)]
        if isinstance(model, (Popularity, ContextPopularity, Repeat)):
            made[0].save(tmp_path / 'model')
            made.append(Recommender.load(tmp_path / 'model'))
        for recommender in made:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter('always')
                recommender.recommend(user, row)
                recommender.recommend(user, row, exclude_seen=False)
                recommender.recommend_many(pd.DataFrame([{name: user} | row]))
                recommender.compare_contexts(user, row, row)
            told = [w for w in caught if w.category is ContextIgnoredWarning]
            assert len(told) == ignores
            assert not told or told[0].filename == __file__
            assert not told or f'{type(model).__name__} do not' in str(told[0].message)
    one = shop[:1]
    one.contexts, one.context = shop.contexts.select(shop.context[:1]), torch.tensor([0])
    one.context_frame = shop.context_frame.iloc[:1]
    with warnings.catch_warnings():
        warnings.simplefilter('error', ContextIgnoredWarning)
        Recommender(make(one), one).recommend(30, CONTEXTS[0])  # There is no other.


def test_who_looks_up_ids_must_know_what_is_new(shop):
    class Table(torch.nn.Module):
        def __init__(self, side: str) -> None:
            super().__init__()
            self.side, size = side, len(getattr(shop, f'{side}s'))
            self.weight = torch.nn.Embedding(size, 1)

        def forward(self, batch: InteractionBatch) -> Tensor:
            ids = getattr(batch, f'{self.side}_id')
            return self.weight(ids).squeeze(1) + batch.item_id

    for side, user, item, context in (
        ('user', {'town': 'x'}, 40, CONTEXTS[0]),
        ('item', 30, {'tags': 'p'}, CONTEXTS[0]),
        ('context', 30, 40, {'day': None, 'gift': None}),
    ):
        for other in ('user', 'item', 'context'):
            recommender = Recommender(Table(other), shop)
            for call in (recommender.score, recommender.explain):
                if other != side:
                    call(user, item, context)
                    continue
                with pytest.raises(ValueError, match=f'the id of each {side}, and'):
                    call(user, item, context)


def test_compared_without_parts(shop):
    model = Lookup(shop)
    recommender = Recommender(model, shop)
    a, b = CONTEXTS[0], CONTEXTS[3]
    table = recommender.compare_contexts(30, a, b, k=4, exclude_seen=False)
    assert list(table) == ['article', 'rank_a', 'rank_b', 'change', 'score_a', 'score_b']
    tops = [recommender.recommend(30, c, 4, False).set_index('article') for c in (a, b)]
    assert {*table['article']} == {*tops[0].index, *tops[1].index}
    for _, row in table.iterrows():
        for top, context, name in zip(tops, (a, b), 'ab', strict=True):
            score = recommender.score(30, row['article'], context)
            assert row[f'score_{name}'] == score
            rank = top['rank'].get(row['article'])
            assert rank == row[f'rank_{name}'] or pd.isna(row[f'rank_{name}'])
    for call in (recommender.similar_items, recommender.similar_users):
        with pytest.raises(ValueError, match=r'no factor .*none'):
            call(30, a)
    with pytest.raises(ValueError, match='no vectors of items'):
        recommender.embeddings('item', a)


def test_parts_and_factors_of_ones_own(shop):
    """Those that `encode` returns; the score is their sum, and what is alike by one."""
    model, context = Towers(shop), CONTEXTS[1]
    recommender = Recommender(model, shop)
    assert isinstance(recommender.scorer, InteractionScorer)
    assert recommender.parts == ('taste', 'mood')
    place, user = number_of(shop, context), USERS.index('30')
    items, here = model.side['item'].detach(), model.side['context'][place].detach()
    table = recommender.recommend(30, context, 12, False).set_index('article')
    taste = items @ model.side['user'][user].detach()
    mood = (items * here) @ (model.side['user'][user].detach() * here)
    np.testing.assert_allclose(table['taste'][IDS], taste, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table['mood'][IDS], mood, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table['taste'] + table['mood'], table['score'], rtol=1e-5)
    compared = recommender.compare_contexts(30, CONTEXTS[0], context)
    assert set(compared['factor']) == {'mood'} and not compared['taste_change'].any()
    for by, vectors in (('intrinsic', items), ('extrinsic', items * here)):
        found = recommender.similar_items(40, context, 11, by).set_index('article')
        cosine = torch.cosine_similarity(vectors, vectors[IDS.index('40')], dim=1)
        expected = pd.Series(cosine.tolist(), IDS)[found.index]
        np.testing.assert_allclose(found['similarity'], expected, rtol=1e-5, atol=1e-6)
        assert found['similarity'].is_monotonic_decreasing and len(found) == 11
    found = recommender.explain(30, 40, context)
    assert sum(found.parts.values()) == pytest.approx(found.score, rel=1e-5)
    assert not found.features['difference'].any()  # Ids stay what they are.


def test_explanations_of_any_model(shop):
    """A sum over nodes loses what a node counts, a number of edges those of a pair."""
    weight = torch.randn(shop.schema.num_embeddings)
    names = shop.schema.names()

    def linear(batch: InteractionBatch) -> Tensor:
        total = torch.zeros(len(batch))
        for side in ('user', 'item', 'context'):
            graphs = getattr(batch, side)
            nodes = weight[graphs.x] * graphs.get('value', torch.ones(len(graphs.x)))
            sums = torch.zeros(graphs.num_graphs).index_add(0, graphs.batch, nodes)
            total = total + sums[getattr(batch, f'{side}_graph')]
        return total

    def edges(batch: InteractionBatch) -> Tensor:
        graphs = batch.item
        count = torch.bincount(graphs.batch[graphs.edge_index[0]])
        return count.float()[batch.item_graph]

    for user, item in ((4, 112), ({'age': -2, 'income': 1, 'town': 'x'}, 112)):
        described = row_of(4) if user == 4 else user
        values = {
            'age=<number>': described['age'],
            'income=<number>': described['income'],
        }
        found = Recommender(linear, shop).explain(user, item, CONTEXTS[0])
        assert found.parts == {} and len(found.features) > 8
        for _, row in found.features.iterrows():
            expected = weight[names.index(row['feature'])] * values.get(row['feature'], 1)
            assert row['difference'] == pytest.approx(float(expected), abs=1e-5)
        assert found.pairs['difference'].abs().max() < 1e-5
    found = Recommender(edges, shop).explain(4, 112, CONTEXTS[0])
    pairs = found.pairs[found.pairs['side'] == 'item']
    assert found.score == pairs['difference'].sum() == len(pairs) ** 2 / 100 * 16
    same = pairs['feature_a'] == pairs['feature_b']
    assert pairs['difference'].tolist() == [1.0 if one else 2.0 for one in same]
    found = Recommender(Lookup(shop), shop).explain(4, 112, CONTEXTS[0])
    assert str(found).endswith('No feature changes it.')
