"""Measures of dependence against loops."""

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma
from torch import Tensor

from iedr_geo.analysis import (
    bias_corrected_distance_correlation,
    mutual_information,
    permutation_baseline,
)

MEASURES = [bias_corrected_distance_correlation, mutual_information]


def reference_distance_correlation(x: Tensor, y: Tensor) -> float:
    """Section 2 of Székely and Rizzo (2014)."""
    n, centred = len(x), []
    for table in (x.tolist(), y.tolist()):
        a = np.array([[math.dist(one, two) for two in table] for one in table])
        row = a.sum(0)
        a += row.sum() / ((n - 1) * (n - 2)) - (row[:, None] + row) / (n - 2)
        centred.append(a[~np.eye(n, dtype=bool)])
    a, b = centred
    return a @ b / math.sqrt((a @ a) * (b @ b))


def reference_information(x: Tensor, y: Tensor, k: int) -> float:
    """The first estimator of Kraskov et al., row by row: tables as they are."""

    def away(one, two):
        return max(abs(a - b) for a, b in zip(one, two, strict=True))

    x, y = x.tolist(), y.tolist()
    n = len(x)
    total = 0.0
    for i in range(n):
        others = [j for j in range(n) if j != i]
        joint = sorted(max(away(x[i], x[j]), away(y[i], y[j])) for j in others)
        for table in (x, y):
            nearer = sum(away(table[i], table[j]) < joint[k - 1] for j in others)
            total += digamma(nearer + 1)
    return digamma(k) + digamma(n) - total / n


@pytest.mark.parametrize(('n', 'block_size'), [(4, 1), (9, 3), (20, 512), (20, 7)])
def test_distance_correlation_equals_loops(n, block_size, device):
    x, y = torch.randn(n, 3), torch.randn(n, 2)
    y[:, 0] += x[:, 0] ** 2
    y[1] = y[0]  # Rows may be equal.
    arguments = x.to(device), y.to(device), block_size
    actual = bias_corrected_distance_correlation(*arguments)
    assert actual == pytest.approx(reference_distance_correlation(x, y), abs=1e-9)


@pytest.mark.parametrize(('k', 'channels'), [(1, (1, 1)), (3, (2, 1)), (6, (2, 3))])
def test_information_equals_loops(k, channels, device):
    """With as many components as columns, given along the principal axes."""
    x, y = (torch.randn(30, size).double() for size in channels)
    y[:, 0] += x[:, 0]
    tables = []
    for table in (x, y):
        table = table - table.mean(0)
        _, _, axes = torch.linalg.svd(table)
        table = table @ axes.t()
        tables.append(table / table.square().sum(1).mean().sqrt())
    actual = mutual_information(x.to(device), y.to(device), k)
    assert actual == pytest.approx(reference_information(*tables, k), abs=1e-9)


@pytest.mark.parametrize('measure', MEASURES)
def test_depends_on_the_pairs_of_rows_alone(measure):
    x, y = torch.randn(60, 3), torch.randn(60, 4)
    y[:, :3] += 2 * x
    value = measure(x, y)
    order = torch.randperm(60)
    assert measure(x[order], y[order]) == pytest.approx(value, abs=1e-9)
    assert measure(y, x) == pytest.approx(value, abs=1e-9)
    rotation = torch.linalg.qr(torch.randn(3, 3))[0].double()
    moved = 1e4 * x.double() @ rotation - 7
    assert measure(moved, 1e-4 * y) == pytest.approx(value, abs=1e-5)
    assert measure(x, y[order]) < value - 0.1
    # As high as it gets, and where nothing varies.
    highest = digamma(60) - digamma(3) if measure is mutual_information else 1
    assert measure(x, x) == pytest.approx(highest)
    assert measure(torch.ones(20, 3), x[:20]) == measure(x[:20], torch.zeros(20, 3)) == 0


def test_information_misses_what_is_not_among_the_components():
    x = torch.randn(400, 2) * torch.tensor([1.0, 0.2])
    one, two = (mutual_information(x, x[:, 1:], num_components=n) for n in (1, 2))
    assert one < 0.1 and two > 0.5


@pytest.mark.parametrize('measure', MEASURES)
def test_permutation_baseline(measure, device):
    x, noise = torch.randn(2, 100, 2, device=device)
    y = 0.8 * x + 0.6 * noise
    seen = []

    def listening(one, two):
        seen.append((one, two))
        return measure(one, two)

    baseline = permutation_baseline(listening, x, y, 50, seed=3)
    assert len(seen) == 50
    assert all(one is x and not torch.equal(two, y) for one, two in seen)
    rows = sorted(y.tolist())
    assert all(sorted(two.tolist()) == rows for _, two in seen)
    values = [measure(x, two) for _, two in seen]
    assert baseline == pytest.approx((np.mean(values), np.quantile(values, 0.95)))
    assert baseline == permutation_baseline(measure, x, y, 50, seed=3)
    assert baseline != permutation_baseline(measure, x, y, 50, seed=4)


@pytest.mark.parametrize('measure', MEASURES)
@pytest.mark.parametrize(
    ('x', 'y', 'message'),
    [
        (torch.randn(9, 2), torch.randn(8, 2), r'as many rows .* \(9, 2\) and \(8, 2\)'),
        (torch.randn(9), torch.randn(9), 'must be tables'),
        (torch.randn(3, 2), torch.randn(3, 2), r'At least \d rows .*got 3'),
        (torch.randn(9, 2).log(), torch.randn(9, 2), '`x` holds values .* not finite'),
        (torch.randn(9, 2), torch.full((9, 2), math.inf), '`y` holds values'),
    ],
)
def test_bad_tables(measure, x, y, message):
    with pytest.raises(ValueError, match=message):
        measure(x, y)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda x: mutual_information(x, x, 0), r'at least 1 \(got 0 and 5\)'),
        (lambda x: mutual_information(x, x, 3, 0), r'at least 1 \(got 3 and 0\)'),
        (lambda x: mutual_information(x, x, 10), 'At least 12 rows'),
        (lambda x: permutation_baseline(max, x, x, 0), '`num_permutations` must be'),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(9, 2))
