"""Users and items in contexts that do not depend on who they are."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from iedr_geo.data import InteractionDataset
from iedr_geo.scoring.top_k import first_of


class ContextSamples(NamedTuple):
    """Rows of users and items in contexts that do not depend on who they are.

    Of :math:`3N + EC` rows, the first :math:`N` are anchors, the next :math:`N` the same
    users and items in other contexts, the next :math:`N` others in the contexts of the
    anchors, and the rest the :math:`E` users and items of a block, each in the same
    :math:`C` contexts.

    Args:
        user: The users.
        item: The items.
        context: The contexts.
        num_anchors: The number :math:`N`.
        block: The numbers :math:`E` and :math:`C`.
    """

    user: Tensor
    item: Tensor
    context: Tensor
    num_anchors: int
    block: tuple[int, int]

    def parts(self, rows: Tensor) -> list[Tensor]:
        """Returns anchors, same users or items, same contexts, and the block."""
        n = self.num_anchors
        return list(rows.split([n, n, n, len(rows) - 3 * n]))


def first_rows(ids: Tensor) -> Tensor:
    """Returns the first row of each distinct id, in order."""
    return torch.unique(first_of(ids))


def sample_contexts(
    dataset: InteractionDataset,
    num_samples: int,
    seed: int = 0,
    max_entities: int = 50,
) -> ContextSamples:
    """Draws users and items from rows of a dataset, and contexts from other rows.

    All are as frequent as in the data, but who is in which context is left to chance: a
    habit is a fact of the data and not of the model.

    Args:
        dataset: The rows.
        num_samples: The number of anchors, and about that of the rows of the block.
        seed: The seed of the draw.
        max_entities: The number of users, and of items, of the block, at most; it is a
            tenth of the samples at most.

    Raises:
        ValueError: If there are fewer than two users, items or contexts.
    """
    generator = torch.Generator().manual_seed(seed)

    def shuffled(ids: Tensor) -> Tensor:
        return ids[torch.randperm(len(ids), generator=generator)]

    rows = torch.randperm(len(dataset), generator=generator)[:num_samples]
    ids = [getattr(dataset, s).cpu()[rows] for s in ('user', 'item', 'context')]
    distinct = [side[first_rows(side)] for side in ids]
    if min(map(len, distinct)) < 2:
        found = ', '.join(str(len(some)) for some in distinct)
        raise ValueError(
            f'Two users, items and contexts at least are needed (got {found})'
        )
    size = max(2, min(max_entities, num_samples // 10))
    size = min(size, len(distinct[0]), len(distinct[1]))
    contexts = distinct[2][: max(2, num_samples // size)]
    context, other_context = shuffled(ids[2]), shuffled(ids[2])
    user, item = (
        torch.cat([one, one, shuffled(one), some[:size].repeat_interleave(len(contexts))])
        for one, some in zip(ids[:2], distinct[:2], strict=True)
    )
    context = torch.cat([context, other_context, context, contexts.repeat(size)])
    return ContextSamples(user, item, context, len(rows), (size, len(contexts)))
