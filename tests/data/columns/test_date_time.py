"""Parts of dates and times against Python's datetime."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from cinema import assert_means, column_of, decode, fit
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import DateTime
from iedr_geo.data.columns import Column

ZONES = [None, 'UTC', 'Asia/Tokyo', 'America/New_York', 'Asia/Kathmandu']
MOMENTS = st.datetimes(datetime.datetime(1902, 1, 1), datetime.datetime(2200, 1, 1))
# Leap days, the ends of years and hours that clocks skip or have twice.
TIMES = [
    '2024-02-29 23:59:59.999999999',
    '2023-12-31 06:00:00',
    None,
    '1969-12-31 23:00:00',
    '2024-03-10 02:30:00',
    '2000-02-29 00:00:00',
]


def columns_of(unit: Any = None) -> list[Column]:
    parts = ['hour', 'weekday', 'day', 'month']
    return [
        *(DateTime('f', part, unit=unit) for part in [*parts, 'weekend']),
        *(DateTime('f', part, cyclic=True, unit=unit) for part in parts),
    ]


@settings(max_examples=25)
@given(st.lists(st.none() | MOMENTS, min_size=1, max_size=5), st.sampled_from(ZONES))
def test_against_datetime(moments: list, zone: str | None):
    if zone is not None:
        info = ZoneInfo(zone)
        # From UTC, so that each is a time that there is.
        moments = [m and m.replace(tzinfo=datetime.UTC).astimezone(info) for m in moments]
    dtype = 'datetime64[us]' if zone is None else f'datetime64[us, {zone}]'
    frame = column_of(moments, dtype)
    schema = fit(columns_of(), frame)
    for table in (frame, column_of(moments, object)):
        assert_means(schema, table)


@pytest.mark.parametrize(
    ('part', 'boundaries', 'values'),
    [
        ('hour', (6, 12, 18), ['0-5', '6-11', '12-17', '18-23']),
        ('hour', [1, 23], ['0', '1-22', '23']),
        ('day', (2, 11), ['1', '2-10', '11-31']),
        ('month', np.array([3, 12]), ['january-february', 'march-november', 'december']),
    ],
)
def test_boundaries(part: str, boundaries: Any, values: list[str]):
    frame = column_of(pd.date_range('2023-12-20', '2025-01-03', freq='43h'))
    schema = fit(DateTime('f', part, boundaries=boundaries), frame)
    assert schema.vocabulary['item'] == {f'f.{part}': values}
    assert_means(schema, frame)


def same_times() -> dict[str, tuple[pd.Series, str | None]]:
    """The same times as tables have them, and what numbers count."""
    plain = pd.to_datetime(pd.Series(TIMES), format='ISO8601').astype('datetime64[ns]')
    numbers = plain.dropna().astype('int64').astype('Int64').reindex(plain.index)
    seconds = plain.dropna().dt.floor('s').astype('datetime64[s]').astype('int64')
    text = pd.Series(TIMES)
    times: dict[str, tuple[pd.Series, str | None]] = {
        'text with a T': (text.str.replace(' ', 'T'), None),
        'offset': (text + '+02:00', None),
        'offsets': (text + pd.Series(['+02:00', '+01:00'] * 3), None),  # Of summer time.
        'Timestamp': (plain.astype(object), None),
        'mixed': (pd.Series([*plain[:3], *TIMES[3:]], dtype=object), None),
        'zone': (plain.dt.tz_localize('Europe/Berlin'), None),
        'nanoseconds': (numbers, 'ns'),
        'nanoseconds as objects': (numbers.astype(object), 'ns'),
        'microseconds': (numbers // 1000, 'us'),
        'milliseconds': (numbers // 1_000_000, 'ms'),
        'seconds': (seconds.astype(float).reindex(plain.index), 's'),
        'seconds as text': (seconds.astype(str).reindex(plain.index), 's'),
    }
    try:
        import pyarrow as pa
    except ImportError:
        return times
    zone = pd.ArrowDtype(pa.timestamp('us', 'Asia/Tokyo'))
    arrow = {
        'timestamp of arrow': plain.astype('timestamp[ns][pyarrow]'),
        'zone of arrow': plain.dt.floor('s').dt.tz_localize('Asia/Tokyo').astype(zone),
        'string of arrow': text.astype('string[pyarrow]'),
    }
    return times | {name: (column, None) for name, column in arrow.items()}


@pytest.mark.parametrize('name', same_times())
def test_types(name: str):
    column, unit = same_times()[name]
    schema = fit(columns_of(unit), column_of(column))
    assert_means(schema, column_of(column), column_of(TIMES))


def test_days():
    """Dates without a time, and numbers of days."""
    dates = [datetime.date(2024, 2, 29), None, datetime.date(1969, 12, 31)]
    schema = fit(columns_of(), column_of(dates, object))
    nodes = assert_means(schema, column_of(dates, object))
    names = [name.partition('=')[2] for name, _ in nodes[0][:5]]
    assert names == ['0', 'thursday', '29', 'february', 'workday']
    numbers = column_of([19782, None, -1], 'Int64')
    schema = fit(columns_of('D'), numbers)
    assert decode(schema.encode('item', numbers), schema) == nodes


def test_all_missing():
    schema = fit(
        [DateTime('f', 'hour'), DateTime('f', 'day', True)], column_of([None] * 2)
    )
    frame = column_of(pd.to_datetime(['2024-01-01 06:00', None]))
    for table in (column_of([None, None]), frame):  # No row was fitted to the hour.
        assert_means(schema, table)
