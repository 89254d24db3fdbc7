"""Area under the ROC curve against scikit-learn and its definition."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from iedr_geo.metrics import AUC


@pytest.mark.parametrize('levels', [1, 2, 10, 10**6])
@pytest.mark.parametrize('share', [0.01, 0.5])
def test_equals_sklearn_in_any_row_order(levels: int, share: float, device: torch.device):
    torch.manual_seed(levels)
    scores = torch.randint(levels, (2000,)).double() / levels
    target = torch.rand(2000) < share
    expected = roc_auc_score(target.numpy(), scores.numpy())
    for rows in (torch.arange(2000), torch.randperm(2000)):
        actual = AUC()(scores[rows].to(device), target[rows].to(device))
        assert actual.dtype == torch.float64
        assert actual.device.type == device.type
        assert actual.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('seed', range(10))
def test_equals_the_share_of_ordered_pairs(seed: int, device: torch.device):
    torch.manual_seed(seed)
    scores = torch.randint(4, (12,)).float()
    scores[scores == 0] = -torch.inf
    target = torch.arange(12) % 3 == 0
    pairs = [(p, n) for p in scores[target] for n in scores[~target]]
    wins = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs)
    actual = AUC()(scores.to(device), target.float().to(device))
    assert actual.item() == pytest.approx(wins / len(pairs), rel=1e-12)


def test_counts_exactly_beyond_single_precision(device: torch.device):
    size = 200_000
    target = torch.arange(size, device=device) % 2
    # Each positive is right above its negative: it loses to the negatives above.
    half = size // 2
    expected = (half + 1) / (2 * half)
    scores = torch.arange(size, device=device)
    assert AUC()(scores, target).item() == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize('value', [0, 1])
def test_one_class_is_refused(value: int, device: torch.device):
    target = torch.full((3,), value, device=device)
    with pytest.raises(ValueError, match='AUC needs both classes'):
        AUC()(torch.rand(3, device=device), target)


@pytest.mark.parametrize(
    ('scores', 'target', 'message'),
    [
        ([0.1, float('nan')], [0, 1], '1 of 2 scores are NaN'),
        ([0.1, 0.2], [0, 2], '1 of 2 are not'),
        ([0.1, 0.2], [0, 1, 1], r'must both be \[R\]'),
        ([[0.1, 0.2]], [[0, 1]], r'must both be \[R\]'),
        ([], [], 'AUC needs both classes'),
    ],
)
def test_bad_input(scores: list, target: list, message: str):
    with pytest.raises(ValueError, match=message):
        AUC()(torch.tensor(scores), torch.tensor(target))


def test_name():
    assert AUC().name == 'auc'
