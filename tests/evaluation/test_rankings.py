"""Rankings in any chunks and on any number of processes."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from iedr_geo.data import BipartiteGraph, CandidateLists
from iedr_geo.evaluation import CandidateRankings, CatalogueRankings, Rankings
from iedr_geo.metrics import MRR, NDCG, Recall
from iedr_geo.scoring import CatalogueScorer, scorer

ROWS = CandidateRankings.max_scores
CELLS = CatalogueRankings.max_scores

METRICS = [Recall(2), NDCG(4), MRR(3)]


class Coarse:
    """Scores of which many tie."""

    def __call__(self, batch):
        return (batch.user_id + batch.item_id * batch.context_id) % 3

    def score(self, user, item):
        return (user * 7 + item) % 4


@pytest.fixture(params=['lists', 'rows', 'graph'])
def rankings(request, dataset) -> tuple[Rankings, CatalogueScorer]:
    if request.param == 'lists':
        lists = CandidateLists.sample(dataset[60:], 3)
        return CandidateRankings(dataset, lists, METRICS), scorer(Coarse(), dataset)
    if request.param == 'rows':
        made = CatalogueRankings(dataset[60:], [dataset[:60]], METRICS)
        return made, scorer(Coarse(), dataset)
    held_out, seen = (
        BipartiteGraph(rows.user, rows.item, 6, 9) for rows in (dataset[70:], dataset[:9])
    )
    made = CatalogueRankings(held_out, seen, METRICS)
    return made, scorer(Coarse(), held_out)


def test_neither_chunks_nor_processes_change_anything(rankings):
    made, by = rankings
    every = torch.arange(len(made))
    whole = made.evaluation([made.rank(by, every)])
    assert set(whole.metrics) == set(made.names)
    for world in (1, 2, 3, len(made) + 2):
        shares = [made.chunks(rank, world) for rank in range(world)]
        assert all(shares)  # At least one chunk, maybe an empty one.
        chunks = [chunk for share in shares for chunk in share]
        assert torch.cat(chunks).sort().values.tolist() == every.tolist()
        lists = [sum(map(len, share)) for share in shares]
        assert max(lists) - min(lists) <= 1
        for parts in (chunks, list(torch.cat(chunks).split(1))):
            result = made.evaluation([made.rank(by, part) for part in parts])
            pd.testing.assert_frame_equal(result.per_list, whole.per_list)
            assert result.metrics == pytest.approx(whole.metrics, rel=1e-12)


def test_lists_of_one_context_are_ranked_together(dataset):
    made = CatalogueRankings(dataset, [], METRICS)
    context = made.queries.context
    assert (context.diff() < 0).any()
    for rank in range(3):
        assert (context[torch.cat(made.chunks(rank, 3))].diff() >= 0).all()


def test_chunks_have_a_bounded_size(dataset):
    size = 3 * ROWS // 8
    zeros = torch.zeros(size, dtype=torch.long)
    lists = CandidateLists(
        torch.arange(size) % 6,
        zeros,
        zeros.repeat_interleave(8),
        (torch.arange(8) == 0).long().repeat(size),
        torch.arange(size).repeat_interleave(8),
    )
    made = CandidateRankings(dataset, lists, METRICS)
    chunks = made.chunks()
    assert torch.equal(torch.cat(chunks), torch.arange(size))
    assert 3 <= len(chunks) <= 4 and max(map(len, chunks)) * 8 <= ROWS
    items = CELLS // 3
    user = torch.arange(10)
    edges = BipartiteGraph(user, user, 10, items)
    made = CatalogueRankings(edges, edges, METRICS)
    assert [len(chunk) for chunk in made.chunks()] == [3, 3, 3, 1]
