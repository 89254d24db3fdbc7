"""Contrastive losses against loops over rows and negatives."""

from __future__ import annotations

import math
import sys
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
    LinearGenerator,
    MLPGenerator,
)
from iedr_geo.nn.generator import GENERATORS

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
    rows: list[int] | None = None,
    row_weight: list[float] | None = None,
) -> Tensor:
    """Equation (2) and lines 4 to 17 of Algorithm 1.

    Given ids, leaves out the negatives that are the row's own user or item. Given rows,
    takes the mean over them alone, given their weights, the weighted mean.
    """
    rows = list(range(len(entity))) if rows is None else rows
    row_weight = [1.0] * len(rows) if row_weight is None else row_weight

    def intrinsic(u: Tensor, c: Tensor) -> Tensor:
        return generator(u, c).intrinsic

    total = 0.0
    for n, (i, weight) in enumerate(zip(rows, row_weight, strict=True)):
        if draws.permuted[n]:
            other = context[draws.permutation[n]]
        else:
            other = context[i] * draws.mask[n]
        o_ii = intrinsic(entity[i], context[i])
        o_ij = intrinsic(entity[i], other)
        scores = [cosine(o_ii, o_ij) / temperature]
        for first in draws.negative[n].tolist():
            if entity_id is None or entity_id[first] != entity_id[i]:
                o_li = intrinsic(entity[first], context[i])
                scores.append(cosine(o_ii, o_li) / temperature)
        for second in draws.other_negative[n].tolist():
            if entity_id is None or entity_id[second] != entity_id[i]:
                o_lj = intrinsic(entity[second], other)
                scores.append(cosine(o_ij, o_lj) / temperature)
        total = total - weight * log_share_of_first(scores, variant)
    return total / sum(row_weight)


class Problem:
    def __init__(
        self,
        device: torch.device,
        rows: int = ROWS,
        kind: str = 'mlp',
        combine: str = 'product',
    ) -> None:
        generator = GENERATORS[kind](CHANNELS, 7, combine)
        self.generator = generator.double().to(device)
        shape = (rows, 2 * CHANNELS if kind == 'residual' else CHANNELS)
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
        ('residual', 'product'),
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


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('variant', ['infonce', 'released'])
@pytest.mark.parametrize(
    ('rows', 'row_weight'),
    [
        ([4], [3]),
        ([2, 2, 0, 5, 2, 2], None),
        ([5, 0, 1, 3, 2], [2.0, 0.5, 0.0, 1.0, 3.0]),  # Blocks have two rows.
        ([1, 3, 1], [0, 0, 1]),
    ],
)
def test_some_rows_with_weights(
    rows, row_weight, variant, masked, fused, device, assert_same
):
    problem = Problem(device, combine='sum' if masked else 'product')
    loss = ContextInvariantContrastiveLoss(
        NEGATIVES,
        0.7,
        variant=variant,
        mask_false_negatives=masked,
        block_size=4 * NEGATIVES,
        fused=fused,
    )
    draws = loss.draw(problem.context, len(rows))
    expected = contrastive(
        *problem.readouts,
        draws,
        0.7,
        variant,
        problem.entity_id.tolist() if masked else None,
        rows,
        row_weight,
    )
    actual = loss(
        *problem.readouts,
        problem.entity_id,
        draws,
        torch.tensor(rows, device=device),
        None if row_weight is None else torch.tensor(row_weight, device=device),
    )
    assert_same(actual, expected, problem.tensors)


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('rows', [None, [4, 1, 4]])
@pytest.mark.parametrize('kind', ['mlp', 'residual', 'linear'])
def test_other_context(kind, rows, fused, device, assert_same):
    problem = Problem(device, kind=kind)
    loss = ContextInvariantContrastiveLoss(
        NEGATIVES, contexts='dropout', fused=fused, block_size=4 * NEGATIVES
    )
    size = ROWS if rows is None else len(rows)
    draws = loss.draw(problem.context, size)
    # Any context c_j is c_i times a factor: the path that is tested above can have it.
    other = torch.randn_like(problem.context[:size])
    own = problem.context[:size] if rows is None else problem.context[rows]
    as_mask = draws._replace(mask=other / own.detach())
    expected = contrastive(*problem.readouts, as_mask, 0.5, rows=rows).detach()
    index = None if rows is None else torch.tensor(rows, device=device)
    actual = loss(*problem.readouts, draws=draws, rows=index, other_context=other)
    torch.testing.assert_close(actual.detach(), expected)

    # With contexts of other rows, gradients are those of NegGen1.
    permutation = torch.tensor([3, 0, 0, 5, 1, 2], device=device)[:size]
    permuted = torch.ones_like(permutation, dtype=torch.bool)
    draws = draws._replace(permutation=permutation, permuted=permuted)
    assert_same(
        loss(
            *problem.readouts,
            draws=draws._replace(permuted=~permuted),
            rows=index,
            other_context=problem.context[permutation],
        ),
        contrastive(*problem.readouts, draws, 0.5, rows=rows),
        problem.tensors,
    )


def test_bad_other_context():
    problem = Problem(torch.device('cpu'))
    loss, rows = ContextInvariantContrastiveLoss(), torch.tensor([4, 1])
    with pytest.raises(ValueError, match=r'`other_context`.*\(2, 4\) \(got \(6, 4\)\)'):
        loss(*problem.readouts, rows=rows, other_context=problem.context)


@pytest.mark.parametrize(
    ('kind', 'combine'), [('mlp', 'product'), ('mlp', 'sum'), ('residual', 'product')]
)
@pytest.mark.parametrize(
    ('variant', 'masked'), [('infonce', True), ('released', True), ('infonce', False)]
)
def test_fused_in_single_precision(variant, masked, kind, combine, device):
    # The sizes of the paper, in several blocks, the last of which is not full.
    size, num_rows, channels = 90, 70, 64 if kind == 'residual' else 32
    generator = GENERATORS[kind](32, 128, combine).double().to(device)
    readouts = torch.randn(2, size, channels, dtype=torch.double, device=device)
    entity_id = torch.randint(8, (size,), device=device)
    rows = torch.randint(size, (num_rows,), device=device)
    row_weight = torch.randint(4, (num_rows,), device=device)
    loss = ContextInvariantContrastiveLoss(variant=variant, mask_false_negatives=masked)
    draws = loss.draw(readouts[0], num_rows)
    results = []
    for dtype, fused in ((torch.double, False), (torch.float, True)):
        generator, loss.fused = generator.to(dtype), fused
        entity, context = (x.to(dtype).requires_grad_() for x in readouts)
        out = loss(generator, entity, context, entity_id, draws, rows, row_weight)
        tensors = [entity, context, *generator.parameters()]
        results.append([out, *torch.autograd.grad(out, tensors)])
    for exact, actual in zip(*results, strict=True):
        assert actual.dtype == torch.float
        assert (actual - exact).norm() < 1e-4 * exact.norm()


@pytest.mark.parametrize(
    ('kind', 'fused', 'wanted'),
    [
        ('mlp', True, 'fused_contrastive_sum'),
        ('residual', True, 'fused_contrastive_sum'),
        ('mlp', False, 'blockwise_sum'),
        ('linear', True, 'blockwise_sum'),
        ('nonlinear', True, 'blockwise_sum'),
        ('split', True, 'blockwise_sum'),
    ],
)
def test_which_generators_are_fused(kind, fused, wanted, monkeypatch):
    called = []
    module = sys.modules[ContextInvariantContrastiveLoss.__module__]

    def spy_on(name: str) -> None:
        function = getattr(module, name)

        def spy(*args: Any) -> Tensor:
            called.append(name)
            return function(*args)

        monkeypatch.setattr(module, name, spy)

    spy_on('fused_contrastive_sum')
    spy_on('blockwise_sum')
    problem = Problem(torch.device('cpu'), kind=kind)
    ContextInvariantContrastiveLoss(fused=fused)(*problem.readouts)
    assert called == [wanted]


def test_fused_has_no_second_derivative():
    # It would be wrong without a word.
    problem = Problem(torch.device('cpu'))
    out = ContextInvariantContrastiveLoss()(*problem.readouts).square()
    (grad,) = torch.autograd.grad(out, problem.entity, create_graph=True)
    with pytest.raises(RuntimeError, match='once_differentiable'):
        grad.sum().backward()


@pytest.mark.parametrize('kind', ['mlp', 'split'])
def test_of_constants(kind):
    problem = Problem(torch.device('cpu'), kind=kind)
    problem.generator.requires_grad_(False)
    loss = ContextInvariantContrastiveLoss(NEGATIVES)
    draws = loss.draw(problem.context)
    expected = contrastive(*problem.readouts, draws, temperature=0.5).detach()
    # Nothing that has a gradient, then a context that one of the kinds ignores.
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
    rows = torch.tensor([4, 1])
    torch.manual_seed(1)
    draws = loss.draw(problem.context, 2)
    torch.manual_seed(1)
    value = loss(*problem.readouts, rows=rows).item()
    assert loss(*problem.readouts, draws=draws, rows=rows).item() == value != values[0]


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
    generator = LinearGenerator(ROWS)
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


def test_law_of_draws_for_some_rows(device):
    # Whichever rows they are for, all of the batch are drawn from.
    size, num_rows = 20_000, 10_000
    context = torch.randn(size, 3, device=device)
    draws = ContextInvariantContrastiveLoss(2, dropout=0.3).draw(context, num_rows)
    assert [tuple(draw.shape) for draw in draws] == [
        (num_rows,),
        (num_rows,),
        (num_rows, 3),
        (num_rows, 2),
        (num_rows, 2),
    ]
    assert draws.permutation.unique().numel() == num_rows
    for index in (draws.permutation, draws.negative, draws.other_negative):
        for quarter in range(4):
            assert_share(index // (size // 4) == quarter, 1 / 4)
    assert_share(draws.permuted, 0.5)
    assert_share(draws.mask != 0, 0.7)


@pytest.mark.parametrize('fused', [True, False])
def test_mixed_precision(fused, device):
    generator = MLPGenerator(32).to(device)
    entity, context = torch.randn(2, 200, 32, device=device)
    tensors = [entity.requires_grad_(), context.requires_grad_(), *generator.parameters()]
    loss = ContextInvariantContrastiveLoss(fused=fused)
    draws = loss.draw(context)
    exact = loss(generator, entity, context, draws=draws)
    wanted = torch.autograd.grad(exact, tensors)
    with torch.autocast(device.type, torch.bfloat16):
        out = loss(generator, entity, context, draws=draws)
    grads = torch.autograd.grad(out, tensors)
    # Products are rounded, and, in the fused way, similarities and sums are not.
    assert out.dtype == torch.float32
    assert out.item() == pytest.approx(exact.item(), rel=1e-4 if fused else 1e-2)
    for grad, expected in zip(grads, wanted, strict=True):
        assert grad.dtype == torch.float32
        assert 1e-4 < (grad - expected).norm() / expected.norm() < 0.06


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


def test_nan_stays():
    entity, context = torch.randn(2, 6, 8)
    entity.fill_(torch.nan)
    assert ContextInvariantContrastiveLoss()(MLPGenerator(8), entity, context).isnan()


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('rows', [300, 2048])
def test_sums_readouts_of_low_precision_in_single(rows, fused):
    """Under autocast, some encoders make readouts in bfloat16."""
    generator = MLPGenerator(32)
    entity, context = torch.randn(2, rows, 32).bfloat16()
    loss = ContextInvariantContrastiveLoss(fused=fused)
    draws = loss.draw(context)
    exact = loss(generator, entity.float(), context.float(), draws=draws)
    with torch.autocast('cpu', torch.bfloat16):
        out = loss(generator, entity, context, draws=draws)
    assert out.item() == pytest.approx(exact.item(), rel=1e-3)


@pytest.mark.parametrize('fused', [True, False])
def test_autocast_leaves_doubles_alone(fused):
    generator = MLPGenerator(8).double()
    entity, context = torch.randn(2, 6, 8).double()
    loss = ContextInvariantContrastiveLoss(fused=fused)
    draws = loss.draw(context)
    exact = loss(generator, entity, context, draws=draws)
    with torch.autocast('cpu', torch.bfloat16):
        out = loss(generator, entity, context, draws=draws)
    torch.testing.assert_close(out, exact)


def test_no_more_rows_than_the_batch_has():
    entity, context = torch.randn(2, 6, 8)
    loss = ContextInvariantContrastiveLoss()
    with pytest.raises(ValueError, match='6 rows has no 7'):
        loss(MLPGenerator(8), entity, context, rows=torch.zeros(7, dtype=torch.long))
