"""Contrastive losses against loops over rows and negatives."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn import (
    ContextInvariantContrastiveLoss,
    ContrastiveDraws,
    DropoutContrastiveLoss,
    FactorGenerator,
)

ROWS, CHANNELS, NEGATIVES = 6, 4, 5


def cosine(a: Tensor, b: Tensor) -> Tensor:
    if (a == 0).all() or (b == 0).all():  # A ReLU can leave nothing: similar to none.
        return a.new_zeros(())
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


def log_share_of_first(scores: list[Tensor], variant: str) -> Tensor:
    """The logarithm of the first one's share in sum_k exp(score_k)."""
    if variant == 'released':  # Scores are themselves shares in sum_k exp(exp(.)).
        terms = [score.exp().exp() for score in scores]
        scores = [term / sum(terms) for term in terms]
    terms = [score.exp() for score in scores]
    return (terms[0] / sum(terms)).log()


def contrastive(
    generator: FactorGenerator,
    entity: Tensor,
    context: Tensor,
    draws: ContrastiveDraws,
    temperature: float,
    variant: str = 'infonce',
    entity_id: list[int] | None = None,
) -> Tensor:
    """Equation (2) and lines 4 to 17 of Algorithm 1.

    Given ids, leaves out the negatives that are the row's own user or item.
    """

    def intrinsic(u: Tensor, c: Tensor) -> Tensor:
        return generator(u, c).intrinsic

    losses = []
    for i in range(len(entity)):
        if draws.permuted[i]:
            other = context[draws.permutation[i]]
        else:
            other = context[i] * draws.mask[i]
        o_ii = intrinsic(entity[i], context[i])
        o_ij = intrinsic(entity[i], other)
        scores = [cosine(o_ii, o_ij) / temperature]
        for first in draws.negative[i].tolist():
            if entity_id is None or entity_id[first] != entity_id[i]:
                o_li = intrinsic(entity[first], context[i])
                scores.append(cosine(o_ii, o_li) / temperature)
        for second in draws.other_negative[i].tolist():
            if entity_id is None or entity_id[second] != entity_id[i]:
                o_lj = intrinsic(entity[second], other)
                scores.append(cosine(o_ij, o_lj) / temperature)
        losses.append(-log_share_of_first(scores, variant))
    return sum(losses) / len(losses)


class Problem:
    def __init__(
        self, device: torch.device, rows: int = ROWS, kind: str = 'mlp', **kwargs: Any
    ) -> None:
        self.generator = FactorGenerator(CHANNELS, 7, kind, **kwargs).double().to(device)
        shape = (rows, CHANNELS)
        self.entity = torch.randn(shape, dtype=torch.double).to(device).requires_grad_()
        self.context = torch.randn(shape, dtype=torch.double).to(device).requires_grad_()
        self.entity_id = torch.tensor([3, 1, 3, 2, 1, 3])[:rows].to(device)

    @property
    def tensors(self) -> list[Tensor]:
        return [self.entity, self.context, *self.generator.parameters()]

    @property
    def readouts(self) -> tuple[FactorGenerator, Tensor, Tensor]:
        return self.generator, self.entity, self.context


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('variant', ['infonce', 'released'])
@pytest.mark.parametrize('contexts', ['sample', 'dropout', 'both'])
def test_equals_loops(contexts, variant, masked, device, assert_same):
    problem = Problem(device)
    loss = ContextInvariantContrastiveLoss(
        NEGATIVES, 0.7, contexts, 0.4, variant, masked, block_size=8 * NEGATIVES
    )
    draws = loss.draw(problem.context)
    if contexts == 'both':  # Certainly both.
        draws = draws._replace(permuted=torch.arange(ROWS, device=device) % 2 == 0)
    expected = contrastive(
        *problem.readouts,
        draws,
        0.7,
        variant,
        problem.entity_id.tolist() if masked else None,
    )
    actual = loss(*problem.readouts, problem.entity_id, draws)
    assert_same(actual, expected, problem.tensors)


@pytest.mark.parametrize('rows', [0, 1, 4, 6, 100])
@pytest.mark.parametrize(
    ('kind', 'combine'),
    [
        ('mlp', 'product'),
        ('mlp', 'sum'),
        ('linear', 'product'),
        ('nonlinear', 'product'),
        ('split', 'sum'),
    ],
)
def test_any_generator_and_block_size(kind, combine, rows, device, assert_same):
    problem = Problem(device, kind=kind, combine=combine)
    block_size = max(1, 2 * rows * NEGATIVES)
    loss = ContextInvariantContrastiveLoss(NEGATIVES, block_size=block_size)
    draws = loss.draw(problem.context)
    expected = contrastive(*problem.readouts, draws, temperature=0.5)
    assert_same(loss(*problem.readouts, draws=draws), expected, problem.tensors)
    with torch.no_grad():
        value = loss(*problem.readouts, draws=draws)
    torch.testing.assert_close(value, expected.detach())


def test_of_constants():
    problem = Problem(torch.device('cpu'), kind='split')
    problem.generator.requires_grad_(False)
    loss = ContextInvariantContrastiveLoss(NEGATIVES)
    draws = loss.draw(problem.context)
    expected = contrastive(*problem.readouts, draws, temperature=0.5).detach()
    # Nothing that has a gradient, then a context that the intrinsic factor ignores.
    for context in (problem.context.detach(), problem.context):
        actual = loss(problem.generator, problem.entity.detach(), context, draws=draws)
        torch.testing.assert_close(actual.detach(), expected)


def test_draws_anew_each_time():
    problem = Problem(torch.device('cpu'))
    loss = ContextInvariantContrastiveLoss(NEGATIVES)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(loss(*problem.readouts).item())
    assert values[0] == values[1] != values[2]
    torch.manual_seed(1)
    draws = loss.draw(problem.context)
    assert loss(*problem.readouts, draws=draws).item() == values[0]


@pytest.mark.parametrize('variant', ['infonce', 'released'])
def test_batch_of_one(variant, device):
    # All factors are the same, so all 1 + 2 L similarities are one.
    problem = Problem(device, rows=1)
    loss = ContextInvariantContrastiveLoss(NEGATIVES, contexts='sample', variant=variant)
    wanted = math.log(1 + 2 * NEGATIVES)
    assert loss(*problem.readouts).item() == pytest.approx(wanted)


@pytest.mark.parametrize('variant', ['infonce', 'released'])
def test_no_negative_is_left(variant, device):
    problem = Problem(device)
    loss = ContextInvariantContrastiveLoss(
        NEGATIVES, variant=variant, mask_false_negatives=True
    )
    out = loss(*problem.readouts, torch.zeros(ROWS, device=device))
    assert out.item() == pytest.approx(0, abs=1e-12)
    for grad in torch.autograd.grad(out, problem.tensors):
        torch.testing.assert_close(grad, torch.zeros_like(grad))


def test_is_least_for_factors_that_ignore_the_context():
    # Orthogonal users, the same in every context: similarities are 1 and, with
    # negatives that are other users, 0.
    generator = FactorGenerator(ROWS, kind='linear')
    with torch.no_grad():
        generator.linear.weight.zero_()
        generator.linear.bias.zero_()
        generator.linear.weight[:ROWS, :ROWS] = torch.eye(ROWS)
    loss = ContextInvariantContrastiveLoss(NEGATIVES, mask_false_negatives=True)
    entity_id = torch.arange(ROWS)
    draws = loss.draw(torch.randn(ROWS, ROWS))
    negative = (entity_id.unsqueeze(1) + torch.arange(1, NEGATIVES + 1)) % ROWS
    draws = draws._replace(negative=negative, other_negative=negative)
    out = loss(generator, torch.eye(ROWS), torch.randn(ROWS, ROWS), entity_id, draws)
    wanted = -math.log(math.exp(2) / (math.exp(2) + 2 * NEGATIVES))
    assert out.item() == pytest.approx(wanted, rel=1e-5)


def assert_share(event: Tensor, probability: float) -> None:
    deviation = math.sqrt(probability * (1 - probability) / event.numel())
    share = event.double().mean().item()
    assert share == pytest.approx(probability, abs=5 * deviation)


@pytest.mark.parametrize('p', [0.0, 0.5, 0.8])
def test_law_of_masks(p, device):
    context = torch.randn(5_000, 2, dtype=torch.double, device=device)
    mask = ContextInvariantContrastiveLoss(1, dropout=p).draw(context).mask
    assert mask.dtype == context.dtype
    assert mask.device == context.device
    kept = mask != 0
    torch.testing.assert_close(mask, kept.double() / (1 - p))
    assert_share(kept, 1 - p)
    assert_share(kept.all(1), (1 - p) ** 2)
    assert_share(kept[1:].eq(kept[:-1]), p**2 + (1 - p) ** 2)


@pytest.mark.parametrize(
    ('contexts', 'probability'), [('sample', 1.0), ('dropout', 0.0), ('both', 0.5)]
)
def test_law_of_contexts(contexts, probability, device):
    context = torch.randn(20_000, 1, device=device)
    draws = ContextInvariantContrastiveLoss(1, contexts=contexts).draw(context)
    assert draws.permuted.shape == (20_000,)
    assert_share(draws.permuted, probability)
    both = draws.permuted[1:] & draws.permuted[:-1]
    assert_share(both, probability**2)
    assert draws.permutation.sort().values.tolist() == list(range(20_000))
    moved = draws.permutation != torch.arange(20_000, device=device)
    assert moved.double().mean() > 0.99
    # Which context a row would be given does not depend on whether it is.
    upper = draws.permutation[draws.permuted] >= 10_000
    if contexts != 'dropout':
        assert_share(upper, 0.5)


def test_law_of_negatives(device):
    rows, size = 4, 10_000
    draws = ContextInvariantContrastiveLoss(size).draw(torch.ones(rows, 1, device=device))
    for negative in (draws.negative, draws.other_negative):
        assert negative.shape == (rows, size)
        for i in range(rows):
            for j in range(rows):  # The row itself among them.
                assert_share(negative[i] == j, 1 / rows)
    assert_share(draws.negative == draws.other_negative, 1 / rows)
    assert_share(draws.negative[0] == draws.negative[1], 1 / rows)


def test_mixed_precision(device):
    problem = Problem(device)
    problem.generator.float()
    problem.entity = problem.entity.detach().float().requires_grad_()
    problem.context = problem.context.detach().float().requires_grad_()
    loss = ContextInvariantContrastiveLoss(NEGATIVES)
    draws = loss.draw(problem.context)
    exact = loss(*problem.readouts, draws=draws)
    wanted = torch.autograd.grad(exact, problem.tensors)
    with torch.autocast(device.type, torch.bfloat16):
        out = loss(*problem.readouts, draws=draws)
    grads = torch.autograd.grad(out, problem.tensors)
    for actual, expected in [(out, exact), *zip(grads, wanted, strict=True)]:
        assert (actual - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'contexts': 'none'}, "'sample', 'dropout' or 'both'.*'none'"),
        ({'variant': 'double'}, "'infonce' or 'released'.*'double'"),
        ({'num_negatives': 0}, '`num_negatives`.*0'),
        ({'temperature': 0.0}, 'positive.*0.0'),
        ({'temperature': -1.0}, 'positive.*-1.0'),
        ({'temperature': math.nan}, 'positive.*nan'),
        ({'dropout': 1.0}, r'\[0, 1\).*1.0'),
        ({'dropout': -0.1}, r'\[0, 1\).*-0.1'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ContextInvariantContrastiveLoss(**kwargs)


def test_masking_needs_ids():
    loss = ContextInvariantContrastiveLoss(mask_false_negatives=True)
    with pytest.raises(ValueError, match='entity_id'):
        loss(*Problem(torch.device('cpu')).readouts)


def test_defaults_and_str():
    loss = ContextInvariantContrastiveLoss()
    draws = loss.draw(torch.ones(2, 1))
    assert draws.negative.shape == draws.other_negative.shape == (2, 40)
    assert set(draws.mask.flatten().tolist()) <= {0.0, 2.0}
    assert str(loss) == (
        'ContextInvariantContrastiveLoss(num_negatives=40, temperature=0.5, '
        "contexts='both')"
    )


@pytest.mark.parametrize('rows', [2, ROWS])
def test_dropout_loss_equals_loops(rows, device, monkeypatch, assert_same):
    factor = torch.randn(rows, CHANNELS, dtype=torch.double).to(device).requires_grad_()
    mask = (torch.rand(rows, CHANNELS) < 0.7).to(device) / 0.7
    mask[:, 0] = 1 / 0.7
    negative = torch.randint(rows, (rows, NEGATIVES), device=device)

    def dropout(x: Tensor, p: float) -> Tensor:
        assert p == 0.3
        return x * mask

    def randint(high: int, size: tuple[int, int], device: torch.device) -> Tensor:
        assert (high, size) == (rows, (rows, NEGATIVES))
        return negative

    monkeypatch.setattr(F, 'dropout', dropout)
    monkeypatch.setattr(torch, 'randint', randint)
    actual = DropoutContrastiveLoss(NEGATIVES, 0.7, 0.3)(factor)

    view = [factor[i] * mask[i] for i in range(rows)]
    losses = []
    for i in range(rows):
        scores = [cosine(factor[i], view[i]) / 0.7]
        scores += [cosine(factor[i], view[j]) / 0.7 for j in negative[i].tolist()]
        losses.append(-log_share_of_first(scores, 'infonce'))
    assert_same(actual, sum(losses) / rows, [factor])


def test_dropout_loss_without_dropout(device):
    # A row's own view, and the negatives of a batch of one, are the row itself.
    factor = torch.randn(1, CHANNELS, device=device)
    out = DropoutContrastiveLoss(NEGATIVES, dropout=0.0)(factor)
    assert out.item() == pytest.approx(math.log(1 + NEGATIVES), rel=1e-5)
    # Of two orthogonal rows, n negatives are the row itself: similarities 1 and 0.
    out = DropoutContrastiveLoss(1, temperature=1.0, dropout=0.0)(torch.eye(2))
    same, other = math.log(2), math.log(1 + math.exp(-1))
    levels = [(n * same + (2 - n) * other) / 2 for n in range(3)]
    assert min(abs(out.item() - level) for level in levels) < 1e-6


def test_dropout_loss_drops_views_and_not_the_rows():
    # With one channel, a view is the row or nothing: the similarity is 1 or 0.
    torch.manual_seed(0)
    factor = torch.ones(20_000, 1)
    out = DropoutContrastiveLoss(1, temperature=1.0, dropout=0.4)(factor).item()
    e = math.e
    kept_both = kept_none = math.log(2)
    kept_view, kept_negative = math.log(1 + 1 / e), math.log(1 + e)
    wanted = 0.36 * kept_both + 0.16 * kept_none + 0.24 * (kept_view + kept_negative)
    assert out == pytest.approx(wanted, abs=0.02)
