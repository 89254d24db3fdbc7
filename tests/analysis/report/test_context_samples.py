"""Samples in which who is in which context is left to chance."""

import pytest
import torch

from iedr_geo.analysis.report.context_samples import first_rows, sample_contexts
from iedr_geo.datasets import PlantedFactors

NAMES = ('user', 'item', 'context')


@pytest.fixture(scope='module')
def data() -> PlantedFactors:
    return PlantedFactors(num_users=40, num_items=30, num_interactions=800)


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
    # They are rows of the data, but for the contexts, which are left to chance.
    known, rows = (
        list(map(tuple, torch.stack([getattr(d, n) for n in NAMES], 1).tolist()))
        for d in (data, samples)
    )
    known, rows = set(known), rows[:300]
    assert {row[:2] for row in rows} <= {row[:2] for row in known}
    assert sum(row in known for row in rows) < 60


def test_fewer_rows_and_contexts_than_asked_for(data):
    few = data[torch.arange(0, 800, 100)]
    samples = sample_contexts(few, 500)
    assert samples.num_anchors == 8
    assert samples.block[0] == min(few.user.unique().numel(), few.item.unique().numel())
    assert samples.block[1] == few.context.unique().numel()
    assert sample_contexts(data, 20).block == (2, 10)
    assert sample_contexts(data[data.user < 2], 500).block[0] == 2
    assert first_rows(torch.tensor([5, 3, 5, 3, 9, 0])).tolist() == [0, 1, 4, 5]
    with pytest.raises(ValueError, match=r'Two users, items and contexts .*\(got 1, '):
        sample_contexts(data[data.user == 0], 50)
