"""Categories: which are the same, which are unknown, and which are too rare."""

from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import FRAME, TABLES, build, column_of, decode, expected, fit, nodes_of
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import Categorical, FeatureSchema, MultiCategorical
from iedr_geo.data.columns import Column
from iedr_geo.data.schema import SIDES


def words(schema: FeatureSchema, cells: list, dtype: object = None) -> list[str]:
    """The values of all nodes, one after another."""
    rows = decode(schema.encode('item', column_of(cells, dtype)), schema)
    return [name.removeprefix('f=') for row in rows for name, _ in row]


def test_unknown_and_missing():
    schema = fit(Categorical('f'), column_of(['b', None, 'a', 'b']))
    assert schema.vocabulary['item'] == {'f': ['a', 'b']}
    found = words(schema, ['b', np.nan, 'a', 'c', None, ''])
    assert found == ['b', '<missing>', 'a', '<unknown>', '<missing>', '<unknown>']
    assert schema.encode('item', column_of(['b'])).value is None


SAME_IDS = [
    (['1', '20', None], None),
    (['1', '20', None], object),
    ([1.0, 20.0, np.nan], None),
    ([1, '20', None], object),
    ([1, 20, None], 'Int64'),
    (['1', '20', None], 'string'),
    ([1, 20, None], 'category'),
    (['1', '20', None], 'category'),
    (['1.0', '20.0', None], None),
    ([Decimal('1.00'), Decimal(20), None], object),
]
DAY = pd.Timestamp('2020-01-02')
SAME_TIMES = [
    (['2020-01-02', '2020-01-02 05:00:00', None], None),
    (['2020-01-02T00:00', '2020-01-02T05:00', None], None),
    ([DAY, DAY.replace(hour=5), None], None),
    ([DAY.date(), DAY.to_numpy() + np.timedelta64(5, 'h'), None], object),
]
SAME_TRUTHS = [
    ([True, False, None], object),
    ([True, False, None], 'boolean'),
    (['True', 'False', None], None),
]


@pytest.mark.parametrize('kind', [Categorical('f'), MultiCategorical('f', '|')])
@pytest.mark.parametrize('same', [SAME_IDS, SAME_TRUTHS, SAME_TIMES])
def test_types_do_not_matter(kind: Column, same: list):
    for fitted in same:
        schema = fit(kind, column_of(*fitted))
        for cells in same:
            assert words(schema, *cells) == [*map(str, same[0][0][:2]), '<missing>']


@pytest.mark.parametrize('order', [1, -1])
def test_true_is_not_one(order: int):
    """Python holds them for equal, and so the first of them would decide."""
    cells = [True, 1, '1', 'True', 1.0][::order]
    schema = fit(Categorical('f', min_count=2), column_of(cells, object))
    assert schema.vocabulary['item']['f'] == ['1', 'True']
    assert words(schema, cells, object) == ['True', '1', '1', 'True', '1'][::order]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 7), min_size=1, max_size=12), st.integers(1, 4))
def test_rare_values_are_counted_over_the_log(rows: list, count: int):
    schema = FeatureSchema(
        [Categorical('guest', count), Categorical('town', min_count=count)],
        [MultiCategorical('genres', '|', count), Categorical('studio', count)],
        [Categorical('with', count), MultiCategorical('snacks', min_count=count)],
    )
    tables = TABLES | {'log': TABLES['log'].iloc[rows]}
    dataset = build(tables, schema)
    for side in SIDES:
        frame = tables[FRAME[side]]
        assert decode(dataset.schema.encode(side, frame), schema) == expected(
            side, frame, schema
        )
        # Without a minimum, values count that no row of the log has.
        if count > 1 and side != 'context':
            frame = frame.iloc[getattr(dataset, side)]
        for column in schema.columns(side):
            cells = [nodes_of(column, cell, []) for cell in frame[column.column]]
            counts = Counter(value for nodes in cells for value, _ in nodes if value)
            kept = sorted(value for value, n in counts.items() if n >= count)
            assert schema.vocabulary[side][column.name] == kept


def test_text_that_may_mean_missing():
    with pytest.warns(UserWarning, match="'f' has missing cells, and beside .* 'NA'"):
        schema = fit(Categorical('f'), column_of(['NA', None, 'DE']))
    assert words(schema, ['NA', None]) == ['NA', '<missing>']


def test_without_a_log_rows_of_tables_count():
    schema = fit(Categorical('f', 2), column_of([1, '1', 1.0, 2, None]))
    assert schema.vocabulary['item'] == {'f': ['1']}
    cells = [['k', 'k'], ['l'], ['l']]
    schema = fit(MultiCategorical('f', min_count=2), column_of(cells))
    assert schema.vocabulary['item'] == {'f': ['l']}
    assert words(schema, cells) == ['<unknown>', 'l', 'l']


@pytest.mark.parametrize(
    ('cells', 'dtype', 'separator', 'wanted'),
    [
        ([['a', 'b'], ['b'], []], object, None, ['ab', 'b', '']),
        ([('a', 'b'), ('b', 'b', 'a'), ()], object, None, ['ab', 'ab', '']),
        ([{'b', 'a'}, frozenset('ca'), set()], object, None, ['ab', 'ac', '']),
        ([np.array(['b', 'a']), ['a', 'a'], np.array([])], object, None, ['ab', 'a', '']),
        ([['a', None], [np.nan, None], None], object, None, ['a', '', '']),
        ([[' a', 'a '], ['', ' '], ['b', '']], object, None, ['a', '', 'b']),
        ([[1, 2.0], ['2', 2], np.array([3.0])], object, None, ['12', '2', '3']),
        (['a|b', 'b|a', 'a'], None, '|', ['ab', 'ab', 'a']),
        (['a| b |a', ' | ', ''], None, '|', ['ab', '', '']),
        (['a||b', None, '|c|'], 'string', '|', ['ab', '', 'c']),
        (['a|b', None, 'c'], 'category', '|', ['ab', '', 'c']),
        (['a||b', 'a', 'c||a'], None, '||', ['ab', 'a', 'ac']),
        (['a.b', 'a', None], None, '.', ['ab', 'a', '']),
        ([['a', 'b'], 'b|c', None], object, '|', ['ab', 'bc', '']),
    ],
)
def test_several_values(cells: list, dtype: object, separator: str | None, wanted: list):
    schema = fit(MultiCategorical('f', separator), column_of(cells, dtype))
    assert schema.vocabulary['item']['f'] == sorted(set(''.join(wanted)))
    found = words(schema, cells, dtype)
    assert found == [value for row in wanted for value in [*row] or ['<missing>']]
    sizes = schema.encode('item', column_of(cells, dtype)).ptr.diff()
    assert torch.equal(sizes, torch.tensor([max(1, len(row)) for row in wanted]))


def test_infinity_is_a_value_like_any_other():
    assert fit(Categorical('f'), column_of([np.inf, 1.5])).vocabulary['item'] == {
        'f': ['1.5', 'inf']
    }
