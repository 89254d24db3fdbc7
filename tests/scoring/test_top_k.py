"""The best of a catalogue against a stable sort in plain Python."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.scoring import items_of, top_k
from iedr_geo.scoring.top_k import first_of

# Few values, so that ties are many; zero has two signs.
SCORES = st.sampled_from([-1e38, -1.5, -0.0, 0.0, 0.25, 1e38])


@st.composite
def catalogues(draw) -> tuple[Tensor, int, Tensor]:
    size = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    cells = math.prod(size)
    scores, hidden = (
        torch.tensor(draw(st.lists(values, min_size=cells, max_size=cells))).view(size)
        for values in (SCORES, st.booleans())
    )
    return scores, draw(st.integers(1, size[1] + 3)), hidden


def check(scores: Tensor, k: int, hidden: Tensor | None = None) -> None:
    pairs = None if hidden is None else hidden.nonzero(as_tuple=True)
    values, items = top_k(scores.clone(), k, pairs)
    width = min(k, scores.size(1))
    assert values.shape == items.shape == (len(scores), width)
    assert values.dtype == scores.dtype and items.dtype == torch.long
    for row, score in enumerate(scores.tolist()):
        left = [i for i in range(len(score)) if hidden is None or not hidden[row, i]]
        best = sorted(left, key=lambda i: -score[i])[:width]  # Stable.
        assert items[row].tolist() == best + [-1] * (width - len(best))
        assert values[row, : len(best)].tolist() == [score[i] for i in best]


@given(catalogues())
def test_equals_a_stable_sort(catalogue):
    scores, k, hidden = catalogue
    check(scores, k)
    check(scores, k, hidden)


@pytest.mark.parametrize(
    ('k', 'levels', 'dtype'),
    [(5, 40, torch.bfloat16), (59, 10**6, torch.float32), (200, 3, torch.float64)],
)
def test_larger_catalogues(k, levels, dtype, device):
    scores = torch.randint(levels, (20, 60), device=device).to(dtype)
    hidden = torch.rand(20, 60, device=device) < 0.3
    hidden[0] = True
    hidden[1, 1:] = True
    hidden[2] = False
    check(scores, k, hidden)
    check(scores, k)


@pytest.mark.parametrize('items', [None, [5, 2, 3], []])
@pytest.mark.parametrize('users', [[], [0], [3, 1, 1, 9, 2], [-1, 5]])
def test_items_of_users(users, items, device):
    """Those of users that are not of the graph are none."""
    edges = [(0, 2), (1, 0), (1, 5), (3, 1), (3, 2)]
    graph = BipartiteGraph(*torch.tensor(edges).t(), 5, 6).to(device)
    arguments = [users] if items is None else [users, items]
    tensors = (torch.tensor(a, dtype=torch.long, device=device) for a in arguments)
    pairs = items_of(graph, *tensors)
    wanted = [
        (row, item if items is None else items.index(item))
        for row, one in enumerate(users)
        for user, item in edges
        if user == one and (items is None or item in items)
    ]
    assert list(zip(*(pair.tolist() for pair in pairs), strict=True)) == wanted


def test_first_of():
    assert first_of(torch.tensor([7, -2, 7, 10**15, -2])).tolist() == [0, 1, 0, 3, 1]
    assert first_of(torch.tensor([], dtype=torch.long)).numel() == 0


@pytest.mark.parametrize('wrong', [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_numbers_are_refused(wrong):
    """Also where they are low, or hidden."""
    scores = torch.tensor([[0.0, 1.0, 3.0], [1.0, wrong, 2.0]])
    hidden, message = (
        torch.tensor([[1], [1]]),
        f'1 of 6 .* that of item 1 in row 1: {wrong}',
    )
    for pairs in (None, tuple(hidden)):
        with pytest.raises(ValueError, match=message):
            top_k(scores.clone(), 1, pairs)
