"""Dates and times as features."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import index
from typing import Literal

import numpy as np
import pandas as pd

from iedr_geo.data.columns.cells import to_numbers
from iedr_geo.data.columns.column import MISSING, RESERVED, Column, Nodes

_DAYS = pd.date_range('2024-01-01', '2024-12-31')  # The first is a Monday.
# The values of each part, in order.
PARTS: dict[str, list[str]] = {
    'hour': [str(hour) for hour in range(24)],
    'weekday': list(_DAYS.day_name().str.lower().unique()),
    'weekend': ['workday', 'weekend'],
    'day': [str(day) for day in range(1, 32)],
    'month': list(_DAYS.month_name().str.lower().unique()),
}
UNITS = ('s', 'ms', 'us', 'ns', 'D')

_MOMENTS = (str, datetime.date, np.datetime64)


@dataclass(frozen=True)
class DateTime(Column):
    r"""A part of a date and time: one node, or two if it is cyclic.

    The field is called, *e.g.*, :obj:`'time.hour'`; several fields can be made of one
    column. Its values are all that there are, whether the fitted rows hold them or not.
    Hours are local: those of the column's own time zone or, in text, those that are
    written, also where offsets differ, as over a change of summer time.

    Args:
        column: The column. It holds dates, text in ISO 8601 or, given a unit, numbers.
        part: :obj:`'hour'`, :obj:`'weekday'`, :obj:`'weekend'` (or workday),
            :obj:`'day'` (of the month) or :obj:`'month'`.
        cyclic: If :obj:`True`, the nodes are the sine and the cosine of where a value
            stands in its cycle, in the place of a node for each value, so that 23 o'clock
            is close to midnight.
        boundaries: Where a bucket of hours, days or months (from 1) ends and the next
            begins, *e.g.*, :obj:`(6, 12, 18)`, in the place of a value for each.
        unit: The unit that numbers count from 1970 on, in UTC: :obj:`'s'`, :obj:`'ms'`,
            :obj:`'us'`, :obj:`'ns'` or :obj:`'D'`.
    """

    part: str
    cyclic: bool = False
    boundaries: tuple[int, ...] | None = None
    unit: Literal['s', 'ms', 'us', 'ns', 'D'] | None = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ('part', self.part, [*PARTS]),
            ('unit', UNITS[0] if self.unit is None else self.unit, UNITS),
        ):
            if value not in allowed:
                raise ValueError(
                    f"`{name}` of DateTime('{self.column}') is one of "
                    f"{', '.join(allowed)} (got '{value}')"
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
    def name(self) -> str:
        """The field."""
        return f'{self.column}.{self.part}' + ('.cyclic' if self.cyclic else '')

    @property
    def is_number(self) -> bool:  # type: ignore[override]
        """If :obj:`True`, embeddings of the field are multiplied by numbers."""
        return self.cyclic

    @property
    def _first(self) -> int:
        return int(self.part in ('day', 'month'))

    def moments(self, column: pd.Series) -> pd.Series:
        """Returns the time of each row."""
        column = column.reset_index(drop=True)  # Labels may come twice.
        if column.dtype.kind == 'M':
            return pd.to_datetime(column)
        cells = column.dropna().astype(object)
        try:
            to_numbers(cells)
            numbers = pd.to_numeric(cells)  # Nanoseconds keep all their digits.
        except (TypeError, ValueError):
            numbers = None
        if numbers is not None and numbers.notna().any() and self.unit is None:
            raise ValueError(
                f"Column '{self.column}' holds numbers where times belong: say what they "
                f"count, e.g. DateTime('{self.column}', '{self.part}', unit='s')"
            )
        try:
            if numbers is not None:
                if column.dtype == object and bool in set(map(type, cells)):
                    raise TypeError('True or False among times')
                moments = pd.to_datetime(numbers, unit=self.unit)
            elif cells.map(lambda cell: isinstance(cell, _MOMENTS)).all():
                try:
                    moments = pd.to_datetime(cells, format='ISO8601')
                except ValueError:
                    moments = _local(cells)
            else:
                raise TypeError('numbers, durations or lists among times')
            return pd.Series(moments).reindex(column.index)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"Column '{self.column}' holds what is no time, or no text in ISO 8601: "
                f'{error}. Convert it with pandas.to_datetime first'
            ) from None

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Checks the times, and returns all values that there are."""
        self.moments(column)
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

    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Returns the value of each time."""
        moments = self.moments(column)
        if self.part in ('weekday', 'weekend'):
            numbers = moments.dt.day_of_week // (5 if self.part == 'weekend' else 1)
        else:
            numbers = getattr(moments.dt, self.part)
        missing = moments.isna().to_numpy()
        number = numbers.to_numpy(float, na_value=np.nan)
        number = np.where(missing, self._first, number).astype(int)
        if not self.cyclic:
            code = RESERVED + number - self._first
            if self.boundaries is not None:
                code = RESERVED + np.searchsorted(self.boundaries, number, side='right')
            return Nodes(np.where(missing, MISSING, code))
        angle = 2 * np.pi * (number - self._first) / len(PARTS[self.part])
        row = np.arange(len(number)).repeat(np.where(missing, 1, 2))
        is_cosine = np.append(False, row[1:] == row[:-1])
        value = np.where(is_cosine, np.cos(angle[row]), np.sin(angle[row]))
        return Nodes(
            np.where(missing[row], MISSING, RESERVED + is_cosine),
            np.where(missing[row], 1.0, value),
            row,
        )


def _local(cells: pd.Series) -> pd.Series:
    """Returns times of several offsets without them."""
    pd.to_datetime(cells, format='ISO8601', utc=True)  # What is no time fails.
    moments = cells.map(pd.Timestamp)
    if moments.map(lambda moment: moment.tz is None).nunique() > 1:
        raise ValueError('times with and without an offset')
    return pd.to_datetime(moments.map(lambda moment: moment.tz_localize(None)))
