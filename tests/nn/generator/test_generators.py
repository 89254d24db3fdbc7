"""The factor generators against their formulas."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from iedr_geo.nn import FactorGenerator

CHANNELS, HIDDEN = 3, 6
KINDS = ['mlp', 'linear', 'nonlinear', 'split', 'residual']
COMBINE = ['product', 'sum']

every_generator = pytest.mark.parametrize(
    ('kind', 'combine'), list(itertools.product(KINDS, COMBINE))
)


def make(kind: str, combine: str, device: torch.device) -> FactorGenerator:
    generator = FactorGenerator(CHANNELS, HIDDEN, kind, combine)
    return generator.double().to(device)


def width(kind: str) -> int:
    return 2 * CHANNELS if kind == 'residual' else CHANNELS


def draw(*shape: int, device: torch.device) -> Tensor:
    return torch.randn(shape, dtype=torch.double).to(device).requires_grad_()


@pytest.fixture
def formula(perceptron):
    """Table 10, for one row."""

    def formula(generator: FactorGenerator, u: Tensor, c: Tensor) -> list[Tensor]:
        if generator.kind == 'residual':
            (u, own), (c, of_context) = u.chunk(2), c.chunk(2)
            out = perceptron(generator.mlp, torch.cat([u * c, own, of_context]))
            return [own + out[:CHANNELS], of_context + out[CHANNELS:]]
        combined = u * c if generator.combine == 'product' else u + c
        if generator.kind == 'split':
            return [
                perceptron(generator.intrinsic_mlp, u),
                perceptron(generator.extrinsic_mlp, combined),
            ]
        if generator.kind == 'mlp':
            out = perceptron(generator.mlp, combined)
        else:
            linear = generator.linear
            out = linear.weight @ torch.cat([u, c]) + linear.bias
        if generator.kind == 'nonlinear':
            out = torch.where(out > 0, out, torch.zeros_like(out))
        return [out[:CHANNELS], out[CHANNELS:]]

    return formula


@every_generator
def test_equals_formula(kind, combine, device, formula, assert_same):
    generator = make(kind, combine, device)
    u, c = (draw(5, width(kind), device=device) for _ in range(2))
    rows = [formula(generator, *row) for row in zip(u, c, strict=True)]
    expected = [torch.stack(factor) for factor in zip(*rows, strict=True)]
    actual = generator(u, c)
    tensors = [u, c, *generator.parameters()]
    assert_same(actual.intrinsic, expected[0], tensors)
    assert_same(actual.extrinsic, expected[1], tensors)
    assert_same(generator.intrinsic(u, c), expected[0], tensors)


@every_generator
@pytest.mark.parametrize('shapes', [((5, 4), (5, 1)), ((5, 1), (5, 4)), ((4,), (5, 4))])
def test_broadcasts(kind, combine, shapes, device, formula, assert_same):
    generator = make(kind, combine, device)
    u, c = (draw(*shape, width(kind), device=device) for shape in shapes)
    each = zip(*(t.expand(5, 4, width(kind)).flatten(0, 1) for t in (u, c)), strict=True)
    rows = [formula(generator, *row) for row in each]
    expected = [
        torch.stack(factor).view(5, 4, CHANNELS) for factor in zip(*rows, strict=True)
    ]
    tensors = [u, c, *generator.parameters()]
    actual = generator(u, c)
    assert_same(actual.intrinsic, expected[0], tensors)
    assert_same(actual.extrinsic, expected[1], tensors)
    assert_same(generator.intrinsic(u, c), expected[0], tensors)


def test_a_single_row_has_no_dimension_of_rows(device):
    for kind in KINDS:
        generator = make(kind, 'product', device)
        u, c = (draw(2, width(kind), device=device) for _ in range(2))
        single, batch = generator(u[1], c[1]), generator(u, c)
        torch.testing.assert_close(single.intrinsic, batch.intrinsic[1])
        torch.testing.assert_close(single.extrinsic, batch.extrinsic[1])
        torch.testing.assert_close(generator.intrinsic(u[1], c[1]), single.intrinsic)


def test_split_keeps_the_context_from_the_intrinsic_factor():
    generator = FactorGenerator(CHANNELS, kind='split')
    u, c, other = torch.randn(3, 5, CHANNELS)
    one, two = generator(u, c), generator(u, other)
    assert torch.equal(one.intrinsic, two.intrinsic)
    assert not torch.equal(one.extrinsic, two.extrinsic)


def test_defaults_and_str():
    generator = FactorGenerator(32)
    assert [tuple(p.shape) for p in generator.parameters()] == [
        (128, 32),
        (128,),
        (64, 128),
        (64,),
    ]
    assert str(generator) == "FactorGenerator(32, kind='mlp', combine='product')"


@pytest.mark.parametrize('kind', KINDS)
def test_reset_parameters(kind):
    generator = FactorGenerator(CHANNELS, kind=kind)
    before = [p.clone() for p in generator.parameters()]
    generator.reset_parameters()
    after = generator.parameters()
    assert all((p != q).any() for p, q in zip(after, before, strict=True))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'kind': 'cubic'}, "'split' or 'residual'.*'cubic'"),
        ({'combine': 'max'}, "'product' or 'sum'.*'max'"),
        ({'kind': 'linear', 'combine': 'max'}, "'product' or 'sum'.*'max'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FactorGenerator(CHANNELS, **kwargs)
