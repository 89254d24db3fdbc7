"""What all models of users and items have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from clicks import (
    NUM_ITEMS,
    NUM_USERS,
    double_lightgcn,
    random_batch,
    random_graph,
)

from iedr_geo.loader import EdgeBatch
from iedr_geo.nn import DICE, IPS, MF, Biased, BipartiteModel, CausE

POPULARITY = torch.arange(NUM_ITEMS)
OVER: dict[str, Callable[[MF], BipartiteModel]] = {
    'alone': lambda backbone: backbone,
    'Biased': Biased,
    'CausE': CausE,
    'DICE': lambda backbone: DICE(backbone, POPULARITY),
    'IPS': lambda backbone: IPS(backbone, POPULARITY),
}
BACKBONES: dict[str, Callable[..., MF]] = {
    'MF': lambda **kwargs: MF(NUM_USERS, NUM_ITEMS, 4, **kwargs).double(),
    'LightGCN': lambda **kwargs: double_lightgcn(random_graph(), channels=4, **kwargs),
}

every_model = pytest.mark.parametrize('over', OVER)
every_backbone = pytest.mark.parametrize('backbone', BACKBONES)


def make(over: str, backbone: str, **kwargs) -> BipartiteModel:
    model = OVER[over](BACKBONES[backbone](**kwargs)).double()
    for bias in (getattr(model, 'user_bias', None), getattr(model, 'item_bias', None)):
        if bias is not None:
            torch.nn.init.normal_(bias.weight)
    return model


@every_model
@every_backbone
@pytest.mark.parametrize(
    ('of_users', 'of_items'),
    [
        ((), ()),
        ((5,), (5,)),
        ((5, 1), (7,)),
        ((5, 1), (5, 3)),
        ((3,), (2, 4, 3)),
        ((0, 1), (4,)),
    ],
)
def test_scores_of_indices_of_any_shapes(
    over, backbone, of_users, of_items, device, assert_same
):
    model = make(over, backbone).to(device)
    users, items = model.embeddings()
    assert users.shape == (NUM_USERS, model.channels)
    assert items.shape == (NUM_ITEMS, model.channels)
    user = torch.randint(NUM_USERS, of_users, device=device)
    item = torch.randint(NUM_ITEMS, of_items, device=device)
    scores, expected = model.score(user, item), (users @ items.t())[user, item]
    tensors = list(model.parameters()) if expected.numel() else []
    assert_same(scores, expected, tensors, 1e-12)
    one, two = model(user, item)
    assert_same(one, users[user], tol=1e-12)
    assert_same(two, items[item], tol=1e-12)


@every_model
@pytest.mark.parametrize(
    ('user', 'item'), [(NUM_USERS, 0), (-1, 0), (0, NUM_ITEMS), (0, -1)]
)
@every_backbone
def test_ids_out_of_range(user, item, over, backbone):
    """A user's number too large must not give an item's vector."""
    with pytest.raises(IndexError):
        make(over, backbone).score(torch.tensor([user]), torch.tensor([item]))


def total(model: BipartiteModel, batch: EdgeBatch) -> torch.Tensor:
    if hasattr(model, 'losses'):
        assert model.losses(batch)._fields[-1] == 'total'
        return model.losses(batch).total
    return sum(model.extra_losses(batch).values(), torch.zeros(()).double())


@every_model
@every_backbone
def test_regularisation_equals_loops(over, backbone, device, assert_same):
    """Of the tables, not of what is propagated; rows count as often as they occur."""
    model, batch = make(over, backbone, l2=0.3).to(device), random_batch(device=device)
    inner = next(part for part in model.modules() if isinstance(part, MF))
    inner.l2 = 0.0
    without = total(model, batch)
    inner.l2 = 0.3
    squares = 0.0
    for row, user in enumerate(batch.user.tolist()):
        squares = squares + (inner.user.weight[user] ** 2).sum()
        for item in (int(batch.item[row]), *batch.negative[row].tolist()):
            squares = squares + (inner.item.weight[item] ** 2).sum()
    penalty = 0.15 * squares / len(batch.user)
    parameters = list(model.parameters())
    assert_same(total(model, batch), without + penalty, parameters, 1e-12)
    assert (inner.extra_losses(batch)['regularization'] - penalty).abs() < 1e-12
    inner.l2 = 0.0
    assert inner.extra_losses(batch) == {}


@every_model
def test_reset_parameters(over):
    model = make(over, 'MF')
    before = [p.clone() for p in model.parameters()]
    model.reset_parameters()
    assert all((p != q).all() for p, q in zip(before, model.parameters(), strict=True))
