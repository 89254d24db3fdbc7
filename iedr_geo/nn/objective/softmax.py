"""The softmax over candidates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.objective.objective import Objective


class SoftmaxObjective(Objective):
    r"""The cross-entropy of a softmax over the candidates of each row.

    .. math::
        - \overline{\ln \frac{\exp(s_{+} - \ln q_{+})}{\sum_{c} \exp(s_c - \ln q_c)}}

    Items of the batch are candidates as often as they were had, :math:`q`: what that adds
    to popular items is taken off (`Yi et al.
    <https://doi.org/10.1145/3298689.3346996>`_). A softmax leaves a constant of each row
    free, so that scores compare within a list, not across lists.

    Args:
        over (str, optional): As in :class:`Objective`. (default: :obj:`"negatives"`)
        log_q (bool, optional): If :obj:`True`, :math:`\ln q` of the items of the batch is
            taken off. Without it, popular items score lower. (default: :obj:`True`)
    """

    def __init__(self, over: str = 'negatives', log_q: bool = True) -> None:
        super().__init__(over)
        self.log_q = log_q

    def loss(self, logits: Tensor, y: Tensor, left_out: Tensor | None) -> Tensor:
        """Returns the mean cross-entropy of the rows."""
        if left_out is not None:
            logits = logits.masked_fill(left_out, -torch.inf)
        return F.cross_entropy(logits, y.int().argmax(dim=1))

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(over={self.over!r}, log_q={self.log_q})'
