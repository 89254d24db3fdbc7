"""Users with all of their items."""

import pytest
import torch
from batches import read_flat

from iedr_geo.loader import UserLoader


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_any_users_in_any_order(graph, batch_size, device):
    """Users without items are rows too, wherever they stand."""
    users, graph = [2, 4, 0, 2, 3, 2], graph.to(device)
    loader = UserLoader(graph, batch_size, torch.tensor(users))
    expected = [(user, tuple(graph.positives(user).tolist())) for user in users]
    assert read_flat(loader) == expected
    shuffled = UserLoader(graph, batch_size, torch.tensor(users), shuffle=True)
    assert sorted(read_flat(shuffled)) == sorted(expected) != read_flat(shuffled)
    batch = next(iter(loader))
    assert batch.user.device == batch.row.device == batch.item.device == graph.device


def test_unknown_users(graph):
    with pytest.raises(ValueError, match=r'User ids must be .* less than 5 \(got 0 to 5'):
        UserLoader(graph, 2, torch.tensor([0, 5]))
    with pytest.raises(ValueError, match='no users'):
        UserLoader(graph, 2, torch.tensor([], dtype=torch.long))
