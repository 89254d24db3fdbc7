"""Auto-encoders against their dense forms, user by user and item by item."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from clicks import NUM_ITEMS, NUM_USERS, random_graph
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import UserBatch, UserLoader
from iedr_geo.nn import AutoEncoder, MacridVAE, MultDAE, MultVAE

MODELS = {
    'MacridVAE': lambda **kwargs: MacridVAE(NUM_ITEMS, 3, 4, **kwargs),
    'MacridVAE dot': lambda **kwargs: MacridVAE(
        NUM_ITEMS, 3, 4, similarity='dot', **kwargs
    ),
    'MultDAE': lambda **kwargs: MultDAE(NUM_ITEMS, 4, **kwargs),
    'MultVAE': lambda **kwargs: MultVAE(NUM_ITEMS, 3, 4, **kwargs),
}
every_model = pytest.mark.parametrize('name', MODELS)
SEED = 7


def make(name: str, device='cpu', **kwargs) -> AutoEncoder:
    model = MODELS[name](**kwargs).double().to(device)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def whole(graph: BipartiteGraph, epoch: float = 0.5) -> UserBatch:
    return UserBatch.from_graph(graph, torch.arange(graph.num_users), epoch)


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def dense_macrid(model: MacridVAE, batch: UserBatch, training: bool):
    """Scores of all items, and the divergence of each user (Algorithm 1)."""
    similar = unit if model.similarity == 'cosine' else lambda x: x
    item, prototype = similar(model.item.weight), similar(model.prototype)
    logits = item @ prototype.t() / model.tau
    if training:
        logits = logits - torch.empty_like(logits).exponential_().log()
    c = logits.softmax(dim=1)
    if not training and model.hard_assignment:
        c = F.one_hot(logits.argmax(dim=1), model.num_concepts).to(c)
    keep = torch.ones(len(batch.row), model.num_concepts, dtype=c.dtype)
    if training:
        keep = F.dropout(keep, model.dropout)
        noise = torch.randn(len(batch.user), *model.prototype.shape, dtype=c.dtype)
    scores, divergences = [], []
    for u in range(len(batch.user)):
        own = batch.item[batch.row == u]
        score, divergence = torch.zeros(len(item), dtype=c.dtype), 0
        for k in range(model.num_concepts):
            weight = c[own, k] / c[own, k].square().sum().clamp(min=1e-12).sqrt()
            weight = weight * keep[batch.row == u, k]
            x = (weight.unsqueeze(1) * model.history.weight[own]).sum(dim=0)
            a, b = model.code((x + model.history_bias).tanh()).chunk(2)
            z = unit(a)
            if training:
                z = z + noise[u, k] * model.sigma * (-b / 2).exp()
            variance = (-b).exp()
            divergence = divergence + (variance - 1 - variance.log()).sum() / 2
            score = score + c[:, k] * (item @ similar(z) / model.tau).exp()
        scores.append(score)
        divergences.append(divergence)
    return torch.stack(scores), torch.stack(divergences)


def dense_mult(model, batch: UserBatch, training: bool):
    """Exponentials of the logits of all items, and the divergence of each user."""
    weight = torch.ones(len(batch.row), 1, dtype=model.history.weight.dtype)
    degree = torch.bincount(batch.row, minlength=len(batch.user)).to(weight)
    weight = weight / degree[batch.row].sqrt().unsqueeze(1)
    if training:
        weight = F.dropout(weight, model.dropout)
    sums = torch.stack(
        [
            (weight[batch.row == u] * model.history.weight[batch.item[batch.row == u]])
            .sum(dim=0)
            for u in range(len(batch.user))
        ]
    )  # fmt: skip
    hidden, divergence = (sums + model.history_bias).tanh(), torch.zeros(len(sums))
    if isinstance(model, MultVAE):
        mean, log_variance = model.code(hidden).chunk(2, dim=1)
        divergence = mean**2 + log_variance.exp() - 1 - log_variance
        divergence = divergence.sum(dim=1) / 2
        if training:
            mean = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        hidden = model.decoder(mean).tanh()
    logits = hidden @ model.item.weight.t() + model.item_bias.weight.t()
    return logits.exp(), divergence


def dense(model, batch, training=False):
    form = dense_macrid if isinstance(model, MacridVAE) else dense_mult
    return form(model, batch, training)


@every_model
@pytest.mark.parametrize('epoch', [0.5, 2.0])
def test_losses(name, epoch, assert_same):
    """With the same noise: values and gradients, also of a user without items."""
    model, batch = make(name).train(), whole(random_graph(30), epoch)
    torch.manual_seed(SEED)
    found = model.losses(batch)
    torch.manual_seed(SEED)
    scores, divergence = dense(model, batch, training=True)
    log_p = (scores / scores.sum(dim=1, keepdim=True)).log()
    loss = -log_p[batch.row, batch.item].sum() / NUM_USERS
    beta = 0.0 if name == 'MultDAE' else min(0.2, epoch / 5)
    parameters = list(model.parameters())
    assert_same(found.reconstruction, loss, parameters[:2], 1e-9)
    assert_same(found.divergence, divergence.double().mean(), [], 1e-9)
    total = loss + beta * divergence.mean()
    assert_same(found.total, total, parameters, 1e-9)


@pytest.mark.parametrize(
    ('name', 'hard'), [*((name, False) for name in MODELS), ('MacridVAE', True)]
)
def test_scores(name, hard):
    """In the order of the logits; by their parts where items have concepts."""
    model, batch = make(name).eval(), whole(random_graph())
    model.hard_assignment = hard
    expected, _ = dense(model, batch)
    if name.startswith('Mult'):
        expected = expected.log()
    encoded = model.encode(batch)
    torch.testing.assert_close(model.decode(encoded), expected)
    items = torch.tensor([5, 0, 5])
    torch.testing.assert_close(model.decode(encoded, items), expected[:, items])
    each = torch.randint(NUM_ITEMS, (NUM_USERS, 2))
    torch.testing.assert_close(model.decode(encoded, each), expected.gather(1, each))
    if name.startswith('Macrid'):
        parts = model.decode_parts(encoded, each)
        assert tuple(parts) == model.parts
        torch.testing.assert_close(sum(parts.values()), expected.gather(1, each))
        assert not hard or all((part == 0).any() for part in parts.values())


@every_model
def test_names_of_users_and_items_do_not_matter(name):
    """Nor does the order of a user's items."""
    model, graph = make(name).eval(), random_graph()
    scores = model.decode(model.encode(whole(graph)))
    user, item = torch.randperm(NUM_USERS), torch.randperm(NUM_ITEMS)
    renamed = make(name).eval()
    renamed.load_state_dict(model.state_dict())
    with torch.no_grad():
        for table in ('history', 'item', 'item_bias'):
            if hasattr(model, table):
                rows = getattr(model, table).weight
                getattr(renamed, table).weight[item] = rows
    size = NUM_USERS, NUM_ITEMS
    other = BipartiteGraph(user[graph.user], item[graph.item], *size)
    found = renamed.decode(renamed.encode(whole(other)))
    torch.testing.assert_close(found[user][:, item], scores)


@pytest.mark.parametrize('name', ['MultDAE', 'MacridVAE'])
def test_all_items_drawn_are_the_whole_sum(name, assert_same):
    """Where every item is drawn, the estimate is exact."""
    batch = whole(random_graph(30))
    exact = make(name, dropout=0.0)
    drawn = make(name, dropout=0.0, num_sampled=4000)
    drawn.load_state_dict(exact.state_dict())
    for model in (exact, drawn):
        model.training = name == 'MultDAE'  # The draws of the other differ.
    one, two = exact.losses(batch), drawn.losses(batch)
    torch.testing.assert_close(two.total, one.total)
    one.total.backward()
    two.total.backward()
    for own, other in zip(exact.parameters(), drawn.parameters(), strict=True):
        grad = other.grad.to_dense() if other.grad.is_sparse else other.grad
        torch.testing.assert_close(grad, own.grad)


def test_estimate_of_the_sum():
    """Unbiased: its mean over many draws is the sum."""
    model, graph = make('MultDAE', dropout=0.0, num_sampled=5), random_graph(30)
    batch = UserBatch.from_graph(graph, torch.tensor([1]))
    scores, _ = dense_mult(model, batch, training=False)
    own = scores[0, batch.item].log()
    losses = torch.stack([model.losses(batch).total.detach() for _ in range(1000)])
    found = ((losses + own.sum()) / len(own)).exp()
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - scores.sum()) < 4 * error
    assert error < 0.1 * scores.sum()


def test_gradients_of_draws_are_of_their_rows():
    """Sparse, and of the items of the batch and those that were drawn alone."""
    model = MacridVAE(5000, 3, 4, num_sampled=20)
    graph = BipartiteGraph(torch.tensor([0, 0, 1]), torch.tensor([3, 4999, 70]), 2, 5000)
    model.losses(whole(graph)).total.backward()
    for table in (model.history, model.item):
        rows = set(table.weight.grad.coalesce().indices().view(-1).tolist())
        assert {3, 70, 4999} <= rows and 10 < len(rows) <= 23


def test_annealing():
    """By the share of the epochs that have gone, as far as to the weight itself."""
    model, graph = make('MacridVAE'), random_graph()
    assert [model.annealed_beta(e) for e in (0, 0.5, 0.75, 1, 99, float('inf'))] == (
        pytest.approx([0, 0.1, 0.15, 0.2, 0.2, 0.2])
    )
    assert make('MacridVAE', anneal_epochs=0).annealed_beta(0) == 0.2
    loader = UserLoader(graph, 2)
    loader.set_epoch(3)
    number = len(loader)
    assert [batch.epoch for batch in loader] == [3 + i / number for i in range(number)]


def test_concepts_are_given_up():
    """Those whose items are those of an earlier one, when an epoch begins; for good."""
    model, batch = make('MacridVAE', min_divergence=0.05), whole(random_graph())
    with torch.no_grad():
        model.prototype[2] = model.prototype[0] + 1e-3
    model.losses(batch._replace(epoch=0.0))
    model.losses(batch._replace(epoch=1.5))
    assert not model.is_given_up.any()
    model.losses(batch._replace(epoch=1.0))
    assert model.is_given_up.tolist() == [False, False, True]
    assert not model.eval().assignment()[:, 2].any()
    again = make('MacridVAE')
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.eval().assignment(), model.assignment())
    assert model.decode(model.encode(batch)).isfinite().all()
    with torch.no_grad():
        model.prototype[:] = model.prototype[:1]
    model.train().losses(batch._replace(epoch=2.0))
    assert model.is_given_up.tolist() == [False, True, True]


def test_assignment_is_drawn_once_a_step():
    """The same for all users, and for what is read and what is recommended."""
    model = make('MacridVAE')
    drawn = [model._log_assignment(model.item.weight).exp() for _ in range(2000)]
    mean, exact = torch.stack(drawn).mean(dim=0), model.eval().assignment()
    # The mean of a draw at temperature 1 is near the probabilities, in their order.
    assert (mean - exact).abs().max() < 0.35
    assert torch.corrcoef(torch.stack([mean.flatten(), exact.flatten()]))[0, 1] > 0.95
    assert all((each.sum(dim=1) - 1).abs().max() < 1e-9 for each in drawn[:10])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_concepts': NUM_ITEMS + 1}, 'num_concepts'),
        ({'num_concepts': 0}, 'num_concepts'),
        ({'similarity': 'euclid'}, 'similarity.*cosine, dot'),
        ({'tau': 0}, 'tau'),
        ({'sigma': -1.0}, 'sigma'),
        ({'num_sampled': 0}, 'num_sampled'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MacridVAE(NUM_ITEMS, **arguments)


@every_model
def test_users_without_items(name):
    """Are defined: all alike, and finite."""
    model = make(name).eval()
    nobody = BipartiteGraph(*torch.empty(2, 0, dtype=torch.long), NUM_USERS, NUM_ITEMS)
    scores = model.decode(model.encode(whole(nobody)))
    assert scores.isfinite().all()
    for one, two in itertools.pairwise(scores):
        torch.testing.assert_close(one, two)
