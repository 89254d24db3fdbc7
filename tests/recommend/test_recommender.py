"""Recommendations against forward passes over the whole catalogue, sorted in Python.

The models have small integers for parameters, so that every score is exact in whatever
order it is summed up, and articles that are alike tie.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping
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
from torch.utils._python_dispatch import TorchDispatchMode

from iedr_geo.data import FeatureSchema, InteractionDataset, Numerical, describe
from iedr_geo.nn import DICE, IEDR, MF, Popularity
from iedr_geo.recommend import Recommender, UnknownValueWarning
from iedr_geo.testing import toy_tables

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


def top(table: pd.DataFrame, articles: Iterable[int] = IDS, k: int = 10) -> pd.DataFrame:
    table = table[table['article'].isin(list(articles))][:k].reset_index(drop=True)
    table.insert(1, 'rank', table.index + 1)
    return table


def assert_ranks(actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert_frame_equal(actual, expected, check_exact=True, check_dtype=False)


@pytest.mark.parametrize(
    ('generator', 'encoder'),
    [('mlp', 'bi'), ('linear', 'sign'), ('split', 'sign'), ('residual', 'mlp')],
)
def test_equals_brute_force(shop, generator, encoder):
    pointwise = generator != 'linear'
    arguments = {'generator': generator, 'encoder': encoder, 'pointwise': pointwise}
    model = make_model(shop.schema, exact=True, **arguments)
    recommender = Recommender(model, shop)
    assert recommender.parts == tuple(PARTS if pointwise else PARTS[:3])
    assert repr(recommender).startswith('Recommender(num_users=5, num_items=12, parts=')
    ties, orders = 0, set()
    for customer in (30, 4, 21):
        for context in CONTEXTS[1:3]:
            table = scored(model, shop.schema, row_of(customer), context)
            orders.add((customer, *table['article']))
            for exclude in (True, False):
                left = set(IDS) - (bought(customer) if exclude else set())
                for k in (4, 12):
                    actual = recommender.recommend(customer, context, k, exclude)
                    assert_ranks(actual, top(table, left, k))
                    ties += actual['score'].duplicated().sum()
    assert ties > 20 and len(orders) > 3


STRANGE = [
    ('4', row_of(4), CONTEXT),  # As in a table that has been through a file.
    (4.0, row_of(4), {'day': None, 'gift': True}),
    (np.int64(4), row_of(4), {'day': 'never', 'gift': True}),
    (torch.tensor(4), row_of(4), CONTEXT),
    (np.array(4.0), row_of(4), CONTEXT),
    (row_of(5), row_of(5), {'day': math.nan, 'gift': False}),
    ({'customer': 4}, row_of(4), CONTEXT),
    ({'town': 'x', 'customer': '4', 'age': 2}, row_of(4) | {'town': 'x'}, CONTEXT),
    ({'age': -2, 'income': 1, 'town': 'x'}, None, {'day': 'mon', 'gift': 1}),
    ({'town': None, 'age': math.nan, 'customer': None}, None, CONTEXT),
    ({}, None, CONTEXTS[2]),
    (99, {'customer': 99}, CONTEXT),
    ('Zoe', {'customer': 'Zoe'}, {'day': 'never', 'gift': None}),
    ({'customer': 4, 'town': 'no'}, row_of(4) | {'town': 'no'}, CONTEXTS[3]),
    ({'customer': None, 'town': 'no'}, None, CONTEXTS[3]),
]


@pytest.mark.parametrize(('customer', 'described', 'context'), STRANGE)
@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.UnknownValueWarning')
def test_who_and_where_in_all_words(
    shop, model, recommender, customer, described, context
):
    """One of the table is known by the id. Of others, what is not said is missing."""
    described = described or customer
    table = scored(model, shop.schema, described, context)
    had = bought(described.get('customer'))
    expected = top(table, set(IDS) - had, 12)
    for one in (context, pd.Series(context, dtype=object)):
        assert_ranks(recommender.recommend(customer, one, 12, True), expected)
    article, score = expected.loc[2, ['article', 'score']]
    assert recommender.score(customer, article, context) == score
    rows = pd.DataFrame([{'customer': 4} | CONTEXT, {'customer': customer} | context])
    many = recommender.recommend_many(rows, 12)
    assert_ranks(many[many['row'] == 1][COLUMNS].reset_index(drop=True), expected)


@pytest.mark.parametrize(
    ('ask', 'message'),
    [
        ((99, CONTEXT), "value 99 of column 'customer'"),
        (({'town': 'no'}, CONTEXT), "value 'no' of column 'town'"),
        (({'town': 'x'}, CONTEXT), "missing value of column 'customer'"),
        (({'customer': 4, 'town': 'no'}, CONTEXT), "value 'no' of column 'town'"),
        ((None, CONTEXT), "missing value of column 'customer'"),
        ((30, {'day': None, 'gift': True}), "missing value of column 'day'"),
        ((30, {'day': 'never', 'gift': True}), "value 'never' of column 'day'"),
        ((30, {'day': 'mon', 'gift': 1}), "value 1 of .*'gift'"),
    ],
)
def test_unknown_values_are_warned_of(recommender, ask, message):
    recommender.score(30, 40, {'day': 'mon', 'gift': True})  # Equal, to Python.
    with pytest.warns(UnknownValueWarning, match=f'not seen (the|a) {message}'):
        recommender.recommend(*ask)
    with pytest.warns(UnknownValueWarning, match="value .* of column 'tags'"):
        recommender.score(30, {'tags': 'p|z'}, CONTEXT)


@pytest.mark.parametrize(
    ('ask', 'message'),
    [
        (lambda r: r.recommend({'twon': 'x'}, CONTEXT), "user has no column 'twon'"),
        (lambda r: r.score(30, {'tag': 'p'}, CONTEXT), "item has no column 'tag'"),
        (lambda r: r.explain(30, 40, {'day': 'mon'}), "lacks column 'gift'"),
        (lambda r: r.score(30, 40, CONTEXT | {'place': 'x'}), "no column 'place'"),
        (lambda r: r.recommend(30), "lacks column 'day'"),
        (lambda r: r.recommend_in_parts(CUSTOMERS, rows_at_once=0), '`rows_at_once` mus'),
        *(
            (lambda r, ids=ids: r.recommend(30, CONTEXT, candidates=ids), message)
            for ids, message in (
                ([], 'There are no candidates'),
                ([40, 'a', 7, 'b'], "2 of 4 .* not in column 'article' .* them: a, b"),
                ([40, 7, '40'], "candidates hold '40' twice"),
                ([40, 1.5e18], 'A candidate holds 15.*as text or Int64'),
            )
        ),
        *(
            (ask, 'olumn .* holds 15.*as text or Int64')
            for ask in (
                lambda r: r.recommend(1.5e18, CONTEXT),
                lambda r: r.score(30, 1.5e18, CONTEXT),
                lambda r: r.recommend(30, CONTEXT | {'day': 1.5e18}),
                lambda r: r.recommend({'town': np.float32(15e8)}, CONTEXT),
                lambda r: r.score(30, {'tags': [15e18]}, CONTEXT),
                lambda r: r.recommend_many(
                    pd.DataFrame({'customer': 15e8, **CONTEXT}, [0]).astype(
                        {'customer': 'float32'}
                    )
                ),
            )
        ),
        (lambda r: r.similar_users(4, CONTEXT, by=''), "factor '' .*intrinsic, extri"),
        (lambda r: r.embeddings('context'), r"'user' or 'item' \(got 'context'\)"),
    ],
)
def test_bad_questions(recommender, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(recommender)


def test_seen_are_the_rows_of_the_part_and_positive(model):
    """Of held-out rows nothing is known, and what was offered has not been had."""
    sales = SALES.assign(bought=[1, 0] + [1] * (len(SALES) - 2))
    dataset = make_shop(sales, label='bought')
    got = Recommender(model, dataset).recommend(30, CONTEXT, 12)['article']
    assert set(IDS) - set(got) == {40, 77}
    part = Recommender(model, dataset[: len(BOUGHT) - 12])
    assert len(part.recommend(17, CONTEXT, 12)) == 12
    recommender = Recommender(model, make_shop(exclude_seen=False))
    assert len(recommender.recommend(30, CONTEXT, 12)) == 12  # As the dataset says.


def test_few_or_nothing_left(recommender):
    """A table without rows has the columns, and their types, of one that has some."""
    for k in (12, 13, 1000):
        assert len(recommender.recommend(21, CONTEXT, k, exclude_seen=False)) == 12
        assert len(recommender.recommend(30, CONTEXT, k, candidates=IDS[:3])) == 2
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


def test_candidates(shop, model, recommender):
    """Their order plays no part, in ties either."""
    ids = [100, 64, 31, 23, 7, 40, 9]
    table = scored(model, shop.schema, row_of(4), CONTEXT)
    for make in (list, set, pd.Series, lambda ids: map(str, ids)):
        for exclude in (False, True):
            left = {*ids} - (bought(4) if exclude else set())
            actual = recommender.recommend(4, CONTEXT, 5, exclude, make(ids))
            assert_ranks(actual, top(table, left, 5))


def test_contexts_that_are_kept(shop, model, recommender):
    """Columns in any order, more contexts than are kept, and twice."""
    recommender._entities.contexts_kept = 2
    for context in (*CONTEXTS[1:], CONTEXTS[1]):
        # The same values, but of other columns.
        swapped = {'gift': context['day'], 'day': context['gift']}
        with pytest.warns(UnknownValueWarning):
            for one in (context, dict(reversed(context.items())), swapped):
                expected = top(scored(model, shop.schema, row_of(5), one), k=12)
                assert_ranks(recommender.recommend(5, one, 12, False), expected)
        assert len(recommender._entities._kept) <= 2
    gift = torch.tensor(False)
    for same in (False, True):  # One that changes in place is not taken for what it was.
        gift.fill_(same)
        table = recommender.recommend(5, {'day': 'sat', 'gift': gift})
        assert_ranks(table, recommender.recommend(5, {'day': 'sat', 'gift': same}))


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
    [(1, None, None), (30, None, [31, 40, 9, 64, 7]), (1 << 21, False, [31, 9])],
)
def test_many_equal_one_by_one(recommender, rows, cells, exclude, candidates):
    recommender.scorer.scores_at_once = cells
    for table in (rows, rows[::-1], rows.iloc[[4, 8, 0, 2, 6, 1]], rows[1:2]):
        for k in (1, 5):
            actual = recommender.recommend_many(table, k, exclude, candidates)
            expected = one_by_one(recommender, table, k, exclude, candidates)
            assert_ranks(actual, expected)
            asked = table, k, exclude, candidates
            parts = [*recommender.recommend_in_parts(*asked, rows_at_once=k)]
            assert len(parts) == math.ceil(len(table) / k)
            assert_ranks(pd.concat(parts, ignore_index=True), actual)


def test_many_on_a_device(shop, rows, device):
    model = make_model(shop.schema, exact=True)
    expected = Recommender(model, shop).recommend_many(rows)
    recommender = Recommender(model.to(device), shop.to(device))
    assert_ranks(recommender.recommend_many(rows), expected)
    assert len(recommender.recommend(5, CONTEXT, candidates=IDS[1:9])) == 8
    assert len(recommender.compare_contexts(30, *CONTEXTS[:2], k=3)) >= 3
    assert len(recommender.similar_items(40, CONTEXT)) == 10


@pytest.mark.parametrize('size', [1, 4, 1 << 16])
def test_many_with_strangers(recommender, rows, size):
    """There is one warning for each column, however many rows are read at a time."""
    recommender._entities.rows_at_once = size
    rows['customer'] = [30, 99, 30, {'town': 'x'}, 17, 98, {'town': 'z'}, 30, 99]
    rows['day'] = rows['day'].where(rows['customer'] != 99, 'never')
    with pytest.warns(UnknownValueWarning) as caught:
        actual = recommender.recommend_many(rows, 4)
    messages = ' '.join(sorted(str(warning.message) for warning in caught))
    for value in ("'never' of column 'day'", "'z' of .*'town'", "99 of .*'customer'"):
        assert re.search(f'The model has not seen the value {value}', messages)
    for name in ('customer', 'income'):
        assert f"not seen a missing value of column '{name}'" in messages
    assert len(caught) == 5
    with pytest.warns(UnknownValueWarning):
        assert_ranks(actual, one_by_one(recommender, rows, 4))


class Largest(TorchDispatchMode):
    """Notes the largest tensor that an operation of PyTorch returns."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                self.bytes = max(self.bytes, tensor.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize('exclude', [True, False])
@pytest.mark.parametrize('candidates', [None, [31, 40, 9, 64, 7]])
@pytest.mark.parametrize('kind', ['iedr', 'vectors'])
def test_memory_of_many(recommender, kind, candidates, exclude):
    """More rows take more for their results alone, which are 8 bytes each."""
    if kind == 'vectors':
        graph = make_graph()
        recommender = Recommender(DICE(MF(5, 12), graph.popularity), graph)
    made, held = recommender.scorer, []
    made.scores_at_once, made.pairs_at_once = 1024, 16
    recommender._entities.rows_at_once = 32
    for size in (32, 512):
        rows = pd.DataFrame({'customer': [30, 4, 21, 5] * (size // 4)})
        if kind != 'vectors':
            rows = rows.assign(**CONTEXT)
        with Largest() as largest:
            recommender.recommend_many(rows, 2, exclude, candidates)
        held.append(largest.bytes)
    assert held[1] <= max(held[0], 512 * 2 * 8)


def test_errors_name_the_row_of_all(shop):
    schema = FeatureSchema(shop.schema.user, shop.schema.item, [Numerical('day')])
    tables = toy_tables()._replace(interactions=SALES.assign(day=1.0), schema=schema)
    data = InteractionDataset.from_pandas(*tables, user='customer', item='article')
    recommender = Recommender(make_model(data.schema), data)
    recommender._entities.rows_at_once = 2
    rows = pd.DataFrame({'customer': 30, 'day': [1, 2, 3, 1e39, 5]})
    with pytest.raises(ValueError, match=r'in row 3 \(1 rows in all\)'):
        recommender.recommend_in_parts(rows)  # Before a part is asked for.


TAKEN: dict[str, Callable[[Recommender], pd.DataFrame]] = {
    'score': lambda r: r.recommend(30, CONTEXT),
    'rank': lambda r: r.recommend(30, CONTEXT),
    'intrinsic': lambda r: r.recommend(30, CONTEXT),
    'row': lambda r: r.recommend_many(pd.DataFrame([{'customer': 30} | CONTEXT])),
    'similarity': lambda r: r.similar_items(40, CONTEXT),
    **{
        name: lambda r: r.compare_contexts(30, *CONTEXTS[:2])
        for name in ('rank_a', 'rank_b', 'change', 'score_a', 'cross_change', 'factor')
    },
}


@pytest.mark.parametrize('name', TAKEN)
def test_names_of_the_users_own(recommender, tmp_path, name):
    """Never give way to ours: those are called otherwise, by whoever asks."""
    tables = (t.rename(columns={'article': name}) for t in toy_tables()[:3])
    names = {'user': 'customer', 'item': name}
    data = InteractionDataset.from_pandas(
        *tables, toy_tables().schema, **names, exclude_seen=True
    )
    ask, wanted = TAKEN[name], TAKEN[name](recommender)
    with pytest.raises(ValueError, match=rf"two columns '{name}': .*rename={{'{name}': "):
        ask(Recommender(recommender.model, data))
    renamed = Recommender(recommender.model, data, rename={name: 'ours'})
    renamed.save(tmp_path / 'model')
    for one in (renamed, Recommender.load(tmp_path / 'model', rename=renamed.rename)):
        assert_frame_equal(
            ask(one), wanted.rename(columns={name: 'ours', 'article': name})
        )
    with pytest.raises(ValueError, match="two columns 'article'"):
        ask(Recommender(recommender.model, recommender.data, {name: 'article'}))


def test_tables_meet_the_users_own(recommender, tmp_path):
    """By columns of the same names and types, also of a graph and from a folder."""
    rows = CUSTOMERS[['customer']].assign(**CONTEXT)
    recommender.save(tmp_path / 'dataset')
    graph = make_graph()
    Recommender(Popularity.fit(graph), graph).save(tmp_path / 'graph')
    for folder, context in (('dataset', CONTEXT), ('graph', None)):
        loaded = Recommender.load(tmp_path / folder)
        table = loaded.recommend(30, context)
        assert table.merge(ARTICLES)['article'].tolist() == table['article'].tolist()
        many = loaded.recommend_many(rows[['customer']] if context is None else rows)
        assert len(many.merge(ARTICLES).merge(CUSTOMERS)) == len(many) > 20
        assert (many[['customer', 'article']].dtypes == 'int64').all()


@pytest.mark.parametrize(
    ('column', 'cells', 'message'),
    [
        ('day', ['Mon', 'Tue', 'Sat', 'sat'], "83% of .*'day', .*'Mon', 'Tue', 'Sat':"),
        ('customer', ['a', 'b', 'b', 4], "83% of .*'customer', among them 'a', 'b':"),
    ],
)
def test_columns_that_are_mostly_unknown(recommender, shop, column, cells, message):
    """They are written in another way, perhaps."""
    rows = pd.DataFrame(
        {'customer': 30, 'article': 40, 'day': 'mon', 'gift': True}, range(12)
    )
    rows[column] = [*cells[:3] * 3, cells[0], cells[3], cells[3]]
    with pytest.warns(UnknownValueWarning, match=message) as caught:
        recommender.recommend_many(rows)
    with pytest.warns(UnknownValueWarning, match='not seen the value'):
        recommender.recommend_many(rows[:9])
    assert ['83%' in str(warning.message) for warning in caught].count(True) == 1
    names = {'user': 'customer', 'item': 'article'}
    users = rows[['customer']].join(CUSTOMERS.drop(columns='customer'))
    if column == 'day':
        users = CUSTOMERS
    else:  # Of a table, each counts once.
        rows['customer'] = users['customer'] = [*'abcdefghij', 4, 30]
    with pytest.warns(UserWarning, match=message.replace("'b':", "'b', 'c':")) as caught:
        later = InteractionDataset.from_pandas(
            rows, users, ARTICLES, shop.schema, **names
        )
    assert [str(caught[0].message)] == describe(later[:3]).warnings[:1]
    assert len(caught) == 1 and caught[0].filename == __file__


def test_progress(recommender, rows, capsys, monkeypatch):
    recommender.recommend_many(rows)
    assert not capsys.readouterr().err  # It takes no second.
    monkeypatch.setattr(recommender.scorer, 'seconds', lambda queries, items: 100.0)
    asked = functools.partial(recommender.recommend_in_parts, rows_at_once=4)
    for progress in (True, False):
        for ask in (recommender.recommend_many, asked):
            list(ask(rows, progress=progress))
            shown = capsys.readouterr().err
            assert ('Recommending (about 2 min): 100%' in shown) == progress


def test_score(shop, model, recommender):
    expected = model(batch_of(shop.schema, row_of(17), CONTEXT)).tolist()
    recommender = Recommender(recommender.scorer, shop)  # In the place of its model.
    assert recommender.model is model
    for wanted, article in zip(expected, ARTICLES.to_dict('records'), strict=True):
        for one in (article, article['article']):
            score = recommender.score(17, one, CONTEXT)
            assert type(score) is float and score == wanted
            share = recommender.score(17, one, CONTEXT, probability=True)
            assert share == pytest.approx(1 / (1 + math.exp(-score)), abs=1e-7)


@pytest.mark.parametrize('by', [None, 'intrinsic', 'extrinsic'])
def test_similar_items_and_users(shop, by):
    model = make_model(shop.schema)
    recommender = Recommender(model, shop)
    users = CUSTOMERS['customer'].tolist()
    for context in CONTEXTS[1:3]:
        batches = [batch_of(shop.schema, row_of(c), context) for c in users]
        factors = [model.encode(batch).factors for batch in batches]
        items = getattr(factors[0].item, by or 'intrinsic')
        table = torch.stack([getattr(f.user, by or 'intrinsic')[0] for f in factors])
        for side, name, ids, vectors in (
            ('item', 'article', IDS, items),
            ('user', 'customer', users, table),
        ):
            similar = getattr(recommender, f'similar_{side}s')
            for k, number in ((1, 0), (5, 2), (20, len(ids) - 1)):
                cosine = torch.cosine_similarity(vectors[number], vectors, dim=1)
                expected = dict(zip(ids, cosine.tolist(), strict=True))
                del expected[ids[number]]
                found = similar(ids[number], context, k, by)
                assert_similar(found, name, expected, k)
    # Also of one who is known by an id among other features.
    assert_similar(
        recommender.similar_users(row_of(17), context, 5, by), 'customer', expected, 5
    )


def move(a: int | None, b: int | None) -> str:
    if a is None or b is None:
        return 'enters' if a is None else 'leaves'
    return 'stays' if a == b else 'rises' if b < a else 'falls'


@pytest.mark.parametrize(
    ('customer', 'exclude'), [(4, None), (4, False), ({'town': 'y', 'age': 2}, None)]
)
@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.UnknownValueWarning')
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
        ).set_index('article')
        assert sorted(table.index) == sorted({*tops[a].index, *tops[b].index})
        one, two = parts[a].loc[table.index], parts[b].loc[table.index]
        changed = table[[f'{part}_change' for part in PARTS]]
        np.testing.assert_array_equal(changed, two - one)
        np.testing.assert_array_equal(table['score_a'], one.sum(axis=1))
        np.testing.assert_array_equal(table['score_b'], two.sum(axis=1))
        for article, row in table.iterrows():
            ranks = tops[a].get(article), tops[b].get(article)
            found = (row['rank_a'], row['rank_b'])
            assert tuple(None if pd.isna(rank) else rank for rank in found) == ranks
            assert row['change'] == move(*ranks)
            change = (two - one).loc[article].abs()
            assert change[row['factor']] == change.max()
        changes |= set(table['change'])
        assert a != b or set(table['change']) == {'stays'}
    assert changes == {'enters', 'leaves', 'rises', 'falls', 'stays'}
