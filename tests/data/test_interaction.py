"""Samples must say what the tables say, however the tables are written."""

from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import FRAME, TABLES, build, decode, expected, make_schema
from compare import assert_same_data, in_words
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import BOUGHT, make_shop
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

LOG, USERS, ITEMS = (TABLES[name] for name in ('log', 'users', 'items'))
SIZE = len(LOG)
VECTORS = {'user': {'taste': 2}, 'item': {'poster': 3}}  # And their lengths.
CONTEXT = [0, 1, 1, 2, 3, 0, 4, 5]  # Of each row; the minutes of a time do not count.


def rows_of_tables(row: int) -> dict[str, int]:
    """The row of each side's table that a row of the log names."""
    user, item = LOG['guest'][row], LOG['film'][row]
    ids = USERS['guest'].tolist(), ITEMS['film'].tolist()
    return {'user': ids[0].index(user), 'item': ids[1].index(item), 'context': row}


def sample_by_hand(schema: FeatureSchema, row: int) -> InteractionData:
    names, data = schema.names(), InteractionData(num_nodes=0)
    for side, place in rows_of_tables(row).items():
        nodes = expected(side, TABLES[FRAME[side]], schema)[place]
        size = range(len(nodes))
        edges = [[source, target] for target in size for source in size]
        data.num_nodes += len(nodes)
        data[f'x_{side}'] = torch.tensor([names.index(name) for name, _ in nodes])
        data[f'edge_index_{side}'] = torch.tensor(edges).t().contiguous()
        data[f'{side}_id'] = torch.tensor([CONTEXT[row] if side == 'context' else place])
        values = [1.0 if isinstance(number, list) else number for _, number in nodes]
        data[f'value_{side}'] = torch.tensor(values)
        for field, width in VECTORS.get(side, {}).items():
            vectors = [vector for _, vector in nodes if isinstance(vector, list)]
            first = names.index(f'{field}=<vector>')
            data[f'vector_{first}_{side}'] = torch.tensor(vectors).view(-1, width)
    data.y = torch.tensor([float(LOG['liked'][row])])
    return data


def test_samples_by_hand(device: torch.device):
    dataset = build(TABLES).to(device)
    assert (dataset.num_users, dataset.num_items, dataset.num_contexts) == (4, 5, 6)
    assert len(dataset) == SIZE
    for row in range(SIZE):
        for index in (row, row - SIZE, np.int64(row), torch.tensor(row)):
            data = dataset[index]
            assert data.x_user.device == dataset.user.device
            assert_same_data(data, sample_by_hand(dataset.schema, row))
    for index in (SIZE, -SIZE - 1):
        with pytest.raises(IndexError):
            dataset[index]
    dataset.transform = lambda data: data.update({'seen': data.user_id + 1})
    assert dataset[1].seen == dataset[[1]][0].seen == 2


def test_batches_of_pyg_and_back():
    dataset = build(TABLES)
    loader = DataLoader(dataset, SIZE, follow_batch=[f'x_{side}' for side in SIDES])
    (batch,) = loader
    for row, data in enumerate(batch.to_data_list()):
        assert_same_data(data, dataset[row])
    for side in SIDES:
        # Each edge joins two nodes of its own sample, moved behind those before it.
        first, edges = 0, []
        for data in dataset:
            edges += (data[f'edge_index_{side}'] + first).t().tolist()
            first += len(data[f'x_{side}'])
        assert batch[f'edge_index_{side}'].t().tolist() == edges
        # Ids are not positions: collating must not move them.
        assert torch.equal(batch[f'{side}_id'], getattr(dataset, side))


# What tables mean.


@pytest.mark.parametrize('dtype', [int, float, str, 'Int64', 'string', 'category'])
def test_order_of_tables_and_types_of_ids_do_not_matter(dtype: object):
    before = {name: frame.copy(deep=True) for name, frame in TABLES.items()}
    one = build(TABLES)
    # Keeps an index out of order.
    tables = {name: frame.sample(frac=1) for name, frame in TABLES.items()}
    tables['log'] = tables['log'].astype({'guest': dtype})
    for users in (tables['users'], tables['users'].astype({'guest': float})):
        two = build(tables | {'users': users})
        assert one.schema == two.schema
        assert sorted(in_words(two), key=str) == sorted(in_words(one), key=str)
        assert two.time.tolist() == tables['log']['sold'].tolist()
    for name, frame in TABLES.items():
        pd.testing.assert_frame_equal(frame, before[name])


def ids_alone() -> FeatureSchema:
    return FeatureSchema(*[[Categorical(name)] for name in ('guest', 'film', 'with')])


ALONE = {'users': None, 'items': None}


def test_tables_of_ids_alone():
    alone = build(TABLES | ALONE, ids_alone())
    # Only ids of the log, in the order of their first rows.
    assert list(alone.user_ids) == ['3', '1', '2', '7']
    assert list(alone.item_ids) == ['10', '11', '12', '13', '14']
    assert [row[:4] for row in in_words(alone)] == [
        (str(user), str(item), (f'guest={user}',), (f'film={item}',))
        for user, item in zip(LOG['guest'], LOG['film'], strict=True)
    ]
    # One id in the types that different chunks of a CSV file can have.
    mixed = pd.Series([3, '1', '2', 3.0, 7, 1, '7', 2.0], dtype=object)
    log = {'log': LOG.assign(guest=mixed)}
    assert in_words(build(TABLES | ALONE | log, ids_alone())) == in_words(alone)
    shop = make_shop()  # Whose columns of ids have other names.
    assert (shop.user_name, shop.item_name) == ('customer', 'article')
    assert [row[:2] for row in in_words(shop)] == [(str(c), str(a)) for c, a in BOUGHT]


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
    kinds = Categorical('day'), MultiCategorical('with'), Numerical('hour')
    dataset = of_contexts(table, *kinds)
    same = [(day, others and frozenset(others), hour) for day, others, hour in rows]
    distinct = list(dict.fromkeys(same))  # In whatever order others are named.
    assert dataset.num_contexts == len(distinct) == len(dataset.context_frame)
    assert dataset.context.tolist() == [distinct.index(row) for row in same]
    first = table.iloc[[same.index(row) for row in distinct]].reset_index(drop=True)
    pd.testing.assert_frame_equal(dataset.context_frame, first)


@pytest.mark.parametrize(
    ('cells', 'numbers'),
    [
        ([('k',), ['k'], ('l',)], [0, 0, 1]),
        ([{0, 8}, {8, 0}, frozenset({0}), {8}], [0, 0, 1, 2]),
        ([np.array([1, 2]), [1, 2], np.array([2, 1])], [0, 0, 0]),
        ([['k'], None, np.nan, ['k']], [0, 1, 1, 0]),
    ],
)
def test_distinct_contexts_of_other_types(cells: object, numbers: list):
    dataset = of_contexts(pd.DataFrame({'with': cells}), MultiCategorical('with'))
    assert dataset.context.tolist() == numbers
    assert dataset.num_contexts == len(set(numbers))


def test_shares_of_buckets_are_shares_of_the_log():
    """Quantiles are of all rows, not of those that differ."""
    hours = pd.DataFrame({'hour': [7] * 5 + [0, 0, 0, 1, 2]})
    dataset = of_contexts(hours, Bucketized('hour', num_buckets=2))
    rows = [row[4] for row in in_words(dataset)]
    assert rows == [('hour=>=4.5',)] * 5 + [('hour=<4.5',)] * 5


def test_fitted_schema_is_kept():
    schema = build(TABLES).schema
    names = schema.names()
    later = build(TABLES | {'users': USERS.assign(town='q')}, schema)
    assert later.schema.names() == names
    assert {row[2][3] for row in in_words(later)} == {'town=<unknown>'}


LABELS, NUMBERS = [1, 0, 0, 1, 1], [5, -3, 4, 1, 2]
DAYS = ['2020-01-05', '1969-12-31', '2020-01-04', '2020-01-01', '2020-01-02']
NANOSECONDS = [day * 86_400 * 10**9 for day in (18266, -1, 18265, 18262, 18263)]


@pytest.mark.parametrize(
    ('argument', 'cells', 'wanted'),
    [
        ('label', [True, False, False, True, True], LABELS),
        ('label', pd.Series([True, False, False, True, True], dtype=object), LABELS),
        ('label', list(map(str, LABELS)), LABELS),
        ('label', pd.Series(LABELS, dtype='boolean'), LABELS),
        ('label', pd.Series(LABELS, dtype='float32'), LABELS),
        ('time', NUMBERS, NUMBERS),
        ('time', [5.5, -3.25, 4.0, 1.0, 2.0], [5.5, -3.25, 4.0, 1.0, 2.0]),
        ('time', list(map(str, NUMBERS)), NUMBERS),
        ('time', pd.Series(NUMBERS, dtype='Int64'), NUMBERS),
        ('time', pd.to_timedelta(NUMBERS, unit='ns'), NUMBERS),
        ('time', pd.to_datetime(DAYS), NANOSECONDS),
        ('time', pd.to_datetime(DAYS).as_unit('s'), NANOSECONDS),
        ('time', pd.to_datetime(DAYS, utc=True).tz_convert('Asia/Tokyo'), NANOSECONDS),
    ],
)
def test_labels_and_times(argument: str, cells: object, wanted: list):
    log = LOG[:5].assign(cells=cells)
    before = log.copy(deep=True)
    names = {'label': None, 'time': None, argument: 'cells'}
    dataset = build(TABLES | ALONE | {'log': log}, ids_alone(), **names)
    read = {'label': dataset.y, 'time': dataset.time}[argument]
    assert read.tolist() == wanted
    read.zero_()  # The table's memory is its own.
    pd.testing.assert_frame_equal(log, before)


# Some of the rows.

LIKED = LOG['liked'] == 1  # Rows 0, 3, 4 and 6.


@pytest.mark.parametrize(
    ('index', 'rows'),
    [
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -3), [7, 4, 1]),
        (slice(0.3, 0.6), [2, 3, 4]),
        (slice(3, 3), []),
        ((4, -5, 4), [4, 3, 4]),
        ([], []),
        ([True, False, False, True] * 2, [0, 3, 4, 7]),
        (range(4, 1, -1), [4, 3, 2]),
        (np.arange(SIZE)[::-2], [7, 5, 3, 1]),
        (np.arange(SIZE) < 2, [0, 1]),
        (torch.tensor([1, 1]), [1, 1]),
        (torch.arange(SIZE) > 5, [6, 7]),
        (torch.zeros(SIZE, dtype=torch.bool), []),
        (LIKED.iloc[::-1], [1, 3, 4, 7]),  # By row number, not by label.
        (LIKED.astype('boolean'), [0, 3, 4, 6]),
        (LOG.index[~LIKED], [1, 2, 5, 7]),
    ],
)
def test_subsets(index: object, rows: list, device: torch.device):
    dataset = build(TABLES, exclude_seen=False).to(device)
    subset, words = dataset[index], in_words(dataset)
    assert isinstance(subset, InteractionDataset) and len(subset) == len(rows)
    assert in_words(subset) == [words[row] for row in rows]
    for name in (*SIDES, 'y', 'time'):
        whole, part = getattr(dataset, name), getattr(subset, name)
        assert part.dtype == whole.dtype and part.device == whole.device
        assert part.tolist() == [whole[row].item() for row in rows]
    assert subset.items is dataset.items  # Graphs are shared, not copied.
    assert subset.exclude_seen is False
    assert len(subset[:1]) == min(1, len(rows)) and len(dataset) == SIZE


@pytest.mark.parametrize('index', [[8], [-9], torch.ones(4, dtype=torch.bool), [0.5]])
def test_bad_subsets(index: object):
    with pytest.raises(IndexError):
        build(TABLES)[index]


def test_to_another_device():
    """The meta device stands for any other one."""
    dataset = build(TABLES)
    dataset.catalogue = torch.tensor([0, 2])
    moved = dataset.to('meta')
    tensors = [getattr(moved, name) for name in (*SIDES, 'y', 'time', 'catalogue')]
    tensors += [getattr(moved, f'{side}s').x for side in SIDES]
    assert all(tensor.is_meta for tensor in tensors)
    assert dataset.user.is_cpu and dataset.users.x.is_cpu


# Files.


def saved(dataset: InteractionDataset, folder: Path) -> InteractionDataset:
    dataset.save(folder / 'dataset.pt')
    assert [path.name for path in folder.iterdir()] == ['dataset.pt']
    torch.load(folder / 'dataset.pt', weights_only=True)
    return InteractionDataset.load(folder / 'dataset.pt')


@pytest.mark.parametrize('change', [{}, {'label': None, 'time': None}])
def test_save_and_load(change: dict, tmp_path: Path):
    dataset = build(TABLES, exclude_seen=False, **change)
    dataset.item_name = 'movie'
    if change:
        assert dataset.y is dataset.time is None and 'y' not in dataset[0]
        dataset.catalogue = torch.tensor([0, 2])
    loaded = saved(dataset, tmp_path)
    assert type(loaded) is InteractionDataset
    assert in_words(loaded) == in_words(dataset)
    for one, two in zip(loaded, dataset, strict=True):
        assert_same_data(one, two)
    assert loaded.schema == dataset.schema
    for name in ('user_ids', 'item_ids'):
        assert getattr(loaded, name).equals(getattr(dataset, name))
    assert loaded.own_ids('item').equals(pd.Index([10, 11, 12, 13, 14]))
    assert loaded.exclude_seen is False and loaded.item_name == 'movie'
    assert torch.equal(loaded.items.node_id, dataset.items.node_id)
    for other in (loaded, dataset[[3, 1]]):
        assert (other.catalogue is None) == (not change)
        assert other.catalogue is None or other.catalogue.tolist() == [0, 2]


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
    assert decode(graphs, dataset.schema) == decode(dataset.contexts, dataset.schema)
    shares = loaded.context_frame['share'].tolist()
    np.testing.assert_array_equal(shares, table['share'].tolist())


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / 'dataset.pt'
    build(TABLES).save(path)

    def fail(state: dict, file: IO[bytes]) -> None:
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(torch, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        build(TABLES, label=None).save(path)
    assert InteractionDataset.load(path).y is not None
    path.write_bytes(b'half')
    with pytest.raises(ValueError, match=r'dataset\.pt is damaged'):
        InteractionDataset.load(path)


def test_to_networkx():
    dataset = build(TABLES)
    names, row = dataset.schema.names(), 4
    nodes = {
        (side, i): {'side': side, 'label': name, 'value': meaning}
        for side, place in rows_of_tables(row).items()
        for i, (name, meaning) in enumerate(
            expected(side, TABLES[FRAME[side]], dataset.schema)[place]
        )
    }
    graph = dataset[row].to_networkx(names)
    bare = dataset[row].to_networkx().nodes(data=True)
    for node, attributes in nodes.items():
        attributes['feature'] = names.index(attributes['label'])
        is_vector = isinstance(attributes['value'], list)
        attributes['value'] = 1.0 if is_vector else pytest.approx(attributes['value'])
        assert graph.nodes[node] == attributes
        assert bare[node] == {k: v for k, v in attributes.items() if k != 'label'}
    assert len(graph) == len(nodes)
    assert set(graph.edges(data='weight')) == {
        (one, two, 1.0) for one in nodes for two in nodes if one[0] == two[0]
    }


# Wrong tables.


def log(**columns: object) -> dict[str, pd.DataFrame]:
    return {'log': LOG[:5].assign(**columns)}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'log': LOG[:0]}, 'interactions table is empty'),
        ({'users': USERS[:0]}, 'user table is empty'),
        ({'log': LOG.drop(columns='guest')}, "interactions.*no column 'guest'"),
        ({'log': LOG.drop(columns='film')}, "interactions.*no column 'film'"),
        ({'log': LOG.drop(columns='heat')}, "interactions.*no column 'heat'"),
        ({'log': LOG.drop(columns='liked')}, "interactions.*no column 'liked'"),
        ({'log': LOG.drop(columns='sold')}, "interactions.*no column 'sold'"),
        ({'users': USERS.drop(columns='guest')}, "user table.*no column 'guest'"),
        ({'users': None}, "user table.*no column 'age'"),
        (
            {'users': pd.concat([USERS, USERS[['age']]], axis=1)},
            r"user table.*duplicate.*\['age'\]",
        ),
        (
            {'items': ITEMS[:1]},
            "4 of 5 ids in column 'film' of the interactions.*item table.*: 11, 12, 13",
        ),
        (
            {'users': USERS.assign(guest=[3, '1', 1.0, 2])},
            "'guest' of the user table holds an id twice: 1",
        ),
        (
            {'items': ITEMS.assign(film=['a', 'b', None, 'd', 'e'])},
            "'film' of the item table has no id in row 2",
        ),
        (
            log(guest=[1, 2, np.nan, 7, None]),
            r"'guest' of the interactions has no id in row 2 \(2 rows",
        ),
        (
            log(film=np.nan) | {'items': None},
            r"'film' of the interactions has no id in row 0 \(5 rows",
        ),
        (log(guest=[[1]] * 5), "'guest' of the interactions holds lists"),
        (log(liked=[0, 1, 5, None, 0]), r'labels 0 and 1: row 2 holds .*5.* \(2 rows'),
        (log(liked=['yes'] * 5), "'liked' must hold labels 0 and 1: row 0 holds 'yes'"),
        (log(sold=[1, 2, np.nan, 4, np.inf]), r"'sold' has no time in row 2 \(2 rows"),
        (log(sold=pd.to_datetime([*DAYS[1:], None])), "'sold' has no time in row 4"),
        (log(sold=DAYS), "'sold'.*pandas.to_datetime"),
        (log(heat=['1', 'x', '2', '3', '4']), "'heat' is declared a number"),
    ],
)
def test_bad_tables(change: dict, message: str):
    schema = make_schema()
    with pytest.raises(ValueError, match=message):
        build(TABLES | change, schema)
    # The next attempt, with better tables, must not find this one's vocabulary.
    assert schema.vocabulary is None
