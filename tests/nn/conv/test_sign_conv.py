"""SIGNConv against loops over nodes and their neighbours."""

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import MLP

from iedr_geo.nn import SIGNConv

NUM_NODES, CHANNELS = 5, 3

# Source and target of each edge. Node 3 of the second graph has no neighbour, node 4
# is one that nobody listens to but itself, and the edge from 0 to 1 is there twice.
EDGES = {
    'complete': list(itertools.product(range(NUM_NODES), repeat=2)),
    'arbitrary': [(4, 2), (0, 1), (2, 2), (1, 0), (0, 1), (4, 4), (2, 1)],
    'no edge': [],
}


def convolve(
    h: Callable[[Tensor], Tensor],
    x_source: Tensor,
    x_target: Tensor,
    edges: list[tuple[int, int]],
    weight: Tensor | None,
    out_channels: int,
) -> Tensor:
    """The mean of e_ij h(x_i * x_j) over the neighbours j of each node i."""
    out = []
    for i in range(len(x_target)):
        messages = []
        for k, (j, target) in enumerate(edges):
            if target == i:
                message = h(x_target[i] * x_source[j])
                messages.append(message if weight is None else weight[k] * message)
        if messages:
            out.append(sum(messages) / len(messages))
        else:
            out.append(x_target.new_zeros(out_channels))
    return torch.stack(out)


def as_tensor(edges: list[tuple[int, int]]) -> Tensor:
    return torch.tensor(edges, dtype=torch.long).view(-1, 2).t().contiguous()


@pytest.mark.aggregation
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('bipartite', [False, True])
@pytest.mark.parametrize('edges', EDGES.values(), ids=EDGES)
def test_equals_loops(
    edges, bipartite, weighted, device, aggregation, assert_same, perceptron
):
    conv = SIGNConv(MLP([CHANNELS, 7, 4], norm=None)).double().to(device)
    source, target = (
        torch.randn(size, CHANNELS, dtype=torch.double, device=device).requires_grad_()
        for size in (NUM_NODES, NUM_NODES + 1)
    )
    x, target = ((source, target), target) if bipartite else (source, source)
    tensors, weight = [source, target, *conv.parameters()], None
    if weighted:
        weight = torch.randn(len(edges), dtype=torch.double, device=device)
        tensors.append(weight.requires_grad_())
    h = partial(perceptron, conv.nn)
    expected = convolve(h, source, target, edges, weight, 4)
    size = (len(source), len(target))
    actual = conv(x, as_tensor(edges).to(device), weight, size)
    assert_same(actual, expected, tensors if edges else ())


@pytest.mark.aggregation
@pytest.mark.parametrize('aggr', ['add', 'max'])
def test_other_aggregations(aggr, aggregation):
    edges = EDGES['arbitrary']
    x = torch.randn(NUM_NODES, CHANNELS)
    actual = SIGNConv(torch.nn.Identity(), aggr=aggr)(x, as_tensor(edges))
    for i in range(NUM_NODES):
        messages = [x[i] * x[j] for j, target in edges if target == i]
        messages = torch.stack(messages) if messages else torch.zeros(1, CHANNELS)
        wanted = messages.sum(0) if aggr == 'add' else messages.amax(0)
        torch.testing.assert_close(actual[i], wanted)


def test_other_forms_of_edges(assert_same):
    edges = sorted(set(EDGES['arbitrary']), key=lambda edge: edge[::-1])
    edge_index = as_tensor(edges)
    conv = SIGNConv(torch.nn.Tanh()).double()
    x = torch.randn(NUM_NODES, CHANNELS, dtype=torch.double, requires_grad=True)
    expected = convolve(torch.tanh, x, x, edges, None, CHANNELS)
    size = (NUM_NODES, NUM_NODES)
    assert_same(conv(x, EdgeIndex(edge_index, sparse_size=size)), expected, [x])
    ones = torch.ones(len(edges), dtype=torch.double)
    adj_t = torch.sparse_coo_tensor(edge_index.flip(0), ones, size, check_invariants=True)
    assert_same(conv(x, adj_t.coalesce()), expected, [x])
    back = SIGNConv(torch.nn.Tanh(), flow='target_to_source')
    assert_same(back(x, edge_index.flip(0)), expected, [x])
    with pytest.raises(ValueError, match=r'`dropout` must be in \[0, 1\) \(got 1\)'):
        SIGNConv(torch.nn.Tanh(), dropout=1)


def test_str():
    assert str(SIGNConv(MLP([3, 7, 4]))) == 'SIGNConv(nn=MLP(3, 7, 4))'
    assert str(SIGNConv(torch.nn.Identity())) == 'SIGNConv(nn=Identity())'
