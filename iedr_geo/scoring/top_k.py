"""The best of a catalogue, ties in the order of the catalogue."""

from __future__ import annotations

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.data.feature_graphs import ragged_arange

Pairs = tuple[Tensor, Tensor]


def items_of(graph: BipartiteGraph, users: Tensor, items: Tensor | None = None) -> Pairs:
    """Returns the items that users have, as pairs of index and item.

    Args:
        graph: The items that users have.
        users: Users, of shape :math:`(Q)`. Those that are not of the graph have nothing.
        items: The items that count, of shape :math:`(I)` (default: all).

    Returns:
        Which of the users, and their item, each of shape :math:`(E)`. Given
        :obj:`items`, which of them it is.
    """
    inside = ((users >= 0) & (users < graph.num_users)).nonzero().view(-1)
    edge, ptr = ragged_arange(graph.ptr, users[inside])
    row, item = inside.repeat_interleave(ptr.diff()), graph.item[edge]
    if items is None:
        return row, item
    column = torch.full((graph.num_items,), -1, device=items.device)
    column[items] = torch.arange(len(items), device=items.device)
    kept = column[item] >= 0
    return row[kept], column[item[kept]]


def top_k(scores: Tensor, k: int, hidden: Pairs | None = None) -> tuple[Tensor, Tensor]:
    """Returns the highest scores of each row and whose they are.

    Of equal scores the earlier item comes first, also where they compete for the last
    place.

    Args:
        scores: Scores of shape :math:`(Q, I)`. Those of hidden items are overwritten.
        k: The number of items that are wanted.
        hidden: The pairs that are left out: rows, and an item of each, of shape
            :math:`(E)`.

    Returns:
        Scores and items, of shape :math:`(Q, K)`, best first. Where fewer than :math:`k`
        are left, the item is :obj:`-1`.
    """
    if hidden is not None:
        scores[hidden] = -torch.inf
    k = min(k, scores.size(1))
    values, items = scores.topk(min(k + 1, scores.size(1)), dim=1)
    if values[:, :1].isnan().any():  # They are sorted as the highest.
        raise ValueError(f'{int(scores.isnan().sum())} of the scores are NaN')
    # The order of equal scores, and which of them is the last, is left open by `topk`.
    is_open = (values[:, 1:] == values[:, :-1]).any(dim=1)
    values, items = values[:, :k], items[:, :k]
    if hidden is not None:  # Or there are fewer left.
        is_open |= values.isneginf().any(dim=1)
    rows = is_open.nonzero().view(-1)
    if rows.numel():
        values[rows], items[rows] = _sorted(scores, rows, k, hidden)
    return values, items


def _sorted(scores: Tensor, rows: Tensor, k: int, hidden: Pairs | None) -> Pairs:
    """Returns the top of some rows, which may have fewer than :math:`k` items left."""
    left_out = torch.zeros_like(scores, dtype=torch.bool)
    if hidden is not None:
        left_out[hidden] = True
    left_out, scores = left_out[rows], scores[rows]
    # A score of -inf is better than none.
    lowest = torch.finfo(scores.dtype).min
    scores = scores.clamp(min=lowest).masked_fill(left_out, -torch.inf)
    values, items = scores.sort(dim=1, descending=True, stable=True)
    values, items = values[:, :k], items[:, :k]
    items = torch.where(left_out.gather(1, items), -1, items)
    return values.masked_fill(values == lowest, -torch.inf), items


def first_of(group: Tensor) -> Tensor:
    """Returns, for each element, the index of the first one of its group.

    Args:
        group: The group of each element, integers of any size, of shape :math:`(N)`.
    """
    _, group = torch.unique(group, return_inverse=True)
    index = torch.arange(group.numel(), device=group.device)
    first = torch.full_like(index, group.numel())
    return first.scatter_reduce(0, group, index, 'amin')[group]
