"""Ranking quality on candidate lists and on the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from iedr_geo.data import CandidateLists, InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.metrics import AUC, NDCG, RankedLists, RankingMetric, Recall

Scorer = Callable[[InteractionBatch], Tensor]
DEFAULT_METRICS: tuple[RankingMetric, ...] = (NDCG(5), NDCG(10), Recall(5), Recall(10))


def _bootstrap(
    values: pd.DataFrame, level: float, num_samples: int, seed: int
) -> pd.DataFrame:
    values = values.dropna(how='all')
    draws = np.random.default_rng(seed)
    means = np.empty((num_samples, values.shape[1]))
    for i in range(num_samples):
        rows = draws.integers(len(values), size=len(values))
        means[i] = np.nanmean(values.to_numpy()[rows], axis=0)
    tail = (1 - level) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    return pd.DataFrame(
        {'mean': values.mean(), 'low': low, 'high': high}, index=values.columns
    )


@dataclass(frozen=True)
class Evaluation:
    """The ranking quality of a model.

    Args:
        metrics: The value of each metric: the mean over lists, and the AUC over all rows.
        per_list: A row for each list, with its user, its context and its metrics.
    """

    metrics: dict[str, float]
    per_list: pd.DataFrame

    def confidence_intervals(
        self, level: float = 0.95, num_samples: int = 2000, seed: int = 0
    ) -> pd.DataFrame:
        """Returns the mean of each metric of a list with its bootstrap interval.

        Lists without a positive count in neither.

        Args:
            level: The probability that the interval is to cover.
            num_samples: How many times the lists are drawn again.
            seed: The seed of the draws.
        """
        values = self.per_list.drop(columns=['user', 'context'])
        return _bootstrap(values, level, num_samples, seed)

    def difference(
        self,
        other: Evaluation,
        level: float = 0.95,
        num_samples: int = 2000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Returns by how much each metric of a list is higher than another model's, with
        its paired bootstrap interval: both models are seen on the same lists.

        A model is better beyond chance where the interval does not hold zero.

        Args:
            other: The other model's evaluation on the same lists.
            level: The probability that the interval is to cover.
            num_samples: How many times the lists are drawn again.
            seed: The seed of the draws.

        Raises:
            ValueError: If the two are not on the same lists.
        """
        keys = ['user', 'context']
        if not self.per_list[keys].equals(other.per_list[keys]):
            raise ValueError(
                f'The evaluations must be of the same lists, in the same order (got '
                f'{len(self.per_list)} and {len(other.per_list)} lists)'
            )
        ours, theirs = (e.per_list.drop(columns=keys) for e in (self, other))
        common = [name for name in ours if name in theirs]
        return _bootstrap(ours[common] - theirs[common], level, num_samples, seed)

    def __str__(self) -> str:
        return '  '.join(f'{name} {value:.4f}' for name, value in self.metrics.items())


@contextmanager
def _evaluating(model: Scorer) -> Iterator[None]:
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode


def _device(model: Scorer, dataset: InteractionDataset) -> torch.device:
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return dataset.user.device


def _evaluation(
    ranked: RankedLists,
    metrics: Sequence[RankingMetric],
    user: Tensor,
    context: Tensor,
    dataset: InteractionDataset,
) -> Evaluation:
    per_list = pd.DataFrame({metric.name: metric(ranked).cpu() for metric in metrics})
    summary = {str(name): float(value) for name, value in per_list.mean().items()}
    per_list.insert(0, 'user', dataset.user_ids[user.cpu().numpy()])
    per_list.insert(1, 'context', context.cpu().numpy())
    return Evaluation(summary, per_list)


def evaluate_candidates(
    model: Scorer,
    dataset: InteractionDataset,
    lists: CandidateLists,
    metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
    batch_size: int = 16_384,
    progress: bool = False,
) -> Evaluation:
    """Ranks candidate lists.

    Ties count as the expectation over tied orders. Every row counts, also where an item
    recurs in its list.

    Args:
        model: Maps an :class:`InteractionBatch` to logits.
        dataset: Where the feature graphs are.
        lists: What to rank.
        metrics: The metrics of a list. The AUC over all rows is always computed.
        batch_size: The number of rows to score at a time.
        progress: Whether to show a progress bar.
    """
    device = _device(model, dataset)
    dataset = dataset.to(device)
    scores = []
    with _evaluating(model):
        rows = torch.arange(lists.item.numel()).split(batch_size)
        for chunk in tqdm(rows, desc='Evaluating', disable=not progress):
            index = lists.list_index[chunk]
            batch = InteractionBatch.from_ids(
                dataset,
                lists.user[index].to(device),
                lists.item[chunk].to(device),
                lists.context[index].to(device),
            )
            scores.append(model(batch))
    score, target = torch.cat(scores), lists.target.to(device)
    ranked = RankedLists.from_rows(
        score, target, lists.list_index.to(device), num_lists=len(lists)
    )
    result = _evaluation(ranked, metrics, lists.user, lists.context, dataset)
    auc = AUC()
    result.metrics[auc.name] = float(auc(score, target))
    return result


def evaluate_catalogue(
    model: Scorer,
    rows: InteractionDataset,
    seen: Sequence[InteractionDataset] | None = None,
    metrics: Sequence[RankingMetric] = DEFAULT_METRICS,
    batch_size: int = 16_384,
    progress: bool = False,
) -> Evaluation:
    """Ranks the whole catalogue for each user and context that the rows hold.

    The items of all rows with the same user and context are to be found together.

    Args:
        model: Maps an :class:`InteractionBatch` to logits.
        rows: The held-out rows.
        seen: Datasets, *e.g.*, training and validation rows, whose items are left out of
            their users' rankings, unless they are to be found. Needed, unless the dataset
            is a log of repeated use (:obj:`exclude_seen=False`), where it has no effect.
        metrics: The metrics of a list.
        batch_size: The number of pairs to score at a time, at least one catalogue.
        progress: Whether to show a progress bar.
    """
    device = _device(model, rows)
    rows = rows.to(device)
    num_items = rows.num_items
    if rows.y is not None:
        rows = rows[rows.y == 1]
    if len(rows) == 0:
        raise ValueError('There are no positive rows to rank')
    too_large = [m.name for m in metrics if m.k > num_items]
    if too_large:
        raise ValueError(
            f'{", ".join(too_large)}: the catalogue has only {num_items} items'
        )
    key, list_index = torch.unique(
        torch.stack([rows.user, rows.context]), dim=1, return_inverse=True
    )
    user, context = key
    order = torch.argsort(list_index, stable=True)
    ptr = torch.searchsorted(
        list_index[order], torch.arange(user.numel() + 1, device=device)
    )
    hide = None
    if rows.exclude_seen:
        if seen is None:
            raise ValueError(
                'The dataset leaves out items that a user has seen: pass the rows in '
                'which as `seen`, e.g. seen=[train, valid] (an empty list for none)'
            )
        pairs = [(part.user * num_items + part.item).to(device) for part in seen]
        hide = torch.unique(torch.cat([rows.item[:0], *pairs]))
    items = torch.arange(num_items, device=device)
    per_chunk = max(1, batch_size // num_items)
    parts = []
    with _evaluating(model):
        chunks = torch.arange(user.numel(), device=device).split(per_chunk)
        for chunk in tqdm(chunks, desc='Ranking', disable=not progress):
            size = (chunk.numel(), num_items)
            batch = InteractionBatch.from_ids(
                rows,
                user[chunk].repeat_interleave(num_items),
                items.repeat(chunk.numel()),
                context[chunk].repeat_interleave(num_items),
            )
            score = model(batch).view(size)
            target = torch.zeros(size, device=device)
            found = order[ptr[chunk[0]] : ptr[chunk[-1] + 1]]
            target[list_index[found] - chunk[0], rows.item[found]] = 1
            mask = torch.ones(size, dtype=torch.bool, device=device)
            if hide is not None and hide.numel():
                pair = user[chunk].unsqueeze(1) * num_items + items
                place = torch.searchsorted(hide, pair).clamp(max=hide.numel() - 1)
                mask = (hide[place] != pair) | (target == 1)
            ranked = RankedLists.from_dense(score, target, mask)
            parts.append(_evaluation(ranked, metrics, user[chunk], context[chunk], rows))
    per_list = pd.concat([part.per_list for part in parts], ignore_index=True)
    values = per_list.drop(columns=['user', 'context']).mean()
    return Evaluation({str(name): float(v) for name, v in values.items()}, per_list)
