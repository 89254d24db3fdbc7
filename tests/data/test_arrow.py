"""Tables read with PyArrow's types must mean what the same tables of pandas mean."""

import pandas as pd
import pytest
import torch

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)

pa = pytest.importorskip('pyarrow')

TABLES = {
    'users': pd.DataFrame({'user': [7, 8], 'plays': [True, None]}),
    'items': pd.DataFrame(
        {
            'item': ['a', 'b', 'c'],
            'genres': [['x', 'y'], [], None],
            'tags': ['x|y', '', None],
            'price': [0.5, None, -2.0],
        }
    ),
    'log': pd.DataFrame(
        {
            'user': [8, 7, 8, 7],
            'item': ['c', 'a', 'c', 'b'],
            'hour': [1.0, None, 1.0, 9.0],
            'with': [['k'], None, ['k'], ['k', 'l']],
            'label': [True, False, True, True],
            'time': pd.to_datetime([f'2020-01-0{day}' for day in (3, 1, 2, 9)]),
        }
    ),
}
TYPES = {
    'user': pa.int32(),
    'plays': pa.bool_(),
    'item': pa.string(),
    'genres': pa.list_(pa.string()),
    'tags': pa.large_string(),
    'price': pa.float64(),
    'hour': pa.float32(),
    'with': pa.list_(pa.string()),
    'label': pa.bool_(),
    'time': pa.timestamp('us'),
}


def build(tables: dict) -> InteractionDataset:
    schema = FeatureSchema(
        user=[Categorical('user'), Categorical('plays')],
        item=[
            Categorical('item'),
            MultiCategorical('genres'),
            MultiCategorical('tags', '|'),
            Numerical('price'),
        ],
        context=[Bucketized('hour', (6,)), MultiCategorical('with')],
    )
    return InteractionDataset.from_pandas(
        tables['log'],
        tables['users'],
        tables['items'],
        schema,
        label='label',
        time='time',
    )


def test_dataset_is_the_same(tmp_path):
    arrow = {
        name: frame.assign(
            **{
                c: pd.Series(pd.arrays.ArrowExtensionArray(pa.array(cells, TYPES[c])))
                for c in frame
                for cells in [[None if v is None or v != v else v for v in frame[c]]]
            }
        )
        for name, frame in TABLES.items()
    }
    assert all(
        isinstance(t, pd.ArrowDtype) for frame in arrow.values() for t in frame.dtypes
    )
    one, two = build(TABLES), build(arrow)
    two.save(tmp_path / 'dataset.pt')
    assert one.num_contexts == 3
    for other in (two, InteractionDataset.load(tmp_path / 'dataset.pt')):
        assert one.schema == other.schema
        assert list(one.user_ids) == list(other.user_ids) == ['7', '8']
        assert list(one.item_ids) == list(other.item_ids) == ['a', 'b', 'c']
        for name in ('user', 'item', 'context', 'y', 'time'):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        for side in ('users', 'items', 'contexts'):
            for name in ('x', 'ptr'):
                graphs = getattr(one, side), getattr(other, side)
                assert torch.equal(*(getattr(g, name) for g in graphs)), (side, name)
        assert torch.equal(one.items.value, other.items.value)
        again = one.schema.encode('context', other.context_frame)
        assert torch.equal(again.x, one.contexts.x)
