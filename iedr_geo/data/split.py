"""Splits of a log into training, validation and test rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.utils import scatter

from iedr_geo.data.arguments import check_count, check_type
from iedr_geo.data.columns import tokens
from iedr_geo.data.hide_new import hide_new
from iedr_geo.data.interaction import InteractionDataset
from iedr_geo.data.parts import Split, check_side

PARTS = {
    **dict.fromkeys(('train', 'training'), 0),
    **dict.fromkeys(('valid', 'validation', 'val', 'dev'), 1),
    'test': 2,
}


def _order(dataset: InteractionDataset) -> tuple[Tensor, str]:
    """Returns the rows in the order of time, ties in the order of rows."""
    check_type(dataset, 'dataset', InteractionDataset)
    if dataset.time is None:
        return torch.arange(len(dataset), device=dataset.user.device), 'rows'
    return torch.argsort(dataset.time, stable=True), 'time'


def _parts(
    dataset: InteractionDataset, part: Tensor, order: str, hint: str = ''
) -> Split:
    """Builds the split from the part of each row: 0, 1, 2, or less to leave it out."""
    for number, name in enumerate(('training', 'validation', 'test')):
        if not (part == number).any():
            raise ValueError(f'The {name} part of the split is empty{hint}')
    train, valid, test = (dataset[part == number] for number in range(3))
    return Split(train, valid, test, order)


def leave_last_out(dataset: InteractionDataset, min_records: int = 3) -> Split:
    """Takes each user's last row for test and the one before for validation.

    Rows are in order of time, or in the order of the log where it has no time;
    :obj:`Split.order` says which. The IEDR paper (Section 7.1.1) keeps users with more
    than 5 records: ``min_records=6``.

    The split is transductive: training knows all items and values (:func:`hide_new`).

    Args:
        dataset: The log.
        min_records: Users with fewer rows are left out altogether.
    """
    check_count(min_records, 'min_records', 3)  # A row for each part.
    order, name = _order(dataset)
    count = torch.bincount(dataset.user, minlength=dataset.num_users)
    if int(count.max()) < min_records:
        raise ValueError(
            f'No user has {min_records} records; the most that one has is '
            f'{int(count.max())}'
        )
    user = pd.Series(dataset.user[order].cpu())
    from_end = user.groupby(user).cumcount(ascending=False).to_numpy()
    part = torch.zeros_like(dataset.user)
    part[order] = torch.from_numpy(2 - from_end).clamp(min=0).to(part)
    part[count[dataset.user] < min_records] = -1
    return _parts(dataset, part, name)


def random_split(
    dataset: InteractionDataset, valid: float = 0.1, test: float = 0.1, seed: int = 0
) -> Split:
    """Takes rows at random.

    The split is transductive: training knows all items and values (:func:`hide_new`).

    Args:
        dataset: The log.
        valid: The share of rows for validation.
        test: The share of rows for test.
        seed: The seed of the draw.
    """
    check_type(dataset, 'dataset', InteractionDataset)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(dataset), generator=generator).to(dataset.user.device)
    return _parts(dataset, _cut(order, valid, test), 'random')


def time_split(
    dataset: InteractionDataset, valid: float = 0.1, test: float = 0.1
) -> Split:
    """Takes the latest rows for test and those just before for validation.

    Rows at the same time stay in the same part, so parts can differ from their shares.
    A log without time is cut in the order of its rows; :obj:`Split.order` says which.
    Nothing is known before its time: see :func:`hide_new`.

    Args:
        dataset: The log.
        valid: The share of rows for validation.
        test: The share of rows for test.
    """
    order, name = _order(dataset)
    part = _cut(order, valid, test)
    if dataset.time is not None:
        # The row that comes first decides for all rows of its time.
        _, moment = torch.unique(dataset.time, return_inverse=True)
        part = scatter(part, moment, reduce='min')[moment]
    return hide_new(_parts(dataset, part, name))


def time_cut(dataset: InteractionDataset, valid_from: Any, test_from: Any) -> Split:
    """Takes the rows from one moment on for validation, and from another for test.

    Nothing is known before its time: see :func:`hide_new`.

    Args:
        dataset: The log.
        valid_from: The moment of the first validation row, a number where the log's time
            is in numbers, or else what :class:`pandas.Timestamp` reads. Dates without a
            time zone are in UTC.
        test_from: The moment of the first test row, likewise.

    Example:
        >>> split = time_cut(dataset, '2024-03-01', '2024-04-01')

    Raises:
        ValueError: If the log has no time, a moment does not read, or a part is empty.
    """
    check_type(dataset, 'dataset', InteractionDataset)
    time = dataset.time
    if time is None:
        raise ValueError(
            'The log has no time to cut: name its column, as in from_pandas(..., '
            "time='date'), or use `time_split`, which can go by the order of rows"
        )
    first = _moment(valid_from, time, 'valid_from')
    second = _moment(test_from, time, 'test_from')
    if first >= second:
        raise ValueError(
            f'`valid_from` must be before `test_from` (got {valid_from} and {test_from})'
        )
    part = (time >= first).long() + (time >= second).long()
    hint = f': the time of the log is {_span(time)}'
    return hide_new(_parts(dataset, part, 'time', hint))


def _moment(moment: Any, time: Tensor, name: str) -> float:
    """Returns a moment on the scale of a log's time."""
    if time.is_floating_point():
        if isinstance(moment, Real) and not math.isnan(moment):
            return float(moment)
        kind = 'a number'
    else:  # Nanoseconds.
        try:
            stamp = pd.Timestamp(moment)
            if not pd.isna(stamp):
                return stamp.as_unit('ns').value
        except (OverflowError, TypeError, ValueError):
            pass
        kind = 'a date'
    raise ValueError(
        f'`{name}` must be {kind} (got {moment!r}): the time of the log is {_span(time)}'
    )


def _span(time: Tensor) -> str:
    if time.numel() == 0:
        return 'that of no row'
    first, last = time.min().item(), time.max().item()
    if time.is_floating_point():
        return f'from {first} to {last}'
    return f'from {pd.Timestamp(first)} to {pd.Timestamp(last)}'


def cold_start_split(
    dataset: InteractionDataset,
    side: str,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Split:
    """Takes users or items at random, and all rows that they have.

    Those that are held out are unknown to training: see :func:`hide_new`. The draw
    goes by their ids, whatever the order of the tables.

    Args:
        dataset: The log.
        side: The side that is new: :obj:`'user'` or :obj:`'item'`.
        valid: The share of the users (items) with rows that are held out for validation.
        test: The share of those that are held out for test.
        seed: The seed of the draw.

    Example:
        >>> split = cold_start_split(dataset, 'user')
        >>> lists = CandidateLists.sample(split.test)
    """
    check_side(side)
    check_type(dataset, 'dataset', InteractionDataset)
    rows = getattr(dataset, side)
    ids = getattr(dataset, f'{side}_ids')
    entities = torch.unique(rows).cpu()
    entities = entities[np.argsort(ids[entities.numpy()].astype(str))]
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(entities.numel(), generator=generator)
    part = torch.zeros(len(ids), dtype=torch.long)
    part[entities] = _cut(order, valid, test)
    hint = f': {entities.numel()} {side}s with rows are too few'
    return hide_new(_parts(dataset, part.to(rows.device)[rows], 'random', hint))


def given_split(
    dataset: InteractionDataset, part: pd.Series | np.ndarray | Sequence[Any]
) -> Split:
    """Takes the rows as a column says.

    The split is transductive: training knows all items and values (:func:`hide_new`).

    Args:
        dataset: The log.
        part: The part of each row: :obj:`'train'` or :obj:`'training'`; :obj:`'valid'`,
            :obj:`'validation'`, :obj:`'val'` or :obj:`'dev'`; :obj:`'test'`, in any case.
            Rows without a value are left out.

    Example:
        >>> split = given_split(dataset, log['split'])

    Raises:
        ValueError: If there are more or fewer values than rows, a value is none of these,
            or a part is empty.
    """
    check_type(dataset, 'dataset', InteractionDataset)
    column = pd.Series(part, name='split')
    if len(column) != len(dataset):
        raise ValueError(
            f'`part` must have a value for each of the {len(dataset)} rows (got '
            f'{len(column)})'
        )
    codes, values = tokens(column)
    numbers = [PARTS.get(value.lower()) for value in values]
    if None in numbers:
        code = numbers.index(None)
        row = int(np.argmax(codes == code))
        raise ValueError(
            f"The part '{values[code]}' of row {row} is none of {', '.join(PARTS)}"
        )
    lookup = np.array([*numbers, -1])  # Of what is missing, the code is -1.
    return _parts(dataset, torch.from_numpy(lookup[codes]).to(dataset.user), 'given')


def index_split(dataset: InteractionDataset, train: Any, valid: Any, test: Any) -> Split:
    """Takes the rows that are named.

    The split is transductive: training knows all items and values (:func:`hide_new`).

    Args:
        dataset: The log.
        train: The training rows: their numbers, whose order is kept, or a mask over all
            rows, as a list, an array or a tensor.
        valid: The validation rows, likewise.
        test: The test rows, likewise.

    Example:
        >>> folds = np.random.default_rng(0).permutation(len(dataset)) % 10
        >>> split = index_split(dataset, folds > 1, folds == 1, folds == 0)

    Raises:
        ValueError: If a row does not exist or is named twice, or a part is empty.
    """
    check_type(dataset, 'dataset', InteractionDataset)
    parts = [
        _rows(rows, len(dataset), name)
        for rows, name in ((train, 'train'), (valid, 'valid'), (test, 'test'))
    ]
    row = pd.concat(parts)
    again = row[row.duplicated()]
    if len(again):
        twice = again.iloc[0]
        owner, other, *_ = row.index[row == twice]
        raise ValueError(f'Row {twice} is in {owner} and again in {other}')
    first, second, third = (dataset[part.to_numpy()] for part in parts)
    return Split(first, second, third, 'given')


def _rows(rows: Any, size: int, name: str) -> pd.Series:
    """Returns the numbers of the rows of a part, with its name as the index."""
    rows = np.asarray(rows.cpu() if isinstance(rows, Tensor) else rows)
    if rows.dtype == bool and rows.shape == (size,):
        rows = np.flatnonzero(rows)
    if rows.size == 0:
        raise ValueError(f'The {name} part of the split is empty')
    if rows.dtype.kind not in 'iu' or rows.ndim != 1:
        raise ValueError(
            f'`{name}` must be the numbers of rows or a mask over all {size} (got '
            f'{rows.dtype} of shape {rows.shape})'
        )
    wrong = (rows < 0) | (rows >= size)
    if wrong.any():
        raise ValueError(
            f'`{name}` names row {rows[np.argmax(wrong)]}, but rows are from 0 to '
            f'{size - 1}'
        )
    return pd.Series(rows.astype(np.int64), index=[name] * rows.size)


def _cut(order: Tensor, valid: float, test: float) -> Tensor:
    """Returns the part of each row when ordered rows are cut by share."""
    if not (0 < valid < 1 and 0 < test < 1 and valid + test < 1):
        raise ValueError(
            f'Shares must be positive and leave rows for training (got valid={valid}, '
            f'test={test})'
        )
    size = order.numel()
    num_test, num_valid = round(size * test), round(size * valid)
    part = torch.zeros_like(order)
    part[order[size - num_test - num_valid :]] = 1
    part[order[size - num_test :]] = 2
    return part
