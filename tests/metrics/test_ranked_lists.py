"""Order and bad input of ranked lists."""

import pytest
import torch

from iedr_geo.metrics import MRR, NDCG, HitRatio, RankedLists, Recall


def test_ranks_restart_in_each_list(device: torch.device):
    list_index = torch.tensor([2, 0, 2, 0, 2], device=device)
    ranked = RankedLists.from_rows(
        torch.tensor([0.1, 0.2, 0.9, 0.7, 0.5], device=device),
        torch.tensor([1, 0, 0, 1, 1], device=device),
        list_index,
    )
    assert ranked.list_index.tolist() == [0, 0, 2, 2, 2]
    assert ranked.rank.tolist() == [1, 2, 1, 2, 3]
    assert ranked.positive.tolist() == [1, 0, 0, 1, 1]
    assert ranked.first_positive.tolist() == [1, 0, 0, 1, 0]
    assert ranked.num_positives.tolist() == [1, 0, 2]


def test_equal_scores_of_neighbouring_lists_are_no_tie(device: torch.device):
    ranked = RankedLists.from_rows(
        torch.tensor([1.0, 1.0], device=device),
        torch.tensor([1, 0], device=device),
        torch.tensor([0, 1], device=device),
    )
    assert ranked.positive.tolist() == [1, 0]


def test_input_is_left_as_it_was(device: torch.device):
    scores = torch.tensor([1.0, 3.0, 2.0], device=device, requires_grad=True)
    target = torch.tensor([1.0, 0.0, 1.0], device=device)
    list_index = torch.tensor([1, 0, 1], device=device)
    before = [x.detach().clone() for x in (scores, target, list_index)]
    ranked = RankedLists.from_rows(scores, target, list_index)
    for x, y in zip((scores, target, list_index), before, strict=True):
        torch.testing.assert_close(x.detach(), y)
    assert not ranked.first_positive.requires_grad


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
        ({'list_index': torch.tensor([0, -1, 1])}, 'must lie in'),
        ({'num_lists': 1}, 'must lie in'),
    ],
)
def test_bad_rows(change: dict, message: str, device: torch.device):
    rows = {**ROWS, **change}
    rows = {name: x.to(device) if torch.is_tensor(x) else x for name, x in rows.items()}
    with pytest.raises(ValueError, match=message):
        RankedLists.from_rows(**rows)


@pytest.mark.parametrize(
    ('shapes', 'mask_dtype', 'message'),
    [
        ([(2, 3), (3, 2), (2, 3)], torch.bool, r'must all be \[L, C\]'),
        ([(2, 3), (2, 3), (2, 1)], torch.bool, r'must all be \[L, C\]'),
        ([(6,), (6,), (6,)], torch.bool, r'must all be \[L, C\]'),
        ([(2, 3), (2, 3), (2, 3)], torch.long, 'mask must be boolean'),
    ],
)
def test_bad_dense(shapes: list, mask_dtype: torch.dtype, message: str):
    scores, target, mask = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=message):
        RankedLists.from_dense(scores, target, mask.to(mask_dtype))


def test_nan_at_a_valid_candidate_is_refused():
    scores = torch.tensor([[0.0, torch.nan], [torch.nan, 1.0]])
    mask = torch.tensor([[True, True], [False, True]])
    with pytest.raises(ValueError, match='1 of 3 scores are NaN'):
        RankedLists.from_dense(scores, torch.ones(2, 2), mask)


@pytest.mark.parametrize('top', [1, 3, 9])
def test_hits_are_the_top_of_rows_without_ties(top: int, device: torch.device):
    scores = torch.rand(20, 9, device=device).argsort(dim=1)
    target = torch.rand(20, 9, device=device) < torch.linspace(0, 1, 20)[:, None].to(
        device
    )
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
    ('hits', 'num_positives', 'message'),
    [
        (
            torch.ones(2, 3),
            torch.ones(2),
            r'boolean \[L, K\], got torch.float32 \[2, 3\]',
        ),
        (torch.ones(3) > 0, torch.ones(3), r'boolean \[L, K\], got torch.bool \[3\]'),
        (torch.ones(2, 3) > 0, torch.ones(3), r'must be \[2\], got \[3\]'),
    ],
)
def test_bad_hits(hits: torch.Tensor, num_positives: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        RankedLists.from_hits(hits, num_positives)
