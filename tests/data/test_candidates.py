"""Sampled candidate lists: one for each row, of its item and of others."""

import pandas as pd
import pytest
import torch

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
