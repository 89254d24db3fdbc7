"""Columns of every type: what cells of any kind mean, or that they mean nothing.

Nothing may fail within torch, pandas or NumPy, and no id may go astray.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cinema import (
    TABLES,
    assert_means,
    assert_means_what_tables_say,
    assert_same_nodes,
    build,
    column_of,
    decode,
    fit,
    make_schema,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from malformed import CELLS, COLUMNS, objects, outcome

from iedr_geo.data import (
    Bucketized,
    Categorical,
    DateTime,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    Vector,
)
from iedr_geo.data.columns import Column

# Each type, and cells that it can hold.
TYPES: list[tuple[Any, list]] = [
    (Categorical('f'), ['x', None, 'y']),
    (MultiCategorical('f'), [['x', 'y'], None, [], ['y', 'x']]),
    (MultiCategorical('f', '|'), ['x|y', None, '', 'y']),
    (Numerical('f'), [-1.5, None, 0.0, 2.0]),
    (Bucketized('f', (0, 7)), [-1.0, None, 0.0, 5.0, 7.0]),
    (DateTime('f', 'weekday'), ['2020-01-04', None, '2020-01-05 10:00']),
    (DateTime('f', 'month', cyclic=True, unit='s'), [0, None, 1e9]),
    (Vector('f'), [[3.0, 4.0], None, [0.0, 0.0], [6.0, 8.0]]),
]


def assert_distinct(schema: FeatureSchema, frame: pd.DataFrame, nodes: list) -> None:
    """Rows are the same where all their nodes are; zero has no sign."""
    texts = [re.sub(r'-0\.0\b', '0.0', str(row)) for row in nodes]
    distinct = list(dict.fromkeys(texts))
    first, number = schema.distinct('item', frame)
    assert [texts[row] for row in first] == distinct
    assert number.tolist() == [distinct.index(text) for text in texts]


@pytest.mark.parametrize(('column', 'cells'), TYPES, ids=repr)
def test_every_kind_of_cell(column: Column, cells: list):
    own = objects([*cells, *cells[::-1]])
    others = [objects([cell, *cells]) for cell in CELLS]
    for frame in (cells.to_frame('f') for cells in [own, *others, *COLUMNS]):
        schema = outcome(lambda frame=frame: fit(column, frame), "'f'")
        if schema is not None:
            assert_distinct(schema, frame, assert_means(schema, frame))


ROWS = st.lists(
    st.tuples(*(st.sampled_from(cells) for _, cells in TYPES)), min_size=1, max_size=6
)


@settings(max_examples=25)
@given(ROWS, ROWS)
def test_tables(fitted: list, rows: list):
    names = [f'f{i}' for i in range(len(TYPES))]
    columns = [replace(c, column=name) for name, (c, _) in zip(names, TYPES, strict=True)]
    fitted = [*fitted, [cells[0] for _, cells in TYPES]]
    frame, table, reverse = (
        pd.DataFrame(some, columns=names, dtype=object)
        for some in (rows, fitted, fitted[::-1])
    )
    schema = fit(columns, table)
    assert schema == fit(columns, reverse)
    assert_distinct(schema, frame, assert_means(schema, frame))


SPELLINGS = [[1, 1.0, '1', '1.0', Decimal('1.00')], [-20, '-20.0', -20.0], [True, 'True']]
SPELLINGS += [[pd.Timestamp('2020-01-02'), '2020-01-02', '2020-01-02 00:00:00'], ['x']]
KEYS = st.sampled_from(range(len(SPELLINGS)))


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.none() | KEYS, st.sets(KEYS)), min_size=1, max_size=8),
    st.integers(1, 3),
    st.randoms(),
)
def test_spelling_and_order_mean_nothing(rows: list, min_count: int, random: Any):
    def spell(key: int | None) -> Any:
        return None if key is None else random.choice(SPELLINGS[key])

    def write() -> pd.DataFrame:
        tags = [[spell(k) for k in random.sample([*keys], len(keys))] for _, keys in rows]
        tags = [some or random.choice([[], None, ['']]) for some in tags]
        cells = [spell(key) for key, _ in rows]
        return pd.DataFrame({'f': objects(cells), 'g': objects(tags)})

    columns = [Categorical('f', min_count), MultiCategorical('g', min_count=min_count)]
    one, two = write(), write()
    schema = fit(columns, one)
    assert schema == fit(columns, two.sample(frac=1, random_state=random.randrange(9)))
    nodes = assert_means(schema, one)
    assert decode(schema.encode('item', two), schema) == nodes
    assert_distinct(schema, two, nodes)


@st.composite
def corrupted(draw: Any) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Tables of which one or two columns hold what they should not, perhaps."""
    tables, columns = dict(TABLES), []
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from([*TABLES]))
        column, frame = draw(st.sampled_from([*TABLES[name]])), tables[name]
        if draw(st.booleans()):
            values = draw(st.sampled_from(COLUMNS))
            changed = values.iloc[np.arange(len(frame)) % len(values)]
        else:
            cells = frame[column].astype(object).tolist()
            for row in draw(st.sampled_from([[0], [2], [-1], range(len(frame))])):
                cells[row] = draw(st.sampled_from(CELLS))
            changed = objects(cells)
        tables[name] = frame.assign(**{column: changed.set_axis(frame.index)})
        columns.append(f"'{column}'")
    return tables, columns


@settings(max_examples=50)
@given(corrupted(), st.booleans())
def test_corrupted_tables(tmp_path_factory, case, is_fitted: bool):
    tables, columns = case
    schema = build(TABLES).schema if is_fitted else make_schema()
    before = schema.to_json()
    dataset = outcome(lambda: build(tables, schema), *columns)
    if dataset is None or is_fitted:
        assert schema.to_json() == before  # For the next attempt, with better tables.
    if dataset is None:
        return
    assert_means_what_tables_say(dataset, tables)
    path = tmp_path_factory.mktemp('dataset') / 'dataset.pt'
    dataset.save(path)
    loaded = InteractionDataset.load(path)
    again = loaded.schema.encode('context', loaded.context_frame)
    wanted = decode(dataset.contexts, schema)
    for contexts in (loaded.contexts, again):
        assert_same_nodes(decode(contexts, loaded.schema), wanted)


@pytest.mark.parametrize('table', TABLES)
@pytest.mark.parametrize(
    'labels', [[7, 7, 7, 3], [np.nan], ['b', 'a'], [(0, 1), (0, 0)], [-1, 0, 1]], ids=repr
)
def test_labels_of_rows_mean_nothing(table: str, labels: list):
    frame = TABLES[table]
    labels = [labels[i % len(labels)] for i in range(len(frame))]
    dataset = build(TABLES | {table: frame.set_axis(pd.Index(labels))})
    assert_means_what_tables_say(dataset, TABLES)


@pytest.mark.parametrize(
    ('column', 'cells', 'message'),
    [
        (MultiCategorical('f'), ['a|b', None], "'f' holds text.*separator"),
        (Numerical('f'), pd.to_datetime(['2020-01-01', None]), "'f'.*holds times"),
        (Bucketized('f', [1]), [-1e39], "'f' holds numbers beyond"),
        (Bucketized('f', num_buckets=2), [None, np.nan], "'f' holds no number"),
        (DateTime('f', 'day'), [1], r"numbers .*DateTime\('f', 'day', unit='s'\)"),
        (DateTime('f', 'hour'), ['1', '2'], "'f' holds numbers where times belong"),
        (DateTime('f', 'hour'), ['soon'], r"'f' holds what is no.*soon.*to_datetime"),
        (DateTime('f', 'hour'), ['29.02.2024'], "'f' holds what is no time"),
        (
            DateTime('f', 'hour'),
            ['2024-01-01 05:00+01:00', '2024-01-01 05:00', '2024-01-01 05:00+02:00'],
            "'f'.*times with and without an offset",
        ),
        *(
            (column, cells, f"'f' holds {cells[0]:.0f}.*as text or Int64")
            for column in (Categorical('f'), MultiCategorical('f', '|'))
            for cells in ([2.0**53, None], [-1.5e18, 'x'], [np.float32(2**24)])
        ),
        (MultiCategorical('f'), [[1.0, 2.0**53]], "'f' holds 9007199254740992,"),
        (Vector('f'), [[1, 2], [1]], r'of one length: row 1 .*\(1,\).*\(2,\)'),
        (Vector('f'), [[[1, 2]]], r"'f' must hold vectors of one length: row 0 .*\(1, 2"),
        (Vector('f'), [None, []], r"'f' must hold vectors of one length: row 1 .*\(0,\)"),
        (Vector('f'), [[1j, 2]], "'f' holds what is no vector of numbers: complex"),
        (Vector('f'), [None, [1, np.nan], [np.inf, 1]], r'not finite in row 1 \(2 rows'),
        (Vector('f'), [None, np.nan], "'f' holds no vector to fit"),
    ],
)
def test_bad_cells(column: Column, cells: Any, message: str):
    cells = cells if isinstance(cells, pd.Index) else objects(cells)
    with pytest.raises(ValueError, match=f'(?s){message}'):
        fit(column, column_of(cells))


FINITE = "'f' must be finite numbers that increase (got "
HOURS = "The boundaries of 'f.hour' must be hours, days or months that increase from "
HOURS += 'above 0 to 23 at most (got '


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        *((lambda n=n: Categorical('f', n), f"'f' must be at least 1 (got {n})")
          for n in (0, -1, 1.5, float('nan'))),
        *((lambda b=b: Bucketized('f', b), f'{FINITE}{b!r})')
          for b in ((1, 1), (2, 1), (), (1, np.nan), (-np.inf, 1), ('low',), 4)),
        *((lambda b=b: DateTime('f', 'hour', boundaries=b), f'{HOURS}{b!r})')
          for b in ((), (0, 6), (6, 24), (6, 6), (12, 6), (6.5,), ('6',), 6)),
        (lambda: MultiCategorical('f', min_count=0), "`min_count` of 'f' must be"),
        (lambda: MultiCategorical('f', ''), "`separator` of 'f' must be text (got '')"),
        (lambda: MultiCategorical('f', 5), "`separator` of 'f' must be text (got 5)"),
        (lambda: Bucketized('f', num_buckets=1), 'needs at least 2 buckets (got 1)'),
        (lambda: Bucketized('f', num_buckets=2.5), 'at least 2 buckets (got 2.5)'),
        (lambda: Bucketized('f', (1,), 2), "('f') needs either `boundaries` or"),
        (lambda: Bucketized('f'), "('f') needs either `boundaries` or"),
        (lambda: DateTime('f', 'minute'), "DateTime('f') is one of hour, weekday, week"),
        (lambda: DateTime('f', ['hour']), "`part` of DateTime('f') is one of"),
        (lambda: DateTime('f', 'hour', unit='h'), "s, ms, us, ns, D (got 'h')"),
        (lambda: DateTime('f', 'hour', unit=['s']), "`unit` of DateTime('f') is one of"),
        (lambda: DateTime('f', 'weekend', True), "'f.weekend.cyclic' cannot be cyclic"),
        (lambda: DateTime('f', 'hour', True, (6,)), "'f.hour.cyclic' cannot be cyclic"),
        (lambda: DateTime('f', 'weekday', False, (2,)), "'f.weekday' must be hours"),
        (lambda: DateTime('f', 'weekend', False, (1,)), "'f.weekend' must be hours"),
        (lambda: DateTime('f', 'day', False, (1,)), 'above 1 to 31 at most'),
        (lambda: DateTime('f', 'day', False, (32,)), 'above 1 to 31 at most'),
        (lambda: DateTime('f', 'month', False, (13,)), 'above 1 to 12 at most'),
    ],
)  # fmt: skip
def test_bad_arguments(make: Callable, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
