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


def shared_information(x: Tensor, y: Tensor) -> float:
    """Returns the R^2 of two normal variables of as much mutual information as tables
    have: nats have no upper end that a share could be of.
    """
    return -math.expm1(-2 * dependence.mutual_information(x, y))


DEPENDENCE: dict[str, Callable[[Tensor, Tensor], float]] = {
    'distance correlation': dependence.bias_corrected_distance_correlation,
    'mutual information, R^2': shared_information,
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
        """Yields how far from independent the tables of two factors are, and how far each
        is from being independent of itself.
        """
        if len(tables) > 2:
            yield from self._dependence_on_others(tables, side)
        if len(tables) != 2:
            return
        [(one, x), (two, y)] = tables.items()
        for name, measure in DEPENDENCE.items():
            group, draws = ('dependence', name, side), (self.num_permutations, self.seed)
            chance = dependence.permutation_baseline(measure, x, y, *draws)
            both = f'{one} & {two}'
            yield Row(*group, both, measure(x, y), *chance, wanted='low')
            for factor, table in tables.items():
                yield Row(*group, factor, measure(table, table), *chance, wanted='high')

    def _dependence_on_others(
        self, tables: Mapping[str, Tensor], side: str
    ) -> Iterator[Row]:
        """Yields the most that each table depends on another, beside the least that one
        depends on itself.
        """
        pairs = list(combinations(tables, 2))
        each = -(-self.num_permutations // len(pairs))
        for name, measure in DEPENDENCE.items():
            group, draws = ('dependence', name, side), []
            most = dict.fromkeys(tables, -math.inf)
            for one, two in pairs:
                pair = tables[one], tables[two]
                value = measure(*pair)
                most[one], most[two] = max(most[one], value), max(most[two], value)
                draws.append(dependence.permuted(measure, *pair, each, self.seed))
            # What is left to chance is the most of as many draws.
            others = len(tables) - 1
            drawn = np.transpose(draws).reshape(-1)
            drawn = drawn[: len(drawn) // others * others].reshape(-1, others).max(axis=1)
            for one, value in most.items():
                yield Row(*group, one, *against(value, drawn), wanted='low')
            own = min(measure(table, table) for table in tables.values())
            yield Row(*group, 'itself', *against(own, drawn), wanted='high')

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
            for name, draws in chance.items():
                numbers = against(values[name].mean(), draws, values[name].sem())
                yield Row('ranking', name, 'score', part, *numbers)
        for name in chance:
            whole = found['all'][name]
            if factors and len(whole) > 1:
                best = max(factors, key=lambda part: found[part][name].mean())
                lead = whole - found[best][name]
                numbers = lead.mean(), 0.0, ONE_SIDED * lead.sem(), lead.sem()
                yield Row('ranking', f'{name}, gain', 'score', 'all', *numbers, 'high')


def recovery_rows(
    study: Study, scores: Mapping[str, Tensor], index: Tensor, *ids: Tensor
) -> Iterator[Row]:
    """Yields how far the parts of the scores of lists follow true scores.

    What is left to chance are the true scores of other items, a random one for each and
    the same in all lists: a model that knows nothing still likes some items better.

    Args:
        study: The study, with a truth.
        scores: The scores of pairs, all of it and its parts.
        index: The list of each pair.
        *ids: Users, items and, where there are any, contexts of the pairs.
    """
    factors, lists = study.scored_factors, index.numpy()
    generator, (user, item, *context) = study.generator(), ids
    true = _true_scores(study, index, *ids)
    x, y = _within(scores, lists), _within(true, lists)
    chance: dict[str, list[Any]] = {kind: [] for kind in x}
    some, code = item.unique(return_inverse=True)
    for _ in range(NUM_DRAWS):
        other = some[torch.randperm(len(some), generator=generator)][code]
        drawn = _within(_true_scores(study, index, user, other, *context), lists)
        for kind, each in drawn.items():
            chance[kind].append(_correlations(x[kind], each))
    limits = {k: TWO_SIDED * np.sqrt(np.square(v).mean(0)) for k, v in chance.items()}
    found = {kind: _correlations(x[kind], y[kind]) for kind in x}
    parts = x['correlation'].drop(columns='all').to_numpy()
    for column, name in enumerate(true):
        for row, part in enumerate(scores):
            wanted = ''
            if name in factors and part != 'all':
                wanted = 'high' if part == name else 'zero'
            for kind in x:
                value, limit = found[kind][row, column], limits[kind][row, column]
                error = _error(x[kind][part], y[kind][name], lists)
                names = 'truth', f'{kind} with {name}', 'score', part
                yield Row(*names, value, 0.0, limit, error, wanted)
            if part == name:
                r, limit = (at['correlation'][row, column] for at in (found, limits))
                error = _error(x['correlation'][part], y['correlation'][name], lists)
                numbers = r**2, 0.0, limit**2, 2 * abs(r) * error
                yield Row('truth', f'variance of {name}', 'score', part, *numbers)
        if name in factors:
            values = y['correlation'][name].to_numpy()
            rest = values - parts @ np.linalg.lstsq(parts, values)[0]
            share = 1 - (rest @ rest) / (values @ values) if values.any() else 0.0
            yield Row('truth', f'variance of {name}', 'score', 'all', share, 0.0)


def _true_scores(study: Study, index: Tensor, *ids: Tensor) -> Mapping[str, Tensor]:
    """Returns the true scores of pairs, a tensor for each part."""
    assert study.truth is not None
    truth = study.truth(*ids)
    true: Mapping[str, Tensor] = truth if isinstance(truth, Mapping) else truth._asdict()
    for name, values in true.items():
        if values.shape != index.shape:
            raise ValueError(
                f"The true scores '{name}' must be of shape {tuple(index.shape)} (got "
                f'{tuple(values.shape)})'
            )
    return true


def _within(scores: Mapping[str, Tensor], lists: Any) -> dict[str, Any]:
    """Returns scores and their ranks, both about the mean of each list."""
    table = pd.DataFrame({k: v.detach().cpu().double() for k, v in scores.items()})
    tables = {'correlation': table, 'rank correlation': table.groupby(lists).rank()}
    return {
        kind: values - values.groupby(lists).transform('mean')
        for kind, values in tables.items()
    }


def _correlations(x: Any, y: Any) -> Any:
    """Returns the correlations of the columns of two centred tables, 0 where one does not
    vary.
    """
    x, y = x.to_numpy(), y.to_numpy()
    scale = np.sqrt(np.outer((x**2).sum(0), (y**2).sum(0)))
    return x.T @ y / np.where(scale == 0, np.inf, scale)


def _error(x: Any, y: Any, lists: Any) -> float:
    """Returns the standard error of a correlation where lists are drawn again."""
    products = pd.DataFrame({'xx': x * x, 'yy': y * y, 'xy': x * y})
    sums = products.groupby(lists).sum()
    xx, yy, xy = sums['xx'], sums['yy'], sums['xy']
    scale = math.sqrt(xx.sum() * yy.sum())
    if scale == 0:
        return math.nan
    influence = xy - xy.sum() / 2 * (xx / xx.sum() + yy / yy.sum())
    return math.sqrt((influence**2).sum()) / scale
