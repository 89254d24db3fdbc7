"""Binary cross-entropy."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.objective.objective import Objective


class BCEObjective(Objective):
    r"""The binary cross-entropy of each candidate, as IEDR is trained (Section 5.1 of `Su
    et al. <https://doi.org/10.1145/3722553>`_).

    .. math::
        - \overline{y \ln \sigma(s) + (1 - y) \ln (1 - \sigma(s))}

    Scores are then comparable across rows, and their sigmoid is the probability of a
    positive among the training rows. It takes rows with labels, too, of shape
    :math:`(B)`.

    Args:
        over (str, optional): As in :class:`Objective`. (default: :obj:`"negatives"`)
    """

    grouped = False

    def loss(self, logits: Tensor, y: Tensor, left_out: Tensor | None) -> Tensor:
        """Returns the mean loss of the candidates."""
        y = y.to(logits.dtype)
        if left_out is None:
            return F.binary_cross_entropy_with_logits(logits, y)
        losses = F.binary_cross_entropy_with_logits(logits, y, reduction='none')
        kept = ~left_out
        return (losses * kept).sum() / kept.sum()
