"""How far the parts of the scores of lists follow true scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from iedr_geo.analysis.report.study import Row

TWO_SIDED = 1.960  # 95 % of a normal distribution.


def recovery_rows(
    scores: Mapping[str, Tensor], factors: Sequence[str], truth: Any, index: Tensor
) -> Iterator[Row]:
    """Yields how far the parts of the scores of lists follow true scores.

    Args:
        scores: The scores of pairs, all of it and its parts.
        factors: The parts that are of one factor.
        truth: The true scores, a named tuple or a dictionary of tensors.
        index: The list of each pair.
    """
    true = truth if isinstance(truth, Mapping) else truth._asdict()
    for name, values in true.items():
        if values.shape != index.shape:
            raise ValueError(
                f"The true scores '{name}' must be of shape {tuple(index.shape)} (got "
                f'{tuple(values.shape)})'
            )
    lists = index.numpy()
    x, y = _within(scores, lists), _within(true, lists)
    for name in true:
        for part in scores:
            wanted = ''
            if part in factors and name in factors:
                wanted = 'high' if part == name else 'zero'
            found = {k: _correlation(x[k][part], y[k][name], lists) for k in x}
            for kind, numbers in found.items():
                yield Row('truth', f'{kind} with {name}', 'score', part, *numbers, wanted)
            if part == name:
                value, _, limit, error = found['correlation']
                numbers = value**2, 0.0, limit**2, 2 * abs(value) * error
                yield Row('truth', f'variance of {name}', 'score', part, *numbers, wanted)
        if name in factors:
            parts = x['correlation'].drop(columns='all').to_numpy()
            values = y['correlation'][name].to_numpy()
            rest = values - parts @ np.linalg.lstsq(parts, values)[0]
            share = 1 - (rest @ rest) / (values @ values) if values.any() else 0.0
            yield Row('truth', f'variance of {name}', 'score', 'all', share, 0.0)


def _within(scores: Mapping[str, Tensor], lists: Any) -> dict[str, Any]:
    """Returns scores and their ranks, both about the mean of each list."""
    table = pd.DataFrame({k: v.detach().cpu().double() for k, v in scores.items()})
    tables = {'correlation': table, 'rank correlation': table.groupby(lists).rank()}
    return {
        kind: values - values.groupby(lists).transform('mean')
        for kind, values in tables.items()
    }


def _correlation(x: Any, y: Any, lists: Any) -> tuple[float, float, float, float]:
    """Returns the correlation of centred scores, 0, the limit of its size where rows of
    a list are permuted, and its standard error where lists are drawn again.
    """
    products = pd.DataFrame({'xx': x * x, 'yy': y * y, 'xy': x * y}).groupby(lists)
    sums = products.sum()
    xx, yy, xy = sums['xx'], sums['yy'], sums['xy']
    scale = math.sqrt(xx.sum() * yy.sum())
    if scale == 0:
        return 0.0, 0.0, 0.0, math.nan
    value = xy.sum() / scale
    permuted = math.sqrt((xx * yy / (products.size() - 1).clip(lower=1)).sum()) / scale
    influence = xy / scale - value / 2 * (xx / xx.sum() + yy / yy.sum())
    return value, 0.0, TWO_SIDED * permuted, math.sqrt((influence**2).sum())
