"""Bayesian personalised ranking."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.objective.objective import Objective


class BPRObjective(Objective):
    r"""The pairwise ranking loss of the `"BPR: Bayesian Personalized Ranking from
    Implicit Feedback" <https://arxiv.org/abs/1205.2618>`_ paper.

    .. math::
        - \overline{\ln \sigma(s_{+} - s_{-})}

    Args:
        over (str, optional): As in :class:`Objective`. (default: :obj:`"negatives"`)
    """

    def loss(self, logits: Tensor, y: Tensor, left_out: Tensor | None) -> Tensor:
        """Returns the mean loss of all pairs."""
        positive = logits.gather(1, y.int().argmax(dim=1, keepdim=True))
        counts = y == 0 if left_out is None else (y == 0) & ~left_out
        losses = -F.logsigmoid(positive - logits)
        return (losses * counts).sum() / counts.sum().clamp(min=1)
