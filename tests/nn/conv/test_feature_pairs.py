"""The pairs of features of a batch of graphs, by brute force."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from iedr_geo.nn.conv import feature_pairs
from iedr_geo.nn.conv.feature_pairs import FeaturePairs
from iedr_geo.nn.sparse import Compressed

Graph = tuple[list[int], list[tuple[int, int]]]

WAYS = {
    'sorting': {'KEYS_AN_EDGE': 0},
    'counting': {'KEYS_AN_EDGE': 10**6},
    'counting, many edges': {'KEYS_AN_EDGE': 10**6, 'MANY_EDGES': 0},
    'sorting, many edges': {'KEYS_AN_EDGE': 0, 'MANY_EDGES': 0},
}


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch) -> str:
    """Each way to pair features and to order the edges."""
    for name, value in WAYS[request.param].items():
        monkeypatch.setattr(feature_pairs, name, value)
    return request.param


def draw_graphs(seed: int) -> list[Graph]:
    """Draws features of nodes, many of them equal, and edges between positions."""
    draw = random.Random(seed)
    graphs: list[Graph] = []
    for size in (3, 1, 4, 2, 1):
        nodes = [draw.randrange(4) for _ in range(size)]
        pairs = [(i, j) for i in range(size) for j in range(size)]
        graphs.append((nodes, draw.choices(pairs, k=draw.randrange(2 * size))))
    return [*graphs, graphs[0], ([7], []), ([5], [(0, 0)])]


def collate(graphs: list[Graph]) -> tuple[Tensor, Tensor, Tensor]:
    node_id, edges, ptr = [], [], [0]
    for nodes, pairs in graphs:
        node_id += nodes
        edges += [(ptr[-1] + i, ptr[-1] + j) for i, j in pairs]
        ptr.append(len(node_id))
    edge_index = torch.tensor(edges, dtype=torch.long).view(-1, 2).t()
    return torch.tensor(node_id), edge_index, torch.tensor(ptr)


@pytest.mark.parametrize('seed', range(5))
def test_pairs_are_the_distinct_unordered_ones(seed, device):
    node_id, edge_index, ptr = collate(draw_graphs(seed))
    pairs = FeaturePairs.of_edges(*(t.to(device) for t in (node_id, edge_index, ptr)))
    ids = node_id.tolist()
    ends = zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
    found = [tuple(sorted((ids[i], ids[j]))) for i, j in ends]
    of_edges = [tuple(sorted((ids[i], ids[j]))) for i, j in edge_index.t().tolist()]
    assert sorted(found) == sorted(set(of_edges))
    assert [found[pair] for pair in pairs.pair.tolist()] == of_edges


@pytest.mark.parametrize('seed', range(5))
def test_edges_of_each_graph_and_their_weights(seed, device):
    graphs = draw_graphs(seed)
    node_id, edge_index, ptr = collate(graphs)
    extra = torch.rand(edge_index.size(1), dtype=torch.double)
    pairs = FeaturePairs.of_edges(
        *(t.to(device) for t in (node_id, edge_index, ptr, extra))
    )
    ends, weights = [0], []
    for nodes, edges in graphs:
        ends.append(ends[-1] + len(edges))
        for _, target in edges:
            degree = sum(other == target for _, other in edges)
            weights.append(extra[len(weights)].item() / degree / len(nodes))
    assert pairs.edge_ptr.tolist() == ends
    assert pairs.weight.tolist() == pytest.approx(weights, rel=1e-12)


@pytest.mark.parametrize('seed', range(5))
def test_edges_can_come_in_any_order(seed, device):
    node_id, edge_index, ptr = collate(draw_graphs(seed))
    weight = torch.rand(edge_index.size(1), dtype=torch.double)
    order = torch.randperm(edge_index.size(1))
    message = torch.randn(100, 3, dtype=torch.double, device=device)
    out = [
        FeaturePairs.of_edges(*(t.to(device) for t in (node_id, edges, ptr, weights)))
        for edges, weights in [
            (edge_index, weight),
            (edge_index[:, order], weight[order]),
        ]
    ]
    torch.testing.assert_close(*(p.mean(message[: p.left.numel()]) for p in out))


def test_message_of_a_pair_counts_once_an_edge():
    # One graph of the features 0, 1 with all four edges: 1/4 each of the pairs
    # (0, 0), (1, 1) and twice 1/4 of (0, 1).
    edge_index = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 1]])
    pairs = FeaturePairs.of_edges(torch.tensor([0, 1]), edge_index, torch.tensor([0, 2]))
    message = torch.zeros(3, 1)
    for left, right, share in [(0, 0, 0.25), (0, 1, 0.5), (1, 1, 0.25)]:
        chosen = [
            {i, j} == {left, right}
            for i, j in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
        ]
        message[:, 0] = torch.tensor(chosen)
        assert pairs.mean(message).item() == share


@pytest.mark.parametrize('seed', range(5))
def test_complete_graphs_are_those_with_all_edges(seed, device):
    graphs = [
        (nodes, [(i, j) for j in range(len(nodes)) for i in range(len(nodes))])
        for nodes, _ in draw_graphs(seed)
    ]
    node_id, edge_index, ptr = (t.to(device) for t in collate(graphs))
    expected = FeaturePairs.of_edges(node_id, edge_index, ptr)
    actual = FeaturePairs.of_complete_graphs(node_id, ptr)

    def ends(pairs: FeaturePairs) -> list[list[int]]:
        return (
            torch.stack([node_id[pairs.left], node_id[pairs.right]]).sort(0)[0].tolist()
        )

    assert ends(actual) == ends(expected)  # Both are in the order of the pairs.
    assert actual.pair.numel() < expected.pair.numel()
    size = actual.left.numel()
    message = torch.randn(size, 3, dtype=torch.double, device=device, requires_grad=True)
    values, grads = [], []
    weight = torch.randn(len(graphs), 3, dtype=torch.double, device=device)
    for pairs in (expected, actual):
        values.append(pairs.mean(message))
        grads += torch.autograd.grad((values[-1] * weight).sum(), message)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*grads)


def mean_by_loops(x: Tensor, graphs: list[Graph], weights: Iterator[float]) -> Tensor:
    """The mean over nodes of the mean over their edges; nodes without edges count."""
    out = []
    for nodes, edges in graphs:
        total = torch.zeros_like(x[0]) * x.sum()
        for source, target in edges:
            degree = sum(other == target for _, other in edges)
            message = (x[nodes[source]] * x[nodes[target]]).exp()
            total = total + next(weights) / degree / len(nodes) * message
        out.append(total)
    return torch.stack(out)


@st.composite
def batches(draw) -> list[Graph]:
    """Graphs of recurring features; edges that recur or lack, loops among them."""
    graphs: list[Graph] = []
    for _ in range(draw(st.integers(1, 4))):
        nodes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        place = st.integers(0, len(nodes) - 1)
        graphs.append((nodes, draw(st.lists(st.tuples(place, place), max_size=6))))
    return graphs


@settings(max_examples=100)
@given(batches(), st.booleans(), st.sampled_from([1, 10**8]))
def test_mean_and_gradient_equal_loops(graphs, weighted, spread):
    node_id, edge_index, ptr = collate(graphs)
    weight = torch.randn(edge_index.size(1), dtype=torch.double) if weighted else None
    # Numbers of nodes may be far apart: then no table could hold their pairs.
    pairs = FeaturePairs.of_edges(node_id * spread, edge_index, ptr, weight)
    x = torch.randn(4, 2, dtype=torch.double, requires_grad=True)
    weights = iter(weight.tolist() if weighted else [1.0] * edge_index.size(1))
    expected = mean_by_loops(x, graphs, weights)
    upstream = torch.linspace(0.5, 1.5, expected.numel()).view_as(expected).double()
    [wanted] = torch.autograd.grad(expected, x, upstream)
    for dtype, tol in ((torch.double, 1e-12), (torch.float32, 1e-5)):
        features = x[node_id]
        message = (features[pairs.left] * features[pairs.right]).exp().to(dtype)
        out = pairs.mean(message)
        [grad] = torch.autograd.grad(out, x, upstream.to(dtype))
        torch.testing.assert_close(out.double(), expected, rtol=tol, atol=tol)
        torch.testing.assert_close(grad, wanted, rtol=tol, atol=tol)


def test_both_ways_find_the_same_pairs(monkeypatch):
    node_id, edge_index, ptr = collate(draw_graphs(0))
    found = []
    for keys in (0, 10**6):
        monkeypatch.setattr(feature_pairs, 'KEYS_AN_EDGE', keys)
        pairs = FeaturePairs.of_edges(node_id, edge_index, ptr)
        ends = torch.stack([node_id[pairs.left], node_id[pairs.right]]).sort(0)[0]
        message = torch.randn(ends.size(1), 3, generator=torch.Generator().manual_seed(1))
        message.requires_grad_()
        out = pairs.mean(message)
        [grad] = torch.autograd.grad(out.square().sum(), message)
        found.append((ends, pairs.pair.long(), out, grad))
    for sorted_, counted in zip(*found, strict=True):
        assert torch.equal(sorted_, counted)  # To the last bit.


def test_nothing_is_transposed_without_need(monkeypatch):
    node_id, _, ptr = collate(draw_graphs(0))
    pairs = FeaturePairs.of_complete_graphs(node_id, ptr)
    message = torch.randn(pairs.left.numel(), 3, requires_grad=True)
    expected = pairs.mean(message)
    monkeypatch.setattr(Compressed, 'transposed', None)
    with torch.no_grad():
        assert torch.equal(pairs.mean(message), expected)
