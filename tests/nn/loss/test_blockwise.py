"""A sum over rows in blocks against the sum over all rows at once."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from iedr_geo.nn.loss.blockwise import blockwise_sum

ROWS, CHANNELS = 7, 3
BLOCK_SIZES = [1, 3, 7, 100]


class Problem:
    """A function of rows that reads other rows, inputs and parameters in many ways."""

    def __init__(self, device: torch.device) -> None:
        def tensor(*shape: int) -> Tensor:
            return torch.randn(shape, dtype=torch.double, device=device)

        self.x = tensor(ROWS, CHANNELS).requires_grad_()
        self.y = tensor(ROWS, CHANNELS).requires_grad_()
        self.constant = tensor(ROWS)
        self.index = torch.randint(ROWS, (ROWS, 4), device=device)
        self.w = tensor(CHANNELS, CHANNELS).requires_grad_()
        self.p = tensor(CHANNELS).requires_grad_()
        self.q = tensor(CHANNELS).requires_grad_()
        self.unused = tensor(2).requires_grad_()
        self.frozen = tensor(CHANNELS)
        self.seen: list[int] = []

    @property
    def inputs(self) -> list[Tensor]:
        return [self.x, self.y, self.constant, self.index]

    @property
    def parameters(self) -> list[Tensor]:
        return [self.w, self.p, self.q, self.unused, self.frozen]

    @property
    def wanted(self) -> list[Tensor]:
        return [self.x, self.y, self.w, self.p, self.q, self.unused]

    def function(
        self, rows: slice, x: Tensor, y: Tensor, constant: Tensor, index: Tensor
    ) -> Tensor:
        self.seen += range(ROWS)[rows]
        own = (x[rows] @ self.w + self.frozen).tanh() * (self.p + self.q)
        others = (y[index[rows]] * own.unsqueeze(1)).sum(-1).exp()
        rest = x.square().mean() * self.p.sum() * len(range(ROWS)[rows])
        return (constant[rows] * others.sum(1).log()).sum() + rest


@pytest.fixture
def problem(device: torch.device) -> Problem:
    return Problem(device)


@pytest.mark.parametrize('block_size', BLOCK_SIZES)
def test_equals_the_function_of_all_rows(problem, block_size, assert_same):
    expected = problem.function(slice(0, ROWS), *problem.inputs)
    problem.seen.clear()
    actual = blockwise_sum(
        problem.function, ROWS, problem.inputs, problem.parameters, block_size
    )
    assert problem.seen == list(range(ROWS))
    assert_same(actual, expected, problem.wanted)


@pytest.mark.parametrize('block_size', BLOCK_SIZES)
def test_gradients_reach_what_comes_before(problem, block_size, assert_same):
    inputs = [problem.x.exp(), problem.x.sin() * problem.y, *problem.inputs[2:]]
    expected = problem.function(slice(0, ROWS), *inputs)
    actual = blockwise_sum(problem.function, ROWS, inputs, problem.parameters, block_size)
    # Its gradient is scaled with what comes after.
    assert_same(actual.square() * 3, expected.square() * 3, problem.wanted)


def test_backward_adds_to_the_gradients(problem):
    expected = problem.function(slice(0, ROWS), *problem.inputs)
    wanted = torch.autograd.grad(expected, problem.wanted, allow_unused=True)
    for times in (1, 2):
        (
            0.5
            * blockwise_sum(problem.function, ROWS, problem.inputs, problem.parameters, 2)
        ).backward()
        for tensor, grad in zip(problem.wanted, wanted, strict=True):
            if grad is None:
                assert tensor.grad is None
            else:
                torch.testing.assert_close(tensor.grad, times * 0.5 * grad)
    assert problem.constant.grad is None
    assert problem.frozen.grad is None


@pytest.mark.parametrize('block_size', BLOCK_SIZES)
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_value_alone(problem, block_size, mode):
    expected = problem.function(slice(0, ROWS), *problem.inputs).detach()
    with mode():
        actual = blockwise_sum(
            problem.function, ROWS, problem.inputs, problem.parameters, block_size
        )
    assert not actual.requires_grad
    torch.testing.assert_close(actual, expected)


def test_nothing_needs_a_gradient(problem):
    expected = problem.function(slice(0, ROWS), *problem.inputs).detach()
    for tensor in problem.wanted:
        tensor.requires_grad_(False)
    actual = blockwise_sum(problem.function, ROWS, problem.inputs, problem.parameters, 3)
    assert not actual.requires_grad
    torch.testing.assert_close(actual, expected)


def test_function_of_no_tensor_that_needs_a_gradient(problem):
    out = blockwise_sum(
        lambda rows, x, y: y[rows].sum(),
        ROWS,
        [problem.x, problem.constant],
        [problem.w],
        2,
    )
    torch.testing.assert_close(out, problem.constant.sum(), check_stride=False)
    (out + 0 * problem.x.sum()).backward()
    assert (problem.x.grad == 0).all()
    assert problem.w.grad is None


@pytest.mark.parametrize('block_size', [1, 2])
def test_parameters_that_share_a_gradient(block_size):
    # Autograd hands the gradient of p + q to both as one tensor, that of a sum as one
    # number seen many times: neither can be added to in place.
    p, q, r = (torch.ones(3, requires_grad=True) for _ in range(3))
    out = blockwise_sum(
        lambda rows, x: (x[rows] * (p + q)).sum() + r.sum(),
        4,
        [torch.ones(4, 3)],
        [p, q, r],
        block_size,
    )
    out.backward()
    assert p.grad.tolist() == q.grad.tolist() == [4.0, 4.0, 4.0]
    assert r.grad.tolist() == [4.0 / block_size] * 3


def test_holds_one_block_at_a_time():
    x = torch.randn(6, 3, requires_grad=True)
    held: list[weakref.ref[Tensor]] = []

    def function(rows: slice, x: Tensor) -> Tensor:
        assert not [ref for ref in held if ref() is not None]
        hidden = x[rows].exp()  # Saved for its own gradient.
        held.append(weakref.ref(hidden))
        return hidden.square().sum()

    out = blockwise_sum(function, 6, [x], [], 2)
    assert len(held) == 3
    assert not [ref for ref in held if ref() is not None]
    out.backward()
    torch.testing.assert_close(x.grad, 2 * (2 * x.detach()).exp())


def test_second_derivatives_are_refused():
    x = torch.randn(4, requires_grad=True)
    out = blockwise_sum(lambda rows, x: x[rows].pow(3).sum(), 4, [x], [], 2)
    [grad] = torch.autograd.grad(out * x.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


def test_mixed_precision(device):
    x = torch.randn(8, 16, device=device, requires_grad=True)
    layer = torch.nn.Linear(16, 4).to(device)

    def function(rows: slice, x: Tensor) -> Tensor:
        out: Any = layer(x[rows]).float().square().sum()
        return out

    tensors = [x, *layer.parameters()]
    exact = function(slice(0, 8), x)
    wanted = torch.autograd.grad(exact, tensors)
    with torch.autocast(device.type, torch.bfloat16):
        layer(x).sum()  # Leaves a cast of the weights in autocast's cache.
        out = blockwise_sum(function, 8, [x], list(layer.parameters()), 3)
        grads = torch.autograd.grad(out, tensors)
    for actual, expected in [(out, exact), *zip(grads, wanted, strict=True)]:
        assert actual.dtype == torch.float32
        scale = expected.abs().max().item()
        assert (actual - expected).abs().max() < 0.05 * scale
