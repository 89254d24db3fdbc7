"""Contrastive losses against loops over rows and negatives."""

import math
import weakref
from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn import (
    ContextInvariantContrastiveLoss,
    ContrastiveDraws,
    DropoutContrastiveLoss,
    FactorGenerator,
    Factors,
    MLPGenerator,
)
from iedr_geo.nn.generator import GENERATORS
from iedr_geo.nn.loss.fused_contrastive import fused_contrastive_sum

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
    others: Tensor | None = None,
) -> Tensor:
    """Equation (2) and lines 4 to 17 of Algorithm 1.

    Given ids, leaves out the negatives that are the row's own user or item. Given rows,
    takes the mean over them alone, given their weights, the weighted mean. Given the
    other contexts, draws none.
    """
    rows = list(range(len(entity))) if rows is None else rows
    row_weight = [1.0] * len(rows) if row_weight is None else row_weight

    def intrinsic(u: Tensor, c: Tensor) -> Tensor:
        return generator(u, c).intrinsic

    total = 0.0
    for n, (i, weight) in enumerate(zip(rows, row_weight, strict=True)):
        if others is not None:
            other = others[n]
        elif draws.permuted[n]:
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
        generator = GENERATORS[kind](CHANNELS, 7, combine, 'user')
        self.generator = generator.double().to(device)
        shape = (rows, CHANNELS * (1 + generator.further_embeddings))
        self.entity = torch.randn(shape, dtype=torch.double).to(device).requires_grad_()
        self.context = torch.randn(shape, dtype=torch.double).to(device).requires_grad_()
        self.entity_id = torch.tensor([3, 1, 3, 2, 1, 3])[:rows].to(device)

    @property
    def tensors(self) -> list[Tensor]:
        return [self.entity, self.context, *self.generator.parameters()]

    @property
    def readouts(self) -> tuple[FactorGenerator, Tensor, Tensor]:
        return self.generator, self.entity, self.context


class OtherForward(MLPGenerator):
    """Neither its layers nor `intrinsic` stand for what it does."""

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        return Factors(*(f.exp() for f in super().forward(entity, context)))


FUSED = ['mlp', 'residual']  # Their gradient is written out.


@pytest.mark.parametrize(
    'case',
    [
        *((kind, 'product', None, None) for kind in [*GENERATORS, 'own']),
        *((kind, 'sum', None, None) for kind in ('mlp', 'split')),
        ('mlp', 'product', [4], [3]),
        ('mlp', 'sum', [2, 2, 0, 5, 2, 2], None),
        ('mlp', 'sum', [5, 0, 1, 3, 2], [2.0, 0.5, 0.0, 1.0, 3.0]),
        ('residual', 'product', [1, 3, 1], [0, 0, 1]),
        ('linear', 'product', [2, 2, 0], [0.5, 0.0, 1.0]),
    ],
)
@pytest.mark.parametrize(
    'way',
    [
        ('both', 'infonce', False, 1, True),
        ('both', 'released', False, 2, True),
        ('sample', 'infonce', True, 4, True),
        ('dropout', 'released', True, 100, True),
        ('both', 'infonce', True, 2, False),
        ('both', 'released', True, 100, False),
        ('given', 'infonce', False, 2, True),
    ],
)
def test_equals_loops(case, way, device, assert_same, monkeypatch):
    """For any generator and rows, and in blocks of any number of them."""
    kind, combine, rows, row_weight = case
    contexts, variant, masked, block, fused = way
    problem = Problem(device, kind='mlp' if kind == 'own' else kind, combine=combine)
    if kind == 'own':
        problem.generator.__class__ = OtherForward
    drawn, given = ('both', True) if contexts == 'given' else (contexts, False)
    how = (drawn, 0.4, variant, masked, 2 * block * NEGATIVES, fused)
    loss = ContextInvariantContrastiveLoss(NEGATIVES, 0.7, *how)
    size = ROWS if rows is None else len(rows)
    draws = loss.draw(problem.context, size)
    if contexts == 'both':  # Certainly both, if there are several.
        draws = draws._replace(permuted=torch.arange(size, device=device) % 2 == 0)
    tensors, others = problem.tensors, None
    if given:
        others = torch.randn_like(problem.context[:size]).requires_grad_()
        tensors.append(others)
    ids = problem.entity_id.tolist() if masked else None
    expected = contrastive(
        *problem.readouts, draws, 0.7, variant, ids, rows, row_weight, others
    )
    rows, row_weight = (
        None if values is None else torch.tensor(values, device=device)
        for values in (rows, row_weight)
    )
    spy = Mock(side_effect=fused_contrastive_sum)
    module = ContextInvariantContrastiveLoss.__module__
    monkeypatch.setattr(f'{module}.fused_contrastive_sum', spy)
    arguments = (*problem.readouts, problem.entity_id, draws, rows, row_weight, others)
    assert_same(loss(*arguments), expected, tensors)
    with torch.no_grad():
        torch.testing.assert_close(loss(*arguments), expected.detach())
    assert spy.called == (fused and kind in FUSED)


@pytest.mark.parametrize('kind', FUSED)
@pytest.mark.parametrize('variant', ['infonce', 'released'])
def test_fused_in_single_precision(variant, kind, device):
    # The sizes of the paper, in several blocks, the last of which is not full.
    size, num_rows, channels = 90, 70, 64 if kind == 'residual' else 32
    generator = GENERATORS[kind](32, 128, 'product', 'user').double().to(device)
    readouts = torch.randn(2, size, channels, dtype=torch.double, device=device)
    entity_id = torch.randint(8, (size,), device=device)
    rows = torch.randint(size, (num_rows,), device=device)
    row_weight = torch.randint(4, (num_rows,), device=device)
    loss = ContextInvariantContrastiveLoss(variant=variant, mask_false_negatives=True)
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
    loss = ContextInvariantContrastiveLoss(NEGATIVES, block_size=1)
    draws = loss.draw(problem.context)
    expected = contrastive(*problem.readouts, draws, temperature=0.5).detach()
    # Nothing that has a gradient, then a context that one of the kinds ignores.
    for context in (problem.context.detach(), problem.context):
        actual = loss(problem.generator, problem.entity.detach(), context, draws=draws)
        torch.testing.assert_close(actual.detach(), expected)


def test_holds_one_block_at_a_time():
    """Of a generator whose gradient is not written out, in both directions."""
    problem, held = Problem(torch.device('cpu')), []

    class Recording(OtherForward):
        def forward(self, entity: Tensor, context: Tensor) -> Factors:
            assert all(ref() is None for ref in held)
            out = super().forward(entity, context)
            held.append(weakref.ref(out.intrinsic))  # Saved for the gradient of `exp`.
            return out

    problem.generator.__class__ = Recording
    ContextInvariantContrastiveLoss(NEGATIVES, block_size=1)(*problem.readouts).backward()
    assert len(held) == 2 * ROWS and all(ref() is None for ref in held)


@pytest.mark.parametrize('rows', [None, torch.tensor([4, 1])])
def test_draws_anew_each_time(rows):
    problem = Problem(torch.device('cpu'))
    loss = ContextInvariantContrastiveLoss(NEGATIVES)
    torch.manual_seed(1)
    draws = loss.draw(problem.context, None if rows is None else len(rows))
    expected = loss(*problem.readouts, draws=draws, rows=rows)
    torch.manual_seed(1)
    assert loss(*problem.readouts, rows=rows) == expected
    assert loss(*problem.readouts, rows=rows) != expected


@pytest.mark.parametrize('variant', ['infonce', 'released'])
def test_nothing_to_compare(variant, device):
    # Of one row all factors are the same, so all 1 + 2 L similarities are one.
    problem = Problem(device, rows=1)
    loss = ContextInvariantContrastiveLoss(NEGATIVES, contexts='sample', variant=variant)
    wanted = math.log(1 + 2 * NEGATIVES)
    assert loss(*problem.readouts).item() == pytest.approx(wanted)
    # Of rows of the same entity, no negative is left.
    problem, loss.mask_false_negatives = Problem(device), True
    out = loss(*problem.readouts, torch.zeros(ROWS, device=device))
    assert out.item() == pytest.approx(0, abs=1e-12)
    for grad in torch.autograd.grad(out, problem.tensors):
        torch.testing.assert_close(grad, torch.zeros_like(grad))


def assert_share(event: Tensor, probability: float) -> None:
    deviation = math.sqrt(probability * (1 - probability) / event.numel())
    share = event.double().mean().item()
    assert share == pytest.approx(probability, abs=5 * deviation)


@pytest.mark.parametrize(
    ('contexts', 'probability', 'dropout'),
    [('sample', 1.0, 0.0), ('dropout', 0.0, 0.5), ('both', 0.5, 0.8)],
)
def test_law_of_draws(contexts, probability, dropout, device):
    """For some rows: all of the batch are drawn from, whichever rows they are."""
    size, num_rows = 20_000, 10_000
    context = torch.randn(size, 3, dtype=torch.double, device=device)
    loss = ContextInvariantContrastiveLoss(2, contexts=contexts, dropout=dropout)
    draws = loss.draw(context, num_rows)
    shapes = [(num_rows,), (num_rows,), (num_rows, 3), (num_rows, 2), (num_rows, 2)]
    assert [tuple(draw.shape) for draw in draws] == shapes
    assert draws.mask.dtype == context.dtype and draws.mask.device == context.device
    kept = draws.mask != 0
    torch.testing.assert_close(draws.mask, kept.double() / (1 - dropout))
    assert_share(kept, 1 - dropout)
    assert_share(kept[1:].eq(kept[:-1]), dropout**2 + (1 - dropout) ** 2)

    assert_share(draws.permuted, probability)
    assert_share(draws.permuted[1:] & draws.permuted[:-1], probability**2)
    assert draws.permutation.unique().numel() == num_rows
    assert_share(draws.permutation[: num_rows // 2] < size // 2, 1 / 2)  # In no order.
    # Which context a row would be given does not depend on whether it is.
    if contexts != 'dropout':
        assert_share(draws.permutation[draws.permuted] >= size // 2, 0.5)
    for index in (draws.permutation, draws.negative, draws.other_negative):
        for quarter in range(4):
            assert_share(index // (size // 4) == quarter, 1 / 4)
    low = draws.negative < size // 2
    for other in (draws.other_negative < size // 2, low.flip(0, 1)):
        assert_share(low == other, 1 / 2)
    assert sorted(loss.draw(context).permutation.tolist()) == list(range(size))


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float, torch.double], ids=str)
def test_mixed_precision(dtype, fused, device):
    """Some encoders make readouts in bfloat16, whose sums are single; doubles stay."""
    exact_dtype = torch.promote_types(dtype, torch.float)
    generator = MLPGenerator(32).to(device, exact_dtype)
    rounded = torch.randn(2, 300, 32, device=device).to(dtype)
    readouts = rounded.to(exact_dtype).requires_grad_()
    loss = ContextInvariantContrastiveLoss(fused=fused)
    draws = loss.draw(rounded[1])
    tensors = [readouts, *generator.parameters()]
    exact = loss(generator, *readouts, draws=draws)
    wanted = torch.autograd.grad(exact, tensors)
    with torch.autocast(device.type, torch.bfloat16):
        if dtype == torch.bfloat16:
            out = loss(generator, *rounded, draws=draws)
            tensors, wanted = tensors[1:], wanted[1:]
        else:
            out = loss(generator, *readouts, draws=draws)
    grads = torch.autograd.grad(out, tensors)
    # Products are rounded, and, in the fused way, similarities and sums are not.
    rel = 1e-7 if dtype == torch.double else 1e-4 if fused else 1e-2
    assert out.dtype == exact_dtype
    assert out.item() == pytest.approx(exact.item(), rel=rel)
    for grad, expected in zip(grads, wanted, strict=True):
        assert grad.dtype == exact_dtype
        apart = (grad - expected).norm() / expected.norm()
        assert apart < 1e-7 if dtype == torch.double else 1e-4 < apart < 0.06


@pytest.mark.parametrize(
    ('arguments', 'call', 'message'),
    [
        ({'contexts': 'none'}, {}, "'sample', 'dropout' or 'both'.*'none'"),
        ({'variant': 'double'}, {}, "'infonce' or 'released'.*'double'"),
        ({'num_negatives': 0}, {}, '`num_negatives`.*0'),
        ({'temperature': 0.0}, {}, 'positive.*0.0'),
        ({'temperature': math.nan}, {}, 'positive.*nan'),
        ({'dropout': 1.0}, {}, r'\[0, 1\).*1.0'),
        ({'dropout': -0.1}, {}, r'\[0, 1\).*-0.1'),
        ({'mask_false_negatives': True}, {}, 'needs `entity_id`'),
        ({}, {'rows': torch.zeros(7).long()}, '6 rows has no 7'),
        (
            {},
            {'rows': torch.tensor([4, 1]), 'other_context': torch.zeros(6, 4)},
            r'`other_context`.*\(2, 4\) \(got \(6, 4\)\)',
        ),
    ],
)
def test_bad_arguments(arguments, call, message):
    problem = Problem(torch.device('cpu'))
    with pytest.raises(ValueError, match=message):
        ContextInvariantContrastiveLoss(**arguments)(*problem.readouts, **call)


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
def test_dropout_loss_equals_loops(rows, device, assert_same):
    factor = torch.randn(rows, CHANNELS, dtype=torch.double).to(device).requires_grad_()
    torch.manual_seed(1)
    actual = DropoutContrastiveLoss(NEGATIVES, 0.7, 0.3)(factor)
    torch.manual_seed(1)
    negative = torch.randint(rows, (rows, NEGATIVES), device=device)
    view, losses = F.dropout(factor, 0.3), []
    for i in range(rows):
        scores = [cosine(factor[i], view[i]) / 0.7]
        scores += [cosine(factor[i], view[j]) / 0.7 for j in negative[i].tolist()]
        losses.append(-log_share_of_first(scores, 'infonce'))
    assert_same(actual, sum(losses) / rows, [factor])


def test_nan_stays():
    entity, context = torch.randn(2, 6, 8)
    entity.fill_(torch.nan)
    assert ContextInvariantContrastiveLoss()(MLPGenerator(8), entity, context).isnan()
