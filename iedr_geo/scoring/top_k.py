"""The best of a catalogue, ties in the order of the catalogue."""

from __future__ import annotations

import torch
from torch import Tensor


def top_k(scores: Tensor, k: int, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns the highest scores of each row and whose they are.

    Of equal scores the earlier item comes first, also where they compete for the last
    place.

    Args:
        scores: Scores of shape :math:`(N, I)`. Those of hidden items are overwritten.
        k: How many are wanted.
        hidden: Whether each item is left out, boolean, of shape :math:`(N, I)`.

    Returns:
        Scores and items, of shape :math:`(N, K)`, best first. Where fewer than :math:`k`
        are left, the item is :obj:`-1`.
    """
    if hidden is not None:
        # A score of -inf is better than none.
        scores.clamp_(min=torch.finfo(scores.dtype).min)
        scores.masked_fill_(hidden, -torch.inf)
    k = min(k, scores.size(1))
    values, items = scores.topk(min(k + 1, scores.size(1)), dim=1)
    # The order of equal scores, and which of them is the last, is left open by `topk`.
    is_open = (values[:, 1:] == values[:, :-1]).any(dim=1)
    if is_open.any():
        rows = is_open.nonzero().view(-1)
        order = scores[rows].sort(dim=1, descending=True, stable=True)
        width = values.size(1)
        values[rows], items[rows] = order.values[:, :width], order.indices[:, :width]
    values, items = values[:, :k], items[:, :k]
    if hidden is not None:
        items = torch.where(hidden.gather(1, items), -1, items)
        lowest = values == torch.finfo(scores.dtype).min
        values = values.masked_fill(lowest, -torch.inf)
    return values, items


def first_of(group: Tensor) -> Tensor:
    """Returns, for each element, the place of the first one of its group.

    Args:
        group: The group of each element, integers of any size, of shape :math:`(N)`.
    """
    _, group = torch.unique(group, return_inverse=True)
    place = torch.arange(group.numel(), device=group.device)
    first = torch.full_like(place, group.numel())
    return first.scatter_reduce(0, group, place, 'amin')[group]
