"""CausE: which edge trains which table, and the loss in loops."""

from __future__ import annotations

import pytest
import torch
from clicks import (
    NUM_ITEMS,
    NUM_USERS,
    dense_adjacency,
    double_lightgcn,
    random_batch,
    random_graph,
)
from torch import Tensor

from iedr_geo.nn import MF, CausE


def make(device='cpu', weight=0.4) -> CausE:
    return CausE(MF(NUM_USERS, NUM_ITEMS, 4), weight).double().to(device)


def naive(users: Tensor, control: Tensor, treatment: Tensor, batch) -> list[Tensor]:
    """A pair at a time: users, and items of both tables."""
    terms, squares = {True: [], False: []}, {}
    for row, user in enumerate(batch.user.tolist()):
        kind = bool(batch.intervened[row])
        table = treatment if kind else control
        positive = int(batch.item[row])
        terms[kind].append(-(users[user] @ table[positive]).sigmoid().log())
        for item in batch.negative[row].tolist():
            terms[kind].append(-(1 - (users[user] @ table[item]).sigmoid()).log())
        for item in (positive, *batch.negative[row].tolist()):
            squares[item] = (control[item] - treatment[item]).square().mean()
    prediction = sum(sum(each) / len(each) for each in terms.values() if each)
    return [prediction, sum(squares.values()) / len(squares)]


@pytest.mark.parametrize('num_negatives', [1, 3])
def test_equals_loops(num_negatives, device, assert_same):
    model, batch = make(device), random_batch(10, num_negatives, device)
    tables = model.backbone.user, model.backbone.item, model.treatment.item
    prediction, discrepancy = naive(*(t.weight for t in tables), batch)
    losses, parameters = model.losses(batch), list(model.parameters())
    assert losses._fields == ('prediction', 'discrepancy', 'total')
    assert_same(losses.prediction, prediction, parameters, 1e-12)
    assert_same(losses.discrepancy, discrepancy, parameters, 1e-12)
    assert_same(losses.total, prediction + 0.4 * discrepancy, parameters, 1e-12)


def test_equals_loops_on_propagated_vectors(device, assert_same):
    """Users of the treatment are propagated with its items."""
    graph, batch = random_graph(), random_batch(device=device)
    model = CausE(double_lightgcn(graph, channels=3, num_layers=1), 0.4).to(device)
    adjacency = dense_adjacency(graph).to(device)
    sides = []
    for part in (model.backbone, model.treatment):
        table = torch.cat([model.backbone.user.weight, part.item.weight])
        sides.append(((table + adjacency @ table) / 2).split([NUM_USERS, NUM_ITEMS]))
    (users, control), (treated_users, treatment) = sides
    rows, prediction = batch.intervened, 0
    for mask, own in ((rows, treated_users), (~rows, users)):
        part = batch._replace(
            user=batch.user[mask],
            item=batch.item[mask],
            negative=batch.negative[mask],
            intervened=rows[mask],
        )
        prediction = prediction + naive(own, control, treatment, part)[0]
    discrepancy = naive(users, control, treatment, batch)[1]
    losses, parameters = model.losses(batch), list(model.parameters())
    assert_same(losses.prediction, prediction, parameters, 1e-12)
    assert_same(losses.discrepancy, discrepancy, parameters, 1e-12)
    for one, two in zip(model.embeddings(), (users, control), strict=True):
        assert_same(one, two, parameters[:2], 1e-12)


@pytest.mark.parametrize('intervened', [False, True])
def test_an_edge_trains_the_table_of_its_kind(intervened):
    model, batch = make(), random_batch()
    batch = batch._replace(intervened=torch.full((10,), intervened))
    model.losses(batch).prediction.backward()
    grads = model.backbone.item.weight.grad, model.treatment.item.weight.grad
    trained, other = reversed(grads) if intervened else grads
    assert other is None or not other.any()
    named = {*batch.item.tolist(), *batch.negative.flatten().tolist()}
    assert set(trained.any(dim=1).nonzero().view(-1).tolist()) == named
    moved = model.backbone.user.weight.grad.any(dim=1).nonzero().view(-1)
    assert set(moved.tolist()) == set(batch.user.tolist())


def test_rows_train_by_kind_within_a_batch():
    model = make()
    batch = random_batch(2, 1)._replace(
        item=torch.tensor([0, 1]),
        negative=torch.tensor([[2], [3]]),
        intervened=torch.tensor([False, True]),
    )
    model.losses(batch).prediction.backward()
    for part, items in ((model.backbone, [0, 2]), (model.treatment, [1, 3])):
        grad = part.item.weight.grad.any(dim=1)
        assert grad.nonzero().view(-1).tolist() == items


def test_discrepancy_pulls_the_tables_together():
    model, batch = make(), random_batch()
    one, two = model.backbone.item.weight, model.treatment.item.weight
    model.losses(batch).discrepancy.backward()
    torch.testing.assert_close(one.grad, -two.grad)
    # Descent of the control is towards the treatment, in proportion.
    named = one.grad.any(dim=1)
    ratio = one.grad[named] / (one - two)[named]
    assert (ratio > 0).all()
    assert not named.all()
    assert model.backbone.user.weight.grad is None


def test_tables():
    """Users are shared, items are not, and both tables of items can begin anew."""
    backbone = MF(NUM_USERS, NUM_ITEMS, 4, std=0.1)
    pretrained = [p.clone() for p in backbone.parameters()]
    model = CausE(backbone)
    # The backbone stays what it was.
    assert all(map(torch.equal, pretrained, model.backbone.parameters()))
    assert model.backbone.user.weight is model.treatment.user.weight
    assert sum(p.numel() for p in model.parameters()) == 4 * (NUM_USERS + 2 * NUM_ITEMS)
    before = [p.clone() for p in model.parameters()]
    assert (model.backbone.item.weight != model.treatment.item.weight).all()
    model.reset_parameters()
    for one, two in zip(before, model.parameters(), strict=True):
        assert (one != two).all()
        assert 0.02 < two.std() < 0.3


def test_control_predicts(device):
    model, batch = make(device), random_batch(device=device)
    for one, two in zip(model.embeddings(), model.backbone.embeddings(), strict=True):
        assert torch.equal(one, two)
    before = model.score(batch.user, batch.item)
    model.treatment.item.weight.data.zero_()
    assert torch.equal(model.score(batch.user, batch.item), before)


def test_batch_must_say_what_is_intervened():
    with pytest.raises(ValueError, match='which edges are intervened'):
        make().losses(random_batch()._replace(intervened=None))
