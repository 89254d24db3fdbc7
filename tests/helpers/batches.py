"""Reads the batches of all loaders as tuples."""

from collections.abc import Hashable
from itertools import chain

from torch import Tensor

from iedr_geo.loader import (
    EdgeBatch,
    EdgeLoader,
    InteractionBatch,
    InteractionLoader,
    UserBatch,
    UserLoader,
)

Loader = InteractionLoader | EdgeLoader | UserLoader


def rows_of(*columns: Tensor) -> list[tuple[Hashable, ...]]:
    return list(zip(*(column.tolist() for column in columns), strict=True))


def read_batch(batch: InteractionBatch | EdgeBatch | UserBatch) -> list[tuple]:
    """Returns user, item, context and label of each row; or user, item and negatives of
    each edge; or each user and their items.
    """
    if isinstance(batch, InteractionBatch):
        return rows_of(batch.user_id, batch.item_id, batch.context_id, batch.y)
    if isinstance(batch, EdgeBatch):
        edges = rows_of(batch.user, batch.item)
        if batch.negative is None:
            return edges
        negatives = map(tuple, batch.negative.tolist())
        return [(*edge, drawn) for edge, drawn in zip(edges, negatives, strict=True)]
    assert batch.row.tolist() == sorted(batch.row.tolist())
    items: list[list[int]] = [[] for _ in batch.user]
    for row, item in rows_of(batch.row, batch.item):
        items[row].append(item)
    return list(zip(batch.user.tolist(), map(tuple, items), strict=True))


def read(loader: Loader, epoch: int = 0) -> list[list[tuple]]:
    """Returns the batches of an epoch."""
    loader.set_epoch(epoch)
    batches = [read_batch(batch) for batch in loader]
    assert len(batches) == len(loader)
    return batches


def read_flat(loader: Loader, epoch: int = 0) -> list[tuple]:
    """Returns what an epoch holds, in order."""
    return list(chain(*read(loader, epoch)))
