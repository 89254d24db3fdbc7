"""Numbers as they are, and in buckets."""

import numpy as np
import pandas as pd
import pytest
from cinema import column_of, decode, fit

from iedr_geo.data import Bucketized, Categorical, FeatureSchema, Numerical


def names_of(schema: FeatureSchema, cells: list) -> list[str]:
    rows = decode(schema.encode('item', column_of(cells, float)), schema)
    return [name.removeprefix('f=') for [(name, _)] in rows]


def test_numerical():
    frame = column_of([0.5, None, -2.0, 0.0]).assign(g='x')
    schema = fit([Categorical('g'), Numerical('f')], frame)
    nodes = decode(schema.encode('item', frame), schema)
    # A missing number is a node like any other: its embedding enters as it is.
    wanted = [('<number>', 0.5), ('<missing>', 1), ('<number>', -2), ('<number>', 0)]
    assert nodes == [[('g=x', 1), (f'f={name}', value)] for name, value in wanted]


@pytest.mark.parametrize(
    ('scale', 'about'), [(100, '79.4'), (1e30, '7.94e.29'), (1e-6, '7.94e-07')]
)
def test_standardized(scale: float, about: str):
    cells = [scale, 0.5 * scale, None, -0.8 * scale]
    message = f"'f' holds numbers of about {about}.*standardize"
    with pytest.warns(UserWarning, match=message):
        fit(Numerical('f'), column_of(cells))
    schema = fit(Numerical('f', standardize=True), column_of(cells))
    schema = FeatureSchema.from_json(schema.to_json())
    graphs = schema.encode('item', column_of([*cells, 2 * scale]))
    numbers = np.array([1, 0.5, -0.8, 2])
    wanted = (numbers - numbers[:3].mean()) / numbers[:3].std()
    np.testing.assert_allclose(graphs.value[[0, 1, 3, 4]], wanted, rtol=1e-6)
    assert schema.names()[-5:-3] == ['f=<missing>', 'f=<number>']
    if scale < 1:
        with pytest.raises(ValueError, match="'f' holds numbers beyond"):
            schema.encode('item', column_of([3e38]))


def test_standardized_constants():
    schema = fit(Numerical('f', standardize=True), column_of([0.1] * 10))
    assert schema.encode('item', column_of([0.1, 1.1])).value.tolist() == [0, 1]
    with pytest.raises(ValueError, match="'f' holds no number to fit"):
        fit(Numerical('f', standardize=True), column_of([None, None]))


def test_buckets_begin_at_their_boundary():
    boundary = 0.1 + 0.2  # Of which every digit is kept.
    schema = fit(Bucketized('f', [boundary, 7, 7.5]), column_of([1.0]))
    schema = FeatureSchema.from_json(schema.to_json())
    cells = [-8, np.nextafter(boundary, 0), boundary, 6.9, 7, 7.4, 7.5, None]
    low, first, second = f'<{boundary}', f'{boundary} to 7', '7 to 7.5'
    wanted = [low, low, first, first, second, second, '>=7.5', '<missing>']
    assert names_of(schema, cells) == wanted


@pytest.mark.parametrize(('size', 'num_buckets'), [(40, 4), (41, 4), (10, 3), (9, 9)])
def test_quantiles_share_the_rows(size: int, num_buckets: int):
    cells = [*np.random.permutation(size) ** 2.0, None]
    schema = fit(Bucketized('f', num_buckets=num_buckets), column_of(cells))
    *names, missing = names_of(schema, cells)
    assert missing == '<missing>'
    counts = pd.Series(names).value_counts()
    assert len(counts) == num_buckets
    assert counts.max() - counts.min() <= 1
    # Larger numbers are in higher buckets, those out of range in the outermost.
    lowest, highest = names_of(schema, [-1e9, 1e9])
    assert lowest == names[np.argmin(cells[:-1])] and lowest.startswith('<')
    assert highest == names[np.argmax(cells[:-1])] and highest.startswith('>=')


@pytest.mark.parametrize(('cells', 'num_buckets'), [([3, 3, 3], 4), ([1, 1, 1, 2], 2)])
def test_quantiles_of_ties(cells: list, num_buckets: int):
    """Neither has a cut above the smallest number."""
    schema = fit(Bucketized('f', num_buckets=num_buckets), column_of(cells))
    assert set(names_of(schema, cells)) == {'any'}
