"""What holds of all pictures: where they are drawn, and how much room they take."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from iedr_geo.analysis import (
    plot_explanation,
    plot_factors,
    plot_generator,
    plot_history,
    plot_popularity_overlap,
    plot_scores,
)
from iedr_geo.recommend import Recommender

NAMES = ['factors', 'items', 'scores', 'generator', 'history', 'overlap', 'explanation']


@pytest.fixture
def draw(dataset, model, dice, graph):
    """Each of the functions, with arguments that suit it."""
    contexts = dataset.context_frame.to_dict('records')
    recommender = Recommender(model, dataset)
    history = pd.DataFrame({'epoch': [0, 1], 'loss': [1.0, 0.5], 'ndcg@10': [0.1, 0.2]})
    explanation = recommender.explain('u2', 'i3', contexts[0])
    return {
        'factors': lambda **kw: plot_factors(model, dataset, num_samples=9, **kw),
        'items': lambda **kw: plot_factors(dice, graph, **kw),
        'scores': lambda **kw: plot_scores(recommender, 'u3', *contexts[:2], **kw),
        'generator': lambda **kw: plot_generator(model, **kw),
        'history': lambda **kw: plot_history(history, **kw),
        'overlap': lambda **kw: plot_popularity_overlap(dice, graph, (1, 5), **kw),
        'explanation': lambda **kw: plot_explanation(explanation, 'item', **kw),
    }


@pytest.mark.parametrize('name', NAMES)
def test_draws_where_it_is_told(name, draw):
    """And nowhere else: neither state nor other figures change."""
    figure, axes = plt.subplots(1, 2)
    other = plt.figure().add_subplot()
    before = dict(matplotlib.rcParams), plt.get_fignums()
    random = torch.get_rng_state(), np.random.get_state()[1].copy()
    left = axes[0].get_children()
    assert draw[name](ax=axes[1]) is axes[1]
    assert (dict(matplotlib.rcParams), plt.get_fignums()) == before
    assert plt.gca() is other and not other.has_data()
    assert axes[0].get_children() == left
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.array_equal(np.random.get_state()[1], random[1])
    colour_bars = int(name in ('generator', 'explanation'))
    assert len(figure.axes) == 2 + colour_bars
    title = axes[1].get_title(loc='left')
    assert title and max(map(len, title.split('\n'))) <= 68


@pytest.mark.parametrize('name', NAMES)
def test_makes_a_figure(name, draw):
    ax = draw[name]()
    assert plt.get_fignums() == [ax.figure.number]
    ax.figure.canvas.draw()
    # Nothing reaches beyond the figure.
    box, (width, height) = ax.figure.get_tightbbox(), ax.figure.get_size_inches()
    assert min(box.x0, box.y0) > -0.02
    assert box.x1 < width + 0.02 and box.y1 < height + 0.02
