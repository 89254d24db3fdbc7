"""Biases: what they add to scores, and where they have gradients."""

from __future__ import annotations

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS, double_lightgcn, random_batch, random_graph

from iedr_geo.nn import MF, Biased, bpr_loss

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
    users, items = model.embeddings()
    assert users.shape == (NUM_USERS, model.channels)
    assert_same(users @ items.t(), table, parameters, 1e-12)


@every_kind
def test_where_a_pairwise_loss_has_gradients(user, item, device):
    model, batch = make(user, item, device), random_batch(device=device)
    scores = model.score(batch.user.unsqueeze(1), batch.candidates)
    bpr_loss(scores[:, 0], scores[:, 1:]).backward()
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


def test_both_by_default():
    model = Biased(MF(NUM_USERS, NUM_ITEMS))
    assert model.channels == 130
    assert model.config['user'] is model.config['item'] is True
