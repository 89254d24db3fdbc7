"""Measures of the dependence of two tables of vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.special import digamma
from torch import Tensor

from iedr_geo.nn.blocks import blocks


class Baseline(NamedTuple):
    """A measure of tables that have nothing to do with each other.

    Args:
        mean: Its mean.
        limit: The value that 95 % of its values stay below.
    """

    mean: float
    limit: float


def _tables(x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor]:
    """Returns checked tables in float64, around the origin and of norms up to one."""
    if x.dim() != 2 or y.dim() != 2 or len(x) != len(y):
        raise ValueError(
            f'`x` and `y` must be tables of as many rows (got shapes {tuple(x.shape)} '
            f'and {tuple(y.shape)})'
        )
    if len(x) < least:
        raise ValueError(f'At least {least} rows are needed (got {len(x)})')
    tables = []
    for name, table in (('x', x), ('y', y)):
        table = table.detach().double()
        if not table.isfinite().all():
            raise ValueError(f'`{name}` holds values that are not finite')
        table = table - table.mean(0)
        scale = torch.linalg.vector_norm(table, dim=1).amax()
        tables.append(table / scale.clamp_min(torch.finfo(table.dtype).tiny))
    return tables[0], tables[1]


def _distances(x: Tensor, rows: slice) -> Tensor:
    return torch.cdist(x[rows], x, compute_mode='donot_use_mm_for_euclid_dist')


def bias_corrected_distance_correlation(
    x: Tensor, y: Tensor, block_size: int = 512
) -> float:
    r"""Returns the bias-corrected distance correlation of two tables, as `Székely and
    Rizzo <https://doi.org/10.1016/j.jmva.2013.02.012>`_ define it.

    .. math::
        \frac{\sum_{i \neq j} A_{ij} B_{ij}}{\sqrt{\sum_{i \neq j} A_{ij}^2
        \sum_{i \neq j} B_{ij}^2}}
        \quad \text{where} \quad
        A_{ij} = a_{ij} - \frac{a_{i \cdot} + a_{\cdot j}}{n - 2} +
        \frac{a_{\cdot \cdot}}{(n - 1)(n - 2)},

    :math:`a_{ij}` is the distance of two rows of :math:`\mathbf{X}`, a dot is a sum, and
    :math:`\mathbf{B}` is the same of :math:`\mathbf{Y}`.

    Around 0 for independent tables of any size, below it about half of the time, and 1
    for tables that differ by a rotation, a shift and a scale. It estimates the *square*
    of what :class:`~iedr_geo.nn.DistanceCorrelation` estimates, without its bias. A table
    whose rows are all equal has 0 with any other.

    Exact, in float64, some rows at a time: memory grows with the rows, time with their
    square.

    Args:
        x: One table, of shape :math:`(N, F)`.
        y: The other, of shape :math:`(N, F')`.
        block_size: The number of rows whose distances are in memory at a time.

    Raises:
        ValueError: If the tables are not of as many rows, or there are fewer than 4.
    """
    x, y = _tables(x, y, least=4)
    n = len(x)
    each_rows = blocks(n, block_size)
    means = []
    for table in (x, y):
        # Of which each row and each column takes half of the total away again.
        mean = torch.cat([_distances(table, rows).sum(1) for rows in each_rows]) / (n - 2)
        means.append(mean - mean.sum() / (2 * (n - 1)))
    covariance, variance_x, variance_y = 0.0, 0.0, 0.0
    for rows in each_rows:
        a, b = (
            _distances(table, rows) - mean[rows].unsqueeze(1) - mean
            for table, mean in zip((x, y), means, strict=True)
        )
        for centred in (a, b):
            centred.diagonal(rows.start).zero_()
        covariance += float((a * b).sum())
        variance_x += float(a.square().sum())
        variance_y += float(b.square().sum())
    if min(variance_x, variance_y) <= 0:
        return 0.0
    return covariance / (variance_x * variance_y) ** 0.5


def _leading(x: Tensor, num_components: int) -> np.ndarray:
    """Returns the leading principal components, of unit variance all together."""
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    out = (u * s)[:, :num_components].cpu().numpy()
    return out / max(np.sqrt(np.square(out).sum(1).mean()), np.finfo(float).tiny)


def mutual_information(
    x: Tensor, y: Tensor, k: int = 3, num_components: int = 5
) -> float:
    r"""Returns an estimate of the mutual information of two tables, in nats, from the
    nearest neighbours of their rows (the first estimator of `Kraskov et al.
    <https://doi.org/10.1103/PhysRevE.69.066138>`_).

    .. math::
        \psi(k) + \psi(n) - \overline{\psi(n_x + 1) + \psi(n_y + 1)},

    with :math:`n_x` and :math:`n_y` how many other rows are nearer in either table than
    the :math:`k`-th neighbour is in both.

    .. note::
        In many dimensions neighbours are far and the estimate is much too low. Each table
        is therefore reduced to its first principal components: the estimate is of these
        alone, and misses what depends on smaller directions. It is too low still where
        the dependence is strong, as :math:`n` rows cannot tell of more than about
        :math:`\ln n` nats. Compare it with its :func:`permutation_baseline`, and models
        with each other on as many rows. About half of the estimates of independent tables
        are below 0.

    Args:
        x: One table, of shape :math:`(N, F)`.
        y: The other, of shape :math:`(N, F')`.
        k: The number of neighbours.
        num_components: The number of principal components.

    Raises:
        ValueError: If the tables are not of as many rows, or of too few for the
            neighbours.
    """
    if k < 1 or num_components < 1:
        raise ValueError(
            f'`k` and `num_components` must be at least 1 (got {k} and {num_components})'
        )
    x, y = _tables(x, y, least=k + 2)
    tables = [_leading(table, num_components) for table in (x, y)]
    if not all(table.any() for table in tables):
        return 0.0  # Nothing varies.
    joint = cKDTree(np.concatenate(tables, axis=1))
    radius = joint.query(joint.data, k + 1, p=np.inf)[0][:, -1]
    radius = np.nextafter(radius, 0)  # Strictly nearer.
    information = digamma(k) + digamma(len(x))
    for table in tables:
        # The row itself is one of those counted.
        count = cKDTree(table).query_ball_point(
            table, radius, p=np.inf, return_length=True
        )
        information -= digamma(count).mean()
    return float(information)


def permutation_baseline(
    measure: Callable[[Tensor, Tensor], float],
    x: Tensor,
    y: Tensor,
    num_permutations: int = 100,
    seed: int = 0,
) -> Baseline:
    """Returns what a measure of dependence is if the rows of two tables are paired at
    random, which leaves everything but the dependence as it is.

    Args:
        measure: The measure.
        x: One table, of shape :math:`(N, F)`.
        y: The other, of shape :math:`(N, F')`, whose rows are permuted.
        num_permutations: The number of permutations.
        seed: The seed of the permutations.
    """
    values = permuted(measure, x, y, num_permutations, seed)
    return Baseline(float(np.mean(values)), float(np.quantile(values, 0.95)))


def permuted(
    measure: Callable[[Tensor, Tensor], float],
    x: Tensor,
    y: Tensor,
    num_permutations: int,
    seed: int,
) -> list[float]:
    """Returns the values whose mean and limit :func:`permutation_baseline` returns."""
    if num_permutations < 1:
        raise ValueError(
            f'`num_permutations` must be at least 1 (got {num_permutations})'
        )
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(num_permutations):
        order = torch.randperm(len(y), generator=generator)
        values.append(measure(x, y[order.to(y.device)]))
    return values
