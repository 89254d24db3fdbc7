"""How much of a ranking is popular items, against a loop over users."""

import pytest
import torch
from torch import Tensor
from vector_model import Tables

from iedr_geo.analysis import popularity_overlap
from iedr_geo.data import BipartiteGraph
from iedr_geo.scoring import GraphScorer, VectorScorer

NUM_USERS, NUM_ITEMS = 7, 9
POPULARITY = torch.tensor([3, 8, 0, 5, 1, 2, 9, 4, 7])  # No two are equal.


def by_score(scores: Tensor) -> Tables:
    return Tables(torch.eye(len(scores)), scores.t().clone(), 1, 'first', 'rest')


def make_graph(num_edges: int = 20) -> BipartiteGraph:
    """User 0 has nothing, user 1 all but two items."""
    user = torch.randint(2, NUM_USERS, (num_edges,))
    item = torch.randint(NUM_ITEMS, (num_edges,))
    user = torch.cat([user, torch.ones(7).long()])
    item = torch.cat([item, torch.arange(7)])
    return BipartiteGraph(user, item, NUM_USERS, NUM_ITEMS, popularity=POPULARITY)


def brute_force(scores: list[list[float]], graph: BipartiteGraph, k: int) -> float:
    popularity, shares = graph.popularity.tolist(), []
    for user, row in enumerate(scores):
        left = set(range(graph.num_items)) - set(graph.positives(user).tolist())
        tops = [
            set(sorted(left, key=lambda i: -values[i])[:k])
            for values in (row, popularity)
        ]
        assert len(tops[0]) == len(tops[1]) == min(k, len(left))
        shares.append(len(tops[0] & tops[1]) / len(tops[0] | tops[1]))
    return sum(shares) / len(shares)


@pytest.mark.parametrize(('k', 'chunk_size'), [(1, 3), (2, 7), (5, 3), (NUM_ITEMS, 7)])
@pytest.mark.parametrize(
    ('kind', 'part'),
    [(GraphScorer, None), *((VectorScorer, p) for p in (None, 'first', 'rest'))],
)
def test_equals_brute_force(k, chunk_size, kind, part, device):
    """User 1 has fewer than three items left; the graph may be on another device."""
    graph = make_graph()
    user, item = torch.randn(NUM_USERS, 3), torch.randn(NUM_ITEMS, 3)
    model = Tables(user, item, 1, 'first', 'rest')
    columns = model.factor_columns.get(part, slice(None))
    expected = brute_force((user[:, columns] @ item[:, columns].t()).tolist(), graph, k)
    chunked = type('Chunked', (kind,), {'scores_at_once': chunk_size * NUM_ITEMS})
    actual = popularity_overlap(chunked(model.to(device), graph), graph, k, part)
    assert actual == pytest.approx(expected, rel=1e-6)
    assert graph.device.type == 'cpu'


def test_popularity_is_that_of_the_graph():
    """By default, how many users an item has."""
    edges = torch.tensor([[0, 1, 1, 2, 2, 2], [3, 3, 1, 3, 1, 0]])
    degrees = torch.tensor([1.0, 2, 0, 3])
    model = by_score(degrees.expand(4, -1))
    assert popularity_overlap(model, BipartiteGraph(*edges, 4, 4), 1) == 1
    for popularity, expected in (([10, 20, 0, 30], 1), ([2, 1, 3, 0], 1 / 4)):
        graph = BipartiteGraph(*edges, 4, 4, popularity=torch.tensor(popularity))
        # Only user 2, to whom one item is left, cannot tell the latter apart.
        assert popularity_overlap(model, graph, 1) == expected
    # Of equal popularity the last items are the most popular, as in `by_popularity`.
    nothing = torch.empty(0, dtype=torch.long)
    graph = BipartiteGraph(nothing, nothing, 2, 4)
    favourites = [by_score(row.expand(2, -1)) for row in torch.eye(4)]
    overlaps = [popularity_overlap(model, graph, 1) for model in favourites]
    assert overlaps == [0, 0, 0, 1]


def test_bad_arguments():
    model = by_score(torch.randn(NUM_USERS, NUM_ITEMS))
    for k in (0, -1, NUM_ITEMS + 1):
        with pytest.raises(ValueError, match=rf'from 1 to 9 \(got {k}\)'):
            popularity_overlap(model, make_graph(), k)
    with pytest.raises(ValueError, match=r"no part 'none' \(they have: first, rest\)"):
        popularity_overlap(model, make_graph(), 3, 'none')
