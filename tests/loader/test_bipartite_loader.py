"""What an epoch holds: each edge, its negatives and the state of the curriculum."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch
import torch.distributed as dist

from iedr_geo.data import (
    BipartiteGraph,
    PopularityMarginSampler,
    PopularityNegativeSampler,
    UniformNegativeSampler,
)
from iedr_geo.loader import BipartiteLoader

HAS = [[0, 3, 8], [1], [], [8, 2, 4, 9], [5, 0, 9]]  # The items of each user.
MARKS = [False, True, False, False, True, True, False, True, False, False, True]
NUM_ITEMS = 11
UNIFORM = UniformNegativeSampler(2, exclude='seen')


def build(has=HAS, marks=MARKS, **arguments):
    pairs = sorted((user, item) for user, items in enumerate(has) for item in items)
    user, item = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    marks = torch.tensor(marks[: len(pairs)], dtype=torch.bool)
    return BipartiteGraph(user, item, len(has), NUM_ITEMS, intervened=marks, **arguments)


def edges(graph):
    mark = graph.intervened.tolist()
    return list(zip(graph.user.tolist(), graph.item.tolist(), mark, strict=True))


def read(loader, epoch=0):
    """Returns the edges of each batch, with their negatives."""
    loader.set_epoch(epoch)
    batches = list(loader)
    assert len(batches) == len(loader)
    for batch in batches:
        assert batch.negative.dtype == batch.user.dtype == torch.long
        assert batch.negative.shape == (len(batch.item), loader.negatives.num_negatives)
    return [
        [
            (edge, tuple(drawn))
            for edge, drawn in zip(edges(batch), batch.negative.tolist(), strict=True)
        ]
        for batch in batches
    ]


def rows(batches):
    return [row for batch in batches for row in batch]


def order(batches):
    return [edge for edge, _ in rows(batches)]


# Edges.


@pytest.mark.parametrize(
    ('batch_size', 'sizes'),
    [(1, [1] * 11), (4, [4, 4, 3]), (10, [10, 1]), (11, [11]), (99, [11])],
)
def test_edges_in_order(batch_size, sizes):
    graph = build()
    batches = read(BipartiteLoader(graph, batch_size, UNIFORM))
    assert [len(batch) for batch in batches] == sizes
    assert order(batches) == edges(graph)


def test_shuffled():
    graph = build()
    loader = BipartiteLoader(graph, 4, UNIFORM, shuffle=True)
    orders = [order(read(loader, epoch)) for epoch in range(5)]
    assert len({*map(tuple, orders), tuple(edges(graph))}) == 6
    for listed in orders:
        assert sorted(listed) == edges(graph)


def test_shuffled_alike():
    """Each edge is as often in each place."""
    graph = build([[0, 1, 2]])
    loader = BipartiteLoader(graph, 3, UNIFORM, shuffle=True)
    count = Counter(tuple(order(read(loader, epoch))) for epoch in range(600))
    assert len(count) == 6
    assert all(60 < times < 140 for times in count.values())


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize(
    'sampler', [UNIFORM, PopularityNegativeSampler(2), PopularityMarginSampler(2, 0, 2)]
)
def test_seed_and_epoch_decide(sampler, shuffle):
    graph = build()

    def load(epochs, seed=0):
        loader = BipartiteLoader(graph, 4, sampler, shuffle=shuffle, seed=seed)
        return [read(loader, epoch) for epoch in epochs]

    before = load([0, 1, 2])
    torch.manual_seed(99)  # The global state has no say.
    state = torch.get_rng_state()
    assert load([2, 0, 1, 1]) == [before[2], before[0], before[1], before[1]]
    assert load([0], seed=1)[0] not in before
    assert torch.equal(torch.get_rng_state(), state)
    # Negatives are drawn anew in every epoch, whether edges are shuffled or not.
    drawn = [Counter(rows(batches)) for batches in before]
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


@pytest.mark.parametrize(
    'sampler',
    [
        UniformNegativeSampler(3, exclude='seen'),
        PopularityNegativeSampler(3),
        PopularityMarginSampler(3, margin=1, min_pool=3),
    ],
)
def test_negatives_are_no_edges(sampler, device):
    graph = build().to(device)
    loader = BipartiteLoader(graph, 4, sampler, shuffle=True)
    drawn = set()
    for epoch in range(20):
        for (user, _, _), negatives in rows(read(loader, epoch)):
            drawn |= {(user, item) for item in negatives}
    assert not drawn & {(user, item) for user, item, _ in edges(graph)}
    assert {user for user, _ in drawn} == {0, 1, 3, 4}
    assert next(iter(loader)).negative.device.type == device.type


def test_batches_draw_from_one_stream():
    """Else batches of equal edges would have equal negatives."""
    graph = build([[0]] * 8, [False] * 8)
    batches = read(BipartiteLoader(graph, 4, UniformNegativeSampler(5)))
    one, two = ([drawn for _, drawn in batch] for batch in batches)
    assert one != two


# The curriculum.


@dataclass(frozen=True)
class Recorder(PopularityMarginSampler):
    """Keeps the margins with which it draws."""

    margins: list = field(default_factory=list)

    def sample(self, graph, user, item, generator=None):
        self.margins.append(self.margin)
        return super().sample(graph, user, item, generator)


@pytest.mark.parametrize(
    ('decay_every', 'steps'),
    [
        ('epoch', [[0] * 3, [1] * 3, [2] * 3, [7] * 3]),
        ('step', [[0, 1, 2], [3, 4, 5], [6, 7, 8], [21, 22, 23]]),
    ],
)
def test_curriculum(decay_every, steps):
    sampler = Recorder(2, margin=40.0, min_pool=2)
    loader = BipartiteLoader(build(), 4, sampler, decay=0.9, decay_every=decay_every)
    for epoch, past in zip((0, 1, 2, 7), steps, strict=True):
        loader.set_epoch(epoch)
        sampler.margins.clear()
        curriculum = [batch.curriculum for batch in loader]
        assert curriculum == pytest.approx([0.9**n for n in past])
        assert sampler.margins == pytest.approx([40 * 0.9**n for n in past])
    assert loader.negatives is sampler and sampler.margin == 40


@pytest.mark.parametrize('decay_every', ['epoch', 'step'])
def test_no_decay(decay_every):
    sampler = Recorder(2, margin=7.0, min_pool=2)
    loader = BipartiteLoader(build(), 4, sampler, decay_every=decay_every)
    loader.set_epoch(50)
    assert [batch.curriculum for batch in loader] == [1.0] * 3
    assert sampler.margins == [7.0] * 3


def test_margin_decides_what_is_drawn():
    """Of what is above 10: at first by more than 8, at last by more than 1."""
    popularity = torch.tensor([10, 19, 15, 13, 12, 0, 0, 0, 0, 0, 0])
    graph = build([[0, *range(5, 11)]], [False] * 7, popularity=popularity)
    sampler = PopularityMarginSampler(1, margin=8, min_pool=1)
    for epoch, within in enumerate([{1}, {1, 2}, {1, 2, 3}, {1, 2, 3, 4}]):
        drawn = set()
        for seed in range(40):
            loader = BipartiteLoader(graph, 1, sampler, decay=0.5, seed=seed)
            (edge, negatives), *_ = rows(read(loader, epoch))
            assert edge == (0, 0, False)
            drawn |= set(negatives)
        assert drawn == within


def test_curriculum_without_a_margin():
    """It is there for the loss, whatever the sampler."""
    loader = BipartiteLoader(build(), 4, UNIFORM, decay=0.5)
    loader.set_epoch(3)
    assert {batch.curriculum for batch in loader} == {0.125}


# Parts.

PART = PopularityMarginSampler(2, margin=0, min_pool=2, exclude='part')


def own_part(graph):
    """Returns what each user has in the normal and in the intervened part."""
    has = {(user, mark): set() for user in range(len(HAS)) for mark in (False, True)}
    for user, item, mark in edges(graph):
        has[user, mark].add(item)
    return has


@pytest.mark.parametrize('batch_size', [1, 5, 11])
def test_negatives_of_the_own_part(batch_size, device):
    """All other items are drawn, such as the user's own in the other part."""
    graph = build(popularity=torch.tensor([1] * NUM_ITEMS)).to(device)
    loader = BipartiteLoader(graph, batch_size, PART, shuffle=True)
    drawn = {}
    for epoch in range(40):
        for edge, negatives in rows(read(loader, epoch)):
            assert len(set(negatives)) == 2
            drawn.setdefault(edge, set()).update(negatives)
    assert sorted(drawn) == edges(graph)
    for (user, _, mark), items in drawn.items():
        assert items == set(range(NUM_ITEMS)) - own_part(graph)[user, mark]


def test_parts_keep_the_popularity():
    """Which is that of the whole, not the degrees in a part."""
    popularity = torch.tensor([5, 9, 0, 0, 9, 0, 0, 0, 5, 5, 9])
    graph = build([[0, 8, 9]], [False, True, True], popularity=popularity)
    loader = BipartiteLoader(graph, 2, PART)
    # Of the other items, 1, 4 and 10 are more popular than each, the rest less.
    drawn = [set(), set(), set()]
    for epoch in range(40):
        for place, (_, negatives) in enumerate(rows(read(loader, epoch))):
            drawn[place] |= set(negatives)
    assert drawn == [{1, 4, 10, 2, 3, 5, 6, 7}] * 3


@pytest.mark.parametrize('mark', [False, True])
def test_one_part_is_empty(mark):
    graph = build(marks=[mark] * 11)
    batches = read(BipartiteLoader(graph, 4, PART))
    assert order(batches) == edges(graph)
    for (user, _, _), negatives in rows(batches):
        assert not set(negatives) & set(HAS[user])


def test_margin_of_both_parts_shrinks():
    sampler = Recorder(2, margin=40.0, min_pool=2, exclude='part')
    loader = BipartiteLoader(build(), 11, sampler, decay=0.5)
    loader.set_epoch(2)
    list(loader)
    assert sampler.margins == [10.0, 10.0]


# Replicas.


def as_replica(patch, rank, world):
    patch.setattr(dist, 'is_initialized', lambda: True)
    patch.setattr(dist, 'get_world_size', lambda: world)
    patch.setattr(dist, 'get_rank', lambda: rank)


@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('world', [1, 2, 4, 11, 13])
def test_replicas(world, shuffle, monkeypatch):
    """Dealt in turns; the first edges fill the last round."""
    graph = build()
    loader = BipartiteLoader(graph, 2, UNIFORM, shuffle=shuffle)
    whole = order(read(loader, 3))
    parts = []
    for rank in range(world):
        # Processes are often started after the loader was made.
        as_replica(monkeypatch, rank, world)
        parts.append(order(read(loader, 3)))
    each = -(-11 // world)
    dealt = (whole * 2)[: each * world]
    assert parts == [dealt[rank::world] for rank in range(world)]
    assert len(loader) == -(-each // 2)
    count = Counter(edge for part in parts for edge in part)
    assert set(count) == set(edges(graph))
    assert max(count.values()) - min(count.values()) <= 1


def test_replicas_draw_their_own_negatives(monkeypatch):
    loader = BipartiteLoader(build([[0]] * 8, [False] * 8), 4, UniformNegativeSampler(5))
    drawn = []
    for rank in (0, 1, 0):
        as_replica(monkeypatch, rank, 2)
        drawn.append([negatives for _, negatives in rows(read(loader))])
    assert drawn[0] == drawn[2] != drawn[1]


def test_steps_of_replicas(monkeypatch):
    """The curriculum goes on by the steps that each of them takes."""
    as_replica(monkeypatch, 1, 3)
    loader = BipartiteLoader(build(), 3, UNIFORM, decay=0.5, decay_every='step')
    for epoch, past in enumerate([(0, 1), (2, 3)]):
        loader.set_epoch(epoch)
        assert [batch.curriculum for batch in loader] == [0.5**n for n in past]


# Wrong arguments.


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'graph': build([[], []], [])}, 'no edges to load'),
        ({'batch_size': 0}, r'`batch_size` must be at least 1 \(got 0\)'),
        ({'decay': 0.0}, r'`decay` must be above 0 and at most 1 \(got 0\.0\)'),
        ({'decay': 1.01}, r'`decay` must be .*\(got 1\.01\)'),
        ({'decay_every': 'batch'}, r"'epoch' or 'step' \(got 'batch'\)"),
    ],
)
def test_bad_arguments(arguments, message):
    defaults = {'graph': build(), 'batch_size': 4, 'negatives': UNIFORM}
    with pytest.raises(ValueError, match=message):
        BipartiteLoader(**{**defaults, **arguments})


@pytest.mark.parametrize(
    'sampler',
    [UNIFORM, PopularityNegativeSampler(2), PopularityMarginSampler(2, 0, 2), PART],
)
def test_user_with_every_item(sampler):
    has = [[0], list(range(NUM_ITEMS))]
    graph = build(has, [False] * 12, user_ids=['ann', 'bob'])
    with pytest.raises(ValueError, match="User 'bob' has all 11 items"):
        list(BipartiteLoader(graph, 4, sampler))
