"""What probes read from factors that hold known things."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold, StratifiedKFold
from torch import Tensor

from iedr_geo.analysis import class_probe, value_probe


def classes(rows: int, count: int) -> Tensor:
    return torch.randperm(rows) % count


def centres(label: Tensor, noise: float, channels: int = 8) -> Tensor:
    """Factors about a point of each class."""
    points = 2 * torch.randn(int(label.max()) + 1, channels)
    return points[label] + noise * torch.randn(len(label), channels)


def reference_accuracy(x: Tensor, label: Tensor, num_folds: int, seed: int) -> float:
    x, y = x.double().numpy(), label.numpy()
    right = 0
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)
    for train, test in folds.split(x, y):
        mean, scale = x[train].mean(0), x[train].std(0)
        model = LogisticRegression(C=0.1, tol=1e-3)
        model.fit((x[train] - mean) / scale, y[train])
        right += (model.predict((x[test] - mean) / scale) == y[test]).sum()
    return right / len(y)


def reference_share(x: Tensor, target: Tensor, num_folds: int, seed: int) -> float:
    """Ridge regression in closed form."""
    x, y = x.double().numpy(), target.double().numpy()
    error = 0.0
    folds = KFold(num_folds, shuffle=True, random_state=seed)
    for train, test in folds.split(x):
        mean, scale = x[train].mean(0), x[train].std(0)
        z = (x[train] - mean) / scale
        weight = np.linalg.solve(
            z.T @ z + np.eye(z.shape[1]), z.T @ (y[train] - y[train].mean())
        )
        fitted = (x[test] - mean) / scale @ weight + y[train].mean()
        error += ((fitted - y[test]) ** 2).sum()
    return 1 - error / ((y - y.mean()) ** 2).sum()


@pytest.mark.parametrize('num_folds', [2, 5])
def test_equals_loops_over_folds(num_folds):
    label = classes(150, 4)
    x = centres(label, 3.0)
    probe = class_probe(x, label, num_folds, seed=3)
    assert probe.value == pytest.approx(reference_accuracy(x, label, num_folds, 3))
    assert 0.3 < probe.value < 0.95
    target = x @ torch.randn(8) + 2 * torch.randn(150)
    probe = value_probe(x, target, num_folds, seed=3)
    assert probe.value == pytest.approx(reference_share(x, target, num_folds, 3))
    assert 0.3 < probe.value < 0.99


def test_class_is_told_where_the_factor_tells(device):
    label = classes(300, 6)
    told = class_probe(centres(label, 0.1).to(device), label.to(device))
    noise = class_probe(torch.randn(300, 8).to(device), label.to(device))
    assert told.value == 1
    assert 0 < told.error < 0.01
    for probe in (told, noise):
        assert probe.chance == pytest.approx(1 / 6)
        assert probe.chance < probe.limit < 0.3
        assert abs(probe.shuffled - 1 / 6) < 0.1
    assert noise.value < 0.3


def test_number_is_told_where_the_factor_tells(device):
    """Half of the variance is noise."""
    x = torch.randn(2000, 4)
    target = x[:, 0] + torch.randn(2000)
    told = value_probe(x.to(device), target.to(device))
    assert told.value == pytest.approx(0.5, abs=0.05)
    assert told.error < 0.03
    noise = value_probe(x[:, 1:], target)
    assert told.chance == noise.chance == 0
    assert noise.value < 0.01
    assert noise.shuffled < 0  # Noise that was fitted predicts worse than the mean.
    assert 0 <= noise.limit < 0.01


def test_error_is_that_of_other_draws():
    found: dict[str, list] = {'class': [], 'value': []}
    for _ in range(20):
        x = torch.randn(200, 3)
        y = x[:, 0] + torch.randn(200)
        found['value'].append(value_probe(x, y, num_shuffles=1))
        found['class'].append(class_probe(x, (y > 0).long()))
    for probes in found.values():
        spread = np.std([probe.value for probe in probes])
        assert np.mean([probe.error for probe in probes]) == pytest.approx(
            spread, rel=0.4
        )


def test_chance_of_unequal_classes():
    """A factor of nothing is right as often as the most frequent class."""
    label = (torch.arange(500) % 10 == 0).long()
    probe = class_probe(torch.randn(500, 3), label)
    assert probe.chance == pytest.approx(0.9)
    assert probe.value == pytest.approx(0.9, abs=0.01)
    assert 0.9 < probe.limit < 0.93


@pytest.mark.parametrize('probe', [class_probe, value_probe])
def test_nothing_is_rarely_beyond_the_limit(probe):
    beyond = 0
    for seed in range(25):
        found = probe(torch.randn(60, 5), classes(60, 3), seed=seed)
        beyond += found.value > found.limit
    assert beyond <= 4  # Of 25, one or two are to be expected.


@pytest.mark.parametrize('probe', [class_probe, value_probe])
def test_scale_of_columns_does_not_matter(probe):
    label = classes(120, 3)
    x = centres(label, 2.0)
    moved = x.double() * torch.logspace(-3, 3, 8) + 5
    assert probe(moved, label).value == pytest.approx(probe(x, label).value, abs=1e-6)


@pytest.mark.parametrize('probe', [class_probe, value_probe])
def test_columns_that_never_change(probe):
    label = classes(120, 3)
    found = probe(torch.ones(120, 4), label)
    assert found.value <= found.limit


def test_limit_is_the_quantile_of_chance():
    """Of the luck of shuffled labels, if they have more than chance."""
    lucky = set()
    for seed in range(8):
        found = class_probe(torch.randn(60, 3), classes(60, 3), seed=seed)
        share = max(found.shuffled, found.chance)
        below = sum(
            math.comb(60, k) * share**k * (1 - share) ** (60 - k)
            for k in range(round(60 * found.limit))
        )
        right = round(60 * found.limit)
        at = math.comb(60, right) * share**right * (1 - share) ** (60 - right)
        assert below < 0.95 <= below + at
        lucky.add(found.shuffled > found.chance)
    assert lucky == {True, False}


def test_most_frequent_classes_count():
    """Of class i there are 10 i rows; the rare ones are noise."""
    label = torch.arange(1, 7).repeat_interleave(10 * torch.arange(1, 7))
    x = centres(label, 0.1)
    x[label < 4] = torch.randn(60, 8)
    probe = class_probe(x, label, max_classes=3)
    assert probe.value == 1
    assert probe.chance == pytest.approx(60 / 150)


def test_classes_with_fewer_rows_than_folds_do_not_count():
    label = torch.cat([classes(100, 2), torch.full((4,), 7)])
    x = centres(label, 0.1)
    assert class_probe(x, label).chance == pytest.approx(0.5)
    assert class_probe(x, label, num_folds=4).chance == pytest.approx(50 / 104)


@pytest.mark.parametrize('probe', [class_probe, value_probe])
def test_same_seed_gives_the_same(probe):
    label = classes(100, 3)
    x = centres(label, 4.0)
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    found = probe(x, label, seed=1)
    assert found == probe(x, label, seed=1)
    assert found.shuffled != probe(x, label, seed=2).shuffled
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1] == np.random.get_state()[1].tolist()


@pytest.mark.parametrize(
    ('probe', 'x', 'label', 'message'),
    [
        (class_probe, torch.randn(9, 2), torch.arange(8), r'shapes \(9, 2\) and \(8,\)'),
        (value_probe, torch.randn(9), torch.arange(9), 'needs a table and a label'),
        (class_probe, torch.randn(9, 2).log(), torch.arange(9), 'not finite'),
        (class_probe, torch.randn(9, 2), torch.arange(9), r'5 rows.*\(got 0 of 9\)'),
        (class_probe, torch.randn(9, 2), torch.ones(9).long(), r'\(got 1 of 1\)'),
        (value_probe, torch.randn(9, 2), torch.ones(9), '9 rows of 1 targets'),
        (value_probe, torch.randn(4, 2), torch.arange(4), '4 rows of 4 targets'),
    ],
)
def test_bad_input(probe, x, label, message):
    with pytest.raises(ValueError, match=message):
        probe(x, label)


@pytest.mark.parametrize('probe', [class_probe, value_probe])
def test_bad_number_of_folds(probe):
    with pytest.raises(ValueError, match=r'`num_folds` must be at least 2 \(got 1\)'):
        probe(torch.randn(9, 2), torch.arange(9), num_folds=1)
