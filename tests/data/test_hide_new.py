"""What a part of a log may know of: against loops, and against a schema fitted later."""

from itertools import combinations

import pandas as pd
import pytest
import torch
from compare import assert_same_data, in_words
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import (
    Bucketized,
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    Split,
    UniformNegativeSampler,
    cold_start_split,
    given_split,
    hide_new,
)
from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionLoader

PARTS = ('train', 'valid', 'test')
USERS = pd.DataFrame({'user': range(5), 'town': ['x', 'y', 'z', None, 'y']})
ITEMS = pd.DataFrame(
    {
        'item': list('abcdef'),
        'genres': ['p|q', 'q|r|s', None, 's|t', 't|u|p', 'v'],
        'price': [0.5, 2.0, None, 0.5, 1.0, 3.0],
    }
)
# Each part has a row; the last item has none, ever.
ROW = st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from(['mo', 'tu', None]))
LOGS = st.lists(st.tuples(ROW, st.integers(0, 2)), max_size=9).flatmap(
    lambda rows: st.tuples(*[ROW] * 3).map(
        lambda first: [*zip(first, range(3), strict=True), *rows]
    )
)


def make_schema(price: object = None) -> FeatureSchema:
    genres, price = MultiCategorical('genres', '|'), price or Numerical('price')
    return FeatureSchema(
        user=[Categorical('user'), Categorical('town')],
        item=[Categorical('item'), genres, price],
        context=[Categorical('day'), MultiCategorical('with', '+')],
    )


def make_table(rows: list) -> pd.DataFrame:
    """A log whose second context column tells in which part a row is."""
    table = pd.DataFrame(
        [(user, 'abcdef'[item], day, number) for (user, item, day), number in rows],
        columns=['user', 'item', 'day', 'part'],
    )
    table['with'] = [['k', 'k+l', 'l+m+n'][number] for number in table['part']]
    return table.assign(liked=[i % 2 for i in range(len(table))])


def build(table: pd.DataFrame, schema: FeatureSchema, **kwargs) -> InteractionDataset:
    return InteractionDataset.from_pandas(table, USERS, ITEMS, schema, **kwargs)


def make_split(table: pd.DataFrame, device='cpu', price=None, **kwargs) -> Split:
    dataset = build(table, make_schema(price), **kwargs).to(device)
    return given_split(dataset, [PARTS[number] for number in table['part']])


def existing(table: pd.DataFrame, number: int) -> list[int]:
    """The items that the log has by a part, or nowhere, by a loop."""
    parts = [table['part'][table['item'] == item] for item in ITEMS['item']]
    return [i for i, own in enumerate(parts) if len(own) == 0 or own.min() <= number]


def catalogue(dataset: InteractionDataset) -> list[int]:
    every = torch.arange(dataset.num_items)
    return (every if dataset.catalogue is None else dataset.catalogue).tolist()


def unordered(dataset: InteractionDataset) -> list[tuple]:
    """As :func:`in_words`: hidden values stay where they are among those of a cell."""
    return [
        tuple(sorted(part) if isinstance(part, tuple) else part for part in row)
        for row in in_words(dataset)
    ]


@pytest.mark.parametrize('label', [None, 'liked'])
@settings(max_examples=12)  # Tables with text take a while to read.
@given(LOGS)
def test_against_loops_and_a_schema_fitted_on_the_training_part(label, rows):
    """Negatives show the items of the catalogue to training, unless there are labels."""
    table = make_table(rows)
    split = make_split(table, label=label)
    hidden = hide_new(split)
    training = table[table['part'] == 0]
    items = ITEMS[ITEMS['item'].isin(training['item'])]
    if label is None:
        items = ITEMS.iloc[existing(table, 0)]
    users = USERS[USERS['user'].isin(training['user'])]
    fitted = make_schema().fit({'user': users, 'item': items, 'context': training})
    assert hidden.train.schema == split.train.schema  # The embedding table stays.
    for number, part in enumerate(hidden[:3]):
        assert catalogue(part) == existing(table, number)
        expected = build(table[table['part'] == number], fitted, label=label)
        assert unordered(part) == unordered(expected)
        content = expected.contexts.content()[expected.context]
        for a, b in combinations(range(len(part)), 2):
            assert (part.context[a] == part.context[b]) == (content[a] == content[b])
    assert hidden.test.catalogue is None  # All exist by then.
    for item in range(len(ITEMS)):  # Those without a row, too.
        one, two = (
            sorted(dataset.schema.names()[x] for x in dataset.items[item].x)
            for dataset in (hidden.test, expected)
        )
        assert one == two
    # Training samples do not change, nor does the split that was given.
    for before, after in zip(split.train, hidden.train, strict=True):
        assert_same_data(before, after)
    if label is None:
        for item in catalogue(hidden.train):
            assert torch.equal(hidden.train.items[item].x, split.train.items[item].x)
    for part in split[:3]:
        assert part.catalogue is None and part.items is split.train.items
    for one, two in zip(hidden[:3], hide_new(hidden)[:3], strict=True):
        assert in_words(one) == in_words(two) and catalogue(one) == catalogue(two)


BY_HAND = [((0, 0, 'mo'), 0), ((1, 1, None), 0), ((2, 0, 'tu'), 1), ((0, 4, 'mo'), 2)]


def test_on_another_device(device: torch.device):
    """New are users 2 and 3, item e and its genres t and u, and all companions but k."""
    split = hide_new(make_split(make_table([*BY_HAND, ((3, 3, 'mo'), 1)]), device))
    for part, absent in zip(split[:3], ({3, 4}, {4}, set()), strict=True):
        assert set(catalogue(part)) == set(range(6)) - absent
    tensors = [split.train.catalogue, split.valid.users.x, split.test.items.node_id]
    assert {tensor.device.type for tensor in tensors} == {device.type}
    new = '<unknown>'
    assert unordered(split.test)[0][3:5] == (
        [f'genres={new}', f'genres={new}', 'genres=p', f'item={new}', 'price=<number>'],
        ['day=mo', f'with={new}', f'with={new}', f'with={new}'],
    )
    for name in ('users', 'items', 'contexts'):  # Shared by the parts, as before.
        assert getattr(split.test, name) is getattr(split.train, name)


def test_buckets_without_a_training_row():
    table = make_table([((0, 0, 'mo'), 0), ((0, 3, 'mo'), 1), ((0, 1, 'mo'), 2)])
    # Labels, so that what no row has is in no training sample.
    split = make_split(table, price=Bucketized('price', (1, 2.5)), label='liked')
    test = hide_new(split).test
    price = [test.schema.names()[test.items[item].x[-1]] for item in range(6)]
    new = 'price=<unknown>'
    assert price == ['price=<1', new, 'price=<missing>', 'price=<1', new, new]


def test_what_did_not_exist_before_does_not_come_back(tmp_path):
    """The training part of a split is split again, and saved."""
    table = make_table([*BY_HAND, ((1, 0, 'mo'), 0), ((1, 2, 'mo'), 0)])
    train = hide_new(make_split(table)).train
    assert catalogue(train) == [0, 1, 2, 3, 5]
    again = hide_new(given_split(train, ['train', 'valid', 'test', 'train']))
    assert catalogue(again.train) == [0, 2, 3, 5]
    assert catalogue(again.valid) == catalogue(again.test) == [0, 1, 2, 3, 5]
    train.save(tmp_path / 'train.pt')
    loaded = InteractionDataset.load(tmp_path / 'train.pt')
    assert catalogue(loaded) == catalogue(train)
    assert torch.equal(loaded.items.x, train.items.x)


def test_candidates_of_ones_own_as_parts():
    """They have tables of their own, here with other users, and graphs of their own."""
    split = make_split(make_table([*BY_HAND, ((3, 3, 'mo'), 1)]))
    users = pd.DataFrame({'user': [4, 0], 'town': ['y', 'x']})
    own = make_table([((0, 3, 'mo'), 0), ((4, 0, 'tu'), 0)])
    own['with'] = ['k', 'l']
    schema = split.train.schema
    candidates = InteractionDataset.from_pandas(own, users, ITEMS, schema, label='liked')
    hidden = hide_new(split._replace(valid=candidates))
    known, stranger = in_words(hidden.valid)
    assert known[2] == ('user=0', 'town=x') and stranger[2][0] == 'user=<unknown>'
    assert known[3][0] == 'item=<unknown>' and stranger[3][0] == 'item=a'
    assert known[4] == ('day=mo', 'with=k')
    assert stranger[4] == ('day=<unknown>', 'with=<unknown>')
    assert catalogue(hidden.valid) == [0, 1, 2, 3, 5]


def test_parts_of_different_logs():
    table = make_table(BY_HAND)
    split = make_split(table)
    schema = split.train.schema
    other = InteractionDataset.from_pandas(table, USERS, ITEMS.iloc[::-1], schema)
    for name, part in (('validation', 'valid'), ('test', 'test')):
        with pytest.raises(ValueError, match=f'training and the {name} part.*same items'):
            hide_new(split._replace(**{part: other}))
    refitted = build(table[:3], make_schema())
    with pytest.raises(ValueError, match=r'validation part .*the same schema'):
        hide_new(split._replace(valid=refitted))


@pytest.mark.parametrize('exclude', ['positive', 'seen'])
def test_no_item_is_drawn_before_its_time(exclude: str):
    dataset = PlantedFactors(num_users=80, num_items=40, num_interactions=1500)
    split = cold_start_split(dataset, 'item', 0.2, 0.3)
    cold = set(split.valid.item.tolist()) | set(split.test.item.tolist())
    assert not cold & set(split.train.item.tolist()) and len(cold) == 20
    loader = InteractionLoader(split.train, 512, UniformNegativeSampler(9, exclude))
    drawn = torch.cat([batch.item_id[batch.y == 0] for batch in loader])
    assert set(drawn.tolist()) == set(range(40)) - cold
    for part in split[1:3]:
        others = [split.train] if exclude == 'seen' else None
        lists = CandidateLists.sample(part, 30, seen=others)
        assert set(lists.item.tolist()) == set(catalogue(part))
