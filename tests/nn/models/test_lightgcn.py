"""LightGCN against dense powers of the adjacency."""

import pytest
import torch
import torch.nn.functional as F
from clicks import (
    NUM_ITEMS,
    NUM_USERS,
    dense_adjacency,
    double_lightgcn,
    random_graph,
    vectors_by_hand,
)
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import MF, LightGCN

SIZES = NUM_USERS, NUM_ITEMS


def tables(model: MF) -> Tensor:
    return torch.cat([model.user.weight, model.item.weight])


@pytest.mark.parametrize('num_layers', [0, 1, 2, 4])
@pytest.mark.parametrize('self_loops', [False, True])
@pytest.mark.parametrize('empty', [False, True])
def test_equals_dense_powers(num_layers, self_loops, empty, device, assert_same):
    """Also of nodes, or graphs, without edges."""
    graph = random_graph()
    if empty:
        graph = graph.subgraph(torch.empty(0, dtype=torch.long))
    kwargs = {'channels': 3, 'num_layers': num_layers, 'self_loops': self_loops}
    model = double_lightgcn(graph, **kwargs).to(device)
    expected = torch.cat(vectors_by_hand(model, graph, self_loops))
    actual = torch.cat(model.embeddings())
    assert_same(actual, expected, list(model.parameters()), 1e-12)


def test_dropout_equals_layers_with_the_same_draws(device, assert_same):
    """Dropout of what each layer gives, which the next one takes, in training."""
    graph = random_graph()
    model = double_lightgcn(graph, channels=3, num_layers=3, dropout=0.4).to(device)
    adjacency, parameters = dense_adjacency(graph).to(device), list(model.parameters())
    torch.manual_seed(7)
    actual = torch.cat(model.embeddings())
    torch.manual_seed(7)
    layers = [tables(model)]
    for _ in range(3):
        layers.append(F.dropout(adjacency @ layers[-1], 0.4))
    assert_same(actual, torch.stack(layers).mean(dim=0), parameters, 1e-12)
    expected = torch.cat(vectors_by_hand(model, graph))
    assert_same(torch.cat(model.eval().embeddings()), expected, parameters, 1e-12)


def test_loading_a_state_leaves_the_graph_alone(device):
    """The graph keeps its adjacency, which a model of as many edges shall not change."""
    edges = torch.tensor([[0, 0, 1], [0, 1, 1]])
    graph = BipartiteGraph(*edges, 2, 4).to(device)
    other = BipartiteGraph(edges[0], torch.tensor([0, 1, 3]), 2, 4).to(device)
    before = [t.clone() for t in graph.adjacency()]
    model = LightGCN(2, 4, *graph.adjacency(), 3).to(device)
    source = LightGCN(2, 4, *other.adjacency(), 3).to(device)
    model.load_state_dict(source.state_dict())
    pairs = zip(model.embeddings(), source.embeddings(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert all(torch.equal(*pair) for pair in zip(graph.adjacency(), before, strict=True))
    assert {type(b) for b in model.buffers()} == {Tensor}


# User 0 has items 0 and 1, user 1 has item 1: nodes 2 and 3.
EDGES = torch.tensor([[0, 0, 1, 2, 3, 3], [2, 3, 3, 0, 0, 1]])
WEIGHTS = torch.tensor([0.7, 0.5, 0.7, 0.7, 0.5, 0.7])


@pytest.mark.parametrize(
    ('edges', 'weights', 'message'),
    [
        (EDGES[:, :3], WEIGHTS[:3], 'sorted by row.*both directions'),
        (EDGES.flip(1), WEIGHTS.flip(0), 'sorted by row.*both directions'),
        (EDGES[:, [1, 0, 2, 3, 4, 5]], WEIGHTS[[1, 0, 2, 3, 4, 5]], 'sorted by row'),
        (EDGES, WEIGHTS[:5], '6 edges have 5 weights'),
        (EDGES, WEIGHTS.index_fill(0, torch.tensor([0]), 0.6), 'same in both directions'),
        (EDGES + 1, WEIGHTS, 'between nodes 0 to 3'),
        (EDGES - 1, WEIGHTS, 'between nodes 0 to 3'),
        (EDGES + torch.tensor([[1], [0]]), WEIGHTS, 'both directions'),
    ],
)
def test_bad_edges(edges, weights, message):
    with pytest.raises(ValueError, match=message):
        LightGCN(2, 2, edges, weights, 4)


@pytest.mark.parametrize(
    'kwargs', [{'num_layers': -1}, {'dropout': 1.0}, {'dropout': -0.1}]
)
def test_bad_arguments(kwargs):
    LightGCN(2, 2, EDGES, WEIGHTS + 0.1, 4)  # Any symmetric weights, in plain tensors.
    with pytest.raises(ValueError, match='not be negative and `dropout` from 0'):
        LightGCN(2, 2, EDGES, WEIGHTS, 4, **kwargs)


def test_defaults_and_str():
    model = LightGCN(*SIZES, *random_graph().adjacency())
    assert (model.channels, model.num_layers, model.dropout, model.l2) == (128, 2, 0, 0)
    assert str(model) == 'LightGCN(6, 8, channels=128, num_layers=2)'
