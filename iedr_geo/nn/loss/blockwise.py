"""Sums over rows that are evaluated in blocks which fit into the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from iedr_geo.nn.blocks import blocks


class _BlockwiseSum(torch.autograd.Function):
    """Evaluates each block's gradient with its value, while its tensors are at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        function: Callable[..., Tensor],
        num_rows: int,
        block_size: int,
        num_inputs: int,
        *tensors: Tensor,
    ) -> Tensor:
        # Inputs are cut off from the graph outside; parameters are its leaves.
        inputs = [
            t.detach().requires_grad_(t.requires_grad) for t in tensors[:num_inputs]
        ]
        leaves = [*inputs, *tensors[num_inputs:]]
        wanted = [i for i, leaf in enumerate(leaves) if leaf.requires_grad]
        total: Tensor | float = 0.0
        grads: list[Tensor | None] = [None] * len(leaves)
        for rows in blocks(num_rows, block_size):
            with torch.enable_grad():
                value = function(rows, *inputs)
            total = total + value.detach()
            if not (wanted and value.requires_grad):
                continue
            block_grads = torch.autograd.grad(
                value, [leaves[i] for i in wanted], allow_unused=True
            )
            for i, grad in zip(wanted, block_grads, strict=True):
                if grad is not None:
                    # Not in place: the gradients of two leaves can share memory.
                    so_far = grads[i]
                    grads[i] = grad if so_far is None else so_far + grad
        ctx.save_for_backward(*grads)
        assert isinstance(total, Tensor)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        grads = (None if g is None else g * grad_output for g in ctx.saved_tensors)
        return (None, None, None, None, *grads)


def blockwise_sum(
    function: Callable[..., Tensor],
    num_rows: int,
    inputs: Sequence[Tensor],
    parameters: Sequence[Tensor],
    block_size: int,
) -> Tensor:
    """Sums a function over rows, block by block, with its gradient.

    Equal to ``function(slice(0, num_rows), *inputs)``, without ever holding the
    intermediate tensors of more than one block. First derivatives only.

    Args:
        function: Takes a slice of rows and the inputs, returns the rows' sum.
        num_rows: The number of rows.
        inputs: The tensors that :obj:`function` is given.
        parameters: The leaf tensors that it reads besides.
        block_size: The number of rows of a block.
    """
    if not torch.is_grad_enabled():
        parts = [function(rows, *inputs) for rows in blocks(num_rows, block_size)]
        return torch.stack(parts).sum()
    out: Tensor = _BlockwiseSum.apply(  # type: ignore[no-untyped-call]
        function, num_rows, block_size, len(inputs), *inputs, *parameters
    )
    return out
