"""Matrix factorisation: its tables."""

from __future__ import annotations

import math

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS

from iedr_geo.nn import MF


def test_vectors_are_rows_of_the_tables(device):
    model = MF(NUM_USERS, NUM_ITEMS, 4).to(device)
    user = torch.tensor([[5, 0], [0, 3]], device=device)
    item = torch.tensor([7, 2, 7], device=device)
    users, items = model(user, item)
    assert torch.equal(users, model.user.weight[user])
    assert torch.equal(items, model.item.weight[item])
    users, items = model.embeddings()
    assert torch.equal(users, model.user.weight)
    assert torch.equal(items, model.item.weight)
    assert model.factors == {}


@pytest.mark.parametrize(
    ('kwargs', 'bound', 'std'),
    [
        ({}, 1 / 4, 1 / 4 / math.sqrt(3)),
        ({'bound': 0.03}, 0.03, 0.03 / math.sqrt(3)),
        ({'std': 0.1}, math.inf, 0.1),
        ({'std': 0.1, 'bound': 0.01}, math.inf, 0.1),
    ],
)
def test_initial_vectors(kwargs, bound, std):
    model = MF(400, 300, 16, **kwargs)
    before = [p.clone() for p in model.parameters()]
    for _ in range(2):
        for table in model.parameters():
            assert table.abs().max() <= bound
            if bound < math.inf:  # And no less than almost as far.
                assert table.abs().max() > 0.99 * bound
            else:
                assert table.abs().max() > 3 * std
            assert table.std().item() == pytest.approx(std, rel=0.05)
            assert abs(table.mean().item()) < 5 * std / table.numel() ** 0.5
        model.reset_parameters()
    assert all((a != b).any() for a, b in zip(before, model.parameters(), strict=True))


def test_defaults_and_str():
    model = MF(5, 7)
    assert [tuple(p.shape) for p in model.parameters()] == [(5, 128), (7, 128)]
    assert model.channels == 128
    assert str(model) == 'MF(5, 7, channels=128)'
