"""Evaluation of any model: its rankings of candidate lists and of catalogues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from iedr_geo.data import BipartiteGraph, CandidateLists, InteractionDataset
from iedr_geo.evaluation.evaluation import Evaluation
from iedr_geo.evaluation.rankings import (
    DEFAULT_METRICS,
    CandidateRankings,
    CatalogueRankings,
    Rankings,
)
from iedr_geo.loader import InteractionBatch
from iedr_geo.metrics import RankingMetric
from iedr_geo.scoring import CatalogueScorer, progress_bar, scorer

Model: TypeAlias = CatalogueScorer | Callable[[InteractionBatch], Tensor] | Any


def _evaluate(rankings: Rankings, model: Model, progress: bool, *size: int) -> Evaluation:
    made = scorer(model, rankings.data_for(model))
    bar = progress_bar(rankings.chunks(), 'Ranking', progress, made, *size)
    return rankings.evaluation([rankings.rank(made, lists) for lists in bar])


def evaluate_candidates(
    model: Model,
    dataset: InteractionDataset,
    lists: CandidateLists,
    metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
    progress: bool = True,
) -> Evaluation:
    """Ranks candidate lists.

    Ties count as the expectation over tied orders. Every row counts, also where an item
    recurs in its list.

    Args:
        model: A model or function that maps an :class:`InteractionBatch` to logits, or a
            scorer of one.
        dataset: The users, items and contexts, with their feature graphs.
        lists: The lists to rank.
        metrics: The metrics of a list. The AUC over all rows is always computed.
        progress: If :obj:`True`, a progress bar shows where it takes more than seconds.
    """
    rankings = CandidateRankings(dataset, lists, metrics)
    return _evaluate(rankings, model, progress, lists.item.numel(), 1)


def evaluate_catalogue(
    model: Model,
    held_out: InteractionDataset | BipartiteGraph,
    seen: Sequence[InteractionDataset] | BipartiteGraph | None = None,
    metrics: Sequence[RankingMetric] | None = None,
    *,
    history: BipartiteGraph | None = None,
    part: str | None = None,
    progress: bool = True,
) -> Evaluation:
    """Ranks the whole catalogue for each user, in each context that held-out rows have.

    The items of all rows with the same user and context are to be found together. Ties
    count as the expectation over tied orders. Of a graph, the means are over users with
    something to be found; :obj:`over_all_lists` of the result has all users in them.

    Unless the data are a log of repeated use (:obj:`exclude_seen=False`), what a user has
    seen is left out and is no target; :obj:`lists_left_out` of the result counts the
    lists that had no other.

    Args:
        model: A model that fits the data, or a scorer of one.
        held_out: The rows or edges to be found. Items that are not in their catalogue are
            left out of the rankings, unless they are to be found.
        seen: The rows or edges that users have seen, *e.g.*, training and validation
            rows or the training graph. Needed, unless the data are a log of repeated use
            (of graphs, both or either), where it has no effect.
        metrics: The metrics of a list (default: NDCG and recall at 5 and 10; of a graph
            recall, hit ratio and NDCG at 20 and 50).
        history: The items that users are made of by models that make them of some, such
            as auto-encoders (default: those seen).
        part: The part of a score that alone is to rank, *e.g.*, :obj:`'interest'`
            (default: the whole score).
        progress: If :obj:`True`, a progress bar shows where it takes more than seconds.

    Raises:
        ValueError: If there is nothing to be found, also because all of it was seen, a
            metric needs more items than there are, or model, held-out and seen parts do
            not fit each other.
    """
    rankings = CatalogueRankings(held_out, seen, metrics, part, history)
    return _evaluate(rankings, model, progress, len(rankings))
