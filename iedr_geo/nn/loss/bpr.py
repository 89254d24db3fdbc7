"""Bayesian personalised ranking."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def bpr_loss(positive: Tensor, negative: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Returns the BPR loss of `Rendle et al. <https://arxiv.org/abs/1205.2618>`_.

    .. math::
        - \frac{1}{BK} \sum_{b, k} w_b \ln \sigma(s_b - s_{bk}).

    Args:
        positive: Scores :math:`s_b` of the positives, of shape :math:`(B)`.
        negative: Scores :math:`s_{bk}` of the negatives of each, of shape :math:`(B, K)`.
        weight: The weight :math:`w_b` of each positive, of shape :math:`(B)` (default:
            1).

    Raises:
        ValueError: If the shapes do not fit.
    """
    if negative.dim() != 2 or positive.shape != negative.shape[:1]:
        raise ValueError(
            f'Scores must be of shapes (B) and (B, K) (got {tuple(positive.shape)} and '
            f'{tuple(negative.shape)})'
        )
    loss = -F.logsigmoid(positive.unsqueeze(1) - negative)
    return loss.mean() if weight is None else (weight.unsqueeze(1) * loss).mean()
