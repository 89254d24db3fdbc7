"""Measures of any model: how its factors depend, what its scores are worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.analysis.measures import dependence
from iedr_geo.data.schema import Side
from iedr_geo.nn.blocks import blocks
from iedr_geo.scoring import CatalogueScorer, Queries

SIDES: tuple[Side, Side] = ('user', 'item')
CAUSES = 'intrinsic', 'extrinsic'
MIN_ROWS = 20
# At most: users or items whose factors are compared, and lists.
MAX_ENTITIES, MAX_LISTS = 500, 200
NUM_DRAWS = 20  # Of what is left to chance; fewer have no quantiles.
# A column whose values differ by less of their size is constant but for rounding.
ROUNDING = 1e-5
ONE_SIDED, TWO_SIDED = 1.645, 1.960  # 95 % of a normal distribution.
GAIN = 'gain'
DEPENDENCE: dict[str, Callable[[Tensor, Tensor], float]] = {
    'distance correlation': dependence.bias_corrected_distance_correlation,
    'mutual information': dependence.mutual_information,
}


class Row(NamedTuple):
    """A value of a model; see :class:`DisentanglementReport`."""

    group: str
    measure: str
    side: str
    factor: str
    value: float
    baseline: float = math.nan
    limit: float = math.nan
    error: float = math.nan
    wanted: str = ''


Numbers = tuple[float, float, float, float]


def against(value: float, draws: Sequence[float], error: float = math.nan) -> Numbers:
    """Returns a value, the mean of what is left to chance, what 95 % of that is below,
    and the error of the value.
    """
    mean, limit = float(np.mean(draws)), float(np.quantile(draws, 0.95))
    if len(draws) < NUM_DRAWS:  # As if they were normal.
        limit = mean + ONE_SIDED * float(np.std(draws, ddof=1))
    return value, mean, limit, error


@dataclass(frozen=True)
class Study:
    """A model, and how much of it is looked at.

    Args:
        made: The scorer of the model.
        truth: The function that returns true scores, if there is one.
        num_samples: The number of rows, users or items, at most.
        num_permutations: The number of random pairings of the rows of two factors.
        seed: The seed of all draws.
    """

    made: CatalogueScorer
    truth: Callable[..., Any] | None
    num_samples: int
    num_permutations: int
    seed: int

    def generator(self) -> torch.Generator:
        """Returns a generator at its start."""
        return torch.Generator().manual_seed(self.seed)

    @property
    def scored_factors(self) -> list[str]:
        """The factors that a part of the score is of alone, and the parts that are called
        like factors where the model has none.
        """
        names = self.made.factor_names or CAUSES
        return [name for name in names if name in self.made.parts]

    def factors(
        self, side: Side, index: Tensor, context: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Returns the factors of users or items on the CPU, in float64, with columns that
        are constant but for rounding zero.
        """
        made, queries, tables = self.made, Queries(torch.zeros_like(index), context), {}
        for name in made.factor_names:
            table = made.factor(name, side, queries, index).detach().cpu().double()
            if not table.isfinite().all():
                raise ValueError(
                    'The factors of the model hold values that are not finite'
                )
            spread, size = table.amax(0) - table.amin(0), table.abs().amax(0)
            tables[name] = table.masked_fill(spread <= ROUNDING * size, 0)
        return tables

    def scores(
        self, queries: Queries, item: Tensor, batch_size: int = 16_384
    ) -> dict[str, Tensor]:
        """Returns the scores of pairs and their parts, on the CPU, in float64."""
        made, chunks = self.made, []
        for rows in blocks(len(item), batch_size):
            some, items = queries[rows], item[rows].unsqueeze(1).to(made.device)
            parts = made.split(some, items)
            values = [made.scores(some, items), *(parts[name] for name in made.parts)]
            chunks.append(torch.cat(values, dim=1).detach().cpu().double())
        columns = torch.cat(chunks).unbind(dim=1)
        return dict(zip(('all', *made.parts), columns, strict=True))

    def dependence_rows(self, tables: Mapping[str, Tensor], side: str) -> Iterator[Row]:
        """Yields how far from independent the tables of any two factors are."""
        for (one, x), (two, y) in combinations(tables.items(), 2):
            for name, measure in DEPENDENCE.items():
                pair = x, y, self.num_permutations, self.seed
                chance = dependence.permutation_baseline(measure, *pair)
                names = 'dependence', name, side, f'{one} & {two}'
                yield Row(*names, measure(x, y), *chance, wanted='low')

    def ranking_rows(
        self, found: Mapping[str, Any], chance: Mapping[str, Sequence[float]]
    ) -> Iterator[Row]:
        """Yields how well each part of the scores ranks, and by how much the whole ranks
        better than its best factor does.

        Args:
            found: By part and by metric, the values of lists, or one of all of them.
            chance: By metric, the values of random rankings.
        """
        factors = self.scored_factors
        for part, values in found.items():
            wanted = 'high' if part in factors else ''
            for name, draws in chance.items():
                numbers = against(values[name].mean(), draws, values[name].sem())
                yield Row('ranking', name, 'score', part, *numbers, wanted)
        for name in chance:
            whole = found['all'][name]
            if factors and len(whole) > 1:
                best = max(factors, key=lambda part: found[part][name].mean())
                lead = whole - found[best][name]
                numbers = lead.mean(), 0.0, ONE_SIDED * lead.sem(), lead.sem()
                yield Row('ranking', f'{name}, {GAIN}', 'score', 'all', *numbers, 'high')


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
