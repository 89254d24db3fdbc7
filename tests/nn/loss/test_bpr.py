"""The pairwise ranking loss against a loop, and its symmetries."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

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


@pytest.mark.parametrize(
    ('one', 'other'), [((3,), (3,)), ((3,), (2, 4)), ((3, 1), (3, 4))]
)
def test_shapes_that_do_not_fit(one, other):
    with pytest.raises(ValueError, match=r'\(B\) and \(B, K\) \(got .* and '):
        bpr_loss(torch.zeros(one), torch.zeros(other))
