"""Rows with negatives among them, in groups or not, and the graphs of both."""

import copy
import pickle
from collections import Counter

import pytest
import torch
from batches import read, read_flat, rows_of

from iedr_geo.data import InteractionDataset, UniformNegativeSampler
from iedr_geo.loader import Curriculum, InteractionLoader

Row = tuple[int, int, int, float]


def table(dataset: InteractionDataset) -> list[Row]:
    y = torch.ones(len(dataset)) if dataset.y is None else dataset.y
    return rows_of(dataset.user, dataset.item, dataset.context, y)


class NextItems(UniformNegativeSampler):
    """Takes the items after the positive, to tell every draw from the others."""

    def sample(self, graph, query, item, generator=None):
        step = torch.arange(1, self.num_negatives + 1)
        return (item.unsqueeze(1) + step) % graph.num_items


@pytest.mark.parametrize('group', [False, True])
@pytest.mark.parametrize('shuffle', [False, True])
def test_every_draw_is_used(dataset, positives, shuffle: bool, group: bool):
    loader = InteractionLoader(
        positives, 5, NextItems(4), shuffle=shuffle, group_negatives=group
    )
    expected = [
        (user, (item + step) % positives.num_items, context, float(step == 0))
        for user, item, context, _ in table(positives)
        for step in range(5)
    ]
    labelled = InteractionLoader(dataset, 4, shuffle=shuffle)
    for rows, wanted in ((loader, expected), (labelled, table(dataset))):
        rows = read_flat(rows)
        assert Counter(rows) == Counter(wanted)
        assert (rows == wanted) != shuffle


@pytest.mark.parametrize(('batch_size', 'groups'), [(3, 1), (4, 1), (15, 5), (100, 12)])
def test_groups(positives: InteractionDataset, batch_size: int, groups: int):
    negatives = UniformNegativeSampler(2)
    loader = InteractionLoader(
        positives, batch_size, negatives, group_negatives=True, shuffle=True
    )
    assert {batch.rows_per_query for batch in loader} == {3}
    batches = read(loader)
    full, last = divmod(12, groups)
    assert [len(b) for b in batches] == [groups * 3] * full + [last * 3] * (last > 0)
    for batch in batches:
        # Each context, hence each positive, is there with all of its rows.
        assert set(Counter(context for _, _, context, _ in batch).values()) == {3}


def test_workers(positives: InteractionDataset):
    negatives = UniformNegativeSampler(2, resample=True)
    one, two = (
        InteractionLoader(positives, 7, negatives, shuffle=True, **workers)
        for workers in ({}, {'num_workers': 2, 'persistent_workers': True})
    )
    state = torch.get_rng_state()
    for epoch in range(2):
        assert read(one, epoch) == read(two, epoch)
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.item.x, b.item.x)
        assert torch.equal(a.item.edge_index, b.item.edge_index)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ('labels', 'arguments', 'message'),
    [
        (True, {'negatives': UniformNegativeSampler(1)}, 'labels of its own'),
        (True, {'group_negatives': True}, '`group_negatives` needs `negatives`'),
        (False, {'group_negatives': True}, '`group_negatives` needs `negatives`'),
        (False, {'curriculum': Curriculum(0.9, 'step')}, "at once.*every='epoch'"),
    ],
)
def test_bad_arguments(dataset, positives, labels: bool, arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        InteractionLoader(dataset if labels else positives, **arguments)
    transformed = copy.copy(dataset)
    transformed.transform = lambda data: data
    with pytest.raises(ValueError, match='transform, which is for single samples'):
        InteractionLoader(transformed)
    with pytest.raises(ValueError, match='on the CPU only'):
        InteractionLoader(positives.to('meta'), num_workers=1)


def test_memory_of_a_log(positives):
    """Ids are stored, graphs are not."""
    log = positives[torch.zeros(100_000, dtype=torch.long)]
    sampler = UniformNegativeSampler(2, resample=True)
    loader = InteractionLoader(log, 1024, sampler, shuffle=True)
    next(iter(loader))  # The negatives are drawn.
    ids = 3 * 8 * len(log)
    assert ids < len(pickle.dumps(loader)) < 3 * ids
