"""Splits against loops over users and rows."""

from collections.abc import Callable
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionDataset,
    Split,
    cold_start_split,
    given_split,
    index_split,
    leave_last_out,
    random_split,
    time_cut,
    time_split,
)

LOGS = st.integers(1, 24).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(0, 3), min_size=size, max_size=size),
        st.none() | st.lists(st.integers(-2, 6), min_size=size, max_size=size),
    )
)
SHARES = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))
LEAVE, RANDOM, TIME = leave_last_out, random_split, time_split


def log(users: list, times: list | None = None) -> InteractionDataset:
    """A log in which each row has a context of its own, which tells its number."""
    frame = pd.DataFrame({'user': users, 'item': 'a', 'row': range(len(users))})
    return InteractionDataset.from_pandas(
        frame if times is None else frame.assign(time=times),
        users=pd.DataFrame({'user': range(5)}),
        items=None,
        schema=FeatureSchema(*[[Categorical(name)] for name in ('user', 'item', 'row')]),
        time=None if times is None else 'time',
    )


def rows(split: Split) -> list[list[int]]:
    return [part.context.tolist() for part in split[:3]]


def check_or_refuse(split: object, dataset: InteractionDataset, expected: list) -> None:
    """Checks the rows of the parts, or that a split with an empty part is refused."""
    for part, name in zip(expected, ('training', 'validation', 'test'), strict=True):
        if not part:
            with pytest.raises(ValueError, match=f'The {name} part.*empty|No user has'):
                split(dataset)
            return
    parts = split(dataset)
    assert rows(parts) == [sorted(part) for part in expected]
    assert parts.order == ('rows' if dataset.time is None else 'time')


@given(LOGS, st.integers(3, 6))
def test_leave_last_out_against_loops(columns: tuple, min_records: int):
    users, times = columns
    expected = [[], [], []]
    for user in set(users):
        own = [row for row, other in enumerate(users) if other == user]
        if times is not None:
            own.sort(
                key=lambda row: times[row]
            )  # Rows at the same time keep their order.
        if len(own) >= min_records:
            *first, before, last = own
            expected[0] += first
            expected[1].append(before)
            expected[2].append(last)
    check_or_refuse(lambda d: leave_last_out(d, min_records), log(users, times), expected)


def test_leave_last_out_by_hand(device: torch.device):
    #      rows: 0  1  2  3  4  5  6  7
    dataset = log([2, 0, 2, 0, 2, 0, 1, 2], [9, 1, 3, 1, 9, 0, 5, 4]).to(device)
    split = leave_last_out(dataset)
    assert split.order == 'time'
    assert rows(split) == [[2, 5, 7], [0, 1], [3, 4]]
    assert split.test.user.device.type == device.type
    assert rows(leave_last_out(dataset, min_records=4)) == [[2, 7], [0], [4]]


def test_parts_keep_their_columns():
    dataset = log([0] * 4, [4, 3, 2, 1])
    for part in leave_last_out(dataset)[:3]:
        assert isinstance(part, InteractionDataset)
        assert part.items is dataset.items
        assert part.time.tolist() == [4 - row for row in part.context.tolist()]


@given(LOGS, SHARES)
def test_time_split_against_loops(columns: tuple, shares: tuple):
    users, times = columns
    size = len(users)
    order = sorted(range(size), key=lambda row: 0 if times is None else times[row])
    num_test, num_valid = round(size * shares[1]), round(size * shares[0])
    part = {}
    for place, row in enumerate(order):
        test, valid = size - num_test, size - num_test - num_valid
        part[row] = 2 if place >= test else 1 if place >= valid else 0
    if times is not None:
        together = dict(part)
        for row, time in enumerate(times):
            together[row] = min(part[i] for i in range(size) if times[i] == time)
        part = together
    expected = [[row for row in part if part[row] == i] for i in range(3)]
    check_or_refuse(lambda d: time_split(d, *shares), log(users, times), expected)


@given(LOGS, SHARES)
def test_time_split_never_trains_on_the_future(columns: tuple, shares: tuple):
    users, times = columns
    try:
        split = time_split(log(users, times), *shares)
    except ValueError:
        return
    parts = rows(split)
    assert sorted(row for part in parts for row in part) == list(range(len(users)))
    moments = [[row if times is None else times[row] for row in part] for part in parts]
    assert max(moments[0]) < min(moments[1])
    assert max(moments[1]) < min(moments[2])


@pytest.mark.parametrize('times', [None, list(range(20)), list(range(20))[::-1]])
def test_time_split_keeps_shares_without_ties(times: list | None):
    split = time_split(log([0] * 20, times), valid=0.2, test=0.1)
    assert [len(part) for part in split[:3]] == [14, 4, 2]


def test_time_split_of_dates():
    days = pd.to_datetime(['2020-01-03', '2020-01-01', '2020-01-04', '2020-01-02'])
    split = time_split(log([0] * 4, days), 0.25, 0.25)
    assert rows(split) == [[1, 3], [0], [2]]


def test_random_split(device: torch.device):
    dataset = log([0, 1, 2, 3] * 10).to(device)
    parts = rows(random_split(dataset, 0.2, 0.1, seed=3))
    assert [len(part) for part in parts] == [28, 8, 4]
    assert sorted(row for part in parts for row in part) == list(range(40))
    assert rows(random_split(dataset, 0.2, 0.1, seed=3)) == parts
    assert rows(random_split(dataset, 0.2, 0.1, seed=4)) != parts
    assert random_split(dataset).order == 'random'


def test_random_split_takes_all_rows_alike():
    dataset = log([0] * 10)
    count = torch.zeros(2, 10)
    for seed in range(200):
        for i, part in enumerate(random_split(dataset, 0.2, 0.3, seed)[1:3]):
            count[i, part.context] += 1
    # Each row is expected 40 and 60 times; these are five standard deviations.
    assert (count[0] - 40).abs().max() < 5 * (200 * 0.2 * 0.8) ** 0.5
    assert (count[1] - 60).abs().max() < 5 * (200 * 0.3 * 0.7) ** 0.5


def test_random_split_leaves_the_global_generator_alone():
    before: Tensor = torch.get_rng_state()
    random_split(log([0] * 10))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('split', [random_split, time_split])
@pytest.mark.parametrize(
    'shares', [(0, 0.1), (0.1, 0), (0.5, 0.5), (-0.1, 0.1), (1.0, 0.1)]
)
def test_bad_shares(split: object, shares: tuple):
    with pytest.raises(ValueError, match=f'valid={shares[0]}, test={shares[1]}'):
        split(log([0] * 10), *shares)


@pytest.mark.parametrize(
    ('split', 'dataset', 'message'),
    [
        (lambda d: LEAVE(d, 2), log([0] * 9), r'at least 3 \(got 2\)'),
        (LEAVE, log([0, 0, 1, 1]), 'No user has 3 records; the most that one has is 2'),
        (lambda d: LEAVE(d, 6), log([0] * 5), 'No user has 6 records; .* is 5'),
        (LEAVE, log([0])[[]], 'No user has 3 records; .* is 0'),
        (RANDOM, log([0] * 4), 'The validation part of the split is empty'),
        (RANDOM, log([0])[[]], 'The training part of the split is empty'),
        (TIME, log([0])[[]], 'The training part of the split is empty'),
        (TIME, log([0] * 20, [7] * 20), 'The validation part of the split is empty'),
        (TIME, log([0] * 10, [*range(8), 9, 9]), 'The test part of the split is empty'),
    ],
)
def test_empty_parts(split: object, dataset: InteractionDataset, message: str):
    with pytest.raises(ValueError, match=message):
        split(dataset)


# Moments.


@given(
    st.lists(st.integers(-2, 6), min_size=1, max_size=12),
    st.integers(-3, 7),
    st.integers(-3, 7),
)
def test_time_cut_against_loops(times: list, first: int, second: int):
    dataset = log([0] * len(times), times)
    expected = [
        [row for row, time in enumerate(times) if time < first],
        [row for row, time in enumerate(times) if first <= time < second],
        [row for row, time in enumerate(times) if time >= second],
    ]
    if first >= second:
        with pytest.raises(ValueError, match=f'must be before.*{first} and {second}'):
            time_cut(dataset, first, second)
    else:
        check_or_refuse(lambda d: time_cut(d, first, second), dataset, expected)


DAYS = ['2020-03-02', '2020-01-31', '2020-03-01', '2020-02-01', '2020-02-29']


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        ('2020-02-01', '2020-03-01'),
        ('1 Feb 2020', 'March 2020'),
        (pd.Timestamp('2020-02-01'), np.datetime64('2020-03-01')),
        (date(2020, 2, 1), pd.Timestamp('2020-03-01').as_unit('s')),
        ('2020-02-01T00:00Z', pd.Timestamp('2020-03-01', tz='UTC')),
        # Before midnight in UTC, and later.
        ('2020-02-01T08:00+09:00', '2020-03-01T09:00+09:00'),
        (
            '2020-01-31T20:00-04:00',
            pd.Timestamp('2020-02-29 20:00', tz='America/Caracas'),
        ),
    ],
)
@pytest.mark.parametrize('zone', [None, 'UTC', 'Asia/Tokyo'])
@pytest.mark.parametrize('unit', ['s', 'ns'])
def test_time_cut_of_dates(
    first: object, second: object, zone: str | None, unit: str, device: torch.device
):
    """Dates without a time zone are in UTC, in the log as in the moments."""
    days = pd.to_datetime(DAYS).as_unit(unit)
    if zone is not None:
        days = days.tz_localize('UTC').tz_convert(zone)
    split = time_cut(log([0] * 5, days).to(device), first, second)
    assert rows(split) == [[1], [3, 4], [0, 2]]
    assert split.order == 'time'


RANGE = 'the time of the log is from 1.0 to 9.0'
DATES = 'the time of the log is from 2020-01-31 00:00:00 to 2020-03-02 00:00:00'


@pytest.mark.parametrize(
    ('times', 'moments', 'message'),
    [
        (
            None,
            (1, 2),
            r"The log has no time to cut: .*from_pandas\(\.\.\., time='date'\)",
        ),
        ([1, 9, 5], (0, 6), f'The training part of the split is empty: {RANGE}'),
        ([1, 9, 5], (2, 3), f'The validation part of the split is empty: {RANGE}'),
        ([1, 9, 5], (2, 9.5), f'The test part of the split is empty: {RANGE}'),
        ([1, 9, 5], (6, 6), r'`valid_from` must be before `test_from` \(got 6 and 6\)'),
        ([1, 9, 5], ('5', 6), rf"`valid_from` must be a number \(got '5'\): {RANGE}"),
        ([1, 9, 5], (2, None), rf'`test_from` must be a number \(got None\): {RANGE}'),
        ([1, 9, 5], (float('nan'), 6), '`valid_from` must be a number .got nan'),
        ([1, 9, 5], (2, pd.Timestamp('2020-02-01')), '`test_from` must be a number'),
        (DAYS, ('2020-02-01', '2021-01-01'), f'The test part.*is empty: {DATES}'),
        (DAYS, (2, 3), f'The training part of the split is empty: {DATES}'),
        (
            DAYS,
            ('soon', '2020-03-01'),
            rf"`valid_from` must be a date \(got 'soon'\): {DATES}",
        ),
        (
            DAYS,
            ('2020-03-01', None),
            rf'`test_from` must be a date \(got None\): {DATES}',
        ),
        (DAYS, ('2020-03-01', ''), '`test_from` must be a date'),
        (DAYS, ('2020-03-01', [1]), '`test_from` must be a date'),
        (DAYS, ('2020-03-01', '9999-01-01'), '`test_from` must be a date'),
    ],
)
def test_bad_moments(times: list | None, moments: tuple, message: str):
    if times is DAYS:
        times = pd.to_datetime(DAYS)
    dataset = log([0] * (5 if times is None else len(times)), times)
    with pytest.raises(ValueError, match=message):
        time_cut(dataset, *moments)


# New users and items.


def shop(order: list | None = None) -> InteractionDataset:
    """A log in which each row has a day of its own, and tables in order of the log."""
    table = pd.DataFrame(
        {
            'user': list('abcabdaebcfgaghh'),
            'item': list('stustuvwsxyvwzxs'),
            'day': range(16),
        }
    )
    if order is not None:
        table = table.iloc[order]
    kinds = [[Categorical(name)] for name in ('user', 'item', 'day')]
    schema = FeatureSchema(*kinds)
    return InteractionDataset.from_pandas(table, None, None, schema, time='day')


def read(split: Split) -> list[tuple]:
    """Returns the days and graphs of the rows and the catalogue of each part, by name."""
    result = []
    for part in split[:3]:
        names = part.schema.names()
        exists = range(part.num_items) if part.catalogue is None else part.catalogue
        nodes = [
            (
                part.context_frame['day'][int(data.context_id)],
                *(names[data[f'x_{side}']] for side in ('user', 'item', 'context')),
            )
            for data in part
        ]
        result.append((sorted(nodes), sorted(part.item_ids[int(i)] for i in exists)))
    return result


ORDERED: list[Callable] = [
    lambda d: time_cut(d, 9, 13),
    lambda d: time_split(d, 0.2, 0.2),
    lambda d: cold_start_split(d, 'user', 0.25, 0.25, seed=3),
    lambda d: cold_start_split(d, 'item', 0.3, 0.2),
]


@pytest.mark.parametrize('split', ORDERED)
@given(order=st.permutations(range(16)))
@settings(max_examples=10)
def test_order_of_rows_does_not_matter(split: Callable, order: list):
    assert read(split(shop(order))) == read(split(shop()))


@pytest.mark.parametrize('split', ORDERED)
def test_nothing_is_known_before_its_time(split: Callable):
    parts = split(shop())
    train = parts.train
    seen = set(train.item.tolist())
    assert train.catalogue.tolist() == sorted(seen)
    for part in (parts.valid, parts.test):
        seen |= set(part.item.tolist())
        exists = torch.arange(8) if part.catalogue is None else part.catalogue
        assert exists.tolist() == sorted(seen)
        for data in part:
            for side in ('user', 'item', 'context'):
                known = data[f'{side}_id'].item() in getattr(train, side).tolist()
                name = part.schema.names()[data[f'x_{side}'].item()]
                assert name.endswith('<unknown>') != known


@pytest.mark.parametrize('side', ['user', 'item'])
def test_cold_start_split(side: str, device: torch.device):
    dataset = shop().to(device)
    split = cold_start_split(dataset, side, 0.25, 0.375)
    assert split.order == 'random'
    assert sorted(day for part in rows(split) for day in part) == list(range(16))
    owners = [set(getattr(part, side).tolist()) for part in split[:3]]
    assert [len(owner) for owner in owners] == [3, 2, 3]
    assert len(set.union(*owners)) == 8
    assert rows(cold_start_split(dataset, side, 0.25, 0.375)) == rows(split)
    others = [rows(cold_start_split(dataset, side, 0.25, 0.375, seed)) for seed in (1, 2)]
    assert others[0] != rows(split) != others[1]


def test_only_users_with_rows_are_held_out():
    """User 4 of the table has none."""
    split = cold_start_split(log([0, 1, 2, 3] * 3), 'user', 0.25, 0.25)
    assert [len(part.user.unique()) for part in split[:3]] == [2, 1, 1]


def test_cold_start_split_takes_all_users_alike():
    dataset, count = shop(), torch.zeros(2, 8)
    for seed in range(200):
        for i, part in enumerate(cold_start_split(dataset, 'user', 0.25, 0.5, seed)[1:3]):
            count[i, part.user.unique()] += 1
    # Expected 50 and 100 times; these are five standard deviations.
    assert (count[0] - 50).abs().max() < 5 * (200 * 0.25 * 0.75) ** 0.5
    assert (count[1] - 100).abs().max() < 5 * (200 * 0.5 * 0.5) ** 0.5


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('context',), r"`side` is 'user' or 'item' \(got 'context'\)"),
        (('user', 0.6, 0.4), r'valid=0\.6, test=0\.4'),
        (('user', 0.01, 0.2), 'validation part.*is empty: 8 users with rows are too few'),
        (('item', 0.2, 0.01), 'test part.*is empty: 8 items with rows are too few'),
    ],
)
def test_bad_cold_start(arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        cold_start_split(shop(), *arguments)


@pytest.mark.parametrize('part', ['valid', 'test'])
@pytest.mark.parametrize('side', ['user', 'item'])
def test_is_new(part: str, side: str, device: torch.device):
    split = time_cut(shop().to(device), 8, 12)
    held_out = getattr(split, part)
    known = set(getattr(split.train, side).tolist())
    new = split.is_new(part, side)
    assert new.dtype == bool and isinstance(new, np.ndarray)
    assert new.tolist() == [i not in known for i in getattr(held_out, side).tolist()]
    assert len(held_out[new]) == new.sum()
    assert split.is_new('test', 'user').any()
    assert not split.is_new('test', 'user').all()


def test_bad_is_new():
    split = time_cut(shop(), 8, 12)
    with pytest.raises(ValueError, match=r"`part` is 'valid' or 'test' \(got 'train'\)"):
        split.is_new('train', 'user')
    with pytest.raises(ValueError, match=r"`side` is 'user' or 'item' \(got 'x'\)"):
        split.is_new('test', 'x')


# Splits of one's own.

NAMES = [['train', 'TRAINING', 'Train'], ['valid', 'Validation', 'VAL', 'dev'], ['test']]
GIVEN = ['Test', 'train', None, 'dev', 'training', 'validation', np.nan, 'val']


@pytest.mark.parametrize(
    'make',
    [
        list,
        tuple,
        lambda column: np.array(column, dtype=object),
        lambda column: pd.Series(column, index=range(7, -1, -1)),  # By place.
        lambda column: pd.Series(column, dtype='string'),
        lambda column: pd.Series(column, dtype='category'),
        pd.Categorical,
    ],
)
def test_given_split(make: Callable, device: torch.device):
    split = given_split(log([0] * 8).to(device), make(GIVEN))
    assert rows(split) == [[1, 4], [3, 5, 7], [0]]
    assert split.order == 'given'
    assert split.valid.user.device.type == device.type
    assert split.train.catalogue is None


@given(st.data())
def test_given_split_against_loops(data: st.DataObject):
    number = data.draw(st.lists(st.integers(-1, 2), min_size=1, max_size=12))
    column = [data.draw(st.sampled_from(NAMES[i])) if i >= 0 else None for i in number]
    dataset = log([0] * len(number))
    expected = [[row for row, i in enumerate(number) if i == part] for part in range(3)]
    if all(expected):
        assert rows(given_split(dataset, column)) == expected
    else:
        with pytest.raises(ValueError, match='part of the split is empty'):
            given_split(dataset, column)


@pytest.mark.parametrize(
    ('column', 'message'),
    [
        (GIVEN[:7], r'value for each of the 8 rows \(got 7\)'),
        ('split', r'value for each of the 8 rows \(got 1\)'),
        ([*GIVEN[:7], 'tests'], "'tests' of row 7 is none of train, .*, dev, test"),
        ([*GIVEN[:5], 'tset', 'a', 'tset'], "'tset' of row 5 is none of"),
        ([0, 1, 2, 0, 0, 0, 0, 0], "'0' of row 0 is none of"),
        ([''] + ['train'] * 7, "'' of row 0 is none of"),
        (['valid', 'test'] * 4, 'The training part of the split is empty'),
        (['train', 'test'] * 4, 'The validation part of the split is empty'),
        (['train', 'dev', None, None] * 2, 'The test part of the split is empty'),
        ([None] * 8, 'The training part of the split is empty'),
    ],
)
def test_bad_given_split(column: object, message: str):
    with pytest.raises(ValueError, match=message):
        given_split(log([0] * 8), column)


MASK = [True, False, False, True, False, False]


@pytest.mark.parametrize(
    ('parts', 'expected'),
    [
        (([4, 0, 2], [1], [5, 3]), [[4, 0, 2], [1], [5, 3]]),  # The order is kept.
        ((np.array([0]), (2,), range(3, 5)), [[0], [2], [3, 4]]),
        ((torch.tensor([5, 1]), np.array([2], np.uint8), [0]), [[5, 1], [2], [0]]),
        ((MASK, [1], [5]), [[0, 3], [1], [5]]),
        ((np.array(MASK), [1], [5]), [[0, 3], [1], [5]]),
        ((torch.tensor(MASK), [1], [5]), [[0, 3], [1], [5]]),
        ((pd.Series(MASK, index=range(6, 0, -1)), [1], [5]), [[0, 3], [1], [5]]),
        ((pd.Series(MASK, dtype='boolean'), [1], [5]), [[0, 3], [1], [5]]),
        ((pd.Index([4, 0]), [1], [5]), [[4, 0], [1], [5]]),
    ],
)
def test_index_split(parts: tuple, expected: list, device: torch.device):
    dataset = log([0] * 6).to(device)
    moved = [part.to(device) if isinstance(part, Tensor) else part for part in parts]
    for split in (index_split(dataset, *moved), index_split(dataset, *parts)):
        assert rows(split) == expected
        assert split.order == 'given'
        assert split.train.catalogue is None
    train, *others = parts
    assert rows(index_split(dataset, others[0], train, others[1])) == [
        expected[i] for i in (1, 0, 2)
    ]


@pytest.mark.parametrize(
    ('parts', 'message'),
    [
        (([0, 1], [2, 1], [3]), 'Row 1 is in train and again in valid'),
        (([0], [2], [3, 4, 2]), 'Row 2 is in valid and again in test'),
        ((MASK, [1], [3]), 'Row 3 is in train and again in test'),
        (([0, 4, 0], [2], [3]), 'Row 0 is in train and again in train'),
        (([0], [2], [3, 5, 1, 5]), 'Row 5 is in test and again in test'),
        (([0], [6, 2], [3]), '`valid` names row 6, but rows are from 0 to 5'),
        (([0], [2], [3, -1]), '`test` names row -1, but rows are from 0 to 5'),
        (([], [2], [3]), 'The train part of the split is empty'),
        (([0], [False] * 6, [3]), 'The valid part of the split is empty'),
        (([0], [2], torch.tensor([])), 'The test part of the split is empty'),
        (([0.0, 1.0], [2], [3]), r'`train` must be .* \(got float64 of shape \(2,\)\)'),
        (
            ([0], [True] * 5, [3]),
            r'`valid` must be .* all 6 \(got bool of shape \(5,\)\)',
        ),
        (([0], [2], [[3]]), r'`test` must be .* \(got int64 of shape \(1, 1\)\)'),
        (([0], {2}, [3]), r'`valid` must be the numbers of rows or a mask'),
    ],
)
def test_bad_index_split(parts: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        index_split(log([0] * 6), *parts)
