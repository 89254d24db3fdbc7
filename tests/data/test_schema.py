"""Encoded tables, read back through the names of the rows, must say what they said."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureSchema,
    MultiCategorical,
    Numerical,
)
from iedr_geo.data.columns import Column
from iedr_geo.data.schema import SIDES

OTHER = pd.DataFrame({'other': ['o']})


def fit(columns: Column | list[Column], frame: pd.DataFrame) -> FeatureSchema:
    """Fits the columns as items, between two other sides."""
    other = [Categorical('other')]
    columns = columns if isinstance(columns, list) else [columns]
    schema = FeatureSchema(other, columns, other)
    return schema.fit({'user': OTHER, 'item': frame, 'context': OTHER})


def decode(schema: FeatureSchema, frame: pd.DataFrame) -> list[list[str]]:
    """Returns the name of each node of each row of items."""
    graphs, names = schema.encode('item', frame), schema.names()
    return [
        [names[node] for node in graphs.x[start:end]]
        for start, end in pairwise(graphs.ptr.tolist())
    ]


def column(cells: list, dtype: object = None) -> pd.DataFrame:
    # An index that is no range: rows are known by their place.
    return pd.DataFrame(
        {'f': pd.Series(cells, dtype=dtype, index=range(5, 5 + len(cells)))}
    )


def test_categorical():
    schema = fit(Categorical('f'), column(['b', None, 'a', 'b']))
    assert schema.vocabulary['item'] == {'f': ['a', 'b']}
    assert decode(schema, column(['b', np.nan, 'a', 'c', None, ''])) == [
        ['f=b'],
        ['f=<missing>'],
        ['f=a'],
        ['f=<unknown>'],
        ['f=<missing>'],
        ['f=<unknown>'],
    ]
    assert schema.encode('item', column(['b'])).value is None


SAME_IDS = {
    'text': column(['1', '20', None]),
    'object': column(['1', '20', None], object),
    'float': column([1.0, 20.0, np.nan]),
    'mixed': column([1, '20', None], object),
    'Int64': column([1, 20, None], 'Int64'),
    'string': column(['1', '20', None], 'string'),
    'category': column([1, 20, None], 'category'),
    'category of text': column(['1', '20', None], 'category'),
}
SAME_TRUTHS = {
    'object': column([True, False, None], object),
    'boolean': column([True, False, None], 'boolean'),
    'text': column(['True', 'False', None]),
}


@pytest.mark.parametrize('kind', [Categorical('f'), MultiCategorical('f', '|')])
@pytest.mark.parametrize(
    ('frames', 'names'), [(SAME_IDS, ['1', '20']), (SAME_TRUTHS, ['True', 'False'])]
)
def test_dtype_does_not_matter(kind: Column, frames: dict, names: list):
    for fitted in frames.values():
        schema = fit(kind, fitted)
        for name, frame in frames.items():
            assert decode(schema, frame) == [
                *([f'f={value}'] for value in names),
                ['f=<missing>'],
            ], name


@pytest.mark.parametrize(
    ('cells', 'dtype', 'separator', 'expected'),
    [
        ([['a', 'b'], ['b'], []], object, None, ['ab', 'b', '']),
        ([('a', 'b'), ('b', 'b', 'a'), ()], object, None, ['ab', 'ba', '']),
        ([{'b', 'a'}, frozenset('ca'), set()], object, None, ['ab', 'ac', '']),
        ([np.array(['b', 'a']), ['a', 'a'], np.array([])], object, None, ['ba', 'a', '']),
        ([['a', None], [np.nan, None], None], object, None, ['a', '', '']),
        ([[' a', 'a '], ['', ' '], ['b', '']], object, None, ['a', '', 'b']),
        (['a|b', 'b|a', 'a'], None, '|', ['ab', 'ba', 'a']),
        (['a| b |a', ' | ', ''], None, '|', ['ab', '', '']),
        (['a||b', None, '|c|'], 'string', '|', ['ab', '', 'c']),
        (['a|b', None, 'c'], 'category', '|', ['ab', '', 'c']),
        (['a||b', 'a', 'c||a'], None, '||', ['ab', 'a', 'ca']),
        (['a.b', 'a', None], None, '.', ['ab', 'a', '']),
        ([['a', 'b'], 'b|c', None], object, '|', ['ab', 'bc', '']),
    ],
)
def test_multi_categorical(
    cells: list, dtype: object, separator: str | None, expected: list
):
    frame, kind = column(cells, dtype), MultiCategorical('f', separator)
    schema = fit(kind, frame)
    assert schema.vocabulary['item']['f'] == sorted(set(''.join(expected)))
    assert decode(schema, frame) == [
        [f'f={value}' for value in row] or ['f=<missing>'] for row in expected
    ]


def test_multi_categorical_of_numbers():
    schema = fit(MultiCategorical('f'), column([[1, 2.0], ['2', 2], [3]]))
    assert decode(schema, column([['1', 1.0, 1], [2, 9], np.array([3.0])])) == [
        ['f=1'],
        ['f=2', 'f=<unknown>'],
        ['f=3'],
    ]


@pytest.mark.parametrize(
    'frame',
    [
        column([0.5, None, -2.0, 0.0]),
        column(['0.5', None, '-2', '0'], 'string'),
        column([0.5, None, -2, 0], 'category'),
    ],
)
def test_numerical(frame: pd.DataFrame):
    schema = fit([Categorical('g'), Numerical('f')], frame.assign(g='x'))
    graphs = schema.encode('item', frame.assign(g='x'))
    assert decode(schema, frame.assign(g='x')) == [
        ['g=x', 'f=<number>'],
        ['g=x', 'f=<missing>'],
        ['g=x', 'f=<number>'],
        ['g=x', 'f=<number>'],
    ]
    # A missing number is a node like any other: its embedding enters as it is.
    assert graphs.value.tolist() == [1, 0.5, 1, 1, 1, -2, 1, 0]


@given(
    st.lists(st.integers(-8, 8), min_size=1, max_size=5, unique=True).map(sorted),
    st.lists(st.none() | st.integers(-40, 40).map(lambda n: n / 4), min_size=1),
)
def test_buckets_begin_at_their_boundary(boundaries: list, numbers: list):
    frame = column(numbers, float)
    schema = fit(Bucketized('f', boundaries), frame)
    for number, row in zip(numbers, decode(schema, frame), strict=True):
        if number is None:
            assert row == ['f=<missing>']
        else:
            ends = [str(float(b)).removesuffix('.0') for b in boundaries]
            below = sum(b <= number for b in boundaries)
            label = f'{ends[below - 1]} to {ends[min(below, len(ends) - 1)]}'
            label = f'<{ends[0]}' if below == 0 else label
            label = f'>={ends[-1]}' if below == len(ends) else label
            assert row == [f'f={label}']


def test_boundaries_keep_every_digit():
    boundary = 0.1 + 0.2
    below = np.nextafter(boundary, 0)
    schema = fit(Bucketized('f', [boundary]), column([1.0]))
    schema = FeatureSchema.from_json(schema.to_json())
    assert decode(schema, column([below, boundary])) == [
        [f'f=<{boundary}'],
        [f'f=>={boundary}'],
    ]


@pytest.mark.parametrize(('size', 'num_buckets'), [(40, 4), (41, 4), (10, 3), (9, 9)])
def test_quantiles_share_the_rows(size: int, num_buckets: int):
    frame = column([*np.random.permutation(size) ** 2.0, None])
    schema = fit(Bucketized('f', num_buckets=num_buckets), frame)
    *names, missing = (row[0] for row in decode(schema, frame))
    assert missing == 'f=<missing>'
    counts = pd.Series(names).value_counts()
    assert len(counts) == num_buckets
    assert counts.max() - counts.min() <= 1
    # Larger numbers are in higher buckets, those out of range in the outermost.
    [lowest], [highest] = decode(schema, column([-1e9, 1e9]))
    assert lowest == names[frame['f'].argmin()] and lowest.startswith('f=<')
    assert highest == names[frame['f'].argmax()] and highest.startswith('f=>=')


@pytest.mark.parametrize(('numbers', 'num_buckets'), [([3, 3, 3], 4), ([1, 1, 1, 2], 2)])
def test_quantiles_of_ties(numbers: list, num_buckets: int):
    schema = fit(Bucketized('f', num_buckets=num_buckets), column(numbers))
    names = [row[0] for row in decode(schema, column(numbers))]
    assert len(set(names)) <= len(set(numbers))
    assert set(names) == {'f=any'}  # Both have no cut above the smallest number.


CELLS = {
    'c': st.none() | st.sampled_from(['x', 'y', 'z']),
    'm': st.lists(st.sampled_from(['x', 'y', 'z'])),
    'n': st.none() | st.sampled_from([-1.5, 0.0, 2.0]),
    'b': st.none() | st.sampled_from([-1.0, 0.0, 5.0, 7.0]),
}
ROWS = st.lists(st.tuples(*CELLS.values()), min_size=1, max_size=6)
COLUMNS = [
    Categorical('c'),
    MultiCategorical('m'),
    Numerical('n'),
    Bucketized('b', (0, 7)),
]


def table(rows: list) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(CELLS))
    return frame.astype({'n': float, 'b': float})


def reference(rows: list, fitted: list) -> list[list[tuple[str, float]]]:
    """Returns name and value of each node, from the meaning of each column type."""
    singles = {c for c, *_ in fitted}
    multiples = {value for _, m, *_ in fitted for value in m}
    graphs = []
    for c, m, n, b in rows:
        nodes = [(c if c in singles else '<unknown>') if c else '<missing>']
        nodes += [v if v in multiples else '<unknown>' for v in dict.fromkeys(m)] or [
            '<missing>'
        ]
        fields = ['c'] + ['m'] * (len(nodes) - 1) + ['n', 'b']
        nodes += ['<missing>' if n is None else '<number>']
        nodes += ['<missing>' if b is None else '<0' if b < 0 else '0 to 7']
        nodes[-1] = '>=7' if b == 7 else nodes[-1]
        values = [1.0] * len(nodes)
        values[-2] = 1.0 if n is None else n
        graphs.append(
            [
                (f'{field}={node}', value)
                for field, node, value in zip(fields, nodes, values, strict=True)
            ]
        )
    return graphs


@given(ROWS, ROWS)
def test_tables_against_reference(fitted: list, rows: list):
    schema = fit(COLUMNS, table(fitted))
    graphs, names = schema.encode('item', table(rows)), schema.names()
    nodes = [
        (names[x], value)
        for x, value in zip(graphs.x.tolist(), graphs.value.tolist(), strict=True)
    ]
    assert [
        nodes[start:end] for start, end in pairwise(graphs.ptr.tolist())
    ] == reference(rows, fitted)


@given(ROWS, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(rows: list, random: object):
    shuffled = random.sample(rows, len(rows))
    one, two = fit(COLUMNS, table(rows)), fit(COLUMNS, table(shuffled))
    assert one == two
    assert decode(one, table(shuffled)) == [
        decode(one, table([row]))[0] for row in shuffled
    ]


def test_fields_have_rows_of_their_own():
    # The same column and values on every side: still other rows.
    column = [Categorical('f'), MultiCategorical('g', '|'), Numerical('h')]
    frame = pd.DataFrame({'f': ['a', 'b'], 'g': ['a|b', None], 'h': [1, 2]})
    schema = FeatureSchema(column, column, column).fit(dict.fromkeys(SIDES, frame))
    unknown = pd.DataFrame({'f': ['z', None], 'g': ['z', None], 'h': [3, None]})
    rows = [
        torch.cat([schema.encode(side, x).x for x in (frame, unknown)]).unique()
        for side in SIDES
    ]
    # Every row but the unknown one of the numbers is in use, and none of them twice.
    assert sum(map(len, rows)) == len(torch.cat(rows).unique())
    assert schema.num_embeddings - sum(map(len, rows)) == 3
    assert schema.num_embeddings == len(schema.names()) == 3 * (4 + 4 + 3)
    one_side = ['f=<unknown>', 'f=<missing>', 'f=a', 'f=b']
    one_side += ['g=<unknown>', 'g=<missing>', 'g=a', 'g=b']
    one_side += ['h=<unknown>', 'h=<missing>', 'h=<number>']
    assert schema.names() == one_side * 3
    for i, side in enumerate(SIDES):
        start = i * len(one_side)
        assert schema.offsets(side) == {'f': start, 'g': start + 4, 'h': start + 8}


def test_json_round_trip():
    rows = [
        ('y', ['x', 'ä"\n'], 0.5, -1.0),
        (None, [], None, 7.5),
        ('x', ['x'], 1.5, 0.0),
    ]
    kinds = [*COLUMNS[:-1], Bucketized('b', num_buckets=3)]
    schema = FeatureSchema((Categorical('other'),), tuple(kinds), [Categorical('other')])
    assert FeatureSchema.from_json(schema.to_json()) == schema
    schema.fit({'user': OTHER, 'item': table(rows), 'context': OTHER})
    copy = FeatureSchema.from_json(schema.to_json())
    assert copy == schema
    assert copy.names() == schema.names()
    unseen = table([*rows, ('z', ['z', 'x'], -3.0, 99.0)])
    one, two = (s.encode('item', unseen) for s in (schema, copy))
    for name in ('x', 'ptr', 'value', 'node_id'):
        assert torch.equal(getattr(one, name), getattr(two, name))


def test_not_fitted():
    schema = FeatureSchema([Categorical('a')], [Categorical('b')], [Categorical('c')])
    for use in (
        lambda: schema.encode('user', pd.DataFrame({'a': [1]})),
        lambda: schema.names(),
        lambda: schema.offsets('user'),
        lambda: schema.num_embeddings,
    ):
        with pytest.raises(RuntimeError, match='not fitted'):
            use()


@pytest.mark.parametrize(
    ('kind', 'cells', 'message'),
    [
        (Numerical('f'), ['1', 'tall'], "'f' is declared a number.*tall"),
        (Bucketized('f', [1]), ['1', 'tall'], "'f' is declared a number.*tall"),
        (Numerical('f'), [0, np.inf], "'f' holds 1 infinite values, the first in row 1"),
        (Bucketized('f', [1]), [-np.inf], "'f' holds 1 infinite"),
        (Numerical('f'), [[1], [2]], "'f' is declared a number"),
        (Numerical('f'), pd.to_datetime(['2020-01-01', None]), "'f'.*holds times"),
        (Numerical('f'), pd.to_timedelta(['1s', None]), "'f'.*holds times"),
        (Bucketized('f', num_buckets=2), [None, np.nan], "'f' holds no number"),
        (Categorical('f'), [['a'], ['b']], "'f' holds lists.*MultiCategorical"),
        (MultiCategorical('f'), ['a|b', None], "'f' holds text.*separator"),
    ],
)
def test_bad_cells(kind: Column, cells: list, message: str):
    with pytest.raises(ValueError, match=message):
        fit(kind, column(cells))


def test_bad_tables():
    frame = pd.DataFrame([[1, 2, 3]], columns=['f', 'g', 'g'])
    with pytest.raises(ValueError, match=r"item table has duplicate columns: \['g'\]"):
        fit(Categorical('f'), frame)
    with pytest.raises(ValueError, match=r"item table has no column 'h' \(it has: f\)"):
        fit(Categorical('h'), frame[['f']])
    with pytest.raises(ValueError, match='item table is empty'):
        fit(Categorical('f'), frame[['f']][:0])
    schema = fit(Categorical('f'), frame[['f']])
    with pytest.raises(ValueError, match="item table has no column 'f'"):
        schema.encode('item', frame[['g']].iloc[:, :1])
    with pytest.raises(ValueError, match='item table is empty'):
        schema.encode('item', frame[['f']][:0])


def test_failed_fit_leaves_no_vocabulary():
    schema = FeatureSchema([Categorical('a')], [Numerical('b')], [Categorical('c')])
    frame = pd.DataFrame({'a': ['x'], 'b': ['x'], 'c': ['x']})
    with pytest.raises(ValueError, match="'b'"):
        schema.fit(dict.fromkeys(SIDES, frame))
    assert schema.vocabulary is None


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'boundaries': (1, 1)}, r"'f' must be finite and increase \(got \(1.0, 1.0\)"),
        ({'boundaries': (2, 1)}, "'f' must be finite and increase"),
        ({'boundaries': ()}, "'f' must be finite and increase"),
        ({'boundaries': (1, np.nan)}, "'f' must be finite and increase"),
        ({'boundaries': (-np.inf, 1)}, "'f' must be finite and increase"),
        ({'boundaries': (1, np.inf)}, "'f' must be finite and increase"),
        ({'boundaries': ('low',)}, "'f' must be numbers"),
        ({'boundaries': 4}, "'f' must be numbers"),
        ({'num_buckets': 1}, r"'f'\) needs at least 2 buckets"),
        ({'num_buckets': 2, 'boundaries': (1,)}, "'f'.*either"),
        ({}, "'f'.*either"),
    ],
)
def test_bad_buckets(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Bucketized('f', **arguments)


@pytest.mark.parametrize(
    ('columns', 'message'),
    [
        ([], 'no item column'),
        ([Categorical('f'), Numerical('f')], "item column twice: .*'f'"),
        (['f'], "'f' is no item column"),
    ],
)
def test_bad_schema(columns: list, message: str):
    with pytest.raises(ValueError, match=message):
        FeatureSchema([Categorical('f')], columns, [Categorical('f')])


def test_damaged_json():
    schema = fit([Categorical('f'), Numerical('g')], pd.DataFrame({'f': ['a'], 'g': [1]}))
    text = schema.to_json()
    for damaged in (
        '',
        text[:-20],
        'null',
        '[]',
        '{}',
        '{"user": "f"}',
        text.replace('"kind": "numerical"', '"kind": "ordinal"'),
        text.replace('"name": "g"', '"nme": "g"'),
        text.replace('"item": [', '"items": ['),
        text.replace('"vocabulary"', '"words"'),
    ):
        assert damaged != text
        with pytest.raises(ValueError, match='not a schema in JSON'):
            FeatureSchema.from_json(damaged)
    with pytest.raises(ValueError, match=r"item columns \['f', 'x'\].*\['f', 'g'\]"):
        FeatureSchema.from_json(text.replace('"g": [', '"x": ['))
