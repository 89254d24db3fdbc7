"""Measures of dependence against loops, known values and scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_regression
from torch import Tensor

from iedr_geo.analysis import (
    bias_corrected_distance_correlation,
    mutual_information,
    permutation_baseline,
)
from iedr_geo.analysis.measures import dependence
from iedr_geo.nn import DistanceCorrelation

MEASURES = [bias_corrected_distance_correlation, mutual_information]


def u_centred(x: list[list[float]]) -> list[list[float]]:
    """Section 2 of Székely and Rizzo (2014), entry by entry."""
    n = len(x)
    a = [[math.dist(one, two) for two in x] for one in x]
    row = [sum(values) for values in a]
    total = sum(row)
    return [
        [
            0.0
            if i == j
            else a[i][j] - (row[i] + row[j]) / (n - 2) + total / ((n - 1) * (n - 2))
            for j in range(n)
        ]
        for i in range(n)
    ]


def reference_distance_correlation(x: Tensor, y: Tensor) -> float:
    a, b = u_centred(x.tolist()), u_centred(y.tolist())
    n = len(a)

    def product(one, two):
        return sum(
            one[i][j] * two[i][j] for i in range(n) for j in range(n) if i != j
        ) / (n * (n - 3))

    return product(a, b) / math.sqrt(product(a, a) * product(b, b))


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


def gaussians(correlation: float, rows: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    x, noise = torch.randn(2, rows, channels).double()
    return x, correlation * x + math.sqrt(1 - correlation**2) * noise


@pytest.mark.parametrize('n', [4, 5, 9, 20])
@pytest.mark.parametrize('block', [1, 3, 512])
def test_distance_correlation_equals_loops(n, block, monkeypatch, device):
    monkeypatch.setattr(dependence, 'BLOCK', block)
    x, y = torch.randn(n, 3), torch.randn(n, 2)
    y[:, 0] += x[:, 0] ** 2
    y[1] = y[0]  # Rows may be equal.
    actual = bias_corrected_distance_correlation(x.to(device), y.to(device))
    assert actual == pytest.approx(reference_distance_correlation(x, y), abs=1e-9)


@pytest.mark.parametrize('k', [1, 3, 6])
@pytest.mark.parametrize('channels', [(1, 1), (2, 1), (2, 3)])
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


@pytest.mark.parametrize('correlation', [0.3, 0.9])
def test_information_equals_scikit_learn(correlation):
    x, y = gaussians(correlation, 200)
    expected = mutual_info_regression(
        x.numpy(), y[:, 0].numpy(), n_neighbors=4, random_state=0
    )
    assert expected[0] > 0  # It is cut off at zero.
    assert mutual_information(x, y, 4) == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.parametrize('correlation', [0.0, 0.5, 0.9])
@pytest.mark.parametrize('channels', [1, 2])
def test_information_of_gaussians_is_known(correlation, channels):
    expected = -channels / 2 * math.log(1 - correlation**2)
    actual = mutual_information(*gaussians(correlation, 2000, channels))
    assert actual == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize('n', [6, 30])
def test_no_bias_in_small_tables(n):
    """Of independent tables the loss of DICE is high, and all the more if they are
    small. The corrected one is zero on average: within three standard errors."""
    pairs = [(torch.randn(n, 8), torch.randn(n, 8)) for _ in range(100)]
    values = torch.tensor([bias_corrected_distance_correlation(*p) for p in pairs])
    assert abs(values.mean()) < 3 * values.std() / 10
    assert (values < 0).any()
    assert min(float(DistanceCorrelation()(*pair)) for pair in pairs) > 0.3


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


def test_value_of_tables_that_determine_each_other():
    x = torch.randn(50, 3)
    assert bias_corrected_distance_correlation(x, 3 - 2 * x) == pytest.approx(1)
    expected = digamma(50) - digamma(3)  # As high as it gets.
    assert mutual_information(x, x) == pytest.approx(expected)


@pytest.mark.parametrize('measure', MEASURES)
def test_sees_more_than_straight_lines(measure):
    x = torch.randn(300, 1)
    y = x**2 + 0.1 * torch.randn(300, 1)
    assert abs(torch.corrcoef(torch.cat([x, y], 1).t())[0, 1]) < 0.3
    assert measure(x, y) > 2 * permutation_baseline(measure, x, y, 20).limit > 0


@pytest.mark.parametrize('measure', MEASURES)
def test_table_that_never_changes(measure):
    assert measure(torch.ones(20, 3), torch.randn(20, 2)) == 0
    assert measure(torch.randn(20, 2), torch.zeros(20, 3)) == 0


def test_information_misses_what_is_not_among_the_components():
    x = torch.randn(400, 2) * torch.tensor([1.0, 0.2])
    y = x[:, 1:] / 0.2 + 0.1 * torch.randn(400, 1)
    assert mutual_information(x, y, num_components=1) < 0.1
    assert mutual_information(x, y, num_components=2) > 0.5


@pytest.mark.parametrize('measure', MEASURES)
def test_permutation_baseline(measure, device):
    x, y = gaussians(0.8, 100, 2)
    x, y = x.to(device), y.to(device)
    seen = []

    def listening(one, two):
        seen.append((one, two))
        return measure(one, two)

    baseline = permutation_baseline(listening, x, y, 50, seed=3)
    assert len(seen) == 50
    assert all(one is x and not torch.equal(two, y) for one, two in seen)
    assert all(torch.equal(two.sort(0)[0], y.sort(0)[0]) for _, two in seen)
    values = torch.tensor([measure(x, two) for _, two in seen]).double()
    assert baseline.mean == pytest.approx(float(values.mean()))
    assert baseline.limit == pytest.approx(float(values.quantile(0.95)))
    assert abs(baseline.mean) < 0.05
    assert baseline.mean < baseline.limit < measure(x, y) / 2
    assert baseline == permutation_baseline(measure, x, y, 50, seed=3)
    assert baseline != permutation_baseline(measure, x, y, 50, seed=4)


@pytest.mark.parametrize('measure', MEASURES)
def test_independent_tables_are_rarely_beyond_the_limit(measure):
    beyond = 0
    for _ in range(40):
        x, y = torch.randn(40, 4), torch.randn(40, 4)
        beyond += measure(x, y) > permutation_baseline(measure, x, y, 40).limit
    assert beyond <= 6  # Of 40, two are to be expected.


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


def test_bad_arguments():
    x = torch.randn(9, 2)
    with pytest.raises(ValueError, match=r'at least 1 \(got 0 and 5\)'):
        mutual_information(x, x, 0)
    with pytest.raises(ValueError, match=r'at least 1 \(got 3 and 0\)'):
        mutual_information(x, x, num_components=0)
    with pytest.raises(ValueError, match='At least 12 rows'):
        mutual_information(x, x, 10)
    with pytest.raises(ValueError, match='`num_permutations` must be at least 1'):
        permutation_baseline(mutual_information, x, x, 0)
