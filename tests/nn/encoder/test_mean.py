"""Means of features against loops."""

import itertools

import pytest
import torch
from torch import Tensor

from iedr_geo.nn import MeanEncoder, MLPEncoder

IN = 3


def means(x: Tensor, ptr: list[int]) -> Tensor:
    out = []
    for start, end in itertools.pairwise(ptr):
        total = torch.zeros_like(x[0]) if start == end else sum(x[start:end])
        out.append(total / max(end - start, 1))
    return torch.stack(out)


@pytest.mark.aggregation
@pytest.mark.parametrize('network', [False, True])
@pytest.mark.parametrize('rows', [None, [2, 0, 2]])
@pytest.mark.parametrize(
    'ptr', [[0, 3, 4, 8], [0, 2, 2, 5], None], ids=['full', 'some empty', 'single']
)
def test_equals_loops(ptr, rows, network, device, aggregation, assert_same, perceptron):
    """Whatever the edges."""
    encoder = MLPEncoder(IN, 6, 4).double() if network else MeanEncoder()
    encoder, mlp = encoder.to(device), getattr(encoder, 'mlp', None)
    x = torch.randn(8, IN, dtype=torch.double).to(device)[: (ptr or [8])[-1]]
    x.requires_grad_()
    rows = [0, 0] if rows and ptr is None else rows
    expected = means(x, ptr or [0, 8])
    if network:
        expected = torch.stack([perceptron(mlp, mean) for mean in expected])
    index, begins = (
        None if ids is None else torch.tensor(ids, device=device) for ids in (rows, ptr)
    )
    edges = torch.zeros(2, 1, dtype=torch.long, device=device), begins, x.new_ones(1)
    actual = encoder(x, *edges, torch.arange(len(x), device=device), index)
    expected = expected if rows is None else expected[rows]
    assert_same(actual, expected, [x, *encoder.parameters()])


def test_defaults():
    shapes = [tuple(p.shape) for p in MLPEncoder(32).parameters()]
    assert shapes == [(128, 32), (128,), (32, 128), (32,)]
    assert not list(MeanEncoder().parameters())
