"""Encoders that are right pass; each of those that are not fails at its own property."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import MLP, GATv2Conv
from torch_geometric.utils import segment

from iedr_geo.nn import SIGN, BiInteractionEncoder, MeanEncoder, MLPEncoder
from iedr_geo.testing import check_encoder

IN, OUT = 4, 3

RIGHT = {
    'sign': lambda: SIGN(IN, 8, OUT),
    'sign with dropout': lambda: SIGN(IN, 8, OUT, dropout=0.5),
    'mlp': lambda: MLPEncoder(IN, 8, OUT),
    'own': lambda: Attention(IN, OUT),
    'batch norm': lambda: BatchNorm(),
}


class Own(torch.nn.Module):
    """A linear layer of the mean, which is right: the wrong ones change one thing."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(IN, OUT)

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def nodes(self, x: Tensor, ptr: Tensor) -> Tensor:
        return x

    def readout(self, x: Tensor, ptr: Tensor) -> Tensor:
        return self.linear(segment(self.nodes(x, ptr), ptr, 'mean'))

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        ptr: Tensor,
        edge_weight: Tensor | None = None,
        node_id: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        out = self.readout(x, ptr)
        return out if rows is None else out[rows]


class Attention(Own):
    """An encoder such as a reader would write: message passing of PyG, then a mean."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        torch.nn.Module.__init__(self)
        self.conv = GATv2Conv(in_channels, out_channels, add_self_loops=False)

    def reset_parameters(self) -> None:
        self.conv.reset_parameters()

    def forward(
        self, x: Tensor, edge_index: Tensor, ptr: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        out = segment(self.conv(x, edge_index), ptr, 'mean')
        rows = kwargs.get('rows')
        return out if rows is None else out[rows]


class BatchNorm(Own):
    """In training it mixes graphs, as batch normalisation does; in evaluation not."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = MLP([IN, 8, OUT])


class Flat(Own):
    def readout(self, x, ptr):
        return super().readout(x, ptr).flatten()


class Infinite(Own):
    def readout(self, x, ptr):
        return super().readout(x, ptr) / 0


class SinglePrecision(Own):
    def readout(self, x, ptr):
        return super().readout(x, ptr).float()


class RoundedWeights(Own):
    """Adds what is below the resolution of one of the two precisions."""

    def readout(self, x, ptr):
        return super().readout(x, ptr) + torch.finfo(x.dtype).eps * 1e5


class Noise(Own):
    def readout(self, x, ptr):
        return super().readout(x, ptr) + 0.1 * torch.randn(len(ptr) - 1, OUT)


class FirstNode(Own):
    def readout(self, x, ptr):
        return self.linear(x[ptr[:-1]])


class Positions(Own):
    """Looks at where in the batch a graph is."""

    def readout(self, x, ptr):
        return super().readout(x, ptr) * torch.arange(1, len(ptr)).unsqueeze(1)


class MixesGraphs(Own):
    def nodes(self, x, ptr):
        return x - x.mean(0)


class IgnoresRows(Own):
    def forward(self, *args, rows=None, **kwargs):
        return super().forward(*args, **kwargs)


class TakesRowsFromBehind(Own):
    def forward(self, *args, rows=None, **kwargs):
        out = super().forward(*args, **kwargs)
        return out if rows is None else out[-1 - rows]


class CountsFeatures(Own):
    """Takes `node_id` for a feature in place of a name."""

    def forward(self, x, edge_index, ptr, node_id=None, **kwargs):
        x = x if node_id is None else x * (node_id >= 3).unsqueeze(1)
        return super().forward(x, edge_index, ptr, **kwargs)


class HalvesWhatIsFast(Own):
    def forward(self, *args, node_id=None, **kwargs):
        return super().forward(*args, **kwargs) * (1 if node_id is None else 0.5)


class DetachesWhatIsFast(Own):
    def forward(self, x, edge_index, ptr, node_id=None, **kwargs):
        x = x if node_id is None else x.detach()
        return super().forward(x, edge_index, ptr, **kwargs)


class SumsWeights(Own):
    def forward(self, *args, edge_weight=None, **kwargs):
        out = super().forward(*args, **kwargs)
        return out if edge_weight is None else out * edge_weight.sum()


class IgnoresInput(Own):
    def nodes(self, x, ptr):
        return torch.ones_like(x)


class Detaches(Own):
    def nodes(self, x, ptr):
        return x.detach()


class ZeroGradient(Own):
    def nodes(self, x, ptr):
        return x.sign() + 0 * x


class DetachesInTraining(Own):
    def nodes(self, x, ptr):
        return x.detach() if self.training else x


class UnusedParameter(Own):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Linear(IN, 1)


class InfiniteGradient(Own):
    """The root has none at zero."""

    def nodes(self, x, ptr):
        return x + (x - x.detach()).abs().sqrt()


class SwitchesModes(Own):
    def readout(self, x, ptr):
        self.linear.eval()
        return super().readout(x, ptr)


class ForgetsBias(Own):
    def reset_parameters(self):
        torch.nn.init.zeros_(self.linear.weight)


WRONG = {
    Flat: r'What the encoder returns must be .* \(5, 3\) \(got \(15,\)\)',
    Infinite: 'What the encoder returns must be finite',
    SinglePrecision: 'Readouts of inputs in torch.float64 are in torch.float32',
    RoundedWeights: 'Readouts in single precision differ',
    Noise: 'In evaluation, the readouts of a second call differ',
    FirstNode: 'Readouts depend on the order of the nodes',
    Positions: 'Readouts of two graphs that are alike differ',
    MixesGraphs: 'Readouts in a batch differ from those alone',
    IgnoresRows: 'Given `rows`, readouts are not those',
    TakesRowsFromBehind: 'Given `rows`, readouts are not those',
    CountsFeatures: 'With `node_id`, readouts or gradients differ',
    HalvesWhatIsFast: 'With `node_id`, readouts or gradients differ',
    DetachesWhatIsFast: 'With `node_id`, readouts or gradients differ',
    SumsWeights: 'With edge weights of one, readouts differ',
    IgnoresInput: 'No gradient reaches the node features',
    Detaches: 'No gradient reaches the node features',
    ZeroGradient: 'No gradient reaches the node features',
    DetachesInTraining: 'No gradient reaches the node features',
    UnusedParameter: "No gradient reaches the parameter 'unused.weight'",
    InfiniteGradient: 'The gradient of the node features is not finite',
    SwitchesModes: "A call in training mode switches 'linear' out of it",
    ForgetsBias: "`reset_parameters` leaves 'linear.bias' as it was",
}


@pytest.mark.parametrize('name', RIGHT)
def test_right_encoders(name, device):
    for seed in (0, 1):
        check_encoder(RIGHT[name]().to(device), IN, OUT, seed)


@pytest.mark.parametrize('make', [MeanEncoder, BiInteractionEncoder, Own])
def test_as_many_channels_by_default(make, device):
    encoder = make().to(device)
    if make is Own:
        with pytest.raises(AssertionError, match=r'\(5, 4\) \(got \(5, 3\)\)'):
            check_encoder(encoder, IN)
    else:
        check_encoder(encoder, IN)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('make', WRONG)
def test_wrong_encoders(make, seed):
    with pytest.raises(AssertionError, match='^' + WRONG[make]):
        check_encoder(make(), IN, OUT, seed)


def test_each_wrong_encoder_is_right_but_for_one_thing():
    check_encoder(Own(), IN, OUT)


def test_says_by_how_much():
    with pytest.raises(AssertionError) as error:
        check_encoder(HalvesWhatIsFast(), IN, OUT)
    assert re.search(r'Greatest relative difference: 0\.5', str(error.value))


def test_an_argument_that_is_missing():
    class Short(Own):
        def forward(self, x, edge_index, ptr):
            return self.readout(x, ptr)

    with pytest.raises(TypeError, match=r"unexpected keyword argument '\w+'"):
        check_encoder(Short(), IN, OUT)


@pytest.mark.parametrize('make', [lambda: SIGN(IN, 8, OUT, dropout=0.5), Noise])
def test_leaves_everything_as_it_was(make):
    encoder = make().train()
    encoder.register_buffer('ones', torch.ones(2))
    for parameter in encoder.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before, random = copy.deepcopy(encoder.state_dict()), torch.get_rng_state()
    try:
        check_encoder(encoder, IN, OUT)
    except AssertionError:
        assert make is Noise
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in encoder.modules())
    for name, tensor in encoder.state_dict().items():
        assert tensor.dtype == torch.float and torch.equal(tensor, before[name])
    assert all((p.grad == 7).all() for p in encoder.parameters())


def test_same_seed_same_verdict():
    messages = []
    for state in (1, 2):
        torch.manual_seed(3)
        encoder = MixesGraphs()
        torch.manual_seed(state)
        with pytest.raises(AssertionError) as error:
            check_encoder(encoder, IN, OUT)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
