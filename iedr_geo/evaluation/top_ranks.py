"""The top of many rankings of one catalogue."""

from __future__ import annotations

import torch
from torch import Tensor

from iedr_geo.metrics import RankedLists


def top_ranks(scores: Tensor, target: Tensor, hidden: Tensor, k: int) -> RankedLists:
    r"""Ranks the catalogue for each row of a matrix, down to rank :math:`k` and its ties.

    Equal to ``RankedLists.from_dense(scores, target, ~hidden)`` in all metrics of the top
    :math:`k`, without sorting the rest of the catalogue.

    Args:
        scores: Scores of shape :math:`(L, I)`. Those of hidden items are overwritten.
        target: Whether each item is to be found, boolean, of shape :math:`(L, I)`.
        hidden: Whether each item is left out, boolean, of shape :math:`(L, I)`.
        k: The number of ranks.
    """
    scores.masked_fill_(hidden, -torch.inf)
    kept = min(k, scores.size(1))
    values, items = scores.topk(min(k + 1, scores.size(1)), dim=1)
    lowest = values[:, kept - 1]
    # Where rank k ties with what follows, or candidates run out, ranks are open below.
    is_open = torch.isneginf(lowest)
    if values.size(1) > kept:
        is_open |= lowest == values[:, -1]
    closed = (~is_open).nonzero()
    rows = is_open.nonzero().view(-1)
    tied = (scores[rows] >= lowest[rows].unsqueeze(1)) & ~hidden[rows]
    place, item = tied.nonzero(as_tuple=True)
    list_index = torch.cat([closed.expand(-1, kept).flatten(), rows[place]])
    item = torch.cat([items[closed.view(-1), :kept].flatten(), item])
    return RankedLists.from_rows(
        scores[list_index, item],
        target[list_index, item].long(),
        list_index,
        num_lists=len(scores),
        num_positives=(target & ~hidden).sum(dim=1),
    )
