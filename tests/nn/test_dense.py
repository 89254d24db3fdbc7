"""Products against their formula, whatever multiplies the matrices."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from iedr_geo.nn import dense

TOL = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.02}


@pytest.fixture(params=['oneDNN', 'torch'])
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Who multiplies: oneDNN wherever it can, be it faster or not, or torch alone."""
    usable = {}
    if request.param == 'oneDNN':
        if not torch.backends.mkldnn.is_available():
            pytest.skip('this torch has no oneDNN')
        bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        usable = {torch.float32: True, torch.bfloat16: bf16}
    monkeypatch.setattr(dense, '_ONEDNN', usable)
    return request.param


# Makers of tensors, of which matrices, or all, are not contiguous.


def transposed(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape[::-1], dtype=dtype).movedim(0, -1)


def sliced(*shape: int, dtype: torch.dtype) -> Tensor:
    more = torch.randn([2 * size + 2 for size in shape], dtype=dtype)
    return more[(slice(1, -1, 2),) * len(shape)]


def repeated(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape[-1], dtype=dtype).expand(shape)


def constant(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.rand((), dtype=dtype).expand(shape)


any_layout = pytest.mark.parametrize(
    'layout', [torch.randn, transposed, sliced, repeated, constant]
)
any_dtype = pytest.mark.parametrize('dtype', TOL, ids=str)


def assert_near(actual: Tensor, exact: Tensor, tol: float) -> None:
    assert actual.shape == exact.shape
    # Terms cancel in small entries, whose error is that of the terms.
    scale = exact.abs().max().item() if exact.numel() else 0.0
    torch.testing.assert_close(actual.cpu().double(), exact, rtol=0, atol=tol * scale)


class Recorder(TorchDispatchMode):
    """Counts the products that oneDNN is asked for."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += func is torch.ops.mkldnn._linear_pointwise.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize('with_bias', [False, True])
@any_layout
@any_dtype
def test_linear(dtype, layout, with_bias, relu, products):
    for rows, channels in [(0, 4), (3, 0), (1, 4), (100, 32)]:
        x = layout(rows, channels, dtype=dtype)
        weight = layout(7, channels, dtype=dtype)
        bias = sliced(7, dtype=dtype) if with_bias else None  # Is not contiguous.
        expected = x.double() @ weight.double().t()
        expected = expected if bias is None else expected + bias
        expected = expected.clamp(min=0) if relu else expected
        with Recorder() as recorder:
            out = dense.linear(x, weight, bias, relu)
        assert recorder.count == (x.numel() > 0 and dense._ONEDNN.get(dtype, False))
        assert out.dtype == dtype
        assert_near(out, expected, TOL[dtype])


@pytest.mark.parametrize('finite', [False, True])
def test_nan_stays_unless_there_is_none(finite, products):
    x, weight = torch.randn(3, 5), torch.randn(7, 5)
    x = x if finite else x.fill_(torch.nan)
    out = dense.linear(x, weight, relu=True, finite=finite)
    torch.testing.assert_close(out, (x @ weight.t()).relu(), equal_nan=True)


@any_layout
@any_dtype
def test_transposed_product(dtype, layout, products):
    for rows in (0, 1, 100):
        narrow, wide = (layout(rows, size, dtype=dtype) for size in (4, 32))
        out = dense.transposed_product(narrow, wide)
        assert out.dtype == dtype
        assert_near(out, narrow.double().t() @ wide.double(), TOL[dtype])
