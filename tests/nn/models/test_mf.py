"""Matrix factorisation, and what all models of users and items have in common."""

from __future__ import annotations

import json
import math

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS, random_batch
from torch import Tensor

from iedr_geo.nn import MF


def make(device='cpu', **kwargs) -> MF:
    return MF(NUM_USERS, NUM_ITEMS, 4, **kwargs).double().to(device)


def ranking_loss(model: MF, batch) -> Tensor:
    """Row by row and negative by negative."""
    terms = []
    for row, user in enumerate(batch.user.tolist()):
        vector = model.user.weight[user]
        score = vector @ model.item.weight[batch.item[row]]
        for item in batch.negative[row].tolist():
            terms.append(-(score - vector @ model.item.weight[item]).sigmoid().log())
    return sum(terms) / len(terms)


@pytest.mark.parametrize('shape', [(), (5,), (3, 2), (0,)])
def test_vectors_are_rows_of_the_tables(shape, device):
    model = make(device)
    user = torch.randint(NUM_USERS, shape, device=device)
    item = torch.randint(NUM_ITEMS, (*shape, 3), device=device)
    users, items = model(user, item)
    assert torch.equal(users, model.user.weight[user])
    assert torch.equal(items, model.item.weight[item])


def test_scores_are_inner_products(device):
    model, batch = make(device), random_batch(device=device)
    table = model.user.weight @ model.item.weight.t()
    positive, negative = model.scores(batch)
    torch.testing.assert_close(positive, table[batch.user, batch.item])
    torch.testing.assert_close(negative, table[batch.user.unsqueeze(1), batch.negative])
    torch.testing.assert_close(model.score(batch.user, batch.item), positive)
    users, items = model.embeddings()
    assert torch.equal(users, model.user.weight)
    assert torch.equal(items, model.item.weight)
    assert model.factors == {}


@pytest.mark.parametrize('num_negatives', [1, 3])
def test_loss_equals_loops(num_negatives, device, assert_same):
    model, batch = make(device), random_batch(10, num_negatives, device)
    losses = model.losses(batch)
    assert losses.regularization == 0
    for loss in (losses.ranking, losses.total):
        assert_same(loss, ranking_loss(model, batch), list(model.parameters()), 1e-12)


def test_regularization_equals_loops(device, assert_same):
    """Rows count as often as they occur."""
    model, batch = make(device, l2=0.3), random_batch(device=device)
    squares = 0.0
    for row, user in enumerate(batch.user.tolist()):
        squares = squares + (model.user.weight[user] ** 2).sum()
        for item in (int(batch.item[row]), *batch.negative[row].tolist()):
            squares = squares + (model.item.weight[item] ** 2).sum()
    expected = 0.3 * squares / 2 / len(batch.user)
    losses, parameters = model.losses(batch), list(model.parameters())
    assert_same(losses.regularization, expected, parameters, 1e-12)
    ranking = ranking_loss(model, batch)
    assert_same(losses.ranking, ranking, parameters, 1e-12)
    assert_same(losses.total, ranking + expected, parameters, 1e-12)


def test_rows_outside_the_batch_have_no_gradient():
    model, batch = make(l2=0.1), random_batch()
    model.losses(batch).total.backward()
    moved = model.user.weight.grad.any(dim=1).nonzero().view(-1)
    assert set(moved.tolist()) == set(batch.user.tolist()) < set(range(NUM_USERS))
    named = set(batch.item.tolist()) | set(batch.negative.flatten().tolist())
    moved = model.item.weight.grad.any(dim=1).nonzero().view(-1)
    assert set(moved.tolist()) == named < set(range(NUM_ITEMS))


@pytest.mark.parametrize(
    ('kwargs', 'bound', 'std'),
    [
        ({}, 1 / 4, 1 / 4 / math.sqrt(3)),
        ({'bound': 0.03}, 0.03, 0.03 / math.sqrt(3)),
        ({'std': 0.1}, math.inf, 0.1),
        ({'std': 0.1, 'bound': 0.01}, math.inf, 0.1),
    ],
)
def test_initial_vectors(kwargs, bound, std):
    model = MF(400, 300, 16, **kwargs)
    before = [p.clone() for p in model.parameters()]
    for _ in range(2):
        for table in model.parameters():
            assert table.abs().max() <= bound
            if bound < math.inf:  # And no less than almost as far.
                assert table.abs().max() > 0.99 * bound
            else:
                assert table.abs().max() > 3 * std
            assert table.std().item() == pytest.approx(std, rel=0.05)
            assert abs(table.mean().item()) < 5 * std / table.numel() ** 0.5
        model.reset_parameters()
    assert all((a != b).any() for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize('kwargs', [{}, {'bound': 0.1, 'l2': 0.2}, {'std': 0.1}])
def test_config_and_state_make_the_model_anew(kwargs):
    model = MF(NUM_USERS, NUM_ITEMS, 4, **kwargs)
    config = json.loads(json.dumps(model.config))
    assert config == {'num_users': NUM_USERS, 'num_items': NUM_ITEMS, 'channels': 4} | {
        name: kwargs.get(name, default)
        for name, default in (('bound', None), ('std', None), ('l2', 0))
    }
    fresh = MF(**config)
    fresh.load_state_dict(model.state_dict())
    batch = random_batch()
    assert fresh.losses(batch).total == model.losses(batch).total
    assert fresh.config == model.config


@pytest.mark.parametrize(('user', 'item'), [(NUM_USERS, 0), (-1, 0), (0, NUM_ITEMS)])
def test_ids_out_of_range(user, item):
    with pytest.raises(IndexError):
        make()(torch.tensor([user]), torch.tensor([item]))


def test_defaults_and_str():
    model = MF(5, 7)
    assert [tuple(p.shape) for p in model.parameters()] == [(5, 128), (7, 128)]
    assert model.channels == 128
    assert str(model) == 'MF(5, 7, channels=128)'
