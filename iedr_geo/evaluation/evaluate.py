"""Ranking quality on candidate lists and on the whole catalogue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from iedr_geo.data import BipartiteGraph, CandidateLists, InteractionDataset
from iedr_geo.data.bipartite import check_one_log
from iedr_geo.evaluation.evaluation import Evaluation, evaluating
from iedr_geo.evaluation.top_ranks import top_ranks
from iedr_geo.loader import InteractionBatch
from iedr_geo.metrics import AUC, NDCG, RankedLists, RankingMetric, Recall

Scorer = Callable[[InteractionBatch], Tensor]
DEFAULT_METRICS: tuple[RankingMetric, ...] = (NDCG(5), NDCG(10), Recall(5), Recall(10))


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
    with evaluating(model):
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
        rows: The held-out rows. Items that are not in their catalogue are left out of the
            rankings, unless they are to be found.
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
    missing = torch.zeros(num_items, dtype=torch.bool, device=device)
    if rows.catalogue is not None:
        missing = ~torch.isin(torch.arange(num_items, device=device), rows.catalogue)
    if rows.y is not None:
        rows = rows[rows.y == 1]
    if len(rows) == 0:
        raise ValueError('There are no positive rows to rank')
    size = num_items - int(missing.sum())
    too_large = [m.name for m in metrics if m.k > size]
    if too_large:
        raise ValueError(f'{", ".join(too_large)}: the catalogue has only {size} items')
    key, list_index = torch.unique(
        torch.stack([rows.user, rows.context]), dim=1, return_inverse=True
    )
    user, context = key
    order = torch.argsort(list_index, stable=True)
    ptr = torch.searchsorted(
        list_index[order], torch.arange(user.numel() + 1, device=device)
    )
    known = None
    if rows.exclude_seen:
        if seen is None:
            raise ValueError(
                'The dataset leaves out items that a user has seen: pass the rows in '
                'which as `seen`, e.g. seen=[train, valid] (an empty list for none)'
            )
        check_one_log(rows, *seen)
        known = BipartiteGraph(  # Of all rows, whatever their labels.
            torch.cat([rows.user[:0], *(part.user.to(device) for part in seen)]),
            torch.cat([rows.item[:0], *(part.item.to(device) for part in seen)]),
            rows.num_users,
            num_items,
        )
    items = torch.arange(num_items, device=device)
    per_chunk = max(1, batch_size // num_items)
    k = max(metric.k for metric in metrics)
    parts = []
    with evaluating(model):
        chunks = torch.arange(user.numel(), device=device).split(per_chunk)
        for chunk in tqdm(chunks, desc='Ranking', disable=not progress):
            shape = (chunk.numel(), num_items)
            batch = InteractionBatch.from_ids(
                rows,
                user[chunk].repeat_interleave(num_items),
                items.repeat(chunk.numel()),
                context[chunk].repeat_interleave(num_items),
            )
            score = model(batch).view(shape)
            found = order[ptr[chunk[0]] : ptr[chunk[-1] + 1]]
            target = torch.zeros(shape, dtype=torch.bool, device=device)
            target[list_index[found] - chunk[0], rows.item[found]] = True
            hidden = missing.expand(shape)
            if known is not None:
                hidden = hidden | known.contains(user[chunk].unsqueeze(1), items)
            hidden = hidden & ~target
            ranked = top_ranks(score, target, hidden, k)
            parts.append(_evaluation(ranked, metrics, user[chunk], context[chunk], rows))
    per_list = pd.concat([part.per_list for part in parts], ignore_index=True)
    values = per_list.drop(columns=['user', 'context']).mean()
    return Evaluation({str(name): float(v) for name, v in values.items()}, per_list)
