"""Lists that change in one dimension, against search and brute force."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import MF, Concepts, MacridVAE, MultVAE
from iedr_geo.recommend import Recommender
from iedr_geo.recommend.control import control, value_range

NUM_ITEMS = 60


def unit(*size: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*size, generator=generator).double(), dim=-1)


def concepts_of(item: torch.Tensor, prototype: torch.Tensor) -> Concepts:
    assignment = (item @ prototype.t() / 0.1).softmax(dim=1)
    return Concepts(item, prototype, assignment, 0.1, True)


@pytest.fixture
def recommender() -> Recommender:
    torch.manual_seed(0)
    ids = [f'i{n}' for n in range(NUM_ITEMS)]
    user = torch.arange(NUM_ITEMS) % 10
    graph = BipartiteGraph(
        user, torch.arange(NUM_ITEMS), 10, NUM_ITEMS, item_ids=np.array(ids)
    )
    return Recommender(MacridVAE(NUM_ITEMS, num_concepts=2, channels=4), graph)


@pytest.mark.parametrize('seed', range(8))
@pytest.mark.parametrize('num_concepts', [1, 2, 6])
def test_range_against_binary_search(seed, num_concepts):
    vector, prototype = unit(5, seed=seed), unit(num_concepts, 5, seed=seed + 100)
    prototype[-1, 2] = prototype[0, 2]  # Of which the dimension decides nothing.
    nearest = (prototype @ vector).argmax()
    rest = math.sqrt(1 - float(vector[2]) ** 2)

    def stays(value: float) -> bool:
        """Whether the vector with this value, of length one, keeps its prototype."""
        altered = vector * math.sqrt(1 - value**2) / rest
        altered[2] = value
        assert altered.norm() == pytest.approx(1)
        scores = prototype @ altered
        return bool(scores[nearest] >= scores.max() - 1e-12)

    bounds = []
    for end in (-1.0, 1.0):
        inside, outside = float(vector[2]), end
        if stays(outside):
            inside = outside
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if stays(middle) else (inside, middle)
        bounds.append(inside)
    assert value_range(vector, prototype, 2) == pytest.approx(tuple(bounds), abs=1e-8)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 3.0])
@pytest.mark.parametrize('seed', range(3))
def test_list_against_all_lists(gamma, seed):
    """The parts of the range, and of all lists the one of the highest objective."""
    items, prototype, start, j, steps = unit(NUM_ITEMS, 4, seed=seed), unit(2, 4), 5, 1, 4
    made = concepts_of(items, prototype)
    found = control(made, start, j, steps, gamma, width=10_000)

    nearest = (items @ prototype.t()).argmax(1)
    low, high = value_range(items[start], prototype, j)
    kept = [
        i
        for i in range(NUM_ITEMS)
        if nearest[i] == nearest[start] and low < items[i, j] <= high
    ]
    kept.sort(key=lambda i: items[i, j])
    others = np.delete(items.numpy(), j, axis=1)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    like = np.exp((others @ others.T) / 0.1)

    def objective(chosen) -> float:
        pairs = sum(like[a, b] for a, b in itertools.combinations(chosen, 2))
        return sum(like[start, i] for i in chosen) + gamma * pairs

    last = [t * len(kept) // steps for t in range(steps + 1)]
    parts = [kept[a:b] for a, b in itertools.pairwise(last)]
    best = max(itertools.product(*parts), key=objective)
    assert len(kept) > 2 * steps and found.item.tolist() == list(best)
    torch.testing.assert_close(found.value, items[list(best), j])
    torch.testing.assert_close(
        found.similarity, torch.from_numpy(others[list(best)] @ others[start])
    )
    # A narrow search finds no better one.
    narrow = control(made, start, j, steps, gamma, width=1)
    assert objective(narrow.item.tolist()) <= objective(best) * (1 + 1e-9)


def test_planted_attribute():
    """Vectors with an attribute in each dimension but those of the prototypes: the list
    changes the one, far more than the other, and stays in the planted concept.
    """
    generator = torch.Generator().manual_seed(0)
    attributes = torch.rand(400, 2, generator=generator).double() - 0.5
    planted = torch.arange(400) % 2
    item = torch.cat([F.one_hot(planted, 2), attributes], dim=1)
    made = concepts_of(F.normalize(item, dim=1), torch.eye(2, 4).double())
    changes = []
    for start, dimension in itertools.product(range(20), (2, 3)):
        chosen = control(made, start, dimension, 6, gamma=1.0, width=16).item
        assert (planted[chosen] == planted[start]).all()
        of_list = attributes[chosen]
        own, other = of_list[:, dimension - 2], of_list[:, 3 - dimension]
        rank = own.argsort().argsort().double()
        assert np.corrcoef(rank, np.arange(6))[0, 1] > 0.9
        changes.append((float(own[-1] - own[0]), float(other.max() - other.min())))
    own, other = np.mean(changes, axis=0)
    assert own > 0.6 and other < 0.2 * own


def test_recommender(recommender):
    model = recommender.model
    vectors = F.normalize(model.item.weight.detach(), dim=1)
    nearest = model.assignment().argmax(1)
    places = {f'i{n}': n for n in range(NUM_ITEMS)}
    own = recommender.embeddings('item')['vector']
    for item, dimension in itertools.product(['i7', 'i31'], range(4)):
        table = recommender.control(item, dimension, steps=3)
        assert list(table) == ['item', 'value', 'similarity'] and len(table) == 3
        assert table['value'].is_monotonic_increasing and table['value'].is_unique
        index = [places[name] for name in table['item']]
        assert (nearest[index] == nearest[places[item]]).all()
        expected = vectors[index, dimension]
        np.testing.assert_allclose(table['value'], expected, rtol=1e-5)
        np.testing.assert_allclose(own.loc[table['item'], dimension], expected)
        rest = np.delete(vectors.numpy(), dimension, axis=1)
        cosine = F.cosine_similarity(
            torch.from_numpy(rest[index]), torch.from_numpy(rest[places[item]]), dim=1
        )
        np.testing.assert_allclose(table['similarity'], cosine, atol=1e-6)


def test_fewer_items_than_steps(recommender):
    weight = recommender.model.item.weight.data
    with pytest.warns(UserWarning, match=r'items instead of 200: the concept has \d+ in'):
        table = recommender.control('i0', 0, steps=200)
    assert 'i0' in set(table['item']) and table['value'].is_monotonic_increasing
    weight[:] = weight[0]  # All items are one.
    with pytest.warns(UserWarning, match='The list has 1 items instead of 5'):
        table = recommender.control('i0', 0)
    assert len(table) == 1 and table.loc[0, 'similarity'] == pytest.approx(1)


def test_one_concept_has_the_whole_range(recommender):
    assert value_range(unit(4), unit(1, 4), 3) == (-1, 1)
    # The only one that was not given up.
    recommender.model.is_given_up[1:] = True
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        table = recommender.control('i0', 0, steps=NUM_ITEMS)
    assert set(table['item']) == {f'i{n}' for n in range(NUM_ITEMS)}


def test_pole():
    """An item that has nothing but the dimension has one side of it."""
    pole = torch.tensor([0.0, 1.0, 0.0])
    assert value_range(pole, torch.tensor([[0, 1.0, 0], [1, 0, 0]]), 1)[1] == 1


def test_bad_input(recommender):
    graph = recommender.data
    for arguments, message in (
        (('i0', 4), r'`dimension` must be below 4 \(got 4\)'),
        (('i0', -1), r'`dimension` must be at least 0 \(got -1\)'),
        (('i0', 0, 0), r'`steps` must be at least 1 \(got 0\)'),
        (('i0', 0, 5, -1.0), r'`gamma` must be at least 0 \(got -1.0\)'),
        (('i0', 0, 5, 1.0, 0), r'`width` must be at least 1 \(got 0\)'),
        (('stranger', 0), "The model has no item 'stranger'"),
    ):
        with pytest.raises(ValueError, match=message):
            recommender.control(*arguments)
    for model in (
        MF(10, NUM_ITEMS, 4),
        MultVAE(NUM_ITEMS, 4, 6),
        MacridVAE(NUM_ITEMS, 2, 4, similarity='dot'),
    ):
        name = type(model).__name__
        with pytest.raises(ValueError, match=f'{name} has no concepts .*: MacridVAE has'):
            Recommender(model, graph).control('i0', 0)
