"""Rankings by which a model is judged, some lists at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, CandidateLists, InteractionDataset
from iedr_geo.data.bipartite import check_one_log
from iedr_geo.data.feature_graphs import ragged_arange
from iedr_geo.evaluation.evaluation import Evaluation
from iedr_geo.evaluation.top_ranks import top_metrics
from iedr_geo.metrics import AUC, NDCG, HitRatio, RankedLists, RankingMetric, Recall
from iedr_geo.scoring import CatalogueScorer, Queries, items_of
from iedr_geo.scoring.catalogue_scorer import CELLS

DEFAULT_METRICS: tuple[RankingMetric, ...] = (NDCG(5), NDCG(10), Recall(5), Recall(10))
GRAPH_METRICS: tuple[RankingMetric, ...] = tuple(
    metric(k) for k in (20, 50) for metric in (Recall, HitRatio, NDCG)
)
ROWS = 1 << 16  # Of candidate lists that are scored at a time.


class Ranked(NamedTuple):
    """The metrics of some lists.

    Args:
        lists: Which lists, of shape :math:`(L)`.
        values: Their metrics, of shape :math:`(L, M)`.
        scores: The scores of all their candidates, where all rows together are judged.
        target: Which candidates are to be found, likewise.
    """

    lists: Tensor
    values: Tensor
    scores: Tensor | None = None
    target: Tensor | None = None


class Rankings(ABC):
    """Lists to be ranked, each for one user, and what is to be found in them.

    Evaluation takes them all in one go, training on several processes a share each.

    Args:
        user: The user of each list, of shape :math:`(L)`.
        context: The context of each list, if there are any.
        metrics: The metrics of a list.
    """

    def __init__(
        self, user: Tensor, context: Tensor | None, metrics: Sequence[RankingMetric]
    ) -> None:
        if not metrics:
            raise ValueError('There are no metrics to compute')
        self.queries = Queries(user, context)
        self.metrics = tuple(metrics)

    @property
    def names(self) -> list[str]:
        """The names of the metrics."""
        return [metric.name for metric in self.metrics]

    def __len__(self) -> int:
        return len(self.queries)

    @abstractmethod
    def chunks(self, rank: int = 0, world: int = 1) -> list[Tensor]:
        """Returns which lists to rank at a time.

        Args:
            rank: The number of this process among those that share the lists.
            world: How many there are. Each has at least one chunk, which may be empty.
        """

    @abstractmethod
    def rank(self, scorer: CatalogueScorer, lists: Tensor) -> Ranked:
        """Ranks some lists."""

    @abstractmethod
    def evaluation(self, ranked: Sequence[Ranked]) -> Evaluation:
        """Returns what all chunks say together."""

    def _values(self, ranked: Sequence[Ranked]) -> pd.DataFrame:
        """Returns the metrics of all lists, missing where one was not ranked."""
        size = len(self), len(self.metrics)
        values = torch.full(size, torch.nan, dtype=torch.double)
        for part in ranked:
            values[part.lists.cpu()] = part.values.cpu()
        return pd.DataFrame(values.numpy(), columns=[m.name for m in self.metrics])


def _means(per_list: pd.DataFrame) -> dict[str, float]:
    return {str(name): float(value) for name, value in per_list.mean().items()}


class CandidateRankings(Rankings):
    """Rankings of candidate lists.

    Args:
        dataset: Where users, items and contexts are.
        lists: What to rank.
        metrics: The metrics of a list. The AUC over all rows is always computed.
    """

    auc = AUC()

    def __init__(
        self,
        dataset: InteractionDataset,
        lists: CandidateLists,
        metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
    ) -> None:
        super().__init__(lists.user, lists.context, metrics)
        order = torch.argsort(lists.list_index, stable=True)
        self.item, self.target = lists.item[order], lists.target[order]
        sizes = torch.bincount(lists.list_index, minlength=len(lists))
        self.ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self.user_ids = dataset.user_ids

    @property
    def names(self) -> list[str]:
        """The names of the metrics, the AUC among them."""
        return [*super().names, AUC.name]

    def chunks(self, rank: int = 0, world: int = 1) -> list[Tensor]:
        """Returns lists, as many at a time as have a number of rows."""
        lists = torch.arange(len(self))[rank::world]
        chunk = self.ptr.diff()[lists].cumsum(0) // ROWS
        sizes = torch.unique_consecutive(chunk, return_counts=True)[1].tolist()
        return list(lists.split(sizes or [0]))

    def rank(self, scorer: CatalogueScorer, lists: Tensor) -> Ranked:
        """Ranks some lists."""
        lists = lists.to(self.ptr.device)  # Lightning moves them to the model.
        rows, ptr = ragged_arange(self.ptr, lists)
        place = torch.arange(len(lists), device=rows.device).repeat_interleave(ptr.diff())
        item = self.item[rows].to(scorer.device)
        target = self.target[rows].to(scorer.device)
        queries = self.queries[lists[place]].to(scorer.device)
        scores = scorer.scores(queries, item.unsqueeze(1)).squeeze(1)
        ranked = RankedLists.from_rows(
            scores, target, place.to(scorer.device), num_lists=len(lists)
        )
        values = torch.stack([metric(ranked) for metric in self.metrics], dim=1)
        return Ranked(lists, values, scores, target)

    def evaluation(self, ranked: Sequence[Ranked]) -> Evaluation:
        """Returns the metrics of all lists, and the AUC of all their rows."""
        per_list = self._values(ranked)
        metrics = _means(per_list)
        scores = [part.scores for part in ranked if part.scores is not None]
        target = [part.target for part in ranked if part.target is not None]
        metrics[AUC.name] = float(self.auc(torch.cat(scores), torch.cat(target)))
        user, context = self.queries.user.cpu(), self.queries.context
        per_list.insert(0, 'user', self.user_ids[user.numpy()])
        if context is not None:
            per_list.insert(1, 'context', context.cpu().numpy())
        return Evaluation(metrics, per_list)


class CatalogueRankings(Rankings):
    """Rankings of the whole catalogue.

    Build one with :meth:`of_dataset` or :meth:`of_graph`.

    Args:
        user: The user of each list, of shape :math:`(L)`.
        context: The context of each list, if there are any.
        target: What is to be found: lists, sorted, and an item of each.
        seen: What users have, which is left out unless it is to be found.
        catalogue: The items that exist; others are left out unless they are to be found.
        num_items: The number of items.
        metrics: The metrics of a list.
        part: The part of a score that alone is to rank (default: the score).
    """

    all_users: pd.Index | None = None
    """The ids of all users, where those without a list have a row in the results."""

    def __init__(
        self,
        user: Tensor,
        context: Tensor | None,
        target: tuple[Tensor, Tensor],
        seen: BipartiteGraph | None,
        catalogue: Tensor | None,
        num_items: int,
        metrics: Sequence[RankingMetric],
        part: str | None = None,
    ) -> None:
        super().__init__(user, context, metrics)
        self.target_item = target[1]
        sizes = torch.bincount(target[0], minlength=len(user))
        self.ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
        self.seen, self.part, self.num_items = seen, part, num_items
        self.missing = None
        size = num_items
        if catalogue is not None:
            missing = torch.ones(num_items, dtype=torch.bool, device=user.device)
            missing[catalogue] = False
            self.missing = missing.nonzero().view(-1)
            size -= len(self.missing)
        too_large = [metric.name for metric in metrics if metric.k > size]
        if too_large:
            raise ValueError(
                f'{", ".join(too_large)}: the catalogue has only {size} items'
            )

    @classmethod
    def of_dataset(
        cls,
        held_out: InteractionDataset,
        seen: Sequence[InteractionDataset] | None,
        metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
        part: str | None = None,
    ) -> CatalogueRankings:
        """Makes a list of each user and context that held-out rows have together."""
        rows = held_out if held_out.y is None else held_out[held_out.y == 1]
        if len(rows) == 0:
            raise ValueError('There are no positive rows to rank')
        known = None
        if rows.exclude_seen:
            if seen is None:
                raise ValueError(
                    'The dataset leaves out items that a user has seen: pass the rows in '
                    'which as `seen`, e.g. seen=[train, valid] (an empty list for none)'
                )
            check_one_log(rows, *seen)
            device = rows.user.device
            known = BipartiteGraph(  # Of all rows, whatever their labels.
                torch.cat([rows.user[:0], *(part.user.to(device) for part in seen)]),
                torch.cat([rows.item[:0], *(part.item.to(device) for part in seen)]),
                rows.num_users,
                rows.num_items,
            )
        key, index = torch.unique(
            rows.user * rows.num_contexts + rows.context, return_inverse=True
        )
        pair = torch.unique(index * rows.num_items + rows.item)  # Each counts once.
        made = cls(
            key.div(rows.num_contexts, rounding_mode='floor'),
            key % rows.num_contexts,
            (pair.div(rows.num_items, rounding_mode='floor'), pair % rows.num_items),
            known,
            rows.catalogue,
            rows.num_items,
            metrics,
            part,
        )
        made.user_ids = rows.user_ids
        return made

    @classmethod
    def of_graph(
        cls,
        held_out: BipartiteGraph,
        seen: BipartiteGraph | None,
        metrics: Sequence[RankingMetric] = GRAPH_METRICS,
        part: str | None = None,
    ) -> CatalogueRankings:
        """Makes a list of each user that has held-out edges."""
        if held_out.num_edges == 0:
            raise ValueError('There are no edges to be found')
        if seen is None:
            raise ValueError(
                'Items that a user has seen are left out: pass the training graph as '
                '`seen` (one without edges for none)'
            )
        size = held_out.num_users, held_out.num_items
        if (seen.num_users, seen.num_items) != size:
            raise ValueError(
                f'The held-out graph has {size[0]} users and {size[1]} items, the seen '
                f'graph {seen.num_users} and {seen.num_items}'
            )
        users, index = torch.unique(held_out.user, return_inverse=True)
        target = index, held_out.item
        made = cls(
            users,
            None,
            target,
            seen.to(held_out.device),
            held_out.catalogue,
            held_out.num_items,
            metrics,
            part,
        )
        made.user_ids = made.all_users = pd.Index(held_out.user_ids)
        return made

    user_ids: pd.Index

    def chunks(self, rank: int = 0, world: int = 1) -> list[Tensor]:
        """Returns lists, those of one context together."""
        context = self.queries.context
        lists = torch.arange(len(self), device=self.ptr.device)
        if context is not None:
            lists = torch.argsort(context, stable=True)
        return list(lists[rank::world].split(max(1, CELLS // self.num_items)))

    def rank(self, scorer: CatalogueScorer, lists: Tensor) -> Ranked:
        """Ranks the catalogue for some lists."""
        self._to(scorer.device)
        lists = lists.to(scorer.device)
        queries = self.queries[lists]
        scores = scorer.part(self.part, queries)
        targets, ptr = ragged_arange(self.ptr, lists)
        row = torch.arange(len(lists), device=lists.device).repeat_interleave(ptr.diff())
        target = row, self.target_item[targets]
        hidden = None if self.seen is None else items_of(self.seen, queries.user)
        values = top_metrics(scores, target, self.metrics, hidden, self.missing)
        return Ranked(lists, values)

    def _to(self, device: torch.device) -> None:
        if self.ptr.device == device:
            return
        self.queries = self.queries.to(device)
        self.ptr, self.target_item = self.ptr.to(device), self.target_item.to(device)
        self.missing = None if self.missing is None else self.missing.to(device)
        self.seen = None if self.seen is None else self.seen.to(device)

    def evaluation(self, ranked: Sequence[Ranked]) -> Evaluation:
        """Returns the metrics of all lists, or of all users of a graph."""
        per_list = self._values(ranked)
        user = self.queries.user.cpu().numpy()
        if self.all_users is not None:
            per_list.index = pd.Index(user)
            per_list = per_list.reindex(range(len(self.all_users)))
            metrics = _means(per_list)
            per_list.insert(0, 'user', self.all_users)
            return Evaluation(metrics, per_list)
        metrics = _means(per_list)
        per_list.insert(0, 'user', self.user_ids[user])
        if self.queries.context is not None:
            per_list.insert(1, 'context', self.queries.context.cpu().numpy())
        return Evaluation(metrics, per_list)
