"""The best of a catalogue, ties in the order of the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
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


Name = Callable[[int, int], str]
_PLACE: Name = 'item {1} in row {0}'.format


def names_of(
    ids: Sequence[Sequence[Any] | pd.Index], user: Tensor, item: Tensor | None = None
) -> Name:
    """Returns what says whose a score is, by the ids of user and item.

    Args:
        ids: The ids of all users and of all items. The numbers of new ones are higher.
        user: The user of each row of scores.
        item: The items of the columns, or of each score (default: the catalogue).
    """

    def text(side: str, ids: Sequence[Any] | pd.Index, number: int) -> str:
        return f"{side} '{ids[number]}'" if number < len(ids) else f'a new {side}'

    def name(row: int, column: int) -> str:
        number = column if item is None else int(item.expand(len(user), -1)[row, column])
        return (
            f'{text("item", ids[1], number)} for {text("user", ids[0], int(user[row]))}'
        )

    return name


def check_finite(scores: Tensor, name: Name = _PLACE, what: str = 'scores') -> None:
    """Raises an error if a score is infinite or NaN.

    A sort would put it first or last without a word, which reads as a ranking.

    Args:
        scores: Scores of shape :math:`(Q, I)`.
        name: Says whose the score at a row and a column is.
        what: What they are, if no scores.

    Raises:
        ValueError: Names the first such score, and how many there are.
    """
    if scores.numel() == 0 or torch.stack(scores.aminmax()).isfinite().all():
        return
    wrong = (~scores.isfinite()).nonzero()
    row, column = wrong[0].tolist()
    raise ValueError(
        f'{len(wrong)} of {scores.numel()} {what} are not finite, the first of them that '
        f'of {name(row, column)}: {float(scores[row, column])}'
    )


def top_k(
    scores: Tensor,
    k: int,
    hidden: Pairs | None = None,
    name: Name = _PLACE,
) -> tuple[Tensor, Tensor]:
    """Returns the highest scores of each row and whose they are.

    Of equal scores the earlier item comes first, also where they compete for the last
    place.

    Args:
        scores: Scores of shape :math:`(Q, I)`. Those of hidden items are overwritten.
        k: The number of items that are wanted.
        hidden: The pairs that are left out: rows, and an item of each, of shape
            :math:`(E)`.
        name: As in :func:`check_finite`.

    Returns:
        Scores and items, of shape :math:`(Q, K)`, best first. Where fewer than :math:`k`
        are left, the item is :obj:`-1`.

    Raises:
        ValueError: If a score is not finite, also of what is left out.
    """
    check_finite(scores, name)
    if hidden is not None:
        scores[hidden] = -torch.inf
    k = min(k, scores.size(1))
    values, items = scores.topk(min(k + 1, scores.size(1)), dim=1)
    # The order of equal scores, and which of them is the last, is left open by `topk`.
    rows = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero().view(-1)
    values, items = values[:, :k], items[:, :k]
    if rows.numel():
        best, order = scores[rows].sort(dim=1, descending=True, stable=True)
        values[rows], items[rows] = best[:, :k], order[:, :k]
    return values, items.masked_fill(values.isneginf(), -1)


def first_of(group: Tensor) -> Tensor:
    """Returns, for each element, the index of the first one of its group.

    Args:
        group: The group of each element, integers of any size, of shape :math:`(N)`.
    """
    _, group = torch.unique(group, return_inverse=True)
    index = torch.arange(group.numel(), device=group.device)
    first = torch.full_like(index, group.numel())
    return first.scatter_reduce(0, group, index, 'amin')[group]
