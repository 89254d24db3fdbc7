"""Sparse products against dense ones; sums of layers are tested with LightGCN."""

import pytest
import torch
from torch import Tensor

from iedr_geo.nn.sparse import Compressed, layer_sum, sparse_product


def compress(
    row: Tensor, column: Tensor, value: Tensor, num_rows: int, device='cpu'
) -> Compressed:
    order = row.argsort(stable=True)
    ptr = torch.tensor([int((row < i).sum()) for i in range(num_rows + 1)])
    return Compressed(*(t.to(device) for t in (ptr, column[order], value[order])))


def make(rows: int, columns: int, entries: int, device='cpu', symmetric=False):
    """A matrix in compressed rows, its transpose, and the matrix written out.

    Columns recur in a row where there are more entries than places.
    """
    row, column = torch.randint(rows, (entries,)), torch.randint(columns, (entries,))
    value = torch.randn(entries, dtype=torch.double)
    if symmetric:
        row, column = torch.cat([row, column]), torch.cat([column, row])
        value = value.repeat(2)
    dense = torch.zeros(rows, columns, dtype=torch.double)
    dense.index_put_((row, column), value, accumulate=True)
    matrix = compress(row, column, value, rows, device)
    return matrix, compress(column, row, value, columns, device), dense.to(device)


def draw(*shape: int, device='cpu', dtype=torch.double) -> Tensor:
    return torch.randn(shape, dtype=torch.double).to(device, dtype).requires_grad_()


@pytest.mark.parametrize(
    ('rows', 'columns', 'entries'),
    [(5, 4, 8), (3, 2, 40), (30, 20, 25), (1, 1, 1), (4, 6, 0)],
    ids=['some', 'columns recur', 'empty rows', 'one entry', 'no entry'],
)
@pytest.mark.parametrize(
    ('dtype', 'index', 'tol'),
    [(torch.float64, torch.int64, 1e-12), (torch.float32, torch.int32, 1e-5)],
)
@pytest.mark.parametrize('given_transpose', [False, True])
def test_product_equals_dense(
    rows, columns, entries, dtype, index, tol, given_transpose, device
):
    matrix, transposed, dense = make(rows, columns, entries, device)
    matrix = Compressed(matrix.ptr, matrix.column.to(index), matrix.value.to(dtype))
    transposed = transposed if given_transpose else None
    x = draw(columns, 3, device=device, dtype=dtype)
    upstream = torch.randn(rows, 3, dtype=torch.double).to(device, dtype)
    out = sparse_product(x, matrix, transposed)
    [grad] = torch.autograd.grad(out, x, upstream)
    assert out.dtype == grad.dtype == dtype
    expected = dense @ x.detach().double(), dense.t() @ upstream.double()
    for actual, wanted in zip((out.detach(), grad), expected, strict=True):
        torch.testing.assert_close(actual.double(), wanted, rtol=tol, atol=tol)


def test_strides_do_not_matter(device, assert_same):
    matrix, _, dense = make(5, 5, 7, device, symmetric=True)
    base = draw(3, 5, device=device)
    # Both the table and what comes back are transposed views.
    for out, expected in (
        (sparse_product(base.t(), matrix), dense @ base.t()),
        (layer_sum(base.t(), matrix, 1), base.t() + dense @ base.t()),
    ):
        assert_same(out.t(), expected.t(), [base], tol=1e-12)
    assert layer_sum(base, matrix, 0).data_ptr() != base.data_ptr()


@pytest.mark.parametrize(
    ('dtype', 'autocast'),
    [(torch.bfloat16, False), (torch.half, False), (torch.float32, True)],
)
def test_sums_are_in_single_precision(dtype, autocast, device):
    matrix, _, dense = make(6, 6, 15, device, symmetric=True)
    x = draw(6, 4, device=device, dtype=dtype)
    exact = x.detach().double().requires_grad_()
    expected = dense @ exact, exact + dense @ (exact + dense @ exact)
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        actual = sparse_product(x, matrix, matrix), layer_sum(x, matrix, 2)
        grads = [torch.autograd.grad(out.sum(), x)[0] for out in actual]
    for out, grad, wanted in zip(actual, grads, expected, strict=True):
        assert out.dtype == torch.float32 and grad.dtype == dtype
        torch.testing.assert_close(out.double(), wanted, rtol=1e-5, atol=1e-5)
        [exact_grad] = torch.autograd.grad(wanted.sum(), exact)
        torch.testing.assert_close(grad, exact_grad.to(dtype))


def test_second_derivatives_are_refused():
    matrix, _, _ = make(5, 5, 6, symmetric=True)
    x = draw(5, 2)
    for out in (layer_sum(x, matrix, 2), sparse_product(x, matrix, matrix)):
        [grad] = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match='once_differentiable'):
            grad.sum().backward()
