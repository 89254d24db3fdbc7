"""What a part of a log may know of: against loops, and against a schema fitted later."""

import pandas as pd
import pytest
import torch
from compare import assert_same_data
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import (
    BipartiteGraph,
    Bucketized,
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    UniformNegativeSampler,
    cold_start_split,
    given_split,
    hide_unseen,
)
from iedr_geo.data.schema import SIDES
from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch, InteractionLoader
from iedr_geo.nn import IEDR

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
FEW = settings(max_examples=25)  # Tables with text take a while to read.


def make_schema(price: object = None) -> FeatureSchema:
    return FeatureSchema(
        user=[Categorical('user'), Categorical('town')],
        item=[
            Categorical('item'),
            MultiCategorical('genres', '|'),
            price or Numerical('price'),
        ],
        context=[Categorical('day'), MultiCategorical('with', '+')],
    )


def make_table(rows: list, label: bool = False) -> pd.DataFrame:
    """A log whose second context column tells in which part a row is."""
    table = pd.DataFrame(
        [(user, 'abcdef'[item], day, number) for (user, item, day), number in rows],
        columns=['user', 'item', 'day', 'part'],
    )
    table['with'] = [['k', 'k+l', 'l+m+n'][number] for number in table['part']]
    table['split'] = [PARTS[number] for number in table['part']]
    return table.assign(liked=[i % 2 for i in range(len(table))]) if label else table


def build(table: pd.DataFrame, schema: FeatureSchema, **kwargs) -> InteractionDataset:
    return InteractionDataset.from_pandas(table, USERS, ITEMS, schema, **kwargs)


def describe(dataset: InteractionDataset) -> list[tuple]:
    """The names and the values of all nodes of each row."""
    names = dataset.schema.names()
    return [
        (
            *(tuple(names[x] for x in data[f'x_{side}']) for side in SIDES),
            tuple(data.value_item.tolist()),
        )
        for data in dataset
    ]


def existing(table: pd.DataFrame, number: int) -> list[int]:
    """The items that the log has by a part, or nowhere, by a loop."""
    found = []
    for place, item in enumerate(ITEMS['item']):
        parts = table['part'][table['item'] == item]
        if len(parts) == 0 or parts.min() <= number:
            found.append(place)
    return found


def catalogue(dataset: InteractionDataset) -> list[int]:
    if dataset.catalogue is None:
        return list(range(dataset.num_items))
    return dataset.catalogue.tolist()


@FEW
@given(LOGS)
def test_catalogue_against_loops(rows: list):
    table = make_table(rows)
    split = hide_unseen(given_split(build(table, make_schema()), table['split']))
    for number, part in enumerate(split[:3]):
        assert catalogue(part) == existing(table, number)
    assert split.test.catalogue is None  # All exist by then.


@pytest.mark.parametrize('label', [None, 'liked'])
@FEW
@given(LOGS)
def test_values_are_those_of_a_schema_fitted_on_the_training_part(label, rows):
    """Negatives show the items of the catalogue to training, unless there are labels."""
    table = make_table(rows, label=True)
    split = given_split(build(table, make_schema(), label=label), table['split'])
    hidden = hide_unseen(split)
    training = table[table['part'] == 0]
    if label is None:
        items = ITEMS.iloc[existing(table, 0)]
    else:
        items = ITEMS[ITEMS['item'].isin(training['item'])]
    users = USERS[USERS['user'].isin(training['user'])]
    fitted = make_schema().fit({'user': users, 'item': items, 'context': training})
    assert hidden.train.schema == split.train.schema  # The embedding table stays.
    for number, part in enumerate(hidden[:3]):
        expected = build(table[table['part'] == number], fitted, label=label)
        assert describe(part) == describe(expected)
    for item in range(len(ITEMS)):  # Those without a row, too.
        names = [
            tuple(dataset.schema.names()[x] for x in dataset.items[item].x)
            for dataset in (hidden.test, expected)
        ]
        assert names[0] == names[1]


@FEW
@given(LOGS)
def test_training_samples_do_not_change(rows: list):
    table = make_table(rows)
    split = given_split(build(table, make_schema()), table['split'])
    train = hide_unseen(split).train
    assert len(train) == len(split.train)
    for before, after in zip(split.train, train, strict=True):
        assert_same_data(before, after)
    for item in catalogue(train):
        assert torch.equal(train.items[item].x, split.train.items[item].x)
    # The split that was given is as it was.
    for part in split[:3]:
        assert part.catalogue is None
        assert part.items is split.train.items


@FEW
@given(LOGS)
def test_once_is_enough(rows: list):
    table = make_table(rows)
    once = hide_unseen(given_split(build(table, make_schema()), table['split']))
    twice = hide_unseen(once)
    for one, two in zip(once[:3], twice[:3], strict=True):
        assert describe(one) == describe(two)
        assert catalogue(one) == catalogue(two)


BY_HAND = [((0, 0, 'mo'), 0), ((1, 1, None), 0), ((2, 0, 'tu'), 1), ((0, 4, 'mo'), 2)]


def test_by_hand(device: torch.device):
    """New are users 2 and 3, item e and its genres t and u, and all companions but k."""
    table = make_table([*BY_HAND, ((3, 3, 'mo'), 1)])
    dataset = build(table, make_schema()).to(device)
    split = hide_unseen(given_split(dataset, table['split']))
    assert [catalogue(part) for part in split[:3]] == [
        [0, 1, 2, 5],
        [0, 1, 2, 3, 5],
        [0, 1, 2, 3, 4, 5],
    ]
    tensors = [split.train.catalogue, split.valid.users.x, split.test.items.node_id]
    assert {tensor.device.type for tensor in tensors} == {device.type}
    new, missing = '<unknown>', '<missing>'
    assert [row[0] for row in describe(split.valid)] == [
        (f'user={new}', f'town={new}'),
        (f'user={new}', f'town={missing}'),
    ]
    assert describe(split.test)[0] == (
        ('user=0', 'town=x'),
        (f'item={new}', f'genres={new}', f'genres={new}', 'genres=p', 'price=<number>'),
        ('day=mo', f'with={new}', f'with={new}', f'with={new}'),
        (1, 1, 1, 1, 1),
    )
    for name in ('users', 'items', 'contexts'):  # Shared by the parts, as before.
        assert getattr(split.test, name) is getattr(split.train, name)


def test_missing_values_and_numbers_stay():
    """Training has neither a missing town nor a price that is there."""
    rows = [((0, 2, 'mo'), 0), ((3, 0, 'mo'), 1), ((0, 1, 'mo'), 2)]
    table = make_table(rows, label=True)
    split = given_split(build(table, make_schema(), label='liked'), table['split'])
    (row,) = describe(hide_unseen(split).valid)
    assert row[0] == ('user=<unknown>', 'town=<missing>')
    assert row[1] == ('item=<unknown>', *['genres=<unknown>'] * 2, 'price=<number>')
    assert row[3] == (1, 1, 1, 0.5)


def test_buckets_without_a_training_row():
    schema = make_schema(Bucketized('price', (1, 2.5)))
    table = make_table([((0, 0, 'mo'), 0), ((0, 3, 'mo'), 1), ((0, 1, 'mo'), 2)], True)
    # Labels, so that what no row has is in no training sample.
    split = given_split(build(table, schema, label='liked'), table['split'])
    names = schema.names()
    items = hide_unseen(split).test.items
    price = [names[items[item].x[-1]] for item in range(len(ITEMS))]
    new = 'price=<unknown>'
    assert price == ['price=<1', new, 'price=<missing>', 'price=<1', new, new]


def test_what_did_not_exist_before_does_not_come_back():
    """The training part of a split is split again."""
    table = make_table([*BY_HAND, ((1, 0, 'mo'), 0), ((1, 2, 'mo'), 0)])
    split = hide_unseen(given_split(build(table, make_schema()), table['split']))
    assert catalogue(split.train) == [0, 1, 2, 3, 5]
    again = hide_unseen(given_split(split.train, ['train', 'valid', 'test', 'train']))
    assert [catalogue(part) for part in again[:3]] == [
        [0, 2, 3, 5],
        [0, 1, 2, 3, 5],
        [0, 1, 2, 3, 5],
    ]


def test_candidates_of_ones_own_as_parts():
    """They have tables of their own, here with other users, and graphs of their own."""
    table = make_table([*BY_HAND, ((3, 3, 'mo'), 1)])
    split = given_split(build(table, make_schema()), table['split'])
    schema = split.train.schema
    users = pd.DataFrame({'user': [4, 0], 'town': ['y', 'x']})
    own = pd.DataFrame(
        {'user': [0, 4], 'item': ['d', 'a'], 'day': ['mo', 'tu'], 'with': ['k', 'l']}
    ).assign(liked=[0, 1])
    candidates = InteractionDataset.from_pandas(own, users, ITEMS, schema, label='liked')
    hidden = hide_unseen(split._replace(valid=candidates))
    rows = describe(hidden.valid)
    assert [row[0] for row in rows] == [
        ('user=0', 'town=x'),
        ('user=<unknown>', 'town=y'),
    ]
    assert rows[0][1][0] == 'item=<unknown>'
    assert [row[2] for row in rows] == [
        ('day=mo', 'with=k'),
        ('day=<unknown>', 'with=<unknown>'),
    ]
    assert catalogue(hidden.valid) == [0, 1, 2, 3, 5]


def test_parts_of_different_logs():
    table = make_table(BY_HAND)
    split = given_split(build(table, make_schema()), table['split'])
    other = InteractionDataset.from_pandas(
        table, USERS, ITEMS.iloc[::-1], split.train.schema
    )
    for name, part in (('validation', 'valid'), ('test', 'test')):
        with pytest.raises(ValueError, match=f'training and the {name} part.*same items'):
            hide_unseen(split._replace(**{part: other}))
    refitted = build(table[:3], make_schema())
    with pytest.raises(ValueError, match=r'validation part .*the same schema'):
        hide_unseen(split._replace(valid=refitted))


def test_saved_part(tmp_path):
    table = make_table(BY_HAND)
    train = hide_unseen(given_split(build(table, make_schema()), table['split'])).train
    train.save(tmp_path / 'train.pt')
    loaded = InteractionDataset.load(tmp_path / 'train.pt')
    assert catalogue(loaded) == catalogue(train) == [0, 1, 2, 3, 5]
    for one, two in zip(loaded, train, strict=True):
        assert_same_data(one, two)
    assert torch.equal(loaded.items.x, train.items.x)


# What comes of it.


@pytest.fixture(scope='module')
def planted() -> PlantedFactors:
    return PlantedFactors(num_users=80, num_items=40, num_interactions=1500)


@pytest.mark.parametrize('exclude', ['positive', 'seen'])
def test_no_item_is_a_negative_before_its_time(planted, exclude: str, device):
    split = cold_start_split(planted, 'item', 0.2, 0.3)
    train = split.train.to(device)
    cold = set(split.valid.item.tolist()) | set(split.test.item.tolist())
    assert not cold & set(train.item.tolist()) and len(cold) == 20
    sampler = UniformNegativeSampler(4, exclude, resample=True)
    loader = InteractionLoader(train, 512, sampler, shuffle=True)
    drawn: set = set()
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            drawn |= set(batch.item_id[batch.y == 0].tolist())
    assert drawn == set(range(40)) - cold


@pytest.mark.parametrize('with_seen', [False, True])
def test_no_candidate_is_from_the_future(planted, with_seen: bool):
    split = cold_start_split(planted, 'item', 0.2, 0.3)
    for part, seen in ((split.valid, [split.train]), (split.test, [split.train])):
        lists = CandidateLists.sample(part, 30, seen=seen if with_seen else None)
        assert set(lists.item.tolist()) == set(catalogue(part))
    future = set(split.test.item.tolist())
    assert len(future) == 12 and not future & set(catalogue(split.valid))


def test_ids_that_were_never_trained_have_no_say(planted):
    """Two new users with the same features score alike, two known ones do not."""
    split = cold_start_split(planted, 'user', 0.3, 0.3)
    model = IEDR(planted.schema.num_embeddings, 8, 16).eval()
    fields = planted.planted.users.drop(columns='user').astype(str).agg('|'.join, axis=1)
    known = set(split.train.user.tolist())
    compared = {True: 0, False: 0}
    items = torch.arange(40)
    for context in range(3):
        for _, users in fields.groupby(fields):
            for group in (
                [user for user in users.index if user in known],
                [user for user in users.index if user not in known],
            ):
                scores = []
                for user in group[:2]:
                    place = (
                        torch.full_like(items, user),
                        items,
                        torch.full_like(items, context),
                    )
                    scores.append(model(InteractionBatch.from_ids(split.test, *place)))
                if len(scores) == 2:
                    new = group[0] not in known
                    compared[new] += 1
                    assert torch.equal(*scores) == new
    assert min(compared.values()) >= 10


def test_graph_of_a_part(planted):
    split = cold_start_split(planted, 'item')
    graph = BipartiteGraph.from_dataset(split.valid, split.train)
    assert graph.existing.tolist() == catalogue(split.valid)
