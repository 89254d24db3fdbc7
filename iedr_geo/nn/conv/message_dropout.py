"""Dropout of the entries of messages."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from iedr_geo.nn.blocks import blocks

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


def _masked_sum(
    x: Tensor, source: Tensor, target: Tensor, weight: Tensor, kept: Tensor, size: int
) -> Tensor:
    """Adds what is kept of rows `source` of `x` to rows `target` of the result."""
    out = x.new_zeros(size, x.size(1))
    block_size = BLOCK if x.is_cpu else max(1, source.numel())
    for places in blocks(source.numel(), block_size):
        part = x.index_select(0, source[places])
        part.mul_(kept[places]).mul_(weight[places])
        out.index_add_(0, target[places], part)
    return out


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
        ctx.num_messages = message.size(0)
        return _masked_sum(message, index, row, weight, kept, num_rows)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, weight, kept, row = ctx.saved_tensors
        d_message = _masked_sum(grad, row, index, weight, kept, ctx.num_messages)
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
