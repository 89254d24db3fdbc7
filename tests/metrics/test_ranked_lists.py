"""Order and bad input of ranked lists."""

from typing import Any

import pytest
import torch

from iedr_geo.metrics import MRR, NDCG, HitRatio, RankedLists, Recall


def test_rows_in_order_of_lists_and_ranks(device: torch.device):
    """Ranks restart in each list, and equal scores of neighbouring lists are no tie."""
    scores = torch.tensor([0.1, 0.2, 0.9, 0.7, 0.5], device=device, requires_grad=True)
    target = torch.tensor([1, 0, 0, 1, 1], device=device)
    list_index = torch.tensor([2, 0, 2, 0, 2], device=device)
    before = [x.detach().clone() for x in (scores, target, list_index)]
    ranked = RankedLists.from_rows(scores, target, list_index)
    assert ranked.list_index.tolist() == [0, 0, 2, 2, 2]
    assert ranked.rank.tolist() == [1, 2, 1, 2, 3]
    assert ranked.positive.tolist() == [1, 0, 0, 1, 1]
    assert ranked.first_positive.tolist() == [1, 0, 0, 1, 0]
    assert ranked.num_positives.tolist() == [1, 0, 2]
    assert not ranked.first_positive.requires_grad
    for x, y in zip((scores, target, list_index), before, strict=True):
        assert torch.equal(x.detach(), y)
    ranked = RankedLists.from_rows(torch.ones(2), torch.tensor([1, 0]), torch.arange(2))
    assert ranked.positive.tolist() == [1, 0]


ROWS = {
    'scores': torch.tensor([0.3, 0.1, 0.2]),
    'target': torch.tensor([1.0, 0.0, 1.0]),
    'list_index': torch.tensor([0, 1, 1]),
}


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'scores': torch.tensor([torch.nan, 1, torch.nan])}, '2 of 3 scores are NaN'),
        ({'target': torch.tensor([0.0, 0.5, 2.0])}, '2 of 3 are not'),
        ({'target': torch.tensor([0.0, 1.0, torch.nan])}, '1 of 3 are not'),
        ({'target': torch.tensor([0.0, 1.0])}, r'must both be \[R\]'),
        ({'scores': torch.zeros(3, 1)}, r'must both be \[R\]'),
        ({'list_index': torch.tensor([0, 1])}, 'list_index must be'),
        ({'list_index': torch.tensor([0.0, 1.0, 1.0])}, 'of integers'),
        ({'list_index': torch.tensor([True, False, True])}, 'of integers'),
        ({'list_index': torch.tensor([0, -1, 1])}, r'lie in \[0, 2\), got -1 to 1'),
        ({'num_lists': 1}, r'must lie in \[0, 1\), got 0 to 1'),
    ],
)
def test_bad_rows(change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        RankedLists.from_rows(**ROWS | change)


def zeros(
    *shapes: tuple[int, ...], dtype: torch.dtype = torch.bool
) -> list[torch.Tensor]:
    """Scores, targets and a mask."""
    *others, mask = (torch.zeros(shape) for shape in shapes)
    return [*others, mask.to(dtype)]


NAN = (
    [[0.0, torch.nan], [torch.nan, 1.0]],
    [[1, 1], [1, 1]],
    [[True, True], [False, True]],
)


@pytest.mark.parametrize(
    ('tensors', 'message'),
    [
        (zeros((2, 3), (3, 2), (2, 3)), r'must all be \[L, C\]'),
        (zeros((2, 3), (2, 3), (2, 1)), r'must all be \[L, C\]'),
        (zeros((6,), (6,), (6,)), r'must all be \[L, C\]'),
        (zeros((2, 3), (2, 3), (2, 3), dtype=torch.long), 'mask must be boolean'),
        (list(map(torch.tensor, NAN)), '1 of 3 scores are NaN'),
    ],
)
def test_bad_dense(tensors: list[torch.Tensor], message: str):
    with pytest.raises(ValueError, match=message):
        RankedLists.from_dense(*tensors)


@pytest.mark.parametrize('top', [1, 3, 9])
def test_hits_are_the_top_of_rows_without_ties(top: int, device: torch.device):
    scores = torch.rand(20, 9).argsort(dim=1).to(device)
    target = (torch.rand(20, 9) < torch.linspace(0, 1, 20)[:, None]).to(device)
    whole = RankedLists.from_dense(scores, target)
    hits = target.gather(1, scores.argsort(dim=1, descending=True))[:, :top]
    ranked = RankedLists.from_hits(hits, target.sum(1))
    rows = whole.rank <= top
    for name in ('list_index', 'rank', 'positive', 'first_positive'):
        assert torch.equal(getattr(ranked, name), getattr(whole, name)[rows]), name
    for kind in (NDCG, Recall, HitRatio, MRR):
        for k in {1, min(2, top), top}:
            expected = kind(k)(whole)
            torch.testing.assert_close(kind(k)(ranked), expected, equal_nan=True)


@pytest.mark.parametrize(
    ('hits', 'size', 'message'),
    [
        (torch.ones(2, 3), 2, r'boolean \[L, K\], got torch.float32 \[2, 3\]'),
        (torch.ones(3) > 0, 3, r'boolean \[L, K\], got torch.bool \[3\]'),
        (torch.ones(2, 3) > 0, 3, r'must be \[2\], got \[3\]'),
    ],
)
def test_bad_hits(hits: torch.Tensor, size: int, message: str):
    with pytest.raises(ValueError, match=message):
        RankedLists.from_hits(hits, torch.ones(size))
