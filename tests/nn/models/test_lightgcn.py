"""LightGCN against dense powers of the adjacency and PyG's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torch_geometric.nn
from clicks import (
    NUM_ITEMS,
    NUM_USERS,
    dense_adjacency,
    double_lightgcn,
    random_batch,
    random_graph,
)
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import MF, LightGCN

SIZES = NUM_USERS, NUM_ITEMS
every_depth = pytest.mark.parametrize('num_layers', [0, 1, 2, 4])


def mean_of_powers(table: Tensor, adjacency: Tensor, num_layers: int) -> Tensor:
    """The average of the table, multiplied 0 to `num_layers` times."""
    powers = [table]
    for _ in range(num_layers):
        powers.append(adjacency @ powers[-1])
    return torch.stack(powers).mean(dim=0)


def tables(model: MF) -> Tensor:
    return torch.cat([model.user.weight, model.item.weight])


@every_depth
@pytest.mark.parametrize('self_loops', [False, True])
def test_equals_dense_powers(num_layers, self_loops, device, assert_same):
    graph = random_graph()
    kwargs = {'channels': 3, 'num_layers': num_layers, 'self_loops': self_loops}
    model = double_lightgcn(graph, **kwargs).to(device)
    adjacency = dense_adjacency(graph, self_loops).to(device)
    expected = mean_of_powers(tables(model), adjacency, num_layers)
    parameters = list(model.parameters())
    assert_same(torch.cat(model.embeddings()), expected, parameters, 1e-12)
    user = torch.tensor([[0, 3], [3, 5], [1, 1]], device=device)
    item = torch.tensor([7, 0, 7, 2], device=device)
    users, items = model(user, item)
    assert_same(users, expected[user], parameters, 1e-12)
    assert_same(items, expected[NUM_USERS + item], parameters, 1e-12)


@every_depth
def test_equals_pyg(num_layers, device):
    graph = random_graph().to(device)
    model = LightGCN(*SIZES, *graph.adjacency(), 16, num_layers).to(device)
    other = torch_geometric.nn.LightGCN(sum(SIZES), 16, num_layers).to(device)
    other.embedding.weight.data = tables(model).detach()
    actual, expected = (
        torch.cat(model.embeddings()),
        other.get_embedding(graph.adjacency()[0].as_tensor()),
    )
    torch.testing.assert_close(actual, expected)
    upstream = torch.randn_like(expected)
    grads = torch.autograd.grad(actual, list(model.parameters()), upstream)
    [grad] = torch.autograd.grad(expected, [other.embedding.weight], upstream)
    torch.testing.assert_close(torch.cat(grads), grad)


@pytest.mark.parametrize('dropout', [0, 0.5])
@pytest.mark.parametrize('l2', [0, 0.2])
def test_without_layers_it_is_mf(dropout, l2, device):
    graph = random_graph().to(device)
    arguments = {'num_layers': 0, 'dropout': dropout, 'l2': l2}
    model = LightGCN(*SIZES, *graph.adjacency(), 4, **arguments).to(device)
    mf = MF(*SIZES, 4, l2=l2).to(device)
    mf.load_state_dict(model.state_dict(), strict=False)
    pairs = zip(model.embeddings(), mf.embeddings(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    batch = random_batch(device=device)
    assert model.extra_losses(batch) == mf.extra_losses(batch)
    for one in (model, mf):
        one.score(batch.user.unsqueeze(1), batch.candidates).sigmoid().sum().backward()
    for one, two in zip(model.parameters(), mf.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-6, atol=1e-9)


def test_tables_side_by_side_propagate_as_each_alone(device):
    graph = random_graph().to(device)
    both, *each = (
        LightGCN(*SIZES, *graph.adjacency(), channels, 3).to(device)
        for channels in (7, 4, 3)
    )
    for name in ('user', 'item'):
        parts = [getattr(model, name).weight for model in each]
        getattr(both, name).weight.data = torch.cat(parts, dim=1).detach()
    for side, *sides in zip(
        both.embeddings(), *(m.embeddings() for m in each), strict=True
    ):
        torch.testing.assert_close(side, torch.cat(sides, dim=1))


def test_nodes_in_another_order():
    graph = random_graph()
    new_user, new_item = torch.randperm(NUM_USERS), torch.randperm(NUM_ITEMS)
    turned = BipartiteGraph(new_user[graph.user], new_item[graph.item], *SIZES)
    model, other = (double_lightgcn(g, channels=3) for g in (graph, turned))
    other.user.weight.data[new_user] = model.user.weight.data
    other.item.weight.data[new_item] = model.item.weight.data
    (users, items), (new_users, new_items) = model.embeddings(), other.embeddings()
    torch.testing.assert_close(new_users[new_user], users, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(new_items[new_item], items, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize('empty', [False, True])
def test_isolated_nodes_keep_a_share_of_their_own(empty, device):
    graph = random_graph()
    if empty:
        graph = graph.subgraph(torch.empty(0, dtype=torch.long))
    alone = graph.user_degree == 0, graph.item_degree == 0
    assert all(mask[0] for mask in alone)
    model = LightGCN(*SIZES, *graph.adjacency(), 4, num_layers=3).to(device)
    for vectors, table, mask in zip(
        model.embeddings(), model.parameters(), alone, strict=True
    ):
        expected = table / 4
        same = torch.isclose(vectors, expected).all(dim=1).cpu()
        assert torch.equal(same, mask)


def dropout_twin(model: LightGCN, adjacency: Tensor, p: float) -> Tensor:
    """Dropout of what each layer gives, which the next one takes."""
    layers = [tables(model)]
    for _ in range(model.num_layers):
        layers.append(F.dropout(adjacency @ layers[-1], p))
    return torch.stack(layers).mean(dim=0)


def test_dropout_equals_layers_with_the_same_draws(device, assert_same):
    graph = random_graph()
    model = double_lightgcn(graph, channels=3, num_layers=3, dropout=0.4).to(device)
    torch.manual_seed(7)
    actual = torch.cat(model.embeddings())
    torch.manual_seed(7)
    expected = dropout_twin(model, dense_adjacency(graph).to(device), 0.4)
    assert_same(actual, expected, list(model.parameters()), 1e-12)
    torch.manual_seed(8)
    assert not torch.equal(torch.cat(model.embeddings()), actual)


def test_dropout_changes_no_expectation():
    graph = random_graph()
    model = double_lightgcn(graph, channels=2, num_layers=2, dropout=0.3)
    with torch.no_grad():
        draws = torch.stack([torch.cat(model.embeddings()) for _ in range(1500)])
        expected = torch.cat(model.eval().embeddings())
    error = draws.std(dim=0) / len(draws) ** 0.5
    assert ((draws.mean(dim=0) - expected).abs() <= 4.5 * error + 1e-12).all()
    assert (error > 1e-5).any()


def test_no_dropout_in_evaluation(device, assert_same):
    """Neither is there any if next to nothing is dropped."""
    graph, kwargs = random_graph(), {'channels': 3, 'num_layers': 2}
    plain = double_lightgcn(graph, **kwargs).to(device)
    parameters = list(plain.parameters())
    for dropout, training in ((0.9, False), (1e-12, True)):
        model = double_lightgcn(graph, **kwargs, dropout=dropout).to(device)
        model.train(training)
        model.user, model.item = plain.user, plain.item
        expected = torch.cat(plain.embeddings())
        assert_same(torch.cat(model.embeddings()), expected, parameters, 1e-11)


def test_loading_a_state_leaves_the_graph_alone():
    """The graph keeps its adjacency, which a model of as many edges shall not change."""
    edges = torch.tensor([[0, 0, 1], [0, 1, 1]])
    graph = BipartiteGraph(*edges, 2, 4)
    other = BipartiteGraph(edges[0], torch.tensor([0, 1, 3]), 2, 4)
    before = [t.clone() for t in graph.adjacency()]
    model = LightGCN(2, 4, *graph.adjacency(), 3)
    source = LightGCN(2, 4, *other.adjacency(), 3)
    model.load_state_dict(source.state_dict())
    pairs = zip(model.embeddings(), source.embeddings(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert all(torch.equal(*pair) for pair in zip(graph.adjacency(), before, strict=True))


def test_edges_are_buffers_and_no_parameters(device):
    model = LightGCN(*SIZES, *random_graph().adjacency(), 4).to(device)
    assert [name for name, _ in model.named_parameters()] == [
        'user.weight',
        'item.weight',
    ]
    assert {name for name, _ in model.named_buffers()} == {'ptr', 'column', 'weight'}
    assert all(b.device.type == device.type for b in model.buffers())
    assert {type(b) for b in model.buffers()} == {Tensor}


# User 0 has items 0 and 1, user 1 has item 1: nodes 2 and 3.
EDGES = torch.tensor([[0, 0, 1, 2, 3, 3], [2, 3, 3, 0, 0, 1]])
WEIGHTS = torch.tensor([0.7, 0.5, 0.7, 0.7, 0.5, 0.7])


@pytest.mark.parametrize('shift', [0, 0.1])
def test_small_edges_are_accepted(shift):
    """So is any symmetric weight, and a plain tensor."""
    graph = BipartiteGraph(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2, 2)
    assert torch.equal(graph.adjacency()[0].as_tensor(), EDGES)
    model = LightGCN(2, 2, EDGES, WEIGHTS + shift, 1, num_layers=1)
    model.user.weight.data = torch.tensor([[1.0], [10]])
    model.item.weight.data = torch.tensor([[100.0], [1000]])
    users, items = model.embeddings()
    a, b = 0.7 + shift, 0.5 + shift
    expected = [[1 + 100 * a + 1000 * b], [10 + 1000 * a]]
    torch.testing.assert_close(users, torch.tensor(expected) / 2)
    expected = [[100 + a], [1000 + b + 10 * a]]
    torch.testing.assert_close(items, torch.tensor(expected) / 2)


@pytest.mark.parametrize(
    ('edges', 'weights', 'message'),
    [
        (EDGES[:, :3], WEIGHTS[:3], 'sorted by row.*both directions'),
        (EDGES[:, 1:], WEIGHTS[1:], 'sorted by row.*both directions'),
        (EDGES.flip(1), WEIGHTS.flip(0), 'sorted by row.*both directions'),
        (EDGES[:, [1, 0, 2, 3, 4, 5]], WEIGHTS[[1, 0, 2, 3, 4, 5]], 'sorted by row'),
        (EDGES[:, [2, 0, 1, 3, 4, 5]], WEIGHTS[[2, 0, 1, 3, 4, 5]], 'sorted by row'),
        (EDGES, WEIGHTS[:5], '6 edges have 5 weights'),
        (EDGES, WEIGHTS.index_fill(0, torch.tensor([0]), 0.6), 'same in both directions'),
        (EDGES + 1, WEIGHTS, 'between nodes 0 to 3'),
        (EDGES - 1, WEIGHTS, 'between nodes 0 to 3'),
        (EDGES + torch.tensor([[1], [0]]), WEIGHTS, 'both directions'),
        (EDGES - torch.tensor([[1], [0]]), WEIGHTS, 'both directions'),
    ],
)
def test_bad_edges(edges, weights, message):
    with pytest.raises(ValueError, match=message):
        LightGCN(2, 2, edges, weights, 4)


def test_defaults_and_str():
    model = LightGCN(*SIZES, *random_graph().adjacency())
    assert (model.channels, model.num_layers, model.dropout, model.l2) == (128, 2, 0, 0)
    assert str(model) == 'LightGCN(6, 8, channels=128, num_layers=2)'
