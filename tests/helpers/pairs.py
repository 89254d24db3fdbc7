"""What the contrastive loss of a batch is taken of, by brute force."""

import torch
from torch import Tensor


def distinct_rows_and_counts(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first row of each distinct pair, and how many rows have the pair."""
    pairs = list(zip(one.tolist(), two.tolist(), strict=True))
    distinct = sorted(set(pairs))
    rows = [pairs.index(pair) for pair in distinct]
    return torch.tensor(rows), torch.tensor([pairs.count(pair) for pair in distinct])
