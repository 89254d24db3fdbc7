"""Metrics of the top of many rankings of one catalogue."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from iedr_geo.metrics import RankedLists, RankingMetric
from iedr_geo.scoring.top_k import Pairs


def top_metrics(
    scores: Tensor,
    target: Pairs,
    metrics: Sequence[RankingMetric],
    hidden: Pairs | None = None,
    missing: Tensor | None = None,
) -> Tensor:
    r"""Ranks a catalogue for each row of a matrix and returns the metrics of the top.

    Equal to ``RankedLists.from_dense`` with all that is not left out, ties and all,
    without sorting the rest of the catalogue.

    Args:
        scores: Finite scores of shape :math:`(L, I)`. They are overwritten.
        target: The positives: rows, and an item of each, of shape :math:`(T)`.
        metrics: The metrics.
        hidden: The pairs that are left out unless they are to be found, likewise,
            :math:`(E)`.
        missing: The items that are left out of all rows, unless they are to be found.

    Returns:
        Values of shape :math:`(L, M)`, in float64.
    """
    size = len(scores)
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[target] = True
    kept = scores[target]
    if hidden is not None:
        scores[hidden] = -torch.inf
    if missing is not None:
        scores.index_fill_(1, missing, -torch.inf)
    scores[target] = kept

    k = min(max(metric.k for metric in metrics), scores.size(1))
    values, items = scores.topk(min(k + 1, scores.size(1)), dim=1)
    num_positives = torch.bincount(target[0], minlength=size)
    out = torch.empty(size, len(metrics), dtype=torch.double, device=scores.device)
    # Where scores are equal, or candidates run out, the order is open.
    is_open = (values[:, 1:] == values[:, :-1]).any(dim=1)
    hits = positive.gather(1, items[:, :k])[~is_open]
    out[~is_open] = values_of(
        metrics, RankedLists.from_hits(hits, num_positives[~is_open])
    )
    rows = is_open.nonzero().view(-1)
    if not len(rows):
        return out
    candidates = scores[rows] >= values[rows, k - 1].unsqueeze(1)
    left_out = torch.zeros_like(positive)
    if hidden is not None:
        left_out[hidden] = True
    if missing is not None:
        left_out.index_fill_(1, missing, True)
    row, item = (candidates & (~left_out | positive)[rows]).nonzero(as_tuple=True)
    ranked = RankedLists.from_rows(
        scores[rows[row], item],
        positive[rows[row], item],
        row,
        num_lists=len(rows),
        num_positives=num_positives[rows],
    )
    out[rows] = values_of(metrics, ranked)
    return out


def values_of(metrics: Sequence[RankingMetric], ranked: RankedLists) -> Tensor:
    """Returns the metrics of lists, of shape :math:`(L, M)`."""
    return torch.stack([metric(ranked) for metric in metrics], dim=1)
