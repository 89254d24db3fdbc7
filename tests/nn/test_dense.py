"""Networks of two layers against their formula, whatever multiplies the matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn import MLP

from iedr_geo.nn import dense

IN, HIDDEN, OUT = 32, 21, 5
NAMES = ['x', 'w1', 'b1', 'w2', 'b2']
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


# Makers of tensors, of which those of two dimensions, or all, are not contiguous.


def transposed(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape[::-1], dtype=dtype).movedim(0, -1)


def sliced(*shape: int, dtype: torch.dtype) -> Tensor:
    more = torch.randn([size + 3 for size in shape], dtype=dtype)
    return more[(slice(1, -2),) * len(shape)]


def repeated(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape[-1], dtype=dtype).expand(shape)


def constant(*shape: int, dtype: torch.dtype) -> Tensor:
    if len(shape) == 1:
        return torch.randn(shape, dtype=dtype)
    return torch.rand((), dtype=dtype).expand(shape)


any_layout = pytest.mark.parametrize(
    'layout', [torch.randn, transposed, sliced, repeated, constant]
)
any_dtype = pytest.mark.parametrize('dtype', TOL, ids=str)


def network(
    rows: int,
    dtype: torch.dtype,
    device: torch.device | None = None,
    layout: Callable[..., Tensor] = torch.randn,
) -> list[Tensor]:
    """Returns x, w1, b1, w2 and b2."""
    shapes = [(rows, IN), (HIDDEN, IN), (HIDDEN,), (OUT, HIDDEN), (OUT,)]
    tensors = [layout(*shape, dtype=dtype).to(device) for shape in shapes]
    return [tensor.requires_grad_() for tensor in tensors]


def formula(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    return (x @ w1.t() + b1).clamp(min=0) @ w2.t() + b2


def exactly(tensors: list[Tensor]) -> list[Tensor]:
    return [t.detach().cpu().double().requires_grad_(t.requires_grad) for t in tensors]


def assert_near(actual: Tensor, exact: Tensor, tol: float) -> None:
    assert actual.shape == exact.shape
    # Terms cancel in small entries, whose error is that of the terms.
    scale = exact.abs().max().item() if exact.numel() else 0.0
    torch.testing.assert_close(actual.cpu().double(), exact, rtol=0, atol=tol * scale)


def assert_equals_formula(
    out: Tensor, tensors: list[Tensor], tol: float, upstream: Tensor | None = None
) -> None:
    """Compares values and gradients with those of the formula in double precision."""
    exact = exactly(tensors)
    expected = formula(*exact)
    assert_near(out.detach(), expected.detach(), tol)
    wanted = [n for n, tensor in enumerate(tensors) if tensor.requires_grad]
    assert out.requires_grad == bool(wanted)
    if not wanted:
        return
    if upstream is None:
        upstream = torch.randn(out.shape)
    upstream = upstream.to(out)
    grads = torch.autograd.grad(out, [tensors[n] for n in wanted], upstream)
    exact_grads = torch.autograd.grad(
        expected, [exact[n] for n in wanted], upstream.cpu().double()
    )
    for n, grad, exact_grad in zip(wanted, grads, exact_grads, strict=True):
        assert grad.dtype == tensors[n].dtype
        assert_near(grad, exact_grad, tol)


@pytest.mark.parametrize('rows', [0, 1, 255, 256, 257, 1000, 5000])
@any_dtype
def test_two_layers_equal_formula(dtype, rows, device, products):
    tensors = network(rows, dtype, device)
    out = dense.two_layers(*tensors)
    assert out.dtype == dtype
    assert_equals_formula(out, tensors, TOL[dtype])


@any_layout
@pytest.mark.parametrize('rows', [256, 300])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_any_memory_layout(dtype, rows, layout, products):
    tensors = network(rows, dtype, layout=layout)
    upstream = layout(rows, OUT, dtype=dtype)
    assert upstream.is_contiguous() == (layout is torch.randn)
    assert_equals_formula(dense.two_layers(*tensors), tensors, TOL[dtype], upstream)


@pytest.mark.parametrize('shape', [(IN,), (2, 3, IN)], ids=str)
@any_dtype
def test_other_dimensions(dtype, shape, device, products):
    _, *parameters = network(1, dtype, device)
    x = torch.randn(shape).to(dtype).to(device).requires_grad_()
    tensors = [x, *parameters]
    out = dense.two_layers(*tensors)
    assert out.dtype == dtype
    assert_equals_formula(out, tensors, TOL[dtype])


@pytest.mark.parametrize(
    ('dtypes', 'wanted'),
    [
        ((torch.float32, torch.float32), torch.bfloat16),
        ((torch.bfloat16, torch.float32), torch.bfloat16),
        ((torch.float64, torch.float64), torch.float64),
    ],
    ids=str,
)
def test_mixed_precision(dtypes, wanted, device, products):
    dtype_of_x, dtype = dtypes
    # Rounded already, or a hidden number could be positive in one precision alone.
    x, *parameters = (t.detach().bfloat16() for t in network(300, dtype, device))
    tensors = [x.to(dtype_of_x), *(parameter.to(dtype) for parameter in parameters)]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    with torch.autocast(device.type, torch.bfloat16):
        out = dense.two_layers(*tensors)
        with torch.autocast(device.type, enabled=False):
            if dtype_of_x == dtype:
                assert dense.two_layers(*tensors).dtype == dtype
    assert out.dtype == wanted
    assert_equals_formula(out, tensors, TOL[wanted])


class Recorder(TorchDispatchMode):
    """Writes down the shapes of the products that oneDNN is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[torch.Size, torch.Size]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is torch.ops.mkldnn._linear_pointwise.default:
            self.seen.append((args[0].shape, args[1].shape))
        return func(*args, **(kwargs or {}))


def recorded(tensors: list[Tensor]) -> list[tuple[torch.Size, torch.Size]]:
    with Recorder() as recorder:
        out = dense.two_layers(*tensors)
        if out.requires_grad:
            out.sum().backward()
    return recorder.seen


needs_onednn = pytest.mark.parametrize('products', ['oneDNN'], indirect=True)


# What has a gradient, and how many products that saves.
@pytest.mark.parametrize(
    ('wanted', 'saved'),
    [('x', 2), ('w1 b1 w2 b2', 1), ('w1', 1), ('b1', 1), ('w2', 1), ('x b2', 0)],
)
@needs_onednn
def test_what_needs_no_gradient(wanted, saved, products):
    everything = len(recorded(network(300, torch.float32)))
    tensors = network(300, torch.float32)
    for name, tensor in zip(NAMES, tensors, strict=True):
        tensor.requires_grad_(name in wanted.split())
    assert_equals_formula(dense.two_layers(*tensors), tensors, TOL[torch.float32])
    assert len(recorded(tensors)) == everything - saved
    constants = [tensor.detach() for tensor in tensors]
    assert_equals_formula(dense.two_layers(*constants), constants, TOL[torch.float32])
    assert len(recorded(constants)) == 2


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@needs_onednn
def test_few_shapes_for_many_sizes(dtype, products):
    # A kernel is compiled for each shape.
    if not dense._ONEDNN[dtype]:
        pytest.skip('this CPU has no bfloat16')
    shapes = {rows: recorded(network(rows, dtype)) for rows in (1, 255, 256, 257, 512)}
    assert shapes[1] == shapes[255] == shapes[256] != shapes[257] == shapes[512]
    assert len(shapes[1]) >= 4


@any_dtype
def test_who_multiplies(dtype, monkeypatch):
    assert bool(recorded(network(3, dtype))) == dense._ONEDNN.get(dtype, False)
    monkeypatch.setattr(dense, '_ONEDNN', {})
    assert recorded(network(3, dtype)) == []


@needs_onednn
def test_has_no_second_derivative(products):
    # It would be wrong without a word.
    x, *parameters = network(3, torch.float32)
    out = dense.two_layers(x, *parameters).square().sum()
    (grad,) = torch.autograd.grad(out, x, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


@pytest.mark.parametrize('relu', [False, True])
@pytest.mark.parametrize('with_bias', [False, True])
@any_layout
@any_dtype
def test_linear(dtype, layout, with_bias, relu, products):
    for rows, channels in [(0, 4), (3, 0), (1, 4), (100, 32)]:
        x = layout(rows, channels, dtype=dtype)
        weight = layout(7, channels, dtype=dtype)
        bias = layout(7, dtype=dtype) if with_bias else None
        expected = x.double() @ weight.double().t()
        expected = expected if bias is None else expected + bias
        expected = expected.clamp(min=0) if relu else expected
        out = dense.linear(x, weight, bias, relu)
        assert out.dtype == dtype
        assert_near(out, expected, TOL[dtype])


@any_layout
@any_dtype
def test_transposed_product(dtype, layout, products):
    for rows in (0, 1, 100):
        narrow, wide = (layout(rows, size, dtype=dtype) for size in (4, 32))
        out = dense.transposed_product(narrow, wide)
        assert out.dtype == dtype
        assert_near(out, narrow.double().t() @ wide.double(), TOL[dtype])


def test_parameters_of(assert_same, products):
    mlp = MLP([IN, HIDDEN, OUT], norm=None).double()
    x = torch.randn(9, IN, dtype=torch.double, requires_grad=True)
    out = dense.two_layers(x, *dense.parameters_of(mlp))
    assert_same(out, mlp(x), [x, *mlp.parameters()])


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('where', [0, 1])
def test_nan_stays(dtype, where):
    shapes = [(3, 5), (7, 5), (7,), (4, 7), (4,)]
    tensors = [torch.randn(shape).to(dtype) for shape in shapes]
    tensors[where].fill_(torch.nan)
    assert dense.two_layers(*tensors).isnan().all()


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize('expanded', [False, True])
def test_bias_need_not_be_contiguous(expanded, dtype):
    x, weight = torch.randn(3, 4).to(dtype), torch.randn(7, 4).to(dtype)
    bias = torch.randn(14).to(dtype)
    bias = bias[:1].expand(7) if expanded else bias[::2]
    expected = x.double() @ weight.double().t() + bias.double()
    actual = dense.linear(x, weight, bias).double()
    torch.testing.assert_close(actual, expected, rtol=0.02, atol=0.02)


def test_types_must_agree():
    shapes = [(3, 5), (7, 5), (7,), (4, 7), (4,)]
    tensors = [torch.randn(shape) for shape in shapes]
    tensors[1] = tensors[1].double()
    with pytest.raises(RuntimeError, match='dtype'):
        dense.two_layers(*tensors)
