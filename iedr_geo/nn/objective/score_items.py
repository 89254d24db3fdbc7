"""Logits of every row of a batch with items of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from iedr_geo.nn.blocks import checkpointed
from iedr_geo.nn.contract import has_hooks, stands_for

if TYPE_CHECKING:
    from iedr_geo.loader import InteractionBatch

PAIRS = 1 << 15  # That a model is given at a time.


def score_items(
    model: Any, batch: InteractionBatch, items: Tensor, encoded: Any = None
) -> Tensor:
    """Returns the logits of every row of a batch with items of the batch.

    By the model's own :obj:`score_items`, if it has one that says the same as its
    :obj:`forward`; else by :obj:`forward` on rows times items, in blocks of rows that are
    computed again for their gradients.

    Args:
        model: The model.
        batch: The batch.
        items: Item graphs of the batch, of shape :math:`(I)`.
        encoded: The result of its :obj:`encode` for the batch, if it has one.

    Returns:
        Logits of shape :math:`(B, I)`.
    """
    if stands_for(model, 'score_items', 'forward', 'encode') and not has_hooks(model):
        logits: Tensor = model.score_items(batch, items, encoded)
        return logits

    def block(rows: slice) -> Tensor:
        pairs: Tensor = model(batch[rows].cross(items))
        return pairs.view(-1, len(items))

    return checkpointed(block, len(batch), max(1, PAIRS // max(1, len(items))))
