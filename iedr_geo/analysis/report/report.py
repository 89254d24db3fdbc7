"""How far a model tells its factors apart, as one table."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from iedr_geo.analysis.measures.dependence import (
    bias_corrected_distance_correlation,
    mutual_information,
    permutation_baseline,
)
from iedr_geo.analysis.measures.invariance import (
    context_invariance,
    first_rows,
    sample_contexts,
    variance_share_errors,
    variance_shares,
)
from iedr_geo.analysis.measures.popularity_overlap import popularity_overlap
from iedr_geo.analysis.measures.probes import Probe, class_probe, value_probe
from iedr_geo.data import (
    BipartiteGraph,
    CandidateLists,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)
from iedr_geo.data.columns import RESERVED
from iedr_geo.data.schema import Side
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.metrics import AUC, NDCG, RankedLists, Recall
from iedr_geo.nn.blocks import blocks
from iedr_geo.scoring import CatalogueScorer, Queries, VectorScorer, scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Scores = Mapping[str, Tensor]
Floats = NDArray[np.float64]

MIN_ROWS, MIN_ENTITIES, MIN_LISTS = 20, 5, 2
# At most: users or items whose factors are compared with each other, and lists.
MAX_PAIRS, MAX_LISTS, NUM_NEGATIVES, MAX_POPULAR = 500, 200, 99, 50
NUM_PERMUTATIONS, NUM_SHUFFLES, NUM_DRAWS = 100, 20, 5
BATCH_SIZE = 16_384
# A column whose values differ by less of their size is constant but for rounding.
ROUNDING = 1e-5
MARGIN = 0.05  # Smaller differences separate nothing, however certain they are.
ONE_SIDED, TWO_SIDED = 1.645, 1.960  # 95 % of a normal distribution.

GROUPS = {
    'invariance': (
        'Context invariance',
        'Cosine similarity of the factor of the same user (item) in two contexts, and of '
        'two users (items) in the same context; auc is how often the former is higher. '
        'Disentangled: auc near 1 for the intrinsic and below 0.5 for the extrinsic '
        'factor, not always near 0, as a context may move each user differently.',
    ),
    'variance': (
        'What the factors vary with',
        'Shares of the variance of a factor that are due to the user (item) whatever the '
        'context, to the context whoever is in it, and to the two together. '
        'Disentangled: the intrinsic factor varies with the user (item) alone, the '
        'extrinsic one with the context, or with both together.',
    ),
    'probe': (
        'Linear probes',
        'Accuracy (R^2 for numbers), on rows held out, of a linear model that reads from '
        'a factor who is in which context. Disentangled: the intrinsic factor tells who, '
        'and no context beyond the limit; the extrinsic factor tells the context, and '
        'who only as far as contexts move each user differently. No linear model sees '
        'what a context does differently to each: compare the shares of the variance.',
    ),
    'dependence': (
        'Dependence of the factors',
        'Bias-corrected distance correlation, and mutual information in nats, which sees '
        'the leading directions alone and falls short where it is high. Each user (item) '
        'counts once; where there are contexts, in one that is drawn at random. '
        'Disentangled: within the limit.',
    ),
    'ranking': (
        'Ranking by one part of the score',
        'Disentangled: each factor alone ranks above chance, and the model better than '
        'either (gain): where it does not, both factors are the same again. What cross '
        '(intrinsic by extrinsic) ranks well has no one cause.',
    ),
    'popularity': (
        'Popularity',
        'Overlap (intersection over union) of the top of the rankings with the most '
        'popular items, and R^2 of a linear model that reads log popularity from the '
        'vectors of items. Disentangled: far higher for conformity than for interest.',
    ),
    'truth': (
        'Recovery of the truth',
        'Correlation of each part of the score with each true score within lists, of '
        'values and of ranks, and the share of the variance of a true score that the '
        'part of its name recovers (all: that all parts together do). Disentangled: a '
        'part follows the truth of its name and no other. Where all recover far more '
        'than the part does, it was learned but not told apart.',
    ),
}


class _Row(NamedTuple):
    group: str
    measure: str
    side: str
    factor: str
    value: float
    baseline: float = math.nan
    limit: float = math.nan
    error: float = math.nan
    wanted: str = ''


# Of each factor, whether it is to tell who it is of, and of which context.
WANTED = {'intrinsic': ('high', 'low'), 'extrinsic': ('low', 'high')}
KEY = ['group', 'measure', 'side']
GAIN = 'gain'


def _table(rows: Any) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(_Row._fields))
    return table.astype(
        dict.fromkeys(('value', 'baseline', 'limit', 'error'), float)
        | dict.fromkeys((*KEY, 'factor', 'wanted'), str)
    )


@dataclass(frozen=True, eq=False)
class DisentanglementReport:
    """What :func:`disentanglement_report` measured.

    Args:
        table: A row for each measure and factor. :obj:`group`, :obj:`measure`,
            :obj:`side` (user, item or score) and :obj:`factor` say what it is;
            :obj:`value` is what the model has, :obj:`error` its standard error where one
            is known; :obj:`baseline` is the value where there is nothing to be found, on
            average, and :obj:`limit` what 95 % of the values are below then.
            :obj:`wanted` says what a disentangled model has: :obj:`'high'`, beyond the
            limit, :obj:`'low'`, not beyond it, :obj:`'zero'`, not beyond it in either
            direction; it is empty where no value speaks for or against it.
        notes: What was not measured, and why.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def separation(self) -> pd.DataFrame:
        """Which measures tell the factors apart, and which do not.

        A row for each measure that is wanted high of one factor and low of the other.
        :obj:`difference` is between the two, :obj:`noise` twice its standard error, but
        0.05 at least. :obj:`separates` is :obj:`'no'` if the difference is within the
        noise or the wrong way round, else :obj:`'yes'` if both values are as wanted, else
        :obj:`'partly'`. The gain of ranking by both factors is a difference as well. A
        dependence of the two separates if it is within its limit, and partly if it is
        beyond, but 0.05 at most; one in twenty independent tables is beyond.
        """
        table = self.table[self.table['wanted'] != '']
        size = table['value'].where(table['wanted'] != 'zero', table['value'].abs())
        is_high = table['wanted'] == 'high'
        as_wanted = (size > table['limit']) == is_high
        table = table.assign(size=size, is_high=is_high, as_wanted=as_wanted)
        rows = []
        for key, part in table.groupby(KEY, sort=False):
            high, low = part[part['is_high']], part[~part['is_high']]
            separates = 'yes' if part['as_wanted'].all() else 'partly'
            difference, noise = math.nan, math.nan
            if key[0] == 'dependence':
                if separates == 'partly' and low['value'].max() > MARGIN:
                    separates = 'no'
            elif len(low) or str(key[1]).endswith(GAIN):
                difference = high['size'].min() - (low['size'].max() if len(low) else 0)
                noise = 2 * float(np.sqrt(part['error'].pow(2).sum()))  # NaN is left out.
                noise = max(noise, MARGIN)
                separates = separates if difference > noise else 'no'
            else:
                continue  # There is nothing to be told apart.
            rows.append((*key, difference, noise, separates))
        return pd.DataFrame(rows, columns=[*KEY, 'difference', 'noise', 'separates'])

    def to_json(self) -> str:
        """Returns table and notes as JSON text; what is not a number is null."""
        rows = self.table.astype(object).where(self.table.notna(), None)
        content = {'table': rows.to_dict(orient='records'), 'notes': list(self.notes)}
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> DisentanglementReport:
        """Reads what :meth:`to_json` wrote."""
        content = json.loads(text)
        return cls(_table(content['table']), tuple(content['notes']))

    def __str__(self) -> str:
        verdicts = self.separation.set_index(KEY)['separates'].to_dict()
        lines = ['Disentanglement report']
        for name, group in self.table.groupby('group', sort=False):
            title, text = GROUPS[str(name)]
            factors = list(group['factor'].unique())
            rows = [['', *factors, 'chance', 'limit', 'separates']]
            for (side, measure), part in group.groupby(['side', 'measure'], sort=False):
                value = part.set_index('factor')['value'].to_dict()
                numbers = [value.get(factor, math.nan) for factor in factors]
                numbers += [part['baseline'].max(), part['limit'].max()]
                texts = [
                    '' if math.isnan(n) else f'{round(n, 3) + 0:.3f}' for n in numbers
                ]
                verdict = verdicts.get((name, measure, side), '')
                rows.append([f'{side}: {measure}', *texts, verdict])
            widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
            lines += ['', title, *textwrap.wrap(text, 88)]
            for label, *cells in rows:
                aligned = map(str.rjust, cells, widths[1:])
                lines.append('  '.join([label.ljust(widths[0]), *aligned]).rstrip())
        return '\n'.join([*lines, *(f'\nNote: {note}' for note in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plots the values of all factors, a line for each measure, beside what they are
        where there is nothing to be found.

        Args:
            ax: Where to plot (default: in a new figure).
        """
        import matplotlib.pyplot as plt

        table = self.table
        label = table['group'] + ', ' + table['side'] + ': ' + table['measure']
        line = pd.Series(pd.factorize(label)[0], table.index)
        line += (table['group'] != table['group'].shift()).cumsum() - 1  # Gaps.
        if ax is None:
            size = 9, 1.6 + 0.2 * float(line.max())
            ax = plt.figure(figsize=size, layout='constrained').add_subplot()
        for column, shade in (('baseline', '0.75'), ('limit', '0.35')):
            ax.plot(table[column], line, '|', color=shade, ms=9, mew=2, label=column)
        for factor, part in table.groupby('factor', sort=False):
            ax.plot(part['value'], line[part.index], 'o', alpha=0.7, label=str(factor))
        ticks = dict(zip(line, label, strict=True))
        ax.set_yticks(list(ticks), list(ticks.values()), fontsize='small')
        ax.invert_yaxis()
        ax.set_xlabel('value')
        ax.grid(alpha=0.3)
        ax.legend(loc='lower left', bbox_to_anchor=(0, 1), ncols=4, frameon=False)
        return ax


def disentanglement_report(
    model: Model,
    data: InteractionDataset | BipartiteGraph,
    lists: CandidateLists | BipartiteGraph | None = None,
    num_samples: int = 2000,
    seed: int = 0,
    truth: Callable[..., Any] | None = None,
) -> DisentanglementReport:
    r"""Measures how far the factors of a model are told apart.

    On interactions in contexts, *e.g.*, of :class:`IEDR`: context invariance of each
    factor, shares of its variance, linear probes of users, items and the fields of
    contexts, the dependence of the factors, and the ranking by each part of the score.
    Users and items are seen in contexts of other rows, so that who tends to be in which
    context, a fact of the data, is not held against the model.

    On the graph of users and items, *e.g.*, of :class:`DICE`: the dependence of the
    factors, what each knows of popularity and, given held-out edges, how it ranks.

    A model without factors is reported on as a whole, to compare others with.

    .. note::
        No measure is enough alone: a factor that never changes is invariant and
        independent of everything, and one of pure noise is independent. Probes and
        ranking tell that it is of no use.

    Args:
        model: Any model that fits the data, or a scorer of one. Its factors and the parts
            of its scores are those of its :func:`scorer`.
        data: The interactions, *e.g.*, the test rows; for a model of a graph, the graph
            that it was trained on.
        lists: What to rank: lists of candidates (default: 200 positive rows, each with 99
            negatives), or the graph of held-out edges (default: nothing is ranked).
        num_samples: The number of rows to draw.
        seed: The seed of all draws.
        truth: Maps users, items and contexts (of a graph: users and items) to their true
            scores, a named tuple or a dictionary of tensors, *e.g.*, :obj:`true_scores`
            of :class:`PlantedFactors` or :class:`PlantedClicks` (default: that of the
            data, if it has any).

    Raises:
        ValueError: If the model does not fit the data, or there are too few rows.

    Example:
        >>> report = disentanglement_report(model, dataset)
        >>> print(report)
        >>> report.separation.query('separates == "no"')
    """
    if num_samples < MIN_ROWS:
        raise ValueError(f'`num_samples` must be at least {MIN_ROWS} (got {num_samples})')
    truth = getattr(data, 'true_scores', None) if truth is None else truth
    made = scorer(model, data)
    notes = [] if made.factors else ['The model has no factors to tell apart']
    arguments = num_samples, seed, truth
    if isinstance(data, BipartiteGraph):
        if not isinstance(lists, BipartiteGraph | None):
            raise ValueError(f'`lists` must be a BipartiteGraph (got {lists!r})')
        rows = _graph_rows(made, data, lists, *arguments)
    else:
        if not isinstance(lists, CandidateLists | None):
            raise ValueError(f'`lists` must be CandidateLists (got {lists!r})')
        rows = _context_rows(made, data, lists, *arguments, notes)
    groups = list(GROUPS)
    found = sorted(rows, key=lambda row: groups.index(row.group))
    return DisentanglementReport(_table(found), tuple(dict.fromkeys(notes)))


# What a scorer says.


def _factor(
    made: CatalogueScorer,
    name: str,
    side: Side,
    index: Tensor,
    context: Tensor | None = None,
) -> Tensor:
    """Returns a factor of users or items on the CPU, in float64, with columns that are
    constant but for rounding zero.
    """
    queries = Queries(torch.zeros_like(index), context)
    table = made.factor(name, side, queries, index).detach().cpu().double()
    if not table.isfinite().all():
        raise ValueError('The factors of the model hold values that are not finite')
    spread, size = table.amax(0) - table.amin(0), table.abs().amax(0)
    return table.masked_fill(spread <= ROUNDING * size, 0)


def _scores(made: CatalogueScorer, queries: Queries, item: Tensor) -> Scores:
    """Returns the scores of pairs, all of it and its parts, on the CPU, in float64."""
    chunks = []
    for rows in blocks(len(item), BATCH_SIZE):
        some, items = queries[rows], item[rows].unsqueeze(1).to(made.device)
        parts = made.split(some, items)
        values = [made.scores(some, items), *(parts[name] for name in made.parts)]
        chunks.append(torch.cat(values, dim=1).detach().cpu().double())
    return dict(zip(('all', *made.parts), torch.cat(chunks).unbind(1), strict=True))


def _ranking_factors(made: CatalogueScorer) -> list[str]:
    """Returns the factors that a part of the score is of alone."""
    return [name for name in made.factors if name in made.parts]


def _dependence(tables: Scores, side: str, seed: int) -> Iterator[_Row]:
    """Yields how far from independent the tables of any two factors are."""
    for one, two in combinations(tables, 2):
        x, y = tables[one], tables[two]
        for name, measure in (
            ('distance correlation', bias_corrected_distance_correlation),
            ('mutual information', mutual_information),
        ):
            chance = permutation_baseline(measure, x, y, NUM_PERMUTATIONS, seed)
            factor, value = f'{one} & {two}', measure(x, y)
            yield _Row('dependence', name, side, factor, value, *chance, wanted='low')


def _probe(
    probe: Probe, group: str, measure: str, side: str, factor: str, wanted: str
) -> _Row:
    numbers = probe.value, probe.chance, probe.limit, probe.error
    return _Row(group, measure, side, factor, *numbers, wanted)


# Models of features and contexts.


def _context_rows(
    made: CatalogueScorer,
    dataset: InteractionDataset,
    lists: CandidateLists | None,
    num_samples: int,
    seed: int,
    truth: Callable[..., Any] | None,
    notes: list[str],
) -> Iterator[_Row]:
    if len(dataset) < MIN_ROWS:
        raise ValueError(f'At least {MIN_ROWS} rows are needed (got {len(dataset)})')
    if lists is None:
        lists = _default_lists(dataset, seed)
    for side, ids in (('user', lists.user), ('item', lists.item)):
        count = getattr(dataset, f'num_{side}s')
        if ids.numel() and int(ids.max()) >= count:
            raise ValueError(
                f'The lists are of other data: they have {side} {int(ids.max())}, the '
                f'dataset {count} {side}s'
            )
    if len(lists) < MIN_LISTS:
        raise ValueError(f'At least {MIN_LISTS} lists are needed (got {len(lists)})')
    if made.factors:
        yield from _factor_rows(made, dataset, num_samples, seed, notes)
    index = lists.list_index.cpu()
    user, context = lists.user.cpu()[index], lists.context.cpu()[index]
    item = lists.item.cpu()
    parts, factors = _scores(made, Queries(user, context), item), _ranking_factors(made)
    yield from _ranking(parts, factors, lists.target.cpu(), index, seed)
    if truth is not None:
        yield from _recovery(parts, factors, truth(user, item, context), index)


def _default_lists(dataset: InteractionDataset, seed: int) -> CandidateLists:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(dataset))
    if dataset.y is not None:
        rows = rows[dataset.y.cpu() == 1]
    rows = rows[torch.randperm(len(rows), generator=generator)[:MAX_LISTS]]
    some = dataset[rows.to(dataset.user.device)]
    return CandidateLists.sample(some, min(NUM_NEGATIVES, dataset.num_items - 1), seed)


def _factor_rows(
    made: CatalogueScorer,
    dataset: InteractionDataset,
    num_samples: int,
    seed: int,
    notes: list[str],
) -> Iterator[_Row]:
    """Yields what the factors of users and items in contexts tell."""
    samples = sample_contexts(dataset, num_samples, seed)
    context, other_context, *_ = samples.parts(samples.context)
    fields = _fields(dataset, notes)
    sides: tuple[tuple[Side, Tensor], ...] = (
        ('user', samples.user),
        ('item', samples.item),
    )
    for side, ids in sides:
        tables = {
            factor: _factor(made, factor, side, ids, samples.context)
            for factor in made.factors
        }
        one, _, other, of_block = samples.parts(ids)
        rows = first_rows(one)[: min(MAX_PAIRS, num_samples)]
        if len(rows) < MIN_ENTITIES:
            raise ValueError(
                f'At least {MIN_ENTITIES} {side}s are needed (got {len(rows)})'
            )
        yield from _dependence(
            {factor: table[rows] for factor, table in tables.items()}, side, seed
        )
        differ = (one != other) & (context != other_context)
        for factor, table in tables.items():
            if not table.any():
                notes.append(f'The {factor} factor is the same for all {side}s')
            who, where = WANTED.get(factor, ('', ''))
            *pairs, block = samples.parts(table)
            found = context_invariance(*(pair[differ] for pair in pairs))
            chance = found.neither.value, found.neither.error
            for name, measured, (baseline, error), wanted in (
                (f'cosine, same {side}', found.same_entity, chance, who),
                ('cosine, same context', found.same_context, chance, where),
                ('auc', found.auc, (0.5, found.auc.error), who),
            ):
                limit = baseline + ONE_SIDED * error
                numbers = measured.value, baseline, limit, measured.error
                yield _Row('invariance', name, side, factor, *numbers, wanted)
            yield from _shares(
                block.view(*samples.block, -1), side, factor, seed, (who, where, '')
            )
            folds = min(5, samples.block[1])
            probe = class_probe(block, of_block, folds, seed=seed)
            yield _probe(probe, 'probe', f'which {side}', side, factor, who)
            for field, value in fields.items():
                label = value[context]
                try:
                    if label.is_floating_point():
                        known = ~label.isnan()
                        probe = value_probe(pairs[0][known], label[known], seed=seed)
                    else:
                        probe = class_probe(pairs[0], label, seed=seed)
                except ValueError as error:
                    notes.append(f"No probe predicts '{field}': {error}")
                    continue
                yield _probe(probe, 'probe', field, side, factor, where)


def _shares(
    block: Tensor, side: str, factor: str, seed: int, wanted: tuple[str, str, str]
) -> Iterator[_Row]:
    """Yields what the variance of a factor is due to."""
    generator = torch.Generator().manual_seed(seed)
    rows = block.flatten(0, 1)
    orders = [torch.randperm(len(rows), generator=generator) for _ in range(NUM_SHUFFLES)]
    chance = np.array([variance_shares(rows[order].view_as(block)) for order in orders])
    numbers = zip(
        variance_shares(block),
        chance.mean(0).tolist(),
        np.quantile(chance, 0.95, axis=0).tolist(),
        variance_share_errors(block),
        strict=True,
    )
    names = side, 'context', f'{side} and context'
    for name, row, want in zip(names, numbers, wanted, strict=True):
        yield _Row('variance', f'due to {name}', side, factor, *row, want)


def _fields(dataset: InteractionDataset, notes: list[str]) -> dict[str, Tensor]:
    """Returns what each distinct context has in each field: its class or, in floating
    point, its number, NaN where it is missing.
    """
    schema, contexts = dataset.schema, dataset.contexts
    x = contexts.x.cpu()
    offsets = [*schema.offsets('context').values(), schema.num_embeddings]
    fields = {}
    for column, start, end in zip(schema.context, offsets[:-1], offsets[1:], strict=True):
        if isinstance(column, MultiCategorical):
            notes.append(f"No probe predicts '{column.name}': it has many values a row")
            continue
        nodes = (x >= start) & (x < end)
        label = x[nodes]
        if isinstance(column, Numerical) and contexts.value is not None:
            label = contexts.value.cpu()[nodes].double()
            label = label.masked_fill(x[nodes] < start + RESERVED, math.nan)
        fields[column.name] = label  # One for each context, in order.
    return fields


def _ranking(
    parts: Scores, factors: Sequence[str], target: Tensor, index: Tensor, seed: int
) -> Iterator[_Row]:
    """Yields how well each part of the scores of lists ranks."""
    metric, auc = NDCG(10), AUC()

    def measure(scores: Tensor) -> tuple[Tensor, float]:
        ranked = RankedLists.from_rows(scores, target, index)
        return metric(ranked), float(auc(scores, target))

    generator = torch.Generator().manual_seed(seed)
    draws = [
        measure(torch.rand(len(target), generator=generator)) for _ in range(NUM_SHUFFLES)
    ]
    chance = np.array([(float(values.nanmean()), area) for values, area in draws])
    per_list = {}
    for part, scores in parts.items():
        wanted = 'high' if part in factors else ''
        values, area = measure(scores)
        per_list[part] = values[~values.isnan()].numpy()
        for name, value, draw, error in (
            (metric.name, per_list[part].mean(), chance[:, 0], _error(per_list[part])),
            (auc.name, area, chance[:, 1], math.nan),
        ):
            numbers = value, draw.mean(), np.quantile(draw, 0.95), error
            yield _Row('ranking', name, 'score', part, *numbers, wanted)
    yield from _gain(metric.name, factors, per_list)


def _error(values: Floats) -> float:
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def _gain(
    name: str, factors: Sequence[str], per_list: dict[str, Floats]
) -> Iterator[_Row]:
    """Yields by how much the model ranks better than its best factor does."""
    if not factors:
        return
    best = max(factors, key=lambda part: float(per_list[part].mean()))
    lead = per_list['all'] - per_list[best]
    limit = ONE_SIDED * _error(lead)
    numbers = float(lead.mean()), 0.0, limit, _error(lead)
    yield _Row('ranking', f'{name}, {GAIN}', 'score', 'all', *numbers, 'high')


def _recovery(
    parts: Scores, factors: Sequence[str], truth: Any, index: Tensor
) -> Iterator[_Row]:
    """Yields how far the parts of the scores of lists follow true scores."""
    index = torch.unique(index, return_inverse=True)[1]
    count = index.bincount().double()
    true_scores = truth if isinstance(truth, Mapping) else truth._asdict()

    def centred(values: Tensor) -> Tensor:
        return values - (index.bincount(values) / count)[index]

    def ranks(values: Tensor) -> Tensor:
        rank = pd.Series(values.numpy()).groupby(index.numpy()).rank()
        return torch.from_numpy(rank.to_numpy(copy=True))

    def correlation(x: Tensor, y: Tensor) -> tuple[float, float, float]:
        """Returns the correlation of centred scores, the limit of its size where rows of
        a list are permuted, and its standard error where lists are drawn again.
        """
        xx, yy, xy = (index.bincount(v) for v in (x * x, y * y, x * y))
        scale = float((xx.sum() * yy.sum()).sqrt())
        if scale == 0:
            return 0.0, 0.0, math.nan
        permuted = (xx * yy / (count - 1).clamp(min=1)).sum().sqrt() / scale
        value = xy.sum() / scale
        influence = xy / scale - value / 2 * (xx / xx.sum() + yy / yy.sum())
        error = influence.square().sum().sqrt()
        return float(value), TWO_SIDED * float(permuted), float(error)

    for name, scores in true_scores.items():
        if scores.shape != index.shape:
            raise ValueError(
                f"The true scores '{name}' must be of shape {tuple(index.shape)} (got "
                f'{tuple(scores.shape)})'
            )
        scores = scores.detach().cpu().double()
        true = centred(scores), centred(ranks(scores))
        for part, values in parts.items():
            wanted = ''
            if part in factors and name in factors:
                wanted = 'high' if part == name else 'zero'
            learned = centred(values), centred(ranks(values))
            for measure, x, y in zip(
                ('correlation', 'rank correlation'), learned, true, strict=True
            ):
                value, limit, error = correlation(x, y)
                label = f'{measure} with {name}'
                yield _Row(
                    'truth', label, 'score', part, value, 0.0, limit, error, wanted
                )
            if part == name:
                value, limit, error = correlation(learned[0], true[0])
                numbers = value**2, 0.0, limit**2, 2 * abs(value) * error
                label = f'variance of {name}'
                yield _Row('truth', label, 'score', part, *numbers, wanted)
        if name in factors:
            x = torch.stack([centred(parts[p]) for p in parts if p != 'all'], dim=1)
            fit = torch.linalg.lstsq(x, true[0].unsqueeze(1), driver='gelsd').solution
            rest = (true[0] - (x @ fit).squeeze(1)).square().sum()
            total = true[0].square().sum()
            value = float(1 - rest / total) if total > 0 else 0.0
            yield _Row('truth', f'variance of {name}', 'score', 'all', value, 0.0)


# Models of the graph of users and items.


def _graph_rows(
    made: CatalogueScorer,
    graph: BipartiteGraph,
    held_out: BipartiteGraph | None,
    num_samples: int,
    seed: int,
    truth: Callable[..., Any] | None,
) -> Iterator[_Row]:
    generator = torch.Generator().manual_seed(seed)

    def drawn(ids: Tensor, most: int) -> Tensor:
        return ids[torch.randperm(len(ids), generator=generator)[:most]]

    # Those without an edge were never trained.
    with_edge = []
    sides: tuple[tuple[Side, Tensor], ...] = (
        ('user', graph.user_degree),
        ('item', graph.item_degree),
    )
    for side, degree in sides:
        ids = degree.cpu().nonzero().view(-1)
        if len(ids) < MIN_ROWS:
            raise ValueError(
                f'At least {MIN_ROWS} {side}s with an edge are needed (got {len(ids)})'
            )
        some = drawn(ids, min(MAX_PAIRS, num_samples))
        tables = {factor: _factor(made, factor, side, some) for factor in made.factors}
        yield from _dependence(tables, side, seed)
        with_edge.append(ids)
    random = [_random_scorer(graph, generator, made.device) for _ in range(NUM_DRAWS)]
    factors = _ranking_factors(made)
    yield from _popularity(made, graph, random, with_edge[1], seed)
    if held_out is not None:
        yield from _full_ranking(made, factors, graph, held_out, random)
    if truth is not None:
        users, items = drawn(with_edge[0], MAX_LISTS), drawn(with_edge[1], 100)
        index = torch.arange(len(users)).repeat_interleave(len(items))
        user, item = users[index], items.repeat(len(users))
        parts = _scores(made, Queries(user), item)
        yield from _recovery(parts, factors, truth(user, item), index)


def _random_scorer(
    graph: BipartiteGraph, generator: torch.Generator, device: torch.device
) -> VectorScorer:
    """Returns a scorer by vectors that know nothing."""
    user, item = (
        torch.randn(size, 32, generator=generator).to(device)
        for size in (graph.num_users, graph.num_items)
    )
    model = SimpleNamespace(embeddings=lambda: (user, item), factors={})
    return VectorScorer(cast(Any, model), graph)


def _popularity(
    made: CatalogueScorer,
    graph: BipartiteGraph,
    random: Sequence[CatalogueScorer],
    some: Tensor,
    seed: int,
) -> Iterator[_Row]:
    """Yields what rankings and the factors of some items know of popularity."""
    k = max(1, min(MAX_POPULAR, graph.num_items // 4))
    wanted = {'conformity': 'high', 'interest': 'low'}
    chance = _chance([popularity_overlap(other, graph, k) for other in random])
    for part in (None, *made.parts):
        name = part or 'all'
        overlap = popularity_overlap(made, graph, k, part)
        want = wanted.get(name, '')
        yield _Row('popularity', f'iou@{k}', 'score', name, overlap, *chance, wanted=want)
    if not made.factors:
        return
    target = graph.popularity.cpu()[some].double().log1p()
    tables = {name: _factor(made, name, 'item', some) for name in made.factors}
    tables = {'all': torch.cat([*tables.values()], dim=1), **tables}
    for name, table in tables.items():
        probe = value_probe(table, target, seed=seed)
        measure, want = 'R^2 of log popularity', wanted.get(name, '')
        yield _probe(probe, 'popularity', measure, 'item', name, want)


def _full_ranking(
    made: CatalogueScorer,
    factors: Sequence[str],
    graph: BipartiteGraph,
    held_out: BipartiteGraph,
    random: Sequence[CatalogueScorer],
) -> Iterator[_Row]:
    """Yields how well each part of the score ranks all items that users have not seen."""
    metrics = NDCG(min(20, graph.num_items)), Recall(min(20, graph.num_items))
    random_rankings = [evaluate_catalogue(r, held_out, graph, metrics) for r in random]
    per_list: dict[str, dict[str, Floats]] = {metric.name: {} for metric in metrics}
    for part in (None, *made.parts):
        found = evaluate_catalogue(made, held_out, graph, metrics, part=part).per_list
        for name, values in per_list.items():
            label = part or 'all'
            values[label] = found[name].dropna().to_numpy(dtype=np.float64)
            chance = _chance([other.metrics[name] for other in random_rankings])
            numbers = float(values[label].mean()), *chance, _error(values[label])
            wanted = 'high' if part in factors else ''
            yield _Row('ranking', name, 'score', label, *numbers, wanted)
    for name, values in per_list.items():
        yield from _gain(name, factors, values)


def _chance(values: Sequence[float]) -> tuple[float, float]:
    """Returns the mean of random values, and what 95 % are below if they are normal."""
    return float(np.mean(values)), float(
        np.mean(values) + ONE_SIDED * np.std(values, ddof=1)
    )
