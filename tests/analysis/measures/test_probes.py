"""What probes read from factors that hold known things."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom
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
    found = []
    for _ in range(15):
        x = torch.randn(200, 3)
        y = x[:, 0] + torch.randn(200)
        label = (y > 0).long()
        found += [[value_probe(x, y, 2, num_shuffles=1), class_probe(x, label, 2)]]
    for probes in zip(*found, strict=True):
        spread = np.std([probe.value for probe in probes])
        error = np.mean([probe.error for probe in probes])
        assert error == pytest.approx(spread, rel=0.5)


@pytest.mark.parametrize('probe', [class_probe, value_probe])
def test_nothing_is_rarely_beyond_the_limit(probe):
    found = [probe(torch.randn(60, 5), classes(60, 3), 2, seed=s) for s in range(15)]
    assert sum(one.value > one.limit for one in found) <= 3  # One is to be expected.


@pytest.mark.parametrize('probe', [class_probe, value_probe])
def test_scale_and_seed(probe):
    """Columns may be of any size; the seed decides all draws, and nothing else does."""
    label = classes(120, 3)
    x = centres(label, 4.0)
    moved = x.double() * torch.logspace(-3, 3, 8) + 5
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    found = probe(x, label, seed=1)
    assert probe(moved, label, seed=1).value == pytest.approx(found.value, abs=1e-6)
    assert found == probe(x, label, seed=1)
    assert found.shuffled != probe(x, label, seed=2).shuffled
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1] == np.random.get_state()[1].tolist()
    never_changes = probe(torch.ones(120, 4), label)
    assert never_changes.value <= never_changes.limit


def test_limit_is_the_quantile_of_chance():
    """Of the luck of shuffled labels, if they have more than chance."""
    lucky = set()
    for seed in range(8):
        found = class_probe(torch.randn(60, 3), classes(60, 3), 2, seed=seed)
        share = max(found.shuffled, found.chance)
        assert found.limit == binom.ppf(0.95, 60, share) / 60
        lucky.add(found.shuffled > found.chance)
    assert lucky == {True, False}


def test_which_classes_count():
    """The most frequent ones that have a row for each fold."""
    label = torch.arange(1, 7).repeat_interleave(10 * torch.arange(1, 7))
    x = centres(label, 0.1)
    x[label < 4] = torch.randn(60, 8)  # The rare ones are noise.
    probe = class_probe(x, label, max_classes=3)
    assert probe.value == 1
    assert probe.chance == pytest.approx(60 / 150)
    label = torch.cat([classes(100, 2), torch.full((4,), 7)])
    x = centres(label, 0.1)
    assert class_probe(x, label).chance == pytest.approx(0.5)
    assert class_probe(x, label, num_folds=4).chance == pytest.approx(50 / 104)
    # A factor of nothing is right as often as the most frequent class.
    probe = class_probe(torch.randn(500, 3), (torch.arange(500) % 10 == 0).long())
    assert probe.chance == pytest.approx(0.9)
    assert probe.value == pytest.approx(0.9, abs=0.01)
    assert 0.9 < probe.limit < 0.93


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
    with pytest.raises(ValueError, match=r'`num_folds` must be at least 2 \(got 1\)'):
        probe(torch.randn(9, 2), torch.randn(9), num_folds=1)
