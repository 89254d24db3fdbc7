"""Invariance and shares of variance against loops."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from iedr_geo.analysis import context_invariance, variance_shares
from iedr_geo.analysis.measures.invariance import variance_share_errors


def block(entity: float, context: float, both: float, size: tuple[int, int]) -> Tensor:
    users, contexts = torch.randn(size[0], 1, 5), torch.randn(1, size[1], 5)
    return entity * users + context * contexts + both * torch.randn(*size, 5)


def cosine(one: list[float], two: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, two, strict=True))
    return product / (math.hypot(*one) * math.hypot(*two))


def test_invariance_equals_loops(device):
    user, other, place, elsewhere = torch.randn(4, 30, 6)
    tables = user + place, user + elsewhere, other + 0.7 * place
    found = context_invariance(*(table.to(device) for table in tables))
    mean = torch.cat(tables).double().mean(0)
    anchor, same_entity, same_context = ((t.double() - mean).tolist() for t in tables)
    values = [
        list(map(cosine, anchor, other))
        for other in (same_entity, same_context, same_entity[-1:] + same_entity[:-1])
    ]
    for measured, cosines in zip(found[:3], values, strict=True):
        assert measured.value == pytest.approx(np.mean(cosines))
        assert measured.error == pytest.approx(np.std(cosines, ddof=1) / 30**0.5)
    wins = np.greater(*values[:2]).mean()
    assert found.auc == pytest.approx((wins, 0.5 / 30**0.5))
    # What all rows have in common tells of neither.
    moved = context_invariance(*(100 - 3 * table.double() for table in tables))
    for one, two in zip(found, moved, strict=True):
        assert one == pytest.approx(two, abs=1e-4)


def test_similarities_that_are_equal_are_ties():
    """All on one line, similarities are 1 or -1 but for rounding."""
    direction = torch.randn(7).double()
    sizes = torch.randn(3, 60, 1).double()
    found = context_invariance(*(sizes * direction))
    signs = (sizes - sizes.mean()).sign().squeeze(-1)
    lead = (signs[0] * signs[1] - signs[0] * signs[2]).sign()
    assert (lead == 0).float().mean() > 0.2
    assert found.auc.value == pytest.approx(float((lead + 1).mean() / 2))
    never_changes = context_invariance(*torch.ones(3, 20, 4))
    assert [measured.value for measured in never_changes] == [0, 0, 0, 0.5]


def reference_shares(block: Tensor) -> list[float]:
    """The two-way analysis of variance without replication, column by column."""
    table = block.double().numpy()
    rows, columns, _ = table.shape
    squares = np.zeros(3)
    for x in np.moveaxis(table, 2, 0):
        for i, j in np.ndindex(rows, columns):
            of_entity, of_context = x[i].mean() - x.mean(), x[:, j].mean() - x.mean()
            rest = x[i, j] - of_entity - of_context - x.mean()
            squares += np.square([of_entity, of_context, rest])
    both = squares[2] / ((rows - 1) * (columns - 1))
    entity = (squares[0] / (rows - 1) - both) / columns
    context = (squares[1] / (columns - 1) - both) / rows
    parts = [max(part, 0) for part in (entity, context, both)]
    return [part / sum(parts) for part in parts]


@pytest.mark.parametrize('weights', [(1.0, 0.5, 0.7), (0.0, 1.0, 1.0), (0.01, 0.0, 1.0)])
@pytest.mark.parametrize('size', [(2, 2), (6, 9)])
def test_shares_equal_loops(weights, size, device):
    x = block(*weights, size)
    assert variance_shares(x.to(device)) == pytest.approx(reference_shares(x), abs=1e-9)


def test_errors_are_those_of_leaving_one_out(device):
    x = block(1.0, 0.7, 1.0, (5, 4))
    without = []
    for dim in (0, 1):
        rows = range(x.size(dim))
        kept = [torch.tensor([j for j in rows if j != i]) for i in rows]
        without.append([variance_shares(x.index_select(dim, some)) for some in kept])
    variance = sum((len(w) - 1) * np.var(w, axis=0) for w in without)
    errors = variance_share_errors(x.to(device))
    assert errors == pytest.approx(np.sqrt(variance))
    assert np.isnan(variance_shares(torch.ones(3, 4, 2))).all()  # Nothing varies.
    assert np.isnan(variance_share_errors(torch.randn(2, 9, 3))).all()
    assert np.isnan(variance_share_errors(torch.randn(9, 2, 3))).all()


def test_bad_input():
    x = torch.randn(5, 3)
    with pytest.raises(ValueError, match=r'same shape .*\(5, 3\), \(5, 3\) and \(4, 3\)'):
        context_invariance(x, x, x[:4])
    with pytest.raises(ValueError, match=r'At least 2 rows are needed \(got 1\)'):
        context_invariance(x[:1], x[:1], x[:1])
    for shape in ((5, 3), (1, 4, 3), (4, 1, 3)):
        with pytest.raises(ValueError, match='at least two users or items'):
            variance_shares(torch.randn(shape))
