"""The report on how far a model tells its factors apart, as one table."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from torch import Tensor

from iedr_geo.analysis.plots import style
from iedr_geo.analysis.report.contexts import context_rows
from iedr_geo.analysis.report.graphs import graph_rows
from iedr_geo.analysis.report.study import MIN_ROWS, Row, Study
from iedr_geo.analysis.report.texts import GROUPS
from iedr_geo.analysis.report.verdicts import KEY, RULE, verdicts
from iedr_geo.data import BipartiteGraph, CandidateLists, InteractionDataset
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.scoring import scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = 'Disentanglement report'


def as_table(rows: Any) -> pd.DataFrame:
    """Returns rows as a table with columns of the same types whatever is in them."""
    numbers = ('value', 'baseline', 'limit', 'error')
    table = pd.DataFrame(rows, columns=list(Row._fields))
    return table.astype({name: float if name in numbers else str for name in table})


@dataclass(frozen=True, eq=False)
class DisentanglementReport:
    """The values that :func:`disentanglement_report` measured, and its verdicts.

    Args:
        table: A row for each measure and factor. :obj:`group`, :obj:`measure`,
            :obj:`side` (user, item or score) and :obj:`factor` say what it is;
            :obj:`value` is what the model has, :obj:`error` its standard error where one
            is known; :obj:`baseline` is the value where there is nothing to be found, on
            average, and :obj:`limit` what 95 % of the values are below then.
            :obj:`wanted` says what a disentangled model has: :obj:`'high'`, beyond the
            limit, :obj:`'low'`, not beyond it, :obj:`'zero'`, not beyond it in either
            direction; it is empty where no value speaks for or against it.
        notes: The reasons why some of it was not measured.
    """

    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def separation(self) -> pd.DataFrame:
        """The measures that are to tell the factors apart, and whether each does.

        A row for each measure of which one factor is to have much and the other nothing.
        :obj:`own` is what the former has beyond chance (the least, of several),
        :obj:`other` what the latter has (the most). :obj:`separates` is :obj:`'yes'` if
        what is wanted high is beyond its limit, and the other has less than a tenth of
        it, or less than a third and no more than its limit; :obj:`'partly'` if it has
        less than a third, but beyond its limit; else :obj:`'no'`. Dependence is measured
        against that of each factor on itself, and the gain of ranking by both factors
        has no other.
        """
        return verdicts(self.table)

    def to_json(self) -> str:
        """Returns table and notes as JSON text; what is not a number is null."""
        rows = self.table.astype(object).where(self.table.notna(), None)
        content = {'table': rows.to_dict(orient='records'), 'notes': list(self.notes)}
        return json.dumps(content, indent=1)

    @classmethod
    def from_json(cls, text: str) -> DisentanglementReport:
        """Reads what :meth:`to_json` wrote."""
        content = json.loads(text)
        return cls(as_table(content['table']), tuple(content['notes']))

    def __str__(self) -> str:
        separates = self.separation.set_index(KEY)['separates']
        lines = [TITLE, '', *textwrap.wrap(RULE, 88)]
        for name, group in self.table.groupby('group', sort=False):
            title, text = GROUPS[str(name)]
            chance = group.groupby(KEY, sort=False)[['baseline', 'limit']].max()
            table = group.pivot(index=KEY, columns='factor', values='value')
            table = table.loc[chance.index, group['factor'].unique()]
            table = table.join(chance.rename(columns={'baseline': 'chance'}))
            table = (table.round(3) + 0).join(separates)  # No zero has a sign.
            table.index = [f'{side}: {measure}' for _, measure, side in table.index]
            aligned = table.to_string(na_rep='', float_format='{:.3f}'.format)
            lines += ['', title, *textwrap.wrap(text, 88)]
            lines += map(str.rstrip, aligned.splitlines())
        return '\n'.join([*lines, *(f'\nNote: {note}' for note in self.notes)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Plots the values of all factors, a line for each measure, beside what they are
        where there is nothing to be found.

        Args:
            ax: Where to plot (default: in a new figure).
        """
        table = self.table
        label = table['group'] + ', ' + table['side'] + ': ' + table['measure']
        line = pd.Series(pd.factorize(label)[0], table.index)
        line += (table['group'] != table['group'].shift()).cumsum() - 1  # Gaps.
        ax = style.new_axes(ax, 9, 1.6 + 0.2 * float(line.max()))
        for column, shade in (('baseline', '0.75'), ('limit', '0.35')):
            ax.plot(table[column], line, '|', color=shade, ms=9, mew=2, label=column)
        for factor, part in table.groupby('factor', sort=False):
            ax.plot(
                part['value'], line[part.index], 'o', alpha=0.7, label=style.plain(factor)
            )
        ticks = dict(zip(line, label, strict=True))
        ax.set_yticks(list(ticks), [*map(style.plain, ticks.values())], fontsize='small')
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
    num_permutations: int = 100,
    categories: Sequence[Any] | Tensor | None = None,
) -> DisentanglementReport:
    r"""Measures how far the factors of a model are told apart.

    On interactions in contexts, *e.g.*, of :class:`IEDR`: context invariance of each
    factor, shares of its variance, linear probes of users, items and the fields of
    contexts, the dependence of the factors, and the ranking by each part of the score.
    Users and items are seen in contexts of other rows, so that who tends to be in which
    context, a fact of the data, is not held against the model.

    On the graph of users and items, *e.g.*, of :class:`DICE`: the dependence of the
    factors, what each knows of popularity and, given held-out edges, how it ranks.

    Of a model that makes users of their items, *e.g.*, :class:`MacridVAE`, the graph says
    which items they have. Its factors are its concepts: how clearly items belong to one,
    how far users' vectors of different concepts, and the dimensions of one, depend on
    each other.

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
        lists: The lists of candidates to rank (default: 200 positive rows, each with 99
            negatives), or the graph of held-out edges (default: nothing is ranked).
        num_samples: The number of rows to draw.
        seed: The seed of all draws.
        truth: Maps users, items and contexts (of a graph: users and items) to their true
            scores, a named tuple or a dictionary of tensors, *e.g.*, :obj:`true_scores`
            of :class:`PlantedFactors` or :class:`PlantedClicks` (default: that of the
            data, if it has any).
        num_permutations: The number of random pairings of the rows of two factors, to
            tell how dependent they seem where they are not.
        categories: The category of each item of the graph, :obj:`None` where it is not
            known, to compare the concepts of the model with.

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
    study = Study(made, truth, num_samples, num_permutations, seed)
    if isinstance(data, BipartiteGraph):
        if not isinstance(lists, BipartiteGraph | None):
            raise ValueError(f'`lists` must be a BipartiteGraph (got {lists!r})')
        found: list[Row | str] = [*graph_rows(study, data, lists, categories)]
    else:
        if categories is not None:
            raise ValueError('The `categories` of items go with a BipartiteGraph')
        if not isinstance(lists, CandidateLists | None):
            raise ValueError(f'`lists` must be CandidateLists (got {lists!r})')
        found = [*context_rows(study, data, lists)]
    notes = [] if made.factor_names else ['The model has no factors to tell apart']
    notes += [one for one in found if isinstance(one, str)]
    rows = [one for one in found if not isinstance(one, str)]
    groups = list(GROUPS)
    rows.sort(key=lambda row: groups.index(row.group))
    return DisentanglementReport(as_table(rows), tuple(dict.fromkeys(notes)))
