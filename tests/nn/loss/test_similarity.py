"""The cross-entropy of the first of many, and its gradient written out."""

import math

import pytest
import torch

from iedr_geo.nn.loss.similarity import cross_entropy_and_gradient, cross_entropy_of_first

TEMPERATURE = 0.7
INF = math.inf


@pytest.mark.parametrize('variant', ['infonce', 'released'])
def test_large_logits(variant):
    # Neither exp(200) nor exp(exp(60)) fits into float32.
    top = 200.0 if variant == 'infonce' else 60.0
    logits = torch.tensor([[top, -top, 0.0, -INF], [-top, top, -INF, 0.0], [top] * 4])
    losses, grad = cross_entropy_and_gradient(logits, variant)
    if variant == 'infonce':
        wanted = [0.0, 2 * top, math.log(4)]
        wanted_grad = [[0.0, 0, 0, 0], [-1, 1, 0, 0], [-0.75, 0.25, 0.25, 0.25]]
    else:  # Their shares are one and zeros, which no small change changes.
        wanted = [math.log(1 + 2 / math.e), math.log(math.e + 2), math.log(4)]
        scale = math.exp(top) / 16
        wanted_grad = [[0.0] * 4, [0.0] * 4, [-3 * scale, scale, scale, scale]]
    torch.testing.assert_close(losses, torch.tensor(wanted))
    torch.testing.assert_close(grad, torch.tensor(wanted_grad))
    logits.requires_grad_()
    expected = cross_entropy_of_first(TEMPERATURE * logits, TEMPERATURE, variant)
    torch.testing.assert_close(losses, expected)
    [expected_grad] = torch.autograd.grad(expected.sum(), logits)
    torch.testing.assert_close(grad, expected_grad)
