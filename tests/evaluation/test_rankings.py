"""Rankings in any chunks and on any number of processes."""

import pandas as pd
import pytest
import torch

from iedr_geo.data import BipartiteGraph, CandidateLists
from iedr_geo.evaluation import CandidateRankings, CatalogueRankings, Rankings
from iedr_geo.metrics import MRR, NDCG, Recall
from iedr_geo.scoring import CatalogueScorer, scorer

METRICS = [Recall(2), NDCG(4), MRR(3)]


class Coarse:
    """Scores of which many tie."""

    def __call__(self, batch):
        return (batch.user_id + batch.item_id * batch.context_id) % 3

    def score(self, user, item):
        return (user * 7 + item) % 4


@pytest.fixture(params=['lists', 'rows', 'graph'])
def rankings(request, log) -> tuple[Rankings, CatalogueScorer]:
    if request.param == 'lists':
        made = CandidateRankings(log, CandidateLists.sample(log[60:], 3), METRICS)
        return made, scorer(Coarse(), log)
    if request.param == 'rows':
        made = CatalogueRankings(log[60:], [log[:60]], METRICS)
        return made, scorer(Coarse(), log)
    held_out, seen = (
        BipartiteGraph(rows.user, rows.item, 5, 12, exclude_seen=True)
        for rows in (log[60:], log[:9])
    )
    return CatalogueRankings(held_out, seen, METRICS), scorer(Coarse(), held_out)


@pytest.mark.filterwarnings('ignore:.* seen and are no targets')
@pytest.mark.parametrize('max_scores', [1, 30, None])
def test_neither_chunks_nor_processes_change_anything(rankings, max_scores):
    made, by = rankings
    every = torch.arange(len(made))
    whole = made.evaluation([made.rank(by, every)])
    assert set(whole.metrics) == set(made.names)
    if max_scores is not None:
        made.max_scores = max_scores
    size = made.num_scores()
    for world in (1, 2, 3, len(made) + 2):
        shares = [made.chunks(rank, world) for rank in range(world)]
        assert all(shares)  # At least one chunk, maybe an empty one.
        chunks = [chunk for share in shares for chunk in share]
        assert torch.cat(chunks).sort().values.tolist() == every.tolist()
        lists = [sum(map(len, share)) for share in shares]
        assert max(lists) - min(lists) <= 1
        # Bounded, but not smaller than need be; those of one context are together.
        assert all(size[chunk[:-1]].sum() < made.max_scores for chunk in chunks)
        for share in shares:
            assert len(share) <= 1 + size[torch.cat(share)].sum() / made.max_scores
            if made.queries.context is not None:
                assert (made.queries.context[torch.cat(share)].diff() >= 0).all()
        result = made.evaluation([made.rank(by, chunk) for chunk in chunks])
        pd.testing.assert_frame_equal(result.per_list, whole.per_list)
        assert result.metrics == pytest.approx(whole.metrics, rel=1e-12)
