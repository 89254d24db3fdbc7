"""Candidate lists: sampled for each row, or those of labelled rows."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data import CandidateLists, Categorical, FeatureSchema, InteractionDataset

USERS = [0, 1, 0, 2, 0, 1]
ITEMS = [3, 3, 4, 0, 3, 1]
DAYS = ['mo', 'tu', 'mo', 'mo', 'tu', 'tu']


def log() -> InteractionDataset:
    return InteractionDataset.from_pandas(
        pd.DataFrame({'user': USERS, 'item': ITEMS, 'day': DAYS}),
        users=pd.DataFrame({'user': range(3)}),
        items=pd.DataFrame({'item': range(6)}),
        schema=FeatureSchema(*[[Categorical(name)] for name in ('user', 'item', 'day')]),
    )


def read(lists: CandidateLists) -> list[tuple]:
    """Returns user, context, items to be found and the others of each list."""
    items = [([], []) for _ in range(len(lists))]
    rows = zip(lists.list_index.tolist(), lists.target.tolist(), lists.item.tolist())  # noqa: B905
    for index, target, item in rows:
        items[index][1 - target].append(item)
    return [
        (user, context, *found)
        for user, context, found in zip(
            lists.user.tolist(), lists.context.tolist(), items, strict=True
        )
    ]


@pytest.mark.parametrize('exclude_seen', [False, True])
def test_a_list_for_each_row(exclude_seen: bool, device: torch.device):
    """Seen are the items of the rows themselves and of the other datasets."""
    held_out, earlier = log()[:4].to(device), log()[4:].to(device)
    seen = [earlier] if exclude_seen else None
    lists = CandidateLists.sample(held_out, 20, seen=seen)
    assert len(lists) == 4
    assert lists.item.shape == lists.target.shape == lists.list_index.shape
    for row, (user, context, found, others) in enumerate(read(lists)):
        assert (user, context) == (USERS[row], ['mo', 'tu'].index(DAYS[row]))
        assert found == [ITEMS[row]]
        assert len(others) == 20
        had = {i for u, i in zip(USERS, ITEMS, strict=True) if u == user}
        wrong = had if exclude_seen else {ITEMS[row]}
        assert set(others) <= set(range(6)) - wrong
    assert lists.item.device.type == 'cpu'


def test_negative_rows_make_no_list():
    dataset = log()
    dataset.y = torch.zeros(len(dataset))
    with pytest.raises(ValueError, match='no positive row'):
        CandidateLists.sample(dataset)
    dataset.y[2] = 1
    ((user, _, found, _),) = read(CandidateLists.sample(dataset, 5))
    assert (user, found) == (USERS[2], [ITEMS[2]])


def test_seed_decides():
    one, two, other = (CandidateLists.sample(log(), 5, seed) for seed in (1, 1, 2))
    assert read(one) == read(two) != read(other)


def test_default_is_the_protocol_of_the_paper():
    lists = CandidateLists.sample(log())
    assert [len(others) for *_, others in read(lists)] == [99] * len(USERS)


# Of the catalogue.


@pytest.mark.parametrize('exclude_seen', [False, True])
def test_only_the_catalogue_is_drawn(exclude_seen: bool):
    held_out, earlier = log()[:4], log()[4:]
    held_out.catalogue = torch.tensor([0, 3, 4, 5])
    seen = [earlier] if exclude_seen else None
    lists = CandidateLists.sample(held_out, 40, seen=seen)
    for row, (*_, others) in enumerate(read(lists)):
        had = {i for u, i in zip(USERS, ITEMS, strict=True) if u == USERS[row]}
        assert set(others) == {0, 3, 4, 5} - (had if exclude_seen else {ITEMS[row]})


# Of labelled rows.

ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 5), st.sampled_from(['mo', 'tu'])),
    min_size=1,
    max_size=12,
)


def labelled(rows: list, labels: list) -> InteractionDataset:
    """Candidates in tables of their own, for a schema that was fitted on the log."""
    table = pd.DataFrame(rows, columns=['user', 'item', 'day']).assign(label=labels)
    return InteractionDataset.from_pandas(
        table,
        users=pd.DataFrame({'user': range(3)}),
        items=pd.DataFrame({'item': range(6)}),
        schema=log().schema,
        label='label',
    )


@settings(max_examples=40)
@given(ROWS, st.data())
def test_lists_of_a_user_and_a_context(rows: list, data: st.DataObject):
    size = len(rows)
    labels = data.draw(st.lists(st.integers(0, 1), min_size=size, max_size=size))
    dataset = labelled(rows, labels)
    expected: dict = {}
    for (user, item, day), label in zip(rows, labels, strict=True):
        expected.setdefault((user, day), ([], []))[1 - label].append(item)
    found = read(CandidateLists.from_labels(dataset))
    days = dataset.context_frame['day']
    assert [((user, days[context]), items) for user, context, *items in found] == [
        (key, list(items)) for key, items in expected.items()
    ]


LABELLED = [(0, 1, 'mo'), (0, 2, 'mo'), (1, 2, 'tu'), (0, 1, 'mo'), (0, 5, 'mo')]


@pytest.mark.parametrize(
    'list_id',
    [
        ['q', 'r', 's', 'q', 'r'],
        np.array([7, 3, 5, 7, 3]),
        pd.Series(['q', 'r', 's', 'q', 'r'], dtype='category', index=range(5, 0, -1)),
    ],
)
def test_lists_of_a_column(list_id: object, device: torch.device):
    """Two lists of one user in one context; the last list has no positive."""
    dataset = labelled(LABELLED, [1, 0, 0, 1, 1]).to(device)
    lists = CandidateLists.from_labels(dataset, list_id)
    assert read(lists) == [(0, 0, [1, 1], []), (0, 0, [5], [2]), (1, 1, [], [2])]
    assert lists.item.device.type == lists.list_index.device.type == 'cpu'


def test_lists_of_labels_are_those_that_were_sampled():
    """A table of lists that was written is read as what it was."""
    sampled = CandidateLists.sample(log(), 5)
    place = sampled.list_index
    table = pd.DataFrame(
        {
            'user': sampled.user[place],
            'item': sampled.item,
            'day': log().context_frame['day'].to_numpy()[sampled.context[place]],
        }
    )
    dataset = labelled(table.to_numpy().tolist(), sampled.target.tolist())
    lists = CandidateLists.from_labels(dataset, place.numpy())
    assert read(lists) == read(sampled)
    whole = CandidateLists.from_labels(dataset)
    assert len(whole) == len(set(zip(USERS, DAYS, strict=True)))
    assert Counter(whole.item.tolist()) == Counter(sampled.item.tolist())


@pytest.mark.parametrize(
    ('labels', 'list_id', 'message'),
    [
        (None, None, r"no labels to say what is to be found.*label='clicked'"),
        ([1] * 5, list('abcd'), r'each of the 5 rows \(got 4\)'),
        ([1] * 5, ['a', 'a', None, 'a', 'a'], 'Row 2 has no list id'),
        ([1] * 5, list('abbaa'), "List 'b' is of two users: rows 1 and 2 differ"),
        ([1] * 5, [7, 8, 9, 9, 8], "List '9' is of two users: rows 2 and 3 differ"),
    ],
)
def test_bad_lists(labels: list | None, list_id: list | None, message: str):
    dataset = labelled(LABELLED, labels or [1] * 5)
    if labels is None:
        dataset.y = None
    with pytest.raises(ValueError, match=message):
        CandidateLists.from_labels(dataset, list_id)


def test_more_bad_lists():
    with pytest.raises(ValueError, match='no row to make a list of'):
        CandidateLists.from_labels(labelled(LABELLED, [1] * 5)[:0])
    rows = [(0, 1, 'mo'), (0, 2, 'tu'), (0, 3, 'mo')]
    with pytest.raises(ValueError, match="List 'x' is of two contexts: rows 0 and 1"):
        CandidateLists.from_labels(labelled(rows, [1] * 3), ['x'] * 3)
