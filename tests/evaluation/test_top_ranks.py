"""The metrics of the top of catalogues against whole rankings."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iedr_geo.evaluation.top_ranks import top_metrics
from iedr_geo.metrics import MRR, NDCG, HitRatio, RankedLists, Recall

# Few values, so that ties are many, and all that a score can be but NaN.
SCORES = torch.tensor([-math.inf, -1.5, 0.0, 0.25, 3.0, math.inf])


def check(
    scores: Tensor, target: Tensor, hidden: Tensor, missing: Tensor, *ks: int
) -> None:
    """Compares all metrics; hidden items are given as they are or not at all."""
    metrics = [kind(k) for kind in (Recall, HitRatio, NDCG, MRR) for k in ks]
    left_out = (hidden | missing) & ~target
    whole = RankedLists.from_dense(scores, target, ~left_out)
    expected = torch.stack([metric(whole) for metric in metrics], dim=1)
    actual = top_metrics(
        scores.masked_fill(left_out, torch.nan),  # Never read.
        target.nonzero(as_tuple=True),
        metrics,
        hidden.nonzero(as_tuple=True) if hidden.any() else None,
        missing.nonzero().view(-1) if missing.any() else None,
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12, equal_nan=True)


@given(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32))
def test_equals_whole_rankings(size, num_items, k, seed):
    draws = torch.Generator().manual_seed(seed)
    scores = SCORES[torch.randint(len(SCORES), (size, num_items), generator=draws)]
    target, hidden = torch.rand(2, size, num_items, generator=draws) < 0.4
    missing = torch.rand(num_items, generator=draws) < 0.2
    k = min(k, num_items)
    check(scores, target, hidden, missing, k, (k + 1) // 2)
