"""Blocks of rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def blocks(num_rows: int, size: int) -> list[slice]:
    """Returns the rows in blocks of a size, the last of which may be smaller."""
    return [slice(i, min(i + size, num_rows)) for i in range(0, num_rows, size)]


def checkpointed(function: Callable[[slice], Tensor], num_rows: int, size: int) -> Tensor:
    """Returns what a function gives for the blocks of rows, one after the other.

    If there are several, each is computed again for its gradient.
    """
    parts = blocks(num_rows, size)
    if len(parts) == 1:
        return function(parts[0])
    return torch.cat([checkpoint(function, rows, use_reentrant=False) for rows in parts])
