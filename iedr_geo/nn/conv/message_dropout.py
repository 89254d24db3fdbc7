"""Dropout of the entries of messages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BLOCK = 4096  # Messages that fit into the cache, on a CPU.


def draw_kept(num_messages: int, channels: int, p: float, device: torch.device) -> Tensor:
    """Draws which entries of messages are kept, each with probability :obj:`1 - p`."""
    shape = (num_messages, channels)
    if device.type != 'cpu':
        return torch.rand(shape, device=device) >= p
    # Four entries from one draw: drawing is most of the work. The probability is right
    # to one part in 65,536.
    size = num_messages * channels
    draws = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(2**63), None)
    return (draws.view(torch.int16)[:size] >= round(p * 2**16) - 2**15).view(shape)


def _blocks(index: Tensor) -> list[slice]:
    size = BLOCK if index.is_cpu else max(1, index.numel())
    return [slice(i, i + size) for i in range(0, index.numel(), size)]


class _DropoutSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        message: Tensor,
        index: Tensor,
        weight: Tensor,
        kept: Tensor,
        row: Tensor,
        num_rows: int,
    ) -> Tensor:
        ctx.save_for_backward(index, weight, kept, row)
        ctx.size = message.size()
        out = message.new_zeros(num_rows, message.size(1))
        for messages in _blocks(index):
            part = message.index_select(0, index[messages])
            part.mul_(kept[messages]).mul_(weight[messages])
            out.index_add_(0, row[messages], part)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, weight, kept, row = ctx.saved_tensors
        d_message = grad.new_zeros(ctx.size)
        for messages in _blocks(index):
            part = grad.index_select(0, row[messages])
            part.mul_(kept[messages]).mul_(weight[messages])
            d_message.index_add_(0, index[messages], part)
        return d_message, None, None, None, None, None


def dropout_sum(
    message: Tensor, index: Tensor, weight: Tensor, kept: Tensor, size: Tensor, p: float
) -> Tensor:
    """Sums messages that are dropped out on their own. First derivatives only.

    Args:
        message: The messages to choose from, of shape :math:`(P, F)`.
        index: The message of each place, of shape :math:`(M)`.
        weight: The weight of each place, of shape :math:`(M)`.
        kept: Which entries are kept there, of shape :math:`(M, F)`.
        size: The number of places of each row, of shape :math:`(B)`.
        p: The probability of the dropout.

    Returns:
        The sum of each row, of shape :math:`(B, F)`.
    """
    # In single precision at least: a row sums many messages.
    message = message.float() if message.element_size() == 2 else message
    weight = (weight / (1 - p)).to(message.dtype).unsqueeze(1)
    row = torch.arange(size.numel(), device=size.device).repeat_interleave(size)
    out: Tensor = _DropoutSum.apply(  # type: ignore[no-untyped-call]
        message, index, weight, kept, row, size.numel()
    )
    return out
