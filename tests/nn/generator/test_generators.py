"""The factor generators against their formulas."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from iedr_geo import nn
from iedr_geo.nn.contract import stands_for
from iedr_geo.nn.generator import GENERATORS
from iedr_geo.testing import check_generator

CHANNELS, HIDDEN = 3, 6
MAKE: dict[str, Callable[[], nn.FactorGenerator]] = {
    'mlp': lambda: nn.MLPGenerator(CHANNELS, HIDDEN),
    'mlp of sums': lambda: nn.MLPGenerator(CHANNELS, HIDDEN, 'sum'),
    'linear': lambda: nn.LinearGenerator(CHANNELS),
    'nonlinear': lambda: nn.LinearGenerator(CHANNELS, relu=True),
    'split': lambda: nn.SplitGenerator(CHANNELS, HIDDEN),
    'split of sums': lambda: nn.SplitGenerator(CHANNELS, HIDDEN, 'sum'),
    'residual': lambda: nn.ResidualGenerator(CHANNELS, HIDDEN),
    'separate': lambda: nn.SeparateGenerator(CHANNELS, HIDDEN),
    'separate of items': lambda: nn.SeparateGenerator(CHANNELS, HIDDEN, 'item'),
}

every_generator = pytest.mark.parametrize('name', MAKE)


def make(name: str, device: torch.device) -> tuple[nn.FactorGenerator, int]:
    """Returns a generator and how wide its inputs are."""
    generator = MAKE[name]().double().to(device)
    return generator, CHANNELS * (1 + generator.further_embeddings)


def draw(*shape: int, device: torch.device) -> Tensor:
    return torch.randn(shape, dtype=torch.double).to(device).requires_grad_()


@pytest.fixture
def formula(perceptron):
    """The factors of one row (Table 10)."""

    def formula(generator: nn.FactorGenerator, u: Tensor, c: Tensor) -> list[Tensor]:
        if isinstance(generator, nn.ResidualGenerator):
            (u, own), (c, of_context) = u.chunk(2), c.chunk(2)
            out = perceptron(generator.mlp, torch.cat([u * c, own, of_context]))
            return [own + out[:CHANNELS], of_context + out[CHANNELS:]]
        if isinstance(generator, nn.SeparateGenerator):
            (u, own, offer), (c, _, need) = u.chunk(3), c.chunk(3)
            x = torch.cat([u * c, offer, need])
            return [
                own + perceptron(generator.intrinsic_mlp, own),
                (need if generator.side == 'user' else offer)
                + perceptron(generator.extrinsic_mlp, x),
            ]
        if isinstance(generator, nn.LinearGenerator):
            linear = generator.linear
            out = linear.weight @ torch.cat([u, c]) + linear.bias
            if generator.relu:
                out = torch.where(out > 0, out, torch.zeros_like(out))
            return [out[:CHANNELS], out[CHANNELS:]]
        combined = u * c if generator.combine == 'product' else u + c
        if isinstance(generator, nn.SplitGenerator):
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
def test_stands_in_for_others(name):
    """What is folded too, and what is said by layers."""
    generator = MAKE[name]()
    width = CHANNELS * (1 + generator.further_embeddings)
    check_generator(generator, width, CHANNELS)
    for method in ('hidden', 'fold'):
        assert stands_for(generator, method, 'forward')
    assert (name.split()[0] in ('mlp', 'residual')) == stands_for(
        generator, 'intrinsic_layers', 'intrinsic', 'forward'
    )


def test_names_and_defaults():
    made = {name: str(make(32, 128, 'sum', 'item')) for name, make in GENERATORS.items()}
    assert made == {
        'mlp': "MLPGenerator(32, combine='sum')",
        'linear': 'LinearGenerator(32, relu=False)',
        'nonlinear': 'LinearGenerator(32, relu=True)',
        'split': "SplitGenerator(32, combine='sum')",
        'residual': 'ResidualGenerator(32)',
        'separate': "SeparateGenerator(32, side='item')",
    }
    shapes = [tuple(p.shape) for p in nn.MLPGenerator(32).parameters()]
    assert shapes == [(128, 32), (128,), (64, 128), (64,)]


@pytest.mark.parametrize('cls', [nn.MLPGenerator, nn.SplitGenerator])
def test_bad_arguments(cls):
    with pytest.raises(ValueError, match=r"'product' or 'sum'.*'max'"):
        cls(CHANNELS, combine='max')


class Own(nn.FactorGenerator):
    """Has nothing but a call."""

    def __init__(self) -> None:
        super().__init__(CHANNELS)
        self.layer = torch.nn.Linear(CHANNELS, 2 * CHANNELS)

    def forward(self, entity: Tensor, context: Tensor) -> nn.Factors:
        return nn.Factors(*self.layer(entity * context).chunk(2, dim=-1))


def test_a_call_is_all_that_is_needed():
    check_generator(Own(), CHANNELS)
    assert str(Own()) == 'Own(3)'
