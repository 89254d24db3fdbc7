"""Pictures of how far rankings follow popularity."""

from __future__ import annotations

import itertools

import pytest
import torch

from iedr_geo.analysis import plot_popularity_overlap, popularity_overlap
from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import MF


def test_popularity_overlap(dice, graph):
    ax = plot_popularity_overlap(dice, graph, ks=(5, 1, 3))
    *lines, chance = ax.lines
    assert [line.get_label() for line in lines] == ['all factors', *dice.factors]
    assert len({line.get_color() for line in ax.lines}) == 4
    for line, factor in zip(lines, (None, *dice.factors), strict=True):
        assert line.get_xdata().tolist() == [1, 3, 5]
        expected = [popularity_overlap(dice, graph, k, factor) for k in (1, 3, 5)]
        assert line.get_ydata().tolist() == expected
    assert ax.get_ylim()[0] == 0
    # Over all rankings that a user can get.
    for k, value in zip((1, 3, 5), chance.get_ydata(), strict=True):
        total = 0.0
        for user in range(graph.num_users):
            left = set(range(10)) - set(graph.positives(user).tolist())
            popular = set(sorted(left)[:k])
            tops = list(itertools.combinations(sorted(left), min(k, len(left))))
            shares = [len(popular & {*top}) / len(popular | {*top}) for top in tops]
            total += sum(shares) / len(shares)
        assert value == pytest.approx(total / graph.num_users)


@pytest.mark.parametrize(('num_items', 'ks'), [(7, [7]), (45, [10, 20, 30, 40])])
def test_numbers_of_items(num_items, ks):
    graph = BipartiteGraph(torch.arange(4), torch.arange(4), 5, num_items)
    ax = plot_popularity_overlap(MF(5, num_items, 4), graph)
    assert [line.get_label() for line in ax.lines] == ['the model', 'at random']
    assert ax.lines[0].get_xdata().tolist() == ks


def test_wrong_numbers(dice, graph):
    for ks, message in (
        ((), 'There are no numbers of items'),
        ((5, 11), r'from 1 to 10 \(got 11\)'),
        ((0,), r'from 1 to 10 \(got 0\)'),
    ):
        with pytest.raises(ValueError, match=message):
            plot_popularity_overlap(dice, graph, ks)


def test_all_items_seen():
    """A user who has had everything agrees with nothing, as in popularity_overlap."""
    graph = BipartiteGraph(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 2, 0]), 2, 3)
    ax = plot_popularity_overlap(MF(2, 3, 4), graph, (3,))
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.5], [0.5]]
