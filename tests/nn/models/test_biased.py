"""Biases: what they add to scores, and where they have gradients."""

from __future__ import annotations

import json

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS, double_lightgcn, random_batch, random_graph

from iedr_geo.nn import MF, Biased

KINDS = [(True, False), (False, True), (True, True), (False, False)]

every_kind = pytest.mark.parametrize(('user', 'item'), KINDS)


def make(user: bool, item: bool, device='cpu', backbone=None) -> Biased:
    backbone = MF(NUM_USERS, NUM_ITEMS, 4) if backbone is None else backbone
    model = Biased(backbone, user, item).double().to(device)
    for bias in (model.user_bias, model.item_bias):
        if bias is not None:
            torch.nn.init.normal_(bias.weight)
    return model


def expected_scores(model: Biased) -> torch.Tensor:
    """The inner products of the backbone and the biases, for each user and item."""
    users, items = model.backbone.embeddings()
    scores = users @ items.t()
    if model.user_bias is not None:
        scores = scores + model.user_bias.weight
    if model.item_bias is not None:
        scores = scores + model.item_bias.weight.t()
    return scores


@every_kind
@pytest.mark.parametrize('backbone', ['mf', 'lightgcn'])
def test_scores(user, item, backbone, device, assert_same):
    inner = MF(NUM_USERS, NUM_ITEMS, 4)
    if backbone == 'lightgcn':
        inner = double_lightgcn(random_graph(), channels=4)
    model, batch = make(user, item, device, inner), random_batch(device=device)
    table, parameters = expected_scores(model), list(model.parameters())
    assert len(parameters) == 2 + user + item
    positive = table[batch.user, batch.item]
    assert_same(model.score(batch.user, batch.item), positive, parameters, 1e-12)
    wanted = positive, table[batch.user.unsqueeze(1), batch.negative]
    for one, two in zip(model.scores(batch), wanted, strict=True):
        assert_same(one, two, parameters, 1e-12)
    users, items = model.embeddings()
    assert users.shape == (NUM_USERS, model.channels)
    assert_same(users @ items.t(), table, parameters, 1e-12)


@every_kind
def test_loss_and_where_it_has_gradients(user, item, device, assert_same):
    model, batch = make(user, item, device), random_batch(device=device)
    table, terms = expected_scores(model), []
    for row, u in enumerate(batch.user.tolist()):
        for j in batch.negative[row].tolist():
            terms.append(-(table[u, batch.item[row]] - table[u, j]).sigmoid().log())
    loss, expected = model.losses(batch).total, sum(terms) / len(terms)
    assert_same(loss, expected, list(model.parameters()), 1e-12)
    loss.backward()
    if user:
        assert model.user_bias.weight.grad.abs().max() < 1e-15
    if item:
        moved = model.item_bias.weight.grad.view(-1)
        assert moved.abs().max() > 1e-3
        assert moved.sum().abs() < 1e-15  # What one item gains, another loses.


def test_user_bias_changes_no_ranking():
    with_user, without = make(True, True), make(False, True)
    without.load_state_dict(with_user.state_dict(), strict=False)
    one, two = (
        (users @ items.t()).argsort(dim=1)
        for users, items in (with_user.embeddings(), without.embeddings())
    )
    assert torch.equal(one, two)


@every_kind
@pytest.mark.parametrize('shape', [(), (5,), (2, 3), (0,)])
def test_any_shape(user, item, shape, device):
    model = make(user, item, device)
    u = torch.randint(NUM_USERS, shape, device=device)
    i = torch.randint(NUM_ITEMS, (*shape, 2), device=device)
    users, items = model.embeddings()
    one, two = model(u, i)
    assert one.shape == (*shape, 6)
    assert two.shape == (*shape, 2, 6)
    assert torch.equal(one, users[u])
    assert torch.equal(two, items[i])


@every_kind
def test_begins_without_biases(user, item):
    model = Biased(MF(NUM_USERS, NUM_ITEMS, 4), user, item)
    for _ in range(2):
        users, items = model.backbone.embeddings()
        ours, theirs = model.embeddings()
        torch.testing.assert_close(ours @ theirs.t(), users @ items.t())
        for parameter in model.parameters():
            parameter.data += 1
        changed = model.backbone.user.weight.clone()
        model.reset_parameters()
        assert (model.backbone.user.weight != changed).all()
    assert all((bias == 0).all() for bias in list(model.parameters())[2:])


@every_kind
def test_config_and_state_make_the_model_anew(user, item):
    model = make(user, item).float()
    config = json.loads(json.dumps(model.config))
    assert config == {'backbone': model.backbone.config, 'user': user, 'item': item}
    fresh = Biased(MF(**config.pop('backbone')), **config)
    fresh.load_state_dict(model.state_dict())
    pairs = zip(fresh.embeddings(), model.embeddings(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    assert fresh.losses(random_batch()).total.isfinite()


def test_both_by_default():
    model = Biased(MF(NUM_USERS, NUM_ITEMS))
    assert model.channels == 130
    assert model.config['user'] is model.config['item'] is True
