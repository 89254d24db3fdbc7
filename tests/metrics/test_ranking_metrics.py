"""Ranking metrics against brute force over the orders of ties."""

import math
import random
from fractions import Fraction

import pytest
import torch
from orders import expectation
from torch import Tensor

from iedr_geo.metrics import (
    AUC,
    F1,
    MRR,
    NDCG,
    HitRatio,
    ListAUC,
    Precision,
    RankedLists,
    Recall,
    TruncatedRecall,
)

NAMES = {
    NDCG: 'ndcg',
    Recall: 'recall',
    TruncatedRecall: 'truncated_recall',
    Precision: 'precision',
    F1: 'f1',
    HitRatio: 'hit_ratio',
    MRR: 'mrr',
}
Lists = list[tuple[list[int], list[int]]]


@pytest.fixture(params=NAMES)
def metric(request) -> type:
    return request.param


def random_lists(num: int) -> Lists:
    rng = random.Random(0)
    lists = []
    for _ in range(num):
        length, levels = rng.randint(1, 6), rng.randint(1, 4)
        positive_share = rng.choice([0.2, 0.5, 0.8])
        scores = [rng.randrange(levels) for _ in range(length)]
        targets = [int(rng.random() < positive_share) for _ in range(length)]
        lists.append((scores, targets))
    return lists


def rows_of(lists: Lists, device: torch.device) -> list[Tensor]:
    """Scores, targets and lists of rows, in random order."""
    rows = [(s, y, i) for i, pair in enumerate(lists) for s, y in zip(*pair, strict=True)]
    return list(torch.tensor(rows)[torch.randperm(len(rows))].to(device).unbind(1))


def check(actual: Tensor, expected: list[float], **tolerance: float) -> None:
    assert actual.dtype == torch.float64
    torch.testing.assert_close(
        actual.cpu(),
        torch.tensor(expected, dtype=torch.float64),
        equal_nan=True,
        **(tolerance or {'rtol': 1e-12, 'atol': 1e-12}),
    )


@pytest.mark.parametrize(
    'dtype', [torch.float32, torch.bfloat16, torch.float16, torch.int64]
)
def test_brute_force_on_ragged_lists(metric, dtype, device):
    """In any order of the rows; a list without any is undefined, and infinite scores are
    ordinary.
    """
    lists = random_lists(60)
    scores, target, list_index = rows_of(lists, device)
    scores = scores.to(dtype)
    if dtype.is_floating_point:
        scores[scores == 0], scores[scores == 3] = -torch.inf, torch.inf
    ranked = RankedLists.from_rows(scores, target.bool(), list_index.int(), num_lists=61)
    for k in (1, 2, 3, 5, 50):
        actual = metric(k)(ranked)
        assert actual.device.type == device.type
        check(actual, [*(expectation(metric(k), *pair) for pair in lists), math.nan])
    empty = torch.empty(0, device=device)
    assert metric(1)(RankedLists.from_rows(empty, empty, empty.long())).shape == (0,)
    assert metric(20).name == f'{NAMES[metric]}@20'
    for k in (0, -1):
        with pytest.raises(ValueError, match=f'k must be a positive integer, got {k}'):
            metric(k)


CORNERS: Lists = [
    ([7], [1]),
    ([7], [0]),
    ([3, 1, 2], [0, 0, 0]),
    ([3, 1, 2], [1, 1, 1]),
    ([5, 5, 5, 5, 5], [0, 1, 0, 1, 0]),
    ([2, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 0]),  # A tie across the cut.
    ([4, 3, 2, 1], [0, 0, 0, 1]),
]


def test_brute_force_on_masked_matrices(metric, device):
    """What is masked is never read."""
    lists = [*CORNERS, *random_lists(20)]
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
    for k in range(1, 9):
        expected = [expectation(metric(k), *pair) for pair in lists]
        check(metric(k)(ranked), [*expected, math.nan])


def test_auc_of_each_list(device):
    """Undefined without a positive or a negative."""
    lists = [*CORNERS, *random_lists(60)]
    scores, target, list_index = rows_of(lists, device)
    ranked = RankedLists.from_rows(scores, target, list_index, len(lists) + 1)
    expected = [
        AUC()(*map(torch.tensor, pair)).item() if len(set(pair[1])) == 2 else math.nan
        for pair in lists
    ]
    assert ListAUC().name == 'list_auc'
    check(ListAUC()(ranked), [*expected, math.nan])


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
    assert HitRatio(size)(ranked) <= 1
