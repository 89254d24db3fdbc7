"""Planted clicks: their law and their known factors."""

import itertools
import math

import numpy as np
import pytest
import torch
from draws import draw_one_by_one

from iedr_geo.data import BipartiteGraph, intervened_split
from iedr_geo.datasets import ClickScores, PlantedClicks


@pytest.fixture(scope='module')
def data() -> PlantedClicks:
    return PlantedClicks()


def all_scores(data: PlantedClicks) -> ClickScores:
    graph = data.graph
    users = torch.arange(graph.num_users).unsqueeze(1)
    return data.true_scores(users, torch.arange(graph.num_items))


def same(one: BipartiteGraph, two: BipartiteGraph) -> bool:
    return torch.equal(one.user, two.user) and torch.equal(one.item, two.item)


def test_sizes(data):
    """Every pair is drawn once: no click is lost as a duplicate."""
    graph = data.graph
    assert (graph.num_users, graph.num_items) == (1000, 500)
    assert graph.num_edges == 40_000
    assert graph.user_degree.min() >= 8 and graph.user_degree.max() <= 250
    assert graph.user_degree.double().quantile(0.95) > 2.5 * graph.user_degree.median()
    # As many as there can be, and as few.
    for users, items, clicks in ((1, 16, 8), (5, 16, 40), (7, 30, 105), (30, 20, 290)):
        graph = PlantedClicks(users, items, clicks).graph
        assert graph.num_edges == clicks
        assert 8 <= graph.user_degree.min() <= graph.user_degree.max() <= items // 2


def test_seed(data):
    """It alone decides, whatever the blocks."""
    again, other = PlantedClicks(), PlantedClicks(seed=1)
    assert same(again.graph, data.graph) and not same(other.graph, data.graph)
    assert not np.array_equal(other.anchors, data.anchors)
    assert torch.equal(all_scores(again)[0], all_scores(data)[0])
    one, *others = (PlantedClicks(50, 40, 600, max_cells=n) for n in (10**6, 1, 130))
    assert all(same(one.graph, two.graph) for two in others)


@pytest.mark.parametrize(
    'weights', [{'interest_weight': 3.0}, {'conformity_weight': 0.7}], ids=str
)
def test_scores_follow_from_the_factors(weights):
    data = PlantedClicks(6, 16, 48, **weights)
    interest, conformity = all_scores(data)
    a, b = ({'interest_weight': 6.0, 'conformity_weight': 2.2} | weights).values()
    for user, item in itertools.product(range(6), range(16)):
        nearest = min(
            math.dist(data.anchors[k, user], data.position[item]) for k in range(2)
        )
        expected = a * math.exp(-(nearest**2) / (2 * 0.15**2))
        assert interest[user, item].item() == pytest.approx(expected)
        expected = b * data.sensitivity[user] * data.appeal[item]
        assert conformity[user, item].item() == pytest.approx(expected)
    assert (conformity >= 0).all() and data.sensitivity.min() > 0
    # Users and items broadcast.
    user, item = torch.tensor([3, 5, 3]), torch.tensor([7, 0, 15])
    for whole, rows, cells in zip(
        (interest, conformity),
        data.true_scores(user.unsqueeze(1), item),
        data.true_scores(user, item),
        strict=True,
    ):
        assert whole.dtype == torch.double and whole.device.type == 'cpu'
        assert torch.equal(rows, whole[user][:, item])
        assert torch.equal(cells, whole[user, item])
    single = data.true_scores(torch.tensor(3), torch.tensor(7))
    assert single.conformity == conformity[3, 7] and single.interest.shape == ()


def test_law():
    """Clicks of each item by users of each sensitivity, and what they have in sum, are
    those of an independent draw, item by item.
    """
    data = PlantedClicks(20_000, 16, 160_000, interest_weight=2.0, conformity_weight=0.5)
    interest, conformity = (part.numpy() for part in all_scores(data))
    rng = np.random.default_rng(7)
    expected = draw_one_by_one(interest + conformity, 8, rng)
    drawn = np.zeros_like(expected)
    drawn[data.graph.user.numpy(), data.graph.item.numpy()] = True
    assert (drawn.sum(axis=1) == 8).all() and (expected.sum(axis=1) == 8).all()
    group = np.digitize(
        data.sensitivity, np.quantile(data.sensitivity, [0.25, 0.5, 0.75])
    )
    for number in range(4):
        size = (group == number).sum()
        counts = [part[group == number].sum(axis=0) for part in (drawn, expected)]
        # 4.5 standard deviations of a difference, at most.
        assert abs(counts[0] - counts[1]).max() < 4.5 * math.sqrt(size / 2)
    for part in (interest, conformity):
        gap = (part * drawn).sum(axis=1) - (part * expected).sum(axis=1)
        assert abs(gap.mean()) < 4.5 * gap.std() / math.sqrt(len(gap))
        # A draw that ignored this part would be far apart.
        gap = (part * (drawn - 0.5)).sum(axis=1)
        assert gap.mean() > 20 * gap.std() / math.sqrt(len(gap))


@pytest.mark.parametrize('seed', range(3))
def test_few_items_have_most_clicks(seed):
    degree = PlantedClicks(seed=seed).graph.item_degree.sort(descending=True).values
    assert 0.4 < degree[:50].sum() / 40_000 < 0.6


def test_split():
    data = PlantedClicks(30, 20, 300, seed=4)
    for kwargs in ({}, {'seed': 5, 'share': 0.2}):
        expected = intervened_split(data.graph, **{'seed': 4, **kwargs})
        parts = zip(data.split(**kwargs), expected, strict=True)
        assert all(same(*pair) for pair in parts)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_users': 0}, '`num_users` must be from 1 to inf .got 0'),
        ({'num_items': 15}, '`num_items` must be from 16'),
        ({'num_clicks': 7999}, '`num_clicks` must be from 8000 to 250000 .got 7999'),
        ({'num_clicks': 250_001}, '`num_clicks` must be from 8000 to 250000'),
        ({'seed': -1}, '`seed` must be from 0'),
        ({'interest_weight': -0.5}, '`interest_weight` must be from 0'),
        ({'interest_weight': math.nan}, '`interest_weight` must be from 0'),
        ({'conformity_weight': math.inf}, '`conformity_weight` must be from 0'),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlantedClicks(**arguments)
