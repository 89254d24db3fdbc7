"""Recommenders of models that the library does not know, and of its baselines."""

from __future__ import annotations

import warnings
from typing import Any

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
    Pairs,
    bought,
    make_graph,
    make_model,
    make_shop,
    row_of,
)
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import DICE, MF, ContextPopularity, Popularity, Repeat
from iedr_geo.recommend import ContextIgnoredWarning, Recommender, UnknownValueWarning

USERS = CUSTOMERS['customer'].tolist()
SHOP, GRAPH = make_shop(), make_graph()
LOG, NAMES = TABLES['log'], ['with', 'time', 'heat', 'snacks']


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


def number_of(dataset: InteractionDataset, context: dict[str, Any]) -> int:
    """The number of a context by the dataset's own table; -1 of one that is new."""
    table = dataset.context_frame
    same = (table[list(context)] == pd.Series(context)).all(axis=1)
    return int(np.flatnonzero(same)[0]) if same.any() else -1


def assert_scores(table: pd.DataFrame, scores: Tensor, left: set[int]) -> None:
    """Checks a table of items against the scores of all, best first."""
    item = table.columns[list(table).index('rank') - 1]
    best = sorted(left, key=lambda i: (-scores[IDS.index(i)].item(), IDS.index(i)))
    assert table[item].tolist() == best[: len(table)]
    assert table['score'].tolist() == [scores[IDS.index(i)].item() for i in table[item]]
    assert table['rank'].tolist() == list(range(1, len(table) + 1))


@pytest.mark.parametrize('sales', [SALES, SALES[::-1]], ids=['as they are', 'backwards'])
@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.UnknownValueWarning')
def test_known_by_their_numbers(sales):
    """Whatever the order of the log; -1 is what is new."""
    shop = make_shop(sales)
    model = Lookup(shop)
    recommender = Recommender(model, shop)
    new, stranger = {'day': 'mon', 'gift': None}, row_of(30) | {'customer': None}
    for context in (*shop.context_frame.to_dict('records'), new):
        number = number_of(shop, context)
        assert (number < 0) == (context is new)
        table = recommender.recommend('4', context)
        scores = model.table[..., number]
        assert_scores(table, scores[USERS.index(4)], set(IDS) - bought(4))
        assert_scores(
            recommender.recommend(row_of(4), context),
            scores[USERS.index(4)],
            set(IDS) - bought(4),
        )
        # With features of its own it is new to the model, but not to the log.
        moved = recommender.recommend(row_of(4) | {'town': 'x'}, context)
        assert_scores(moved, scores[-1], set(IDS) - bought(4))
        # Described, not named: a person of no number.
        assert_scores(recommender.recommend(stranger, context), scores[-1], {*IDS})
        like = ARTICLES.drop(columns='article').to_dict('records')[2]
        for item, row in ((40, IDS.index(40)), (like, -1)):
            assert recommender.score(stranger, item, context) == scores[-1, row].item()
    users = [30, {'town': 'y'}, 4, 'Zoe', 30, 4]
    contexts = [CONTEXTS[0], new, CONTEXTS[3], CONTEXTS[0], new, CONTEXTS[1]]
    pairs = zip(users, contexts, strict=True)
    rows = pd.DataFrame([{'customer': u} | c for u, c in pairs], dtype=object)
    with pytest.warns(UnknownValueWarning, match="'Zoe'"):
        many = recommender.recommend_many(rows, 12, exclude_seen=False)
    for row, user in enumerate(users):
        number = USERS.index(user) if user in USERS else -1
        scores = model.table[number, :, number_of(shop, contexts[row])]
        assert_scores(many[many['row'] == row], scores, {*IDS})
    # Ids stay what they are without a feature.
    assert str(recommender.explain(4, 40, new)).endswith('No feature changes it.')


@pytest.mark.parametrize('order', [1, -1])
@pytest.mark.parametrize(
    ('row', 'changes'),
    [
        (0, {'time': pd.Timestamp('2024-02-28 12:00'), 'heat': np.float32(1)}),
        (0, {'time': '2024-02-29 23:00:00.5', 'heat': '1', 'snacks': ('m', 'm')}),
        (0, {'time': pd.Timestamp('2024-02-28 12:00', tz='Asia/Tokyo')}),
        (1, {'time': np.datetime64('2024-03-03T11:59'), 'heat': 2, 'snacks': np.nan}),
        (1, {'time': '2024-03-09T11:00:00+09:00'}),
        (3, {'with': np.nan, 'time': pd.NaT, 'heat': pd.NA, 'snacks': ['n', 'm']}),
        (3, {'time': np.nan, 'snacks': np.array(['m', 'n'])}),
        (4, {'heat': -3, 'snacks': ()}),
    ],
)
def test_contexts_in_other_words(row, changes, order):
    dataset = build(TABLES | {'log': LOG[::order]})
    model = Lookup(dataset)
    context = LOG[NAMES].iloc[row].to_dict() | changes
    recommender = Recommender(model, dataset)
    user, item = dataset.user_ids.get_loc('7'), dataset.item_ids.get_loc('11')
    context_id = dataset.context[row if order == 1 else len(LOG) - 1 - row]
    wanted = model.table[user, item, context_id].item()
    assert recommender.score(7, 11, pd.Series(context, dtype=object)) == wanted
    rows = pd.DataFrame([{'guest': 7} | context], dtype=object)
    assert recommender.recommend_many(rows, 1, False, [11])['score'].item() == wanted


def test_equal_contexts_are_encoded_once(monkeypatch):
    """However many minutes they have."""
    dataset, encoded = build(TABLES), []
    encode, recommender = dataset.schema.encode, Recommender(Lookup(dataset), dataset)
    rows = LOG[['guest', *NAMES]].iloc[[0, 0, 0, 1] * 50].reset_index(drop=True)
    rows['time'] += pd.to_timedelta(rows.index % 60, 'min')
    rows.loc[rows['time'].dt.hour < 6, 'time'] = None

    def spy(side, frame):
        encoded.append(len(frame))
        return encode(side, frame)

    monkeypatch.setattr(dataset.schema, 'encode', spy)
    many = recommender.recommend_many(rows, 1, exclude_seen=False)
    assert encoded == [3] and len(many) == len(rows)


@pytest.mark.parametrize('kind', [Lookup, Pairs])
def test_candidates_alone_are_scored(kind):
    candidates, k = [100, 64, 31, 23, 7], 3
    model, data = (Lookup(SHOP), SHOP) if kind is Lookup else (Pairs(), GRAPH)
    context = CONTEXTS[0] if data is SHOP else None
    recommender = Recommender(model, data)
    recommender.recommend(30, context)  # Once, it is seen whether contexts matter.
    rows = pd.DataFrame([{'customer': u, 'user': u} | CONTEXTS[0] for u in (4, 30, 17)])
    for call, asked in (
        (lambda: recommender.recommend(30, context, k, None, candidates), candidates),
        (lambda: recommender.recommend_many(rows, k, None, candidates), candidates),
        (lambda: recommender.score(30, 40, context), [40]),
    ):
        model.asked.clear()
        call()
        assert model.asked == {IDS.index(i) for i in asked}


def test_graph_by_numbers():
    """Ties are in the order of the items."""
    model = Pairs()
    recommender = Recommender(model, GRAPH)
    assert recommender.parts == ()
    for number, user in enumerate(USERS):
        for exclude in (None, True, False):
            left = {*IDS} if exclude is False else {*IDS} - bought(user)
            for k in (1, 5, 20):
                table = recommender.recommend(user, None, k, exclude)
                assert len(table) == min(k, len(left))
                assert_scores(table, model.table[number], left)
    found = recommender.explain(30, 7)
    assert found.score == recommender.score(30, 7) == model.table[0, IDS.index(7)]
    assert found.parts == {} and list(found.features) == ['side', 'feature', 'difference']
    assert str(found) == f'score {found.score:+.3f}'


@pytest.mark.parametrize(
    ('ask', 'message'),
    [
        (lambda r: r.recommend(99), 'no user 99, and no features'),
        (lambda r: r.score(30, {'tags': 'p'}), "no item {'tags': 'p'}, and no"),
        (lambda r: r.recommend(30, CONTEXTS[0]), "knows no contexts.*'day'"),
        (lambda r: r.similar_items(40), r'no factor .*none'),
        (lambda r: r.embeddings('user'), 'no vectors of users'),
        *(
            (lambda r, missing=missing: r.recommend(missing), 'The model has no user')
            for missing in (None, np.nan, pd.NA, pd.NaT)
        ),
    ],
)
def test_bad_questions(ask, message):
    """A missing id is no id, even where one is called like it."""
    users, items = ['None', 'nan', '<NA>', 'NaT', '30'], ['a', 'b', 'c', 'a', '40']
    graph = BipartiteGraph.from_pandas(pd.DataFrame({'user': users, 'item': items}))
    recommender = Recommender(Pairs(), graph)
    for user in ('None', 30, '30', 30.0):
        assert len(recommender.recommend(user)) == 3
    with pytest.raises(ValueError, match=message):
        ask(recommender)


def of_user(batch: InteractionBatch) -> Tensor:
    """Moves all scores with the context, and so no list."""
    return batch.item_id.float() + 100 * batch.context_id + batch.user_id


def many_contexts() -> InteractionDataset:
    """Each context has a row of its own, and few of the items."""
    films = [(7 * i) % 200 for i in range(60)]
    log = LOG.iloc[[0] * 60].assign(heat=range(60), film=films)
    items = TABLES['items'].iloc[[0] * 200].assign(film=range(200))
    return build(TABLES | {'log': log, 'items': items})


@pytest.mark.parametrize(
    ('make', 'ignores'),
    [
        (Popularity.fit, True),
        (lambda dataset: of_user, True),
        (Lookup, False),
        (ContextPopularity.fit, False),
        (Repeat.fit, False),
        (lambda dataset: make_model(dataset.schema), False),
        (lambda dataset: make_model(dataset.schema, generator='split'), False),
    ],
)
def test_a_model_that_ignores_contexts(make, ignores):
    """Is told of once, where one asks and there is more than one; others never are."""
    one_context = make_shop(SALES[SALES['day'] == 'mon'].assign(gift=True))
    for dataset in (SHOP, many_contexts(), one_context):
        context = dataset.context_frame.iloc[0].to_dict()
        user, name = dataset.user_ids[0], dataset.user_name
        model = make(dataset)
        recommender = Recommender(model, dataset)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            recommender.recommend(user, context)
            recommender.recommend_many(pd.DataFrame([{name: user} | context]))
        told = [w for w in caught if w.category is ContextIgnoredWarning]
        assert len(told) == (ignores and dataset.num_contexts > 1)
        for warning in told:
            assert warning.filename == __file__
            assert f'{type(model).__name__} do not' in str(warning.message)


@pytest.mark.parametrize('wrong', [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    'ask',
    [
        lambda r: r.recommend(30, CONTEXTS[0], 1),
        lambda r: r.recommend_many(pd.DataFrame([{'customer': 30} | CONTEXTS[0]]), 1),
        lambda r: r.recommend(30, CONTEXTS[0], candidates=[31, 40]),
        lambda r: r.score(30, 40, CONTEXTS[0]),
        lambda r: r.explain(30, 40, CONTEXTS[0]),
        lambda r: r.compare_contexts(30, *CONTEXTS[:2]),
    ],
)
def test_scores_that_are_not_finite(ask, wrong):
    """No list has such an item, first or last."""
    model = Lookup(SHOP)
    model.table.data[:, IDS.index(40)] = wrong
    with pytest.raises(ValueError, match=f"of item '40' for user '30': {wrong}"):
        ask(Recommender(model, SHOP))


def test_vectors_that_are_not_finite():
    model = DICE(MF(5, 12, 4), GRAPH.popularity)
    model.backbone.item.weight.data[3] = torch.nan
    recommender = Recommender(model, GRAPH)
    with pytest.raises(ValueError, match=f"1 of 12 .* of item '{IDS[3]}' for user '4'"):
        recommender.recommend(4)
    with pytest.raises(ValueError, match=f"1 of 12 .* of item '{IDS[3]}': nan"):
        recommender.similar_items(40)


def test_compared_without_parts():
    recommender = Recommender(Lookup(SHOP), SHOP)
    table = recommender.compare_contexts(30, CONTEXTS[0], CONTEXTS[3], k=4)
    assert list(table) == ['article', 'rank_a', 'rank_b', 'change', 'score_a', 'score_b']
    for context, name in ((CONTEXTS[0], 'score_a'), (CONTEXTS[3], 'score_b')):
        scores = [recommender.score(30, item, context) for item in table['article']]
        assert table[name].tolist() == scores
