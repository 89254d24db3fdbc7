"""What is measured of any model: the dependence of its factors, and what its scores are
worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from iedr_geo.analysis.measures.dependence import (
    bias_corrected_distance_correlation,
    mutual_information,
    permutation_baseline,
)
from iedr_geo.data.schema import Side
from iedr_geo.nn.blocks import blocks
from iedr_geo.scoring import CatalogueScorer, Queries

SIDES: tuple[Side, Side] = ('user', 'item')
MIN_ROWS = 20
# At most: users or items whose factors are compared, and lists.
MAX_ENTITIES, MAX_LISTS = 500, 200
NUM_DRAWS = 20  # Of what is left to chance; fewer have no quantiles.
# A column whose values differ by less of their size is constant but for rounding.
ROUNDING = 1e-5
ONE_SIDED = 1.645  # 95 % of a normal distribution.
GAIN = 'gain'


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
        truth: What has the true scores, if they are known.
        num_samples: The number of rows, users or items, at most.
        num_permutations: How often the rows of two factors are paired at random.
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
        """The factors that a part of the score is of alone."""
        return [name for name in self.made.factors if name in self.made.parts]

    def factors(
        self, side: Side, index: Tensor, context: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Returns the factors of users or items on the CPU, in float64, with columns that
        are constant but for rounding zero.
        """
        made, queries, tables = self.made, Queries(torch.zeros_like(index), context), {}
        for name in made.factors:
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

    def dependence(self, tables: Mapping[str, Tensor], side: str) -> Iterator[Row]:
        """Yields how far from independent the tables of any two factors are."""
        for one, two in combinations(tables, 2):
            for name, measure in (
                ('distance correlation', bias_corrected_distance_correlation),
                ('mutual information', mutual_information),
            ):
                pair = measure, tables[one], tables[two]
                chance = permutation_baseline(*pair, self.num_permutations, self.seed)
                numbers = measure(*pair[1:]), *chance, math.nan
                yield Row('dependence', name, side, f'{one} & {two}', *numbers, 'low')

    def ranking(
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
