"""Cosine similarities and the cross-entropy of the first of them."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Contrast(NamedTuple):
    """The rows of a batch that are compared with each other, and how.

    Args:
        candidates: In each of two contexts, the entity of the row and those of its
            negatives, of shape :math:`(A, 2, 1 + L)`.
        left_out: :obj:`True` for a negative that does not count, of shape
            :math:`(A, 2, L)` (default: all count).
        row_weight: The factor of each row's loss, of shape :math:`(A)`.
        temperature: The number that similarities are divided by.
        variant: As in :class:`ContextInvariantContrastiveLoss`.
    """

    candidates: Tensor
    left_out: Tensor | None
    row_weight: Tensor
    temperature: float
    variant: str

    def block(self, rows: slice) -> Contrast:
        """Returns the contrast of some of the rows."""
        return self._replace(
            candidates=self.candidates[rows],
            left_out=None if self.left_out is None else self.left_out[rows],
            row_weight=self.row_weight[rows],
        )


def cosine_to_each(one: Tensor, many: Tensor) -> Tensor:
    """Returns the cosine of each vector of shape :math:`(*, F)` with its own
    :math:`(*, L, F)`, by one product and without normalizing the many.
    """
    dot = torch.matmul(many, F.normalize(one, dim=-1).unsqueeze(-1)).squeeze(-1)
    return dot / torch.linalg.vector_norm(many, dim=-1).clamp_min(1e-8)


def cross_entropy_of_first(
    similarity: Tensor, temperature: float, variant: str
) -> Tensor:
    """Returns each row's cross-entropy of the first column against the others."""
    logits = similarity / temperature
    if variant == 'released':
        # The authors' scripts: softmax over exp(sim / t), then cross-entropy of that.
        # What is left out stays so: neither softmax may count it.
        left_out = logits.isneginf()
        logits = logits.exp().masked_fill(left_out, -torch.inf).softmax(dim=-1)
        logits = logits.masked_fill(left_out, -torch.inf)
    target = torch.zeros(logits.size(0), dtype=torch.long, device=logits.device)
    return F.cross_entropy(logits, target, reduction='none')


def cross_entropy_and_gradient(logits: Tensor, variant: str) -> tuple[Tensor, Tensor]:
    """Returns :func:`cross_entropy_of_first` of the logits, and its gradient."""
    if variant == 'released':
        left_out = logits.isneginf()
        inner = logits.exp()
        share = inner.masked_fill(left_out, -torch.inf).softmax(dim=-1)
        outer = share.masked_fill(left_out, -torch.inf).log_softmax(dim=-1)
    else:
        outer = logits.log_softmax(dim=-1)
    losses = outer[:, 0].neg()
    grad = outer.exp_()
    grad[:, 0] -= 1
    if variant == 'released':
        grad = share * (grad - (share * grad).sum(dim=-1, keepdim=True)) * inner
    return losses, grad
