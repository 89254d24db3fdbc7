"""The pairwise ranking loss against a loop, and its symmetries."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from iedr_geo.nn import bpr_loss

SHAPES = st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(0, 999))


def draw(rows: int, negatives: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = rows, negatives + 2
    table = torch.randn(shape, generator=generator, dtype=torch.double)
    return table[:, 0], table[:, 1:-1], table[:, -1].exp()


@given(SHAPES, st.booleans())
def test_equals_a_loop(shape, weighted):
    positive, negative, weight = draw(*shape)
    total, count = 0.0, 0
    for row, score in enumerate(positive.tolist()):
        for other in negative[row].tolist():
            w = weight[row].item() if weighted else 1.0
            total -= w * math.log(1 / (1 + math.exp(other - score)))
            count += 1
    loss = bpr_loss(positive, negative, weight if weighted else None)
    assert loss.shape == ()
    assert loss.item() == pytest.approx(total / count, rel=1e-12)


@given(SHAPES)
def test_depends_on_differences_alone(shape):
    positive, negative, weight = draw(*shape)
    shift = torch.linspace(-3, 3, len(positive), dtype=torch.double)
    moved = bpr_loss(positive + shift, negative + shift.unsqueeze(1), weight)
    torch.testing.assert_close(moved, bpr_loss(positive, negative, weight))
    for tensor in (positive, negative):
        tensor.requires_grad_()
    bpr_loss(positive, negative, weight).backward()
    torch.testing.assert_close(positive.grad, -negative.grad.sum(dim=1))
    assert (positive.grad < 0).all()
    assert (negative.grad > 0).all()


def test_gradients(device):
    positive, negative, weight = (t.to(device).requires_grad_() for t in draw(4, 3))
    assert gradcheck(bpr_loss, (positive, negative))
    assert gradcheck(bpr_loss, (positive, negative, weight))


def test_by_hand(device):
    positive = torch.tensor([1.0, 0.0], device=device)
    negative = torch.tensor([[1.0, 1.0], [0.0, 2.0]], device=device)
    # Leads of 0, 0, 0 and -2, the last two of them three times.
    half, last = math.log(2), math.log(1 + math.exp(2))
    loss = bpr_loss(positive, negative).item()
    assert loss == pytest.approx((3 * half + last) / 4, rel=1e-6)
    weight = torch.tensor([1.0, 3.0], device=device)
    loss = bpr_loss(positive, negative, weight).item()
    assert loss == pytest.approx((5 * half + 3 * last) / 4, rel=1e-6)


def test_weights_of_one_and_zero():
    positive, negative, _ = draw(6, 3)
    one = bpr_loss(positive, negative, torch.ones(6))
    torch.testing.assert_close(one, bpr_loss(positive, negative))
    rest = bpr_loss(positive, negative, torch.tensor([1, 1, 1, 0, 0, 0]))
    torch.testing.assert_close(rest, bpr_loss(positive[:3], negative[:3]) / 2)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_far_apart(dtype, device):
    """The loss is linear where it is large, and vanishes without an underflow."""
    scores = torch.tensor([1e4, -1e4], dtype=dtype, device=device).requires_grad_()
    good = bpr_loss(scores[:1], scores[1:].unsqueeze(0))
    bad = bpr_loss(scores[1:], scores[:1].unsqueeze(0))
    assert good == 0
    assert bad.item() == pytest.approx(2e4)
    [grad] = torch.autograd.grad(bad, scores)
    assert grad.tolist() == pytest.approx([1, -1])


def test_equal_scores_cost_one_bit():
    loss = bpr_loss(torch.zeros(5), torch.zeros(5, 2))
    assert loss.item() == pytest.approx(math.log(2))
