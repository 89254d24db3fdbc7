"""How much of a ranking is the most popular items."""

from __future__ import annotations

import torch

from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation import ScoredUsers, mark_items
from iedr_geo.evaluation.bipartite import Embedder


def popularity_overlap(
    model: Embedder,
    train: BipartiteGraph,
    k: int = 50,
    factor: str | None = None,
    batch_size: int = 1 << 23,
) -> float:
    r"""Returns the mean intersection over union of each user's top :math:`k` with the
    :math:`k` most popular items (Section 4.3.1 of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_), both without the user's training items.

    Items of equal popularity are ordered by number. A user to whom fewer than :math:`k`
    items are left has as many in either set.

    Args:
        model: What has the vectors.
        train: The training edges, whose popularity counts.
        k: The number of items.
        factor: The factor that alone is to rank (default: all together).
        batch_size: As in :func:`evaluate_bipartite`.
    """
    if not 0 < k <= train.num_items:
        raise ValueError(f'`k` must be from 1 to {train.num_items} (got {k})')
    scored = ScoredUsers(model, factor, batch_size)
    size = len(scored.user), len(scored.item)
    if size != (train.num_users, train.num_items):
        raise ValueError(
            f'The model has {size[0]} users and {size[1]} items, the graph '
            f'{train.num_users} and {train.num_items}'
        )
    device = scored.user.device
    train = train.to(device)
    rank = torch.empty(train.num_items, device=device)
    rank[train.by_popularity] = torch.arange(train.num_items, device=device).to(rank)
    total = 0.0
    for chunk, score in scored.chunks(torch.arange(train.num_users, device=device)):
        seen = mark_items(train, chunk)
        tops = []
        for values in (score, rank.expand_as(score)):
            best = values.masked_fill(seen, -torch.inf).topk(k, dim=1)
            top = torch.zeros_like(seen).scatter_(1, best.indices, True)
            tops.append(top & ~seen)
        both, either = (tops[0] & tops[1]).sum(1), (tops[0] | tops[1]).sum(1)
        total += float((both / either.clamp(min=1)).sum())
    return total / train.num_users
