"""Ranking metrics of strict orders, and their mean over all orders of tied scores."""

import math
from collections.abc import Iterator, Sequence
from itertools import chain, permutations, product

from iedr_geo.metrics import RankingMetric


def value_of_order(metric: RankingMetric, targets: Sequence[int]) -> float:
    """The textbook value of one strict order of targets."""
    hits = [rank for rank, y in enumerate(targets, start=1) if y and rank <= metric.k]
    if metric.label == 'hit_ratio':
        return float(len(hits) > 0)
    if metric.label == 'mrr':
        return 1 / hits[0] if hits else 0.0
    if metric.label == 'recall':
        return len(hits) / sum(targets)
    if metric.label == 'precision':
        return len(hits) / metric.k
    if metric.label == 'f1':
        precision, recall = len(hits) / metric.k, len(hits) / sum(targets)
        return 2 * precision * recall / (precision + recall) if hits else 0.0
    if metric.label == 'truncated_recall':
        return len(hits) / min(metric.k, sum(targets))
    ideal = range(1, min(metric.k, sum(targets)) + 1)
    return sum(1 / math.log2(r + 1) for r in hits) / sum(
        1 / math.log2(r + 1) for r in ideal
    )


def orders(scores: Sequence[float], targets: Sequence[int]) -> Iterator[list[int]]:
    """The targets in every order that has scores descending."""
    tied = [
        [y for s, y in zip(scores, targets, strict=True) if s == score]
        for score in sorted(set(scores), reverse=True)
    ]
    for order in product(*map(permutations, tied)):
        yield list(chain(*order))


def expectation(
    metric: RankingMetric, scores: Sequence[float], targets: Sequence[int]
) -> float:
    """The mean over all orders; missing where there is nothing to be found."""
    if not any(targets):
        return math.nan
    values = [value_of_order(metric, order) for order in orders(scores, targets)]
    return sum(values) / len(values)
