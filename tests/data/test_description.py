"""What a description counts, against counts in pandas, and what it warns of."""

import numpy as np
import pandas as pd
import pytest

from iedr_geo.data import (
    Bucketized,
    Categorical,
    DateTime,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    Vector,
    describe,
)
from iedr_geo.transforms import FieldPairs

NUM_ROWS = 200


@pytest.fixture
def log() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            'who': draw.integers(0, 12, NUM_ROWS),
            'what': draw.integers(0, 9, NUM_ROWS).astype(str),
            'day': draw.choice(['fri', 'sat', None], NUM_ROWS),
            'noise': draw.normal(size=NUM_ROWS),
        }
    )


@pytest.fixture
def items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            'what': [str(i) for i in range(9)],
            'tags': ['a', 'a|b', None, 'c', 'a|b|c', 'b', None, None, 'c|a'],
            'weight': [0.5, 1.0, None, 0.25, 0.5, 1.0, 0.1, 0.2, 0.3],
        }
    )


def build(log: pd.DataFrame, items: pd.DataFrame | None, **sides) -> InteractionDataset:
    schema = {
        'user': [Categorical('who')],
        'item': [Categorical('what')],
        'context': [Categorical('day')],
    }
    schema = FeatureSchema(**(schema | sides))
    return InteractionDataset.from_pandas(
        log, None, items, schema, user='who', item='what'
    )


def warnings_of(*args, **kwargs) -> str:
    return '\n'.join(describe(build(*args, **kwargs)).warnings)


def test_counts(log: pd.DataFrame, items: pd.DataFrame):
    fields = [Categorical('what'), MultiCategorical('tags', '|'), Numerical('weight')]
    edges = {'item': FieldPairs([('what', 'tags')])}
    description = describe(build(log, items, item=fields, edges=edges))
    table = description.fields.set_index('field')
    assert table['side'].tolist() == ['user', 'item', 'item', 'item', 'context']
    assert table['values'].tolist() == [12, 9, 3, 1, 2]
    assert table.loc['tags', 'missing'] == pytest.approx(3 / 9)
    assert table.loc['weight', 'missing'] == pytest.approx(1 / 9)
    # Of a context, rows of the log count; of users and items, the users and items.
    assert table.loc['day', 'missing'] == pytest.approx(log['day'].isna().mean())
    sizes = items['tags'].str.split('|').str.len().fillna(1)
    assert table.loc['tags', 'nodes_mean'] == pytest.approx(sizes.mean())
    assert table.loc['tags', 'nodes_max'] == 3
    graphs = description.graphs.set_index('side')
    assert graphs['graphs'].tolist() == [12, 9, 3]
    assert graphs.loc['item', 'nodes_mean'] == pytest.approx((sizes + 2).mean())
    assert graphs.loc['item', 'edges_mean'] == pytest.approx((2 * sizes).mean())
    assert graphs.loc['user', ['edges_min', 'edges_max']].tolist() == [1, 1]
    assert description.title.startswith('200 rows, 12 users, 9 items, 3 distinct')
    assert description.warnings == []
    for text in ('nothing found', 'tags', 'MultiCategorical', 'edges_max'):
        assert text in str(description)


def test_unknown_values_and_values_that_occur_once(log: pd.DataFrame):
    fitted = build(log, None).schema
    log.loc[[3, 5, 8], 'day'] = 'sun'
    later = InteractionDataset.from_pandas(
        log, None, None, fitted, user='who', item='what'
    )
    table = describe(later).fields.set_index('field')
    assert table.loc['day', 'unknown'] == pytest.approx(3 / NUM_ROWS)
    once = log.assign(day=['fri'] * 198 + ['sat', 'sun'])
    table = describe(build(once, None)).fields.set_index('field')
    assert table.loc['day', ['values', 'once']].tolist() == [3, 2]


def test_contexts_that_never_repeat(log: pd.DataFrame, items: pd.DataFrame):
    context = [Categorical('day'), Numerical('noise')]
    found = warnings_of(log, items, context=context)
    assert '200 of 200 rows have a context that no other row has' in found
    assert "'noise' has the most values (200)" in found
    coarse = [Categorical('day'), Bucketized('noise', num_buckets=3)]
    assert warnings_of(log, items, context=coarse) == ''


def test_ids_as_numbers(log: pd.DataFrame, items: pd.DataFrame):
    assert "User field 'who' looks like an id" in warnings_of(
        log, items, user=[Numerical('who')]
    )
    many = pd.DataFrame({'what': [str(i) for i in range(40)], 'code': range(500, 540)})
    assert "Item field 'code' looks like an id" in warnings_of(
        log, many, item=[Categorical('what'), Numerical('code')]
    )
    prices = many.assign(code=[19.99, 5] * 20)  # Neither whole nor all different.
    found = warnings_of(log, prices, item=[Categorical('what'), Numerical('code')])
    assert 'looks like an id' not in found and 'numbers up to 20' in found


def test_context_that_tells_the_answer(log: pd.DataFrame, items: pd.DataFrame):
    log['screen'] = 'page of ' + log['what']
    log['luck'] = np.random.default_rng(1).integers(0, 9, NUM_ROWS).astype(str)
    context = [Categorical(name) for name in ('day', 'screen', 'luck')]
    found = warnings_of(log, items, context=context)
    assert "'screen' tells the item in 100% of rows" in found
    assert 'luck' not in found
    log['liked'] = np.random.default_rng(2).integers(0, 2, NUM_ROWS)
    log['mood'] = np.where(log['liked'] == 1, 'good', 'bad')
    schema = FeatureSchema(
        [Categorical('who')], [Categorical('what')], [Categorical('mood')]
    )
    labelled = InteractionDataset.from_pandas(
        log, None, items, schema, user='who', item='what', label='liked'
    )
    assert "'mood' tells the label in 100%" in '\n'.join(describe(labelled).warnings)


def test_fields_with_one_value(log: pd.DataFrame, items: pd.DataFrame):
    log['shop'] = 'here'
    items['tax'] = 0.2
    context = [Categorical('day'), Categorical('shop')]
    fields = [Categorical('what'), Numerical('tax')]
    found = warnings_of(log, items, context=context, item=fields)
    assert "Context field 'shop' has one value alone" in found
    assert "Item field 'tax' has one value alone" in found
    assert found.count('one value') == 2


def test_rare_values_and_large_numbers(log: pd.DataFrame, items: pd.DataFrame):
    log['note'] = [f'note {i}' if i % 2 else 'none' for i in range(NUM_ROWS)]
    items['grams'] = [900.5, 2, 3, 4, 5, 6, 7, 8, 9]
    context = [Categorical('day'), Categorical('note')]
    fields = [Categorical('what'), Numerical('grams')]
    found = warnings_of(log, items, context=context, item=fields)
    assert "'note': 100 of 101 values stand in a single row" in found
    assert "'grams' holds numbers up to 900" in found
    context = [Categorical('day'), Categorical('note', min_count=2)]
    assert 'single row' not in warnings_of(log, items, context=context, item=fields)


def test_items_alike(log: pd.DataFrame, items: pd.DataFrame):
    found = warnings_of(log, items, item=[MultiCategorical('tags', '|')])
    # Three have no tags; the order of tags does not matter, and none else are alike.
    assert '3 of 9 items have the same features as another' in found
    assert "Categorical('what')" in found


def test_every_kind_of_column(log: pd.DataFrame, items: pd.DataFrame):
    log['at'] = pd.Timestamp('2026-01-01') + pd.to_timedelta(log.index % 30, unit='h')
    items['text'] = [np.eye(4)[i % 4] if i else None for i in range(9)]
    dataset = build(
        log,
        items,
        item=[Categorical('what'), Vector('text')],
        context=[DateTime('at', 'weekend'), DateTime('at', 'hour', cyclic=True)],
    )
    table = describe(dataset).fields.set_index('field')
    assert table.loc['text', ['kind', 'values']].tolist() == ['Vector', 4]
    assert table.loc['text', 'missing'] == pytest.approx(1 / 9)
    assert table.loc['at.hour.cyclic', 'nodes_mean'] == 2
    assert describe(dataset).title == describe(dataset[:]).title
