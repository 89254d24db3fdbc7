"""What holds of all pictures: where they are drawn, and how much room they take."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.cbook import is_math_text
from matplotlib.text import Text
from shop import CUSTOMERS, SALES, make_model, make_shop

from iedr_geo.analysis import (
    DisentanglementReport,
    plot_explanation,
    plot_factors,
    plot_generator,
    plot_history,
    plot_popularity_overlap,
    plot_scores,
)
from iedr_geo.analysis.plots.style import plain
from iedr_geo.analysis.report.report import as_table
from iedr_geo.analysis.report.study import Row
from iedr_geo.recommend import Explanation, Recommender

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


def test_names_are_text():
    """Whatever signs of formulas, of TeX or of legends are in them."""
    names = ['$a_1$', '_b^{2}%', r'\\frac$', r'c\$<&~#', '$']
    frame = pd.DataFrame({'feature': names, 'side': 'item', 'difference': 1.0})
    rows = [Row('probe', name, 'user', name, 1, 0, 0, 0, 'high') for name in names]
    days = dict(zip(SALES['day'].unique(), names, strict=False))
    shop = make_shop(SALES.assign(day=SALES['day'].map(days)))
    recommender = Recommender(make_model(shop.schema), shop)
    one, two = ({'day': day, 'gift': True} for day in list(days.values())[:2])
    pairs = frame[:0].assign(feature_a='', feature_b='')
    drawn = {
        plot_history(
            pd.DataFrame([{'epoch': 0} | {f'{n}{at}': 1.0 for n in names for at in '@!'}])
        ): [f'{name}{at}' for name in names for at in '@!'],
        plot_explanation(Explanation(1.0, {}, frame, pairs), 'item'): names,
        DisentanglementReport(as_table(rows)).plot(): [
            *names,
            *map('user: {}'.format, names),
        ],
        plot_scores(recommender, CUSTOMERS['customer'][0], one, two): list(days.values())[
            :2
        ],
    }
    for ax, wanted in drawn.items():
        ax.figure.canvas.draw()
        texts = [text.get_text() for text in ax.figure.findobj(Text)]
        assert not any(map(is_math_text, texts))
        for name in wanted:
            assert any(name in text.replace(r'\$', '$') for text in texts), name
    with plt.rc_context({'text.usetex': True}):
        found = [plain(name) for name in names]
    assert found[:2] == [r'\$a\_1\$', r' \_b\^{}\{2\}\%']
    assert found[2] == r'\textbackslash{}\textbackslash{}frac\$'
