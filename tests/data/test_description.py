"""What a description counts, against counts in pandas, and what it warns of."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from iedr_geo.data import (
    BipartiteGraph,
    Bucketized,
    Categorical,
    DateTime,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    Vector,
    describe,
    intervened_split,
)
from iedr_geo.transforms import FieldPairs

ROWS, DRAW = 200, np.random.default_rng(0)
LOG = pd.DataFrame(
    {
        'who': DRAW.integers(0, 12, ROWS),
        'what': DRAW.integers(0, 9, ROWS).astype(str),
        'day': DRAW.choice(['fri', 'sat', None], ROWS),
        'noise': DRAW.normal(size=ROWS),
        'luck': DRAW.integers(0, 9, ROWS).astype(str),
        'liked': DRAW.integers(0, 2, ROWS),
        'at': pd.Timestamp('2026-01-02') + pd.to_timedelta(np.arange(ROWS) % 30, 'h'),
        'shop': 'here',
        'note': [f'note {i}' if i % 2 else 'none' for i in range(ROWS)],
        'seldom': ['fri', *[None] * (ROWS - 1)],
    }
)
LOG['screen'] = 'page of ' + LOG['what']
LOG['stamp'] = 1_700_000_000 + np.arange(ROWS)
LOG['mood'] = np.where(LOG['liked'] == 1, 'good', 'bad')
ITEMS = pd.DataFrame(
    {
        'what': [str(i) for i in range(9)],
        'tags': ['a', 'a|b', None, 'c', 'a|b|c', 'b', None, None, 'c|a'],
        'weight': [0.5, 1.0, None, 0.25, 0.5, 1.0, 0.1, 0.2, 0.3],
        'grams': [900.5, 2, 3, 4, 5, 6, 7, 8, 9],
        'tax': 0.2,
        'text': [np.eye(4)[i % 4] if i else None for i in range(9)],
    }
)
MANY = pd.DataFrame({'what': [str(i) for i in range(40)], 'code': range(500, 540)})
WIDE = pd.DataFrame({'what': [str(i) for i in range(9)]})
WIDE['tags'] = ['|'.join(map(str, range(1000 - i))) for i in range(9)]
MANY['price'] = [19.99, 5] * 20  # Neither whole nor all different.
WHO, WHAT, DAY = ([Categorical(name)] for name in ('who', 'what', 'day'))


def build(
    log: pd.DataFrame = LOG,
    items: pd.DataFrame = ITEMS,
    schema: FeatureSchema | None = None,
    label: str | None = None,
    **sides,
) -> InteractionDataset:
    if schema is None:
        schema = FeatureSchema(**{'user': WHO, 'item': WHAT, 'context': DAY} | sides)
    names = {'user': 'who', 'item': 'what', 'label': label}
    return InteractionDataset.from_pandas(log, None, items, schema, **names)


def test_counts():
    item = [*WHAT, MultiCategorical('tags', '|'), Numerical('weight'), Vector('text')]
    edges = {'item': FieldPairs([('what', 'tags')])}
    context = [*DAY, DateTime('at', 'weekend'), DateTime('at', 'hour', cyclic=True)]
    dataset = build(item=item, context=context, edges=edges)
    description = describe(dataset)
    table = description.fields.set_index('field')
    assert table['side'].tolist() == ['user', *['item'] * 4, *['context'] * 3]
    kinds = ['Categorical', 'Categorical', 'MultiCategorical', 'Numerical', 'Vector']
    assert table['kind'].tolist() == [*kinds, 'Categorical', *['DateTime'] * 2]
    assert table['values'].tolist() == [12, 9, 3, 1, 4, 2, 2, 2]
    assert table['present'].tolist() == [12, 9, 3, 1, 1, 2, 2, 2]
    assert table['once'].sum() == table['unknown'].sum() == 0
    # Of a context, rows of the log count; of users and items, the users and items.
    missing = [0, 0, 3 / 9, 1 / 9, 1 / 9, LOG['day'].isna().mean(), 0, 0]
    assert table['missing'].tolist() == pytest.approx(missing)
    sizes = ITEMS['tags'].str.split('|').str.len().fillna(1)
    nodes = [1, 1, sizes.mean(), 1, 1, 1, 1, 2]
    assert table['nodes_mean'].tolist() == pytest.approx(nodes)
    assert table['nodes_max'].tolist() == [1, 1, 3, 1, 1, 1, 1, 2]
    graphs = description.graphs.set_index('side')
    assert graphs['graphs'].tolist() == [12, 9, dataset.num_contexts]
    assert graphs.loc['item', 'nodes_mean'] == pytest.approx((sizes + 3).mean())
    assert graphs.loc['item', 'edges_mean'] == pytest.approx((2 * sizes).mean())
    assert graphs.loc['user', ['edges_min', 'edges_max']].tolist() == [1, 1]
    assert graphs.loc['context', ['nodes_min', 'edges_max']].tolist() == [4, 16]
    assert description.title.startswith('200 rows, 12 users, 9 items, ')
    assert describe(dataset[:]).title == description.title
    for text in ('MultiCategorical', 'edges_max', 'What may hurt:\n- '):
        assert text in str(description)


def test_a_part_is_told_by_its_rows():
    """Not by the users, items and contexts that it shares with the whole log."""
    items = ITEMS.assign(kind=['a', *'bcdefghi'])
    dataset = build(items=items, item=[*WHAT, Categorical('kind')])
    one = describe(dataset[(LOG['day'].eq('fri') & LOG['what'].isin(['3', '5'])).values])
    assert one.title.split('\n')[0].endswith(' items, 1 distinct contexts')
    assert one.fields.set_index('field').loc['day', 'missing'] == 0
    assert "Context field 'day' has one value alone" in one.warnings[0]
    two = describe(
        build(items=items, item=[Categorical('tags')])[LOG['what'].eq('2').values]
    )
    assert two.fields.set_index('field').loc['tags', 'missing'] == 1


@pytest.mark.parametrize('num_repeats', [2, 3])
def test_seen_items_are_ranked_where_more_than_one_in_a_hundred_repeats(
    num_repeats, tmp_path
):
    """Of 200 positive rows, that repeat an earlier positive one."""
    log = pd.DataFrame({'who': np.arange(200) // 20, 'what': np.arange(200) % 20})
    for row in range(num_repeats):
        log.loc[row * 50 + 1, 'what'] = log.loc[row * 50, 'what']
    others = pd.concat([log.head(90)] * 2)  # Rows of no interest repeat as they like.
    labelled = pd.concat([log.assign(liked=1), others.assign(liked=0)])
    excludes, share = num_repeats == 2, num_repeats / 200
    for rows, label in ((log, None), (labelled, 'liked')):
        rows, items = rows.assign(day='fri'), pd.DataFrame({'what': range(20)})
        dataset = build(rows, items, label=label)
        assert dataset.repeated == pytest.approx(share)
        dataset.save(tmp_path / 'log')
        for one in (dataset, dataset[5:], InteractionDataset.load(tmp_path / 'log')):
            assert one.exclude_seen is excludes
        told = f'{share:.1%} of positive rows repeat an earlier pair of user and item, '
        assert f'{told}exclude_seen={excludes}' in describe(dataset).title
        graph = BipartiteGraph.from_dataset(dataset)
        whole = BipartiteGraph.from_pandas(log, 'who', 'what')
        for one in (graph, whole, whole.subgraph(whole.user > 3), whole.core(2)):
            assert one.repeated == pytest.approx(share) and one.exclude_seen is excludes
            assert f'repeated={share:.1%}, exclude_seen={excludes}' in str(one)
        dataset.exclude_seen = not excludes
        assert BipartiteGraph.from_dataset(dataset).exclude_seen is not excludes
        assert intervened_split(whole).test.exclude_seen  # Its parts share no edge.
        for told in (True, False):
            made = BipartiteGraph.from_pandas(log, 'who', 'what', exclude_seen=told)
            assert made.exclude_seen is told


def test_unknown_values_and_values_that_occur_once():
    log = LOG.copy()
    log.loc[[3, 5, 8], 'day'] = 'sun'
    table = describe(build(log, schema=build().schema)).fields.set_index('field')
    assert table.loc['day', 'unknown'] == pytest.approx(3 / ROWS)
    once = LOG.assign(day=['fri'] * 198 + ['sat', 'sun'])
    table = describe(build(once)).fields.set_index('field')
    assert table.loc['day', ['values', 'once']].tolist() == [3, 2]


CASES: list[tuple] = [
    ({},),
    (
        {'context': [*DAY, Numerical('noise')]},
        r"200 of 200 rows have a context.*'noise' has the most values \(200\)",
    ),
    ({'context': [*DAY, Bucketized('noise', num_buckets=3)]},),
    ({'log': LOG.assign(who=range(ROWS))}, '200 of 200 users have a single row of the'),
    ({'user': [Numerical('who')]}, "User field 'who' looks like an id.*cal.'who'"),
    (
        {'items': MANY, 'item': [*WHAT, Numerical('code'), Numerical('price')]},
        *("Item field 'code' looks like an id", "field 'price' holds numbers up to 20"),
    ),
    (
        {'context': [*DAY, Categorical('screen'), Categorical('luck')]},
        "'screen' tells the item in 100% of rows .its most frequent one alone: 1",
    ),
    (
        {'context': [Categorical('mood')], 'label': 'liked'},
        "'mood' tells the label in 100%",
    ),
    (
        {'context': [*DAY, Categorical('shop')], 'item': [*WHAT, Numerical('tax')]},
        *("Item field 'tax' has one value al", "Context field 'shop' has one value"),
    ),
    (
        {'context': [*DAY, Categorical('note')], 'item': [*WHAT, Numerical('grams')]},
        *('holds numbers up to 900', "'note': 100 of 101 values stand in a single row"),
    ),
    ({'context': [*DAY, Categorical('note', min_count=2)]},),
    ({'context': [Categorical('shop')]}, "Context field 'shop' has one value alone"),
    (  # Seconds of 2023, declared as milliseconds.
        {'context': [*DAY, DateTime('stamp', 'weekend', unit='ms')]},
        "'stamp.weekend' has one value",
        "'stamp.weekend' counts in unit='ms', by which all times are before 1970-01-21",
    ),
    (
        {'context': [*DAY, DateTime('stamp', 'weekend', unit='s')]},
        "'stamp.weekend' has one value",
    ),
    (
        {'items': WIDE, 'item': [MultiCategorical('tags', '|')]},
        "Item graphs have up to 1,000,000 edges: 'tags' alone has up to 1,000 nodes",
    ),
    ({'context': [*DAY, Categorical('seldom')]}, "'seldom' is missing in"),
    # Three have no tags; the order of tags does not matter, and none else are alike.
    (
        {'item': [MultiCategorical('tags', '|')]},
        "3 of 9 items have the same features as another.*Categorical.'what'",
    ),
]


@pytest.mark.parametrize('case', CASES)
def test_warnings(case: tuple):
    arguments, *messages = case
    dataset = build(**arguments)
    description = describe(dataset)
    assert len(description.warnings) == len(messages)
    for message, warning in zip(messages, description.warnings, strict=True):
        assert re.search(message, warning), warning
    assert ('- nothing found' in str(description)) == (not messages)
