"""Cross-validated probes: how much a linear model reads from factors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from torch import Tensor

Floats = NDArray[np.float64]


class Probe(NamedTuple):
    """The success of a probe on rows that it was not fitted to.

    Args:
        value: The accuracy or the coefficient of determination :math:`R^2`.
        chance: The same of the best constant prediction: the share of the most frequent
            class, or 0.
        limit: The value that 95 % are below where there is nothing to be read.
        error: The standard error of the value.
        shuffled: The value of a probe whose labels were shuffled.
    """

    value: float
    chance: float
    limit: float
    error: float
    shuffled: float


def _table(
    x: Tensor, label: Tensor, num_folds: int
) -> tuple[Floats, NDArray[np.generic]]:
    if x.dim() != 2 or label.shape != x.shape[:1]:
        raise ValueError(
            f'A probe needs a table and a label for each of its rows (got shapes '
            f'{tuple(x.shape)} and {tuple(label.shape)})'
        )
    for name, values in (('factors', x), ('labels', label)):
        if not values.isfinite().all():
            raise ValueError(f'The {name} hold values that are not finite')
    if num_folds < 2:
        raise ValueError(f'`num_folds` must be at least 2 (got {num_folds})')
    return x.detach().cpu().double().numpy(), label.detach().cpu().numpy()


def _predicted(model: Any, x: Floats, y: NDArray[Any], folds: Any) -> NDArray[Any]:
    """Returns what is predicted of each row by a model that was fitted to other folds."""
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return np.asarray(
        cross_val_predict(make_pipeline(StandardScaler(), model), x, y, cv=folds)
    )


def class_probe(
    x: Tensor,
    label: Tensor,
    num_folds: int = 5,
    max_classes: int = 50,
    seed: int = 0,
) -> Probe:
    r"""Returns how well the class of a row is predicted from its factor by multinomial
    logistic regression: the accuracy over stratified folds.

    Columns are standardised. Only the most frequent classes count, and only those with a
    row for each fold. :obj:`limit` is the 95 % quantile of the accuracy that
    :math:`n` independent predictions have, each of which is right by chance or, if that
    is more, as often as with shuffled labels.

    Args:
        x: Factors, of shape :math:`(N, F)`.
        label: The class of each row, integers of shape :math:`(N)`.
        num_folds: The number of folds.
        max_classes: The number of classes, at most.
        seed: The seed of folds and of shuffled labels.

    Raises:
        ValueError: If shapes do not fit, or fewer than two classes have a row for each
            fold.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    table, y = _table(x, label, num_folds)
    classes, count = np.unique(y, return_counts=True)
    kept = np.argsort(-count, kind='stable')[:max_classes]
    kept = kept[count[kept] >= num_folds]
    if len(kept) < 2:
        raise ValueError(
            f'Two classes at least must have {num_folds} rows, one for each fold (got '
            f'{len(kept)} of {len(classes)})'
        )
    rows = np.isin(y, classes[kept])
    table, y = table[rows], y[rows]
    model = LogisticRegression(C=0.1, tol=1e-3)
    folds = StratifiedKFold(num_folds, shuffle=True, random_state=seed)

    def accuracy(target: NDArray[np.generic]) -> float:
        return float((_predicted(model, table, target, folds) == target).mean())

    value = accuracy(y)
    shuffled = accuracy(np.random.default_rng(seed).permutation(y))
    chance = float(count[kept].max() / len(y))
    limit = float(binom.ppf(0.95, len(y), max(chance, shuffled)) / len(y))
    # Of one right answer and one wrong one more: not zero where all are right.
    share = (value * len(y) + 1) / (len(y) + 2)
    error = math.sqrt(share * (1 - share) / len(y))
    return Probe(value, chance, limit, error, shuffled)


def value_probe(
    x: Tensor,
    target: Tensor,
    num_folds: int = 5,
    num_shuffles: int = 20,
    seed: int = 0,
) -> Probe:
    """Returns how well a number is predicted from a factor by ridge regression: the
    share of its variance over folds, which is negative where the mean predicts better.

    Columns are standardised. :obj:`limit` is the 95 % quantile over shuffled targets.

    Args:
        x: Factors, of shape :math:`(N, F)`.
        target: The number of each row, of shape :math:`(N)`.
        num_folds: The number of folds.
        num_shuffles: The number of times that targets are shuffled.
        seed: The seed of folds and of shuffled targets.

    Raises:
        ValueError: If shapes do not fit, there are fewer rows than folds, or all targets
            are equal.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold

    table, numbers = _table(x, target, num_folds)
    y: Floats = numbers.astype(np.float64)
    if len(y) < num_folds or np.ptp(y) == 0:
        raise ValueError(
            f'A probe over {num_folds} folds needs as many rows, of different targets '
            f'(got {len(y)} rows of {len(np.unique(y))} targets)'
        )
    folds = KFold(num_folds, shuffle=True, random_state=seed)
    generator = np.random.default_rng(seed)

    # At once: the targets as they are, then shuffled.
    targets = np.stack([y, *(generator.permutation(y) for _ in range(num_shuffles))], 1)
    errors = (_predicted(Ridge(alpha=1.0), table, targets, folds) - targets) ** 2
    variance, error = y.var(), errors[:, 0]
    shuffles = 1 - errors[:, 1:].mean(0) / variance
    # Of the ratio of two means over the same rows.
    share = error.mean() / variance
    spread = (error - share * (y - y.mean()) ** 2).std() / variance
    return Probe(
        value=float(1 - share),
        chance=0.0,
        shuffled=float(shuffles.mean()),
        limit=float(max(0.0, np.quantile(shuffles, 0.95))),
        error=float(spread / math.sqrt(len(y))),
    )
