"""Matrix factorisation: its first vectors."""

import math

import pytest
import torch

from iedr_geo.nn import MF


@pytest.mark.parametrize(
    ('kwargs', 'bound', 'std'),
    [
        ({}, 1 / 4, 1 / 4 / math.sqrt(3)),
        ({'bound': 0.03}, 0.03, 0.03 / math.sqrt(3)),
        ({'std': 0.1, 'bound': 0.01}, math.inf, 0.1),
    ],
)
def test_initial_vectors(kwargs, bound, std):
    model = MF(400, 300, 16, **kwargs)
    before = [p.clone() for p in model.parameters()]
    for _ in range(2):
        for table in model.parameters():
            # No more, and no less than almost as far.
            assert min(3 * std, 0.99 * bound) < table.abs().max() <= bound
            assert table.std().item() == pytest.approx(std, rel=0.05)
            assert abs(table.mean().item()) < 5 * std / table.numel() ** 0.5
        model.reset_parameters()
    assert all((a != b).any() for a, b in zip(before, model.parameters(), strict=True))


def test_defaults_and_str():
    model = MF(5, 7)
    assert [tuple(p.shape) for p in model.parameters()] == [(5, 128), (7, 128)]
    assert model.factor_columns == {}
    assert str(model) == 'MF(5, 7, channels=128)'
    assert torch.equal(model.embeddings()[1], model.item.weight)
