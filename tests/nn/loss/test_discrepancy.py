"""The discrepancy losses against their definitions, and what has no correlation."""

import pytest
import torch
from torch import Tensor

from iedr_geo.nn import DistanceCorrelation, InverseL1, InverseL2

both_dtypes = pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
every_loss = pytest.mark.parametrize(
    'loss', [DistanceCorrelation(), InverseL1(), InverseL2()]
)


def textbook(x: Tensor, y: Tensor) -> Tensor:
    """The definition of Székely et al. (2007), in float64."""

    def centred(table: Tensor) -> Tensor:
        differences = table.double().unsqueeze(1) - table.double().unsqueeze(0)
        a = torch.linalg.vector_norm(differences, dim=-1)  # Its subgradient at 0 is 0.
        return a - a.mean(dim=1, keepdim=True) - a.mean(dim=0, keepdim=True) + a.mean()

    a, b = centred(x), centred(y)
    variances = (a * a).mean() * (b * b).mean()
    return ((a * b).mean() / variances.sqrt()).sqrt()


def make(rows: int, *sizes: int, dtype: torch.dtype = torch.double) -> list[Tensor]:
    """Tables that depend on each other, of as small entries as embeddings have."""
    common = torch.randn(rows, 1, dtype=torch.double)
    tables = (common + torch.randn(rows, size, dtype=torch.double) for size in sizes)
    return [(0.1 * table).to(dtype).requires_grad_() for table in tables]


def clustered(rows: int, size: int, spread: float) -> Tensor:
    """Embeddings of norms around 0.8 in 20 clusters."""
    centre = torch.randn(20, size)[torch.arange(rows) % 20]
    return 0.1 * (centre + spread * torch.randn(rows, size))


def check_nothing(x: Tensor, y: Tensor) -> None:
    """Checks that value and gradients are zero."""
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    loss = DistanceCorrelation()(x, y)
    assert loss.shape == ()
    assert loss == 0
    loss.backward()
    assert all(torch.equal(t.grad, torch.zeros_like(t)) for t in (x, y))


def near(rows: int) -> list[Tensor]:
    """Rows that differ by as little as double precision has room for."""
    tables, noise = make(rows, 3, 3), 1e-8 * torch.randn(rows, 3, dtype=torch.double)
    pairs = zip(tables, (noise, -2 * noise), strict=True)
    return [torch.cat([t, t + e]).detach().requires_grad_() for t, e in pairs]


def recurring(rows: int) -> list[Tensor]:
    tables = make(rows, 8, 6)
    return [t.detach()[torch.randint(rows, (300,))].requires_grad_() for t in tables]


@pytest.mark.parametrize(
    ('build', 'sizes', 'block', 'tol'),
    [
        *((make, sizes, 128, 1e-11) for sizes in [(3, 1, 1), (128, 3, 5), (129, 2, 2)]),
        *((make, (7, 3, 2), block, 1e-11) for block in (1, 3, 8)),
        *((recurring, (rows,), 128, 1e-11) for rows in (3, 70)),
        (near, (20,), 128, 1e-7),
    ],
)
def test_equals_textbook(build, sizes, block, tol, device, assert_same):
    x, y = tables = build(*sizes)
    actual = DistanceCorrelation(block)(x.to(device), y.to(device))
    assert_same(actual, textbook(x, y), tables, tol=tol)
    # Of one of them alone.
    for table in tables:
        one = [(t if t is table else t.detach()).to(device) for t in tables]
        [grad] = torch.autograd.grad(DistanceCorrelation()(*one), [table])
        [wanted] = torch.autograd.grad(textbook(x, y), [table])
        torch.testing.assert_close(grad, wanted, rtol=tol, atol=tol)


@pytest.mark.parametrize(
    ('spread', 'tol'), [(1, 1e-5), (0.1, 1e-5), (0.01, 1e-5), (1e-4, 1e-3)]
)
def test_accuracy_in_single_precision(spread, tol, device):
    x = clustered(300, 64, spread)
    y = 0.5 * x + clustered(300, 64, spread)
    # Neither where the tables are nor their scale may cost digits.
    x, y = (x + 5).requires_grad_(), (64 * y).requires_grad_()
    expected = textbook(x, y)
    actual = DistanceCorrelation()(x.to(device), y.to(device))
    assert actual.item() == pytest.approx(expected.item(), rel=1e-6)
    wanted = torch.autograd.grad(expected, [x, y])
    for grad, one in zip(torch.autograd.grad(actual, [x, y]), wanted, strict=True):
        assert (grad - one).norm() < tol * one.norm()


@pytest.mark.parametrize('kind', ['equal distances', 'outlier'])
def test_accuracy_where_means_cancel(kind, device):
    # The centred distances are N times smaller in square than the distances.
    x, y = torch.zeros(2, 300, 8)
    x[3], y[5], y[3] = torch.randn(3, 8)
    if kind == 'equal distances':
        x = torch.eye(300)
        y = x + 0.01 * torch.randn(300, 300)
    actual = DistanceCorrelation()(x.to(device), y.to(device))
    assert actual.item() == pytest.approx(textbook(x, y).item(), rel=1e-6)


@pytest.mark.parametrize('rows', [2, 5, 130])
@both_dtypes
def test_of_a_table_and_a_copy(rows, dtype):
    [x] = make(rows, 4, dtype=dtype)
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=dtype)).Q
    for y in (x, 2 * x + 3, -x @ rotation):
        loss = DistanceCorrelation()(x, y)
        assert 1 - 1e-6 < loss.item() <= 1
    for scale in torch.randn(40, dtype=torch.double):  # By rounding, some would be above.
        assert DistanceCorrelation()(x.double(), scale * x.double()) <= 1


@pytest.mark.parametrize('scale', [-3, 1e-25, 1e25])
def test_scale_is_no_matter(scale):
    x, y = make(140, 4, 3, dtype=torch.float32)
    expected = DistanceCorrelation()(x, y)
    scaled = (scale * x).detach().requires_grad_()  # Squares exceed float32.
    actual = DistanceCorrelation()(scaled, y)
    torch.testing.assert_close(actual, expected)
    [grad] = torch.autograd.grad(actual, [scaled])
    [wanted] = torch.autograd.grad(expected, [x])
    torch.testing.assert_close(scale * grad, wanted, rtol=1e-4, atol=1e-8)


def test_first_derivatives_only():
    x, y = make(6, 3, 2)
    loss = DistanceCorrelation()(x, y).square()
    [grad] = torch.autograd.grad(loss, [x], create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


@pytest.mark.parametrize('rows', [0, 1, 2, 130])
@pytest.mark.parametrize(
    'dtype', [torch.half, torch.bfloat16, torch.float32, torch.float64]
)
def test_equal_rows_have_no_correlation(rows, dtype, device):
    equal, others = (torch.randn(n, 5, device=device).to(dtype) for n in (1, rows))
    equal = 0.1 * equal.expand(rows, 5)  # The mean of whose rows may be no row.
    check_nothing(equal, others)
    check_nothing(others, equal)
    check_nothing(equal, equal + 1)
    check_nothing(others[:, :0], others)


@pytest.mark.parametrize('size', [2, 14])
@both_dtypes
def test_independence_has_finite_gradients(size, dtype, device):
    # Each of some values with each of others: exactly independent.
    values = torch.randn(2, size, dtype=dtype, device=device)
    x, y = torch.cartesian_prod(*values).unsqueeze(-1).unbind(1)
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    loss = DistanceCorrelation()(x, y)
    assert 0 <= loss < (1e-6 if dtype == torch.double else 1e-3)
    for grad in torch.autograd.grad(loss, [x, y]):
        assert grad.isfinite().all()


@pytest.mark.parametrize('wrong', [torch.nan, torch.inf])
@both_dtypes
def test_what_is_not_finite_is_not_hidden(wrong, dtype):
    x, y = make(140, 3, 3, dtype=dtype)
    for row in (0, 5, 135):
        broken = x.detach().clone()
        broken[row, 1] = wrong
        broken.requires_grad_()
        loss = DistanceCorrelation()(broken, y)
        assert loss.isnan()
        assert all(g.isnan().any() for g in torch.autograd.grad(loss, [broken, y]))


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16, torch.float])
@every_loss
def test_low_precision(loss, dtype, device):
    """Sums are in single precision, under autocast too."""
    x, y = (t.detach().to(device, dtype).requires_grad_() for t in make(140, 3, 3))
    exact = [t.detach().float().requires_grad_() for t in (x, y)]
    expected = loss(*exact)
    wanted = torch.autograd.grad(expected, exact)
    with torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.float):
        actual = loss(x, y)
        grads = torch.autograd.grad(actual, [x, y])
    assert actual.dtype == torch.float32
    assert actual == expected
    for grad, one in zip(grads, wanted, strict=True):
        assert torch.equal(grad, one.to(dtype))
    x, y = x.detach(), y.detach().double()
    assert torch.equal(loss(x, y), loss(x.double(), y))


@pytest.mark.parametrize(
    ('loss', 'one', 'other', 'wanted'),
    [
        (DistanceCorrelation(), (3, 2), (1, 2), 'of as many rows'),
        (InverseL1(), (3, 2), (4, 2), 'of as many rows'),
        (InverseL2(), (3,), (3,), 'of as many rows'),
        (DistanceCorrelation(), (3, 2), (3,), 'of as many rows'),
        (InverseL1(), (3, 2), (3, 1), 'of the same shape'),
    ],
)
def test_shapes_that_do_not_fit(loss, one, other, wanted):
    with pytest.raises(ValueError, match=wanted) as error:
        loss(torch.randn(one), torch.randn(other))
    assert f'(got shapes {one} and {other})' in str(error.value)


@pytest.mark.parametrize(('loss', 'power'), [(InverseL1(), 1), (InverseL2(), 2)])
def test_inverse_equals_loops(loss, power, device, assert_same):
    x, y = make(5, 3, 3)
    total = 0.0
    for i in range(5):
        for f in range(3):
            total = total - (x[i, f] - y[i, f]).abs() ** power
    assert_same(loss(x.to(device), y.to(device)), total / 15, [x, y], tol=1e-12)


@pytest.mark.parametrize('loss', [InverseL1(), InverseL2()])
@pytest.mark.parametrize('shape', [(0, 3), (4, 0), (4, 3)])
def test_inverse_of_equal_tables(loss, shape):
    x = torch.randn(shape).requires_grad_()
    y = x.detach().clone().requires_grad_()
    out = loss(x, y)
    assert out == 0
    assert not any(grad.any() for grad in torch.autograd.grad(out, [x, y]))
