"""What the epochs of all loaders have in common."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

import pandas as pd
import pytest
import torch
import torch.distributed as dist
from batches import Loader, read, read_flat, rows_of
from scipy.stats import chisquare
from shop import IDS, SALES, make_shop

from iedr_geo.data import (
    BipartiteGraph,
    PopularityMarginSampler,
    PopularityNegativeSampler,
    UniformNegativeSampler,
)
from iedr_geo.loader import Curriculum, EdgeLoader, InteractionLoader, UserLoader

UNIFORM = UniformNegativeSampler(2, resample=True)
MARGIN = PopularityMarginSampler(2, margin=1, min_pool=2)
SAMPLERS = [
    UNIFORM,
    UniformNegativeSampler(2, exclude='seen'),
    UniformNegativeSampler(2, exclude='context'),
    PopularityNegativeSampler(2),
    PopularityNegativeSampler(2, exclude='context'),
    MARGIN,
    replace(MARGIN, exclude='part'),
    replace(MARGIN, exclude='context'),
    PopularityMarginSampler(2),
]


EDGES = 'edges', 'context'  # Edges have no contexts: a query is a user.


class Kind:
    """One of the loaders, and what it has to load."""

    def __init__(self, name, dataset, graph):
        self.name, self.dataset, self.graph = name, dataset, graph
        # What is shuffled as a whole, in rows, if two negatives are drawn.
        self.unit = 3 if name == 'groups' else 1
        self.negatives = {} if name == 'users' else {'negatives': UNIFORM}

    def __call__(self, batch_size=6, **kwargs) -> Loader:
        if self.name == 'users':
            return UserLoader(self.graph, batch_size, **kwargs)
        if self.name == 'edges':
            return EdgeLoader(self.graph, batch_size, **kwargs)
        group = self.name == 'groups'
        return InteractionLoader(
            self.dataset, batch_size, group_negatives=group, **kwargs
        )

    @property
    def whole(self):
        if self.name == 'users':
            has = [(u, self.graph.positives(u).tolist()) for u in range(5)]
            return [(user, tuple(items)) for user, items in has if items]
        if self.name == 'edges':
            return rows_of(self.graph.user, self.graph.item)
        d = self.dataset
        return rows_of(d.user, d.item, d.context, torch.ones(len(d)))

    def drawn(self, rows):
        """Returns the negatives of each positive, sorted."""
        if self.name == 'edges':
            return {(user, item): sorted(drawn) for user, item, drawn in rows}
        drawn = {row[:3]: [] for row in self.whole}
        for _, item, context, y in rows:
            if y == 0:  # A row's context is its own here: it tells whose they are.
                drawn[self.whole[context][:3]].append(item)
        return {positive: sorted(items) for positive, items in drawn.items()}


@pytest.fixture
def make(request, positives, graph) -> Kind:
    return Kind(request.param, positives, graph)


def over(*kinds):
    return pytest.mark.parametrize('make', kinds, indirect=True)


EVERY = over('rows', 'groups', 'edges', 'users')
DRAWING = over('rows', 'groups', 'edges')


# Orders.


@over('rows', 'edges', 'users')
@pytest.mark.parametrize('batch_size', [1, 3, 4, 99])
def test_everything_once_and_in_order(make, batch_size):
    batches = read(make(batch_size))
    assert [row for batch in batches for row in batch] == make.whole
    assert {len(batch) for batch in batches[:-1]} <= {batch_size}
    assert 1 <= len(batches[-1]) <= batch_size


@over('rows', 'edges', 'users')
def test_all_orders_are_as_likely(make):
    loader, first = make(99, shuffle=True), Counter()
    for epoch in range(20 * len(make.whole)):
        order = read_flat(loader, epoch)
        assert sorted(order) == sorted(make.whole)
        first[order[0]] += 1
    assert chisquare([first[row] for row in make.whole]).pvalue > 1e-3


@EVERY
def test_seed_and_epoch_decide(make):
    arguments = {**make.negatives, 'shuffle': True}
    before = [read(make(**arguments), epoch) for epoch in range(3)]
    assert before[0] != before[1] != before[2] != before[0]
    torch.manual_seed(99)  # The global state has no say.
    state = torch.get_rng_state()
    loader = make(**arguments)
    for epoch in (2, 0, 1, 1):
        assert read(loader, epoch) == before[epoch]
    assert torch.equal(torch.get_rng_state(), state)
    assert read(make(**arguments, seed=1)) not in before


@EVERY
@pytest.mark.parametrize('shuffle', [False, True])
@pytest.mark.parametrize('world', [2, 13])
def test_replicas(make, shuffle, world):
    """Units are dealt in turns; the first ones fill the last round."""
    # Fixed, or each replica of edges would draw its own negatives.
    fixed = {name: replace(UNIFORM, resample=False) for name in make.negatives}
    arguments = {'shuffle': shuffle, **fixed}
    whole = read_flat(make(**arguments), 3)
    units = [whole[i : i + make.unit] for i in range(0, len(whole), make.unit)]
    rounds = -(-len(units) // world)
    dealt = (units * world)[: rounds * world]
    replicas = [make(**arguments, num_replicas=world, rank=r) for r in range(world)]
    assert len({len(loader) for loader in replicas}) == 1
    for rank, loader in enumerate(replicas):
        expected = [row for unit in dealt[rank::world] for row in unit]
        assert read_flat(loader, 3) == expected


@EVERY
def test_replicas_as_torch_says(make, monkeypatch):
    arguments = {**make.negatives, 'shuffle': True}
    loader = make(**arguments)
    expected = read(make(**arguments, num_replicas=3, rank=2))
    # Processes are often started after the loader was made.
    monkeypatch.setattr(dist, 'is_initialized', lambda: True)
    monkeypatch.setattr(dist, 'get_world_size', lambda: 3)
    monkeypatch.setattr(dist, 'get_rank', lambda: 2)
    assert read(loader) == expected


# Negatives.


@DRAWING
@pytest.mark.parametrize('sampler', SAMPLERS)
@pytest.mark.parametrize('resample', [False, True])
def test_every_loader_takes_every_sampler(make, sampler, resample, device):
    make.dataset, make.graph = make.dataset.to(device), make.graph.to(device)
    sampler = replace(sampler, resample=resample)
    loader = make(negatives=sampler, shuffle=True)
    edges = set(rows_of(make.graph.user, make.graph.item))
    epochs = []
    for epoch in range(3):
        drawn = make.drawn(read_flat(loader, epoch))
        assert len(drawn) == len(make.whole)
        for (user, item, *_), items in drawn.items():
            assert len(items) == 2 and item not in items
            if sampler.exclude == 'seen' or (make.name, sampler.exclude) == EDGES:
                assert not edges & {(user, other) for other in items}
        epochs.append(drawn)
    # They are others in every epoch, or always the same.
    assert all((drawn == epochs[0]) != resample for drawn in epochs[1:])
    assert make.drawn(read_flat(make(negatives=sampler, seed=1))) != epochs[0]


@over('rows', 'groups')
@pytest.mark.parametrize('sampler', [s for s in SAMPLERS if s.exclude == 'context'])
def test_what_was_had_in_the_same_context(make, sampler, device):
    """What is had by the user in others, or by others, may come."""
    make.dataset = make_shop(SALES.assign(day=SALES.index % 2, gift=True)).to(device)
    d, had, drawn = make.dataset, defaultdict(set), defaultdict(set)
    for user, item, context in rows_of(d.user, d.item, d.context):
        had[user, context].add(item)
    loader = make(negatives=replace(sampler, resample=True))
    for epoch in range(100):
        for user, item, context, y in read_flat(loader, epoch):
            drawn[user, context] |= {item} if y == 0 else set()
    popular = BipartiteGraph.from_dataset(d).popularity > 0
    items = set(range(d.num_items))
    if isinstance(sampler, PopularityNegativeSampler):
        items = set(popular.nonzero().view(-1).tolist())
    assert drawn == {query: items - own for query, own in had.items()}


@over('rows', 'groups')
def test_everything_in_one_context(make):
    """The error says of which user, and in which context."""
    sales = pd.DataFrame({'customer': 4, 'article': IDS, 'day': 'sat', 'gift': False})
    sales = pd.concat([SALES[['customer', 'article', 'day', 'gift']][:1], sales])
    make.dataset = make_shop(sales)
    context = make.dataset.num_contexts - 1
    for sampler in SAMPLERS:
        if sampler.exclude == 'context':
            message = f"User '4' has in context {context} all 12 items: .* left"
            with pytest.raises(ValueError, match=message):
                read(make(negatives=sampler))


class Stingy(UniformNegativeSampler):
    """Draws fewer than it says."""

    def sample(self, graph, query, item, generator=None):
        return super().sample(graph, query, item, generator)[:, 1:]


@DRAWING
def test_samplers_must_keep_their_word(make):
    message = r'Stingy must draw items of shape \(\d+, 3\) \(got \(\d+, 2\)\)'
    with pytest.raises(ValueError, match=message):
        read(make(negatives=Stingy(3)))


# Curricula.


@dataclass(frozen=True)
class Recorder(PopularityMarginSampler):
    """Keeps the margins with which it draws."""

    margins: list = field(default_factory=list)

    def sample(self, *args):
        self.margins.append(self.margin * self.factor)
        return super().sample(*args)


@DRAWING
def test_margin_follows_the_curriculum(make):
    sampler = Recorder(2, margin=40.0, min_pool=2)
    loader = make(negatives=sampler, curriculum=Curriculum(0.5))
    for epoch, margin in ((0, 40.0), (3, 5.0), (1, 20.0)):
        sampler.margins.clear()
        read(loader, epoch)
        assert set(sampler.margins) == {margin}
    fixed, curriculum = replace(MARGIN, resample=False), Curriculum(0.9)
    with pytest.raises(ValueError, match=r'Fixed negatives cannot .*MarginSampler'):
        make(negatives=fixed, curriculum=curriculum)
    make(negatives=fixed, curriculum=Curriculum(1.0))
    make(negatives=replace(UNIFORM, resample=False), curriculum=curriculum)


@pytest.mark.parametrize(('world', 'past'), [(1, [6, 7, 8]), (3, [2])])
def test_curriculum_of_steps(graph, world, past):
    """Replicas count the steps that each of them takes."""
    sampler = Recorder(2, margin=40.0, min_pool=2)
    for negatives in (sampler, UNIFORM, None):  # It is there for the loss in any case.
        loader = EdgeLoader(
            graph, 4, negatives, curriculum=Curriculum(0.5, 'step'), num_replicas=world
        )
        loader.set_epoch(2)
        assert [batch.curriculum for batch in loader] == [0.5**n for n in past]
    assert sampler.margins == [40 * 0.5**n for n in past]


# Wrong arguments.


@EVERY
def test_bad_arguments(make):
    message = rf'`batch_size` must be at least {make.unit}.*\(got {make.unit - 1}\)'
    with pytest.raises(ValueError, match=message):
        make(make.unit - 1, **make.negatives)
    for kwargs, got in (
        ({'num_replicas': 2, 'rank': 2}, '2 of 2'),
        ({'num_replicas': 2, 'rank': -1}, '-1 of 2'),
        ({'rank': 1}, '1 of 1'),
    ):
        with pytest.raises(ValueError, match=rf'`rank`.*\(got {got}\)'):
            make(**make.negatives, **kwargs)
    make.dataset = make.dataset[[]]
    make.graph = make.graph.subgraph(torch.tensor([], dtype=torch.long))
    with pytest.raises(ValueError, match=r'There are no \w+ to load'):
        make(**make.negatives)
