"""Weights of inverse popularity, by hand, and what they do to the loss."""

from __future__ import annotations

import statistics

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
from hypothesis import example, given
from hypothesis import strategies as st

from iedr_geo.nn import IPS, MF

WEIGHTINGS = ['plain', 'c', 'cn', 'cnsr']
POPULARITY = torch.tensor([9, 4, 4, 0, 2, 2, 2, 30])

every_weighting = pytest.mark.parametrize('weighting', WEIGHTINGS)


def weights(popularity, weighting: str, exponent: float = 0.5) -> list[float]:
    """Section 4.2.1, an item at a time."""
    largest = max(popularity)
    out = [largest / max(p, 1) for p in popularity]
    if weighting == 'plain':
        return out
    middle = statistics.median(out)
    out = [min(w, middle) for w in out]
    if weighting == 'c':
        return out
    if weighting == 'cnsr':
        out = [w**exponent for w in out]
    return [w / max(out) for w in out]


@pytest.mark.parametrize(
    ('weighting', 'exponent', 'expected'),
    [
        ('plain', 0.5, [16, 8, 4, 1, 2]),
        ('c', 0.5, [4, 4, 4, 1, 2]),
        ('cn', 0.5, [1, 1, 1, 0.25, 0.5]),
        ('cnsr', 0.5, [1, 1, 1, 0.5, 0.5**0.5]),
        ('cnsr', 1, [1, 1, 1, 0.25, 0.5]),
        ('cnsr', 2, [1, 1, 1, 0.0625, 0.25]),
        ('cnsr', 0, [1, 1, 1, 1, 1]),
    ],
)
def test_weights_by_hand(weighting, exponent, expected):
    popularity = torch.tensor([1, 2, 4, 16, 8])
    for p in (popularity, popularity.double()):
        model = IPS(MF(3, 5, 2), p, weighting, exponent)
        torch.testing.assert_close(model.item_weight, torch.tensor(expected).float())


@example('plain', [0, 7])
@given(
    st.sampled_from(WEIGHTINGS),
    st.lists(st.integers(0, 12), min_size=1, max_size=9).filter(any),
)
def test_weights_of_any_popularity(weighting, popularity):
    """Also of an even number of items, and of items that no one has clicked."""
    actual = IPS(MF(1, len(popularity), 2), torch.tensor(popularity), weighting)
    expected = torch.tensor(weights(popularity, weighting))
    torch.testing.assert_close(actual.item_weight, expected)
    if weighting in ('cn', 'cnsr'):
        assert actual.item_weight.max() == 1


@every_weighting
def test_nothing_clicked_is_no_nan(weighting):
    weight = IPS(MF(1, 3, 2), torch.zeros(3, dtype=torch.long), weighting).item_weight
    assert weight.isfinite().all()


@every_weighting
@pytest.mark.parametrize('backbone', ['mf', 'lightgcn'])
def test_loss_equals_loops(weighting, backbone, device, assert_same):
    graph, batch = random_graph(), random_batch(device=device)
    mf = MF(NUM_USERS, NUM_ITEMS, 4)
    inner = mf if backbone == 'mf' else double_lightgcn(graph, channels=4, num_layers=1)
    model = IPS(inner, POPULARITY, weighting).double().to(device)
    users, items = inner.user.weight, inner.item.weight
    if backbone == 'lightgcn':
        table = torch.cat([users, items])
        table = (table + dense_adjacency(graph).to(device) @ table) / 2
        users, items = table.split([NUM_USERS, NUM_ITEMS])
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


def test_weights_stay_what_they_were():
    model = IPS(MF(NUM_USERS, NUM_ITEMS, 4), POPULARITY)
    assert model.weighting == 'cn'
    before = model.item_weight.clone()
    model.reset_parameters()
    assert torch.equal(model.item_weight, before)


@pytest.mark.parametrize(
    ('popularity', 'weighting', 'message'),
    [
        (POPULARITY, 'CN', "plain, c, cn, cnsr .*'CN'"),
        (POPULARITY[:7], 'cn', r'shape \(8\) \(got \(7,\)\)'),
        (POPULARITY.unsqueeze(0), 'cn', r'shape \(8\) \(got \(1, 8\)\)'),
    ],
)
def test_bad_arguments(popularity, weighting, message):
    with pytest.raises(ValueError, match=message):
        IPS(MF(NUM_USERS, NUM_ITEMS, 4), popularity, weighting)
