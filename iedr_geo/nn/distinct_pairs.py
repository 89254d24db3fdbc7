"""Rows that stand for all that have the same pair of numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def distinct_pairs(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the first row of each distinct pair, the pair of each row, and how many
    rows each pair has.

    Args:
        one: The first number of each row, of shape :math:`(N)`, below :math:`2^{31}`.
        two: The second, likewise.
    """
    pair = (one << 32) + two
    _, inverse, counts = torch.unique(pair, return_inverse=True, return_counts=True)
    rows = torch.arange(pair.numel(), device=pair.device)
    first = torch.full_like(counts, pair.numel())
    return first.scatter_reduce(0, inverse, rows, 'amin'), inverse, counts
