"""How far a model tells its factors apart, as one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iedr_geo.analysis.report.contexts import context_rows
from iedr_geo.analysis.report.graphs import graph_rows
from iedr_geo.analysis.report.report import DisentanglementReport, as_table
from iedr_geo.analysis.report.study import MIN_ROWS, Row, Study
from iedr_geo.analysis.report.texts import GROUPS
from iedr_geo.data import BipartiteGraph, CandidateLists, InteractionDataset
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.scoring import scorer


def disentanglement_report(
    model: Model,
    data: InteractionDataset | BipartiteGraph,
    lists: CandidateLists | BipartiteGraph | None = None,
    num_samples: int = 2000,
    seed: int = 0,
    truth: Callable[..., Any] | None = None,
    num_permutations: int = 100,
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
        num_permutations: How often the rows of two factors are paired at random, to tell
            how dependent they seem where they are not.

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
        found: list[Row | str] = [*graph_rows(study, data, lists)]
    else:
        if not isinstance(lists, CandidateLists | None):
            raise ValueError(f'`lists` must be CandidateLists (got {lists!r})')
        found = [*context_rows(study, data, lists)]
    notes = [] if made.factors else ['The model has no factors to tell apart']
    notes += [one for one in found if isinstance(one, str)]
    rows = [one for one in found if not isinstance(one, str)]
    groups = list(GROUPS)
    rows.sort(key=lambda row: groups.index(row.group))
    return DisentanglementReport(as_table(rows), tuple(dict.fromkeys(notes)))
