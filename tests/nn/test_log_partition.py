"""The normaliser in blocks against the logarithm of the whole sum."""

import pytest
import torch

from iedr_geo.nn import log_partition as module
from iedr_geo.nn.log_partition import log_partition


def make(device, scale=1.0):
    def draw(*size):
        return (scale * torch.randn(*size, dtype=torch.double, device=device)).detach()

    tensors = [draw(3, 2, 4), draw(150, 4), draw(150, 2)]
    return [tensor.requires_grad_() for tensor in tensors]


def whole(query, item, log_weight, left_out=None):
    logits = torch.einsum('bkf,if->bki', query, item) + log_weight.t()
    if left_out is not None:
        logits = logits.masked_fill(left_out.unsqueeze(1), -torch.inf)
    return logits.flatten(1).logsumexp(dim=1)


@pytest.mark.parametrize('at_once', [1, 1 << 20], ids=['blocks', 'one block'])
@pytest.mark.parametrize('scale', [1.0, 30.0])
@pytest.mark.parametrize('masked', [False, True])
def test_values_and_gradients(at_once, scale, masked, device, assert_same, monkeypatch):
    """Also where an exponential would be infinite, or a block is left out."""
    monkeypatch.setattr(module, 'CPU_LOGITS', at_once)
    monkeypatch.setattr(module, 'LOGITS', at_once)
    tensors, left_out = make(device, scale), None
    if masked:
        left_out = torch.rand(3, 150, device=device) < 0.5
        left_out[0, :70] = True
    expected = whole(*tensors, left_out)
    assert_same(log_partition(*tensors, left_out), expected, tensors, 1e-10)


def test_nothing_is_left():
    """The logarithm of an empty sum, and no gradient."""
    tensors = make('cpu')
    out = log_partition(*tensors, torch.ones(3, 150, dtype=torch.bool))
    assert out.isneginf().all()
    out = log_partition(*tensors, torch.arange(3).unsqueeze(1) < torch.ones(150))
    grads = torch.autograd.grad(out[1:].sum(), tensors)
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[0][0].any() and grads[0][1:].any()
