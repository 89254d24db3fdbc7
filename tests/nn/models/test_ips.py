"""Weights of inverse popularity, by hand, and what they do to the loss."""

import statistics

import pytest
import torch
from clicks import (
    BACKBONES,
    POPULARITY,
    make_backbone,
    random_batch,
    random_graph,
    vectors_by_hand,
)
from hypothesis import example, given
from hypothesis import strategies as st

from iedr_geo.nn import IPS, MF

WEIGHTINGS = ['plain', 'c', 'cn', 'cnsr']


def weights(popularity: list[int], weighting: str, exponent: float) -> list[float]:
    """Section 4.2.1, an item at a time."""
    popularity = [max(p, 1) for p in popularity]
    out = [max(popularity) / p for p in popularity]
    if weighting == 'plain':
        return out
    middle = statistics.median(out)
    out = [min(w, middle) for w in out]
    if weighting == 'c':
        return out
    if weighting == 'cnsr':
        out = [w**exponent for w in out]
    return [w / max(out) for w in out]


@example('plain', 0.5, [0, 7])
@example('cn', 0.5, [0, 0, 0])
@example('cnsr', 2, [1, 2, 4, 16, 8])
@given(
    st.sampled_from(WEIGHTINGS),
    st.sampled_from([0, 0.5, 1, 2]),
    st.lists(st.integers(0, 12), min_size=1, max_size=9),
)
def test_weights_of_any_popularity(weighting, exponent, popularity):
    """Also of an even number of items, and of items that no one has clicked."""
    backbone = MF(1, len(popularity), 2)
    expected = torch.tensor(weights(popularity, weighting, exponent)).float()
    for dtype in (torch.long, torch.double):
        model = IPS(backbone, torch.tensor(popularity, dtype=dtype), weighting, exponent)
        model.reset_parameters()
        torch.testing.assert_close(model.item_weight, expected)


@pytest.mark.parametrize('weighting', WEIGHTINGS)
@pytest.mark.parametrize('backbone', BACKBONES)
def test_loss_equals_loops(weighting, backbone, device, assert_same):
    graph, batch = random_graph(), random_batch(device=device)
    model = IPS(make_backbone(backbone, graph), POPULARITY, weighting).double()
    users, items = vectors_by_hand(model.to(device).backbone, graph)
    weight, terms = model.item_weight.tolist(), []
    assert len(set(weight)) > 1
    for row, user in enumerate(batch.user.tolist()):
        positive = int(batch.item[row])
        for item in batch.negative[row].tolist():
            lead = users[user] @ (items[positive] - items[item])
            terms.append(-weight[positive] * lead.sigmoid().log())
    losses = model.losses(batch)
    assert losses._fields == ('ranking', 'total')
    for loss in losses:
        assert_same(loss, sum(terms) / len(terms), list(model.parameters()), 1e-12)


def test_defaults():
    model = IPS(MF(1, 3, 2), torch.ones(3))
    assert (model.weighting, model.exponent) == ('cn', 0.5)
