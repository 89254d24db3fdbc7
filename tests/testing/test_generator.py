"""Generators that are right pass; each of those that are not fails at its property."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from iedr_geo.nn import (
    Factors,
    LinearGenerator,
    MLPGenerator,
    ResidualGenerator,
    SplitGenerator,
)
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


class Tuple(Own):
    def forward(self, entity, context):
        return tuple(super().forward(entity, context))


class TooWide(Own):
    def forward(self, entity, context):
        intrinsic, extrinsic = super().forward(entity, context)
        return Factors(intrinsic, torch.cat([extrinsic, extrinsic], -1))


class DoublePrecision(Own):
    def forward(self, entity, context):
        return Factors(*(x.double() for x in super().forward(entity, context)))


class Noise(Own):
    def forward(self, entity, context):
        intrinsic, extrinsic = super().forward(entity, context)
        return Factors(intrinsic, extrinsic + 0.1 * torch.randn_like(extrinsic))


class OtherIntrinsic(Own):
    def intrinsic(self, entity, context):
        return self.one(entity)


class DetachedIntrinsic(Own):
    def intrinsic(self, entity, context):
        return super().intrinsic(entity, context).detach()


class PartlyDetachedIntrinsic(Own):
    def intrinsic(self, entity, context):
        return super().intrinsic(entity, context.detach())


class MixesRows(Own):
    def forward(self, entity, context):
        intrinsic, extrinsic = super().forward(entity, context)
        return Factors(intrinsic, extrinsic - extrinsic.mean(0))


class TwoDimensions(Own):
    def forward(self, entity, context):
        # Right of tables; of more dimensions, it takes the contexts in a wrong order.
        return super().forward(entity, context if entity.dim() == 2 else context.flip(0))


class TwoDimensionsInIntrinsic(Own):
    def intrinsic(self, entity, context):
        context = context if entity.dim() == 2 else context.flip(0)
        return super().intrinsic(entity, context)


class OtherLayers(MLPGenerator):
    def __init__(self) -> None:
        super().__init__(CHANNELS)

    def intrinsic_layers(self):
        layers = super().intrinsic_layers()
        return layers._replace(bias=layers.bias + 1)

    def intrinsic(self, entity, context):
        return self(entity, context).intrinsic


class DetachedLayers(OtherLayers):
    def intrinsic_layers(self):
        layers = MLPGenerator.intrinsic_layers(self)
        return layers._replace(weight=layers.weight.detach())


class OtherForward(MLPGenerator):
    """Right: the layers and products of the class above are not asked for."""

    def __init__(self) -> None:
        super().__init__(CHANNELS)

    def forward(self, entity, context):
        return super().forward(entity, 2 * context)

    def intrinsic(self, entity, context):
        return self(entity, context).intrinsic


class OtherFold(OtherLayers):
    intrinsic_layers = MLPGenerator.intrinsic_layers

    def fold(self, vector, context):
        folded = super().fold(vector, context)
        return folded._replace(constant=folded.constant + 1)


class DetachedFold(OtherFold):
    def fold(self, vector, context):
        folded = MLPGenerator.fold(self, vector, context)
        return folded._replace(weight=folded.weight.detach())


class OtherHidden(OtherFold):
    fold = MLPGenerator.fold

    def hidden(self, context):
        weight, bias = super().hidden(context)
        return weight, bias.flip(1)


class IgnoresContext(Own):
    def forward(self, entity, context):
        return super().forward(entity, torch.ones_like(context))

    def intrinsic(self, entity, context):
        return super().intrinsic(entity, torch.ones_like(context))


class UnusedParameter(Own):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Linear(CHANNELS, 1)


class SwitchesModes(Own):
    def forward(self, entity, context):
        self.train()
        return super().forward(entity, context)


class ForgetsBias(Own):
    def reset_parameters(self):
        self.one.reset_parameters()
        torch.nn.init.zeros_(self.two.weight)


WRONG = {
    Tuple: r"Factors must have a field 'intrinsic'.*\(got tuple\)",
    TooWide: r'The extrinsic factors must be .* \(6, 4\) \(got \(6, 8\)\)',
    DoublePrecision: 'Factors of inputs in torch.float32 are in torch.float64',
    Noise: 'In evaluation, the factors of a second call differ',
    OtherIntrinsic: '`intrinsic` does not return the intrinsic factors',
    DetachedIntrinsic: 'Gradients through `intrinsic` differ',
    PartlyDetachedIntrinsic: 'Gradients through `intrinsic` differ',
    MixesRows: 'Factors of rows in a batch differ from those alone',
    TwoDimensions: r'Readouts .* contexts \(6, 1, F\) do not fit: ',
    TwoDimensionsInIntrinsic: r'Readouts .* do not fit in `intrinsic`: ',
    OtherLayers: 'With `intrinsic_layers`, the contrastive loss or a gradient differs',
    DetachedLayers: 'With `intrinsic_layers`, the contrastive loss or a gradient differs',
    OtherFold: 'With `hidden` and `fold`, products .* or a gradient differ',
    DetachedFold: 'With `hidden` and `fold`, products .* or a gradient differ',
    OtherHidden: 'With `hidden` and `fold`, products .* or a gradient differ',
    IgnoresContext: 'No gradient reaches the contexts',
    UnusedParameter: "No gradient reaches the parameter 'unused.weight'",
    SwitchesModes: "A call in evaluation mode switches 'the module' out of it",
    ForgetsBias: "`reset_parameters` leaves 'two.bias' as it was",
}


RIGHT = {
    'mlp': lambda: MLPGenerator(CHANNELS, 8),
    'mlp of sums': lambda: MLPGenerator(CHANNELS, 8, 'sum'),
    'linear': lambda: LinearGenerator(CHANNELS),
    'nonlinear': lambda: LinearGenerator(CHANNELS, relu=True),
    'split': lambda: SplitGenerator(CHANNELS, 8),
    'residual': lambda: ResidualGenerator(CHANNELS, 8),
    'own': Own,
    'own call': OtherForward,
}


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('name', RIGHT)
def test_right_generators(name, seed, device):
    in_channels = 2 * CHANNELS if name == 'residual' else CHANNELS
    check_generator(RIGHT[name]().to(device), in_channels, CHANNELS, seed)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('make', WRONG)
def test_wrong_generators(make, seed):
    with pytest.raises(AssertionError, match='^' + WRONG[make]):
        check_generator(make(), CHANNELS, seed=seed)


def test_leaves_everything_as_it_was():
    generator = MLPGenerator(CHANNELS)
    before, random = copy.deepcopy(generator.state_dict()), torch.get_rng_state()
    check_generator(generator, CHANNELS)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in generator.modules())
    for name, tensor in generator.state_dict().items():
        assert tensor.dtype == torch.float and torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in generator.parameters())
