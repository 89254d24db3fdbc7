"""The meaning of the cells of a column, whatever their types."""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal
from functools import partial
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


# Up to which a floating point number has a neighbour at every integer.
_EXACT = {np.float16: 2**11, np.float32: 2**24}
# Of text, a number or a moment that another type, or a file, would write otherwise.
_SPELLED = re.compile(
    r'(?P<integer>-?(0|[1-9]\d{0,30}))\.0|'
    r'\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?'
).fullmatch


def check_exact(number: Any, where: str) -> None:
    """Raises an error if a floating point number may be an integer that was rounded.

    Args:
        number: The number, of Python or of NumPy.
        where: What holds it, for the error.
    """
    exact = _EXACT.get(type(number), 2**53)
    if exact <= abs(number) < math.inf:
        raise ValueError(
            f'{where} holds {number:.0f}, a floating point number from {exact} on, where '
            f'neighbouring integers are one: read the column as text or Int64'
        )


def token(value: Any, where: str = 'A value') -> str:
    """Returns the text that a value is the same by.

    1, 1.0, '1', '1.0' and Decimal('1.00') agree, as do a date, its midnight and the texts
    of both.

    A column of integers becomes floating point as soon as one value is missing,
    and text when it goes through a CSV file; neither may change who is who.

    Args:
        value: The value.
        where: What holds it, for the error of :func:`check_exact`.
    """
    value = value if isinstance(value, str) else scalar(value)
    if isinstance(value, str):
        if value.isdigit() or value[:1] > '9':  # Most are, and words are not spelled.
            return str(value)
        spelled = _SPELLED(value)
        if spelled is None:
            return str(value)
        integer = spelled['integer']
        return _moment(value) if integer is None else str(int(integer))
    if isinstance(value, (float, np.floating)):
        check_exact(value, where)
        value = float(value)  # The digits of a narrower type are not in a file.
        return str(int(value) if value.is_integer() else value)
    if isinstance(value, Decimal):
        text = format(value, 'f')
        return text.rstrip('0').rstrip('.') if '.' in text else text
    if isinstance(value, (datetime.date, np.datetime64)):
        return _moment(value)
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


def _moment(value: Any) -> str:
    try:
        return str(pd.Timestamp(value)).removesuffix(' 00:00:00')
    except ValueError:  # What looks like a time, or what pandas cannot count.
        return str(value)


def tokens(column: pd.Series, where: str | None = None) -> tuple[np.ndarray, list[str]]:
    """Returns a code for each row (-1: missing), and the token of each code.

    Codes are in the order of their first rows.

    Args:
        column: The column.
        where: What it is, for errors (default: the column by its name).
    """
    where = f"Column '{column.name}'" if where is None else where
    cells: Any = column
    if column.dtype.kind == 'f':  # Arrow tells NaN from what is missing.
        kind = f'f{getattr(column.dtype, "itemsize", 8)}'
        cells = column.to_numpy(kind, na_value=np.nan)  # An index would widen it.
    try:
        codes, values = pd.factorize(cells)
        if column.dtype == object and infer_dtype(column).startswith('mixed'):
            # To Python, True equals 1.
            cells = column.map(lambda value: token(value, where), na_action='ignore')
            codes, values = pd.factorize(cells)
    except (TypeError, NotImplementedError):  # What is not hashable.
        raise ValueError(
            f'{where} holds lists where single values belong: use MultiCategorical'
        ) from None
    write = str if values.dtype.kind in 'iu' else partial(token, where=where)
    # Arrow is slow to iterate; of floating point numbers the width counts.
    each = values if values.dtype.kind == 'f' else values.tolist()
    same, texts = pd.factorize(np.array([write(value) for value in each], dtype=object))
    return np.append(same, -1)[codes], list(texts)


def to_numeric(column: pd.Series) -> pd.Series:
    """Returns a column of numbers with all digits of its integers.

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
    return numbers


def to_numbers(column: pd.Series) -> np.ndarray:
    """Returns :func:`to_numeric` as floating point numbers, NaN where one is missing."""
    return to_numeric(column).to_numpy(dtype=float, na_value=np.nan)


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
