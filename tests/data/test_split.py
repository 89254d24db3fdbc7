"""Splits against loops over users and rows."""

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iedr_geo.data import (
    Categorical,
    FeatureSchema,
    InteractionDataset,
    Split,
    leave_last_out,
    random_split,
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
