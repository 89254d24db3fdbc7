"""Neither the order of rows nor what things are called changes a recommendation."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import every_column
import numpy as np
import pandas as pd
import pytest
import torch
from every_column import TABLES, build, make_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import (
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    UniformNegativeSampler,
    leave_last_out,
    time_split,
)
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.metrics import NDCG, Recall
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender
from iedr_geo.training import InteractionModule, fit
from iedr_geo.transforms import FieldPairs

METRICS = (NDCG(2), Recall(3))
PAIRS = FieldPairs([('item', 'genres'), ('item', 'price', 2.0), ('item', 'item')])
IDS = {'user': 'users', 'item': 'items'}


def schema_with_edges() -> FeatureSchema:
    return make_schema(edges={'item': PAIRS})


def make_model(schema: FeatureSchema, **kwargs: Any) -> IEDR:
    torch.manual_seed(0)
    return IEDR(schema.num_embeddings, 4, 8, **kwargs).double().eval()


def shuffled(seed: int) -> dict[str, pd.DataFrame]:
    """Shuffles rows, their labels and the columns of all tables."""
    random = np.random.default_rng(seed)
    tables = {}
    for name, frame in TABLES.items():
        changed = frame.iloc[random.permutation(len(frame))]
        changed = changed[random.permutation(list(frame))]
        tables[name] = changed.set_axis(random.integers(0, 3, len(frame)))
    return tables


def answers(recommender: Recommender) -> dict[str, pd.DataFrame]:
    """Everything that a recommender says of all users, in all contexts of the log."""
    rows = TABLES['log'].drop_duplicates('day')
    contexts = rows[['day', 'when', 'heat', 'with']].to_dict('records')
    tables = {
        'many': recommender.recommend_many(TABLES['log'], 4).drop(columns='row'),
        'similar': recommender.similar_items('b', contexts[0], k=5),
        'compared': recommender.compare_contexts(9, contexts[0], contexts[1], k=3),
    }
    for i, context in enumerate(contexts):
        for seen in (True, False):
            one = recommender.recommend(31, context, 6, exclude_seen=seen)
            tables[f'one {i} {seen}'] = one
    said = recommender.explain(4, 'f', contexts[1])
    assert said.score == pytest.approx(sum(said.parts.values()))
    return tables | {'features': said.features, 'pairs': said.pairs}


def assert_same_answers(one: Recommender, two: Recommender, **kwargs: Any) -> None:
    theirs = answers(two)
    for name, table in answers(one).items():
        pd.testing.assert_frame_equal(table, theirs[name], obj=name, **kwargs)


@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_rows_and_columns(seed: int):
    one, two = build(TABLES, schema_with_edges()), build(shuffled(seed), make_schema())
    two = two.with_edges(item=PAIRS)
    assert one.schema == two.schema  # So equal weights mean the same.
    model = make_model(one.schema, pointwise=True)
    recommenders = (Recommender(model, dataset) for dataset in (one, two))
    assert_same_answers(*recommenders, rtol=1e-9, atol=1e-9)
    for split in (
        lambda d: leave_last_out(repeated(d)),
        lambda d: time_split(d, 0.2, 0.2),
    ):
        for a, b in zip(split(one)[:3], split(two)[:3], strict=True):
            assert triples(a) == triples(b)


def repeated(dataset: InteractionDataset) -> InteractionDataset:
    """Three times the rows, the later the later."""
    rows = torch.arange(len(dataset)).repeat(3)
    later = dataset[rows]
    later.time = later.time + 100 * (torch.arange(len(rows)) // len(dataset))
    return later


def triples(dataset: InteractionDataset) -> list:
    """What each row is, in the order of time."""
    contexts = every_column.decode(dataset.contexts, dataset.schema)
    rows = [
        (time, dataset.user_ids[user], dataset.item_ids[item], str(contexts[context]))
        for time, user, item, context in zip(
            dataset.time.tolist(),
            dataset.user.tolist(),
            dataset.item.tolist(),
            dataset.context.tolist(),
            strict=True,
        )
    ]
    return sorted(rows)


def bijection(values: set[str], seed: int) -> dict[str, str]:
    """Gives each value another name, whose order has nothing to do with its own."""
    order = np.random.default_rng(seed).permutation(len(values))
    return {
        value: f'n{place}' for value, place in zip(sorted(values), order, strict=True)
    }


def renamed(names: dict[str, dict[str, str]]) -> dict[str, pd.DataFrame]:
    """Renames ids and categories in all tables."""

    def rename(column: pd.Series) -> pd.Series:
        known = names[column.name]
        if column.name in ('tags', 'with'):
            return column.map(lambda cell: [known[v] for v in cell], na_action='ignore')
        if column.name == 'genres':
            return column.map(
                lambda cell: '|'.join(known[v.strip()] for v in cell.split('|') if v),
                na_action='ignore',
            )
        return column.map(lambda cell: known[str(cell)], na_action='ignore')

    return {
        table: frame.assign(**{c: rename(frame[c]) for c in frame if c in names})
        for table, frame in TABLES.items()
    }


def name_maps(schema: FeatureSchema, seed: int) -> dict[str, dict[str, str]]:
    """A bijection of the values of each column of ids or categories."""
    values = {
        column.name: set(schema.vocabulary[side][column.name])
        for side in ('user', 'item', 'context')
        for column in schema.columns(side)
        if isinstance(column, (Categorical, MultiCategorical))
    }
    values['town'] |= {'y', 'z'}  # Too rare to be in the vocabulary.
    return {name: bijection(known, seed) for name, known in values.items()}


def moved(model: IEDR, names: list[str], others: list[str]) -> IEDR:
    """Moves the rows of embeddings to where the other schema has their values."""
    place = {name: i for i, name in enumerate(others)}
    order = torch.tensor([place[name] for name in names])
    copied = IEDR(**model.config).double().eval()
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for key in ('embedding.weight', 'pointwise.weight'):
        state[key][order] = model.state_dict()[key]
    copied.load_state_dict(state)
    return copied


@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_names_of_ids_and_categories(seed: int):
    one = build(TABLES, schema_with_edges())
    names = name_maps(one.schema, seed)
    tables = renamed(names)
    two = build(tables, schema_with_edges())

    def translated(name: str) -> str:
        field, _, value = name.partition('=')
        return f'{field}={names.get(field, {}).get(value, value)}'

    wanted = [translated(name) for name in one.schema.names()]
    assert sorted(wanted) == sorted(two.schema.names())
    model = make_model(one.schema, pointwise=True)
    other = moved(model, wanted, two.schema.names())

    ours = Recommender(model, one).recommend_many(TABLES['log'], 4)
    theirs = Recommender(other, two).recommend_many(tables['log'], 4)
    for side in IDS:
        ours[side] = [names[side][str(cell)] for cell in ours[side]]
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False, rtol=1e-9)

    row = TABLES['log'][['day', 'when', 'heat', 'with']].iloc[0]
    context, new = row.to_dict(), tables['log'][list(row.index)].iloc[0].to_dict()
    said = Recommender(model, one).explain(31, 'b', context)
    told = Recommender(other, two).explain(names['user']['31'], names['item']['b'], new)
    assert said.score == pytest.approx(told.score, rel=1e-9)
    assert said.parts == pytest.approx(told.parts, rel=1e-9)
    for labels, a, b in (
        (['feature'], said.features, told.features),
        (['feature_a', 'feature_b'], said.pairs, told.pairs),
    ):
        a = a.assign(**{label: a[label].map(translated) for label in labels})
        pd.testing.assert_frame_equal(a, b, check_dtype=False, rtol=1e-6, atol=1e-12)

    lists = CandidateLists.sample(one, 3, seed=seed), CandidateLists.sample(two, 3, seed)
    for name, tensor in vars(lists[0]).items():
        assert torch.equal(tensor, getattr(lists[1], name)), name
    for evaluate, args in ((evaluate_candidates, lists), (evaluate_catalogue, ([], []))):
        results = [
            evaluate(m, d, arg, METRICS)
            for m, d, arg in zip((model, other), (one, two), args, strict=True)
        ]
        assert results[0].metrics == pytest.approx(results[1].metrics, rel=1e-9)
        users = [names['user'][user] for user in results[0].per_list['user']]
        assert users == results[1].per_list['user'].tolist()


def train(tables: dict, folder: Path, **kwargs: Any) -> Recommender:
    """Trains two epochs on the log in the order of time, ranked by its own rows."""
    dataset = build(tables, label=None)
    dataset = dataset[torch.argsort(dataset.time)]
    model = make_model(dataset.schema, num_negatives=2, **kwargs)
    module = InteractionModule(
        model,
        dataset,
        dataset,
        CandidateLists.sample(dataset, 2),
        negatives=UniformNegativeSampler(2, resample=True),
        batch_size=8,
        learning_rate=0.05,
        metrics=METRICS,
        monitor='ndcg@2',
    )
    before = model.embedding.weight.clone()
    arguments = {'max_epochs': 2, 'progress': False}
    result = fit(module, folder, accelerator='cpu', **arguments)
    assert not torch.equal(before, result.model.embedding.weight)
    return Recommender(result.model, dataset)


def test_training_looks_at_values_alone(tmp_path):
    """Bit for bit, as long as rows are in one order: by time, for instance."""
    tables = shuffled(0)
    tables['log'] = tables['log'].sort_values('time')
    for name, first in IDS.items():
        ids = TABLES[first][name].tolist()
        tables[first] = tables[first].sort_values(name, key=lambda c: c.map(ids.index))
    one = train(TABLES | {'log': TABLES['log'].sort_values('time')}, tmp_path / 'one')
    two = train(tables, tmp_path / 'two')
    assert_same_answers(one, two, check_exact=True)


@pytest.mark.parametrize('seed', [1, 2])
def test_training_on_shuffled_tables(seed: int, tmp_path):
    """But for the contrastive loss, whose draws go by numbers of users and contexts, and
    for the order of items, whose numbers negatives are drawn by.
    """
    tables = shuffled(seed) | {'items': TABLES['items']}
    one = train(TABLES, tmp_path / 'one', contrastive_weight=0.0)
    two = train(tables, tmp_path / 'two', contrastive_weight=0.0)
    assert list(two.data.user_ids) != list(one.data.user_ids)
    assert_same_answers(one, two, rtol=1e-6, atol=1e-6)


def test_without_tables_the_log_numbers_ids():
    """In the order of first rows, which decides between equal scores."""
    schema = FeatureSchema(*([Categorical(name)] for name in ('user', 'item', 'day')))
    log = TABLES['log']
    dataset = InteractionDataset.from_pandas(log, None, None, schema)
    assert list(dataset.user_ids) == ['31', '4', '15', '9', '26']
    assert list(dataset.item_ids) == ['b', 'a', 'd', 'c', 'e']
    assert dataset.context_frame['day'].fillna('?').tolist() == ['mon', 'tue', '?', 'sat']
    other = InteractionDataset.from_pandas(log[::-1], None, None, schema)
    assert list(other.item_ids) == ['b', 'e', 'c', 'a', 'd']
    model = make_model(schema)
    for day in ('mon', 'tue'):
        one, two = (
            Recommender(model, d).recommend(9, {'day': day}) for d in (dataset, other)
        )
        pd.testing.assert_frame_equal(one, two)


def arrow(cells: pd.Series, kind: str) -> pd.Series:
    pytest.importorskip('pyarrow')
    return cells.astype(f'{kind}[pyarrow]')


@pytest.mark.parametrize(
    'change',
    [
        lambda ids: ids.astype(float),
        lambda ids: ids.astype('int8'),
        lambda ids: ids.astype(str),
        lambda ids: ids.astype(object),
        lambda ids: ids.astype(str).astype(object),
        lambda ids: ids.astype('category'),
        lambda ids: ids.astype(str).astype('category'),
        lambda ids: ids.astype('Int64'),
        lambda ids: ids.astype('Float64'),
        lambda ids: ids.astype('string'),
        lambda ids: arrow(ids, 'int32'),
        lambda ids: arrow(ids, 'double'),
        lambda ids: arrow(ids.astype(str), 'string'),
    ],
)
@pytest.mark.parametrize('table', ['users', 'log', 'both'])
def test_types_of_ids(table: str, change: Callable):
    one = build(TABLES)
    changed = ('users', 'log') if table == 'both' else (table,)
    tables = TABLES | {
        name: TABLES[name].assign(user=change(TABLES[name]['user'])) for name in changed
    }
    two = build(tables)
    assert_same_datasets(one, two)
    model = make_model(one.schema)
    ours, theirs = (Recommender(model, d) for d in (one, two))
    pd.testing.assert_frame_equal(
        ours.recommend_many(TABLES['log'], 3).drop(columns='user'),
        theirs.recommend_many(tables['log'], 3).drop(columns='user'),
    )


def assert_same_datasets(one: InteractionDataset, two: InteractionDataset) -> None:
    assert one.schema == two.schema
    assert one.user_ids.equals(two.user_ids) and one.item_ids.equals(two.item_ids)
    for name in ('user', 'item', 'context', 'y', 'time'):
        assert torch.equal(getattr(one, name), getattr(two, name)), name
    for side in ('user', 'item', 'context'):
        a, b = (getattr(d, f'{side}s') for d in (one, two))
        for name in ('x', 'ptr', 'value', 'node_id'):
            assert torch.equal(getattr(a, name), getattr(b, name)), (side, name)
        for row, vectors in a.vectors.items():
            assert torch.equal(vectors, b.vectors[row]), (side, row)
    again = one.schema.encode('context', two.context_frame)
    assert torch.equal(again.x, one.contexts.x)


def through_csv(frame: pd.DataFrame) -> pd.DataFrame:
    lists = [c for c in frame if frame[c].map(lambda cell: isinstance(cell, list)).any()]
    parse = {c: lambda text: json.loads(text) if text else None for c in lists}
    written = frame.assign(
        **{c: frame[c].map(json.dumps, na_action='ignore') for c in lists}
    )
    return pd.read_csv(io.StringIO(written.to_csv(index=False)), converters=parse)


def through_parquet(frame: pd.DataFrame, **kwargs: Any) -> pd.DataFrame:
    pytest.importorskip('pyarrow')
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return pd.read_parquet(file, **kwargs)


@pytest.mark.parametrize(
    'travel',
    [
        through_csv,
        through_parquet,
        lambda frame: through_parquet(frame, dtype_backend='numpy_nullable'),
        lambda frame: through_parquet(frame, dtype_backend='pyarrow'),
        pd.DataFrame.convert_dtypes,
    ],
    ids=['csv', 'parquet', 'parquet of nullable', 'parquet of arrow', 'convert'],
)
def test_round_trips(travel: Callable):
    tables = {name: travel(frame) for name, frame in TABLES.items()}
    assert_same_datasets(build(TABLES), build(tables))
