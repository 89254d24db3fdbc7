"""Positions in what users do not have, against the list of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iedr_geo.data.unseen import UnseenItems

U, I = 4, 6  # noqa: E741


def build(pairs, order, weight, device='cpu'):
    pairs = torch.tensor(sorted(pairs), dtype=torch.long, device=device).reshape(-1, 2)
    order, weight = (torch.tensor(x, device=device) for x in ([*order], weight))
    return UnseenItems(pairs[:, 0], pairs[:, 1], U, order, weight)


def check(pairs, order, weight, device='cpu'):
    unseen = build(pairs, order, weight, device)

    def left(user, count=I):
        """The items that a user does not have, each as often as it weighs."""
        items = [item for item in order[:count] if (user, item) not in pairs]
        return [item for item in items for _ in range(weight[item])]

    sizes = torch.tensor([len(left(user)) for user in range(U)], device=device)
    assert torch.equal(unseen.total, sizes)
    # All positions of all users at once, which also keeps users apart.
    user = torch.arange(U, device=device).repeat_interleave(sizes)
    position = torch.tensor([p for n in sizes.tolist() for p in range(n)]).to(user)
    items = [item for user in range(U) for item in left(user)]
    assert unseen.at(user, position).tolist() == items
    counts = torch.arange(I + 1, device=device).expand(U, -1)
    users = torch.arange(U, device=device)[:, None].expand(-1, I + 1)
    wanted = [[len(left(user, count)) for count in range(I + 1)] for user in range(U)]
    assert unseen.before(users, counts).tolist() == wanted


@settings(max_examples=50)
@given(
    st.sets(st.tuples(st.integers(0, U - 1), st.integers(0, I - 1))),
    st.permutations(range(I)),
    st.lists(st.integers(0, 3), min_size=I, max_size=I),
)
def test_random(pairs, order, weight):
    check(pairs, order, weight)


PAIRS = {(0, item) for item in range(I)} | {(1, 0), (1, 3), (3, 5)}


@pytest.mark.parametrize('weight', [[1] * I, [0, 2, 0, 5, 1, 0], [0] * I])
@pytest.mark.parametrize('pairs', [PAIRS, set()])
def test_users_with_everything_and_nothing(pairs, weight, device):
    check(pairs, [3, 5, 0, 1, 4, 2], weight, device)


def test_any_shape():
    unseen = build(PAIRS, range(I), [1] * I)
    user = torch.tensor([[[1], [2]], [[3], [1]]])
    assert unseen.at(user, user).tolist() == [[[2], [2]], [[3], [2]]]
    assert unseen.before(user, user).tolist() == [[[0], [2]], [[3], [0]]]
    assert unseen.at(user[:0], user[:0]).shape == (0, 2, 1)
    assert unseen.at(torch.tensor(2), torch.tensor(5)).tolist() == 5


def test_long_items():
    """Weights of the size that clicks reach: nothing is as long as their sum."""
    weight = [10**12, 0, 3, 10**13, 1, 10**12]
    unseen = build({(2, 0), (3, 3), (2, 2)}, range(I), weight)
    assert unseen.total.tolist() == [sum(weight)] * 2 + [sum(weight[3:]), 2 * 10**12 + 4]
    user = torch.tensor([0, 0, 0, 2, 2, 2, 2, 3, 3])
    ends = [0, 10**12 - 1, 10**12, 0, 10**13 - 1, 10**13, 10**13 + 1]
    position = torch.tensor([*ends, 10**12 + 3, 2 * 10**12 + 3])
    assert unseen.at(user, position).tolist() == [0, 0, 2, 3, 3, 4, 5, 4, 5]
