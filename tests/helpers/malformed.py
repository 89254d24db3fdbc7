"""What cells and columns can be, and what may come of them."""

from __future__ import annotations

import datetime
import re
import traceback
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

import iedr_geo

PACKAGE = Path(iedr_geo.__file__).parent

CELLS = [
    *(None, np.nan, pd.NA, pd.NaT, '', 'x', ' 1', '1', 1, 0, 1.0, 2.5, -0.0, -1, True),
    *(False, np.inf, -np.inf, 10**30, -(10**30), 2**63, 1e308, 5e-324, 1 + 2j),
    *(complex('nan'), b'x', Decimal('1.50'), Decimal('NaN'), Fraction(1, 3)),
    *(np.float32(0.1), np.int8(3), np.timedelta64(1, 's'), np.datetime64('2020-01-01')),
    *(pd.Timestamp('2020-01-01 05:00'), pd.Timestamp('2020-01-01', tz='Asia/Tokyo')),
    *(datetime.date(2020, 1, 1), datetime.datetime(9999, 1, 1), datetime.time(5)),
    *(pd.Timedelta('1h'), pd.Period('2020-01'), pd.Interval(0, 1), slice(0, 1), int),
    *('a\0b', '2020-13-45', '2020-01-01', '2020-01-01T10:00+09:00', '1e400', 'nan'),
    *('None', '<unknown>', [], (), [1, 2], [1, 2, 3], (1, 2), ['k'], [None], ['1', '2']),
    *([np.nan, 1], [np.inf, 1], [1e300, 1], [1j, 2], [[1], [2]], [[1], [2, 3]], {1, 2}),
    *([True, False], {'k'}, frozenset([1, 2]), {'a': 1}, [{'a': 1}, {'b': 2}], range(2)),
    *(np.array([1, 2]), np.array([]), np.array(5), np.array([[1, 2]]), pd.Series([1, 2])),
    *(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0], requires_grad=True)),
    *(torch.tensor([1, 2], dtype=torch.bfloat16), [pd.Timestamp('2020')] * 2),
]


def arrow_columns() -> list[pd.Series]:
    try:
        import pyarrow as pa
    except ImportError:
        return []
    day = datetime.date(2020, 1, 4)
    columns = [
        (pa.int8(), [1, None, 3]),
        (pa.float16(), [1.5, None, np.nan, 4]),
        (pa.float64(), [1.5, None, np.nan, 4]),
        (pa.string(), ['a', None, '1']),
        (pa.binary(), [b'a', None, b'b']),
        (pa.list_(pa.int8()), [[1, 2], None, [1], []]),
        (pa.list_(pa.float32(), 2), [[1, 2], None, [3, 4]]),
        (pa.struct([('a', pa.int8())]), [{'a': 1}, None]),
        (pa.map_(pa.string(), pa.int8()), [[('a', 1)], None, []]),
        (pa.decimal128(5, 2), [Decimal('1.50'), None]),
        (pa.date32(), [day, None]),
        (pa.date32(), [day, datetime.date(2020, 1, 3)]),
        (pa.time64('us'), [datetime.time(5), None]),
        (pa.duration('us'), [datetime.timedelta(1), None]),
        (pa.timestamp('s', tz='Asia/Tokyo'), [1, None, 2]),
        (pa.bool_(), [True, None, False]),
        (pa.null(), [None, None]),
        (pa.dictionary(pa.int8(), pa.string()), ['a', None, 'b']),
    ]
    return [
        pd.Series(pd.arrays.ArrowExtensionArray(pa.array(cells, kind)))
        for kind, cells in columns
    ]


NUMBERS = ['int8', 'uint64', 'float16', 'float32', 'complex64', 'Int64', 'Float32', 'str']
NUMBERS += ['category', 'string', 'Sparse[int]', 'Sparse[float]', 'm8[ns]', 'M8[s]']
COLUMNS: list[pd.Series] = [
    *(pd.Series([1, 2, 3, 4], dtype=dtype) for dtype in NUMBERS),
    *(pd.Series([1, None, 3], dtype=dtype) for dtype in ('Int64', 'Float64', 'category')),
    pd.Series([True, None, False], dtype='boolean'),
    pd.Series([True, False, True]),
    pd.Series([2**63, 2**64 - 1, 0], dtype='uint64'),
    pd.Series([2**62 + 1, None, 2**62], dtype='Int64'),
    pd.Series([True, 1, '1', 1.0, None], dtype=object),
    pd.Series(['9999-12-31', '2020-01-01'], dtype='M8[s]'),
    pd.Series(pd.date_range('2020', periods=4, tz='Asia/Tokyo')),
    pd.Series(pd.date_range('2020', periods=4, tz='UTC')).astype(object),
    pd.Series(pd.date_range('2020', periods=4)).astype('category'),
    pd.Series(pd.period_range('2020', periods=4, freq='M')),
    pd.Series(pd.interval_range(0, 4)),
    pd.Series(pd.timedelta_range('1h', periods=4)),
    pd.Series([None, None], dtype=object),
    pd.Series([pd.NaT, pd.NaT]),
    *arrow_columns(),
]


def objects(cells: list) -> pd.Series:
    """A column of any cells, none of which pandas takes for something else."""
    array = np.empty(len(cells), dtype=object)
    for i, cell in enumerate(cells):
        array[i] = cell
    return pd.Series(array)


def outcome(call: Callable[[], Any], *culprits: str) -> Any:
    """Returns a result, or nothing after an error of our own that names a culprit."""
    try:
        return call()
    except Exception as error:
        trace = ''.join(traceback.format_exception(error))
        where = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
        assert where.is_relative_to(PACKAGE), trace
        assert isinstance(error, (ValueError, TypeError, KeyError, OSError)), trace
        assert any(culprit in str(error) for culprit in culprits), trace
        return None


class Warns(NamedTuple):
    """What is expected of input that may be meant: a warning of our own with a text."""

    text: str


def expect(call: Callable[[], Any], expected: Any) -> Any:
    """Checks that a line of ours raises an error with a text or warns of one, or what the
    value is, and returns it.
    """
    if isinstance(expected, Warns):
        with pytest.warns(UserWarning, match=expected.text):
            return call()
    if not isinstance(expected, str):
        found = call()
        assert found == expected
        return found
    with pytest.raises((ValueError, TypeError, OSError)) as caught:
        call()
    trace = ''.join(traceback.format_exception(caught.value))
    where = Path(traceback.extract_tb(caught.tb)[-1].filename)
    assert where.is_relative_to(PACKAGE), trace
    assert re.search(expected, str(caught.value), re.DOTALL), trace
    return None


# A cell of a table or of a request, by what it is called.
NAMED: dict[str, Any] = {
    'nothing': None,
    'NaN': np.nan,
    'no text': '',
    'text': 'x',
    'text of 1': '1',
    'True': True,
    'float of 2^60': 2.0**60,
    'infinity': np.inf,
    'complex': 1j,
    'bytes': b'x',
    'list': ['k'],
    'list of lists': [['k']],
    'mapping': {'a': 1},
    'date': pd.Timestamp('2020-01-01'),
    'last date': datetime.datetime(9999, 1, 1),
    'class': int,
}
LISTS, DATES = 'list|list of lists|mapping', 'date|last date'
# The cells that a kind of column cannot hold, and what is said of them. All else means
# what `cinema.nodes_of` says.
LARGE = {r'float of 2\^60': '(of the user table )?holds 1152.*6, a float'}
SINGLE = LARGE | {LISTS: '(of the user table )?holds lists where single values belong'}
REFUSED = {
    'id': SINGLE
    | {
        'nothing|NaN': 'of the user table has no id in row 1',
        f'no text|text|True|infinity|complex|bytes|{DATES}|class': (
            'of the inter.* absent.*: 1$'
        ),
    },
    'category': SINGLE,
    'number': {
        'text|bytes': 'is declared a number.*Unable to parse',
        f'complex|{LISTS}|{DATES}|class': 'is declared a number, but holds (other|times)',
        'infinity': 'holds numbers beyond 3.4',
    },
    'moment': {
        f'text.*|True|float.*|infinity|complex|bytes|{LISTS}|class': (
            'holds (what is no time|numbers where times)'
        )
    },
    'seconds': {
        f'text|True|float.*|infinity|complex|bytes|{LISTS}|{DATES}|class': (
            'holds what is no time'
        )
    },
    'vector': {
        f'no text|text.*|True|float.*|infinity|complex|bytes|{DATES}|class': (
            r'must hold vectors: row \d holds'
        ),
        LISTS: 'holds what is no vector of numbers',
    },
    'text of tags': LARGE
    | {
        'list of lists': r"holds lists in lists, among them: \['k'\]",
        'mapping': 'holds mappings where lists belong',
    },
    'tags': {
        f'no text|text.*|True|float.*|infinity|complex|bytes|{DATES}|class': (
            'holds text or single values, not lists: pass `separator`'
        ),
        'list of lists': r"holds lists in lists, among them: \['k'\]",
        'mapping': 'holds mappings where lists belong',
    },
    'label': {
        f'nothing|NaN|(no )?text|float.*|infinity|complex|bytes|{LISTS}|{DATES}|class': (
            'must hold labels 0 and 1: row 1 holds'
        )
    },
    'time': {
        'nothing|NaN|no text|infinity': 'has no time in row 1',
        f'text|complex|bytes|{LISTS}|{DATES}|class': 'holds neither numbers nor dates',
        'float.*': 'holds 1152921504606846976, .* as text or Int64',
    },
}
KINDS = {
    'guest': 'id',
    **dict.fromkeys(('town', 'with'), 'category'),
    **dict.fromkeys(('age', 'income', 'price', 'heat'), 'number'),
    **dict.fromkeys(('joined', 'time'), 'moment'),
    'made': 'seconds',
    **dict.fromkeys(('taste', 'poster'), 'vector'),
    'genres': 'text of tags',
    **dict.fromkeys(('tags', 'snacks'), 'tags'),
    'liked': 'label',
    'sold': 'time',
}


def refusal(column: str, kind: str, name: str) -> str | None:
    """Returns what is said of a cell in a column of the cinema, if it is refused."""
    for names, text in REFUSED[kind].items():
        if re.fullmatch(names, name):
            return f"'{column}' {text}"
    return None
