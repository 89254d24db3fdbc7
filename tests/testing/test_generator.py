"""Generators that are right pass; each of those that are not fails at its property."""

import pytest
import torch
from changed import assert_left_as_it_was, changed, of_result
from torch import Tensor

from iedr_geo.nn import Factors, MLPGenerator, ResidualGenerator, SeparateGenerator
from iedr_geo.testing import check_generator

CHANNELS = 4


class Own(torch.nn.Module):
    """Two linear layers, which is right: the wrong ones change one thing."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Linear(CHANNELS, CHANNELS)
        self.two = torch.nn.Linear(CHANNELS, CHANNELS)

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        return self.one(entity + 0.1 * context)

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        extrinsic = self.two(entity * context)
        return Factors(Own.intrinsic(self, entity, context), extrinsic)


class MLP(MLPGenerator):
    """Its `intrinsic` says what its call does, whatever its layers are."""

    def __init__(self) -> None:
        super().__init__(CHANNELS)

    def intrinsic(self, entity, context):
        return self(entity, context).intrinsic


def extrinsic(change):
    return of_result(lambda out: out._replace(extrinsic=change(out.extrinsic)))


def field(name, change):
    """A change of one field of what a method returns."""
    return of_result(lambda out: out._replace(**{name: change(getattr(out, name))}))


def doubled_context(self, call, entity, context):
    return call(entity, 2 * context)


def no_context(self, call, entity, context):
    return call(entity, torch.ones_like(context))


def wrong_order(self, call, entity, context):
    """Right of tables; of more dimensions, it takes the contexts in a wrong order."""
    return call(entity, context if entity.dim() == 2 else context.flip(0))


def switches_modes(self, call, *rows):
    self.train()
    return call(*rows)


def forgets_bias(self, call):
    self.one.reset_parameters()
    torch.nn.init.zeros_(self.two.weight)


LAYERS = 'The contrastive losses with and without `intrinsic_layers` differ'
FOLD = 'Products with both factors, with and without `hidden` and `fold`, differ'
INTRINSIC = 'What `intrinsic` returns and the factors differ'
WRONG = [
    (Own, 'forward', of_result(tuple), r"Factors must .* 'intrinsic'.*\(got tuple\)"),
    (Own, 'forward', extrinsic(lambda x: torch.cat([x, x], -1)),
     r'The extrinsic factors must be .* \(6, 4\) \(got \(6, 8\)\)'),
    (Own, 'forward', extrinsic(lambda x: x + torch.finfo(x.dtype).eps * 1e5),
     'Factors in single precision differ'),
    (Own, 'forward', extrinsic(lambda x: x + 0.1 * torch.randn_like(x)),
     'In evaluation, the factors of a second call differ'),
    (Own, 'intrinsic', lambda self, call, entity, _: self.one(entity), f'{INTRINSIC}:'),
    (Own, 'intrinsic', of_result(Tensor.detach), f'{INTRINSIC} in a gradient:'),
    (Own, 'intrinsic', lambda self, call, entity, context: call(entity, context.detach()),
     f'{INTRINSIC} in a gradient:'),
    (Own, 'forward', extrinsic(lambda x: x - x.mean(0)),
     'Factors of rows in a batch differ from those alone'),
    (Own, 'forward', wrong_order, r'Readouts .* contexts \(6, 1, F\) do not fit: '),
    (Own, 'intrinsic', wrong_order, r'Readouts .* do not fit in `intrinsic`: '),
    (MLP, 'intrinsic_layers', field('bias', lambda x: x + 1), f'{LAYERS}:'),
    (MLP, 'intrinsic_layers', field('weight', Tensor.detach), f'{LAYERS} in a gradient:'),
    (MLP, 'fold', field('constant', lambda x: x + 1), f'{FOLD}:'),
    (MLP, 'fold', field('weight', Tensor.detach), f'{FOLD} in a gradient:'),
    (MLP, 'hidden', of_result(lambda out: (out[0], out[1].flip(1))), f'{FOLD}:'),
    (changed(Own, 'intrinsic', no_context), 'forward', no_context,
     'No gradient reaches the contexts'),
    (Own, 'forward', switches_modes,
     "A call in evaluation mode switches 'the module' out of it"),
    (Own, 'reset_parameters', forgets_bias,
     "`reset_parameters` leaves 'two.bias' as it was"),
]  # fmt: skip
RIGHT = {
    'mlp': lambda: MLPGenerator(CHANNELS, 8),
    'residual': lambda: ResidualGenerator(CHANNELS, 8),
    'separate': lambda: SeparateGenerator(CHANNELS, 8),
    'separate of items': lambda: SeparateGenerator(CHANNELS, 8, 'item'),
    'own': Own,
    # The layers and products of the class above are not asked for.
    'own call': changed(MLP, 'forward', doubled_context),
}


@pytest.mark.parametrize('name', RIGHT)
def test_right_generators(name, device):
    generator = RIGHT[name]().to(device)
    in_channels = CHANNELS * (1 + getattr(generator, 'further_embeddings', 0))
    check_generator(generator, in_channels, CHANNELS)


@pytest.mark.parametrize(('base', 'method', 'change', 'message'), WRONG)
def test_wrong_generators(base, method, change, message):
    for seed in (0, 1):
        with pytest.raises(AssertionError, match=f'^{message}'):
            check_generator(changed(base, method, change)(), CHANNELS, seed=seed)


@pytest.mark.parametrize('make', [MLP, changed(*WRONG[3][:3])])
def test_leaves_everything_as_it_was(make):
    assert_left_as_it_was(make(), lambda module: check_generator(module, CHANNELS))
