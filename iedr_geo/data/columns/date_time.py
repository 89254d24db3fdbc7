"""Dates and times as features."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from iedr_geo.data.columns.cells import to_numbers
from iedr_geo.data.columns.column import MISSING, RESERVED, Column, Nodes

# The values of each part, in order.
PARTS: dict[str, list[str]] = {
    'hour': [str(hour) for hour in range(24)],
    'weekday': [
        'monday',
        'tuesday',
        'wednesday',
        'thursday',
        'friday',
        'saturday',
        'sunday',
    ],
    'weekend': ['workday', 'weekend'],
    'day': [str(day) for day in range(1, 32)],
    'month': [
        'january',
        'february',
        'march',
        'april',
        'may',
        'june',
        'july',
        'august',
        'september',
        'october',
        'november',
        'december',
    ],
}

_MOMENTS = (str, datetime.date, np.datetime64)


@dataclass(frozen=True)
class DateTime(Column):
    r"""A part of a date and time: one node, or two if it is cyclic.

    The field is called, *e.g.*, :obj:`'time.hour'`; several fields can be made of one
    column. Its values are all that there are, whether the fitted rows hold them or not.
    Hours are those of the column's own time zone.

    Args:
        source: The column. It holds dates, text in ISO 8601 or, given a unit, numbers.
        part: :obj:`'hour'`, :obj:`'weekday'`, :obj:`'weekend'` (or workday),
            :obj:`'day'` (of the month) or :obj:`'month'`.
        cyclic: Whether to have, in the place of a node for each value, the sine and the
            cosine of where it stands in its cycle, each a node with that value, so that
            23 o'clock is close to midnight.
        boundaries: Where a bucket of hours, days or months (from 1) ends and the next
            begins, *e.g.*, :obj:`(6, 12, 18)`, in the place of a value for each.
        unit: What numbers count from 1970 on, in UTC: :obj:`'s'`, :obj:`'ms'`,
            :obj:`'us'`, :obj:`'ns'` or :obj:`'D'`.
    """

    source: str
    part: str
    cyclic: bool = False
    boundaries: tuple[int, ...] | None = None
    unit: Literal['s', 'ms', 'us', 'ns', 'D'] | None = None
    kind: ClassVar[str] = 'date_time'

    def __post_init__(self) -> None:
        if self.part not in list(PARTS):
            raise ValueError(
                f"`part` of DateTime('{self.column}') is one of {', '.join(PARTS)} (got "
                f"'{self.part}')"
            )
        if self.unit not in (None, 's', 'ms', 'us', 'ns', 'D'):
            raise ValueError(
                f"`unit` of DateTime('{self.column}') is 's', 'ms', 'us', 'ns' or 'D' "
                f"(got '{self.unit}')"
            )
        if self.cyclic and (self.part == 'weekend' or self.boundaries is not None):
            raise ValueError(
                f"'{self.name}' cannot be cyclic: it has no cycle of equal steps"
            )
        if self.boundaries is None:
            return
        first = self._first
        last = first + len(PARTS[self.part]) - 1
        try:
            boundaries = tuple(map(index, self.boundaries))
        except TypeError:  # What is no sequence, or not of integers.
            boundaries = ()
        increase = all(a < b for a, b in pairwise((first, *boundaries, last + 1)))
        if self.part in ('weekday', 'weekend') or not boundaries or not increase:
            raise ValueError(
                f"The boundaries of '{self.name}' must be hours, days or months that "
                f'increase from above {first} to {last} at most (got {self.boundaries!r})'
            )
        object.__setattr__(self, 'boundaries', boundaries)

    @property
    def column(self) -> str:
        """The column."""
        return self.source

    @property
    def name(self) -> str:  # type: ignore[override]
        """The field."""
        return f'{self.column}.{self.part}' + ('.cyclic' if self.cyclic else '')

    @property
    def is_number(self) -> bool:  # type: ignore[override]
        """Whether rows of the field are scaled by numbers."""
        return self.cyclic

    @property
    def _first(self) -> int:
        return int(self.part in ('day', 'month'))

    def _moments(self, column: pd.Series) -> pd.Series:
        column = column.reset_index(drop=True)  # Labels may come twice.
        if column.dtype.kind == 'M':
            return pd.to_datetime(column)
        known = column.notna()
        moments = pd.Series(pd.NaT, index=column.index)
        if not known.any():
            return moments
        cells = column[known].astype(object)
        try:
            to_numbers(cells)
            numbers = pd.to_numeric(cells)  # Nanoseconds keep all their digits.
        except (TypeError, ValueError):
            numbers = None
        if numbers is not None and self.unit is None:
            raise ValueError(
                f"Column '{self.column}' holds numbers where times belong: say what they "
                f"count, e.g. DateTime('{self.column}', '{self.part}', unit='s')"
            )
        try:
            if numbers is not None:
                parsed = pd.to_datetime(numbers, unit=self.unit)
            elif cells.map(lambda cell: isinstance(cell, _MOMENTS)).all():
                parsed = pd.to_datetime(cells, format='ISO8601')
            else:
                raise TypeError('numbers, durations or lists among times')
            # By place: labels of rows can recur.
            place = np.where(known, known.cumsum() - 1, -1)
            return pd.Series(parsed.array.take(place, allow_fill=True))
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"Column '{self.column}' holds what is no time, or no text in ISO 8601: "
                f'{error}. Convert it with pandas.to_datetime first'
            ) from None

    def _numbers(self, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Returns the place of each cell among the values, and which are missing."""
        moments = self._moments(column)
        missing = moments.isna().to_numpy()
        if missing.all():
            return np.zeros(len(moments), dtype=np.int64), missing
        if self.part in ('weekday', 'weekend'):
            number = moments.dt.day_of_week
            number = number >= 5 if self.part == 'weekend' else number
        else:
            number = getattr(moments.dt, self.part) - self._first
        return np.where(missing, 0, number.fillna(0)).astype(np.int64), missing

    def _bucket(self, number: np.ndarray) -> np.ndarray:
        if self.boundaries is None:
            return number
        return np.searchsorted(self.boundaries, number + self._first, side='right')

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Checks the times, and returns all values that there are."""
        self._moments(column)
        if self.cyclic:
            return ['sin', 'cos']
        values = PARTS[self.part]
        if self.boundaries is None:
            return values
        ends = [0, *(b - self._first for b in self.boundaries), len(values)]
        return [
            values[a] if b - a == 1 else f'{values[a]}-{values[b - 1]}'
            for a, b in pairwise(ends)
        ]

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Returns the value of each time."""
        number, missing = self._numbers(column)
        row = np.arange(len(number))
        if not self.cyclic:
            code = np.where(missing, MISSING, self._bucket(number) + RESERVED)
            return Nodes(row, code, np.ones(len(row)))
        angle = 2 * np.pi * number / len(PARTS[self.part])
        code = np.where(missing[:, None], MISSING, RESERVED + np.arange(2)).ravel()
        value = np.stack([np.sin(angle), np.cos(angle)], axis=1)
        value = np.where(missing[:, None], 1.0, value).ravel()
        kept = np.stack([np.ones(len(row), dtype=bool), ~missing], axis=1).ravel()
        return Nodes(row.repeat(2)[kept], code[kept], value[kept])

    def key(self, column: pd.Series, vocabulary: Mapping[str, int]) -> pd.Series:
        """Returns the value of each time, as a number."""
        number, missing = self._numbers(column)
        return pd.Series(np.where(missing, -1, self._bucket(number)), column.index)
