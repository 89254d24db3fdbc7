"""What probes read from factors that hold known things."""

from typing import Any

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


def predicted(x: np.ndarray, y: np.ndarray, folds: Any, is_class: bool) -> np.ndarray:
    """By logistic regression, or by ridge regression in closed form, fold by fold."""
    out = np.zeros_like(y)
    for train, test in folds.split(x, y):
        mean, scale = x[train].mean(0), x[train].std(0)
        z, new = (x[train] - mean) / scale, (x[test] - mean) / scale
        if is_class:
            model = LogisticRegression(C=0.1, tol=1e-3).fit(z, y[train])
            out[test] = model.predict(new)
        else:
            centred = z.T @ (y[train] - y[train].mean())
            weight = np.linalg.solve(z.T @ z + np.eye(z.shape[1]), centred)
            out[test] = new @ weight + y[train].mean()
    return out


@pytest.mark.parametrize('noise', [3.0, 1e3])
@pytest.mark.parametrize('num_folds', [2, 5])
def test_class_probe_equals_loops(num_folds, noise, device):
    """The limit is of the luck of shuffled labels, if they have more than chance."""
    label = torch.cat([classes(150, 4), torch.zeros(9).long()])
    x = centres(label, noise)
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=3)
    y = label.numpy()
    values = [
        (predicted(x.double().numpy(), target, folds, True) == target).mean()
        for target in (y, np.random.default_rng(3).permutation(y))
    ]
    chance = (y == 0).mean()
    limit = binom.ppf(0.95, 159, max(values[1], chance)) / 159
    share = (values[0] * 159 + 1) / 161
    error = (share * (1 - share) / 159) ** 0.5
    found = class_probe(x.to(device), label.to(device), num_folds, seed=3)
    expected = values[0], chance, limit, error, values[1]
    assert found == pytest.approx(expected)
    assert (found.value > found.limit) == (noise == 3)
    assert class_probe(centres(label, 0.1), label).error > 0  # All are right.


@pytest.mark.parametrize('noise', [2.0, 1e3])
@pytest.mark.parametrize('num_folds', [2, 5])
def test_value_probe_equals_loops(num_folds, noise, device):
    x = torch.randn(150, 8)
    target = x @ torch.randn(8) + noise * torch.randn(150)
    folds = KFold(num_folds, shuffle=True, random_state=3)
    y, draws = target.double().numpy(), np.random.default_rng(3)
    errors = [
        (predicted(x.double().numpy(), some, folds, False) - some) ** 2
        for some in (y, *(draws.permutation(y) for _ in range(20)))
    ]
    value, *shuffled = (1 - error.mean() / y.var() for error in errors)
    # The error of a ratio: the delta method.
    rest = errors[0] - (1 - value) * (y - y.mean()) ** 2
    limit = max(0, np.quantile(shuffled, 0.95))
    expected = value, 0, limit, rest.std() / y.var() / 150**0.5, np.mean(shuffled)
    found = value_probe(x.to(device), target.to(device), num_folds, seed=3)
    assert found == pytest.approx(expected, abs=1e-7)
    assert (found.value > found.limit) == (noise == 2)


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
