"""Invariance and shares of variance against loops, and where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.analysis import context_invariance, variance_shares
from iedr_geo.analysis.measures.invariance import (
    first_rows,
    sample_contexts,
    variance_share_errors,
)
from iedr_geo.datasets import PlantedFactors


@pytest.fixture(scope='module')
def data() -> PlantedFactors:
    return PlantedFactors(num_users=40, num_items=30, num_interactions=800)


def triples(entity: float, context: float, both: float = 0.0, rows: int = 400):
    """Anchors, the same users elsewhere, and others in the same contexts."""
    user, other_user, place, other_place = torch.randn(4, rows, 6)
    noise = both * torch.randn(3, rows, 6)
    return (
        entity * user + context * place + noise[0],
        entity * user + context * other_place + noise[1],
        entity * other_user + context * place + noise[2],
    )


def block(entity: float, context: float, both: float, size=(40, 30), channels=5):
    users, contexts = torch.randn(size[0], 1, channels), torch.randn(1, size[1], channels)
    return entity * users + context * contexts + both * torch.randn(*size, channels)


def cosine(one: list[float], two: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, two, strict=True))
    return product / (math.hypot(*one) * math.hypot(*two))


def test_invariance_equals_loops(device):
    tables = triples(1.0, 0.7, rows=30)
    found = context_invariance(*(table.to(device) for table in tables))
    mean = torch.cat(tables).double().mean(0)
    anchor, same_entity, same_context = ((t.double() - mean).tolist() for t in tables)
    of_entity = list(map(cosine, anchor, same_entity))
    of_context = list(map(cosine, anchor, same_context))
    of_neither = list(map(cosine, anchor, same_entity[-1:] + same_entity[:-1]))
    wins = [a > b for a, b in zip(of_entity, of_context, strict=True)]
    for measured, values in zip(
        found[:3], (of_entity, of_context, of_neither), strict=True
    ):
        assert measured.value == pytest.approx(np.mean(values))
        assert measured.error == pytest.approx(np.std(values, ddof=1) / 30**0.5)
    assert found.auc.value == pytest.approx(np.mean(wins))
    assert found.auc.error == pytest.approx(0.5 / 30**0.5)


@pytest.mark.parametrize(
    ('weights', 'auc', 'same_entity', 'same_context'),
    [
        ((1.0, 0.0), 1.0, 1.0, 0.0),  # Disentangled, intrinsic.
        ((0.0, 1.0), 0.0, 0.0, 1.0),  # Disentangled, extrinsic.
        ((1.0, 1.0), 0.5, 0.5, 0.5),
        ((0.0, 0.0, 1.0), 0.5, 0.0, 0.0),  # Noise.
    ],
)
def test_known_invariance(weights, auc, same_entity, same_context):
    found = context_invariance(*triples(*weights, rows=2000))
    assert found.auc.value == pytest.approx(auc, abs=0.05)
    assert found.same_entity.value == pytest.approx(same_entity, abs=0.05)
    assert found.same_context.value == pytest.approx(same_context, abs=0.05)
    assert found.neither.value == pytest.approx(0, abs=0.05)


def test_what_all_rows_have_in_common_tells_of_neither():
    tables = triples(1.0, 0.5)
    found = context_invariance(*tables)
    moved = context_invariance(*(100 - 3 * table.double() for table in tables))
    for one, two in zip(found, moved, strict=True):
        assert one == pytest.approx(two, abs=1e-4)


def test_factor_that_never_changes_is_no_better_than_chance():
    found = context_invariance(*torch.ones(3, 20, 4))
    assert found.auc.value == 0.5
    assert [measured.value for measured in found[:3]] == [0, 0, 0]


def test_similarities_that_are_equal_are_ties():
    """All on one line, similarities are 1 or -1 but for rounding."""
    direction = torch.randn(7).double()
    sizes = torch.randn(3, 60, 1).double()
    found = context_invariance(*(sizes * direction))
    signs = (sizes - sizes.mean()).sign().squeeze(-1)
    lead = (signs[0] * signs[1] - signs[0] * signs[2]).sign()
    assert (lead == 0).float().mean() > 0.2
    assert found.auc.value == pytest.approx(float((lead + 1).mean() / 2))


def reference_shares(block: Tensor) -> list[float]:
    """The two-way analysis of variance without replication, column by column."""
    table = block.double().numpy()
    size = table.shape
    squares = {'entity': 0.0, 'context': 0.0, 'both': 0.0}
    for column in range(size[2]):
        x = table[:, :, column]
        for i in range(size[0]):
            squares['entity'] += size[1] * (x[i].mean() - x.mean()) ** 2
        for j in range(size[1]):
            squares['context'] += size[0] * (x[:, j].mean() - x.mean()) ** 2
        for i in range(size[0]):
            for j in range(size[1]):
                rest = x[i, j] - x[i].mean() - x[:, j].mean() + x.mean()
                squares['both'] += rest**2
    both = squares['both'] / ((size[0] - 1) * (size[1] - 1))
    entity = (squares['entity'] / (size[0] - 1) - both) / size[1]
    context = (squares['context'] / (size[1] - 1) - both) / size[0]
    parts = [max(part, 0) for part in (entity, context, both)]
    return [part / sum(parts) for part in parts]


@pytest.mark.parametrize('weights', [(1.0, 0.5, 0.7), (0.0, 1.0, 1.0), (0.01, 0.0, 1.0)])
@pytest.mark.parametrize('size', [(2, 2), (5, 3), (6, 9)])
def test_shares_equal_loops(weights, size, device):
    x = block(*weights, size)
    assert variance_shares(x.to(device)) == pytest.approx(reference_shares(x), abs=1e-9)


@pytest.mark.parametrize(
    ('weights', 'expected'),
    [
        ((1.0, 0.0, 0.0), (1, 0, 0)),
        ((0.0, 1.0, 0.0), (0, 1, 0)),
        ((0.0, 0.0, 1.0), (0, 0, 1)),
        ((3.0, 2.0, 1.0), (9 / 14, 4 / 14, 1 / 14)),
    ],
)
def test_known_shares(weights, expected):
    x = block(*weights, size=(200, 150))
    shares = variance_shares(x)
    assert shares == pytest.approx(expected, abs=0.05)
    assert sum(shares) == pytest.approx(1)
    assert variance_shares(7 - 1e3 * x.double()) == pytest.approx(shares, abs=1e-6)


def test_no_bias_of_few_contexts():
    """The mean over few contexts varies with each user, but not due to the user."""
    found = [variance_shares(block(1.0, 0.0, 2.0, (50, 4))) for _ in range(40)]
    assert np.mean(found, axis=0) == pytest.approx([0.2, 0, 0.8], abs=0.02)


def test_nothing_varies():
    assert all(math.isnan(share) for share in variance_shares(torch.ones(3, 4, 2)))


def test_errors_are_those_of_other_draws():
    weights, size = (1.0, 0.7, 1.0), (12, 10)
    draws = [block(*weights, size, channels=3) for _ in range(60)]
    spread = np.std([variance_shares(draw) for draw in draws], axis=0)
    errors = np.mean([variance_share_errors(draw) for draw in draws[:10]], axis=0)
    assert errors == pytest.approx(spread, rel=0.5)
    assert all(math.isnan(e) for e in variance_share_errors(torch.randn(2, 9, 3)))
    assert all(math.isnan(e) for e in variance_share_errors(torch.randn(9, 2, 3)))


def test_samples(data):
    samples = sample_contexts(data, 300, max_entities=12)
    size, num_contexts = samples.block
    assert samples.num_anchors == 300
    assert (size, num_contexts) == (12, 25)
    assert len(samples.user) == len(samples.item) == len(samples.context) == 3 * 300 + 300
    context, other_context, same_context, of_block = samples.parts(samples.context)
    assert torch.equal(context, same_context)
    assert torch.equal(context.sort()[0], other_context.sort()[0])
    assert (context != other_context).float().mean() > 0.9
    assert torch.equal(of_block.view(12, 25), of_block[:25].expand(12, -1))
    assert of_block[:25].unique().numel() == 25
    for side in ('user', 'item'):
        one, same, other, of_block = samples.parts(getattr(samples, side))
        assert torch.equal(one, same)
        assert torch.equal(one.sort()[0], other.sort()[0])
        assert (one != other).float().mean() > 0.9
        assert torch.equal(of_block.view(12, 25), of_block[::25, None].expand(-1, 25))
        assert of_block.unique().numel() == 12
        assert set(of_block.tolist()) <= set(one.tolist())
    rows = torch.stack([samples.user[:300], samples.item[:300]])
    known = torch.stack([data.user, data.item]).unsqueeze(2)
    assert (rows.unsqueeze(1) == known).all(0).any(0).all()  # They are rows of the data.


def test_contexts_do_not_depend_on_users(data):
    """The habits of a user in the data are not in the samples."""
    places = data.context_frame['place'].astype('category').cat.codes
    places = torch.tensor(places.to_numpy(copy=True)).long()

    def dependence(user: Tensor, context: Tensor) -> float:
        table = torch.zeros(data.num_users, 4).index_put_(
            (user, places[context]), torch.ones(len(user)), accumulate=True
        )
        expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        return float(((table - expected) ** 2 / expected.clamp(min=1e-9)).sum())

    samples = sample_contexts(data, 800)
    drawn = dependence(samples.user[:800], samples.context[:800])
    degrees = 3 * (data.num_users - 1)
    assert drawn < degrees + 4 * (2 * degrees) ** 0.5
    assert dependence(data.user, data.context) > degrees + 8 * (2 * degrees) ** 0.5


def test_samples_are_those_of_the_seed(data):
    one, two = sample_contexts(data, 100, seed=1), sample_contexts(data, 100, seed=1)
    for a, b in zip(one[:3], two[:3], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.context, sample_contexts(data, 100, seed=2).context)


def test_fewer_rows_and_contexts_than_asked_for(data):
    few = data[torch.arange(0, 800, 100)]
    samples = sample_contexts(few, 500)
    assert samples.num_anchors == 8
    assert samples.block[0] == min(few.user.unique().numel(), few.item.unique().numel())
    assert samples.block[1] == few.context.unique().numel()


def test_first_rows():
    assert first_rows(torch.tensor([5, 3, 5, 3, 9, 0])).tolist() == [0, 1, 4, 5]


def test_bad_input(data):
    x = F.normalize(torch.randn(5, 3))
    with pytest.raises(ValueError, match=r'same shape .*\(5, 3\), \(5, 3\) and \(4, 3\)'):
        context_invariance(x, x, x[:4])
    with pytest.raises(ValueError, match=r'At least 2 rows are needed \(got 1\)'):
        context_invariance(x[:1], x[:1], x[:1])
    for shape in ((5, 3), (1, 4, 3), (4, 1, 3)):
        with pytest.raises(ValueError, match='at least two users or items'):
            variance_shares(torch.randn(shape))
    with pytest.raises(ValueError, match=r'Two users, items and contexts .*\(got 1, '):
        sample_contexts(data[data.user == 0], 50)
