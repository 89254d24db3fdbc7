"""Recommendations against forward passes over the whole catalogue, sorted in Python.

The models have small integers for parameters, so that every score is exact in whatever
order it is summed up, and articles that are alike tie.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from shop import (
    ARTICLES,
    BOUGHT,
    CONTEXTS,
    CUSTOMERS,
    IDS,
    SALES,
    assert_similar,
    batch_of,
    bought,
    make_graph,
    make_model,
    make_shop,
    parts_of,
    row_of,
)

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)
from iedr_geo.nn import IEDR, MF
from iedr_geo.recommend import Recommender, UnknownValueWarning

PARTS = ['intrinsic', 'extrinsic', 'cross', 'pointwise']
COLUMNS = ['article', 'rank', 'score', *PARTS]
CONTEXT = CONTEXTS[1]


@pytest.fixture(scope='module')
def shop() -> InteractionDataset:
    return make_shop()


@pytest.fixture
def model(shop: InteractionDataset) -> IEDR:
    """One whose rankings are other ones in other contexts."""
    return make_model(shop.schema, exact=True, encoder='bi', pointwise=True)


@pytest.fixture
def recommender(model: IEDR, shop: InteractionDataset) -> Recommender:
    return Recommender(model, shop)


def scored(
    model: IEDR,
    schema: FeatureSchema,
    customer: Mapping[str, Any],
    context: Mapping[str, Any],
) -> pd.DataFrame:
    """All articles for a customer that is described, best first."""
    batch = batch_of(schema, customer, context)
    columns = {'score': model(batch)} | parts_of(model, batch)
    lists = {name: column.tolist() for name, column in columns.items()}
    table = pd.DataFrame({'article': IDS, **lists})
    return table.sort_values('score', ascending=False, kind='stable')


def top(table: pd.DataFrame, articles: Iterable[str] = IDS, k: int = 10) -> pd.DataFrame:
    table = table[table['article'].isin(list(articles))][:k].reset_index(drop=True)
    table.insert(1, 'rank', table.index + 1)
    return table


def ranking(*described: Any, k: int = 10) -> pd.DataFrame:
    return top(scored(*described), k=k)


def assert_ranks(actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert_frame_equal(actual, expected, check_exact=True, check_dtype=False)


@pytest.mark.parametrize(
    ('generator', 'encoder'),
    [('mlp', 'bi'), ('linear', 'sign'), ('split', 'sign'), ('residual', 'mlp')],
)
def test_equals_brute_force(shop, generator, encoder):
    pointwise = generator != 'linear'
    model = make_model(
        shop.schema,
        exact=True,
        generator=generator,
        encoder=encoder,
        pointwise=pointwise,
    )
    recommender = Recommender(model, shop)
    assert recommender.parts == tuple(PARTS if pointwise else PARTS[:3])
    ties, orders = 0, set()
    for customer in CUSTOMERS['customer']:
        for context in CONTEXTS[1:3]:
            table = scored(model, shop.schema, row_of(customer), context)
            orders.add((customer, *table['article']))
            for exclude in (True, False):
                left = set(IDS) - (bought(customer) if exclude else set())
                for k in (4, 12):
                    actual = recommender.recommend(customer, context, k, exclude)
                    assert_ranks(actual, top(table, left, k))
                    ties += actual['score'].duplicated().sum()
    assert ties > 30 and len(orders) > len(CUSTOMERS)


@pytest.mark.parametrize('seen', [True, False])
def test_dataset_says_whether_seen_items_are_left_out(model, seen):
    recommender = Recommender(model, make_shop(exclude_seen=seen))
    default = recommender.recommend(30, CONTEXT, 12)
    assert_ranks(default, recommender.recommend(30, CONTEXT, 12, seen))
    assert len(default) == (9 if seen else 12)


def test_seen_are_the_rows_of_the_part_and_positive(model):
    """Of held-out rows nothing is known, and what was offered has not been had."""
    sales = SALES.assign(bought=[1, 0] + [1] * (len(SALES) - 2))
    dataset = make_shop(sales, label='bought')
    got = Recommender(model, dataset).recommend(30, CONTEXT, 12)['article']
    assert set(IDS) - set(got) == {'40', '77'}
    part = Recommender(model, dataset[: len(BOUGHT) - 12])
    assert len(part.recommend(17, CONTEXT, 12)) == 12


@pytest.mark.parametrize('k', [12, 13, 1000])
def test_catalogue_smaller_than_k(recommender, k):
    whole = recommender.recommend(21, CONTEXT, k, exclude_seen=False)
    assert sorted(whole['article']) == sorted(IDS)
    assert whole['rank'].tolist() == list(range(1, 13))
    assert len(recommender.recommend(30, CONTEXT, k, candidates=IDS[:3])) == 2


def test_nothing_left(recommender):
    """A table without rows has the columns, and their types, of one that has some."""
    empty = recommender.recommend(17, CONTEXT)
    assert list(empty) == COLUMNS and empty.empty
    assert (empty.dtypes == recommender.recommend(30, CONTEXT).dtypes).all()
    rows = pd.DataFrame([{'customer': c} | CONTEXT for c in (17, 30, 17)])
    many = recommender.recommend_many(rows, k=3)
    assert many['row'].tolist() == [1, 1, 1]
    many = recommender.recommend_many(rows[::2], k=3)
    assert list(many) == ['row', 'customer', *COLUMNS] and many.empty
    changes = recommender.compare_contexts(17, *CONTEXTS[:2])
    assert changes.empty and 'factor' in changes


@pytest.mark.parametrize(
    'make', [list, set, pd.Series, lambda ids: [str(i) for i in ids]]
)
def test_candidates(shop, model, recommender, make):
    """Their order plays no part, in ties either."""
    ids = [100, 64, 31, 23, 7, 40, 9]
    table = scored(model, shop.schema, row_of(4), CONTEXT)
    for exclude in (False, True):
        left = {str(i) for i in ids} - (bought(4) if exclude else set())
        for k in (2, 7, 20):
            actual = recommender.recommend(4, CONTEXT, k, exclude, make(ids))
            assert_ranks(actual, top(table, left, k))


@pytest.mark.parametrize(
    'described',
    [
        {'age': 2, 'income': 0, 'town': 'y', 'customer': 4},
        {'town': 'y', 'customer': '4', 'age': '2', 'income': 0.0},
        {'age': -2, 'income': 1, 'town': 'x'},
        {'town': 'y'},
        {'town': None, 'age': math.nan, 'customer': None},
        {},
    ],
)
def test_new_user(shop, model, recommender, described):
    """Who is described has no history; what is not said is missing."""
    expected = ranking(model, shop.schema, described, CONTEXT, k=12)
    assert_ranks(recommender.recommend(described, CONTEXT, 12, True), expected)
    item = expected.loc[2, 'article']
    assert recommender.score(described, item, CONTEXT) == expected.loc[2, 'score']
    rows = pd.DataFrame([{'customer': described} | CONTEXT, {'customer': 4} | CONTEXT])
    many = recommender.recommend_many(rows, 12)
    assert_ranks(many[many['row'] == 0][COLUMNS], expected)
    known = many[many['row'] == 1][COLUMNS].reset_index(drop=True)
    table = scored(model, shop.schema, row_of(4), CONTEXT)
    assert_ranks(known, top(table, set(IDS) - bought(4), 12))


@pytest.mark.parametrize('customer', ['4', 4.0, np.int64(4)])
def test_id_of_another_type(recommender, customer):
    """As in a table that has been through a file."""
    expected = recommender.recommend(4, CONTEXT)
    assert_ranks(recommender.recommend(customer, CONTEXT), expected)
    row = pd.DataFrame([{'customer': customer} | CONTEXT])
    assert_ranks(recommender.recommend_many(row)[COLUMNS], expected)
    score = recommender.score(customer, '7', CONTEXT)
    assert score == recommender.score(4, 7, CONTEXT)


def test_described_like_a_known_user(recommender):
    described = row_of(5)
    for k in (3, 12):
        known = recommender.recommend(5, CONTEXT, k, exclude_seen=False)
        assert_ranks(recommender.recommend(described, CONTEXT, k), known)


@pytest.mark.parametrize('stranger', [99, 'Zoe'])
def test_unknown_user(shop, model, recommender, stranger):
    expected = ranking(model, shop.schema, {'customer': stranger}, CONTEXT)
    message = f"not seen the value {stranger!r} of column 'customer'"
    for _ in range(2):  # Not the first time alone.
        with pytest.warns(UnknownValueWarning, match=message):
            actual = recommender.recommend(stranger, CONTEXT, exclude_seen=True)
        assert_ranks(actual, expected)
    with pytest.warns(UnknownValueWarning, match=message):
        score = recommender.score(stranger, 112, CONTEXT)
    assert score == expected.set_index('article').loc['112', 'score']


def test_unknown_feature(shop, model, recommender):
    described = {'customer': 4, 'town': 'nowhere'}
    with pytest.warns(UnknownValueWarning, match="'nowhere' of column 'town'"):
        actual = recommender.recommend(described, CONTEXT)
    assert_ranks(actual, ranking(model, shop.schema, described, CONTEXT))
    with pytest.raises(ValueError, match="user has no column 'twon'"):
        recommender.recommend({'twon': 'x'}, CONTEXT)
    with pytest.raises(ValueError, match="item has no column 'tag'"):
        recommender.score(30, {'tag': 'p'}, CONTEXT)


def test_unknown_context(shop, model, recommender):
    """It is the embedding of the unknown that it stands for."""
    context = {'day': 'never', 'gift': True}
    message = "not seen the value 'never' of column 'day'"
    with pytest.warns(UnknownValueWarning, match=message):
        actual = recommender.recommend(30, context, 12, False)
    expected = ranking(model, shop.schema, row_of(30), context, k=12)
    assert_ranks(actual, expected)
    with warnings.catch_warnings():  # A second one is neither here nor there.
        warnings.simplefilter('ignore')
        assert_ranks(recommender.recommend(30, context, 12, False), expected)
    unknown = shop.schema.names().index('day=<unknown>')
    model.embedding.weight[unknown] += 1
    with pytest.warns(UnknownValueWarning, match=message):
        other = Recommender(model, shop).recommend(30, context, 12, False)
    assert other['score'].ne(actual['score']).any()


@pytest.mark.parametrize('missing', [None, math.nan])
def test_missing_context(shop, model, recommender, missing):
    context = {'day': missing, 'gift': True}
    expected = ranking(model, shop.schema, row_of(30), context)
    assert_ranks(recommender.recommend(30, context, 10, False), expected)
    as_series = pd.Series(context, dtype=object)
    assert_ranks(recommender.recommend(30, as_series, 10, False), expected)
    rows = pd.DataFrame([{'customer': 30} | c for c in (CONTEXT, context)])
    many = recommender.recommend_many(rows, 10, exclude_seen=False)
    assert_ranks(many[many['row'] == 1][COLUMNS].reset_index(drop=True), expected)


def test_contexts_that_are_equal_to_python_alone(recommender):
    """True is a value of the column, 1 is none."""
    expected = recommender.score(30, 40, {'day': 'mon', 'gift': True})
    with pytest.warns(UnknownValueWarning, match='value 1 of'):
        recommender.score(30, 40, {'day': 'mon', 'gift': 1})
    assert recommender.score(30, 40, {'day': 'mon', 'gift': True}) == expected


def test_contexts_that_are_kept(shop, model, recommender, monkeypatch):
    """Columns in any order, more contexts than are kept, and twice."""
    recommender._entities.contexts_kept = 2
    for context in (*CONTEXTS, *CONTEXTS[::-1]):
        for one in (context, dict(reversed(context.items()))):
            actual = recommender.recommend(5, one, 12, False)
            assert_ranks(actual, ranking(model, shop.schema, row_of(5), context, k=12))
        # The same values, but of other columns.
        swapped = {'gift': context['day'], 'day': context['gift']}
        with pytest.warns(UnknownValueWarning):
            actual = recommender.recommend(5, swapped, 12, False)
        assert_ranks(actual, ranking(model, shop.schema, row_of(5), swapped, k=12))


def test_context_of_lists():
    log = pd.DataFrame({'user': [1, 2], 'item': [1, 2], 'tags': [['a', 'b'], ['c']]})
    schema = FeatureSchema(
        [Categorical('user')], [Categorical('item')], [MultiCategorical('tags')]
    )
    dataset = InteractionDataset.from_pandas(log, None, None, schema)
    recommender = Recommender(make_model(schema, exact=True), dataset)
    [score] = {recommender.score(1, 2, {'tags': tags}) for tags in (['a'], ('a',))}
    assert recommender.score(1, 2, {'tags': ['a', 'b']}) != score
    many = recommender.recommend_many(log.assign(tags=[['a'], ['a', 'b']]))
    assert many.loc[many['row'] == 0, 'score'].tolist() == [score]


@pytest.mark.parametrize(
    'kinds',
    [
        list('abcabca'),
        ['p|q|r', 's', 'p|r', 'r|q|p', 's', 'r|p', 'q|p|r'],
    ],
)
def test_items_alike_are_in_the_order_of_the_table(kinds):
    items = pd.DataFrame({'item': range(7), 'kind': kinds})
    schema = FeatureSchema(
        [Categorical('user')], [MultiCategorical('kind', '|')], [Categorical('day')]
    )
    log = pd.DataFrame({'user': [1, 2, 3, 4], 'item': range(4), 'day': list('xyzx')})
    dataset = InteractionDataset.from_pandas(log, None, items, schema)
    ranks = []
    for generator in ('mlp', 'linear', 'split', 'residual'):
        model = IEDR(schema.num_embeddings, 5, 7, generator=generator)
        rows = pd.DataFrame({'user': [1, 2, 3] * 4, 'day': list('xyzx') * 3})
        many = Recommender(model, dataset).recommend_many(rows, 7, exclude_seen=False)
        ranks.append(
            many.astype({'item': int}).pivot(index='row', columns='item')['rank']
        )
    ranks = pd.concat(ranks)
    for first, second in ((0, 3), (3, 6), (1, 4), (2, 5)):
        assert (ranks[first] < ranks[second]).all()


def test_items_of_other_numbers_are_not_alike():
    items = pd.DataFrame({'item': range(4), 'kind': 'a', 'weight': [1, 2, 1, -1]})
    schema = FeatureSchema(
        [Categorical('user')],
        [Categorical('kind'), Numerical('weight')],
        [Categorical('day')],
    )
    log = pd.DataFrame({'user': [1], 'item': [3], 'day': ['x']})
    dataset = InteractionDataset.from_pandas(log, None, items, schema)
    model = make_model(schema, exact=True, encoder='bi')
    recommender = Recommender(model, dataset)
    for candidates in (None, [3, 1], [2, 1, 0]):
        table = recommender.recommend(1, {'day': 'x'}, 4, False, candidates)
        scores = [recommender.score(1, item, {'day': 'x'}) for item in table['item']]
        assert table['score'].tolist() == scores
    assert len(set(scores)) == 2


@pytest.fixture
def rows() -> pd.DataFrame:
    """Customers twice, contexts that are not next to each other, and a row again."""
    customers = [30, 4, 30, 21, 17, 4, 5, 30, 4]
    contexts = [CONTEXTS[i] for i in (1, 0, 3, 1, 0, 0, 3, 1, 0)]
    pairs = zip(customers, contexts, strict=True)
    table = pd.DataFrame([{'note': 'x', 'customer': c} | one for c, one in pairs])
    return table.set_axis(['b', 'a', 3, 'b', 5, 0, 7.5, 'z', 'y'])


def one_by_one(recommender: Recommender, rows: pd.DataFrame, *args) -> pd.DataFrame:
    tables = []
    for label, row in rows.iterrows():
        context = {'day': row['day'], 'gift': row['gift']}
        table = recommender.recommend(row['customer'], context, *args)
        heads = {'row': [label] * len(table), 'customer': [row['customer']] * len(table)}
        tables.append(pd.concat([pd.DataFrame(heads), table], axis=1))
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


@pytest.mark.parametrize(
    ('cells', 'exclude', 'candidates'),
    [(1, None, None), (30, False, [31, 40, 9, 64, 7]), (1 << 21, None, [31, 9])],
)
def test_many_equal_one_by_one(
    recommender, rows, cells, exclude, candidates, monkeypatch
):
    recommender.scorer.scores_at_once = cells
    for table in (rows, rows[::-1], rows.iloc[[4, 8, 0, 2, 6, 1]], rows[1:2]):
        for k in (1, 5):
            actual = recommender.recommend_many(table, k, exclude, candidates)
            expected = one_by_one(recommender, table, k, exclude, candidates)
            assert_ranks(actual, expected)


def test_many_on_a_device(shop, rows, device):
    model = make_model(shop.schema, exact=True)
    expected = Recommender(model, shop).recommend_many(rows)
    recommender = Recommender(model.to(device), shop.to(device))
    assert_ranks(recommender.recommend_many(rows), expected)
    assert len(recommender.recommend(5, CONTEXT, candidates=IDS[1:9])) == 8
    assert len(recommender.compare_contexts(30, *CONTEXTS[:2], k=3)) >= 3
    assert len(recommender.similar_items(40, CONTEXT)) == 10


def test_many_with_strangers(recommender, rows):
    rows['customer'] = [30, 99, 30, {'town': 'x'}, 17, 98, {'town': 'z'}, 30, 99]
    rows['day'] = rows['day'].where(rows['customer'] != 99, 'never')
    with pytest.warns(UnknownValueWarning) as caught:
        actual = recommender.recommend_many(rows, 4)
    messages = sorted(str(warning.message).split(':')[0] for warning in caught)
    assert messages == [
        f'The model has not seen the value {value} of column {column}'
        for value, column in (
            ("'never'", "'day'"),
            ("'z'", "'town'"),
            ('99', "'customer'"),
        )
    ]  # One for each column.
    with pytest.warns(UnknownValueWarning):
        assert_ranks(actual, one_by_one(recommender, rows, 4))


@pytest.mark.parametrize('progress', [True, False])
def test_progress(recommender, rows, progress, capsys, monkeypatch):
    recommender.recommend_many(rows)
    assert not capsys.readouterr().err  # It takes no second.
    monkeypatch.setattr('iedr_geo.scoring.progress.SOON', 0.0)
    recommender.recommend_many(rows, progress=progress)
    assert ('Recommending' in capsys.readouterr().err) == progress


def test_score(shop, model, recommender):
    for customer in (30, 17):
        for context in CONTEXTS:
            batch = batch_of(shop.schema, row_of(customer), context)
            expected = dict(zip(IDS, model(batch).tolist(), strict=True))
            for article in ARTICLES['article']:
                score = recommender.score(customer, article, context)
                assert type(score) is float and score == expected[str(article)]
                share = recommender.score(customer, article, context, probability=True)
                sigmoid = torch.tensor(score).sigmoid().item()
                assert share == pytest.approx(sigmoid, abs=1e-7)
    like = ARTICLES.to_dict('records')[2]
    assert recommender.score(17, like, context) == expected['112']


def cosines(model: IEDR, batch, side: str, factor: str) -> torch.Tensor:
    vectors = getattr(getattr(model.encode(batch).factors, side), factor).double()
    product = vectors @ vectors.t()
    norms = product.diagonal().sqrt()
    return product / (norms.outer(norms)).clamp(min=1e-8)


@pytest.mark.parametrize('by', [None, 'intrinsic', 'extrinsic'])
@pytest.mark.parametrize('size', [5, 1 << 14])
def test_similar_items_and_users(shop, by, size, monkeypatch):
    model = make_model(shop.schema)
    recommender = Recommender(model, shop)
    recommender.scorer.pairs_at_once = size
    users = [str(customer) for customer in CUSTOMERS['customer']]
    for context in CONTEXTS[1:3]:
        batch = batch_of(shop.schema, row_of(30), context)
        of_items = cosines(model, batch, 'item', by or 'intrinsic').tolist()
        batches = [batch_of(shop.schema, row_of(c), context) for c in map(int, users)]
        factors = [
            getattr(model.encode(b).factors.user, by or 'intrinsic')[0] for b in batches
        ]
        of_users = torch.nn.functional.cosine_similarity(
            torch.stack(factors).unsqueeze(1), torch.stack(factors), dim=2
        ).tolist()
        for k in (1, 5, 20):
            for place in (0, 2, 11):
                table = recommender.similar_items(IDS[place], context, k, by)
                expected = dict(zip(IDS, of_items[place], strict=True))
                del expected[IDS[place]]
                assert_similar(table, 'article', expected, k)
            for place in (0, 3):
                table = recommender.similar_users(users[place], context, k, by)
                expected = dict(zip(users, of_users[place], strict=True))
                del expected[users[place]]
                assert_similar(table, 'customer', expected, k)
    # One that is described may be alike to itself.
    table = recommender.similar_users(row_of(5), context, 5, by)
    assert_similar(table, 'customer', dict(zip(users, of_users[3], strict=True)), 5)
    assert table.loc[0, 'customer'] == '5'


def test_similar_by_no_factor(recommender):
    for by in ('cross', 'interest', ''):
        message = f"no factor '{by}' .*intrinsic, extrinsic"
        with pytest.raises(ValueError, match=message):
            recommender.similar_items(40, CONTEXT, by=by)


def move(a: int | None, b: int | None) -> str:
    if a is None or b is None:
        return 'enters' if a is None else 'leaves'
    return 'stays' if a == b else 'rises' if b < a else 'falls'


@pytest.mark.parametrize('exclude', [None, False])
@pytest.mark.parametrize('customer', [4, {'town': 'y', 'age': 2}])
def test_compare_contexts(shop, model, recommender, customer, exclude):
    described = customer if isinstance(customer, dict) else row_of(customer)
    tables = [scored(model, shop.schema, described, context) for context in CONTEXTS]
    left = set(IDS) if exclude is False else set(IDS) - bought(customer)
    tops = [top(table, left, 4).set_index('article')['rank'] for table in tables]
    parts = [table.set_index('article')[PARTS] for table in tables]
    changes = set()
    for a, b in ((0, 1), (2, 0), (1, 3), (3, 2), (2, 2)):
        table = recommender.compare_contexts(
            customer, CONTEXTS[a], CONTEXTS[b], 4, exclude
        )
        assert sorted(table['article']) == sorted({*tops[a].index, *tops[b].index})
        for row in table.to_dict('records'):
            article = row['article']
            ranks = tops[a].get(article), tops[b].get(article)
            found = (row['rank_a'], row['rank_b'])
            assert tuple(None if pd.isna(rank) else rank for rank in found) == ranks
            assert row['change'] == move(*ranks)
            change = parts[b].loc[article] - parts[a].loc[article]
            assert [row[f'{part}_change'] for part in PARTS] == change.tolist()
            assert row['score_a'] == parts[a].loc[article].sum()
            assert row['score_b'] == row['score_a'] + change.sum()
            assert abs(change[row['factor']]) == change.abs().max()
        changes |= set(table['change'])
        assert a != b or set(table['change']) == {'stays'}
    assert changes == {'enters', 'leaves', 'rises', 'falls', 'stays'}


def test_model_does_not_fit(shop, model):
    graph, size = make_graph(), shop.schema.num_embeddings
    for one, data, message in (
        (IEDR(size + 1, 4, 8), shop, f'has {size} embeddings, the model {size + 1}'),
        (model, graph, r'needs a model with `score\(user, item\)`, which IEDR'),
        (MF(5, 12, 4), shop, 'needs a model whose `forward` takes a batch; that of MF'),
        (MF(5, 13, 4), graph, '5 users and 13 items, the graph 5 and 12'),
    ):
        with pytest.raises(ValueError, match=message):
            Recommender(one, data)
    with pytest.raises(TypeError, match='InteractionDataset or a BipartiteGraph'):
        Recommender(model, SALES)


def test_nothing_is_dropped_out(shop):
    model = make_model(shop.schema, exact=True, dropout=0.5)
    expected = Recommender(model, shop).recommend(5, CONTEXT)
    assert_ranks(Recommender(model.train(), shop).recommend(5, CONTEXT), expected)


def test_has_a_short_form(recommender):
    assert recommender.item_name == 'article'
    text = 'Recommender(num_users=5, num_items=12, parts='
    assert repr(recommender).startswith(text)
