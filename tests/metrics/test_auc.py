"""Area under the ROC curve against its definition."""

import pytest
import torch

from iedr_geo.metrics import AUC


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float16])
def test_equals_the_share_of_ordered_pairs(dtype: torch.dtype, device: torch.device):
    target = torch.arange(12) % 3 == 0
    for _ in range(10):
        scores = torch.randint(4, (12,)).to(dtype)
        scores[scores == 0] = -torch.inf
        pairs = [(p, n) for p in scores[target] for n in scores[~target]]
        wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs)
        actual = AUC()(scores.to(device), target.float().to(device))
        assert actual.dtype == torch.float64 and actual.device.type == device.type
        assert actual.item() == pytest.approx(wins / len(pairs), rel=1e-12)


def test_counts_exactly_beyond_single_precision(device: torch.device):
    half = 100_000
    target = torch.arange(2 * half, device=device) % 2
    # Each positive is right above its negative: it loses to the negatives above.
    expected = (half + 1) / (2 * half)
    scores = torch.arange(2 * half, device=device)
    assert AUC()(scores, target).item() == pytest.approx(expected, rel=1e-15)
    assert AUC().name == 'auc'


@pytest.mark.parametrize(
    ('scores', 'target', 'message'),
    [
        ([0.1, float('nan')], [0, 1], '1 of 2 scores are NaN'),
        ([0.1, 0.2], [0, 2], '1 of 2 are not'),
        ([0.1, 0.2], [0, 1, 1], r'must both be \[R\]'),
        ([[0.1, 0.2]], [[0, 1]], r'must both be \[R\]'),
        ([], [], 'AUC needs both classes'),
        ([0.1, 0.2], [0, 0], 'both classes, got 0 positives and 2 negatives'),
        ([0.1, 0.2], [1, 1], 'both classes, got 2 positives and 0 negatives'),
    ],
)
def test_bad_input(scores: list, target: list, message: str):
    with pytest.raises(ValueError, match=message):
        AUC()(torch.tensor(scores), torch.tensor(target))
