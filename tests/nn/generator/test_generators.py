"""The factor generators against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from iedr_geo.nn import (
    FactorGenerator,
    LinearGenerator,
    MLPGenerator,
    ResidualGenerator,
    SplitGenerator,
)
from iedr_geo.nn.generator import GENERATORS

CHANNELS, HIDDEN = 3, 6
MAKE: dict[str, Callable[[], FactorGenerator]] = {
    'mlp': lambda: MLPGenerator(CHANNELS, HIDDEN),
    'mlp of sums': lambda: MLPGenerator(CHANNELS, HIDDEN, 'sum'),
    'linear': lambda: LinearGenerator(CHANNELS),
    'nonlinear': lambda: LinearGenerator(CHANNELS, relu=True),
    'split': lambda: SplitGenerator(CHANNELS, HIDDEN),
    'split of sums': lambda: SplitGenerator(CHANNELS, HIDDEN, 'sum'),
    'residual': lambda: ResidualGenerator(CHANNELS, HIDDEN),
}

every_generator = pytest.mark.parametrize('name', MAKE)


def make(name: str, device: torch.device) -> tuple[FactorGenerator, int]:
    """Returns a generator and how wide its inputs are."""
    generator = MAKE[name]().double().to(device)
    return generator, CHANNELS * (1 + generator.second_embeddings)


def draw(*shape: int, device: torch.device) -> Tensor:
    return torch.randn(shape, dtype=torch.double).to(device).requires_grad_()


@pytest.fixture
def formula(perceptron):
    """The factors of one row (Table 10)."""

    def formula(generator: FactorGenerator, u: Tensor, c: Tensor) -> list[Tensor]:
        if isinstance(generator, ResidualGenerator):
            (u, own), (c, of_context) = u.chunk(2), c.chunk(2)
            out = perceptron(generator.mlp, torch.cat([u * c, own, of_context]))
            return [own + out[:CHANNELS], of_context + out[CHANNELS:]]
        if isinstance(generator, LinearGenerator):
            linear = generator.linear
            out = linear.weight @ torch.cat([u, c]) + linear.bias
            if generator.relu:
                out = torch.where(out > 0, out, torch.zeros_like(out))
            return [out[:CHANNELS], out[CHANNELS:]]
        combined = u * c if generator.combine == 'product' else u + c
        if isinstance(generator, SplitGenerator):
            return [
                perceptron(generator.intrinsic_mlp, u),
                perceptron(generator.extrinsic_mlp, combined),
            ]
        out = perceptron(generator.mlp, combined)
        return [out[:CHANNELS], out[CHANNELS:]]

    return formula


@every_generator
@pytest.mark.parametrize(
    'shapes', [((5,), (5,)), ((5, 4), (5, 1)), ((5, 1), (5, 4)), ((4,), (5, 4)), ((), ())]
)
def test_equals_formula(name, shapes, device, formula, assert_same):
    """Readouts and contexts broadcast; of a single row, there is no dimension of rows."""
    generator, width = make(name, device)
    u, c = (draw(*shape, width, device=device) for shape in shapes)
    shape = torch.broadcast_shapes(*shapes)
    each = (t.expand(*shape, width).reshape(-1, width) for t in (u, c))
    rows = [formula(generator, *row) for row in zip(*each, strict=True)]
    expected = [torch.stack(f).view(*shape, CHANNELS) for f in zip(*rows, strict=True)]
    tensors = [u, c, *generator.parameters()]
    actual = generator(u, c)
    assert_same(actual.intrinsic, expected[0], tensors)
    assert_same(actual.extrinsic, expected[1], tensors)
    assert_same(generator.intrinsic(u, c), expected[0], tensors)


@every_generator
def test_folded_layers_give_products_with_both_factors(name, device, assert_same):
    generator, width = make(name, device)
    vector, context = draw(5, CHANNELS, device=device), draw(5, width, device=device)
    readout = draw(7, width, device=device)
    weight, bias = generator.hidden(context)
    folded = generator.fold(vector, context)
    scores = []
    for n in range(5):
        hidden = (readout @ weight[n].t() + bias[n]).relu()
        score = hidden @ folded.weight[n] + folded.constant[n]
        if folded.direct is not None:
            score = score + readout @ folded.direct[n]
        scores.append(score)
    factors = generator(readout, context.unsqueeze(1))
    expected = (vector.unsqueeze(1) * (factors.intrinsic + factors.extrinsic)).sum(-1)
    tensors = [vector, context, readout, *generator.parameters()]
    assert_same(torch.stack(scores), expected, tensors)


def test_split_keeps_the_context_from_the_intrinsic_factor():
    generator = SplitGenerator(CHANNELS)
    u, c, other = torch.randn(3, 5, CHANNELS)
    one, two = generator(u, c), generator(u, other)
    assert torch.equal(one.intrinsic, two.intrinsic)
    assert not torch.equal(one.extrinsic, two.extrinsic)


def test_names_and_defaults():
    made = {name: str(make(32, 128, 'sum')) for name, make in GENERATORS.items()}
    assert made == {
        'mlp': "MLPGenerator(32, combine='sum')",
        'linear': 'LinearGenerator(32, relu=False)',
        'nonlinear': 'LinearGenerator(32, relu=True)',
        'split': "SplitGenerator(32, combine='sum')",
        'residual': 'ResidualGenerator(32)',
    }
    shapes = [tuple(p.shape) for p in MLPGenerator(32).parameters()]
    assert shapes == [(128, 32), (128,), (64, 128), (64,)]


@every_generator
def test_reset_parameters(name):
    generator = MAKE[name]()
    before = [p.clone() for p in generator.parameters()]
    generator.reset_parameters()
    after = generator.parameters()
    assert all((p != q).any() for p, q in zip(after, before, strict=True))


@pytest.mark.parametrize('cls', [MLPGenerator, SplitGenerator])
def test_bad_arguments(cls):
    with pytest.raises(ValueError, match=r"'product' or 'sum'.*'max'"):
        cls(CHANNELS, combine='max')
