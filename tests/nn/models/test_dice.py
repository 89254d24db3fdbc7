"""DICE against its loss written out, and what each of its masks moves."""

import itertools

import pytest
import torch
from clicks import (
    NUM_ITEMS,
    NUM_USERS,
    POPULARITY,
    make_backbone,
    random_batch,
    random_graph,
    vectors_by_hand,
)
from torch import Tensor

from iedr_geo.loader import EdgeBatch
from iedr_geo.nn import DICE, MF, DistanceCorrelation, InverseL1, InverseL2

DEPENDENCE = {'dcor': DistanceCorrelation(), 'l1': InverseL1(), 'l2': InverseL2()}
every_kind = pytest.mark.parametrize('kind', DEPENDENCE)


def make(device='cpu', channels=6, **kwargs) -> DICE:
    backbone = MF(NUM_USERS, NUM_ITEMS, channels)
    return DICE(backbone, POPULARITY, **kwargs).double().to(device)


def naive(
    users: Tensor, items: Tensor, batch: EdgeBatch, alpha=0.1, beta=0.01, kind='dcor'
) -> dict[str, Tensor]:
    """The loss of Section 3 of the paper, a row and a negative at a time."""
    half = users.size(1) // 2
    sums = dict.fromkeys(['click', 'interest', 'conformity'], users.new_zeros(()))
    for row, user in enumerate(batch.user.tolist()):
        i = int(batch.item[row])
        for j in batch.negative[row].tolist():
            lead_interest = users[user, :half] @ (items[i, :half] - items[j, :half])
            lead_conformity = users[user, half:] @ (items[i, half:] - items[j, half:])
            lead = lead_interest + lead_conformity
            sums['click'] = sums['click'] - lead.sigmoid().log()
            if POPULARITY[j] > POPULARITY[i]:  # Interest has outdone conformity.
                sums['interest'] = sums['interest'] - lead_interest.sigmoid().log()
                lead_conformity = -lead_conformity
            sums['conformity'] = sums['conformity'] - lead_conformity.sigmoid().log()
    terms = {name: value / batch.negative.numel() for name, value in sums.items()}
    named = [*batch.item.tolist(), *batch.negative.flatten().tolist()]
    tables = users[sorted(set(batch.user.tolist()))], items[sorted(set(named))]
    terms['discrepancy'] = sum(DEPENDENCE[kind](t[:, :half], t[:, half:]) for t in tables)
    causes = batch.curriculum * alpha * (terms['interest'] + terms['conformity'])
    terms['total'] = terms['click'] + causes + beta * terms['discrepancy']
    return terms


@every_kind
@pytest.mark.parametrize(
    ('backbone', 'num_negatives', 'dtype'),
    [('MF', 1, torch.double), ('LightGCN', 4, torch.double), ('MF', 4, torch.float)],
)
def test_equals_naive(kind, backbone, num_negatives, dtype, device, assert_same):
    """All terms, the discrepancy too, are of what the backbone gives."""
    graph, batch = random_graph(), random_batch(10, num_negatives, device)
    model = DICE(make_backbone(backbone, graph, 6), POPULARITY, 0.3, 0.2, kind)
    model = model.to(device, dtype)
    vectors = vectors_by_hand(model.backbone, graph)
    expected = naive(*vectors, batch, 0.3, 0.2, kind)
    losses = model.losses(batch)._asdict()
    tol = 1e-9 if dtype == torch.double else 1e-5
    assert [*losses] == ['click', 'interest', 'conformity', 'discrepancy', 'total']
    for name, value in losses.items():
        assert value.dtype == dtype
        assert_same(value, expected[name], list(model.parameters()), tol)


def test_discrepancy_of_few_rows_at_random():
    model = make(discrepancy='l2', max_rows=3)
    batch = EdgeBatch(
        torch.tensor([0, 1, 2, 4]),
        torch.tensor([0, 1, 1, 0]),
        torch.tensor([[2, 3], [2, 2], [3, 3], [2, 3]]),
    )
    choices = [
        [
            InverseL2()(*table[list(rows)].chunk(2, dim=1)).item()
            for rows in itertools.combinations(ids, 3)
        ]
        for table, ids in zip(model.embeddings(), ([0, 1, 2, 4], range(4)), strict=True)
    ]
    possible = torch.tensor([sum(pair) for pair in itertools.product(*choices)]).double()
    drawn = torch.stack([model.losses(batch).discrepancy for _ in range(200)])
    nearest = (drawn.unsqueeze(1) - possible).abs().min(dim=1)
    assert nearest.values.max() < 1e-6
    assert set(nearest.indices.tolist()) == set(range(16))
    model.max_rows = 4
    whole = naive(*model.embeddings(), batch, kind='l2')['discrepancy']
    torch.testing.assert_close(model.losses(batch).discrepancy, whole)


@every_kind
@pytest.mark.parametrize('scale', [1, 1e4])
@pytest.mark.parametrize('popularity', [POPULARITY, torch.zeros(NUM_ITEMS)])
def test_never_a_nan(kind, scale, popularity, device):
    """Neither of one user, one item or items that are all as popular, nor of large
    scores.
    """
    model = DICE(MF(NUM_USERS, NUM_ITEMS, 4), popularity, discrepancy=kind).to(device)
    for table in model.parameters():
        table.data *= scale
    zero, several = torch.zeros(3, dtype=torch.long), torch.tensor([1, 2, 3])
    batches = [(zero, zero, several), (several, zero, zero), (zero, several, several)]
    for user, item, negative in batches:
        batch = EdgeBatch(user, item, negative.unsqueeze(1))
        losses = model.losses(EdgeBatch(*(t.to(device) for t in batch[:3])))
        grads = torch.autograd.grad(losses.total, list(model.parameters()))
        assert all(tensor.isfinite().all() for tensor in (*losses, *grads))
        assert popularity.any() or losses.interest == 0


def test_defaults_and_popularity():
    """What the graph counts is not the model's to change."""
    popularity = torch.zeros(NUM_ITEMS, dtype=torch.long)
    model = DICE(MF(NUM_USERS, NUM_ITEMS, 6), popularity).double()
    model.load_state_dict(make().state_dict())
    assert torch.equal(model.popularity, POPULARITY) and not popularity.any()
    assert (model.alpha, model.beta, model.max_rows) == (0.1, 0.01, 4096)
    assert model.discrepancy == 'dcor'
    assert model.factor_columns == {'interest': slice(0, 3), 'conformity': slice(3, 6)}
