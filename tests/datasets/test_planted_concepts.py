"""Planted concepts: their law, and that the data tell them."""

import itertools
import math

import numpy as np
import pytest
import torch
from draws import draw_one_by_one
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from iedr_geo.data import strong_generalisation_split
from iedr_geo.datasets import ConceptScores, PlantedConcepts

SMALL = (6, 16, 48, 3, 2)


@pytest.fixture(scope='module')
def data() -> PlantedConcepts:
    return PlantedConcepts()


def all_scores(data: PlantedConcepts) -> ConceptScores:
    graph = data.graph
    users = torch.arange(graph.num_users).unsqueeze(1)
    return data.true_scores(users, torch.arange(graph.num_items))


def matrix(data: PlantedConcepts) -> np.ndarray:
    """Returns 1 for each pair of user and item that is an edge."""
    graph = data.graph
    cells = np.zeros((graph.num_users, graph.num_items))
    cells[graph.user.numpy(), graph.item.numpy()] = 1
    return cells


def test_sizes_and_seed(data):
    graph = data.graph
    assert (graph.num_users, graph.num_items, graph.num_edges) == (2000, 600, 120_000)
    assert 8 <= graph.user_degree.min() <= graph.user_degree.max() <= 300
    assert np.bincount(data.concept).tolist() == [120] * 5
    shares = data.user_concepts
    assert shares.min() > 0 and np.allclose(shares.sum(axis=1), 1)
    assert np.median(shares.max(axis=1)) > 0.6  # Few concepts to a user.
    # The seed decides, whatever the blocks.
    read = [
        matrix(PlantedConcepts(*SMALL, seed=seed, max_cells=cells)).tolist()
        for seed, cells in ((0, 10**6), (0, 1), (0, 40), (1, 10**6))
    ]
    assert read[0] == read[1] == read[2] != read[3]


@pytest.mark.parametrize(
    'weights',
    [
        *({}, {'concept_weight': 0.5}, {'attribute_weight': 3.0}, {'appeal_weight': 0}),
        {'shared_preferences': True},
    ],
    ids=str,
)
def test_scores_follow_from_the_factors(weights):
    data = PlantedConcepts(*SMALL, **weights)
    scores = all_scores(data)
    a, b = data.attributes, data.preferences
    for user, item in itertools.product(range(6), range(16)):
        concept = data.concept[item]
        expected = math.log(data.user_concepts[user, concept])
        expected *= weights.get('concept_weight', 2)
        assert scores.concept[user, item].item() == pytest.approx(expected)
        away = [a[item, j] - b[user, concept, j] for j in range(2)]
        first, second = (math.exp(-(gap**2) / (2 * 0.35**2)) for gap in away)
        expected = weights.get('attribute_weight', 4) * (first + 0.6 * second)
        assert scores.attributes[user, item].item() == pytest.approx(expected)
        assert scores.appeal[user, item].item() == data.appeal[item]
    assert data.appeal.any() == ('appeal_weight' not in weights)
    assert (b == b[:, :1]).all() == ('shared_preferences' in weights)
    # Users and items broadcast.
    user, item = torch.tensor([3, 5, 3]), torch.tensor([7, 0, 15])
    for whole, rows, cells in zip(
        scores, data.true_scores(user[:, None], item), data.true_scores(user, item),
        strict=True,
    ):  # fmt: skip
        assert whole.dtype == torch.double
        assert torch.equal(rows, whole[user][:, item])
        assert torch.equal(cells, whole[user, item])


def test_law():
    """What users have of each part of the score is what an independent draw has, item by
    item.
    """
    data = PlantedConcepts(20_000, 16, 160_000, 3)
    scores = [part.numpy() for part in all_scores(data)]
    expected = draw_one_by_one(sum(scores), 8, np.random.default_rng(7))
    drawn = matrix(data)
    assert (drawn.sum(axis=1) == 8).all()
    for part in scores:
        gap = (part * (drawn - expected)).sum(axis=1)
        assert abs(gap.mean()) < 4.5 * gap.std() / math.sqrt(len(gap))
        # A draw that ignored this part would be far apart.
        gap = (part * (drawn - 0.5)).sum(axis=1)
        assert gap.mean() > 20 * gap.std() / math.sqrt(len(gap))


def found(data: PlantedConcepts) -> float:
    """Returns how well clusters of the items that go together agree with concepts."""
    cells = matrix(data)
    root = np.sqrt(cells.sum(axis=0))
    together = cells.T @ cells / root / root[:, None]
    np.fill_diagonal(together, 0)
    together -= together.mean()
    together /= np.linalg.norm(together, axis=1, keepdims=True)
    clusters = KMeans(5, n_init=10, random_state=0).fit_predict(together)
    return normalized_mutual_info_score(data.concept, clusters)


def test_concepts_are_found(data):
    """Without a model, and only where they do not overlap too much."""
    assert found(data) > 0.95
    assert found(PlantedConcepts(seed=1)) > 0.95
    assert found(PlantedConcepts(concept_weight=0.5)) < 0.5


def test_each_attribute_is_an_axis(data):
    """In each concept, the two main axes of who has what."""
    cells = matrix(data)
    for concept in range(5):
        items = data.concept == concept
        rows = cells[:, items]
        rows = rows[rows.sum(axis=1) >= 5]
        rows /= rows.sum(axis=1, keepdims=True)
        rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
        axes = np.linalg.svd(rows, full_matrices=False)[2][:2]
        both = abs(np.corrcoef(np.concatenate([axes, data.attributes[items].T])))
        assert both[:2, 2:].diagonal().min() > 0.8
        assert both[:2, 2:][~np.eye(2, dtype=bool)].max() < 0.3


def test_split():
    data = PlantedConcepts(60, 30, 600, seed=4)
    for kwargs in ({}, {'seed': 5, 'target_share': 0.4}):
        expected = strong_generalisation_split(data.graph, 7, **{'seed': 4, **kwargs})
        split = data.split(7, **kwargs)
        for one, two in zip(split.test, expected.test, strict=True):
            assert torch.equal(one.edge_index, two.edge_index)
    assert len(PlantedConcepts().split().test.targets.user.unique()) == 200


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_users': 0}, '`num_users` must be from 1 to inf .got 0'),
        ({'num_items': 15}, '`num_items` must be from 16'),
        ({'num_interactions': 15_999}, '`num_interactions` must be from 16000 to 600000'),
        ({'num_interactions': 600_001}, '`num_interactions` must be from 16000'),
        ({'num_concepts': 601}, '`num_concepts` must be from 1 to 600 .got 601'),
        ({'num_attributes': 0}, '`num_attributes` must be from 1'),
        ({'seed': -1}, '`seed` must be from 0'),
        ({'concept_weight': -0.5}, '`concept_weight` must be from 0'),
        ({'attribute_weight': math.nan}, '`attribute_weight` must be from 0'),
        ({'appeal_weight': math.inf}, '`appeal_weight` must be from 0'),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlantedConcepts(**arguments)
