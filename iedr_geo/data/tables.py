"""Columns of a log and of its tables of users and items, checked and read."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.columns.cells import (
    check_exact,
    check_rows,
    plain,
    to_numbers,
    to_numeric,
    token,
    tokens,
)


def check_columns(frame: pd.DataFrame, names: Sequence[Hashable], table: str) -> None:
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
    where = f"Column '{column.name}' of the {table}"
    codes, values = tokens(column, where)
    check_rows(codes < 0, f'{where} has no id')
    return codes, values


def unique_ids(column: pd.Series, table: str) -> list[str]:
    """Returns ids as text, none of which may be missing or come twice."""
    rows, ids = _ids(column, table)
    if len(ids) < len(rows):
        twice = [value for value, n in zip(ids, np.bincount(rows), strict=True) if n > 1]
        raise ValueError(
            f"Column '{column.name}' of the {table} holds an id twice: "
            f'{", ".join(twice[:5])}'
        )
    return ids


def as_own(ids: pd.Index, column: pd.Series | pd.Index) -> pd.Index:
    """Returns ids that are kept as text by the type and the name of their column.

    They stay text where the column holds ids of several types, or of one that cannot be
    read from text.
    """
    column = pd.Series(column)
    is_category = isinstance(column.dtype, pd.CategoricalDtype)
    dtype = (column.cat.categories if is_category else column.infer_objects()).dtype
    try:
        own = ids if dtype == 'object' else ids.astype(str(dtype))
        # Integers and text are read as they were written, and are many.
        same = dtype.kind in 'iuO' or list(map(token, own)) == list(ids)
    except (TypeError, ValueError):
        same = False
    return (own if same else ids).rename(column.name)


def own_to_json(ids: pd.Index, own: pd.Index) -> str:
    """Returns ids as the user's own column has them, which are also kept as text: their
    type alone, unless they are spelled in ways of their own.
    """
    typed = as_own(ids, own)
    kept = str(typed.dtype) if typed.equals(own) else list(own)
    return json.dumps(kept, default=plain)


def own_from_json(ids: pd.Index, text: str) -> pd.Index:
    """Returns what :func:`own_to_json` wrote of ids that are kept as text."""
    kept = json.loads(text)
    return ids.astype(kept) if isinstance(kept, str) else pd.Index(kept)


def _index_of(column: pd.Series) -> pd.Index:
    """Returns the cells of a column as they are."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    return pd.Index(column.infer_objects(), copy=True)


def match_ids(
    column: pd.Series, frame: pd.DataFrame | None, table: str
) -> tuple[pd.DataFrame, pd.Index, pd.Index, Tensor]:
    """Finds the users or items of a log in their table.

    Args:
        column: The id in each row of the log.
        frame: The table, with a column of the same name. :obj:`None` for one of the ids
            of the log alone, in the order of their first rows.
        table: The side that the table is of, for errors.

    Returns:
        The table, the id of each of its rows as text and as in the table, and its row of
        each row of the log.
    """
    name = column.name
    codes, values = _ids(column, 'interactions')
    if frame is None:
        frame, index = pd.DataFrame({name: values}), pd.Index(values)
        first = column[~pd.Series(codes).duplicated().to_numpy()]
        return frame, index, _index_of(first), torch.from_numpy(codes)
    check_columns(frame, [name], table)
    index = pd.Index(unique_ids(frame[name], f'{table} table'))
    found = index.get_indexer(pd.Index(values))
    absent = [value for value, row in zip(values, found, strict=True) if row < 0]
    if absent:
        raise ValueError(
            f"{len(absent)} of {len(values)} ids in column '{name}' of the interactions "
            f'are absent from the {table} table, among them: {", ".join(absent[:5])}'
        )
    return frame, index, _index_of(frame[name]), torch.from_numpy(found[codes])


def check_names(user: str, item: str) -> None:
    """Raises an error if users and items go by the same column."""
    if user == item:
        raise ValueError(f"`user` and `item` are two columns (got '{user}' for both)")


def parse_labels(column: pd.Series) -> Tensor:
    """Returns a column of labels, all of which must be 0 or 1."""
    try:
        labels = to_numbers(column)
    except (ValueError, TypeError):
        cells = column.map(lambda cell: cell if isinstance(cell, bool) else str(cell))
        labels = pd.to_numeric(cells, errors='coerce').to_numpy(float)
    wrong = np.flatnonzero(~np.isin(labels, (0, 1)))
    if len(wrong):
        raise ValueError(
            f"Column '{column.name}' must hold labels 0 and 1: row {wrong[0]} holds "
            f'{column.iloc[wrong[0]]!r} ({len(wrong)} rows in all)'
        )
    return torch.from_numpy(labels.astype(np.float32))


def parse_times(column: pd.Series) -> Tensor:
    """Returns a column of numbers or dates as numbers that order alike."""
    name, kind = column.name, column.dtype.kind
    if kind in 'Mm':  # Dates and durations of NumPy, of pandas and of Arrow.
        convert = pd.to_datetime if kind == 'M' else pd.to_timedelta
        try:
            column = convert(column).dt.as_unit('ns')
        except ValueError as error:
            raise ValueError(
                f"Column '{name}' holds times that nanoseconds cannot count: {error}"
            ) from None
        times = column.to_numpy(dtype=f'{kind}8[ns]').astype(np.int64)
    else:
        try:
            numbers = to_numeric(column)
        except (ValueError, TypeError):
            raise ValueError(
                f"Column '{name}' holds neither numbers nor dates: convert it with "
                f'pandas.to_datetime first'
            ) from None
        times = numbers.to_numpy(float, na_value=np.nan)
        if numbers.dtype.kind in 'iu' and 2**53 <= np.abs(times).max() < 2**63:
            times = numbers.to_numpy(np.int64)  # Nanoseconds, which float64 would round.
            for cell in column if column.dtype == object else ():
                if isinstance(cell, (float, np.floating)):
                    check_exact(cell, f"Column '{name}'")
    missing = column.isna().to_numpy() | ~np.isfinite(times)
    check_rows(missing, f"Column '{name}' has no time")
    if times.dtype.kind == 'f':
        size = getattr(column.dtype, 'itemsize', 8) if kind == 'f' else 8
        check_exact(times.astype(f'f{size}')[np.abs(times).argmax()], f"Column '{name}'")
    return torch.from_numpy(times.copy())  # The column may share its memory.
