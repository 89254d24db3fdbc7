"""Sparse products against dense ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from iedr_geo.nn.sparse import Compressed, layer_sum, sparse_product

low_precision = pytest.mark.parametrize('dtype', [torch.bfloat16, torch.half])


def compress(
    row: Tensor, column: Tensor, value: Tensor, num_rows: int, device='cpu'
) -> Compressed:
    order = row.argsort(stable=True)
    ptr = torch.tensor([int((row < i).sum()) for i in range(num_rows + 1)])
    return Compressed(*(t.to(device) for t in (ptr, column[order], value[order])))


def make(rows: int, columns: int, entries: int, device='cpu'):
    """A matrix in compressed rows, its transpose, and the matrix written out.

    Columns recur in a row where there are more entries than places.
    """
    row = torch.randint(rows, (entries,))
    column = torch.randint(max(1, columns), (entries,))
    value = torch.randn(entries, dtype=torch.double)
    dense = torch.zeros(rows, columns, dtype=torch.double)
    for i, j, v in zip(row.tolist(), column.tolist(), value, strict=True):
        dense[i, j] += v
    matrix = compress(row, column, value, rows, device)
    return matrix, compress(column, row, value, columns, device), dense.to(device)


def make_symmetric(size: int, entries: int, device='cpu'):
    row, column = torch.randint(size, (2, entries))
    value = torch.randn(entries, dtype=torch.double)
    both = torch.cat([row, column]), torch.cat([column, row])
    dense = torch.zeros(size, size, dtype=torch.double)
    for i, j, v in zip(row.tolist(), column.tolist(), value, strict=True):
        dense[i, j] += v
        dense[j, i] += v
    return compress(*both, value.repeat(2), size, device), dense.to(device)


def draw(*shape: int, device='cpu', dtype=torch.double) -> Tensor:
    return torch.randn(shape, dtype=torch.double).to(device, dtype).requires_grad_()


@pytest.mark.parametrize(
    ('rows', 'columns', 'entries'),
    [(5, 4, 8), (3, 2, 40), (30, 20, 25), (1, 1, 1), (4, 6, 0)],
    ids=['some', 'columns recur', 'empty rows', 'one entry', 'no entry'],
)
@pytest.mark.parametrize(
    ('dtype', 'tol'), [(torch.float64, 1e-12), (torch.float32, 1e-5)]
)
@pytest.mark.parametrize('given_transpose', [False, True])
def test_product_equals_dense(
    rows, columns, entries, dtype, tol, given_transpose, device
):
    matrix, transposed, dense = make(rows, columns, entries, device)
    transposed = transposed if given_transpose else None
    x = draw(columns, 3, device=device, dtype=dtype)
    upstream = torch.randn(rows, 3, dtype=torch.double).to(device, dtype)
    out = sparse_product(x, matrix, transposed)
    [grad] = torch.autograd.grad(out, x, upstream)
    assert out.dtype == grad.dtype == dtype
    expected = dense @ x.detach().double(), dense.t() @ upstream.double()
    for actual, wanted in zip((out.detach(), grad), expected, strict=True):
        torch.testing.assert_close(actual.double(), wanted, rtol=tol, atol=tol)


@pytest.mark.parametrize(
    ('dtype', 'index'), [(torch.float64, torch.int64), (torch.float32, torch.int32)]
)
@pytest.mark.parametrize(
    ('rows', 'columns', 'entries'), [(5, 4, 8), (3, 2, 40), (30, 20, 25), (3, 0, 0)]
)
def test_transpose(rows, columns, entries, dtype, index, device):
    matrix, transposed, dense = make(rows, columns, entries, device)
    matrix = Compressed(matrix.ptr, matrix.column.to(index), matrix.value.to(dtype))
    actual = matrix.transposed(columns)
    assert actual.value.dtype == dtype
    assert actual.ptr.tolist() == transposed.ptr.tolist()
    for row in range(columns):  # In the order of the rows that they come from.
        start, end = transposed.ptr[row : row + 2].tolist()
        wanted = sorted(transposed.column[start:end].tolist())
        assert actual.column[start:end].tolist() == wanted
    x = torch.randn(rows, 3, dtype=dtype).to(device)
    torch.testing.assert_close(actual.matmul(x), dense.to(dtype).t() @ x)


@settings(max_examples=50)
@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(0, 20), st.integers(0, 3), st.data()
)
def test_any_small_matrix(rows, columns, entries, channels, data):
    """Integers, so that no sum is rounded."""
    places = st.tuples(
        st.integers(0, rows - 1), st.integers(0, columns - 1), st.integers(-3, 3)
    )
    drawn = data.draw(st.lists(places, min_size=entries, max_size=entries))
    row, column, value = torch.tensor(drawn).view(-1, 3).unbind(1)
    dense = torch.zeros(rows, columns)
    for i, j, v in drawn:
        dense[i, j] += v
    matrix = compress(row.long(), column.long(), value.float(), rows)
    x = torch.randint(-3, 4, (columns, channels)).float()
    assert torch.equal(matrix.matmul(x), dense @ x)


def test_gradients_of_both(device):
    matrix, transposed, _ = make(4, 3, 9, device)
    assert gradcheck(
        lambda x: sparse_product(x, matrix, transposed), draw(3, 2, device=device)
    )
    symmetric, _ = make_symmetric(5, 6, device)
    x = draw(5, 2, device=device)
    assert gradcheck(lambda x: layer_sum(x, symmetric, 3), x)


@pytest.mark.parametrize('num_layers', range(5))
@pytest.mark.parametrize(('size', 'entries'), [(7, 9), (3, 20), (4, 0)])
def test_layer_sum_equals_powers(num_layers, size, entries, device, assert_same):
    matrix, dense = make_symmetric(size, entries, device)
    x = draw(size, 3, device=device)
    expected = sum(torch.linalg.matrix_power(dense, n) @ x for n in range(num_layers + 1))
    assert_same(layer_sum(x, matrix, num_layers), expected, [x], tol=1e-10)


@pytest.mark.parametrize('num_layers', [0, 1, 2])
def test_input_is_neither_changed_nor_returned(num_layers, device):
    matrix, _ = make_symmetric(5, 6, device)
    x = draw(5, 2, device=device).detach()
    before = x.clone()
    layer_sum(x, matrix, num_layers).fill_(9)
    sparse_product(x, matrix, matrix).fill_(9)
    assert torch.equal(x, before)


def test_strides_do_not_matter(device, assert_same):
    matrix, dense = make_symmetric(5, 7, device)
    base = draw(3, 5, device=device)
    # Both the table and what comes back are transposed views.
    for out, expected in (
        (sparse_product(base.t(), matrix), dense @ base.t()),
        (layer_sum(base.t(), matrix, 1), base.t() + dense @ base.t()),
    ):
        assert_same(out.t(), expected.t(), [base], tol=1e-12)


@low_precision
def test_low_precision_is_summed_in_single(dtype, device):
    matrix, dense = make_symmetric(6, 15, device)
    x = draw(6, 4, device=device, dtype=dtype)
    exact = x.detach().double().requires_grad_()
    for out, wanted in (
        (sparse_product(x, matrix, matrix), dense @ exact),
        (layer_sum(x, matrix, 2), exact + dense @ (exact + dense @ exact)),
    ):
        assert out.dtype == torch.float32
        torch.testing.assert_close(out.double(), wanted, rtol=1e-5, atol=1e-5)
        [grad], [exact_grad] = (
            torch.autograd.grad(o.sum(), t) for o, t in ((out, x), (wanted, exact))
        )
        assert grad.dtype == dtype
        torch.testing.assert_close(grad, exact_grad.to(dtype))


@low_precision
def test_autocast_changes_nothing(dtype, device):
    matrix, _ = make_symmetric(6, 15, device)
    x = draw(6, 4, device=device, dtype=torch.float32)
    results = []
    for enabled in (False, True):
        with torch.autocast(device.type, dtype, enabled=enabled):
            out = layer_sum(x, matrix, 2) + sparse_product(x, matrix, matrix)
            results.append((out, *torch.autograd.grad(out.square().sum(), x)))
    for plain, cast in zip(*results, strict=True):
        assert plain.dtype == cast.dtype == torch.float32
        torch.testing.assert_close(plain, cast)


def test_second_derivatives_are_refused():
    matrix, _ = make_symmetric(5, 6)
    x = draw(5, 2)
    for out in (layer_sum(x, matrix, 2), sparse_product(x, matrix, matrix)):
        [grad] = torch.autograd.grad(out.square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match='once_differentiable'):
            grad.sum().backward()
