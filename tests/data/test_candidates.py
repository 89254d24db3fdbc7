"""Candidate lists: sampled for each row, or those of labelled rows."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shop import SALES, make_shop

from iedr_geo.data import (
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
)
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.metrics import NDCG

SHOP = make_shop(SALES[:7])  # Nobody has all items.
ITEMS = set(range(SHOP.num_items))


def labelled(rows: list[tuple[int, int, int]], y: list[int]) -> InteractionDataset:
    """Rows of user, item and context, with labels."""
    dataset = SHOP[[0] * len(rows)]
    columns = torch.tensor(rows, dtype=torch.long).reshape(-1, 3).unbind(1)
    dataset.user, dataset.item, dataset.context = columns
    dataset.y = torch.tensor(y, dtype=torch.float)
    return dataset


def read(lists: CandidateLists) -> list[tuple]:
    """Returns user, context, items to be found and the others of each list."""
    items = [([], []) for _ in range(len(lists))]
    columns = lists.list_index, lists.target, lists.item
    for index, target, item in zip(*(c.tolist() for c in columns), strict=True):
        items[index][1 - target].append(item)
    owners = zip(lists.user.tolist(), lists.context.tolist(), strict=True)
    return [(*owner, *found) for owner, found in zip(owners, items, strict=True)]


@pytest.mark.parametrize('with_seen', [False, True])
@pytest.mark.parametrize('catalogue', [None, [0, 1, 3, 4, 5]])
def test_a_list_for_each_row(with_seen: bool, catalogue, device: torch.device):
    """Seen are the items of the rows themselves and of the other datasets."""
    held_out, earlier = SHOP[:4].to(device), SHOP[4:].to(device)
    if catalogue is not None:
        held_out.catalogue = torch.tensor(catalogue, device=device)
    lists = CandidateLists.sample(held_out, 90, seen=[earlier] if with_seen else None)
    assert lists.item.device.type == 'cpu' and len(lists) == 4
    for row, (user, context, found, others) in enumerate(read(lists)):
        assert (user, context) == (held_out.user[row], held_out.context[row])
        assert found == [held_out.item[row]] and len(others) == 90
        wrong = SHOP.item[SHOP.user == user].tolist() if with_seen else found
        assert set(others) == set(catalogue or ITEMS) - set(wrong)


def test_one_context_is_one_list():
    """However its tags are written: this list was cut in two, of other metrics."""
    log = pd.DataFrame({'user': 1, 'item': range(6), 'clicked': [0, 0, 1, 0, 0, 1]})
    log['with'] = ['a|b', 'b|a', 'b|a', 'a| b', 'a|b|a', 'b|a']
    schema = FeatureSchema(
        [Categorical('user')], [Categorical('item')], [MultiCategorical('with', '|')]
    )
    dataset = InteractionDataset.from_pandas(log, None, None, schema, label='clicked')
    lists = CandidateLists.from_labels(dataset)
    assert read(lists) == [(0, 0, [2, 5], [0, 1, 3, 4])]
    result = evaluate_candidates(lambda b: b.item_id / 1.0, dataset, lists, [NDCG(5)])
    best = 1 + 1 / math.log2(3)
    assert result.metrics['ndcg@5'] == pytest.approx((1 + 1 / math.log2(5)) / best)
    ids = CandidateLists.from_labels(dataset, [1, 1.0, '1', '1.0', '1', 1])
    assert torch.equal(ids.list_index, lists.list_index)
    with pytest.raises(ValueError, match=r'`list_id` holds 15.*as text or Int64'):
        CandidateLists.from_labels(dataset, [1.5e18] * 6)


def test_negative_rows_make_no_list():
    dataset = SHOP[:]
    dataset.y = torch.zeros(len(dataset))
    with pytest.raises(ValueError, match='no positive row'):
        CandidateLists.sample(dataset)
    dataset.y[2] = 1
    ((user, _, found, _),) = read(CandidateLists.sample(dataset, 5))
    assert (user, found) == (SHOP.user[2], [SHOP.item[2]])


def test_seed_decides_and_the_default_is_that_of_the_paper():
    one, two, other = (CandidateLists.sample(SHOP, seed=seed) for seed in (1, 1, 2))
    assert read(one) == read(two) != read(other)
    assert [len(others) for *_, others in read(one)] == [99] * len(SHOP)


# Of labelled rows.

ROWS = st.lists(
    st.tuples(
        st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 1)),
        st.integers(0, 1),
    ),
    min_size=1,
    max_size=12,
)


@given(ROWS)
def test_lists_of_a_user_and_a_context(rows: list):
    expected: dict = {}
    for (user, item, context), label in rows:
        expected.setdefault((user, context), ([], []))[1 - label].append(item)
    found = read(CandidateLists.from_labels(labelled(*zip(*rows, strict=True))))
    assert found == [(*owner, *items) for owner, items in expected.items()]


LABELLED = [(0, 1, 0), (0, 2, 0), (1, 2, 1), (0, 1, 0), (0, 5, 0)]


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


@pytest.mark.parametrize(
    ('rows', 'list_id', 'message'),
    [
        (LABELLED, list('abcd'), r'each of the 5 rows \(got 4\)'),
        (LABELLED, ['a', 'a', None, 'a', 'a'], 'Row 2 has no list id'),
        (LABELLED, list('abbaa'), "List 'b' is of two users: rows 1 and 2 differ"),
        (LABELLED, [7, 8, 9, 9, 8], "List '9' is of two users: rows 2 and 3 differ"),
        ([(0, 1, 0), (0, 2, 1)], ['x', 'x'], "'x' is of two contexts: rows 0 and 1"),
        ([], None, 'no row to make a list of'),
    ],
)
def test_bad_lists(rows: list, list_id: list | None, message: str):
    with pytest.raises(ValueError, match=message):
        CandidateLists.from_labels(labelled(rows, [1] * len(rows)), list_id)
    with pytest.raises(ValueError, match=r"no labels to say .*found.*label='clicked'"):
        CandidateLists.from_labels(SHOP, list_id)
