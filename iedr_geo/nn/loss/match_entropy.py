"""Binary cross-entropy of a matrix of inner products, which is never held as a whole."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.blocks import blocks
from iedr_geo.nn.sparse import Compressed, sparse_product

BLOCK = 2**20
"""The cells that are held at a time: 4 MB in single precision."""


class _SoftplusSum(torch.autograd.Function):
    """The sum of softplus over all inner products, with its gradients.

    What the gradients need of a block is at hand when its value is known, so all of them
    are computed before it is left.
    """

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor) -> Tensor:
        total, needed = left.new_zeros(()), any(ctx.needs_input_grad)
        if needed:
            grads = torch.empty_like(left), torch.zeros_like(right)
        for rows in blocks(len(left), max(1, BLOCK // max(1, len(right)))):
            logits = left[rows] @ right.t()
            total += F.softplus(logits).sum()
            if needed:
                weight = logits.sigmoid_()
                torch.mm(weight, right, out=grads[0][rows])
                grads[1].addmm_(weight.t(), left[rows])
        if needed:
            ctx.save_for_backward(*grads)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        left, right = ctx.saved_tensors
        return grad * left, grad * right


def match_entropy(
    left: Tensor, right: Tensor, target: Compressed, transposed: Compressed | None = None
) -> Tensor:
    r"""Returns the mean binary cross-entropy of the inner products of two tables.

    .. math::
        - \frac{1}{M N} \sum_{i,j} y_{ij} \ln \sigma(x_{ij})
        + (1 - y_{ij}) \ln \sigma(-x_{ij}), \qquad
        x_{ij} = \langle \mathbf{l}_i, \mathbf{r}_j \rangle.

    It is exact and works on blocks of rows: its memory is that of the tables. Targets are
    sparse and from 0 to 1; what has none is 0. First derivatives only.

    Args:
        left: Of shape :math:`(M, F)`.
        right: Of shape :math:`(N, F)`.
        target: The targets, :math:`M` rows of :math:`N` columns.
        transposed: Their transpose, for the gradient (default: made when it is needed).
    """
    with torch.autocast(left.device.type, enabled=False):
        if left.dtype in (torch.bfloat16, torch.half):
            left, right = left.float(), right.float()
        # Softplus is the loss of a target of 0; a target of 1 takes the logit off it.
        total: Tensor = _SoftplusSum.apply(left, right)  # type: ignore[no-untyped-call]
        matched = (left * sparse_product(right, target, transposed)).sum()
        return (total - matched) / (len(left) * len(right))
