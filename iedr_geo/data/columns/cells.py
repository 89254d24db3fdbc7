"""The meaning of the cells of a column, whatever their types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_list_like
from torch import Tensor


def scalar(value: Any) -> Any:
    """Returns what an array or a tensor without dimensions holds, all else as it is."""
    if isinstance(value, Tensor) and value.ndim == 0:
        return value.item()
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def token(value: Any) -> str:
    """Returns the text that a value is the same by, so that 1, 1.0 and '1' agree.

    A column of integers becomes floating point as soon as one value is missing,
    and text when it goes through a CSV file; neither may change who is who.
    """
    value = scalar(value)
    if isinstance(value, (float, np.floating)):
        value = float(value)  # The digits of a narrower type are not in a file.
        value = int(value) if value.is_integer() else value
    return str(value)


def plain(value: Any) -> Any:
    """Returns the JSON value for a set, an array, a NumPy number or a date."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=token)  # As the schema does.
    if is_list_like(value):
        return list(value)
    if isinstance(value, np.generic) and isinstance(value.item(), (bool, int, float)):
        return value.item()
    return token(value)


def tokens(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Returns a code for each row (-1: missing), and the token of each code.

    Codes are in the order of their first rows.
    """
    if column.dtype.kind == 'f':  # Arrow tells NaN from what is missing.
        column = pd.Series(column.to_numpy(float, na_value=np.nan), name=column.name)
    try:
        codes, values = pd.factorize(column)
        if column.dtype == object and infer_dtype(column).startswith('mixed'):
            # To Python, True equals 1.
            codes, values = pd.factorize(column.map(token, na_action='ignore'))
    except (TypeError, NotImplementedError):  # What is not hashable.
        raise ValueError(
            f"Column '{column.name}' holds lists where single values belong: use "
            f'MultiCategorical'
        ) from None
    same, texts = pd.factorize(np.array([token(value) for value in values], dtype=object))
    return np.append(same, -1)[codes], list(texts)


def to_numbers(column: pd.Series) -> np.ndarray:
    """Returns the numbers of a column, NaN where one is missing.

    Raises:
        TypeError: If a cell is neither a number nor text.
        ValueError: If a text is no number.
    """
    if column.dtype.kind not in 'biuf':
        column = column.astype(object)  # pandas finds numbers in periods and durations.
    if infer_dtype(column).startswith('mixed') and column.map(is_list_like).any():
        raise TypeError('lists')  # pandas finds nothing in empty ones.
    numbers = pd.to_numeric(column)
    if numbers.dtype.kind == 'c':
        raise TypeError('complex numbers')
    return numbers.to_numpy(dtype=float, na_value=np.nan)


def check_rows(wrong: np.ndarray, message: str, row: np.ndarray | None = None) -> None:
    """Raises an error that names the first of the rows that are wrong, if one is.

    Args:
        wrong: Booleans.
        message: The fault.
        row: The row that each of them is of (default: all rows, in order).
    """
    if wrong.any():
        first = int(np.argmax(wrong))
        first = first if row is None else row[first]
        raise ValueError(f'{message} in row {first} ({int(wrong.sum())} rows in all)')


def number_rows(columns: Iterable[np.ndarray]) -> np.ndarray:
    """Returns a number for each row, equal where all columns are.

    Numbers are in the order of their first rows.

    Args:
        columns: Arrays of shape :math:`(R)`.
    """
    key = np.zeros(1, dtype=np.int64)
    for column in columns:
        codes, values = pd.factorize(column, use_na_sentinel=False)
        key = pd.factorize(key * len(values) + codes)[0]
    return key
