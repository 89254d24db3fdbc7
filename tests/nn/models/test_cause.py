"""CausE: which edge trains which table, and the loss in loops."""

import pytest
import torch
from clicks import (
    BACKBONES,
    NUM_ITEMS,
    NUM_USERS,
    make_backbone,
    random_batch,
    random_graph,
    vectors_by_hand,
)
from torch import Tensor

from iedr_geo.loader import EdgeBatch
from iedr_geo.nn import MF, CausE

Vectors = tuple[Tensor, Tensor]


def naive(control: Vectors, treatment: Vectors, batch: EdgeBatch) -> list[Tensor]:
    """A pair at a time, of users and items of both models."""
    terms, squares = {True: [], False: []}, {}
    for row, user in enumerate(batch.user.tolist()):
        kind = bool(batch.intervened[row])
        users, items = treatment if kind else control
        positive = int(batch.item[row])
        terms[kind].append(-(users[user] @ items[positive]).sigmoid().log())
        for item in batch.negative[row].tolist():
            terms[kind].append(-(1 - (users[user] @ items[item]).sigmoid()).log())
        for item in (positive, *batch.negative[row].tolist()):
            squares[item] = (control[1][item] - treatment[1][item]).square().mean()
    prediction = sum(sum(each) / len(each) for each in terms.values() if each)
    return [prediction, sum(squares.values()) / len(squares)]


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('num_negatives', [1, 3])
def test_equals_loops(backbone, num_negatives, device, assert_same):
    """With edges of both kinds, and of one. Vectors of either table are propagated."""
    graph, batch = random_graph(), random_batch(10, num_negatives, device)
    model = CausE(make_backbone(backbone, graph), 0.4).to(device)
    parameters = list(model.parameters())
    both = [vectors_by_hand(m, graph) for m in (model.backbone, model.treatment)]
    nothing = torch.zeros_like(batch.intervened)
    for intervened in (batch.intervened, nothing, ~nothing):
        batch = batch._replace(intervened=intervened)
        losses, expected = model.losses(batch), naive(*both, batch)
        assert losses._fields == ('prediction', 'discrepancy', 'total')
        assert_same(losses.prediction, expected[0], parameters, 1e-12)
        assert_same(losses.discrepancy, expected[1], parameters, 1e-12)
        total = expected[0] + 0.4 * expected[1]
        assert_same(losses.total, total, parameters, 1e-12)


def test_tables():
    """Users are shared, items are not, and the control predicts."""
    model = CausE(MF(NUM_USERS, NUM_ITEMS, 4))
    assert model.weight == 0.01
    assert model.backbone.user.weight is model.treatment.user.weight
    assert sum(p.numel() for p in model.parameters()) == 4 * (NUM_USERS + 2 * NUM_ITEMS)
    assert (model.backbone.item.weight != model.treatment.item.weight).all()


def test_batch_must_say_what_is_intervened():
    model = CausE(MF(NUM_USERS, NUM_ITEMS, 4))
    with pytest.raises(ValueError, match='which edges are intervened'):
        model.losses(random_batch()._replace(intervened=None))
