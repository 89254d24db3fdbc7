"""Parts of dates and times against Python's datetime."""

from __future__ import annotations

import datetime
import math
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import Categorical, DateTime, FeatureSchema, InteractionDataset

OTHER = pd.DataFrame({'other': ['o']})
PARTS = ('hour', 'weekday', 'weekend', 'day', 'month')
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


def schema_of(*columns: DateTime) -> FeatureSchema:
    return FeatureSchema([Categorical('other')], [Categorical('other')], columns)


def fit(cells: Any, *columns: DateTime) -> tuple[FeatureSchema, pd.DataFrame]:
    frame = pd.DataFrame({'t': cells})
    schema = schema_of(*columns)
    return schema.fit({'user': OTHER, 'item': OTHER, 'context': frame}), frame


def decode(schema: FeatureSchema, frame: pd.DataFrame) -> list[list[tuple[str, float]]]:
    """Returns value and factor of the nodes of each row, in its fields' order."""
    graphs, rows = schema.encode('context', frame), []
    words = {}
    for name, first in schema.offsets('context').items():
        values = ['<unknown>', '<missing>', *schema.vocabulary['context'][name]]
        words |= {first + i: value for i, value in enumerate(values)}
    factors = torch.ones(len(graphs.x)) if graphs.value is None else graphs.value
    nodes = [*zip((words[x] for x in graphs.x.tolist()), factors.tolist(), strict=True)]
    for start, end in pairwise(graphs.ptr.tolist()):
        rows.append(nodes[start:end])
    return rows


def by_hand(moment: datetime.datetime) -> dict[str, str]:
    return {
        'hour': str(moment.hour),
        'weekday': f'{moment:%A}'.lower(),
        'weekend': 'weekend' if moment.isoweekday() > 5 else 'workday',
        'day': str(moment.day),
        'month': f'{moment:%B}'.lower(),
    }


@settings(max_examples=30)
@given(st.lists(st.none() | MOMENTS, min_size=1, max_size=5), st.sampled_from(ZONES))
def test_parts_against_datetime(moments: list, zone: str | None):
    if zone is not None:
        info = ZoneInfo(zone)
        # From UTC, so that each is a time that there is.
        moments = [m and m.replace(tzinfo=datetime.UTC).astimezone(info) for m in moments]
    dtype = 'datetime64[us]' if zone is None else f'datetime64[us, {zone}]'
    columns = [DateTime('t', part) for part in PARTS]
    schema, frame = fit(pd.Series(moments, dtype=dtype), *columns)
    as_objects = frame.assign(t=pd.Series(moments, dtype=object))
    for table in (frame, as_objects):
        for moment, nodes in zip(moments, decode(schema, table), strict=True):
            if moment is None:
                assert nodes == [('<missing>', 1.0)] * 5
            else:
                expected = by_hand(moment)
                assert nodes == [(expected[part], 1.0) for part in PARTS]


@settings(max_examples=30)
@given(st.lists(st.none() | MOMENTS, min_size=1, max_size=4))
def test_cyclic_against_sine_and_cosine(moments: list):
    parts = {'hour': 24, 'weekday': 7, 'day': 31, 'month': 12}
    columns = [DateTime('t', part, cyclic=True) for part in parts]
    schema, frame = fit(pd.Series(moments, dtype='datetime64[us]'), *columns)
    for moment, nodes in zip(moments, decode(schema, frame), strict=True):
        if moment is None:
            assert nodes == [('<missing>', 1.0)] * 4
            continue
        places = moment.hour, moment.weekday(), moment.day - 1, moment.month - 1
        expected = []
        for place, length in zip(places, parts.values(), strict=True):
            angle = 2 * math.pi * place / length
            expected += [('sin', math.sin(angle)), ('cos', math.cos(angle))]
        assert [name for name, _ in nodes] == [name for name, _ in expected]
        for (_, actual), (_, wanted) in zip(nodes, expected, strict=True):
            assert actual == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ('part', 'boundaries', 'values'),
    [
        ('hour', (6, 12, 18), ['0-5', '6-11', '12-17', '18-23']),
        ('hour', [1, 23], ['0', '1-22', '23']),
        ('day', (2, 11), ['1', '2-10', '11-31']),
        ('month', (3, 6, 9, 12), ['january-february', 'march-may', 'june-august',
                                  'september-november', 'december']),
    ],
)  # fmt: skip
def test_boundaries(part: str, boundaries: Any, values: list[str]):
    moments = pd.Series(pd.date_range('2023-12-20', '2025-01-03', freq='11h'))
    schema, frame = fit(moments, DateTime('t', part, boundaries=boundaries))
    assert schema.vocabulary['context'] == {f't.{part}': values}
    for moment, [(value, _)] in zip(moments, decode(schema, frame), strict=True):
        below = sum(getattr(moment, part) >= b for b in boundaries)
        assert value == values[below]


def same_times() -> dict[str, pd.Series]:
    """The same times, as tables have them."""
    plain = pd.to_datetime(pd.Series(TIMES), format='ISO8601').astype('datetime64[ns]')
    numbers = plain.dropna().astype('int64').astype('Int64').reindex(plain.index)
    seconds = plain.dropna().dt.floor('s').astype('datetime64[s]').astype('int64')
    offset = pd.Series([time and f'{time}+02:00' for time in TIMES])
    return {
        'datetime64': plain,
        'text': pd.Series(TIMES),
        'text with a T': pd.Series([time and time.replace(' ', 'T') for time in TIMES]),
        'string': pd.Series(TIMES, dtype='string'),
        'category': pd.Series(TIMES, dtype='category'),
        'offset': offset,
        'Timestamp': plain.astype(object),
        'mixed': pd.Series([*plain[:3], *TIMES[3:]], dtype=object),
        'zone': plain.dt.tz_localize('Europe/Berlin'),
        'nanoseconds': numbers,
        'nanoseconds as objects': numbers.astype(object),
        'microseconds': numbers // 1000,
        'milliseconds': numbers // 1_000_000,
        'seconds': seconds.astype(float).reindex(plain.index),
        'seconds as text': seconds.astype(str).reindex(plain.index),
    }


UNITS = {'nano': 'ns', 'micro': 'us', 'milli': 'ms', 'seconds': 's'}


@pytest.mark.parametrize('name', same_times())
def test_types(name: str):
    unit = next((u for start, u in UNITS.items() if name.startswith(start)), None)
    columns = [DateTime('t', part, unit=unit) for part in PARTS]
    schema, frame = fit(same_times()[name], *columns)
    for time, nodes in zip(TIMES, decode(schema, frame), strict=True):
        if time is None:
            assert nodes == [('<missing>', 1.0)] * 5
        else:
            parts = by_hand(datetime.datetime.fromisoformat(time[:19]))
            assert nodes == [(parts[part], 1.0) for part in PARTS]


def test_days():
    """Dates without a time, and numbers of days."""
    dates = [datetime.date(2024, 2, 29), None, datetime.date(1969, 12, 31)]
    columns = [DateTime('t', part) for part in PARTS]
    schema, frame = fit(pd.Series(dates, dtype=object), *columns)
    expected = decode(schema, frame)
    assert expected[0] == [
        (v, 1.0) for v in ('0', 'thursday', 'workday', '29', 'february')
    ]
    numbers = pd.Series([19782, None, -1], dtype='Int64')
    schema, frame = fit(numbers, *(DateTime('t', part, unit='D') for part in PARTS))
    assert decode(schema, frame) == expected


@pytest.mark.parametrize('kind', ['timestamp', 'zone', 'date32', 'string', 'int64'])
def test_arrow(kind: str):
    pa = pytest.importorskip('pyarrow')
    plain = pd.to_datetime(pd.Series(TIMES), format='ISO8601').dt.floor('s')
    types = {
        'timestamp': pa.timestamp('us'),
        'zone': pa.timestamp('us', 'Asia/Tokyo'),
        'date32': pa.date32(),
        'string': pa.string(),
        'int64': pa.int64(),
    }
    cells = [None if pd.isna(time) else time for time in plain]
    if kind == 'zone':
        cells = [time and time.tz_localize('Asia/Tokyo') for time in cells]
    elif kind == 'date32':
        cells = [time and time.date() for time in cells]
    elif kind == 'string':
        cells = [time and str(time) for time in cells]
    elif kind == 'int64':
        cells = [time and int(time.timestamp()) for time in cells]
    column = pd.Series(pd.arrays.ArrowExtensionArray(pa.array(cells, types[kind])))
    unit = 's' if kind == 'int64' else None
    columns = [DateTime('t', part, unit=unit) for part in PARTS]
    columns += [DateTime('t', 'hour', cyclic=True, unit=unit)]
    schema, frame = fit(column, *columns)
    wanted = plain.dt.normalize() if kind == 'date32' else plain
    for time, nodes in zip(wanted, decode(schema, frame), strict=True):
        expected = ['<missing>'] * 5 if pd.isna(time) else [*by_hand(time).values()]
        assert [value for value, _ in nodes[:5]] == expected
        sine, cosine = 1.0, 1.0  # Of a missing time there is one node.
        if not pd.isna(time):
            sine, cosine = (f(2 * math.pi * time.hour / 24) for f in (math.sin, math.cos))
        factors = [factor for _, factor in nodes[5:]]
        assert factors == pytest.approx([sine, cosine][: len(factors)], abs=1e-6)
        assert len(factors) == (1 if pd.isna(time) else 2)


def test_labels_of_rows_may_come_twice():
    frame = pd.DataFrame(
        {'t': ['2024-01-01 05:00', None, '2024-01-01 07:00']}, index=[3, 3, 3]
    )
    schema, _ = fit(frame['t'].to_numpy(), DateTime('t', 'hour'))
    assert decode(schema, frame) == [[('5', 1.0)], [('<missing>', 1.0)], [('7', 1.0)]]
    first, place = schema.distinct('context', frame)
    assert first.tolist() == place.tolist() == [0, 1, 2]


def test_all_missing():
    schema, frame = fit([None, None], DateTime('t', 'hour'), DateTime('t', 'hour', True))
    assert decode(schema, frame) == [[('<missing>', 1.0)] * 2] * 2
    frame = pd.DataFrame({'t': pd.to_datetime(['2024-01-01 06:00', None])})
    assert decode(schema, frame)[0][0] == ('6', 1.0)  # Though no row was fitted to it.


@pytest.mark.parametrize(
    ('cells', 'arguments', 'message'),
    [
        ([1, 2], {}, r"'t' holds numbers .*DateTime\('t', 'hour', unit='s'\)"),
        (['1', '2'], {}, "'t' holds numbers where times belong"),
        (['yesterday'], {}, r"'t' holds what is no time.*yesterday.*pandas\.to_datetime"),
        (['29.02.2024'], {}, "'t' holds what is no time"),
        (['2023-02-29'], {}, "'t' holds what is no time"),
        ([['2024-01-01']], {}, "'t' holds what is no time"),
        ([np.inf], {'unit': 's'}, "'t' holds what is no time"),
        ([1e300], {'unit': 's'}, "'t' holds what is no time"),
        ([True], {'unit': 's'}, "'t' holds what is no time"),
        (pd.to_timedelta(['1s']), {'unit': 's'}, "'t' holds what is no time"),
        (['2024-01-01 05:00+01:00', '2024-01-01 05:00+02:00'], {}, "'t'.*timezones"),
    ],
)
def test_bad_cells(cells: Any, arguments: dict, message: str):
    with pytest.raises(ValueError, match=f'(?s){message}'):
        fit(cells, DateTime('t', 'hour', **arguments))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'part': 'minute'}, r"`part` of DateTime\('t'\).*month \(got 'minute'\)"),
        ({'part': 'hour', 'unit': 'h'}, r"`unit` of DateTime\('t'\).*ns, D \(got 'h'\)"),
        ({'part': 'weekend', 'cyclic': True}, "'t.weekend.cyclic' cannot be cyclic"),
        ({'part': 'hour', 'cyclic': True, 'boundaries': (6,)}, 'cannot be cyclic'),
        ({'part': 'weekday', 'boundaries': (2,)}, "'t.weekday' must be hours"),
        ({'part': 'weekend', 'boundaries': (1,)}, "'t.weekend' must be hours"),
        *[
            (
                {'part': 'hour', 'boundaries': b},
                r"'t.hour' must .* above 0 to 23 at most \(got",
            )
            for b in ((), (0, 6), (6, 24), (6, 6), (12, 6), (6.5,), ('6',), 6)
        ],
        ({'part': 'day', 'boundaries': (1,)}, 'above 1 to 31 at most'),
        ({'part': 'day', 'boundaries': (32,)}, 'above 1 to 31 at most'),
        ({'part': 'month', 'boundaries': (13,)}, 'above 1 to 12 at most'),
    ],
)
def test_bad_arguments(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        DateTime('t', **arguments)


def test_json():
    columns = [
        DateTime('t', 'hour', boundaries=np.array([6, 18])),
        DateTime('t', 'hour', cyclic=True),
        DateTime('u', 'weekday', unit='D'),
    ]
    frame = pd.DataFrame({'t': ['2024-01-01 05:00'], 'u': [3]})
    schema = schema_of(*columns)
    assert schema.sources('context') == ['t', 'u']
    assert FeatureSchema.from_json(schema.to_json()) == schema
    schema.fit({'user': OTHER, 'item': OTHER, 'context': frame})
    copied = FeatureSchema.from_json(schema.to_json())
    assert copied == schema
    one, two = (s.encode('context', frame) for s in (schema, copied))
    assert torch.equal(one.x, two.x) and torch.equal(one.value, two.value)


@settings(max_examples=25)
@given(st.lists(st.none() | MOMENTS, min_size=1, max_size=8), st.booleans())
def test_contexts_are_what_fields_look_at(moments: list, cyclic: bool):
    buckets = DateTime('t', 'day', boundaries=(16,))
    log = pd.DataFrame(
        {'t': pd.Series(moments, dtype='datetime64[us]'), 'user': 1, 'item': 'a'}
    )
    dataset = InteractionDataset.from_pandas(
        log,
        None,
        None,
        FeatureSchema(
            [Categorical('user')],
            [Categorical('item')],
            [DateTime('t', 'hour', cyclic=cyclic), buckets],
        ),
    )
    keys = [None if m is None else (m.hour, m.day >= 16) for m in moments]
    distinct = list(dict.fromkeys(keys))
    assert dataset.num_contexts == len(distinct) == len(dataset.context_frame)
    assert dataset.context.tolist() == [distinct.index(key) for key in keys]
    # Each row's graph is that of its own time.
    own = dataset.schema.encode('context', log)
    kept = dataset.contexts.select(dataset.context)
    for name in ('x', 'ptr', 'value'):
        one, two = getattr(own, name), getattr(kept, name)
        assert one is two is None or torch.equal(one, two)
