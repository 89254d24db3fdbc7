"""What batches of edges hold besides edges."""

from dataclasses import dataclass, field

import pytest
import torch
from batches import read, read_flat

from iedr_geo.data import (
    BipartiteGraph,
    PopularityMarginSampler,
    UniformNegativeSampler,
)
from iedr_geo.loader import Curriculum, EdgeLoader

FRESH = UniformNegativeSampler(5, resample=True)


@pytest.fixture
def alike() -> BipartiteGraph:
    """Eight users with the same item."""
    return BipartiteGraph(torch.arange(8), torch.zeros(8, dtype=torch.long), 8, 11)


def drawn(batch):
    return [negatives for _, _, negatives in batch]


def test_batches_draw_from_one_stream(alike):
    """Else batches of equal edges would have equal negatives."""
    one, two = read(EdgeLoader(alike, 4, FRESH))
    assert drawn(one) != drawn(two)


def test_replicas_draw_their_own_negatives(alike):
    first, other, again = (
        drawn(read_flat(EdgeLoader(alike, 4, FRESH, num_replicas=2, rank=rank)))
        for rank in (0, 1, 0)
    )
    assert first == again != other


def test_without_negatives(graph):
    for batch in EdgeLoader(graph, 4, shuffle=True):
        assert batch.negative is None and batch.curriculum == 1.0
        mark = [
            bool(graph.intervened[(graph.user == user) & (graph.item == item)])
            for user, item in zip(batch.user, batch.item, strict=True)
        ]
        assert batch.intervened.tolist() == mark


@dataclass(frozen=True)
class Recorder(PopularityMarginSampler):
    """Keeps the margins with which it draws."""

    margins: list = field(default_factory=list)

    def sample(self, *args):
        self.margins.append(self.margin)
        return super().sample(*args)


@pytest.mark.parametrize(('world', 'past'), [(1, [6, 7, 8]), (3, [2])])
def test_curriculum_of_steps(graph, world, past):
    """Replicas count the steps that each of them takes."""
    sampler = Recorder(2, margin=40.0, min_pool=2)
    for negatives in (sampler, FRESH, None):  # It is there for the loss in any case.
        loader = EdgeLoader(
            graph, 4, negatives, curriculum=Curriculum(0.5, 'step'), num_replicas=world
        )
        loader.set_epoch(2)
        assert [batch.curriculum for batch in loader] == [0.5**n for n in past]
    assert sampler.margins == [40 * 0.5**n for n in past]
