"""The overlap of rankings with the most popular items."""

from __future__ import annotations

from numbers import Integral

import torch

from iedr_geo.data import BipartiteGraph
from iedr_geo.data.arguments import check_type
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.scoring import Queries, items_of, progress_bar, scorer, top_k


def popularity_overlap(
    model: Model,
    train: BipartiteGraph,
    k: int = 50,
    part: str | None = None,
    progress: bool = True,
) -> float:
    r"""Returns the mean intersection over union of each user's top :math:`k` with the
    :math:`k` most popular items (Section 4.3.1 of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_), both without the user's training items.

    Of items of equal popularity the later one counts as the more popular. A user to whom
    fewer than :math:`k` items are left has as many in either set.

    Args:
        model: A model of the graph, or a scorer of one.
        train: The training edges, whose popularity counts.
        k: The number of items.
        part: The part of a score that alone is to rank, *e.g.*, :obj:`'interest'`
            (default: the whole score).
        progress: If :obj:`True`, a bar shows how far it is where it takes more than
            seconds.
    """
    check_type(train, 'train', BipartiteGraph)
    if not isinstance(k, Integral) or not 0 < k <= train.num_items:
        raise ValueError(f'`k` must be from 1 to {train.num_items} (got {k})')
    made = scorer(model, train)
    train = train.to(made.device)
    items = torch.arange(train.num_items, device=made.device)
    rank = torch.empty_like(items, dtype=torch.float)
    rank[train.by_popularity] = items.to(rank)
    total = 0.0
    chunks = torch.arange(train.num_users, device=made.device).split(made.chunk_size())
    for users in progress_bar(chunks, 'Ranking', progress, made, train.num_users):
        seen = items_of(train, users)
        score = made.part(part, Queries(users))
        tops = []
        for values in (score, rank.repeat(len(users), 1)):
            best = top_k(values, k, seen)[1] % (train.num_items + 1)
            top = best.new_zeros(len(users), train.num_items + 1, dtype=torch.bool)
            # What is missing is in the last column.
            tops.append(top.scatter_(1, best, True)[:, :-1])
        both, either = (tops[0] & tops[1]).sum(1), (tops[0] | tops[1]).sum(1)
        total += float((both / either.clamp(min=1)).sum())
    return total / train.num_users
