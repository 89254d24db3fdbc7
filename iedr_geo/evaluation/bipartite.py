"""Full rankings by models of the graph of users and items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation.evaluation import Evaluation, evaluating
from iedr_geo.evaluation.top_ranks import top_ranks
from iedr_geo.metrics import NDCG, HitRatio, RankingMetric, Recall

BIPARTITE_METRICS: tuple[RankingMetric, ...] = tuple(
    metric(k) for k in (20, 50) for metric in (Recall, HitRatio, NDCG)
)


class Embedder(Protocol):
    """What has a vector for each user and each item."""

    @property
    def factors(self) -> dict[str, slice]:
        """The columns of the vectors that stand for one cause each, by name."""

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """Returns the vectors of all users and all items."""


class ScoredUsers:
    """The scores of the whole catalogue, some users at a time.

    Args:
        model: What has the vectors.
        factor: The factor that alone is to score (default: all together).
        batch_size: The number of pairs to score at a time, at least one catalogue.
        progress: Whether to show a progress bar.
    """

    def __init__(
        self,
        model: Embedder,
        factor: str | None = None,
        batch_size: int = 1 << 23,
        progress: bool = False,
    ) -> None:
        if factor is not None and factor not in model.factors:
            raise ValueError(
                f"The model has no factor '{factor}' (it has: "
                f'{", ".join(model.factors) or "none"})'
            )
        with evaluating(model):
            self.user, self.item = model.embeddings()
        if factor is not None:
            columns = model.factors[factor]
            self.user, self.item = self.user[:, columns], self.item[:, columns]
        self.batch_size, self.progress = batch_size, progress

    def chunks(self, users: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields users and their scores of all items, of shape :math:`(L, I)`."""
        per_chunk = max(1, self.batch_size // max(1, len(self.item)))
        chunks = users.split(per_chunk)
        items = self.item.t()
        for chunk in tqdm(chunks, desc='Ranking', disable=not self.progress):
            yield chunk, self.user[chunk] @ items


def mark_items(graph: BipartiteGraph, users: Tensor) -> Tensor:
    """Returns whether users have items, of shape :math:`(L, I)`.

    Args:
        graph: What users have.
        users: Users, of shape :math:`(L)`.
    """
    size = graph.user_degree[users]
    row = torch.arange(users.numel(), device=users.device).repeat_interleave(size)
    shift = (graph.ptr[users] - (size.cumsum(0) - size)).repeat_interleave(size)
    edge = torch.arange(row.numel(), device=users.device) + shift
    mask = torch.zeros(
        (users.numel(), graph.num_items), dtype=torch.bool, device=users.device
    )
    mask[row, graph.item[edge]] = True
    return mask


def evaluate_bipartite(
    model: Embedder,
    held_out: BipartiteGraph,
    seen: BipartiteGraph,
    metrics: Sequence[RankingMetric] = BIPARTITE_METRICS,
    factor: str | None = None,
    batch_size: int = 1 << 23,
    progress: bool = False,
) -> Evaluation:
    """Ranks all items that a user has not seen, for each user.

    Ties count as the expectation over tied orders. The means are over users with
    something to be found; :obj:`over_all_lists` of the result has all users in them.

    Args:
        model: What has the vectors, *e.g.*, any model of :mod:`iedr_geo.nn` for the
            bipartite graph.
        held_out: The edges to be found. Items that are not in its catalogue are left out
            of the rankings, unless they are to be found.
        seen: The training edges. Their items are left out of their users' rankings,
            unless they are to be found.
        metrics: The metrics.
        factor: The factor that alone is to rank (default: all together).
        batch_size: The number of pairs to score at a time, at least one catalogue: five
            bytes and a few more each.
        progress: Whether to show a progress bar.

    Raises:
        ValueError: If there is nothing to be found, a metric needs more items than there
            are, or the graphs are not of the same users and items.
    """
    if not metrics:
        raise ValueError('There are no metrics to compute')
    if held_out.num_edges == 0:
        raise ValueError('There are no edges to be found')
    scored = ScoredUsers(model, factor, batch_size, progress)
    size = len(scored.user), len(scored.item)
    for graph, name in ((held_out, 'held-out'), (seen, 'seen')):
        if (graph.num_users, graph.num_items) != size:
            raise ValueError(
                f'The model has {size[0]} users and {size[1]} items, the {name} graph '
                f'{graph.num_users} and {graph.num_items}'
            )
    too_large = [m.name for m in metrics if m.k > len(held_out.existing)]
    if too_large:
        raise ValueError(
            f'{", ".join(too_large)}: the catalogue has only {len(held_out.existing)} '
            f'items'
        )
    held_out, seen = (graph.to(scored.user.device) for graph in (held_out, seen))
    users = (held_out.user_degree > 0).nonzero().view(-1)
    k = max(metric.k for metric in metrics)
    missing = torch.ones(size[1], dtype=torch.bool, device=users.device)
    missing[held_out.existing] = False
    found = []
    for chunk, score in scored.chunks(users):
        target = mark_items(held_out, chunk)
        hidden = (mark_items(seen, chunk) | missing) & ~target
        ranked = top_ranks(score, target, hidden, k)
        found.append(torch.stack([metric(ranked) for metric in metrics], dim=1))
    values = torch.full(
        (size[0], len(metrics)), torch.nan, dtype=torch.double, device=users.device
    )
    values[users] = torch.cat(found)
    per_list = pd.DataFrame(values.cpu().numpy(), columns=[m.name for m in metrics])
    means = {str(name): float(value) for name, value in per_list.mean().items()}
    per_list.insert(0, 'user', held_out.user_ids)
    return Evaluation(means, per_list)
