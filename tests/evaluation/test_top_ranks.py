"""The top of rankings against whole rankings."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iedr_geo.evaluation.top_ranks import top_ranks
from iedr_geo.metrics import MRR, NDCG, HitRatio, RankedLists, Recall

# Few values, so that ties are many, and all that a score can be but NaN.
SCORES = st.sampled_from([-math.inf, -1.5, 0.0, 0.25, 3.0, math.inf])


@st.composite
def catalogues(draw) -> tuple[Tensor, Tensor, Tensor, int]:
    num_lists, num_items = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    size = num_lists * num_items
    columns = [
        draw(st.lists(values, min_size=size, max_size=size))
        for values in (SCORES, st.booleans(), st.booleans())
    ]
    k = draw(st.integers(1, num_items + 3))
    scores, target, hidden = (
        torch.tensor(column).view(num_lists, num_items) for column in columns
    )
    return scores, target, hidden, k


def check(scores: Tensor, target: Tensor, hidden: Tensor, k: int) -> RankedLists:
    """Compares all metrics of the top k."""
    whole = RankedLists.from_dense(scores, target, ~hidden)
    top = top_ranks(scores.clone(), target, hidden, k)
    for at in {1, 2, k - 1, k} - {0}:
        for metric in (Recall, HitRatio, NDCG, MRR):
            if at <= k:
                torch.testing.assert_close(
                    metric(at)(top),
                    metric(at)(whole),
                    rtol=1e-12,
                    atol=1e-12,
                    equal_nan=True,
                )
    assert torch.equal(top.num_positives, whole.num_positives)
    return top


@given(catalogues())
def test_equals_whole_rankings(catalogue):
    check(*catalogue)


@given(catalogues())
def test_hidden_items_are_never_read(catalogue):
    scores, target, hidden, k = catalogue
    check(scores.masked_fill(hidden, torch.nan), target, hidden, k)


@pytest.mark.parametrize('k', [1, 5, 29, 30, 31, 100])
@pytest.mark.parametrize('levels', [1, 3, 20, 10**6])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_larger_catalogues(k, levels, dtype, device):
    scores = torch.randint(levels, (40, 30), device=device).to(dtype)
    target, hidden = (torch.rand(40, 30, device=device) < p for p in (0.1, 0.3))
    hidden[0] = True
    hidden[1, 2:] = True
    target[2] = True
    target[3] = False
    top = check(scores, target, hidden, k)
    assert top.rank.device.type == device.type


def test_ranks_no_more_than_the_top():
    """Without ties, k rows of each list; with ties at rank k, those too."""
    target, hidden = torch.zeros(2, 3, 50, dtype=torch.bool).unbind()
    scores = torch.stack([torch.randperm(50) for _ in range(3)]).float()
    top = top_ranks(scores.clone(), target, hidden, 4)
    assert top.list_index.bincount().tolist() == [4, 4, 4]
    scores[1, scores[1].argsort(descending=True)[2:9]] = 47  # Ranks 3 to 9.
    top = top_ranks(scores.clone(), target, hidden, 4)
    assert top.list_index.bincount().tolist() == [4, 9, 4]
    scores[1, scores[1].argsort(descending=True)[4:]] = -1  # Ranks 3 and 4 alone.
    top = top_ranks(scores.clone(), target, hidden, 4)
    assert top.list_index.bincount().tolist() == [4, 4, 4]


def test_nan_in_the_top_is_refused():
    scores = torch.randn(2, 6)
    scores[1, 3] = torch.nan
    none = torch.zeros(2, 6, dtype=torch.bool)
    with pytest.raises(ValueError, match='scores are NaN'):
        top_ranks(scores, ~none, none, 2)
