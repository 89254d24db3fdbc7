"""The bidirectional vCLUB bound against loops, and what it measures once trained."""

import pytest
import torch
from torch import Tensor

from iedr_geo.nn import BiCLUB

ROWS, CHANNELS, NEGATIVES = 6, 4, 3

every_form = pytest.mark.parametrize(
    ('bidirectional', 'halve', 'scale'),
    [(True, True, 0.5), (True, False, 1.0), (False, True, 1.0), (False, False, 1.0)],
)


def error(a: Tensor, b: Tensor) -> Tensor:
    return sum((a[f] - b[f]) ** 2 for f in range(len(a))) / len(a)


def make(device: torch.device, **kwargs) -> tuple[BiCLUB, Tensor, Tensor]:
    loss = BiCLUB(CHANNELS, 7, NEGATIVES, **kwargs).double().to(device)
    factors = torch.randn(2, ROWS, CHANNELS, dtype=torch.double).to(device)
    intrinsic, extrinsic = (f.clone().requires_grad_() for f in factors)
    return loss, intrinsic, extrinsic


@every_form
def test_equals_loops(bidirectional, halve, scale, device, assert_same, perceptron):
    """Of the two steps, each moves what the other leaves alone."""
    loss, intrinsic, extrinsic = make(device, bidirectional=bidirectional, halve=halve)
    negative = torch.randint(ROWS, (ROWS, NEGATIVES), device=device)
    # Lines 21 to 37 of Algorithm 1.
    bound = approximation = 0.0
    directions = [(loss.to_extrinsic, intrinsic, extrinsic)]
    if bidirectional:
        directions.append((loss.to_intrinsic, extrinsic, intrinsic))
    for q, given, wanted in directions:
        for i in range(ROWS):
            a_pos = error(wanted[i], perceptron(q, given[i]))
            a_neg = 0.0
            for r in negative[i].tolist():
                a_neg = a_neg + error(wanted[i], perceptron(q, given[r]))
            bound = bound + scale * (a_neg / NEGATIVES - a_pos) / ROWS
            approximation = approximation + scale * a_pos / ROWS
    factors, parameters = [intrinsic, extrinsic], list(loss.parameters())
    actual = loss(*factors, negative)
    assert_same(actual, bound, factors)
    actual.backward()
    assert all(p.requires_grad and p.grad is None for p in parameters)
    actual = loss.estimator_loss(*factors)
    assert_same(actual, approximation, parameters)
    reached = torch.autograd.grad(actual, factors, allow_unused=True)
    assert reached == (None, None)


def test_draws_negatives_of_all_rows():
    # Drawn uniformly, they come to the mean over all rows as negatives.
    loss, intrinsic, extrinsic = make(torch.device('cpu'))
    every = torch.arange(ROWS).expand(ROWS, ROWS)
    with torch.no_grad():
        wanted = loss(intrinsic, extrinsic, every)
        draws = torch.stack([loss(intrinsic, extrinsic) for _ in range(2_000)])
    assert draws.std() > 0
    assert (draws.mean() - wanted).abs() < 5 * draws.std() / len(draws) ** 0.5
    torch.manual_seed(1)
    first = loss(intrinsic, extrinsic)
    torch.manual_seed(1)
    assert loss(intrinsic, extrinsic) == first


def test_defaults_and_str():
    loss = BiCLUB(32)
    shapes = [(128, 32), (128,), (32, 128), (32,)]
    assert [tuple(p.shape) for p in loss.parameters()] == 2 * shapes
    assert str(loss) == 'BiCLUB(num_negatives=5, bidirectional=True)'


def test_needs_a_negative():
    with pytest.raises(ValueError, match='`num_negatives` must be at least 1'):
        BiCLUB(CHANNELS, num_negatives=0)
