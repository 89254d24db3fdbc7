import pytest
import torch
from objectives import OBJECTIVES, plain_loss

from iedr_geo.nn import BCEObjective, BPRObjective, SoftmaxObjective


@pytest.mark.parametrize('objective', OBJECTIVES, ids=repr)
@pytest.mark.parametrize('masked', [False, True])
def test_equals_the_terms_written_out(objective, masked):
    logits = torch.randn(7, 5, dtype=torch.double, requires_grad=True)
    y = torch.eye(5, dtype=torch.bool)[torch.randint(5, (7,))]
    left_out = (torch.rand(7, 5) < 0.3) & ~y if masked else None
    log_q = torch.rand(5).double().log() if masked else None
    loss = objective(logits, y, left_out, log_q)
    expected = plain_loss(objective, logits, y, left_out, log_q)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(one, logits)[0] for one in (loss, expected))
    )


def test_labels_of_single_rows():
    logits, y = torch.randn(6).double(), torch.tensor([1.0, 0, 0, 1, 0, 1])
    expected = plain_loss(BCEObjective(), logits.unsqueeze(1), y.unsqueeze(1))
    torch.testing.assert_close(BCEObjective()(logits, y), expected)


@pytest.mark.parametrize('objective', OBJECTIVES, ids=repr)
def test_large_logits_and_no_other_candidate(objective):
    """Neither a logarithm of zero, nor a mean of nothing."""
    y = torch.tensor([[True, False], [True, False]])
    logits = torch.tensor([[-1e4, 1e4], [1e4, -1e4]], requires_grad=True)
    loss = objective(logits, y, torch.zeros_like(y))
    alone = objective(logits, y, ~y)
    for value in (loss, alone):
        assert value.isfinite()
        [gradient] = torch.autograd.grad(value, logits, retain_graph=True)
        assert gradient.isfinite().all()
    if not isinstance(objective, BCEObjective) and not getattr(
        objective, 'bce_weight', 0
    ):
        assert alone.item() == 0


def test_is_named_and_checked():
    assert repr(SoftmaxObjective('batch', log_q=False)) == (
        "SoftmaxObjective(over='batch', log_q=False, bce_weight=0.0)"
    )
    assert repr(BPRObjective()) == "BPRObjective(over='negatives')"
    with pytest.raises(ValueError, match=r"'negatives' or 'batch' \(got 'all'\)"):
        BCEObjective('all')
    with pytest.raises(ValueError, match=r'`bce_weight` must not .* \(got -1\)'):
        SoftmaxObjective(bce_weight=-1)
