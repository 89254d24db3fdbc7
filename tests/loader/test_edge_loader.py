"""What batches of edges hold besides edges."""

import pytest
import torch
from batches import rows_of

from iedr_geo.data import BipartiteGraph, UniformNegativeSampler
from iedr_geo.loader import EdgeLoader

FRESH = UniformNegativeSampler(5, resample=True)


def test_batches_and_replicas_draw_for_themselves():
    """Else equal edges would have equal negatives."""
    alike = BipartiteGraph(torch.arange(8), torch.zeros(8, dtype=torch.long), 8, 11)
    batches = list(EdgeLoader(alike, 4, FRESH))
    for rank in (0, 1, 0):
        batches += EdgeLoader(alike, 4, FRESH, num_replicas=2, rank=rank)
    one, two, first, other, again = (batch.negative.tolist() for batch in batches)
    assert one != two and first == again != other


@pytest.mark.parametrize('negatives', [None, FRESH])
def test_columns(graph, negatives):
    marks = dict(zip(rows_of(graph.user, graph.item), graph.intervened, strict=True))
    for batch in EdgeLoader(graph, 4, negatives, shuffle=True):
        assert batch.curriculum == 1.0
        pairs = rows_of(batch.user, batch.item)
        assert batch.intervened.tolist() == [marks[pair] for pair in pairs]
        assert torch.equal(batch.candidates[:, 0], batch.item)
        if negatives is None:
            assert batch.negative is None and batch.candidates.size(1) == 1
        else:
            assert torch.equal(batch.candidates[:, 1:], batch.negative)
