"""Pictures of parts of scores and of explanations, against their tables."""

from __future__ import annotations

import copy
import itertools

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt

from iedr_geo.analysis import plot_explanation, plot_scores
from iedr_geo.loader import InteractionBatch
from iedr_geo.recommend import Explanation, Recommender


@pytest.mark.parametrize('exclude_seen', [False, True])
def test_scores(dataset, model, exclude_seen):
    dataset = copy.copy(dataset)
    dataset.exclude_seen = exclude_seen
    user, k, frame = 3, 5, dataset.context_frame
    seen = set(dataset.item[dataset.user == user].tolist()) if exclude_seen else set()
    items = torch.arange(dataset.num_items)
    same = (frame == frame.iloc[0]).sum(axis=1)
    other = int(np.flatnonzero(same == 2)[0])  # Half of it is the same.
    encoded = []
    for context in (0, other):
        ids = torch.full_like(items, user), items, torch.full_like(items, context)
        with torch.no_grad():
            encoded.append(model.eval().encode(InteractionBatch.from_ids(dataset, *ids)))
    left = sorted(set(range(len(items))) - seen)
    a, b = frame.iloc[0], frame.iloc[other].to_dict()
    ax = plot_scores(Recommender(model, dataset), dataset.user_ids[user], a, b, k)
    for name, points in zip(('intrinsic', 'extrinsic'), ax.collections, strict=True):
        factors = [[getattr(side, name) for side in each.factors] for each in encoded]
        both = torch.stack([(u * v).sum(1)[left] for u, v in factors], dim=1)
        expected = both[both[:, 0].argsort(descending=True)[:k]]  # Each by its own part.
        assert np.allclose(points.get_offsets(), expected, atol=1e-5)  # In their order.
        change = (expected[:, 0] - expected[:, 1]).abs().mean()
        assert points.get_label() == f'{name}\n(mean change {change:.2f})'
        assert all(ax.viewLim.contains(*point) for point in points.get_offsets())
    [diagonal] = ax.lines
    assert diagonal.get_slope() == 1 and np.ptp(diagonal.get_xy1()) == 0
    ax.figure.canvas.draw()
    zero, one = ax.transData.transform([(0, 0), (1, 1)])
    assert np.ptp(one - zero) == pytest.approx(0, abs=1e-6)  # Axes of the same scale.
    assert f'{k} items' in ax.get_title(loc='left')
    for context, label in ((a, ax.get_xlabel()), (b, ax.get_ylabel())):
        for name in a.index:
            assert (str(context[name]) in label) == (a[name] != b[name])


@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.UnknownValueWarning')
def test_scores_of_a_new_user_in_one_context(dataset, model):
    context = dataset.context_frame.iloc[0]
    user = {'age_group': '18-24', 'household': 'single'}
    ax = plot_scores(Recommender(model, dataset), user, context, context, 3)
    assert 'for a new user' in ax.get_title(loc='left')
    assert all(str(value) in ax.get_xlabel() for value in context)


def test_wrong_scores(dataset, model, dice, graph):
    with pytest.raises(ValueError, match=r'\(they have: interest, conformity\)'):
        plot_scores(Recommender(dice, graph), 0, {}, {})
    context = dataset.context_frame.iloc[0]
    with pytest.raises(ValueError, match='`k` must be at least 1'):
        plot_scores(Recommender(model, dataset), 'u1', context, context, 0)
    dataset = copy.copy(dataset)
    dataset.exclude_seen = True
    dataset.user = dataset.context = torch.zeros(8).long()
    dataset.item = torch.arange(8)
    with pytest.raises(ValueError, match="No items are left to recommend to user 'u0'"):
        plot_scores(Recommender(model, dataset), 'u0', context, context)
    assert plt.get_fignums() == []


FIELDS = ['daytime=noon', 'weekday=sat', 'place=home', 'company=a very long value']
DIFFERENCES = [0.5, -2.0, 0.0, 1.0]
# 0 with 0, 0 with 1, ..., 3 with 3.
PAIRS = [0.1, 0.2, -0.3, 4.0, -0.5, 0.6, 0.0, 0.8, -0.9, 1.0]


def explanation(names=FIELDS, differences=DIFFERENCES, pairs=PAIRS) -> Explanation:
    features = {'side': 'context', 'feature': names, 'difference': differences}
    two = itertools.combinations_with_replacement(names, 2)
    table = pd.DataFrame(two, columns=['feature_a', 'feature_b'])
    table = table.assign(side='context', difference=pairs)
    parts = {'intrinsic': 1.0, 'extrinsic': 0.25}
    return Explanation(1.25, parts, pd.DataFrame(features), table)


def test_explanation():
    ax = plot_explanation(explanation())
    rings, lines, discs = ax.collections
    bar = ax.figure.axes[-1]

    def color(difference):  # One scale for all, as far as the largest of all.
        return matplotlib.colormaps['PuOr_r']((difference + 4.0) / 8.0)

    assert bar.get_ylim() == (-4.0, 4.0) and 'difference' in bar.get_ylabel()
    places = np.asarray(discs.get_offsets())
    assert np.allclose(discs.get_facecolor(), [color(d) for d in DIFFERENCES])
    sizes = discs.get_sizes()
    assert sizes[1] > sizes[3] > sizes[0] > sizes[2] > 0  # By size, not by sign.
    # Rings around them: each feature with itself.
    assert np.allclose(rings.get_offsets(), places)
    assert len(rings.get_facecolor()) == 0 and (rings.get_sizes() > sizes).all()
    assert np.allclose(rings.get_edgecolor(), [color(PAIRS[i]) for i in (0, 4, 7, 9)])
    # The lines: pairs of two.
    pairs = list(itertools.combinations_with_replacement(range(4), 2))
    two = {pair: d for pair, d in zip(pairs, PAIRS, strict=True) if len({*pair}) == 2}
    drawn = {}
    for segment, shade, width in zip(
        lines.get_segments(), lines.get_colors(), lines.get_linewidths(), strict=True
    ):
        ends = [int(np.abs(places - end).sum(1).argmin()) for end in segment]
        assert np.allclose(places[ends], segment)
        drawn[tuple(sorted(ends))] = shade, width
    assert drawn.keys() == two.keys() and len(lines.get_segments()) == len(two)
    for pair, difference in two.items():
        assert np.allclose(drawn[pair][0], color(difference)), pair
    widths = [drawn[pair][1] for pair in sorted(two, key=lambda pair: abs(two[pair]))]
    assert widths == sorted(widths) and len(set(widths)) == len(widths)
    title = ax.get_title(loc='left')
    assert '1.25' in title and 'context' in title and 'at most 4.000' in title


def test_labels_of_an_explanation():
    """Each is beside its own disc, and what is long has two lines; none overlap."""
    ax = plot_explanation(explanation())
    ax.figure.canvas.draw()
    places = np.asarray(ax.collections[-1].get_offsets())
    assert [text.get_text().replace('\n', '') for text in ax.texts] == FIELDS
    assert ax.texts[-1].get_text() == 'company=\na very long value'
    assert np.allclose([text.xy for text in ax.texts], places)
    boxes = [text.get_window_extent() for text in ax.texts]
    for one, two in itertools.combinations(boxes, 2):
        assert not one.overlaps(two)
    for box in boxes:
        for place in ax.transData.transform(places):
            assert not box.contains(*place)


def test_explanation_without_pairs():
    one = explanation()
    without = Explanation(one.score, one.parts, one.features, one.pairs.iloc[:0])
    ax = plot_explanation(without)
    assert len(ax.collections) == 1
    assert ax.figure.axes[-1].get_ylim() == (-2.0, 2.0)
    assert 'line' not in ax.get_title(loc='left')
    # Nothing makes a difference.
    zero = explanation(differences=[0.0] * 4, pairs=[0.0] * 10)
    plot_explanation(zero).figure.canvas.draw()
    # One that was replaced, without pairs.
    ax = plot_explanation(Explanation(1.0, {}, one.features[:1], one.pairs[:0]))
    assert [text.get_text() for text in ax.texts] == ['daytime=noon']
    # Two tags that the model has not seen have one name, and two places.
    ax = plot_explanation(explanation(['a', 'b', 'b'], [1, 2, 3], range(6)))
    assert len(ax.collections[1].get_segments()) == 3
    assert len(set(ax.collections[-1].get_sizes())) == 3


def test_wrong_explanation(dice, graph):
    one, other = explanation(), Recommender(dice, graph).explain(1, 2)
    features, pairs, wrong = one.features, one.pairs, 'pairs of side .* are not those'
    for bad, message in (
        (other, "has no features of side 'context'"),
        (Explanation(1.0, {}, features[:1], pairs), wrong),
        (Explanation(1.0, {}, features, pairs[:-1]), wrong),
        (Explanation(1.0, {}, features, pairs[::-1]), wrong),
    ):
        with pytest.raises(ValueError, match=message):
            plot_explanation(bad)
    assert plt.get_fignums() == []
