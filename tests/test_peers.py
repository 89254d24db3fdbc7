"""The peers that IEDR is compared with are what their papers say."""

import inspect
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from iedr_geo.data import BipartiteGraph, CandidateLists
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionBatch
from iedr_geo.scoring import Queries, scorer
from iedr_geo.testing import check_interaction_model, toy_batch, toy_dataset

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parents[1] / 'benchmarks')
    from peers import PEERS, ease, tuned_ease
    from peers.fields import Fields, of_rows
    from peers.network_embedding import netmf, prone

SIDES = ('user', 'item', 'context')
TRAINED = [name for name in PEERS if name != 'ease']
DATA = toy_dataset()


@pytest.fixture
def batch() -> InteractionBatch:
    return toy_batch()


def peer(name: str, **sizes: int) -> torch.nn.Module:
    torch.manual_seed(0)
    model = PEERS[name](DATA, channels=4, **sizes).double()
    for parameter in model.parameters():  # Zero at first are numbers of single features.
        parameter.data.add_(torch.randn_like(parameter) / 4)
    return model


def node_vectors(table, graphs, graph: int) -> list[tuple[int, torch.Tensor]]:
    """Returns the row of each node of a graph, and its vector."""
    nodes = range(*graphs.ptr[graph : graph + 2].tolist())
    value = graphs.get('value')
    factors = [1.0 if value is None else value[node].double() for node in nodes]
    rows = graphs.x[nodes.start : nodes.stop].tolist()
    return [(r, f * table[r]) for r, f in zip(rows, factors, strict=True)]


def field_vectors(table, batch: InteractionBatch, row: int) -> list[torch.Tensor]:
    """Returns the vectors of the fields of one row, written out."""
    found = []
    for side in SIDES:
        graph = int(getattr(batch, f'{side}_graph')[row])
        nodes = node_vectors(table, getattr(batch, side), graph)
        bounds = [*DATA.schema.offsets(side).values(), 10**9]
        for low, high in itertools.pairwise(bounds):
            own = [vector for r, vector in nodes if low <= r < high]
            found.append(sum(own) / len(own))
    return found


@pytest.mark.parametrize('name', TRAINED)
def test_contract(name):
    check_interaction_model(PEERS[name](DATA, channels=4), DATA)
    if 'num_layers' in inspect.signature(PEERS[name]).parameters:
        check_interaction_model(PEERS[name](DATA, channels=4, num_layers=1), DATA)


def test_fields(batch):
    fields = Fields(DATA.schema, 3).double()
    wanted = [field_vectors(fields.embedding.weight, batch, r) for r in range(len(batch))]
    expected = torch.stack([torch.stack(row) for row in wanted])
    torch.testing.assert_close(of_rows(fields(batch)), expected)
    # Tags are many, and ages are numbers.
    assert batch.item.x.numel() > 2 * batch.item.num_graphs
    assert (batch.user.value != 1).any()


def first_order(model, batch, row):
    numbers = field_vectors(model.linear.fields.embedding.weight, batch, row)
    return sum(numbers).squeeze() + model.linear.bias


def second_order(model, batch, row):
    vectors = field_vectors(model.fields.embedding.weight, batch, row)
    return sum(a @ b for a, b in itertools.combinations(vectors, 2))


def deep(model, batch, row):
    """Returns the last layer of the network beside the rest."""
    x = torch.cat(field_vectors(model.fields.embedding.weight, batch, row))
    layers = [model.network.first, *model.network.rest.lins]
    last = model.network.rest.plain_last
    for i, layer in enumerate(layers):
        x = layer.weight @ x + layer.bias
        if not (last and i == len(layers) - 1):
            x = x.clamp(min=0)
    return x.squeeze()


def crosses(model, batch, row):
    first = x = torch.cat(field_vectors(model.fields.embedding.weight, batch, row))
    for cross in model.crosses:
        x = first * (cross.weight @ x + cross.bias) + x
    return model.out(torch.cat([x, deep(model, batch, row)])).squeeze()


def attention(model, batch, row):
    vectors = field_vectors(model.fields.embedding.weight, batch, row)
    for layer in model.attention:
        query, key, value, own = layer.linear.weight.chunk(4)
        after = []
        for one in vectors:
            heads = []
            for head in range(2):
                q, k, v = (w[2 * head : 2 * head + 2] for w in (query, key, value))
                weight = torch.stack([(q @ one) @ (k @ other) for other in vectors])
                weight = weight.exp() / weight.exp().sum()
                heads.append(
                    sum(w * (v @ other) for w, other in zip(weight, vectors, strict=True))
                )
            after.append((torch.cat(heads) + own @ one).clamp(min=0))
        vectors = after
    return model.out(torch.cat(vectors)).squeeze()


WRITTEN_OUT = {
    'fm': [first_order, second_order],
    'deepfm': [first_order, second_order, deep],
    'wdl': [first_order, deep],
    'dcnv2': [crosses],
    'autoint': [attention, deep],
}


@pytest.mark.parametrize('name', WRITTEN_OUT)
def test_written_out(name, batch):
    model = peer(name)
    actual = model(batch)
    for row in range(0, len(batch), 5):
        terms = [term(model, batch, row) for term in WRITTEN_OUT[name]]
        assert all(term.abs() > 1e-3 for term in terms)
        torch.testing.assert_close(actual[row], sum(terms))


def test_towers_meet_in_a_product_alone(batch):
    model = peer('twotower')
    logits = model(batch.cross(torch.arange(batch.item.num_graphs)))
    values = torch.linalg.svdvals(logits.view(len(batch), -1))
    assert values[3] > 1e-3 and values[4] < 1e-10  # Of four channels.


@pytest.mark.parametrize('name', ['lightgcn', 'ease'])
def test_without_context(name, batch):
    model = PEERS[name](DATA, **({'l2': 2.0} if name == 'ease' else {}))
    other = InteractionBatch.from_ids(
        DATA, batch.user_id, batch.item_id, batch.context_id.flip(0)
    )
    assert not torch.equal(other.context_id, batch.context_id)
    torch.testing.assert_close(model(other), model(batch))


def regressions(x: torch.Tensor, l2: float) -> torch.Tensor:
    """Returns the weights of the regression of each item on the others, written out."""
    weight = torch.zeros(x.size(1), x.size(1), dtype=x.dtype)
    for item in range(x.size(1)):
        others = torch.arange(x.size(1)) != item
        known = x[:, others]
        gram = known.t() @ known + l2 * torch.eye(known.size(1))
        weight[others, item] = torch.linalg.solve(gram, known.t() @ x[:, item])
    return weight


def test_ease_is_a_regression_of_each_item_on_the_others(batch):
    x = torch.zeros(DATA.num_users, DATA.num_items, dtype=torch.double)
    x[DATA.user, DATA.item] = 1.0
    expected = x @ regressions(x, 2.0)
    actual = PEERS['ease'](DATA, l2=2.0)(batch)
    torch.testing.assert_close(actual, expected[batch.user_id, batch.item_id].float())


def test_ease_makes_strangers_of_their_items():
    generator = torch.Generator().manual_seed(0)
    x, had = (torch.rand(2, 9, 6, generator=generator) < 0.4).double()
    had[2] = 0
    train, history = (BipartiteGraph(*m.nonzero().t(), 9, 6) for m in (x, had))
    found = scorer(ease.EASE(train, l2=0.5), history)
    users = torch.tensor([3, 2, 8, 3])
    expected = (had @ regressions(x, 0.5)).float()[users]
    torch.testing.assert_close(found.scores(Queries(users)), expected)
    items = torch.tensor([[5, 0], [1, 1], [2, 4], [0, 3]])
    for some in items, items[0]:
        actual = found.scores(Queries(users), some)
        wanted = expected.gather(1, some.expand(4, -1))
        torch.testing.assert_close(actual, wanted)


def dense_netmf(a: np.ndarray, channels: int) -> np.ndarray:
    step = a / a.sum(axis=1, keepdims=True)
    powers = sum(np.linalg.matrix_power(step, r) for r in range(1, 11))
    matrix = np.log(np.maximum(a.sum() / 10 * powers / a.sum(axis=1), 1))
    left, values, _ = np.linalg.svd(matrix)
    return left[:, :channels] * np.sqrt(values[:channels])


def dense_prone(a: np.ndarray, channels: int) -> np.ndarray:
    def leading(matrix):
        left, values, _ = np.linalg.svd(matrix)
        vectors = left[:, :channels] * np.sqrt(values[:channels])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    share, unit = a / a.sum(axis=1, keepdims=True), np.eye(len(a))
    negative = share.sum(axis=0) ** 0.75
    logs = np.log(np.where(a > 0, share, 1) / (negative / negative.sum()))
    vectors = leading(np.where(a > 0, logs, 0))
    with_loops = a + unit
    laplacian = unit - with_loops / with_loops.sum(axis=1, keepdims=True)
    shifted = laplacian - 0.2 * unit
    # What the Chebyshev polynomials expand.
    filtered = expm(-0.5 * (shifted @ shifted / 2 - unit)) @ vectors
    return leading(with_loops @ (vectors - filtered))


@pytest.mark.parametrize(('embed', 'dense'), [(netmf, dense_netmf), (prone, dense_prone)])
def test_network_embeddings_are_those_of_dense_matrices(embed, dense):
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(9, 7, generator=generator) < 0.5).double()
    a = np.zeros((16, 16))
    a[:9, 9:], a[9:, :9] = x, x.t()
    model = embed(BipartiteGraph(*x.nonzero().t(), 9, 7), channels=5)
    vectors = dense(a, 5)
    # But for signs, which no product of two of them has.
    found = torch.cat(model.embeddings()).numpy()
    np.testing.assert_allclose(found @ found.T, vectors @ vectors.T, atol=1e-5)
    scores = model.score(torch.arange(9).unsqueeze(1), torch.arange(7)).numpy()
    np.testing.assert_allclose(scores, (vectors @ vectors.T)[:9, 9:], atol=1e-5)


def test_regularisation_of_ease_is_chosen_on_validation():
    data = PlantedFactors(num_users=200, num_items=200, num_interactions=6000)
    train, valid, *_ = data.split()
    lists = CandidateLists.sample(valid, num_negatives=49)
    settings, result = tuned_ease(train, valid, lists)
    values = [epoch['ndcg@10'] for epoch in result.history]
    assert values[0] < max(values) == values[result.best_epoch]
    assert settings['arguments'] == {'l2': result.history[result.best_epoch]['l2']}
    metrics = evaluate_candidates(result.model, valid, lists).metrics
    assert metrics['ndcg@10'] == max(values)
