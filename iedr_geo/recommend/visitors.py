"""Users who are known by the items that they have had, and what each of these brings."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn.blocks import blocks
from iedr_geo.nn.models import OF_HISTORIES
from iedr_geo.scoring import CatalogueScorer, HistoryScorer, Queries

VARIANTS = 256  # Histories that are scored at a time.


def check_takes_history(scorer: CatalogueScorer, model: object) -> None:
    """Raises an error if a model cannot make a user of a history."""
    if not isinstance(scorer, HistoryScorer):
        names = ', '.join(cls.__name__ for cls in OF_HISTORIES)
        raise ValueError(
            f'{type(model).__name__} cannot use `history`: it does not make users of the '
            f'items that they have had, as {names} do'
        )


def histories(rows: Sequence[Tensor], num_items: int) -> BipartiteGraph:
    """Returns a graph with a user for each set of items."""
    user = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(r) for r in rows]))
    item = torch.cat([*rows]) if rows else user
    return BipartiteGraph(user, item, len(rows), num_items)


def explain_history(
    scorer: CatalogueScorer, had: Tensor, item: Tensor, names: pd.Index
) -> pd.DataFrame:
    """Returns by how much a score falls without each of the items of a user.

    Args:
        scorer: The scorer of a model of histories.
        had: The items that the user has had, of shape :math:`(H)`.
        item: The item whose score it is, of shape :math:`(1)`.
        names: The ids of all items.

    Returns:
        A row for each item: its id, the difference and, where scores have parts, which of
        them changes most. The largest differences come first.
    """
    had = had.cpu()

    def values(rows: Sequence[Tensor]) -> Tensor:
        user = scorer.num_users + torch.arange(len(rows))
        queries = Queries(user, histories=histories(rows, scorer.num_items))
        parts = scorer.split(queries, item).values()
        tables = [scorer.scores(queries, item), *parts]
        return torch.cat([table.cpu().double() for table in tables], dim=1)

    without = [
        values([torch.cat([had[:i], had[i + 1 :]]) for i in range(b.start, b.stop)])
        for b in blocks(len(had), VARIANTS)
    ]
    change = values([had]) - torch.cat([*without, torch.empty(0, 1 + len(scorer.parts))])
    table = pd.DataFrame({'item': names[had.numpy()], 'difference': change[:, 0].numpy()})
    if scorer.parts:
        most = change[:, 1:].abs().argmax(dim=1)
        table['part'] = [scorer.parts[i] for i in most.tolist()]
    order = table['difference'].abs().sort_values(ascending=False, kind='stable').index
    return table.loc[order].reset_index(drop=True)
