"""The normaliser of a softmax over a mixture, without its logits in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from iedr_geo.nn.blocks import blocks

CPU_LOGITS = 1 << 19  # At a time: what stays in the cache of a core.
LOGITS = 1 << 25  # At a time, on other devices.


def log_partition(
    query: Tensor, item: Tensor, log_weight: Tensor, left_out: Tensor | None = None
) -> Tensor:
    r"""Returns the logarithm of a sum over items and components.

    .. math::
        \log Z_b = \log \sum_i \sum_k w_{ik}
        \exp \left( \mathbf{q}_{bk}^{\top} \mathbf{h}_i \right)

    The logits are made in blocks of items, and again for the gradient, so that the
    memory does not grow with the product of queries, components and items.

    Args:
        query: The vectors :math:`\mathbf{q}`, of shape :math:`(B, K, F)`.
        item: The vectors :math:`\mathbf{h}`, of shape :math:`(I, F)`.
        log_weight: The logarithms of :math:`w`, of shape :math:`(I, K)`.
        left_out: If given, the items that do not count in a row, of shape
            :math:`(B, I)`.

    Returns:
        The logarithms, of shape :math:`(B)`.
    """
    apply: Any = _LogPartition.apply
    out: Tensor = apply(query, item, log_weight, left_out)
    return out


def _logits(
    query: Tensor,
    item: Tensor,
    log_weight: Tensor,
    left_out: Tensor | None,
    columns: slice,
) -> Tensor:
    """Returns the logits of some items, of shape :math:`(B, K, i)`."""
    logits = (query.flatten(0, 1) @ item[columns].t()).view(*query.shape[:2], -1)
    logits += log_weight[columns].t()
    if left_out is not None:
        logits.masked_fill_(left_out[:, None, columns], -torch.inf)
    return logits


def _blocks(query: Tensor, item: Tensor) -> list[slice]:
    most = CPU_LOGITS if query.device.type == 'cpu' else LOGITS
    return blocks(len(item), max(64, most // max(1, query[..., 0].numel())))


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, item: Tensor, log_weight: Tensor, left_out: Tensor | None
    ) -> Tensor:
        highest = query.new_full((len(query),), -torch.inf)
        total = torch.zeros_like(highest)
        for columns in _blocks(query, item):
            logits = _logits(query, item, log_weight, left_out, columns).flatten(1)
            # A block that is left out as a whole has no highest.
            new = torch.maximum(highest, logits.amax(dim=1))
            shift = new.masked_fill(new.isneginf(), 0)
            total *= (highest - shift).exp()
            total += logits.sub_(shift.unsqueeze(1)).exp_().sum(dim=1)
            highest = new
        out = highest + total.log()
        ctx.save_for_backward(query, item, log_weight, left_out, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        query, item, log_weight, left_out, out = ctx.saved_tensors
        flat = query.flatten(0, 1)
        grad_flat = flat.new_zeros(flat.shape)
        grad_item, grad_weight = torch.empty_like(item), torch.empty_like(log_weight)
        shift = out.masked_fill(out.isneginf(), 0)[:, None, None]
        for columns in _blocks(query, item):
            share = _logits(query, item, log_weight, left_out, columns)
            share.sub_(shift).exp_().mul_(grads[0][:, None, None])
            grad_weight[columns] = share.sum(dim=0).t()
            share = share.flatten(0, 1)
            grad_flat.addmm_(share, item[columns])
            grad_item[columns] = share.t() @ flat
        return grad_flat.view(query.shape), grad_item, grad_weight, None
