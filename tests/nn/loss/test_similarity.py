"""The cross-entropy of the first of many, and its gradient written out."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from iedr_geo.nn.loss.similarity import (
    cross_entropy_and_gradient,
    cross_entropy_of_first,
)

ROWS, COLUMNS, TEMPERATURE = 9, 6, 0.7
INF = math.inf

any_variant = pytest.mark.parametrize('variant', ['infonce', 'released'])


def of_autograd(similarity: Tensor, variant: str) -> tuple[Tensor, Tensor]:
    """Returns the losses, and their gradient with respect to the logits."""
    similarity = similarity.clone().requires_grad_()
    losses = cross_entropy_of_first(similarity, TEMPERATURE, variant)
    (grad,) = torch.autograd.grad(losses.sum(), similarity)
    return losses.detach(), grad * TEMPERATURE


@any_variant
@pytest.mark.parametrize('largest', [0.1, 1.0, 4.0])
def test_gradient_equals_autograd(largest, variant, device):
    similarity = torch.empty(ROWS, COLUMNS, dtype=torch.double).uniform_(
        -largest, largest
    )
    left_out = torch.rand(ROWS, COLUMNS) < 0.4
    left_out[0], left_out[1], left_out[:, 0] = True, False, False
    similarity = similarity.masked_fill(left_out, -INF).to(device)
    losses, grad = cross_entropy_and_gradient(similarity / TEMPERATURE, variant)
    expected, expected_grad = of_autograd(similarity, variant)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-9, atol=1e-12)
    # Of what is left out, and of a row with nothing else, nothing is wanted.
    assert losses[0] == 0
    assert (grad[0] == 0).all()
    assert (grad[left_out] == 0).all()
    assert expected_grad.abs().max() > 0.1  # Of the others it is.


@any_variant
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
    expected, expected_grad = of_autograd(logits * TEMPERATURE, variant)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(grad, expected_grad)
