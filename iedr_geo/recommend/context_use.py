"""Models whose lists are the same in every context."""

from __future__ import annotations

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.scoring import CatalogueScorer, Queries

TRIED = 8  # Rows, users, items and contexts that tell whether contexts matter.


class ContextIgnoredWarning(UserWarning):
    """The context changes no list of a model."""


def ignores_contexts(
    scorer: CatalogueScorer, data: InteractionDataset | BipartiteGraph
) -> bool:
    """Returns whether the order of some items is the same in some contexts.

    Where contexts are looked up, it differs between those of rows, for the items of rows.

    Args:
        scorer: The scores of the model.
        data: Its data. Where they have no two contexts, there is nothing to ignore.
    """
    if isinstance(data, BipartiteGraph) or min(data.num_items, data.num_contexts) < 2:
        return False
    rows = _spread(len(data))
    users, items, contexts = (
        torch.cat([getattr(data, side)[rows].cpu(), _spread(size)]).unique()
        for side, size in (
            ('user', data.num_users),
            ('item', data.num_items),
            ('context', data.num_contexts),
        )
    )
    queries = Queries(users.repeat_interleave(len(contexts)), contexts.repeat(len(users)))
    scores = scorer.scores(queries, items.to(scorer.device)).double()
    scores = scores.view(len(users), len(contexts), len(items))
    leads = scores - scores[:, :, :1]
    change = (leads - leads[:, :1]).abs().max()
    return bool(change <= 1e-6 * leads.abs().max())


def _spread(size: int) -> Tensor:
    """Returns some numbers less than a size, far apart."""
    return torch.linspace(0, size - 1, min(size, TRIED), dtype=torch.float64).long()
