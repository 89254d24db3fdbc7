"""Scores that agree but for rounding."""

import pytest
import torch

from iedr_geo.scoring.agreement import agree


@pytest.fixture
def precision():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ('level', 'dtype', 'apart', 'same'),
    [
        ('highest', torch.float32, 0.0018, True),
        ('highest', torch.float32, 0.0022, False),
        ('highest', torch.float64, 0.0022, False),
        ('high', torch.float32, 0.12, True),
        ('high', torch.float32, 0.13, False),
        ('high', torch.float64, 0.0022, False),
        ('highest', torch.bfloat16, 0.12, True),
    ],
)
def test_as_a_share_of_the_largest(level, dtype, apart, same, precision):
    precision(level)
    wanted = torch.tensor([0.5, -2.0, torch.nan, torch.inf, torch.inf], dtype=dtype)
    scores = wanted.double() + torch.tensor([apart, 0, 0, 0, 0])
    scores[4] = 7
    assert agree(scores, wanted).tolist() == [same, True, True, True, False]
    assert agree(scores, wanted, 0.07).tolist() == [True, True, True, True, False]


def test_nothing_finite():
    assert agree(torch.zeros(2), torch.full((2,), torch.nan)).tolist() == [False, False]
