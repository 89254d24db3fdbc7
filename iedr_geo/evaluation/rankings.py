"""Rankings by which a model is judged, some lists at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from iedr_geo.data import BipartiteGraph, CandidateLists, InteractionDataset
from iedr_geo.data.arguments import check_type
from iedr_geo.data.bipartite import check_ids, check_one_log
from iedr_geo.data.feature_graphs import ragged_arange
from iedr_geo.data.fingerprint import Fingerprint, check_fits, digest
from iedr_geo.data.warning import warn_caller
from iedr_geo.evaluation.evaluation import Evaluation
from iedr_geo.evaluation.top_ranks import top_metrics, values_of
from iedr_geo.metrics import (
    AUC,
    NDCG,
    HitRatio,
    ListAUC,
    RankedLists,
    RankingMetric,
    Recall,
    TruncatedRecall,
)
from iedr_geo.scoring import (
    CatalogueScorer,
    Queries,
    check_finite,
    items_of,
    names_of,
    reads_history,
)

DEFAULT_METRICS: tuple[RankingMetric, ...] = (NDCG(5), NDCG(10), Recall(5), Recall(10))
GRAPH_METRICS: tuple[RankingMetric, ...] = tuple(
    metric(k) for k in (20, 50) for metric in (Recall, HitRatio, NDCG)
)
HISTORY_METRICS: tuple[RankingMetric, ...] = (
    NDCG(100),
    TruncatedRecall(20),
    TruncatedRecall(50),
)


class Ranked(NamedTuple):
    """The metrics of some lists.

    Args:
        lists: The lists, of shape :math:`(L)`.
        values: Their metrics, of shape :math:`(L, M)`.
        scores: The scores of all their candidates, where all rows together are judged.
        target: 1 for the candidates that are to be found, else 0, likewise.
    """

    lists: Tensor
    values: Tensor
    scores: Tensor | None = None
    target: Tensor | None = None


class Rankings(ABC):
    """Lists to be ranked, each for one user, and what is to be found in them.

    Evaluation takes them all in one go, training on several processes a share each.

    Args:
        queries: The user of each list, and its context if there are any.
        metrics: The metrics of a list.
        list_index: The list of each entry, sorted, of shape :math:`(R)`.
        item: The item of each entry, of shape :math:`(R)`.
        user_ids: The id of the user of each row of the results.
        row: The row of each list in the results (default: there is one for each).
    """

    max_scores: int
    """The bound on the scores of a chunk, beyond which only its last list may go."""

    lists_left_out = 0
    """The number of lists all of whose targets their user has had before."""

    note = ''
    """What else there is to know of the rankings."""

    strangers = 0
    """The number of users who have neither anything to be found nor had anything."""

    def __init__(
        self,
        queries: Queries,
        metrics: Sequence[RankingMetric],
        list_index: Tensor,
        item: Tensor,
        user_ids: pd.Index,
        row: Tensor | None = None,
    ) -> None:
        if not len(queries):
            raise ValueError('There are no lists to rank')
        if not metrics:
            raise ValueError('There are no metrics to compute')
        for metric in metrics:
            check_type(metric, 'metrics', RankingMetric)
        names = [metric.name for metric in metrics]
        if len(set(names)) < len(names):
            raise ValueError(f'A metric is given twice: {", ".join(names)}')
        self.queries, self.metrics, self.item = queries, tuple(metrics), item
        self.user_ids = user_ids
        self.row = torch.arange(len(queries)) if row is None else row
        self.ptr = cumsum(torch.bincount(list_index, minlength=len(queries)))

    @property
    def names(self) -> list[str]:
        """The names of the metrics."""
        return [metric.name for metric in self.metrics]

    def __len__(self) -> int:
        return len(self.queries)

    def fingerprint(self) -> Fingerprint:
        """Returns what tells these lists from others."""
        names = 'ptr', 'item', 'target', 'missing'
        content = [getattr(self, name, None) for name in names]
        seen: BipartiteGraph | None = getattr(self, 'seen', None)
        if seen is not None:
            content += [seen.user, seen.item]
        return Fingerprint(
            len(self), digest(self.queries.user, self.queries.context, *content)
        )

    def num_scores(self) -> Tensor:
        """Returns the number of scores of each list, of shape :math:`(L)`."""
        return self.ptr.diff()

    def chunks(self, rank: int = 0, world: int = 1) -> list[Tensor]:
        """Returns the lists to rank at a time, those of one context together.

        Args:
            rank: The number of this process among those that share the lists.
            world: The number of those processes. Each has at least one chunk, which may
                be empty.
        """
        lists = torch.arange(len(self), device=self.ptr.device)
        if self.queries.context is not None:
            lists = torch.argsort(self.queries.context, stable=True)
        lists = lists[rank::world]
        chunk = self.num_scores()[lists].cumsum(0) // self.max_scores
        sizes = torch.unique_consecutive(chunk, return_counts=True)[1].tolist()
        return list(lists.split(sizes or [0]))

    @abstractmethod
    def data_for(self, model: object) -> InteractionDataset | BipartiteGraph:
        """Returns the data on which the scorer of a model is to be made."""

    @abstractmethod
    def rank(self, scorer: CatalogueScorer, lists: Tensor) -> Ranked:
        """Ranks some lists."""

    def _entries(
        self, scorer: CatalogueScorer, lists: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Moves all to where scores are computed.

        Returns:
            The lists, which of them each of their entries is of, and the entries.
        """
        device = scorer.device
        if self.ptr.device != device:
            for name, value in vars(self).items():
                if isinstance(value, Tensor | Queries | BipartiteGraph):
                    setattr(self, name, value.to(device))
        lists = lists.to(device)
        entry, ptr = ragged_arange(self.ptr, lists)
        index = torch.arange(len(lists), device=device).repeat_interleave(ptr.diff())
        return lists, index, entry

    def evaluation(self, ranked: Sequence[Ranked]) -> Evaluation:
        """Returns the metrics of all lists together."""
        size = len(self.user_ids), len(self.metrics)
        values = torch.full(size, torch.nan, dtype=torch.double)
        for part in ranked:
            values[self.row[part.lists.to(self.row.device)].cpu()] = part.values.cpu()
        columns = [metric.name for metric in self.metrics]
        per_list = pd.DataFrame(values.numpy(), columns=columns)
        metrics = {name: float(per_list[name].mean()) for name in columns}
        per_list.insert(0, 'user', self.user_ids)
        if self.queries.context is not None:
            per_list.insert(1, 'context', self.queries.context.cpu().numpy())
        of_rows = self.lists_left_out, self.note, self.strangers
        return Evaluation(metrics, per_list, *of_rows)


class CandidateRankings(Rankings):
    """Rankings of candidate lists.

    Args:
        dataset: The users, items and contexts.
        lists: The lists to rank.
        metrics: The metrics of a list. The AUC over all rows is always computed.
    """

    max_scores = 1 << 16

    def __init__(
        self,
        dataset: InteractionDataset,
        lists: CandidateLists,
        metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
    ) -> None:
        check_type(dataset, 'dataset', InteractionDataset)
        check_type(lists, 'lists', CandidateLists)
        check_fits(lists.fingerprints, dataset, 'The lists are of other data')
        for name, size in (
            ('user', dataset.num_users),
            ('context', dataset.num_contexts),
            ('item', dataset.num_items),
            ('list_index', len(lists.user)),
        ):
            check_ids(getattr(lists, name), size, name)
        rows = [len(getattr(lists, n)) for n in ('item', 'target', 'list_index')]
        if len(lists.context) != len(lists) or len(set(rows)) > 1:
            raise ValueError(
                f'Each list has a user and a context, and each item a target and a list '
                f'(got {len(lists)} users, {len(lists.context)} contexts, and '
                f'{rows[0]} items, {rows[1]} targets and {rows[2]} list indices)'
            )
        list_index, order = torch.sort(lists.list_index, stable=True)
        self.dataset = dataset
        self.target, self.ids = lists.target[order], (dataset.user_ids, dataset.item_ids)
        super().__init__(
            Queries(lists.user, lists.context),
            metrics,
            list_index,
            lists.item[order],
            dataset.own_ids('user')[lists.user.cpu().numpy()],
        )

    def data_for(self, model: object) -> InteractionDataset:
        """Returns the dataset."""
        return self.dataset

    @property
    def names(self) -> list[str]:
        """The names of the metrics, the AUC among them."""
        return [*super().names, AUC.name]

    def rank(self, scorer: CatalogueScorer, lists: Tensor) -> Ranked:
        """Ranks some lists."""
        lists, index, entry = self._entries(scorer, lists)
        queries, item = self.queries[lists[index]], self.item[entry]
        scores = scorer.scores(queries, item.unsqueeze(1))
        check_finite(scores, names_of(self.ids, queries.user, item.unsqueeze(1)))
        scores, target = scores.squeeze(1), self.target[entry]
        ranked = RankedLists.from_rows(scores, target, index, num_lists=len(lists))
        return Ranked(lists, values_of(self.metrics, ranked), scores, target)

    def evaluation(self, ranked: Sequence[Ranked]) -> Evaluation:
        """Returns the metrics of all lists, and the AUC of all their rows."""
        evaluation = super().evaluation(ranked)
        scores = [part.scores for part in ranked if part.scores is not None]
        target = [part.target for part in ranked if part.target is not None]
        evaluation.metrics[AUC.name] = float(AUC()(torch.cat(scores), torch.cat(target)))
        return evaluation


class CatalogueRankings(Rankings):
    """Rankings of the whole catalogue: a list for each user and context that held-out
    rows have together, or for each user with held-out edges.

    The results have a row for each list, or for each user of a graph. Where seen items
    are left out (:obj:`exclude_seen`), a pair that was seen is no target. A list that
    has no other target is left out of the means and counted: it keeps its row, whose
    metrics are missing.

    Args:
        held_out: The rows or edges to be found.
        seen: The items that users have, which are left out.
        metrics: The metrics of a list.
        part: The part of a score that alone is to rank (default: the score).
        history: The items that users are made of by models that make them of some
            (default: those seen).

    Raises:
        ValueError: If there is nothing to be found, also because all of it was seen, a
            metric needs more items than there are, or held-out and seen parts do not fit
            each other.
    """

    max_scores = CatalogueScorer.scores_at_once
    max_dropped = 0.05
    """The share of targets that were seen beyond which it is said that they were."""

    def __init__(
        self,
        held_out: InteractionDataset | BipartiteGraph,
        seen: Sequence[InteractionDataset] | BipartiteGraph | None,
        metrics: Sequence[RankingMetric] | None = None,
        part: str | None = None,
        history: BipartiteGraph | None = None,
    ) -> None:
        check_type(held_out, 'held_out', InteractionDataset, BipartiteGraph)
        if history is not None:
            check_type(history, 'history', BipartiteGraph)
            check_one_log(held_out, history)
        elif isinstance(seen, BipartiteGraph):
            history = seen
        self.held_out, self.history = held_out, history
        self.part, self.num_items = part, held_out.num_items
        if seen is held_out or (isinstance(seen, Sequence) and held_out in seen):
            raise ValueError(
                'What is to be found is `seen` itself: a training part is no validation '
                'part of its own'
            )
        self.ids = held_out.user_ids, held_out.item_ids
        if isinstance(held_out, BipartiteGraph):
            metrics = GRAPH_METRICS if metrics is None else metrics
            self.seen, self.note = _check_graph(held_out, seen)
            users, index = torch.unique(held_out.user, return_inverse=True)
            queries, item, row = Queries(users), held_out.item, users
            ids = held_out.user_ids
            # Where nobody has had anything, it is not known who is of this part.
            if self.seen is not None and self.seen.num_edges:
                had = self.seen.user_degree + held_out.user_degree
                self.strangers = int((had == 0).sum())
        else:
            metrics = DEFAULT_METRICS if metrics is None else metrics
            rows = held_out if held_out.y is None else held_out[held_out.y == 1]
            self.seen = _graph_of(rows, seen)
            user, context, index = _distinct(rows.user, rows.context, rows.num_contexts)
            index, item, _ = _distinct(index, rows.item, rows.num_items)
            queries, row = Queries(user, context), None
            ids = rows.own_ids('user')[user.cpu().numpy()]
        if self.seen is not None:
            had = self.seen.contains(queries.user[index], item)
            number, size = int(had.sum()), len(had)
            index, item = index[~had], item[~had]
            self.lists_left_out = len(queries) - len(torch.unique(index))
            message = (
                f'{number:,} of {size:,} pairs to be found ({number / size:.1%}) have '
                f'been seen and are no targets; {self.lists_left_out:,} of '
                f'{len(queries):,} lists have no other and are left out'
            )
            advice = '. If users have the same again, `exclude_seen=False` may be meant'
            if number == size:
                raise ValueError(message + advice)
            if number > self.max_dropped * size:
                warn_caller(message + advice)
            if number:
                self.note = message
        super().__init__(queries, metrics, index, item, ids, row)
        self.missing: Tensor | None = None
        size = self.num_items
        if held_out.catalogue is not None:
            is_missing = torch.ones(size, dtype=torch.bool, device=self.ptr.device)
            is_missing[held_out.catalogue] = False
            self.missing = is_missing.nonzero().view(-1)
            size -= len(self.missing)
        if any(isinstance(metric, ListAUC) for metric in metrics):
            raise ValueError(
                'list_auc is of candidate lists: of a catalogue only the top is ranked'
            )
        too_large = [metric.name for metric in metrics if metric.k > size]
        if too_large:
            raise ValueError(
                f'{", ".join(too_large)}: the catalogue has only {size} items'
            )

    def data_for(self, model: object) -> InteractionDataset | BipartiteGraph:
        """Returns what is held out, or the history where users are made of one.

        Raises:
            ValueError: If they are and there is none: they would be made of what is to
                be found.
        """
        if not reads_history(model):
            return self.held_out
        if self.history is None:
            raise ValueError(
                f'{type(model).__name__} makes users of the items that they have had: '
                f'pass `history`, or what they have seen'
            )
        return self.history

    def num_scores(self) -> Tensor:
        """Returns the number of scores of each list, of shape :math:`(L)`."""
        return torch.full_like(self.ptr[1:], self.num_items)

    def rank(self, scorer: CatalogueScorer, lists: Tensor) -> Ranked:
        """Ranks the catalogue for some lists."""
        lists, index, entry = self._entries(scorer, lists)
        queries = self.queries[lists]
        scores = scorer.part(self.part, queries)
        check_finite(scores, names_of(self.ids, queries.user))
        hidden = None if self.seen is None else items_of(self.seen, queries.user)
        target = index, self.item[entry]
        return Ranked(
            lists, top_metrics(scores, target, self.metrics, hidden, self.missing)
        )


def _distinct(first: Tensor, second: Tensor, size: int) -> tuple[Tensor, ...]:
    """Returns the distinct pairs of indices, sorted, and which of them each pair is."""
    key, index = torch.unique(first * size + second, return_inverse=True)
    return key.div(size, rounding_mode='floor'), key % size, index


def _graph_of(
    rows: InteractionDataset, seen: Sequence[InteractionDataset] | BipartiteGraph | None
) -> BipartiteGraph | None:
    """Returns what users have of the rows that they have seen, whatever their labels."""
    if isinstance(seen, BipartiteGraph):
        raise ValueError('Of a dataset, `seen` is a sequence of datasets')
    if len(rows) == 0:
        raise ValueError('There are no positive rows to rank')
    if not rows.exclude_seen:
        return None
    if seen is None:
        raise ValueError(
            'The dataset leaves out items that a user has seen: pass the rows in '
            'which as `seen`, e.g. seen=[train, valid] (an empty list for none)'
        )
    check_one_log(rows, *seen)
    user, item = (
        torch.cat(
            [getattr(part, side).to(rows.user.device) for part in (rows[:0], *seen)]
        )
        for side in ('user', 'item')
    )
    return BipartiteGraph(user, item, rows.num_users, rows.num_items)


def _check_graph(
    held_out: BipartiteGraph, seen: Sequence[InteractionDataset] | BipartiteGraph | None
) -> tuple[BipartiteGraph | None, str]:
    """Returns what users have seen, on the device of what is to be found, or why all of
    it is ranked.
    """
    if held_out.num_edges == 0:
        raise ValueError('There are no edges to be found')
    if seen is None and held_out.exclude_seen:
        raise ValueError(
            'Items that a user has seen are left out: pass the training graph as '
            '`seen` (one without edges for none)'
        )
    graphs = [held_out]
    if seen is not None:
        if not isinstance(seen, BipartiteGraph):
            raise ValueError(f'Of a graph, `seen` is a graph (got {seen!r})')
        check_one_log(held_out, seen)
        if held_out.exclude_seen and seen.exclude_seen:
            return seen.to(held_out.device), ''
        if not seen.to(held_out.device).contains(held_out.user, held_out.item).any():
            warn_caller(
                'Items that users have had are ranked, too, but no pair to be found is '
                'one of them: if nothing recurs, pass graphs with `exclude_seen=True`'
            )
        graphs.append(seen)
    share = max(graph.repeated for graph in graphs)
    return None, (
        f'Items that users have had are ranked, too (exclude_seen=False; {share:.1%} of '
        f'interactions repeat an earlier pair)'
    )
