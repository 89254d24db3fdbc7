"""Splits against loops over users and rows."""

from collections.abc import Callable
from datetime import date
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from compare import in_words
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionDataset,
    Numerical,
    Split,
    cold_start_split,
    given_split,
    hide_new,
    index_split,
    leave_last_out,
    random_split,
    time_cut,
    time_split,
)

NEW = pd.DataFrame({'user': list('abcabdaebcfgaghh'), 'item': list('stustuvwsxyvwzxs')})
LOGS = st.integers(1, 24).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(0, 3), min_size=size, max_size=size),
        st.none() | st.lists(st.integers(-2, 6), min_size=size, max_size=size),
    )
)
SHARES = st.tuples(st.floats(0.05, 0.45), st.floats(0.05, 0.45))


def build(frame: pd.DataFrame, **kwargs: object) -> InteractionDataset:
    """A log in which each row has a context of its own, which tells its number."""
    row = Numerical('row', standardize=True)  # Which stays where others are hidden.
    schema = FeatureSchema([Categorical('user')], [Categorical('item')], [row])
    if 'row' not in frame:
        frame = frame.assign(row=range(len(frame)))
    return InteractionDataset.from_pandas(
        frame, kwargs.pop('users', None), None, schema, **kwargs
    )


BASE = build(
    pd.DataFrame({'user': [0] * 40, 'item': 'a'}), users=pd.DataFrame({'user': range(5)})
)


def log(users: list, times: list | None = None) -> InteractionDataset:
    """Rows of five users, at times if there are any."""
    dataset = BASE[: len(users)]
    dataset.user = torch.tensor(users, dtype=torch.long)
    dataset.time = None if times is None else torch.tensor(times, dtype=torch.double)
    return dataset


def rows(split: Split) -> list[list[int]]:
    return [part.context.tolist() for part in split[:3]]


def check_or_refuse(
    split: Callable, dataset: InteractionDataset, part: list, order: str = 'time'
) -> None:
    """Checks the part of each row (-1: none), or that no part may be empty."""
    expected = [[row for row, own in enumerate(part) if own == i] for i in range(3)]
    for own, name in zip(expected, ('training', 'validation', 'test'), strict=True):
        if not own:
            with pytest.raises(ValueError, match=f'The {name} part.*empty|No user has'):
                split(dataset)
            return
    parts = split(dataset)
    assert rows(parts) == expected
    assert parts.order == ('rows' if dataset.time is None else order)


@given(LOGS, st.integers(3, 6))
def test_leave_last_out_against_loops(columns: tuple, min_records: int):
    users, times = columns
    part = [-1] * len(users)
    for user in set(users):
        own = [row for row, other in enumerate(users) if other == user]
        if times is not None:  # Rows at the same time keep their order.
            own.sort(key=lambda row: times[row])
        if len(own) >= min_records:
            for row, number in zip(reversed(own), [2, 1] + [0] * len(own), strict=False):
                part[row] = number
    check_or_refuse(lambda d: leave_last_out(d, min_records), log(users, times), part)


@given(LOGS, SHARES)
def test_time_split_against_loops(columns: tuple, shares: tuple):
    users, times = columns
    size = len(users)
    order = sorted(range(size), key=lambda row: 0 if times is None else times[row])
    test_from = size - round(size * shares[1])
    valid_from = test_from - round(size * shares[0])
    part = [0] * size
    for place, row in enumerate(order):
        part[row] = (place >= valid_from) + (place >= test_from)
    if times is not None:  # Rows of the same time stay together.
        alike = [[i for i in range(size) if times[i] == time] for time in times]
        part = [min(part[i] for i in own) for own in alike]
    check_or_refuse(lambda d: time_split(d, *shares), log(users, times), part)


@pytest.mark.parametrize(
    ('split', 'of', 'sizes'),
    [
        (random_split, 'context', [6, 4, 6]),
        (partial(cold_start_split, side='user'), 'user', [3, 2, 3]),
        (partial(cold_start_split, side='item'), 'item', [3, 2, 3]),
    ],
)
def test_draws(split: Callable, of: str, sizes: list):
    """All that have rows are drawn alike, and only they: the first user has none."""
    dataset = build(NEW, users=pd.DataFrame({'user': list('zabcdefgh')}))
    own, before = getattr(dataset, of).unique(), torch.get_rng_state()
    count = torch.zeros(2, max(own) + 1)
    splits = [split(dataset, valid=0.25, test=0.375, seed=seed) for seed in range(200)]
    for parts in splits:
        found = [getattr(part, of).unique() for part in parts[:3]]
        assert [len(one) for one in found] == sizes
        assert torch.equal(torch.cat(found).sort().values, own)
        assert sum(map(len, parts[:3])) == 16 and parts.order == 'random'
        for i, one in enumerate(found[1:]):
            count[i, one] += 1
    spread = 5 * (200 * torch.tensor([0.25 * 0.75, 0.375 * 0.625])).sqrt()
    error = (count[:, own] - 200 * torch.tensor([[0.25], [0.375]])).abs()
    assert (error.max(1).values < spread).all()
    again = split(dataset, valid=0.25, test=0.375)
    assert rows(again) == rows(splits[0]) != rows(splits[1])
    assert torch.equal(torch.get_rng_state(), before)


# Moments.


@given(
    st.lists(st.integers(-2, 6), min_size=1, max_size=12),
    st.integers(-3, 7),
    st.integers(-3, 7),
)
def test_time_cut_against_loops(times: list, first: int, second: int):
    dataset = log([0] * len(times), times)
    part = [(time >= first) + (time >= second) for time in times]
    if first >= second:
        with pytest.raises(ValueError, match=f'must be before.*{first} and {second}'):
            time_cut(dataset, first, second)
    else:
        check_or_refuse(lambda d: time_cut(d, first, second), dataset, part)


DAYS = pd.to_datetime(
    ['2020-03-02', '2020-01-31', '2020-03-01', '2020-02-01', '2020-02-29']
)
DATED = [
    build(pd.DataFrame({'user': 0, 'item': 'a', 'day': days}), time='day')
    for days in (
        DAYS,
        DAYS.as_unit('s'),
        DAYS.tz_localize('UTC'),
        DAYS.as_unit('s').tz_localize('UTC').tz_convert('Asia/Tokyo'),
    )
]


@pytest.mark.parametrize('dataset', DATED)
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
def test_time_cut_of_dates(dataset, first: object, second: object):
    """Dates without a time zone are in UTC, in the log as in the moments."""
    split = time_cut(dataset, first, second)
    assert rows(split) == [[1], [3, 4], [0, 2]]
    assert split.order == 'time'


# New users and items.


def read(split: Split) -> list[tuple]:
    """Returns the rows, in order of time, and the catalogue of each part."""
    result = []
    for part in split[:3]:
        exists = range(part.num_items) if part.catalogue is None else part.catalogue
        rows = sorted(in_words(part), key=lambda row: row[-1])
        result.append((rows, sorted(part.item_ids[int(i)] for i in exists)))
    return result


TIMELY = [
    lambda d: time_cut(d, 9, 13),
    lambda d: time_split(d, 0.2, 0.2),
    lambda d: cold_start_split(d, 'user', 0.25, 0.25, seed=3),
    lambda d: cold_start_split(d, 'item', 0.3, 0.2),
]


@pytest.mark.parametrize('split', TIMELY)
@given(order=st.permutations(range(16)))
@settings(max_examples=5)
def test_whatever_the_order_nothing_is_known_before_its_time(split, order: list):
    parts = split(build(NEW, time='row'))
    assert parts.train.catalogue is not None
    assert '<unknown>' in str(read(parts)[2])
    assert read(hide_new(parts)) == read(parts)
    frame = NEW.assign(row=range(16)).iloc[order]
    assert read(split(build(frame, time='row'))) == read(parts)


@pytest.mark.parametrize(
    'split',
    [
        *TIMELY,
        leave_last_out,
        lambda d: random_split(d, 0.2, 0.2),
        lambda d: given_split(d, ['train', 'valid', 'test', None] * 4),
        lambda d: index_split(d, d.time > 3, [2], torch.tensor([0])),
    ],
)
def test_every_split_on_another_device(split, device: torch.device):
    users = pd.Series(list('aaaabbbbcccddeee'))
    dataset = build(NEW.assign(user=users), time='row')
    parts, moved = split(dataset), split(dataset.to(device))
    assert rows(moved) == rows(parts) and moved.order == parts.order != 'rows'
    assert (moved.is_new('test', 'item') == parts.is_new('test', 'item')).all()
    for part in moved[:3]:
        assert part.user.device.type == part.items.x.device.type == device.type


@pytest.mark.parametrize('part', ['valid', 'test'])
@pytest.mark.parametrize('side', ['user', 'item'])
def test_is_new(part: str, side: str):
    split = time_cut(build(NEW, time='row'), 8, 12)
    held_out = getattr(split, part)
    trained = set(getattr(split.train, side).tolist())
    new = split.is_new(part, side)
    assert new.dtype == bool and isinstance(new, np.ndarray)
    assert new.tolist() == [i not in trained for i in getattr(held_out, side).tolist()]
    assert new.any() and len(held_out[new]) == new.sum()
    with pytest.raises(ValueError, match=r"`part` is 'valid' or 'test' \(got 'train'\)"):
        split.is_new('train', side)
    with pytest.raises(ValueError, match=r"`side` is 'user' or 'item' \(got 'x'\)"):
        split.is_new(part, 'x')


# Splits of one's own.

WORDS = [['train', 'TRAINING', 'Train'], ['valid', 'Validation', 'VAL', 'dev'], ['test']]
MAKE = [
    list,
    lambda column: np.array(column, dtype=object),
    lambda column: pd.Series(column, index=range(len(column), 0, -1)),  # By row number.
    lambda column: pd.Series(column, dtype='string'),
    pd.Categorical,
]


@given(st.data(), st.sampled_from(MAKE))
def test_given_split_against_loops(data: st.DataObject, make: Callable):
    number = data.draw(st.lists(st.integers(-1, 2), min_size=1, max_size=12))
    words = [*WORDS, [None, np.nan]]
    column = make([data.draw(st.sampled_from(words[i])) for i in number])
    dataset = log([0] * len(number), [0] * len(number))
    check_or_refuse(lambda d: given_split(d, column), dataset, number, 'given')


MASK = [True, False, False, True, False, False]


@pytest.mark.parametrize(
    ('train', 'expected'),
    [
        ([4, 0, 2], [4, 0, 2]),  # The order is kept.
        (range(3, 5), [3, 4]),
        (np.array([4, 0], np.uint8), [4, 0]),
        (torch.tensor([4, 2]), [4, 2]),
        (pd.Index([4, 0]), [4, 0]),
        (MASK, [0, 3]),
        (np.array(MASK), [0, 3]),
        (torch.tensor(MASK), [0, 3]),
        (pd.Series(MASK, index=range(6, 0, -1)), [0, 3]),
        (pd.Series(MASK, dtype='boolean'), [0, 3]),
    ],
)
def test_index_split(train: object, expected: list):
    dataset = log([0] * 6)
    split = index_split(dataset, train, (1,), [5])
    assert rows(split) == [expected, [1], [5]]
    assert split.order == 'given' and split.train.catalogue is None
    assert rows(index_split(dataset, [1], train, [5])) == [[1], expected, [5]]
    assert rows(index_split(dataset, [1], [5], train)) == [[1], [5], expected]


# Wrong arguments.

SIX, EIGHT, TEN = log([0] * 6), log([0] * 8), log([0] * 10)
NUMBERS, DATES, COLD = log([0] * 3, [1, 9, 5]), DATED[0], build(NEW)
RANGE = 'the time of the log is from 1.0 to 9.0'
SPAN = 'the time of the log is from 2020-01-31 00:00:00 to 2020-03-02 00:00:00'
SHARES_OF_TEN = [
    (TEN, shares, f'valid={shares[0]}, test={shares[1]}')
    for shares in ((0, 0.1), (0.1, 0), (0.5, 0.5), (-0.1, 0.1), (1.0, 0.1))
]
WRONG: dict[Callable, list[tuple]] = {
    leave_last_out: [
        (log([0, 0, 1, 1]), (), 'No user has 3 records; .* one has is 2'),
        (TEN, (2,), r'at least 3 \(got 2\)'),
    ],
    random_split: [*SHARES_OF_TEN, (log([]), (), 'The training part .* is empty')],
    time_split: [*SHARES_OF_TEN, (log([]), (), 'The training part .* is empty')],
    time_cut: [
        (TEN, (1, 2), r"has no time to cut: .*from_pandas\(\.\.\., time='date'\)"),
        (log([], []), (1, 2), 'training part.* is empty: .* that of no row'),
        (NUMBERS, (0, 6), f'The training part of the split is empty: {RANGE}'),
        (NUMBERS, (2, 9.5), f'The test part of the split is empty: {RANGE}'),
        (NUMBERS, ('5', 6), rf"`valid_from` must be a number \(got '5'\): {RANGE}"),
        (NUMBERS, (2, None), rf'`test_from` must be a number \(got None\): {RANGE}'),
        (NUMBERS, (float('nan'), 6), '`valid_from` must be a number .got nan'),
        (NUMBERS, (2, pd.Timestamp('2020-02-01')), '`test_from` must be a number'),
        (DATES, ('2020-02-01', '2021-01-01'), f'The test part.*is empty: {SPAN}'),
        (DATES, ('soon', '2021'), rf"`valid_from` .* a date \(got 'soon'\): {SPAN}"),
        (DATES, ('2020-03-01', None), r'`test_from` must be a date \(got None'),
        (DATES, ('2020-03-01', [1]), '`test_from` must be a date'),
        (DATES, ('2020-03-01', '9999-01-01'), '`test_from` must be a date'),
    ],
    cold_start_split: [
        (COLD, ('context',), r"`side` is 'user' or 'item' \(got 'context'\)"),
        (COLD, ('user', 0.6, 0.4), r'valid=0\.6, test=0\.4'),
        (COLD, ('user', 0.01), 'validation part.*empty: 8 users with rows are too few'),
        (COLD, ('item', 0.2, 0.01), 'test part.*empty: 8 items with rows are too few'),
    ],
    given_split: [
        (EIGHT, (['train'] * 7,), r'value for each of the 8 rows \(got 7\)'),
        (EIGHT, ('split',), r'value for each of the 8 rows \(got 1\)'),
        (
            EIGHT,
            ([None, 'test'] * 3 + ['tset'] * 2,),
            "'tset' of row 6 is none of train, ",
        ),
    ],
    index_split: [
        (SIX, ([0, 1], [2, 1], [3]), 'Row 1 is in train and again in valid'),
        (SIX, (MASK, [1], [3]), 'Row 3 is in train and again in test'),
        (SIX, ([0], [2], [3, 5, 1, 5]), 'Row 5 is in test and again in test'),
        (SIX, ([0], [6, 2], [3]), '`valid` names row 6, but rows are from 0 to 5'),
        (SIX, ([0], [2], [3, -1]), '`test` names row -1, but rows are from 0 to 5'),
        (SIX, ([], [2], [3]), 'The train part of the split is empty'),
        (SIX, ([0], [False] * 6, [3]), 'The valid part of the split is empty'),
        (SIX, ([0.0], [2], [3]), r'`train` must be .* \(got float64 of shape \(1,\)\)'),
        (SIX, ([0], [True] * 5, [3]), r'all 6 \(got bool of shape \(5,\)\)'),
        (SIX, ([0], [2], [[3]]), r'`test` must be .* \(got int64 of shape \(1, 1\)\)'),
    ],
}


@pytest.mark.parametrize(
    ('split', 'dataset', 'arguments', 'message'),
    [(split, *case) for split, cases in WRONG.items() for case in cases],
)
def test_bad_arguments(split: Callable, dataset, arguments: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        split(dataset, *arguments)
