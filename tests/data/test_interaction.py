"""Samples must say what the tables say, however the tables are written."""

import copy
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pytest
import torch
from compare import assert_same_data, in_words
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.loader import DataLoader

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureSchema,
    InteractionData,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)
from iedr_geo.data.schema import SIDES

FOLLOW = ['x_user', 'x_item', 'x_context']
USERS = pd.DataFrame({'user': [10, 11, 12], 'age': [30, None, 50]})
ITEMS = pd.DataFrame(
    {
        'item': ['a', 'b', 'c'],
        'genres': ['x|y', None, 'y'],
        'price': [0.5, 2.0, None],
    }
)
LOG = pd.DataFrame(
    {
        'user': [12, 10, 12, 12, 10],
        'item': ['b', 'a', 'a', 'c', 'a'],
        'day': ['mo', None, 'mo', 'tu', None],
        'with': [['k', 'l'], [], ['k', 'l'], ['k'], []],
        'rated': [1, 0, 0, 1, 1],
        'when': [5, 3, 4, 1, 2],
    }
)

# The nodes that belong to each id, and to the context of each row of the log.
USER_NODES = {
    10: ['user=10', 'age=<40'],
    11: ['user=11', 'age=<missing>'],
    12: ['user=12', 'age=>=40'],
}
ITEM_NODES = {
    'a': ['item=a', 'genres=x', 'genres=y', 'price=<number>'],
    'b': ['item=b', 'genres=<missing>', 'price=<number>'],
    'c': ['item=c', 'genres=y', 'price=<missing>'],
}
ITEM_VALUES = {'a': [1, 1, 1, 0.5], 'b': [1, 1, 2.0], 'c': [1, 1, 1]}
CONTEXT_NODES = [
    ['day=mo', 'with=k', 'with=l'],
    ['day=<missing>', 'with=<missing>'],
    ['day=mo', 'with=k', 'with=l'],
    ['day=tu', 'with=k'],
    ['day=<missing>', 'with=<missing>'],
]


def make_schema() -> FeatureSchema:
    return FeatureSchema(
        user=[Categorical('user'), Bucketized('age', (40,))],
        item=[Categorical('item'), MultiCategorical('genres', '|'), Numerical('price')],
        context=[Categorical('day'), MultiCategorical('with')],
    )


def build(**change: object) -> InteractionDataset:
    arguments = {
        'interactions': LOG,
        'users': USERS,
        'items': ITEMS,
        'schema': make_schema(),
        'label': 'rated',
        'time': 'when',
    }
    return InteractionDataset.from_pandas(**(arguments | change))


def log(**columns: object) -> dict[str, object]:
    return {'interactions': LOG.assign(**columns)}


def sample_by_hand(names: list[str], row: int) -> InteractionData:
    user, item = LOG['user'][row], LOG['item'][row]
    nodes = {
        'user': USER_NODES[user],
        'item': ITEM_NODES[item],
        'context': CONTEXT_NODES[row],
    }
    data = InteractionData(num_nodes=sum(map(len, nodes.values())))
    for side, graph in nodes.items():
        size = range(len(graph))
        edges = [[source, target] for target in size for source in size]
        data[f'x_{side}'] = torch.tensor([names.index(name) for name in graph])
        data[f'edge_index_{side}'] = torch.tensor(edges).t().contiguous()
    data.value_item = torch.tensor(ITEM_VALUES[item], dtype=torch.float)
    data.user_id = torch.tensor([[10, 11, 12].index(user)])
    data.item_id = torch.tensor(['abc'.index(item)])
    data.context_id = torch.tensor([[0, 1, 0, 2, 1][row]])
    data.y = torch.tensor([float(LOG['rated'][row])])
    return data


def test_samples_by_hand(device: torch.device):
    dataset = build().to(device)
    names = dataset.schema.names()
    assert len(dataset) == len(LOG)
    sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
    assert sizes == (3, 3, 3)
    for row in range(len(LOG)):
        for index in (row, row - len(LOG), np.int64(row), torch.tensor(row)):
            data = dataset[index]
            assert data.x_user.device == dataset.user.device
            assert_same_data(data, sample_by_hand(names, row))
    for index in (len(LOG), -len(LOG) - 1):
        with pytest.raises(IndexError):
            dataset[index]


def test_no_labels_no_time():
    dataset = build(label=None, time=None)
    for one in (dataset, dataset[[1, 0]]):
        assert one.y is one.time is None
        assert 'y' not in one[0]


def test_batches_of_pyg_and_back():
    dataset = build()
    samples = [sample_by_hand(dataset.schema.names(), row) for row in range(len(LOG))]
    loader = DataLoader(dataset, batch_size=3, follow_batch=FOLLOW)
    for batch, own in zip(loader, (samples[:3], samples[3:]), strict=True):
        for i, data in enumerate(batch.to_data_list()):
            assert_same_data(data, own[i])
            assert_same_data(batch.get_example(i), own[i])
        for side in SIDES:
            # Each edge joins two nodes of its own sample, moved behind those before it.
            first, edges, owner = 0, [], []
            for i, data in enumerate(own):
                edges += (data[f'edge_index_{side}'] + first).t().tolist()
                owner += [i] * len(data[f'x_{side}'])
                first += len(data[f'x_{side}'])
            assert batch[f'edge_index_{side}'].t().tolist() == edges
            assert batch[f'x_{side}_batch'].tolist() == owner
        # Ids are not positions: collating must not move them.
        assert batch.item_id.tolist() == [int(data.item_id) for data in own]


@pytest.mark.parametrize('seed', range(2))
def test_order_of_tables_does_not_matter(seed: int):
    log, users, items = (
        frame.sample(frac=1, random_state=seed + i)  # Keeps an index out of order.
        for i, frame in enumerate((LOG, USERS, ITEMS))
    )
    one = build()
    two = build(interactions=log, users=users, items=items)
    assert one.schema == two.schema
    assert sorted(in_words(two)) == sorted(in_words(one))
    assert [row[-1] for row in in_words(two)] == log['when'].tolist()


@pytest.mark.parametrize('dtype', [int, float, str, 'Int64', 'string', 'category'])
def test_dtype_of_ids_does_not_matter(dtype: object):
    before = [frame.copy(deep=True) for frame in (LOG, USERS, ITEMS)]
    for users in (USERS, USERS.astype({'user': float})):
        one = build(users=users, interactions=LOG.astype({'user': dtype}))
        assert in_words(one) == in_words(build())
    for frame, copied in zip((LOG, USERS, ITEMS), before, strict=True):
        pd.testing.assert_frame_equal(frame, copied)


IDS = FeatureSchema(*[[Categorical(name)] for name in ('user', 'item', 'day')])


def test_tables_of_ids_alone():
    schema = copy.deepcopy(IDS)
    alone = build(schema=schema, users=None, items=None)
    assert in_words(alone) == in_words(build(schema=copy.deepcopy(IDS)))
    # Only ids of the log, in the order of their first rows.
    assert list(alone.user_ids) == ['12', '10']
    assert list(alone.item_ids) == ['b', 'a', 'c']
    # One id in the types that different chunks of a CSV file can have.
    mixed = pd.Series([12, '10', '12', 12.0, 10], dtype=object)
    mixed = build(schema=schema, users=None, items=None, **log(user=mixed))
    assert in_words(mixed) == in_words(alone)


def of_contexts(frame: pd.DataFrame, *kinds: object) -> InteractionDataset:
    """One user and item in the contexts of a table."""
    schema = FeatureSchema([Categorical('user')], [Categorical('item')], kinds)
    log = frame.assign(user=1, item='a')
    return InteractionDataset.from_pandas(log, None, None, schema)


CONTEXTS = st.tuples(
    st.none() | st.sampled_from(['mo', 'tu']),
    st.none()
    | st.lists(st.sampled_from('kl'), min_size=1, max_size=2, unique=True).map(tuple),
    st.none() | st.sampled_from([0.5, 2.0]),
)


@settings(max_examples=30)
@given(st.lists(CONTEXTS, min_size=1, max_size=8))
def test_distinct_contexts(rows: list):
    table = pd.DataFrame(rows, columns=['day', 'with', 'hour']).astype({'hour': float})
    dataset = of_contexts(
        table, Categorical('day'), MultiCategorical('with'), Numerical('hour')
    )
    distinct = list(dict.fromkeys(rows))
    assert dataset.num_contexts == len(distinct) == len(dataset.context_frame)
    assert dataset.context.tolist() == [distinct.index(row) for row in rows]
    pd.testing.assert_frame_equal(
        dataset.context_frame.iloc[dataset.context].reset_index(drop=True), table
    )


@pytest.mark.parametrize(
    ('cells', 'expected'),
    [
        ([('k',), ['k'], ('l',)], [0, 0, 1]),
        ([{0, 8}, {8, 0}, frozenset({0}), {8}], [0, 0, 1, 2]),
        ([np.array([1, 2]), [1, 2], np.array([2, 1])], [0, 0, 1]),
        (pd.Series([['k'], None, np.nan, ['k']]), [0, 1, 1, 0]),
        (pd.Series(['k', None, 'k'], dtype='category'), [0, 1, 0]),
        (pd.Series([2, None, 1, 2], dtype='Int64'), [0, 1, 2, 0]),
        (pd.Series([True, None, True], dtype='boolean'), [0, 1, 0]),
        (pd.Series(['k', None, 'k'], dtype='string'), [0, 1, 0]),
        (pd.to_datetime(['2020-01-01', None, '2020-01-01']), [0, 1, 0]),
    ],
)
def test_distinct_contexts_of_other_types(cells: list, expected: list):
    cells = pd.Series(cells)
    lists = cells.map(pd.api.types.is_list_like).any()
    kind = MultiCategorical if lists else Categorical
    dataset = of_contexts(pd.DataFrame({'with': cells}), kind('with'))
    assert dataset.context.tolist() == expected
    assert dataset.num_contexts == len(set(expected))


def test_shares_of_buckets_are_shares_of_the_log():
    """Quantiles do not depend on which rows other context columns tell apart."""
    schema = make_schema()
    schema.context = [Bucketized('hour', num_buckets=2), Categorical('day')]
    hours = [0, 0, 0, 1, 2]
    log = pd.concat([LOG] * 2, ignore_index=True).assign(hour=[7] * 5 + hours, day='mo')
    dataset = build(interactions=log, schema=schema)
    rows = [row[4][0] for row in in_words(dataset)]
    assert rows == ['hour=>=4.5'] * 5 + ['hour=<4.5'] * 5


def test_fitted_schema_is_kept():
    schema = build().schema
    names = schema.names()
    users = pd.DataFrame({'user': [10, 13], 'age': [99, 1]})
    changed = log(day='su', user=[13, 10, 13, 13, 10])
    later = build(users=users, schema=schema, **changed)
    assert later.schema.names() == names
    first, second, *_ = in_words(later)
    assert first[0] == '13'
    assert first[2] == ('user=<unknown>', 'age=<40')
    assert first[4] == ('day=<unknown>', 'with=k', 'with=l')
    assert second[2] == ('user=10', 'age=>=40')


@pytest.mark.parametrize(
    'labels',
    [
        [True, False, False, True, True],
        ['1', '0', '0', '1', '1'],
        pd.Series([1, 0, 0, 1, 1], dtype='Int8'),
        pd.Series([1, 0, 0, 1, 1], dtype='boolean'),
        pd.Series([True, False, False, True, True], dtype=object),
        pd.Series([1, 0, 0, 1, 1], dtype='float32'),
    ],
)
def test_labels(labels: object):
    change = log(rated=labels)
    dataset = build(**change)
    assert torch.equal(dataset.y, torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0]))
    dataset.y.zero_()  # The table's memory is its own.
    assert change['interactions']['rated'].astype(float).tolist() == [1, 0, 0, 1, 1]


DAYS = ['2020-01-05', '1969-12-31', '2020-01-04', '2020-01-01', '2020-01-02']


NUMBERS = [5, -3, 4, 1, 2]


@pytest.mark.parametrize(
    'times',
    [
        NUMBERS,
        [5.5, -3.25, 4.0, 1.0, 2.0],
        list(map(str, NUMBERS)),
        pd.Series(NUMBERS, dtype='Int64'),
        pd.to_timedelta(NUMBERS, unit='ns'),
        pd.to_datetime(DAYS),
        pd.to_datetime(DAYS).as_unit('s'),
        pd.to_datetime(DAYS, utc=True).tz_convert('Asia/Tokyo'),
    ],
)
def test_times(times: object):
    change = log(when=times)
    before = change['interactions']['when'].copy()
    dataset = build(**change)
    expected = times if times[0] == 5.5 else NUMBERS
    if isinstance(times, pd.DatetimeIndex):  # In nanoseconds.
        expected = [d * 86_400 * 10**9 for d in (18266, -1, 18265, 18262, 18263)]
    assert dataset.time.tolist() == expected
    dataset.time.zero_()
    pd.testing.assert_series_equal(change['interactions']['when'], before)


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(0.4, 0.8), [2, 3]),
        (slice(3, 3), []),
        ((4, -5, 4), [4, 0, 4]),
        ([], []),
        ([True, False, False, True, False], [0, 3]),
        (range(4, 1, -1), [4, 3, 2]),
        (np.arange(5)[::-1], [4, 3, 2, 1, 0]),
        (np.array([False, True, True, False, False]), [1, 2]),
        (torch.tensor([1, 1]), [1, 1]),
        (torch.tensor([False, False, True, False, True]), [2, 4]),
        (torch.zeros(5, dtype=torch.bool), []),
        ((LOG['rated'] == 1).iloc[::-1], [0, 1, 4]),  # By row number, not by label.
        ((LOG['rated'] == 1).astype('boolean'), [0, 3, 4]),
        (LOG.index[LOG['rated'] == 0], [1, 2]),
    ],
)
def test_subsets(index: object, rows: list):
    dataset = build(exclude_seen=False)
    subset = dataset[index]
    assert isinstance(subset, InteractionDataset)
    assert len(subset) == len(rows)
    for name in ('user', 'item', 'context', 'y', 'time'):
        whole, part = getattr(dataset, name), getattr(subset, name)
        assert part.dtype == whole.dtype
        assert part.tolist() == [whole[row].item() for row in rows]
    for i, row in enumerate(rows):
        assert_same_data(subset[i], dataset[row])
    assert subset.items is dataset.items  # Graphs are shared, not copied.
    assert subset.num_users == dataset.num_users
    assert subset.exclude_seen is False
    assert len(subset[:1]) == min(1, len(rows))
    assert len(dataset) == len(LOG)


@pytest.mark.parametrize('index', [[5], [-6], torch.ones(4, dtype=torch.bool), [0.5]])
def test_bad_subsets(index: object):
    with pytest.raises(IndexError):
        build()[index]


def test_transform_is_applied():
    dataset = build()
    dataset.transform = lambda data: data.update({'seen': data.user_id + 1})
    assert dataset[0].seen.tolist() == [3]
    assert dataset[[0]][0].seen.tolist() == [3]


def saved(dataset: InteractionDataset, folder: Path) -> InteractionDataset:
    dataset.save(folder / 'dataset.pt')
    assert [path.name for path in folder.iterdir()] == ['dataset.pt']
    torch.load(folder / 'dataset.pt', weights_only=True)
    return InteractionDataset.load(folder / 'dataset.pt')


@pytest.mark.parametrize('change', [{}, {'label': None, 'time': None}])
def test_save_and_load(change: dict, tmp_path: Path):
    dataset = build(exclude_seen=False, **change)
    loaded = saved(dataset, tmp_path)
    assert type(loaded) is InteractionDataset
    assert in_words(loaded) == in_words(dataset)
    for one, two in zip(loaded, dataset, strict=True):
        assert_same_data(one, two)
    assert loaded.schema == dataset.schema
    assert loaded.user_ids.equals(dataset.user_ids)
    assert loaded.item_ids.equals(dataset.item_ids)
    assert loaded.exclude_seen is False
    assert torch.equal(loaded.items.node_id, dataset.items.node_id)
    assert loaded.users.value is None
    pd.testing.assert_frame_equal(loaded.context_frame, dataset.context_frame)


def test_catalogue(tmp_path: Path, device: torch.device):
    """It is kept by everything that makes a dataset of another."""
    dataset = build()
    assert dataset.catalogue is None
    dataset.catalogue = torch.tensor([0, 2])
    moved, loaded = dataset.to(device), saved(dataset, tmp_path)
    for other in (dataset[[3, 1]], dataset[:0], moved, loaded):
        assert other.catalogue.tolist() == [0, 2]
    assert moved[[0]].catalogue.device.type == device.type


def test_saved_contexts_mean_the_same(tmp_path: Path):
    """Not even numbers with many digits, dates and sets change on the way."""
    minutes = pd.to_timedelta([1, 2, 3, 0, 5], unit='min')
    table = pd.DataFrame(
        {
            'share': [1 / 3, np.nan, 1e-12, 0.1 + 0.2, 1 / 7],
            'day': pd.to_datetime([*DAYS[:3], None, None]) + minutes,
            'count': pd.Series([2**60 + 1, None, 2**60, 4, 5], dtype='object'),
            'home': pd.Series([True, False, None, True, True], dtype='boolean'),
            'with': [{np.int64(3), 12}, np.array([3]), (), None, [np.nan, 12]],
        }
    )
    kinds = [Categorical(name) for name in ('share', 'day', 'count', 'home')]
    dataset = of_contexts(table, *kinds, MultiCategorical('with'))
    loaded = saved(dataset, tmp_path)
    graphs = dataset.schema.encode('context', loaded.context_frame)
    assert torch.equal(graphs.x, dataset.contexts.x)
    assert torch.equal(graphs.ptr, dataset.contexts.ptr)
    shares = loaded.context_frame['share'].tolist()
    np.testing.assert_array_equal(shares, table['share'].tolist())


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / 'dataset.pt'
    build().save(path)

    def fail(state: dict, file: IO[bytes]) -> None:
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        build(label=None).save(path)
    assert InteractionDataset.load(path).y is not None
    path.write_bytes(b'half')
    with pytest.raises(ValueError, match=r'dataset\.pt is damaged or holds no dataset'):
        InteractionDataset.load(path)


def test_to_device(device: torch.device):
    dataset = build()
    moved = dataset.to(device)
    assert moved is not dataset
    for name in ('user', 'item', 'context', 'y', 'time'):
        assert getattr(moved, name).device.type == device.type
        assert getattr(dataset, name).device.type == 'cpu'
    for side in ('users', 'items', 'contexts'):
        graphs = getattr(moved, side)
        for tensor in (graphs.x, graphs.ptr, graphs.value, graphs.node_id):
            assert tensor is None or tensor.device.type == device.type
    for mask in (moved.y == 1, (moved.y == 1).cpu(), [0, 3, 4]):
        assert in_words(moved[mask]) == in_words(dataset[[0, 3, 4]])
    assert in_words(moved.to('cpu')) == in_words(dataset)


def test_to_networkx():
    dataset = build()
    names = dataset.schema.names()
    graph = dataset[3].to_networkx(names)
    sides = {'user': USER_NODES[12], 'item': ITEM_NODES['c'], 'context': CONTEXT_NODES[3]}
    nodes = {
        (side, i): {'side': side, 'feature': names.index(name), 'value': 1.0}
        for side, labels in sides.items()
        for i, name in enumerate(labels)
    }
    labelled = {
        node: {**attributes, 'label': names[attributes['feature']]}
        for node, attributes in nodes.items()
    }
    assert dict(graph.nodes(data=True)) == labelled
    assert dict(dataset[3].to_networkx().nodes(data=True)) == nodes
    assert dataset[1].to_networkx().nodes['item', 3]['value'] == 0.5
    assert set(graph.edges(data='weight')) == {
        (one, two, 1.0) for one in nodes for two in nodes if one[0] == two[0]
    }


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'interactions': LOG[:0]}, 'interactions table is empty'),
        ({'users': USERS[:0]}, 'user table is empty'),
        ({'items': ITEMS[:0]}, 'item table is empty'),
        ({'interactions': LOG.drop(columns='user')}, "interactions.*no column 'user'"),
        ({'interactions': LOG.drop(columns='item')}, "interactions.*no column 'item'"),
        ({'interactions': LOG.drop(columns='day')}, "interactions.*no column 'day'"),
        ({'label': 'liked'}, "interactions.*no column 'liked'"),
        ({'time': 'date'}, "interactions.*no column 'date'"),
        ({'users': USERS.drop(columns='user')}, "user table.*no column 'user'"),
        ({'users': None}, "user table.*no column 'age'"),
        ({'items': ITEMS.drop(columns='price')}, "item table.*no column 'price'"),
        (
            {'users': pd.concat([USERS, USERS[['age']]], axis=1)},
            r"user table.*duplicate.*\['age'\]",
        ),
        (
            {'items': ITEMS[:1]},
            "2 of 3 ids in column 'item' of the interactions.*item table.*: b, c",
        ),
        (
            {'users': USERS.assign(user=pd.Series([10, '12', 12.0], dtype=object))},
            "'user' of the user table holds an id twice: 12",
        ),
        (
            {'items': ITEMS.assign(item=['a', 'b', None])},
            "'item' of the item table has no id in row 2",
        ),
        (
            log(user=[12, 10, np.nan, 12, None]),
            r"'user' of the interactions has no id in row 2 \(2 rows",
        ),
        (
            log(item=np.nan) | {'users': None, 'items': None, 'schema': IDS},
            r"'item' of the interactions has no id in row 0 \(5 rows",
        ),
        (log(user=[[1]] * 5), "'user' holds lists"),
        (log(rated=[0, 1, 5, 2, 0]), r'labels 0 and 1: row 2 holds .*5.* \(2 rows'),
        (log(rated=[0, 1, np.nan, 1, 0]), 'labels 0 and 1: row 2 holds .*nan'),
        (log(rated=['yes'] * 5), "'rated' must hold labels 0 and 1: row 0 holds 'yes'"),
        (log(when=[1, 2, np.nan, 4, np.inf]), r"'when' has no time in row 2 \(2 rows"),
        (log(when=pd.to_datetime([*DAYS[1:], None])), "'when' has no time in row 4"),
        (log(when=pd.to_timedelta([1, 2, None, 4, 5])), "'when' has no time in row 2"),
        (log(when=DAYS), "'when'.*pandas.to_datetime"),
        ({'items': ITEMS.assign(price=['1', 'x', '2'])}, "'price' is declared a number"),
        ({'items': ITEMS.assign(price=[1, 2, np.inf])}, "'price' holds 1 infinite"),
    ],
)
def test_bad_tables(change: dict, message: str):
    schema = change.get('schema') or make_schema()
    with pytest.raises(ValueError, match=message):
        build(**({'schema': schema} | change))
    # The next attempt, with better tables, must not find this one's vocabulary.
    assert schema.vocabulary is None


def test_other_names_of_ids():
    names = {'user': 'member', 'item': 'app'}
    schema = make_schema()
    schema.user = [Bucketized('age', (40,))]
    schema.item = [MultiCategorical('genres', '|')]
    tables = {'interactions': LOG, 'users': USERS, 'items': ITEMS}
    tables = {name: table.rename(columns=names) for name, table in tables.items()}
    dataset = build(**tables, schema=schema, **names)
    # Without the id among the fields, users are known by their features alone.
    assert [row[:2] for row in in_words(dataset)] == [
        (str(user), item) for user, item in zip(LOG['user'], LOG['item'], strict=True)
    ]
    assert in_words(dataset)[0][2] == ('age=>=40',)
    assert schema.vocabulary['item'] == {'genres': ['x', 'y']}
