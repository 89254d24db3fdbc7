"""The pairs of features of a batch of graphs, by brute force."""

from collections.abc import Iterator

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from iedr_geo.nn.conv.feature_pairs import FeaturePairs

Graph = tuple[list[int], list[tuple[int, int]]]


@st.composite
def batches(draw) -> list[Graph]:
    """Graphs of recurring features; edges that recur or lack, loops among them."""
    graphs: list[Graph] = []
    for _ in range(draw(st.integers(1, 4))):
        nodes = draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
        node = st.integers(0, len(nodes) - 1)
        graphs.append((nodes, draw(st.lists(st.tuples(node, node), max_size=6))))
    return graphs


def collate(graphs: list[Graph]) -> tuple[Tensor, Tensor, Tensor]:
    node_id, edges, ptr = [], [], [0]
    for nodes, pairs in graphs:
        node_id += nodes
        edges += [(ptr[-1] + i, ptr[-1] + j) for i, j in pairs]
        ptr.append(len(node_id))
    edge_index = torch.tensor(edges, dtype=torch.long).view(-1, 2).t()
    return torch.tensor(node_id), edge_index, torch.tensor(ptr)


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


@settings(max_examples=100)
@given(batches(), st.booleans(), st.booleans(), st.sampled_from([1, 10**8]))
def test_pairs_mean_and_gradient_equal_loops(graphs, weighted, shuffled, spread):
    node_id, edge_index, ptr = collate(graphs)
    num_edges = edge_index.size(1)
    weight = torch.randn(num_edges, dtype=torch.double) if weighted else None
    order = torch.randperm(num_edges) if shuffled else torch.arange(num_edges)
    # Numbers of nodes may be far apart.
    pairs = FeaturePairs.of_edges(
        node_id * spread,
        edge_index[:, order],
        ptr,
        None if weight is None else weight[order],
    )
    ids = node_id.tolist()
    ends = zip(pairs.left.tolist(), pairs.right.tolist(), strict=True)
    found = [tuple(sorted((ids[i], ids[j]))) for i, j in ends]
    of_edges = [tuple(sorted((ids[i], ids[j]))) for i, j in edge_index.t().tolist()]
    assert sorted(found) == sorted(set(of_edges))
    if not shuffled:
        assert [found[pair] for pair in pairs.pair.tolist()] == of_edges
    assert pairs.edge_ptr.diff().tolist() == [len(edges) for _, edges in graphs]

    x = torch.randn(4, 2, dtype=torch.double, requires_grad=True)
    weights = iter([1.0] * num_edges if weight is None else weight.tolist())
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
