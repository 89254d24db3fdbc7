"""Users with all of their items."""

import pytest
import torch
from batches import read_flat

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import UserLoader


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_any_users_in_any_order(graph: BipartiteGraph, batch_size: int, device):
    """Users without items are rows too, wherever they stand."""
    users = [2, 4, 0, 2, 3, 2]
    graph = graph.to(device)
    loader = UserLoader(graph, batch_size, torch.tensor(users))
    expected = [(user, tuple(graph.positives(user).tolist())) for user in users]
    assert read_flat(loader) == expected
    shuffled = UserLoader(graph, batch_size, torch.tensor(users), shuffle=True)
    assert sorted(read_flat(shuffled)) == sorted(expected) != read_flat(shuffled)
    batch = next(iter(loader))
    assert batch.user.device == batch.row.device == batch.item.device == graph.device


def test_no_items_at_all(graph: BipartiteGraph):
    (batch,) = UserLoader(graph, 9, torch.tensor([2, 2]))
    assert batch.user.tolist() == [2, 2]
    assert batch.row.numel() == batch.item.numel() == 0


def test_items_of_a_transposed_log(graph: BipartiteGraph):
    turned = BipartiteGraph(graph.item, graph.user, graph.num_items, graph.num_users)
    has = dict(read_flat(UserLoader(turned, 3)))
    assert has[8] == (0, 3) and has[9] == (3, 4) and 6 not in has


def test_unknown_users(graph: BipartiteGraph):
    with pytest.raises(ValueError, match=r'User ids must be .* less than 5 \(got 0 to 5'):
        UserLoader(graph, 2, torch.tensor([0, 5]))
    with pytest.raises(ValueError, match='no users'):
        UserLoader(graph, 2, torch.tensor([], dtype=torch.long))
