from collections.abc import Callable, Sequence

import pytest
import torch
import torch_geometric.typing
from torch import Tensor

Compare = Callable[..., None]
Perceptron = Callable[[torch.nn.Module, Tensor], Tensor]


@pytest.fixture
def assert_same() -> Compare:
    """Compares two results, and their gradients with respect to the same tensors."""

    def assert_same(
        actual: Tensor,
        expected: Tensor,
        tensors: Sequence[Tensor] = (),
        tol: float = 1e-9,
    ) -> None:
        expected = expected.to(actual.device)
        torch.testing.assert_close(actual, expected, rtol=tol, atol=tol)
        if not tensors:
            return
        # Other weights for each entry: a plain sum would hide entries that are swapped.
        upstream = torch.linspace(0.5, 1.5, actual.numel(), dtype=actual.dtype)
        upstream = upstream.view_as(actual).to(actual.device)
        kept = {'retain_graph': True, 'materialize_grads': True}
        grads, wanted = (
            torch.autograd.grad(out, tensors, upstream, **kept)
            for out in (actual, expected)
        )
        assert any(grad.abs().max() > 1e-3 for grad in wanted)
        torch.testing.assert_close(grads, wanted, rtol=tol, atol=tol)

    return assert_same


@pytest.fixture
def perceptron() -> Perceptron:
    """An MLP with one hidden layer, written out for a single vector."""

    def perceptron(mlp: torch.nn.Module, x: Tensor) -> Tensor:
        first, last = mlp.lins
        hidden = first.weight @ x + first.bias
        hidden = torch.where(hidden > 0, hidden, torch.zeros_like(hidden))
        return last.weight @ hidden + last.bias

    return perceptron


@pytest.fixture(params=['torch-scatter', 'torch'])
def aggregation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each package that PyG can aggregate with."""
    if request.param == 'torch':
        monkeypatch.setattr(torch_geometric.typing, 'WITH_TORCH_SCATTER', False)
    elif not torch_geometric.typing.WITH_TORCH_SCATTER:
        pytest.skip('torch-scatter is not installed')
    return request.param
