"""Encoders that are right pass; each of those that are not fails at its own property."""

from typing import Any

import pytest
import torch
from changed import adds_unused, assert_left_as_it_was, changed, of_result
from torch import Tensor
from torch_geometric.nn import MLP, GATv2Conv
from torch_geometric.utils import segment

from iedr_geo.nn import SIGN, BiInteractionEncoder, MeanEncoder, MLPEncoder
from iedr_geo.testing import check_encoder

IN, OUT = 4, 3


class Own(torch.nn.Module):
    """A linear layer of the mean, which is right: the wrong ones change one thing."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(IN, OUT)

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()

    def nodes(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return x

    def readout(self, x: Tensor, edge_index: Tensor, ptr: Tensor) -> Tensor:
        return self.linear(segment(self.nodes(x, edge_index), ptr, 'mean'))

    def forward(self, *graphs: Tensor, rows: Tensor | None = None, **_: Any) -> Tensor:
        out = self.readout(*graphs)
        return out if rows is None else out[rows]


class Attention(Own):
    """Message passing of PyG, as a reader would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GATv2Conv(IN, IN, add_self_loops=False)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self.conv.reset_parameters()

    def nodes(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv(x, edge_index)


def batch_norm(self, call):
    """In training it mixes graphs; in evaluation not."""
    call()
    self.linear = MLP([IN, 8, OUT])


def noise(out):
    return out + 0.1 * torch.randn_like(out)


def positions(out):
    """Looks at where in the batch a graph is."""
    return out * torch.arange(1, 1 + len(out)).unsqueeze(1)


def other_rows(self, call, *graphs, rows=None, node_id=None, **kwargs):
    """Takes wrong ones where `node_id` is given."""
    out = call(*graphs, **kwargs)
    return out if rows is None else out[rows if node_id is None else -1 - rows]


def features(change):
    """A change of the features where `node_id` is given."""

    def new(self, call, x, *graphs, node_id=None, **kwargs):
        x = x if node_id is None else change(self, x, node_id)
        return call(x, *graphs, **kwargs)

    return new


def sums_weights(self, call, *graphs, edge_weight=None, **kwargs):
    out = call(*graphs, **kwargs)
    return out if edge_weight is None else out * edge_weight.sum()


def root(x):
    """Has no gradient at zero."""
    return x + (x - x.detach()).abs().sqrt()


def switches_modes(self, call, *graphs):
    self.linear.eval()
    return call(*graphs)


NODE_ID = 'Readouts with and without `node_id` differ'
NO_GRADIENT = 'No gradient reaches the node features'
WRONG = [
    ('readout', of_result(Tensor.flatten),
     r'What the encoder returns must be .* \(5, 3\) \(got \(15,\)\)'),
    ('readout', of_result(lambda out: out / 0),
     'What the encoder returns must be finite'),
    ('readout', of_result(Tensor.float),
     'Readouts of inputs in torch.float64 are in torch.float32'),
    # Below the resolution of one of the two precisions.
    ('readout', of_result(lambda out: out + torch.finfo(out.dtype).eps * 1e5),
     'Readouts in single precision differ'),
    ('readout', of_result(noise), 'In evaluation, the readouts of a second call differ'),
    ('readout', lambda self, call, x, _, ptr: self.linear(x[ptr[:-1]]),
     'Readouts depend on the order of the nodes'),
    ('readout', of_result(positions), 'Readouts of two graphs that are alike differ'),
    ('nodes', of_result(lambda x: x - x.mean(0)),
     'Readouts in a batch differ from those alone'),
    ('forward', other_rows, 'Given `rows`, readouts are not those'),
    # Takes `node_id` for a feature in place of a name.
    ('forward', features(lambda self, x, node_id: x * (node_id >= 3).unsqueeze(1)),
     f'{NODE_ID}:'),
    ('forward', features(lambda self, x, node_id: x.detach()),
     f'{NODE_ID} in a gradient:'),
    ('forward', features(lambda self, x, _: x.detach() if self.training else x),
     NO_GRADIENT),
    ('forward', sums_weights, 'With edge weights of one, readouts differ'),
    ('nodes', of_result(lambda x: x.sign() + 0 * x), NO_GRADIENT),
    ('nodes', lambda self, call, x, _: x.detach() if self.training else x, NO_GRADIENT),
    ('__init__', adds_unused, "No gradient reaches the parameter 'unused.weight'"),
    ('nodes', of_result(root), 'The gradient of the node features is not finite'),
    ('readout', switches_modes, "A call in training mode switches 'linear' out of it"),
    ('reset_parameters', lambda self, _: torch.nn.init.zeros_(self.linear.weight),
     "`reset_parameters` leaves 'linear.bias' as it was"),
]  # fmt: skip
RIGHT = {
    'sign': lambda: SIGN(IN, 8, OUT),
    'sign with dropout': lambda: SIGN(IN, 8, OUT, dropout=0.5),
    'mlp': lambda: MLPEncoder(IN, 8, OUT),
    'own': Own,
    'attention': Attention,
    'batch norm': changed(Own, '__init__', batch_norm),
}


@pytest.mark.parametrize('name', RIGHT)
def test_right_encoders(name, device):
    for seed in (0, 1):
        check_encoder(RIGHT[name]().to(device), IN, OUT, seed)


@pytest.mark.parametrize('make', [MeanEncoder, BiInteractionEncoder])
def test_as_many_channels_by_default(make, device):
    check_encoder(make().to(device), IN)
    with pytest.raises(AssertionError, match=r'\(5, 4\) \(got \(5, 3\)\)'):
        check_encoder(Own().to(device), IN)


@pytest.mark.parametrize(('method', 'change', 'message'), WRONG)
def test_wrong_encoders(method, change, message):
    for seed in (0, 1):
        with pytest.raises(AssertionError, match=f'^{message}'):
            check_encoder(changed(Own, method, change)(), IN, OUT, seed)


def test_an_argument_that_is_missing():
    short = changed(Own, 'forward', lambda self, call, *graphs: call(*graphs))
    with pytest.raises(TypeError, match=r"unexpected keyword argument '\w+'"):
        check_encoder(short(), IN, OUT)


def test_same_seed_same_verdict_of_how_much():
    encoder, messages = changed(Own, *WRONG[7][:2])(), []
    for state in (1, 2):
        torch.manual_seed(state)
        with pytest.raises(AssertionError, match='Greatest relative diff') as error:
            check_encoder(encoder, IN, OUT)
        messages.append(str(error.value))
    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    'make', [RIGHT['sign with dropout'], changed(Own, *WRONG[4][:2])]
)
def test_leaves_everything_as_it_was(make):
    assert_left_as_it_was(make(), lambda module: check_encoder(module, IN, OUT))
