"""DICE against its loss written out, and what each of its masks moves."""

from __future__ import annotations

import itertools
import math

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

from iedr_geo.loader import EdgeBatch
from iedr_geo.nn import DICE, MF, BipartiteModel

KINDS = ['dcor', 'l1', 'l2']
TERMS = ['click', 'interest', 'conformity', 'discrepancy', 'total']
# Items 1 and 2 are equally popular, and so are 4, 5 and 6.
POPULARITY = torch.tensor([9, 4, 4, 0, 2, 2, 2, 30])

every_kind = pytest.mark.parametrize('kind', KINDS)


def make(device='cpu', channels=6, **kwargs) -> DICE:
    backbone = MF(NUM_USERS, NUM_ITEMS, channels)
    return DICE(backbone, POPULARITY, **kwargs).double().to(device)


def dependence(kind: str, x: Tensor, y: Tensor) -> Tensor:
    """How far from independent two tables are, by definition."""
    if kind == 'l1':
        return -(x - y).abs().mean()
    if kind == 'l2':
        return -(x - y).square().mean()

    def centred(table: Tensor) -> Tensor:
        a = torch.linalg.vector_norm(table.unsqueeze(1) - table.unsqueeze(0), dim=-1)
        return a - a.mean(0) - a.mean(1, keepdim=True) + a.mean()

    a, b = centred(x), centred(y)
    return ((a * b).mean() / ((a * a).mean() * (b * b).mean()).sqrt()).sqrt()


def naive(
    users: Tensor, items: Tensor, batch: EdgeBatch, alpha=0.1, beta=0.01, kind='dcor'
) -> dict[str, Tensor]:
    """The loss of Section 3 of the paper, a row and a negative at a time."""
    half = users.size(1) // 2
    sums = dict.fromkeys(
        ['click', 'interest', 'conformity'], torch.zeros((), device=users.device)
    )
    for row, user in enumerate(batch.user.tolist()):
        i = int(batch.item[row])
        for j in batch.negative[row].tolist():
            lead_interest = users[user, :half] @ (items[i, :half] - items[j, :half])
            lead_conformity = users[user, half:] @ (items[i, half:] - items[j, half:])
            lead = lead_interest + lead_conformity
            sums['click'] = sums['click'] - lead.sigmoid().log()
            if POPULARITY[j] > POPULARITY[i]:
                sums['interest'] = sums['interest'] - lead_interest.sigmoid().log()
                sums['conformity'] = (
                    sums['conformity'] - (-lead_conformity).sigmoid().log()
                )
            else:
                sums['conformity'] = sums['conformity'] - lead_conformity.sigmoid().log()
    terms = {name: value / batch.negative.numel() for name, value in sums.items()}
    named = [*batch.item.tolist(), *batch.negative.flatten().tolist()]
    tables = users[sorted(set(batch.user.tolist()))], items[sorted(set(named))]
    terms['discrepancy'] = sum(dependence(kind, t[:, :half], t[:, half:]) for t in tables)
    causes = batch.curriculum * alpha * (terms['interest'] + terms['conformity'])
    terms['total'] = terms['click'] + causes + beta * terms['discrepancy']
    return terms


@every_kind
@pytest.mark.parametrize('num_negatives', [1, 4])
def test_equals_naive(kind, num_negatives, device, assert_same):
    model = make(device, alpha=0.3, beta=0.2, discrepancy=kind)
    batch = random_batch(10, num_negatives, device)
    losses = model.losses(batch)
    expected = naive(*model.embeddings(), batch, 0.3, 0.2, kind)
    assert losses._fields == tuple(TERMS)
    for name, value in losses._asdict().items():
        assert_same(value, expected[name], list(model.parameters()), 1e-10)


def test_equals_plain_python():
    model, batch = make(alpha=0.3, beta=0.2, discrepancy='l2'), random_batch()
    users, items = (table.tolist() for table in model.parameters())

    def lead(u: int, i: int, j: int, columns: range) -> float:
        return sum(users[u][f] * (items[i][f] - items[j][f]) for f in columns)

    def nll(x: float) -> float:
        return math.log(1 + math.exp(-x))

    click = interest = conformity = pairs = 0
    for u, i, negatives in zip(*(t.tolist() for t in batch[:3]), strict=True):
        for j in negatives:
            pairs += 1
            of_interest, of_conformity = (
                lead(u, i, j, c) for c in (range(3), range(3, 6))
            )
            click += nll(of_interest + of_conformity)
            more_popular = bool(POPULARITY[j] > POPULARITY[i])
            interest += nll(of_interest) * more_popular
            conformity += nll(-of_conformity if more_popular else of_conformity)
    named = {*batch.item.tolist(), *batch.negative.flatten().tolist()}
    discrepancy = 0
    for table, rows in ((users, set(batch.user.tolist())), (items, named)):
        squares = [(table[r][f] - table[r][f + 3]) ** 2 for r in rows for f in range(3)]
        discrepancy -= sum(squares) / len(squares)
    terms = [click / pairs, interest / pairs, conformity / pairs, discrepancy]
    total = terms[0] + 0.3 * 0.7 * (terms[1] + terms[2]) + 0.2 * discrepancy
    actual = [term.item() for term in model.losses(batch)]
    assert actual == pytest.approx([*terms, total], rel=1e-12)
    assert all(term != 0 for term in terms)


def one_pair(positive: int, negative: int, dtype=torch.long):
    """A click on item 0 rather than item 1, of popularities to choose."""
    model = DICE(MF(1, 2, 2), torch.tensor([positive, negative], dtype=dtype), beta=0)
    model.backbone.user.weight.data = torch.tensor([[0.5, 2.0]])
    model.backbone.item.weight.data = torch.tensor([[0.3, -0.1], [-0.4, 0.2]])
    zero = torch.tensor([0])
    return model, model.losses(EdgeBatch(zero, zero, torch.tensor([[1]])))


def pushes(model: DICE, loss: Tensor) -> list[list[float]]:
    """Where descent moves the scores of both items: of interest, and of conformity."""
    [grad] = torch.autograd.grad(loss, [model.backbone.item.weight], retain_graph=True)
    return (-grad * model.backbone.user.weight).sign().t().tolist()


@pytest.mark.parametrize('dtype', [torch.long, torch.float])
def test_more_popular_negative(dtype):
    """Interest has outdone conformity: the positive has more of the one, less of the
    other."""
    model, losses = one_pair(positive=3, negative=4, dtype=dtype)
    assert pushes(model, losses.interest) == [[1, -1], [0, 0]]
    assert pushes(model, losses.conformity) == [[0, 0], [-1, 1]]
    assert losses.interest.item() == pytest.approx(math.log(1 + math.exp(-0.35)))
    assert losses.conformity.item() == pytest.approx(math.log(1 + math.exp(-0.6)))


@pytest.mark.parametrize('popularity', [(4, 3), (100, 1), (3, 3), (0, 0)])
def test_negative_that_is_not_more_popular(popularity):
    """Conformity is what is known to have helped, and nothing is known of interest."""
    model, losses = one_pair(*popularity)
    assert losses.interest == 0
    assert pushes(model, losses.interest) == [[0, 0], [0, 0]]
    assert pushes(model, losses.conformity) == [[0, 0], [1, -1]]
    assert losses.conformity.item() == pytest.approx(math.log(1 + math.exp(0.6)))


@pytest.mark.parametrize('popularity', [(3, 4), (4, 3)])
def test_clicks_move_both_causes(popularity):
    model, losses = one_pair(*popularity)
    assert pushes(model, losses.click) == [[1, -1], [1, -1]]
    assert losses.click.item() == pytest.approx(math.log(1 + math.exp(0.25)))


@pytest.mark.parametrize('alpha', [0, 0.5])
@pytest.mark.parametrize('curriculum', [0, 0.25, 1])
@pytest.mark.parametrize('beta', [0, 0.5])
def test_weights(alpha, curriculum, beta):
    """The curriculum scales the causes' weight alone, and no term itself."""
    model, batch = make(), random_batch()._replace(curriculum=curriculum)
    terms = model.losses(batch)
    model.alpha, model.beta = alpha, beta
    losses = model.losses(batch)
    assert losses[:3] == terms[:3]
    assert losses.discrepancy == (terms.discrepancy if beta else 0)
    causes = alpha * curriculum * (terms.interest + terms.conformity)
    expected = terms.click + causes + beta * terms.discrepancy
    torch.testing.assert_close(losses.total, expected, rtol=1e-12, atol=1e-12)


@every_kind
def test_rows_that_recur_do_not_change_the_discrepancy(kind, assert_same):
    model, batch = make(discrepancy=kind), random_batch()
    rows = torch.tensor([*range(10), 3, 3, 7, 0, 3])
    more = EdgeBatch(*(t[rows] for t in batch[:4]), batch.curriculum)
    one, two = model.losses(batch), model.losses(more)
    assert_same(one.discrepancy, two.discrepancy, list(model.parameters()), 1e-12)
    assert (one.click - two.click).abs() > 1e-6  # They do count there.
    # Nor does it matter which of its items a row has as its positive.
    turned = batch._replace(
        item=batch.negative[:, 0],
        negative=torch.cat([batch.item.unsqueeze(1), batch.negative[:, 1:]], dim=1),
    )
    two = model.losses(turned)
    assert_same(one.discrepancy, two.discrepancy, list(model.parameters()), 1e-12)


def test_discrepancy_of_few_rows_at_random():
    model = make(discrepancy='l2', max_rows=3)
    batch = EdgeBatch(
        torch.tensor([0, 1, 2, 4]),
        torch.tensor([0, 1, 1, 0]),
        torch.tensor([[2, 3], [2, 2], [3, 3], [2, 3]]),
    )
    choices = [
        [
            dependence('l2', *table[list(rows)].chunk(2, dim=1)).item()
            for rows in itertools.combinations(ids, 3)
        ]
        for table, ids in zip(model.embeddings(), ([0, 1, 2, 4], range(4)), strict=True)
    ]
    possible = sorted(sum(pair) for pair in itertools.product(*choices))
    possible = torch.tensor(possible, dtype=torch.double)
    drawn = torch.stack([model.losses(batch).discrepancy for _ in range(400)])
    nearest = (drawn.unsqueeze(1) - possible).abs().min(dim=1)
    assert nearest.values.max() < 1e-12
    assert set(nearest.indices.tolist()) == set(range(16))
    model.max_rows = 4
    whole = naive(*model.embeddings(), batch, kind='l2')['discrepancy']
    torch.testing.assert_close(model.losses(batch).discrepancy, whole)


class Waves(BipartiteModel):
    """Vectors that are no rows of a table."""

    def __init__(self) -> None:
        super().__init__()
        self.num_users, self.num_items, self.channels = NUM_USERS, NUM_ITEMS, 4
        self.frequency = torch.nn.Parameter(torch.randn(4))
        self.phase = torch.nn.Parameter(torch.randn(2, 4))

    @property
    def config(self) -> dict:
        return {}

    def forward(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        users, items = (
            torch.sin(ids.unsqueeze(-1) * self.frequency + phase)
            for ids, phase in zip((user, item), self.phase, strict=True)
        )
        return users, items


@every_kind
def test_any_backbone(kind, device, assert_same):
    model = DICE(Waves(), POPULARITY, 0.3, 0.2, kind).double().to(device)
    batch = random_batch(device=device)
    users, items = model.embeddings()
    assert users.shape == (NUM_USERS, 4)
    expected = naive(users, items, batch, 0.3, 0.2, kind)
    for name, value in model.losses(batch)._asdict().items():
        assert_same(value, expected[name], list(model.parameters()), 1e-9)


@every_kind
def test_propagated_vectors(kind, device, assert_same):
    """All terms, the discrepancy too, are of what LightGCN gives."""
    graph, batch = random_graph(), random_batch(device=device)
    backbone = double_lightgcn(graph, channels=6, num_layers=2)
    model = DICE(backbone, POPULARITY, 0.3, 0.2, kind).to(device)
    adjacency = dense_adjacency(graph).to(device)
    table = torch.cat([backbone.user.weight, backbone.item.weight])
    vectors = (table + adjacency @ table + adjacency @ adjacency @ table) / 3
    users, items = vectors.split([NUM_USERS, NUM_ITEMS])
    expected = naive(users, items, batch, 0.3, 0.2, kind)
    for name, value in model.losses(batch)._asdict().items():
        assert_same(value, expected[name], list(model.parameters()), 1e-9)


@every_kind
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_batches_with_nothing_to_compare(kind, dtype, device):
    """One user, one item, or items that are all as popular: never a NaN."""
    zero = torch.zeros(3, dtype=torch.long)
    batches = [
        EdgeBatch(zero[:1], zero[:1], torch.tensor([[1, 2]])),
        EdgeBatch(zero, zero, torch.tensor([[1], [2], [3]])),
        EdgeBatch(torch.arange(3), zero, zero.unsqueeze(1)),
        EdgeBatch(zero[:1], zero[:1], zero[:1].unsqueeze(1)),
    ]
    for popularity in (POPULARITY, torch.full((NUM_ITEMS,), 5), torch.zeros(NUM_ITEMS)):
        model = DICE(MF(NUM_USERS, NUM_ITEMS, 4), popularity, discrepancy=kind)
        model = model.to(device, dtype)
        for batch in batches:
            model.zero_grad()
            batch = EdgeBatch(*(t.to(device) for t in batch[:3]))
            losses = model.losses(batch)
            losses.total.backward()
            assert all(term.isfinite() for term in losses)
            assert all(p.grad.isfinite().all() for p in model.parameters())
            if popularity is not POPULARITY:
                assert losses.interest == 0


def test_large_scores_do_not_overflow(device):
    model, batch = make(device, discrepancy='l2').float(), random_batch(device=device)
    for table in model.parameters():
        table.data *= 1e4
    losses = model.losses(batch)
    losses.total.backward()
    assert losses.click > 1e4
    assert all(term.isfinite() for term in losses)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_single_precision(device):
    model, batch = make(device).float(), random_batch(device=device)
    expected = naive(*(v.double() for v in model.embeddings()), batch)
    for name, value in model.losses(batch)._asdict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)


def test_factors_add_up_to_the_score(device):
    model, batch = make(device), random_batch(device=device)
    assert model.factors == {'interest': slice(0, 3), 'conformity': slice(3, 6)}
    user, item = model(batch.user, batch.item)
    parts = [(user[:, c] * item[:, c]).sum(dim=1) for c in model.factors.values()]
    torch.testing.assert_close(sum(parts), model.score(batch.user, batch.item))
    assert all(part.abs().max() > 1e-3 for part in parts)


def test_vectors_are_those_of_the_backbone(device):
    model, batch = make(device), random_batch(device=device)
    ids = batch.user, batch.negative
    for one, two in zip(model(*ids), model.backbone(*ids), strict=True):
        assert torch.equal(one, two)
    for one, two in zip(model.embeddings(), model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_what_the_graph_counts_is_not_the_models_to_change():
    popularity = torch.zeros(NUM_ITEMS, dtype=torch.long)
    fresh = DICE(MF(NUM_USERS, NUM_ITEMS, 6), popularity).double()
    fresh.load_state_dict(make().state_dict())
    assert torch.equal(fresh.popularity, POPULARITY) and not popularity.any()


def test_defaults():
    model = DICE(MF(NUM_USERS, NUM_ITEMS), POPULARITY)
    assert (model.alpha, model.beta, model.max_rows) == (0.1, 0.01, 4096)
    assert model.config['discrepancy'] == 'dcor'
    assert {c.stop - c.start for c in model.factors.values()} == {64}


@pytest.mark.parametrize(
    ('channels', 'popularity', 'kwargs', 'message'),
    [
        (5, POPULARITY, {}, r'halves \(got 5 channels\)'),
        (4, POPULARITY[:7], {}, r'shape \(8\) \(got \(7,\)\)'),
        (4, POPULARITY.unsqueeze(1), {}, r'shape \(8\) \(got \(8, 1\)\)'),
        (4, POPULARITY, {'discrepancy': 'dCor'}, "dcor, l1, l2 .*'dCor'"),
    ],
)
def test_bad_arguments(channels, popularity, kwargs, message):
    with pytest.raises(ValueError, match=message):
        DICE(MF(NUM_USERS, NUM_ITEMS, channels), popularity, **kwargs)
