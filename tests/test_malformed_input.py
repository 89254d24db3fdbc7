"""Whatever users give: an error of our own that names what is wrong, or what they meant.

Nothing may fail within torch, pandas or NumPy, and no id may go astray.
"""

import datetime
import itertools
import json
import tempfile
import traceback
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
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

import iedr_geo
from iedr_geo.data import (
    BipartiteGraph,
    Bucketized,
    CandidateLists,
    Categorical,
    DateTime,
    FeatureGraphs,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    intervened_split,
    leave_last_out,
    random_split,
    time_split,
)
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.loader import InteractionBatch
from iedr_geo.metrics import NDCG
from iedr_geo.nn import DICE, IEDR, MF
from iedr_geo.recommend import Recommender, load_model
from iedr_geo.training import InteractionModule
from iedr_geo.transforms import FieldPairs

PACKAGE = Path(iedr_geo.__file__).parent

CELLS = [
    *(None, np.nan, pd.NA, pd.NaT, '', 'x', ' 1', '1', 1, 0, 1.0, 2.5, -0.0, -1, True),
    *(False, np.inf, -np.inf, 10**30, -(10**30), 2**63, 1e308, 5e-324, 1 + 2j),
    *(complex('nan'), b'x', Decimal('1.50'), Decimal('NaN'), Fraction(1, 3)),
    *(np.float32(0.1), np.int8(3), np.timedelta64(1, 's'), np.datetime64('2020-01-01')),
    *(pd.Timestamp('2020-01-01 05:00'), pd.Timestamp('2020-01-01', tz='Asia/Tokyo')),
    *(datetime.date(2020, 1, 1), datetime.datetime(9999, 1, 1), datetime.time(5)),
    *(pd.Timedelta('1h'), pd.Period('2020-01'), pd.Interval(0, 1), slice(0, 1), int),
    *('a\0b', '2020-13-45', '2020-01-01', '2020-01-01T10:00+09:00', '1e400', 'nan'),
    *('None', '<unknown>', [], (), [1, 2], [1, 2, 3], (1, 2), ['k'], [None], ['1', '2']),
    *([np.nan, 1], [np.inf, 1], [1e300, 1], [1j, 2], [[1], [2]], [[1], [2, 3]], {1, 2}),
    *([True, False], {'k'}, frozenset([1, 2]), {'a': 1}, [{'a': 1}, {'b': 2}], range(2)),
    *(np.array([1, 2]), np.array([]), np.array(5), np.array([[1, 2]]), pd.Series([1, 2])),
    *(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0], requires_grad=True)),
    *(torch.tensor([1, 2], dtype=torch.bfloat16), [pd.Timestamp('2020')] * 2),
]
NUMBERS = ['int8', 'uint64', 'float16', 'float32', 'complex64', 'Int64', 'Float32', 'str']
NUMBERS += ['category', 'string', 'Sparse[int]', 'Sparse[float]', 'm8[ns]', 'M8[s]']
VALUES: list[Any] = [
    *(np.array([1, 2, 3, 4]).astype(dtype) for dtype in ('int64', 'M8[D]')),
    *(pd.Series([1, 2, 3, 4], dtype=dtype) for dtype in NUMBERS),
    *(pd.Series([1, None, 3], dtype=dtype) for dtype in ('Int64', 'Float64', 'category')),
    pd.Series([True, None, False], dtype='boolean'),
    pd.Series([True, False, True]),
    pd.Series([2**63, 2**64 - 1, 0], dtype='uint64'),
    pd.Series([2**62 + 1, None, 2**62], dtype='Int64'),
    pd.Series([True, 1, '1', 1.0, None], dtype=object),
    pd.Series(['9999-12-31', '2020-01-01'], dtype='M8[s]'),
    pd.Series(pd.date_range('2020', periods=4, tz='Asia/Tokyo')),
    pd.Series(pd.date_range('2020', periods=4, tz='UTC')).astype(object),
    pd.Series(pd.date_range('2020', periods=4)).astype('category'),
    pd.Series(pd.period_range('2020', periods=4, freq='M')),
    pd.Series(pd.interval_range(0, 4)),
    pd.Series(pd.timedelta_range('1h', periods=4)),
    pd.Series([None, None], dtype=object),
    pd.Series([pd.NaT, pd.NaT]),
]
ARROW = [
    ('int8', [1, None, 3]),
    ('float16', [1.5, None, np.nan, 4]),
    ('float64', [1.5, None, np.nan, 4]),
    ('string', ['a', None, '1']),
    ('binary', [b'a', None, b'b']),
    ('list_(int8)', [[1, 2], None, [1], []]),
    ('list_(float32, 2)', [[1, 2], None, [3, 4]]),
    ('struct', [{'a': 1}, None]),
    ('map_', [[('a', 1)], None, []]),
    ('decimal128', [Decimal('1.50'), None]),
    ('date32', [datetime.date(2020, 1, 4), None]),
    ('date32', [datetime.date(2020, 1, 4), datetime.date(2020, 1, 3)]),
    ('time64', [datetime.time(5), None]),
    ('duration', [datetime.timedelta(1), None]),
    ('timestamp', [1, None, 2]),
    ('bool_', [True, None, False]),
    ('null', [None, None]),
    ('dictionary', ['a', None, 'b']),
]


def arrow_columns() -> list[pd.Series]:
    try:
        import pyarrow as pa
    except ImportError:
        return []
    types = {
        'list_(int8)': pa.list_(pa.int8()),
        'list_(float32, 2)': pa.list_(pa.float32(), 2),
        'struct': pa.struct([('a', pa.int8())]),
        'map_': pa.map_(pa.string(), pa.int8()),
        'decimal128': pa.decimal128(5, 2),
        'time64': pa.time64('us'),
        'duration': pa.duration('us'),
        'timestamp': pa.timestamp('s', tz='Asia/Tokyo'),
        'dictionary': pa.dictionary(pa.int8(), pa.string()),
    }
    return [
        pd.Series(
            pd.arrays.ArrowExtensionArray(
                pa.array(cells, types.get(kind) or getattr(pa, kind)())
            )
        )
        for kind, cells in ARROW
    ]


VALUES += arrow_columns()
COLUMNS = [(name, column) for name, frame in TABLES.items() for column in frame]


def outcome(call: Callable[[], Any], *culprits: str) -> Any:
    """Returns a result, or nothing after an error of our own that names a culprit."""
    try:
        return call()
    except Exception as error:
        trace = ''.join(traceback.format_exception(error))
        place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert place.is_relative_to(PACKAGE), trace
        assert isinstance(error, (ValueError, TypeError, KeyError, OSError)), trace
        assert any(culprit in str(error) for culprit in culprits), trace
        return None


def objects(cells: list) -> pd.Series:
    array = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        array[i] = cell
    return pd.Series(array)


def make_model(dataset: InteractionDataset) -> IEDR:
    return IEDR(dataset.schema.num_embeddings, 4, 8).eval()


@pytest.fixture(scope='module')
def dataset() -> InteractionDataset:
    return build(TABLES, exclude_seen=False)


@pytest.fixture(scope='module')
def recommender(dataset: InteractionDataset) -> Recommender:
    torch.manual_seed(0)
    return Recommender(make_model(dataset).double(), dataset)


@st.composite
def corrupted(draw: Any) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Tables of which one or two columns hold what they should not, perhaps."""
    tables, columns = dict(TABLES), []
    for _ in range(draw(st.integers(1, 2))):
        name, column = draw(st.sampled_from(COLUMNS))
        frame = tables[name]
        if draw(st.booleans()):
            values = pd.Series(draw(st.sampled_from(VALUES)))
            changed = values.iloc[np.arange(len(frame)) % len(values)]
        else:
            cells = frame[column].astype(object).tolist()
            odd = draw(st.sampled_from(CELLS))
            rows = draw(st.sampled_from([[0], [2], [-1], range(len(frame))]))
            for row in rows:
                cells[row] = odd
            changed = objects(cells)
        tables[name] = frame.assign(**{column: changed.set_axis(frame.index)})
        columns.append(column)
    return tables, columns


def assert_same_nodes(actual: list, wanted: list) -> None:
    for row, (one, two) in enumerate(zip(actual, wanted, strict=True)):
        assert [name for name, _ in one] == [name for name, _ in two], row
        for (name, value), (_, other) in zip(one, two, strict=True):
            assert value == pytest.approx(other, rel=1e-6, abs=1e-6), (row, name)


def assert_means_what_tables_say(dataset: InteractionDataset, tables: dict) -> None:
    schema, log = dataset.schema, tables['log']
    contexts = every_column.decode(dataset.contexts, schema)
    for side in ('user', 'item'):
        frame = tables[every_column.FRAME[side]]
        graphs = every_column.decode(getattr(dataset, f'{side}s'), schema)
        assert_same_nodes(graphs, every_column.expected(side, frame, schema))
        ids = [every_column._text(cell) for cell in frame[side].astype(object)]
        assert list(getattr(dataset, f'{side}_ids')) == ids
        places = getattr(dataset, side).tolist()
        wanted = [every_column._text(cell) for cell in log[side].astype(object)]
        assert [ids[place] for place in places] == wanted
    rows = [contexts[context] for context in dataset.context.tolist()]
    assert_same_nodes(rows, every_column.expected('context', log, schema))
    assert dataset.y.tolist() == [float(cell) for cell in log['liked']]
    moments = [
        float(cell) if isinstance(cell, str) else cell for cell in log['time'].tolist()
    ]
    for one, a in zip(dataset.time.tolist(), moments, strict=True):
        for two, b in zip(dataset.time.tolist(), moments, strict=True):
            assert (one < two) == (a < b)


@settings(max_examples=200)
@given(corrupted())
def test_corrupted_columns(case):
    tables, columns = case
    schema = make_schema()
    dataset = outcome(
        lambda: build(tables, schema), *(f"'{column}'" for column in columns)
    )
    if dataset is None:
        assert schema.vocabulary is None  # For the next attempt, with better tables.
        return
    assert_means_what_tables_say(dataset, tables)
    with tempfile.TemporaryDirectory() as folder:
        dataset.save(Path(folder) / 'dataset.pt')
        loaded = InteractionDataset.load(Path(folder) / 'dataset.pt')
    for contexts in (
        loaded.contexts,
        loaded.schema.encode('context', loaded.context_frame),
    ):
        assert_same_nodes(
            every_column.decode(contexts, loaded.schema),
            every_column.decode(dataset.contexts, schema),
        )


@settings(max_examples=25)
@given(corrupted())
def test_columns_of_a_fitted_schema(case):
    tables, columns = case
    schema = build(TABLES).schema
    before = schema.to_json()
    dataset = outcome(
        lambda: build(tables, schema), *(f"'{column}'" for column in columns)
    )
    assert schema.to_json() == before
    if dataset is not None:
        assert_means_what_tables_say(dataset, tables)


def with_levels(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_axis(pd.MultiIndex.from_product([frame.columns, ['']]), axis=1)


def twice(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([frame, frame.iloc[:, 1:2]], axis=1)


@pytest.mark.parametrize('table', ['users', 'items', 'log'])
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (with_levels, '{} table must be a DataFrame of pandas with one level'),
        (lambda frame: frame.to_dict('list'), '{} table must be a DataFrame.*got dict'),
        (lambda frame: frame.iloc[:, 0], '{} table must be a DataFrame.*got Series'),
        (twice, '{} table has duplicate columns'),
        (lambda frame: frame[:0], '{} table is empty'),
        (lambda frame: frame.iloc[:, :1], "{} table has no column '"),
        (lambda frame: frame.rename(columns=str.upper), "{} table has no column '"),
    ],
)
def test_tables_of_another_form(table: str, change: Callable, message: str):
    name = {'users': 'user', 'items': 'item', 'log': 'interactions'}[table]
    with pytest.raises(ValueError, match=message.format(name)):
        build(TABLES | {table: change(TABLES[table])})


@pytest.mark.parametrize('table', ['users', 'items', 'log'])
@pytest.mark.parametrize(
    'labels',
    [[7, 7, 7, 3], [np.nan], ['b', 'a'], [(0, 1), (0, 0), (0, 1)], [-1, 0, 1]],
    ids=['recurring', 'missing', 'text', 'levels', 'negative'],
)
def test_labels_of_rows_mean_nothing(table: str, labels: list):
    frame = TABLES[table]
    labels = [labels[i % len(labels)] for i in range(len(frame))]
    tables = TABLES | {table: frame.set_axis(pd.Index(labels))}
    dataset = build(tables)
    assert dataset.schema == build(TABLES).schema
    assert_means_what_tables_say(dataset, tables)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'user': ['user']}, r"no column '\['user'\]'"),
        ({'label': ['liked']}, r"no column '\['liked'\]'"),
        ({'label': 'day'}, "'day' must hold labels 0 and 1"),
        ({'time': 'day'}, "'day' holds neither numbers nor dates"),
        ({'time': 'with'}, "'with' holds neither numbers nor dates"),
    ],
)
def test_arguments_of_tables(change: dict, message: str):
    with pytest.raises(ValueError, match=message):
        build(TABLES, **change)


@pytest.mark.parametrize('dtype', ['float64', 'Float64', 'float32'])
def test_ids_that_floating_point_merges(dtype: str):
    exact = 2**24 if dtype == 'float32' else 2**53
    users = TABLES['users'].assign(user=pd.Series([*range(4), exact + 2], dtype=dtype))
    log = TABLES['log'].assign(user=[0, 1, 2, 3, 0, 1, 2, exact + 2])
    with pytest.raises(ValueError, match=r"'user' of the user table.*read them as integ"):
        build(TABLES | {'users': users, 'log': log})
    users['user'] = users['user'].clip(upper=exact)
    log['user'] = log['user'].clip(upper=exact)
    assert build(TABLES | {'users': users, 'log': log}).user_ids[-1] == str(exact)


def test_true_is_not_one():
    """Python holds them for equal, and so the first of them would decide."""
    town = objects([True, 1, '1', 'True', 1.0])
    for order in (range(5), range(4, -1, -1)):
        users = TABLES['users'].assign(town=town).iloc[list(order)]
        dataset = build(TABLES | {'users': users})
        assert dataset.schema.vocabulary['user']['town'] == ['1', 'True']
        assert_means_what_tables_say(dataset, TABLES | {'users': users})


def test_nanoseconds_keep_their_order():
    times = [2**62 + i for i in (3, 0, 1, 2, 7, 6, 5, 4)]
    dataset = build(TABLES | {'log': TABLES['log'].assign(time=times)})
    assert dataset.time.tolist() == times


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: Categorical('f', float('nan')), "`min_count` of 'f'.*got nan"),
        (lambda: Categorical('f', 1.5), "`min_count` of 'f'.*got 1.5"),
        (lambda: MultiCategorical('f', ''), "`separator` of 'f' must be text"),
        (lambda: MultiCategorical('f', 5), "`separator` of 'f' must be text"),
        (lambda: Bucketized('f', num_buckets=2.5), "'f'.*2 buckets.*2.5"),
        (lambda: DateTime('f', 'hour', boundaries=5), "boundaries of 'f.hour'.*got 5"),
        (lambda: DateTime('f', 'hour', boundaries=('a',)), "boundaries of 'f.hour'"),
        (lambda: DateTime('f', 'hour', boundaries=(1.5,)), "boundaries of 'f.hour'"),
        (lambda: DateTime('f', ['hour']), "`part` of DateTime.'f'"),
        (lambda: DateTime('f', 'hour', unit=['s']), "`unit` of DateTime.'f'"),
        (
            lambda: FeatureSchema([Categorical(0)], [Categorical('f')], []),
            'is no user column',
        ),
        (lambda: make_schema(edges={'item': 'FieldPairs'}), "item edges.*'FieldPairs'"),
    ],
)
def test_arguments_of_schemas(make: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ('transform', 'message'),
    [
        (FieldPairs([('item', 'studio')]), "no field 'studio'"),
        (lambda data: None, 'returns no graph, but None'),
        (lambda data: data.x, 'returns no graph, but tensor'),
    ],
)
def test_transforms_that_fail(transform: Any, message: str):
    schema = make_schema(edges={'item': transform})
    with pytest.raises(ValueError, match=message):
        build(TABLES, schema)
    assert schema.vocabulary is None


SHARE = st.sampled_from([-1.0, -0.1, 0.0, 0.2, 0.5, 0.9, 1.0, 1.5, np.nan, np.inf])


@given(valid=SHARE, test=SHARE)
def test_shares_of_splits(dataset, valid: float, test: float):
    rows = set(range(len(dataset)))
    for split in (random_split, time_split):
        parts = outcome(
            lambda split=split: split(dataset, valid, test), 'hares', 'part of the split'
        )
        if parts is None:
            assert not (0.1 < valid < 0.5 and 0.1 < test < 0.5)
            continue
        moments = [part.time.tolist() for part in parts[:3]]
        assert sorted(itertools.chain(*moments)) == sorted(dataset.time.tolist())
        assert len(moments[1]) == round(valid * len(rows))
        assert len(moments[2]) == round(test * len(rows))


@given(share=SHARE, cap=SHARE, parts=st.tuples(SHARE, SHARE, SHARE))
def test_shares_of_the_intervened_split(dataset, share, cap, parts):
    graph = BipartiteGraph.from_dataset(dataset)
    split = outcome(
        lambda: intervened_split(graph, share, cap, parts=parts),
        '`share`',
        '`parts`',
        'share of',
        'part of the split',
    )
    if split is not None:
        edges = [zip(p.user.tolist(), p.item.tolist(), strict=True) for p in split]
        assert sorted(itertools.chain(*edges)) == sorted(
            zip(graph.user.tolist(), graph.item.tolist(), strict=True)
        )


def test_records_of_the_last_out():
    for number in (0, -1, 2.5, 100):
        with pytest.raises(ValueError, match=rf'`min_records`|No user has {number}'):
            leave_last_out(build(TABLES), number)


def test_parts_of_different_logs():
    """Numbers of one log's users and items mean nothing in another."""
    dataset = build(TABLES)
    other = build(TABLES | {'items': TABLES['items'][::-1]})
    model = make_model(dataset)
    for seen in ([other], [dataset, other], dataset):
        with pytest.raises(ValueError, match=r'parts of one log: their (item|user)_ids'):
            CandidateLists.sample(dataset, 1, seen=seen)
        with pytest.raises(ValueError, match=r'parts of one log: their (item|user)_ids'):
            evaluate_catalogue(model, dataset, seen, metrics=[NDCG(2)])
    again = build(TABLES | {'log': TABLES['log'][::-1]})
    assert len(CandidateLists.sample(dataset, 1, seen=[again])) == 6


def test_models_of_another_schema(dataset):
    size = dataset.schema.num_embeddings
    model = IEDR(size - 1, 4, 8)
    lists = CandidateLists.sample(dataset, 2)
    for use in (
        lambda: InteractionModule(model, dataset, dataset, lists),
        lambda: Recommender(model, dataset),
    ):
        with pytest.raises(ValueError, match=f'{size} embeddings, the model {size - 1}'):
            use()


def test_lists_of_small_catalogues():
    tables = TABLES | {'log': TABLES['log'].assign(item='b')}
    alone = build(tables | {'items': TABLES['items'][1:2]})
    with pytest.raises(ValueError, match='catalogue of at least two items'):
        CandidateLists.sample(alone)
    two = build(tables | {'items': TABLES['items'][:2]})
    lists = CandidateLists.sample(two, 5)
    assert set(lists.item[lists.target == 0].tolist()) == {0}
    with pytest.raises(ValueError, match=r'ndcg@3: the catalogue has only 2 items'):
        evaluate_catalogue(make_model(two), two, [], metrics=[NDCG(2), NDCG(3)])


def test_more_ranks_than_candidates():
    dataset = build(TABLES)
    lists = CandidateLists.sample(dataset, 2)
    model = make_model(dataset)
    values = evaluate_candidates(model, dataset, lists, [NDCG(3), NDCG(50)]).per_list
    assert values['ndcg@3'].tolist() == values['ndcg@50'].tolist()


CONTEXT = {'day': 'mon', 'when': '2020-01-01T10', 'heat': 1.0, 'with': ['m']}


def scores_in(dataset: InteractionDataset, model: IEDR, user: int, nodes: list) -> list:
    """Scores all items in a context of which only the names of its nodes are known."""
    names = dataset.schema.names()
    first = len(names) - sum(
        2 + len(values) for values in dataset.schema.vocabulary['context'].values()
    )
    x = torch.tensor([names.index(name, first) for name, _ in nodes])
    value = torch.tensor([number for _, number in nodes])
    here = dataset[:0]
    here.contexts = FeatureGraphs(x, torch.tensor([0, len(x)]), value)
    items = torch.arange(dataset.num_items)
    batch = InteractionBatch.from_ids(
        here, torch.full_like(items, user), items, torch.zeros_like(items)
    )
    with torch.no_grad():
        return model(batch).tolist()


@settings(max_examples=60)
@given(column=st.sampled_from(sorted(CONTEXT)), cell=st.sampled_from(CELLS))
@pytest.mark.filterwarnings('ignore:The model has not seen')
def test_contexts(dataset, recommender, column: str, cell: Any):
    context = CONTEXT | {column: cell}
    frame = pd.DataFrame({name: objects([value]) for name, value in context.items()})
    rows = frame.assign(user=31)
    one = outcome(lambda: recommender.recommend(31, context, 6), f"'{column}'")
    many = outcome(lambda: recommender.recommend_many(rows, 6), f"'{column}'")
    assert (one is None) == (many is None)
    if one is None:
        return
    [nodes] = every_column.expected('context', frame, dataset.schema)
    scores = scores_in(dataset, recommender.model, 0, nodes)
    for table in (one, many):
        wanted = [scores[dataset.item_ids.get_loc(item)] for item in table['item']]
        np.testing.assert_allclose(table['score'], wanted, rtol=1e-6)
        np.testing.assert_allclose(table['score'], sorted(scores)[::-1], rtol=1e-6)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'context': None}, "context lacks column 'day'"),
        ({'context': CONTEXT | {'Day': 1}}, "context has no column 'Day'"),
        ({'context': CONTEXT | {5: 1}}, "context has no column '5'"),
        ({'context': {'day': 'mon'}}, "context lacks column 'when'"),
        ({'k': 0}, r'`k` must be at least 1 \(got 0\)'),
        ({'k': -1}, r'`k` must be at least 1 \(got -1\)'),
        ({'k': 2.5}, r'`k` must be at least 1 \(got 2.5\), and an integer'),
        ({'k': None}, r'`k` must be at least 1 \(got None\), and an integer'),
        ({'candidates': []}, 'no candidates'),
        ({'candidates': ['A']}, 'candidates are not .*: A'),
        ({'candidates': [None, 'a']}, 'candidates are not .*: None'),
        ({'candidates': [['a']]}, 'candidates are not'),
        ({'candidates': ['a', 'b', 'a']}, "hold 'a' twice"),
        ({'user': [31]}, "'user' holds lists"),
        ({'user': {'age': 'old'}}, "'age' is declared a number"),
        ({'user': {'taste': [1.0, 2.0, 3.0]}}, "'taste' holds vectors of length 3"),
        ({'user': {'height': 1}}, "no column 'height'"),
        ({'user': {'joined': 'late'}}, "'joined' holds what is no time"),
    ],
)
def test_requests(recommender, arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        recommender.recommend(**{'user': 31, 'context': CONTEXT} | arguments)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (with_levels, 'rows table must be a DataFrame'),
        (lambda rows: rows.to_dict('list'), 'rows table must be a DataFrame.*dict'),
        (lambda rows: pd.concat([rows, rows[['user']]], axis=1), r"rows.*\['user'\]"),
        (lambda rows: rows[:0], 'rows table is empty'),
        (lambda rows: rows.assign(user=[[1]] * len(rows)), "'user' holds lists"),
    ],
)
def test_many_requests(recommender, change: Callable, message: str):
    with pytest.raises(ValueError, match=message):
        recommender.recommend_many(change(TABLES['log']))


def test_truncated_datasets(tmp_path, dataset):
    path = tmp_path / 'dataset.pt'
    dataset.save(path)
    content = path.read_bytes()
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        assert outcome(lambda: InteractionDataset.load(path), 'dataset.pt') is None
    for other in ({}, [1], {'users': None}):
        torch.save(other, path)
        with pytest.raises(
            ValueError, match=r'dataset\.pt is damaged or holds no dataset'
        ):
            InteractionDataset.load(path)
    with pytest.raises(FileNotFoundError, match=r'another\.pt'):
        InteractionDataset.load(tmp_path / 'another.pt')
    with pytest.raises(FileNotFoundError, match=r'dataset\.pt'):
        dataset.save(tmp_path / 'nowhere' / 'dataset.pt')


@st.composite
def damaged(draw: Any, content: Any) -> Any:
    """JSON that somewhere lacks something, or has something else."""
    if not content or not isinstance(content, (dict, list)):
        return draw(st.sampled_from([None, 5, -1, 1.5, 'x', [], {}, True, [1]]))
    copied = content.copy()
    places = sorted(content) if isinstance(content, dict) else range(len(content))
    place = draw(st.sampled_from(places))
    if draw(st.integers(0, 3)):
        copied[place] = draw(damaged(content[place]))
    else:
        del copied[place]
    return copied


@pytest.fixture(scope='module')
def folders(tmp_path_factory, dataset, recommender) -> dict[str, Path]:
    graph = BipartiteGraph.from_dataset(dataset)
    mf = MF(graph.num_users, graph.num_items, 4)
    folders = {kind: tmp_path_factory.mktemp('model') / kind for kind in ('iedr', 'dice')}
    recommender.save(folders['iedr'])
    Recommender(DICE(mf, graph.popularity), graph).save(folders['dice'])
    return folders


@pytest.mark.parametrize(
    ('kind', 'name'),
    [('iedr', 'config.json'), ('iedr', 'schema.json'), ('dice', 'config.json')],
)
@settings(max_examples=25)
@given(data=st.data())
def test_damaged_model_folders(folders, kind: str, name: str, data: Any):
    folder = folders[kind]
    text = (folder / name).read_text()
    try:
        content = data.draw(damaged(json.loads(text)))
        (folder / name).write_text(json.dumps(content))
        recommender = outcome(lambda: Recommender.load(folder), str(folder))
        if recommender is not None:  # What was damaged is of no account.
            context = CONTEXT if kind == 'iedr' else None
            assert len(recommender.recommend('31', context, 1)) == 1
            if kind == 'iedr':
                load_model(folder)
    finally:
        (folder / name).write_text(text)
