"""What a log and its tables of users and items must hold, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.columns import to_numbers, tokens


def check_columns(frame: pd.DataFrame, names: Sequence[str], table: str) -> None:
    """Raises an error that names the table and the column if one is not usable."""
    if not isinstance(frame, pd.DataFrame) or frame.columns.nlevels > 1:
        raise ValueError(
            f'The {table} table must be a DataFrame of pandas with one level of column '
            f'names (got {type(frame).__name__})'
        )
    duplicated = frame.columns[frame.columns.duplicated()].unique().tolist()
    if duplicated:
        raise ValueError(f'The {table} table has duplicate columns: {duplicated}')
    for name in names:
        if name not in list(frame.columns):
            raise ValueError(
                f"The {table} table has no column '{name}' (it has: "
                f'{", ".join(map(str, frame.columns))})'
            )
    if frame.empty:
        raise ValueError(f'The {table} table is empty')


def _ids(column: pd.Series, table: str) -> tuple[np.ndarray, list[str]]:
    """Factorizes a column of ids, none of which may be missing."""
    if column.dtype.kind == 'f':
        size = getattr(column.dtype, 'itemsize', 8)
        exact = 2.0 ** (np.finfo(f'f{size}').nmant + 1)
        numbers = column.to_numpy(float, na_value=np.nan)
        if (np.abs(numbers) > exact).any():
            raise ValueError(
                f"Column '{column.name}' of the {table} holds ids that a floating point "
                f'number cannot tell apart, beyond {exact:.0f}: read them as integers or '
                f'as text'
            )
    codes, values = tokens(column)
    if (codes < 0).any():
        raise ValueError(
            f"Column '{column.name}' of the {table} has no id in row "
            f'{int(np.argmax(codes < 0))} ({int((codes < 0).sum())} rows in all)'
        )
    return codes, values


def locate(column: pd.Series, known: dict[str, int], table: str) -> Tensor:
    """Returns the row of each id of the log in a table of users or items."""
    codes, values = _ids(column, 'interactions')
    absent = [value for value in values if value not in known]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(values)} ids in column '{column.name}' of the "
            f'interactions are absent from the {table} table, among them: '
            f'{", ".join(absent[:5])}'
        )
    rows = np.array([known[value] for value in values])
    return torch.from_numpy(rows[codes])


def table_ids(frame: pd.DataFrame, name: str, table: str) -> dict[str, int]:
    """Returns the row of each id in its table."""
    check_columns(frame, [name], table)
    codes, values = _ids(frame[name], f'{table} table')
    ids = [values[code] for code in codes]
    known = {value: row for row, value in enumerate(ids)}
    if len(known) < len(ids):
        seen = pd.Series(ids)
        raise ValueError(
            f"Column '{name}' of the {table} table holds an id twice: "
            f'{", ".join(seen[seen.duplicated()].unique()[:5])}'
        )
    return known


def table_of_ids(column: pd.Series) -> pd.DataFrame:
    """Returns the ids of the log as a table, in the order of their first rows."""
    return pd.DataFrame(
        {column.name: list(dict.fromkeys(_ids(column, 'interactions')[1]))}
    )


def number_ids(
    log: pd.DataFrame, name: str, table: pd.DataFrame | None, side: str
) -> tuple[pd.DataFrame, pd.Index, Tensor]:
    """Returns a table of users or items, its ids, and the row of it that each row of a
    log names.

    Args:
        log: The log.
        name: The column with the id, in both.
        table: The table (default: the ids of the log).
        side: Whose table it is, for errors.
    """
    table = table_of_ids(log[name]) if table is None else table
    known = table_ids(table, name, side)
    return table, pd.Index(list(known)), locate(log[name], known, side)


def _hashable(cell: Any) -> Any:
    if isinstance(cell, (set, frozenset)):
        return frozenset(cell)
    return tuple(cell) if pd.api.types.is_list_like(cell) else cell


def distinct_rows(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first row of each distinct row, and which of them each row is."""
    key = np.zeros(len(frame), dtype=np.int64)
    for name in frame:
        try:
            codes = pd.factorize(frame[name])[0]
        except (TypeError, NotImplementedError):  # Lists, of Python or of Arrow.
            try:
                codes = pd.factorize(frame[name].astype(object).map(_hashable))[0]
            except TypeError as error:
                raise ValueError(
                    f"Column '{name}' holds lists of what cannot be compared: {error}"
                ) from None
        key = pd.factorize(key * (codes.max() + 2) + codes + 1)[0]
    return np.unique(key, return_index=True)[1], key


def parse_labels(column: pd.Series) -> Tensor:
    """Returns a column of labels, all of which must be 0 or 1."""
    try:
        labels = to_numbers(column)
    except (ValueError, TypeError):
        labels = np.full(len(column), np.nan)
    wrong = np.flatnonzero(~np.isin(labels, (0, 1)))
    if len(wrong):
        raise ValueError(
            f"Column '{column.name}' must hold labels 0 and 1: row {wrong[0]} holds "
            f'{column.iloc[wrong[0]]!r} ({len(wrong)} rows in all)'
        )
    return torch.from_numpy(labels.astype(np.float32))


def parse_times(column: pd.Series) -> Tensor:
    """Returns a column of numbers or dates as numbers that order alike."""
    kind = column.dtype.kind
    if kind in 'Mm':  # Dates and durations of NumPy, of pandas and of Arrow.
        missing = column.isna().to_numpy()
        column = pd.to_datetime(column) if kind == 'M' else pd.to_timedelta(column)
        try:
            column = column.dt.as_unit('ns')
        except ValueError as error:
            raise ValueError(
                f"Column '{column.name}' holds times that nanoseconds cannot count: "
                f'{error}'
            ) from None
        times = column.to_numpy(dtype=f'{kind}8[ns]').astype(np.int64)
    elif kind == 'i' and column.notna().all() and column.abs().max() > 2**53:
        times = column.to_numpy(np.int64)  # Nanoseconds, which float64 would round.
        missing = np.zeros(len(column), dtype=bool)
    else:
        try:
            times = to_numbers(column)
        except (ValueError, TypeError):
            raise ValueError(
                f"Column '{column.name}' holds neither numbers nor dates: convert it "
                f'with pandas.to_datetime first'
            ) from None
        missing = column.isna().to_numpy() | ~np.isfinite(times)
    if missing.any():
        raise ValueError(
            f"Column '{column.name}' has no time in row {int(np.argmax(missing))} "
            f'({int(missing.sum())} rows in all)'
        )
    return torch.from_numpy(times.copy())  # The column may share its memory.
