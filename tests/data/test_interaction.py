"""Samples must say what the tables say, however the tables are written."""

import copy
import json
from typing import IO

import numpy as np
import pandas as pd
import pytest
import torch
from compare import assert_same_data
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch
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


def describe(dataset: InteractionDataset) -> list[tuple]:
    """Returns all that each row says, in words, whatever its ids are."""
    names = dataset.schema.names()
    rows = []
    for i, data in enumerate(dataset):
        row = [
            dataset.user_ids[data.user_id.item()],
            dataset.item_ids[data.item_id.item()],
        ]
        row += [tuple(names[x] for x in data[f'x_{side}'].tolist()) for side in SIDES]
        row += [tuple(data.value_item.tolist())] if 'value_item' in data else []
        row += [None if dataset.y is None else dataset.y[i].item()]
        row += [None if dataset.time is None else dataset.time[i].item()]
        rows.append(tuple(row))
    return rows


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
    assert dataset.y is dataset.time is None
    assert 'y' not in dataset[0]


def test_batch_and_back():
    dataset = build()
    samples = [sample_by_hand(dataset.schema.names(), row) for row in (3, 0, 1, 0)]
    batch = Batch.from_data_list([dataset[i] for i in (3, 0, 1, 0)], follow_batch=FOLLOW)
    for data, expected in zip(batch.to_data_list(), samples, strict=True):
        assert_same_data(data, expected)
    for i, expected in enumerate(samples):
        assert_same_data(batch.get_example(i), expected)
    for side in SIDES:
        # Each edge joins two nodes of its own sample, moved behind those before it.
        first, edges, owner = 0, [], []
        for i, data in enumerate(samples):
            edges += (data[f'edge_index_{side}'] + first).t().tolist()
            owner += [i] * len(data[f'x_{side}'])
            first += len(data[f'x_{side}'])
        assert batch[f'edge_index_{side}'].t().tolist() == edges
        assert batch[f'x_{side}_batch'].tolist() == owner
    # Ids are not positions: collating must not move them.
    assert batch.item_id.tolist() == [2, 1, 0, 1]


def test_loader_of_pyg():
    dataset = build()
    loader = DataLoader(dataset, batch_size=2, follow_batch=FOLLOW)
    samples = [sample_by_hand(dataset.schema.names(), row) for row in range(len(LOG))]
    batches = list(loader)
    assert [batch.num_graphs for batch in batches] == [2, 2, 1]
    read = [data for batch in batches for data in batch.to_data_list()]
    for data, expected in zip(read, samples, strict=True):
        assert_same_data(data, expected)
    assert batches[0].x_item_batch.tolist() == [0] * 3 + [1] * 4


@pytest.mark.parametrize('seed', range(5))
def test_order_of_tables_does_not_matter(seed: int):
    log, users, items = (
        frame.sample(frac=1, random_state=seed + i)  # Keeps an index out of order.
        for i, frame in enumerate((LOG, USERS, ITEMS))
    )
    one = build()
    two = build(interactions=log, users=users, items=items)
    assert one.schema == two.schema
    assert sorted(describe(two)) == sorted(describe(one))
    assert [row[-1] for row in describe(two)] == log['when'].tolist()


@pytest.mark.parametrize('users', [USERS, USERS.astype({'user': float})])
@pytest.mark.parametrize('dtype', [int, float, str, 'Int64', 'string', 'category'])
def test_dtype_of_ids_does_not_matter(users: pd.DataFrame, dtype: object):
    one = build(users=users, interactions=LOG.astype({'user': dtype}))
    assert describe(one) == describe(build())


def test_tables_of_ids_alone():
    ids = FeatureSchema(
        [Categorical('user')], [Categorical('item')], [Categorical('day')]
    )
    alone = build(schema=copy.deepcopy(ids), users=None, items=None)
    tables = {'users': USERS[['user']], 'items': ITEMS[['item']]}
    assert describe(alone) == describe(build(schema=copy.deepcopy(ids), **tables))
    # Only ids of the log, in the order of their first rows.
    assert list(alone.user_ids) == ['12', '10']
    assert list(alone.item_ids) == ['b', 'a', 'c']
    # One id in the types that different chunks of a CSV file can have.
    mixed = LOG.assign(user=pd.Series([12, '10', '12', 12.0, 10], dtype=object))
    mixed = build(schema=ids, users=None, items=None, interactions=mixed)
    assert describe(mixed) == describe(alone)


CONTEXTS = st.tuples(
    st.none() | st.sampled_from(['mo', 'tu']),
    st.none() | st.lists(st.sampled_from('kl'), min_size=1, max_size=2, unique=True),
    st.none() | st.sampled_from([0.5, 2.0]),
)


@given(st.lists(CONTEXTS, min_size=1, max_size=8))
def test_distinct_contexts(rows: list):
    log = pd.DataFrame(rows, columns=['day', 'with', 'hour']).astype({'hour': float})
    kinds = [Categorical('day'), MultiCategorical('with'), Numerical('hour')]
    dataset = InteractionDataset.from_pandas(
        log.assign(user=1, item='a'),
        users=None,
        items=None,
        schema=FeatureSchema([Categorical('user')], [Categorical('item')], kinds),
    )
    keys = [
        (day, None if tags is None else tuple(tags), hour) for day, tags, hour in rows
    ]
    distinct = list(dict.fromkeys(keys))
    assert dataset.num_contexts == len(distinct) == len(dataset.context_frame)
    assert dataset.context.tolist() == [distinct.index(key) for key in keys]
    pd.testing.assert_frame_equal(
        dataset.context_frame.iloc[dataset.context].reset_index(drop=True), log
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
    kind = MultiCategorical('with') if lists else Categorical('with')
    dataset = InteractionDataset.from_pandas(
        pd.DataFrame({'user': 1, 'item': 'a', 'with': cells}),
        users=None,
        items=None,
        schema=FeatureSchema([Categorical('user')], [Categorical('item')], [kind]),
    )
    assert dataset.context.tolist() == expected
    assert dataset.num_contexts == len(set(expected))


def test_shares_of_buckets_are_shares_of_the_log():
    """Quantiles do not depend on which rows other context columns tell apart."""
    schema = make_schema()
    schema.context = [Bucketized('hour', num_buckets=2), Categorical('day')]
    hours = [0, 0, 0, 1, 2]
    log = pd.concat([LOG] * 2, ignore_index=True).assign(hour=[7] * 5 + hours, day='mo')
    dataset = build(interactions=log, schema=schema)
    rows = [row[4][0] for row in describe(dataset)]
    assert rows == ['hour=>=4.5'] * 5 + ['hour=<4.5'] * 5


def test_fitted_schema_is_kept():
    dataset = build()
    names = dataset.schema.names()
    log = LOG.assign(day='su', user=[13, 10, 13, 13, 10])
    users = pd.DataFrame({'user': [10, 13], 'age': [99, 1]})
    later = build(interactions=log, users=users, schema=dataset.schema)
    assert later.schema.names() == names
    first = describe(later)[0]
    assert first[0] == '13'
    assert first[2] == ('user=<unknown>', 'age=<40')
    assert first[4] == ('day=<unknown>', 'with=k', 'with=l')
    assert describe(later)[1][2] == ('user=10', 'age=>=40')


@pytest.mark.parametrize(
    'labels',
    [
        [1, 0, 0, 1, 1],
        [1.0, 0.0, 0.0, 1.0, 1.0],
        [True, False, False, True, True],
        ['1', '0', '0', '1', '1'],
        pd.Series([1, 0, 0, 1, 1], dtype='Int8'),
        pd.Series([1, 0, 0, 1, 1], dtype='boolean'),
        pd.Series([True, False, False, True, True], dtype=object),
        pd.Series([1, 0, 0, 1, 1], dtype='float32'),
    ],
)
def test_labels(labels: object):
    log = LOG.assign(rated=labels)
    dataset = build(interactions=log)
    assert torch.equal(dataset.y, torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0]))
    dataset.y.zero_()  # The table's memory is its own.
    assert log['rated'].astype(float).tolist() == [1, 0, 0, 1, 1]


DAYS = ['2020-01-05', '1969-12-31', '2020-01-04', '2020-01-01', '2020-01-02']


@pytest.mark.parametrize(
    ('times', 'expected'),
    [
        ([5, -3, 4, 1, 2], [5, -3, 4, 1, 2]),
        ([5.5, -3.25, 4.0, 1.0, 2.0], [5.5, -3.25, 4.0, 1.0, 2.0]),
        (['5', '-3', '4', '1', '2'], [5, -3, 4, 1, 2]),
        (pd.Series([5, -3, 4, 1, 2], dtype='Int64'), [5, -3, 4, 1, 2]),
        (pd.to_timedelta([5, -3, 4, 1, 2], unit='ns'), [5, -3, 4, 1, 2]),
        (pd.to_datetime(DAYS), [18266, -1, 18265, 18262, 18263]),
        (pd.to_datetime(DAYS).as_unit('s'), [18266, -1, 18265, 18262, 18263]),
        (
            pd.to_datetime(DAYS, utc=True).tz_convert('Asia/Tokyo'),
            [18266, -1, 18265, 18262, 18263],
        ),
    ],
)
def test_times(times: object, expected: list):
    log = LOG.assign(when=times)
    before = log['when'].copy()
    dataset = build(interactions=log)
    day = 86_400 * 10**9 if isinstance(times, pd.DatetimeIndex) else 1
    assert dataset.time.tolist() == [time * day for time in expected]
    dataset.time.zero_()
    pd.testing.assert_series_equal(log['when'], before)


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -2), [4, 2, 0]),
        (slice(-2, None), [3, 4]),
        (slice(0.4, 0.8), [2, 3]),
        (slice(3, 3), []),
        ([3, 0, 3], [3, 0, 3]),
        ((4, 1), [4, 1]),
        ([-1, -5], [4, 0]),
        ([], []),
        ([True, False, False, True, False], [0, 3]),
        (range(4, 1, -1), [4, 3, 2]),
        (np.array([2, 1]), [2, 1]),
        (np.arange(5)[::-1], [4, 3, 2, 1, 0]),
        (np.array([False, True, True, False, False]), [1, 2]),
        (torch.tensor([1, 1]), [1, 1]),
        (torch.tensor([False, False, True, False, True]), [2, 4]),
        (torch.zeros(5, dtype=torch.bool), []),
        (LOG['rated'] == 1, [0, 3, 4]),
        ((LOG['rated'] == 1).iloc[::-1], [0, 1, 4]),  # By place, not by label.
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


def test_subset_without_label_and_time():
    subset = build(label=None, time=None)[[1, 0]]
    assert subset.y is subset.time is None


def test_transform_is_applied():
    dataset = build()
    dataset.transform = lambda data: data.update({'seen': data.user_id + 1})
    assert dataset[0].seen.tolist() == [3]
    assert dataset[[0]][0].seen.tolist() == [3]


@pytest.mark.parametrize('change', [{}, {'label': None, 'time': None}])
def test_save_and_load(change: dict, tmp_path):
    dataset = build(exclude_seen=False, **change)
    dataset.save(tmp_path / 'dataset.pt')
    assert [path.name for path in tmp_path.iterdir()] == ['dataset.pt']
    torch.load(tmp_path / 'dataset.pt', weights_only=True)
    loaded = InteractionDataset.load(tmp_path / 'dataset.pt')
    assert type(loaded) is InteractionDataset
    assert describe(loaded) == describe(dataset)
    for i in range(len(dataset)):
        assert_same_data(loaded[i], dataset[i])
    assert loaded.schema == dataset.schema
    assert loaded.user_ids.equals(dataset.user_ids)
    assert loaded.item_ids.equals(dataset.item_ids)
    assert loaded.exclude_seen is False
    assert torch.equal(loaded.items.node_id, dataset.items.node_id)
    assert loaded.users.value is None
    frame = loaded.context_frame
    pd.testing.assert_frame_equal(frame, dataset.context_frame)


def test_catalogue(tmp_path, device: torch.device):
    """It is kept by everything that makes a dataset of another."""
    dataset = build()
    assert dataset.catalogue is None
    dataset.catalogue = torch.tensor([0, 2])
    dataset.save(tmp_path / 'dataset.pt')
    loaded = InteractionDataset.load(tmp_path / 'dataset.pt')
    for other in (dataset[[3, 1]], dataset[:0], dataset.to(device), loaded):
        assert other.catalogue.tolist() == [0, 2]
    assert dataset.to(device)[[0]].catalogue.device.type == device.type
    # Files that were written before there were any have none.
    state = torch.load(tmp_path / 'dataset.pt', weights_only=True)
    del state['catalogue']
    torch.save(state, tmp_path / 'old.pt')
    assert InteractionDataset.load(tmp_path / 'old.pt').catalogue is None


def test_saved_contexts_mean_the_same(tmp_path):
    """Not even numbers with many digits, dates and sets change on the way."""
    log = LOG.assign(
        share=[1 / 3, np.nan, 1e-12, 0.1 + 0.2, 1 / 7],
        day=pd.to_datetime(['2020-01-01', None, '2021-05-05', '2020-01-01', None])
        + pd.to_timedelta([1, 2, 3, 0, 5], unit='min'),
        count=pd.Series([1, None, 3, 4, 5], dtype='Int64'),
        home=pd.Series([True, False, None, True, True], dtype='boolean'),
    )
    log['with'] = [{'l', 'k'}, np.array(['k']), (), None, [np.nan, 'k']]
    kinds = [Categorical(name) for name in ('share', 'day', 'count', 'home')]
    schema = make_schema()
    schema.context = [*kinds, MultiCategorical('with')]
    dataset = build(interactions=log, schema=schema)
    dataset.save(tmp_path / 'dataset.pt')
    loaded = InteractionDataset.load(tmp_path / 'dataset.pt')
    graphs = schema.encode('context', loaded.context_frame)
    assert torch.equal(graphs.x, dataset.contexts.x)
    assert torch.equal(graphs.ptr, dataset.contexts.ptr)
    known = [
        loaded.context_frame['share'].tolist(),
        dataset.context_frame['share'].tolist(),
    ]
    np.testing.assert_array_equal(*known)


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
        assert describe(moved[mask]) == describe(dataset[[0, 3, 4]])
    assert describe(moved.to('cpu')) == describe(dataset)


def test_to_networkx():
    dataset = build()
    names = dataset.schema.names()
    graph = dataset[3].to_networkx(names)
    nodes = {
        'user': USER_NODES[12],
        'item': ITEM_NODES['c'],
        'context': CONTEXT_NODES[3],
    }
    expected = {
        (side, i): {
            'side': side,
            'feature': names.index(name),
            'label': name,
            'value': 1.0,
        }
        for side, labels in nodes.items()
        for i, name in enumerate(labels)
    }
    assert dict(graph.nodes(data=True)) == expected
    assert set(graph.edges) == {
        (source, target)
        for source in expected
        for target in expected
        if source[0] == target[0]
    }
    price = dataset[1].to_networkx().nodes['item', 3]
    assert price == {
        'side': 'item',
        'feature': names.index('price=<number>'),
        'value': 0.5,
    }


def with_copy(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return pd.concat([frame, frame[[name]]], axis=1)


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
        ({'users': USERS.drop(columns='age')}, "user table.*no column 'age'"),
        ({'users': None}, "user table.*no column 'age'"),
        ({'items': ITEMS.drop(columns='price')}, "item table.*no column 'price'"),
        ({'interactions': with_copy(LOG, 'day')}, r"interactions.*duplicate.*\['day'\]"),
        ({'users': with_copy(USERS, 'age')}, r"user table.*duplicate.*\['age'\]"),
        ({'items': with_copy(ITEMS, 'item')}, r"item table.*duplicate.*\['item'\]"),
        (
            {'users': USERS[:2]},
            "1 of 2 ids in column 'user' of the interactions.*user table.*: 12",
        ),
        (
            {'items': ITEMS[:1]},
            "2 of 3 ids in column 'item' of the interactions.*item table.*: b, c",
        ),
        (
            {'users': USERS.assign(user=[10, 12, 12])},
            "'user' of the user table holds an id twice: 12",
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
            {'interactions': LOG.assign(user=[12, 10, np.nan, 12, None])},
            r"'user' of the interactions has no id in row 2 \(2 rows",
        ),
        (
            {
                'interactions': LOG.assign(item=np.nan),
                'items': None,
                'schema': FeatureSchema(
                    *[[Categorical(n)] for n in ('user', 'item', 'day')]
                ),
            },
            r"'item' of the interactions has no id in row 0 \(5 rows",
        ),
        (
            {'interactions': LOG.assign(user=[[1]] * 5)},
            "'user' holds lists",
        ),
        (
            {'interactions': LOG.assign(rated=[0, 1, 5, 2, 0])},
            r"'rated' must hold labels 0 and 1: row 2 holds .*5.* \(2 rows",
        ),
        (
            {'interactions': LOG.assign(rated=[0, 1, np.nan, 1, 0])},
            "'rated' must hold labels 0 and 1: row 2 holds .*nan",
        ),
        (
            {'interactions': LOG.assign(rated=['yes'] * 5)},
            "'rated' must hold labels 0 and 1: row 0 holds 'yes'",
        ),
        (
            {'interactions': LOG.assign(when=[1, 2, np.nan, 4, np.inf])},
            r"'when' has no time in row 2 \(2 rows",
        ),
        (
            {'interactions': LOG.assign(when=[1, -np.inf, 2, 3, 4])},
            "'when' has no time in row 1",
        ),
        (
            {'interactions': LOG.assign(when=pd.to_datetime([*DAYS[1:], None]))},
            "'when' has no time in row 4",
        ),
        (
            {'interactions': LOG.assign(when=pd.to_timedelta([1, 2, None, 4, 5]))},
            "'when' has no time in row 2",
        ),
        ({'interactions': LOG.assign(when=DAYS)}, "'when'.*pandas.to_datetime"),
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


def test_tables_are_left_as_they_were():
    before = [frame.copy(deep=True) for frame in (LOG, USERS, ITEMS)]
    build()
    for frame, copied in zip((LOG, USERS, ITEMS), before, strict=True):
        pd.testing.assert_frame_equal(frame, copied)


def test_other_names_of_ids(tmp_path):
    log = LOG.rename(columns={'user': 'member', 'item': 'app'})
    users, items = USERS.rename(columns={'user': 'member'}), ITEMS
    schema = make_schema()
    schema.user = [Bucketized('age', (40,))]
    schema.item = [MultiCategorical('genres', '|')]
    dataset = build(
        interactions=log,
        users=users,
        items=items.rename(columns={'item': 'app'}),
        schema=schema,
        user='member',
        item='app',
    )
    # Without the id among the fields, users are known by their features alone.
    assert [row[:2] for row in describe(dataset)] == [
        (str(user), item) for user, item in zip(LOG['user'], LOG['item'], strict=True)
    ]
    assert describe(dataset)[0][2] == ('age=>=40',)
    assert json.loads(schema.to_json())['vocabulary']['item'] == {'genres': ['x', 'y']}
