"""The softmax over candidates."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.objective.bce import BCEObjective
from iedr_geo.nn.objective.objective import Objective


class SoftmaxObjective(Objective):
    r"""The cross-entropy of a softmax over the candidates of each row.

    .. math::
        - \overline{\ln \frac{\exp(s_{+} - \ln q_{+})}{\sum_{c} \exp(s_c - \ln q_c)}}

    Items of the batch are candidates as often as they were had, :math:`q`: what that adds
    to popular items is taken off (`Yi et al.
    <https://doi.org/10.1145/3298689.3346996>`_). A softmax leaves a constant of each row
    free, so that scores compare within a list, not across lists. Binary cross-entropy
    beside it ties that constant down.

    Args:
        over (str, optional): As in :class:`Objective`. (default: :obj:`"negatives"`)
        log_q (bool, optional): If :obj:`True`, :math:`\ln q` of the items of the batch is
            taken off. Without it, popular items score lower. (default: :obj:`True`)
        bce_weight (float, optional): The weight of the binary cross-entropy of the
            same logits that is added, see :class:`BCEObjective`.
            (default: :obj:`0.0`)
    """

    def __init__(
        self, over: str = 'negatives', log_q: bool = True, bce_weight: float = 0.0
    ) -> None:
        super().__init__(over)
        if not 0 <= bce_weight < math.inf:
            raise ValueError(
                f'`bce_weight` must not be negative or infinite (got {bce_weight})'
            )
        self.log_q, self.bce_weight = log_q, bce_weight
        self._bce = BCEObjective(over)

    def loss(self, logits: Tensor, y: Tensor, left_out: Tensor | None) -> Tensor:
        """Returns the mean cross-entropy of the rows, and what is added to it."""
        kept = logits if left_out is None else logits.masked_fill(left_out, -torch.inf)
        loss = F.cross_entropy(kept, y.int().argmax(dim=1))
        if self.bce_weight == 0:
            return loss
        return loss + self.bce_weight * self._bce.loss(logits, y, left_out)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(over={self.over!r}, log_q={self.log_q}, '
            f'bce_weight={self.bce_weight})'
        )
