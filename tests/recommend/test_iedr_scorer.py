"""Scores of a catalogue against a forward pass over every triple."""

from __future__ import annotations

import itertools

import pytest
import torch
from shop import every_triple, make_model, make_shop, parts_of

from iedr_geo.data import InteractionDataset
from iedr_geo.recommend import iedr_scorer
from iedr_geo.recommend.iedr_scorer import IEDRScorer, Readouts

GENERATORS = ['mlp', 'linear', 'nonlinear', 'split', 'residual']
ENCODERS = ['sign', 'mean', 'mlp', 'bi']


@pytest.fixture(scope='module')
def dataset() -> InteractionDataset:
    return make_shop()


@pytest.fixture(autouse=True)
def blocks(monkeypatch) -> None:
    """Several blocks of items and of graphs, the last of each smaller."""
    monkeypatch.setattr(iedr_scorer, 'SCORED', 5)
    monkeypatch.setattr(iedr_scorer, 'ENCODED', 3)


def scores_of_all(scorer: IEDRScorer, dataset: InteractionDataset) -> torch.Tensor:
    """Scores of each user in each context, of shape (U, C, I), in a single call."""
    users = torch.arange(dataset.num_users, device=scorer.device)
    context_row = torch.arange(dataset.num_contexts, device=scorer.device)
    out = scorer.scores(
        scorer.users[users.repeat(dataset.num_contexts)],
        scorer.encode('context', dataset.contexts),
        context_row.repeat_interleave(dataset.num_users),
        scorer.items,
    )
    return out.view(dataset.num_contexts, dataset.num_users, -1).transpose(0, 1)


def by_triple(scores: torch.Tensor, dataset: InteractionDataset) -> torch.Tensor:
    sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
    return scores.view(sizes).transpose(1, 2)


@pytest.mark.parametrize('pointwise', [False, True])
@pytest.mark.parametrize('encoder', ENCODERS)
@pytest.mark.parametrize('combine', ['product', 'sum'])
@pytest.mark.parametrize('generator', GENERATORS)
def test_scores_equal_the_model(dataset, generator, combine, encoder, pointwise):
    model = make_model(
        dataset.schema,
        exact=True,
        generator=generator,
        combine=combine,
        encoder=encoder,
        pointwise=pointwise,
    )
    expected = by_triple(model(every_triple(dataset)), dataset)
    assert len(expected.unique()) > 10
    scorer = IEDRScorer(model, dataset.users, dataset.items)
    assert torch.equal(scores_of_all(scorer, dataset), expected)


@pytest.mark.parametrize('size', [5, 4096])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('generator', GENERATORS)
def test_rounding(dataset, generator, dtype, size, monkeypatch):
    """Another order of sums costs no precision."""
    monkeypatch.setattr(iedr_scorer, 'SCORED', size)
    model = make_model(dataset.schema, generator=generator, pointwise=True).to(dtype)
    expected = by_triple(model(every_triple(dataset)), dataset)
    scores = scores_of_all(IEDRScorer(model, dataset.users, dataset.items), dataset)
    assert scores.dtype == dtype
    error = (scores - expected).abs().max() / expected.abs().max()
    assert error < 50 * torch.finfo(dtype).eps


@pytest.mark.parametrize('pointwise', [False, True])
@pytest.mark.parametrize('generator', GENERATORS)
def test_parts_add_up(dataset, generator, pointwise):
    model = make_model(dataset.schema, generator=generator, pointwise=pointwise)
    batch = every_triple(dataset)
    expected = parts_of(model, batch)
    scorer = IEDRScorer(model, dataset.users, dataset.items)
    contexts = scorer.encode('context', dataset.contexts)
    parts = scorer.split(
        scorer.users[batch.user_id],
        scorer.items[batch.item_id],
        contexts[batch.context_id],
    )
    assert tuple(parts) == scorer.parts == tuple(expected)
    for name, part in parts.items():
        assert part.abs().max() > 1e-3
        torch.testing.assert_close(part, expected[name], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sum(parts.values()), model(batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.parametrize('encoder', ENCODERS)
def test_graphs_are_encoded_as_in_a_batch(dataset, encoder, generator, device):
    model = make_model(dataset.schema, encoder=encoder, generator=generator).to(device)
    batch = every_triple(dataset.to(device))
    scorer = IEDRScorer(model, dataset.users, dataset.items)
    readouts = (scorer.users, scorer.items, scorer.encode('context', dataset.contexts))
    ids = (batch.user_id, batch.item_id, batch.context_id)
    for actual, expected, row in zip(readouts, model.readouts(batch), ids, strict=True):
        assert actual.vector.device.type == device.type
        torch.testing.assert_close(actual[row].vector, expected, rtol=1e-5, atol=1e-5)
        assert not actual.pointwise.any()
    factors = model.factors(batch)
    context = readouts[2][batch.context_id]
    for side, name in itertools.product(('user', 'item'), scorer.factors):
        row = getattr(batch, f'{side}_id')
        actual = scorer.factor(side, getattr(scorer, f'{side}s')[row], context, name)
        expected = getattr(getattr(factors, side), name)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    expected = by_triple(model(batch), dataset)
    actual = scores_of_all(scorer, dataset)
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('generator', GENERATORS)
def test_some_users_in_some_contexts(dataset, generator):
    """Contexts that nobody is in, or two users, one of them twice; a few items."""
    model = make_model(dataset.schema, exact=True, generator=generator, pointwise=True)
    expected = by_triple(model(every_triple(dataset)), dataset)
    scorer = IEDRScorer(model, dataset.users, dataset.items)
    users = torch.tensor([4, 2, 2, 0])
    row = torch.tensor([1, 1, 1, 3])
    items = torch.tensor([9, 0, 4, 4, 11, 2, 10])
    contexts = scorer.encode('context', dataset.contexts)
    actual = scorer.scores(scorer.users[users], contexts, row, scorer.items[items])
    assert torch.equal(actual, expected[users, row][:, items])


def test_readouts_are_indexed_together():
    readouts = Readouts(torch.arange(8).view(4, 2), torch.arange(4))
    part = readouts[torch.tensor([3, 1])]
    assert (len(readouts), len(part)) == (4, 2)
    assert part.vector.tolist() == [[6, 7], [2, 3]] and part.pointwise.tolist() == [3, 1]
