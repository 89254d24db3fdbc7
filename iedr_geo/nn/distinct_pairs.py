"""Rows that stand for all that have the same pair of numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def distinct_pairs(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a row of each distinct pair, and how many rows have it."""
    if one.numel() == 0:
        return one, one
    pair = one * (two.max() + 1) + two
    _, inverse, counts = torch.unique(pair, return_inverse=True, return_counts=True)
    rows = torch.arange(pair.numel(), device=pair.device)
    first = torch.zeros_like(counts).scatter_reduce(
        0, inverse, rows, 'amin', include_self=False
    )
    return first, counts
