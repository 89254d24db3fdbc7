"""The independence of dimensions, against correlations that are computed here."""

import math

import numpy as np
import pytest
import torch

from iedr_geo.analysis import independence


def test_against_correlations():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, generator=generator) @ torch.randn(5, 5, generator=generator)
    correlation = np.corrcoef(x.double().numpy().T)
    sizes = [abs(correlation[i, j]) for i in range(5) for j in range(i)]
    assert independence(x) == pytest.approx(1 - np.mean(sizes))
    # Shifts and scales change nothing.
    assert independence(x * 3 - 100) == pytest.approx(independence(x), abs=1e-4)


def test_ends():
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]])
    assert independence(signs) == 1
    assert independence(
        signs[:, [0, 0, 0]] * torch.tensor([1.0, -2, 5])
    ) == pytest.approx(0)
    # A constant, but for rounding, has no correlations: one pair of three is dependent.
    constant = 7 + 1e-6 * signs[:, :1]
    x = torch.cat([signs[:, [0, 0]], constant], dim=1)
    assert independence(x) == pytest.approx(2 / 3)


def test_cap_by_the_number_of_rows():
    x = torch.randn(50, 60, generator=torch.Generator().manual_seed(0))
    assert independence(x) == pytest.approx(1 - math.sqrt(2 / (math.pi * 50)), abs=0.01)


@pytest.mark.parametrize(
    ('x', 'message'),
    [
        (torch.zeros(1, 3), r'got shape \(1, 3\)'),
        (torch.zeros(3, 1), r'got shape \(3, 1\)'),
        (torch.zeros(3), r'got shape \(3,\)'),
        (torch.full((3, 3), torch.nan), 'not finite'),
    ],
)
def test_bad_input(x, message):
    with pytest.raises(ValueError, match=message):
        independence(x)
