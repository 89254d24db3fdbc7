"""Ranking metrics against brute force over the orders of ties, and scikit-learn."""

import math
import random
from fractions import Fraction

import pytest
import torch
from orders import expectation
from sklearn.metrics import ndcg_score
from torch import Tensor

from iedr_geo.metrics import MRR, NDCG, HitRatio, RankedLists, Recall

METRICS = [NDCG, Recall, HitRatio, MRR]
NAMES = {NDCG: 'ndcg', Recall: 'recall', HitRatio: 'hit_ratio', MRR: 'mrr'}


def random_lists(seed: int, num: int) -> list[tuple[list[int], list[int]]]:
    rng = random.Random(seed)
    lists = []
    for _ in range(num):
        length, levels = rng.randint(1, 6), rng.randint(1, 4)
        positive_share = rng.choice([0.2, 0.5, 0.8])
        scores = [rng.randrange(levels) for _ in range(length)]
        targets = [int(rng.random() < positive_share) for _ in range(length)]
        lists.append((scores, targets))
    return lists


def rows_of(
    lists: list[tuple[list[int], list[int]]], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    rows = [(s, y, i) for i, pair in enumerate(lists) for s, y in zip(*pair, strict=True)]
    scores, target, list_index = torch.tensor(rows, device=device).unbind(1)
    return scores.float(), target.float(), list_index


def check(actual: Tensor, expected: list[float], **tolerance: float) -> None:
    torch.testing.assert_close(
        actual.cpu(),
        torch.tensor(expected, dtype=torch.float64),
        equal_nan=True,
        **(tolerance or {'rtol': 1e-12, 'atol': 1e-12}),
    )


@pytest.mark.parametrize('metric', METRICS)
def test_brute_force_on_ragged_lists_in_any_row_order(metric: type, device: torch.device):
    lists = random_lists(seed=0, num=60)
    scores, target, list_index = rows_of(lists, device)
    torch.manual_seed(0)
    for shuffle in (torch.arange(len(scores)), torch.randperm(len(scores))):
        rows = shuffle.to(device)
        ranked = RankedLists.from_rows(scores[rows], target[rows], list_index[rows])
        for k in (1, 2, 3, 5, 50):
            actual = metric(k)(ranked)
            assert actual.device.type == device.type
            check(actual, [expectation(metric(k), *pair) for pair in lists])


@pytest.mark.parametrize('metric', METRICS)
@pytest.mark.parametrize(
    ('scores', 'targets'),
    [
        pytest.param([7], [1], id='one positive candidate'),
        pytest.param([7], [0], id='one negative candidate'),
        pytest.param([3, 1, 2], [0, 0, 0], id='no positive'),
        pytest.param([3, 1, 2], [1, 1, 1], id='all positive'),
        pytest.param([5, 5, 5, 5, 5], [0, 1, 0, 1, 0], id='all tied'),
        pytest.param([2, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 0], id='tie across the cut'),
        pytest.param([4, 3, 2, 1], [0, 0, 0, 1], id='positive last'),
    ],
)
def test_brute_force_on_corner_cases(
    metric: type, scores: list, targets: list, device: torch.device
):
    ranked = RankedLists.from_dense(
        torch.tensor([scores], device=device), torch.tensor([targets], device=device)
    )
    for k in range(1, 9):
        check(metric(k)(ranked), [expectation(metric(k), scores, targets)])


@pytest.mark.parametrize('k', [1, 3, 10, 100])
@pytest.mark.parametrize('levels', [2, 7, 10**6])
def test_ndcg_equals_sklearn(k: int, levels: int, device: torch.device):
    torch.manual_seed(levels)
    scores = torch.randint(levels, (20, 30), dtype=torch.float64)
    target = torch.rand(20, 30) < 0.2
    target[:, 0] = True
    ranked = RankedLists.from_dense(scores.to(device), target.to(device))
    expected = [
        ndcg_score(y[None].int().numpy(), s[None].numpy(), k=k)
        for s, y in zip(scores, target, strict=True)
    ]
    check(NDCG(k)(ranked), expected)


@pytest.mark.parametrize(('size', 'positives'), [(50, 3), (2000, 700), (5000, 1)])
def test_first_positive_of_large_ties_in_exact_fractions(
    size: int, positives: int, device: torch.device
):
    k = 40
    miss, reciprocal = Fraction(1), Fraction(0)
    for rank in range(1, k + 1):
        hit = min(Fraction(positives, size - rank + 1), Fraction(1))
        reciprocal += miss * hit / rank
        miss *= 1 - hit
    target = torch.arange(size, device=device)[None] < positives
    ranked = RankedLists.from_dense(torch.zeros(target.shape, device=device), target)
    check(HitRatio(k)(ranked), [float(1 - miss)], rtol=1e-10, atol=0)
    check(MRR(k)(ranked), [float(reciprocal)], rtol=1e-10, atol=0)
    check(HitRatio(size)(ranked), [1.0], rtol=1e-10, atol=0)


@pytest.mark.parametrize('metric', METRICS)
def test_dense_equals_rows(metric: type, device: torch.device):
    torch.manual_seed(1)
    scores = torch.randint(4, (9, 7), device=device).float()
    target = torch.rand(9, 7, device=device) < 0.3
    list_index = torch.arange(9, device=device).repeat_interleave(7)
    rows = RankedLists.from_rows(scores.flatten(), target.flatten(), list_index)
    dense = RankedLists.from_dense(scores, target)
    torch.testing.assert_close(metric(3)(dense), metric(3)(rows), equal_nan=True)


@pytest.mark.parametrize('metric', METRICS)
def test_mask_hides_candidates(metric: type, device: torch.device):
    lists = random_lists(seed=2, num=20)
    shape = (len(lists) + 1, 6)
    scores = torch.full(shape, torch.nan, device=device)
    target = torch.full(shape, -1, device=device)
    mask = torch.zeros(shape, dtype=torch.bool, device=device)
    for i, (s, y) in enumerate(lists):
        # Padding in front, so that taking the first candidates would be wrong.
        valid = slice(6 - len(s), None)
        scores[i, valid] = torch.tensor(s, device=device).float()
        target[i, valid] = torch.tensor(y, device=device)
        mask[i, valid] = True
    ranked = RankedLists.from_dense(scores, target, mask)
    expected = [expectation(metric(2), *pair) for pair in lists]
    check(metric(2)(ranked), [*expected, math.nan])


@pytest.mark.parametrize('metric', METRICS)
def test_lists_without_rows_are_undefined(metric: type, device: torch.device):
    ranked = RankedLists.from_rows(
        torch.tensor([1.0, 2.0], device=device),
        torch.tensor([1, 1], device=device),
        torch.tensor([3, 1], device=device),
        num_lists=5,
    )
    check(metric(1)(ranked), [math.nan, 1.0, math.nan, 1.0, math.nan])
    empty = torch.empty(0, device=device)
    assert metric(1)(RankedLists.from_rows(empty, empty, empty.long())).shape == (0,)


@pytest.mark.parametrize('metric', METRICS)
def test_infinite_scores_are_ordinary(metric: type, device: torch.device):
    scores = [1, 9, 9, 0, 0, 0]
    targets = [1, 0, 1, 0, 1, 1]
    infinite = {0: -math.inf, 1: 1.0, 9: math.inf}
    ranked = RankedLists.from_dense(
        torch.tensor([[infinite[s] for s in scores]], device=device),
        torch.tensor([targets], device=device),
    )
    for k in range(1, 7):
        check(metric(k)(ranked), [expectation(metric(k), scores, targets)])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.int64])
@pytest.mark.parametrize('metric', METRICS)
def test_any_score_dtype(metric: type, dtype: torch.dtype, device: torch.device):
    lists = random_lists(seed=3, num=20)
    scores, target, list_index = rows_of(lists, device)
    ranked = RankedLists.from_rows(scores.to(dtype), target.bool(), list_index.int())
    actual = metric(3)(ranked)
    assert actual.dtype == torch.float64
    check(actual, [expectation(metric(3), *pair) for pair in lists])


@pytest.mark.parametrize('metric', METRICS)
def test_name_and_k(metric: type):
    assert metric(20).name == f'{NAMES[metric]}@20'
    for k in (0, -1):
        with pytest.raises(ValueError, match='k must be positive'):
            metric(k)
