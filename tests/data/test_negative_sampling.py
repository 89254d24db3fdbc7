"""Negatives: never what is excluded, and everything else alike."""

from itertools import pairwise

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iedr_geo.data import (
    BipartiteGraph,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    UniformNegativeSampler,
)

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=12)
CRITICAL = {5: 30.0, 6: 32.0}  # Of chi-square: exceeded once in 60 000 draws.


def log(pairs: list[tuple[int, int]], num_items: int) -> InteractionDataset:
    frame = pd.DataFrame(pairs, columns=['user', 'item'])
    return InteractionDataset.from_pandas(
        frame.assign(user='u' + frame['user'].astype(str), day='mo'),
        users=pd.DataFrame({'user': [f'u{i}' for i in range(4)]}),
        items=pd.DataFrame({'item': range(num_items)}),
        schema=FeatureSchema(*[[Categorical(name)] for name in ('user', 'item', 'day')]),
    )


def draw(
    dataset: InteractionDataset, seed: int = 0, **arguments: object
) -> list[list[int]]:
    generator = torch.Generator(dataset.item.device).manual_seed(seed)
    negatives = UniformNegativeSampler(**arguments).sample(
        BipartiteGraph.from_dataset(dataset), dataset.user, dataset.item, generator
    )
    assert negatives.dtype == torch.long
    assert negatives.device == dataset.item.device
    return negatives.tolist()


@given(PAIRS, st.integers(1, 4), st.integers(0, 99))
def test_never_the_positive(pairs: list, num_negatives: int, seed: int):
    negatives = draw(log(pairs, 5), seed, num_negatives=num_negatives)
    for (_, item), drawn in zip(pairs, negatives, strict=True):
        assert len(drawn) == num_negatives
        assert set(drawn) <= set(range(5)) - {item}


@given(PAIRS, st.integers(1, 4), st.integers(0, 99))
def test_never_a_seen_item(pairs: list, num_negatives: int, seed: int):
    # A sixth item that nobody has, so that every user has one left.
    dataset = log(pairs, 6)
    negatives = draw(dataset, seed, num_negatives=num_negatives, exclude='seen')
    for (user, _), drawn in zip(pairs, negatives, strict=True):
        assert len(drawn) == num_negatives
        assert set(drawn) <= set(range(6)) - {i for u, i in pairs if u == user}


def test_only_one_item_is_left(device: torch.device):
    dataset = log([(0, 0), (0, 1), (0, 3), (1, 2), (1, 1), (1, 0)], 4).to(device)
    negatives = draw(dataset, num_negatives=3, exclude='seen')
    assert negatives == [[2] * 3] * 3 + [[3] * 3] * 3


def test_only_the_rows_of_the_dataset_count():
    dataset = log([(0, 0), (0, 1), (0, 2)], 3)
    negatives = draw(dataset[[0, 1]], num_negatives=5, exclude='seen')
    assert negatives == [[2] * 5] * 2


@pytest.mark.parametrize(
    ('exclude', 'allowed'),
    [('positive', [0, 1, 2, 4, 5, 6, 7]), ('seen', [0, 2, 4, 5, 6, 7])],
)
def test_uniform(exclude: str, allowed: list[int], device: torch.device):
    dataset = log([(0, 3), (0, 1), (1, 7)], 8).to(device)
    first, *_ = draw(dataset, num_negatives=4000, exclude=exclude)
    count = torch.bincount(torch.tensor(first), minlength=8).double()
    expected = 4000 / len(allowed)
    assert count.sum() == count[allowed].sum()
    assert ((count[allowed] - expected) ** 2 / expected).sum() < CRITICAL[
        len(allowed) - 1
    ]
    # Of independent draws, neighbours agree as often as chance has it.
    agree = sum(a == b for a, b in pairwise(first)) / 3999
    assert agree == pytest.approx(1 / len(allowed), abs=0.03)


@pytest.mark.parametrize('exclude', ['positive', 'seen'])
def test_generator_decides(exclude: str):
    dataset = log([(0, 0), (1, 1), (2, 2)] * 5, 9)
    before = torch.get_rng_state()
    one, two, other = (
        draw(dataset, seed, num_negatives=4, exclude=exclude) for seed in (7, 7, 8)
    )
    assert one == two != other
    assert torch.equal(torch.get_rng_state(), before)
    # Rows that are equal do not draw alike.
    assert len(set(map(tuple, one[::3]))) > 1


def test_user_with_every_item():
    dataset = log([(0, 0), (1, 0), (1, 1), (1, 2)], 3)
    with pytest.raises(ValueError, match=r"User 'u1' has all 3 items.*exclude='seen'"):
        draw(dataset, exclude='seen')
    assert set(draw(dataset, num_negatives=50)[1]) == {1, 2}


@pytest.mark.parametrize('exclude', ['positive', 'seen'])
def test_catalogue_of_one_item(exclude: str):
    with pytest.raises(ValueError, match='at least two items'):
        draw(log([(0, 0)], 1), exclude=exclude)


def test_no_rows():
    assert draw(log([(0, 0)], 3)[[]], exclude='seen') == []


def test_bad_arguments():
    with pytest.raises(ValueError, match=r'at least 1 \(got 0\)'):
        UniformNegativeSampler(0)
    with pytest.raises(ValueError, match=r"'positive' or 'seen'.*'all'"):
        UniformNegativeSampler(exclude='all')
