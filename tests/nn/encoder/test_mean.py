"""Means of features against loops."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from iedr_geo.nn import MeanEncoder, MLPEncoder
from iedr_geo.nn.encoder.mean import mean_readout

PTR = [0, 3, 4, 8]
IN = 3


def means(x: Tensor, ptr: list[int]) -> Tensor:
    out = []
    for start, end in itertools.pairwise(ptr):
        total = torch.zeros_like(x[0]) if start == end else sum(x[start:end])
        out.append(total / max(end - start, 1))
    return torch.stack(out)


def features(size: int, device: torch.device) -> Tensor:
    return torch.randn(size, IN, dtype=torch.double).to(device).requires_grad_()


@pytest.mark.aggregation
@pytest.mark.parametrize('ptr', [PTR, [0, 0, 2, 2, 3, 3]], ids=['full', 'some empty'])
def test_readout_equals_loops(ptr, device, aggregation, assert_same):
    x = features(ptr[-1], device)
    actual = mean_readout(x, torch.tensor(ptr, device=device))
    assert_same(actual, means(x, ptr), [x])


def test_readout_of_a_single_graph(device, assert_same):
    x = features(4, device)
    assert_same(mean_readout(x), means(x, [0, 4]), [x])


@pytest.mark.parametrize('rows', [None, [2, 0, 2]])
def test_mean_encoder(rows, device, assert_same):
    x = features(PTR[-1], device)
    index = None if rows is None else torch.tensor(rows, device=device)
    encoder = MeanEncoder()
    ptr = torch.tensor(PTR, device=device)
    wanted = means(x, PTR)[range(3) if rows is None else rows]
    assert_same(encoder(x, ptr=ptr, rows=index), wanted, [x])
    single = None if rows is None else torch.zeros_like(index)
    wanted = means(x, [0, PTR[-1]])[[0] if rows is None else [0, 0, 0]]
    assert_same(encoder(x, rows=single), wanted, [x])


@pytest.mark.parametrize('rows', [None, [2, 0, 2]])
def test_mlp_encoder(rows, device, assert_same, perceptron):
    x = features(PTR[-1], device)
    index = None if rows is None else torch.tensor(rows, device=device)
    encoder = MLPEncoder(IN, 6, 4).double().to(device)
    ptr = torch.tensor(PTR, device=device)
    each = torch.stack([perceptron(encoder.mlp, mean) for mean in means(x, PTR)])
    wanted = each[range(3) if rows is None else rows]
    actual = encoder(x, ptr=ptr, rows=index)
    assert_same(actual, wanted, [x, *encoder.parameters()])


@pytest.mark.parametrize('make', [MeanEncoder, lambda: MLPEncoder(IN)])
def test_edges_and_order_are_no_matter(make):
    x, ptr = torch.randn(PTR[-1], IN), torch.tensor(PTR)
    encoder = make()
    order = torch.cat([torch.randperm(3), torch.tensor([3]), 4 + torch.randperm(4)])
    edge_index = torch.randint(3, (2, 4))
    torch.testing.assert_close(
        encoder(x[order], edge_index, ptr, torch.rand(4), torch.arange(8)),
        encoder(x, None, ptr),
    )


def test_defaults():
    shapes = [tuple(p.shape) for p in MLPEncoder(32).parameters()]
    assert shapes == [(128, 32), (128,), (32, 128), (32,)]
    assert not list(MeanEncoder().parameters())
