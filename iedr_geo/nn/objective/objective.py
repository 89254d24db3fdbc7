"""The base class of all objectives."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor


class Objective(torch.nn.Module):
    """Base class of the losses that a prediction is trained by. Subclasses define
    :meth:`loss`.

    Candidates of a row are the item that was had and either its own negatives or all
    distinct items of the batch, which cost no drawing.

    Args:
        over (str, optional): :obj:`"negatives"` or :obj:`"batch"`.
            (default: :obj:`"negatives"`)
    """

    grouped: ClassVar[bool] = True
    """If :obj:`True`, a positive must come in one batch with its own negatives."""

    log_q: bool = False
    """If :obj:`True`, the logarithm of how likely a candidate was is taken off."""

    def __init__(self, over: str = 'negatives') -> None:
        super().__init__()
        if over not in ('negatives', 'batch'):
            raise ValueError(f"`over` is 'negatives' or 'batch' (got '{over}')")
        self.over = over

    def forward(
        self,
        logits: Tensor,
        y: Tensor,
        left_out: Tensor | None = None,
        log_q: Tensor | None = None,
    ) -> Tensor:
        """Returns the mean loss of the rows.

        Args:
            logits: The logits of the candidates of each row, of shape :math:`(B, C)`.
            y: 1 for the item that was had, else 0, likewise.
            left_out: If :obj:`True`, a candidate is no candidate of the row, *e.g.*,
                because it was had as well in the training data, likewise (default: none
                is).
            log_q: The logarithm of how likely each candidate was to be drawn, of shape
                :math:`(C)` (default: all were alike).
        """
        if log_q is not None and self.log_q:
            logits = logits - log_q.to(logits.dtype)
        return self.loss(logits, y, left_out)

    def loss(self, logits: Tensor, y: Tensor, left_out: Tensor | None) -> Tensor:
        """Returns the mean loss of the rows, of logits as they are; see
        :meth:`forward`.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(over={self.over!r})'
