"""Pictures of the parts of scores, against the model's own factors."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from iedr_geo.analysis import plot_scores
from iedr_geo.loader import InteractionBatch
from iedr_geo.recommend import Recommender


@pytest.mark.parametrize('exclude_seen', [False, True])
def test_scores(dataset, model, exclude_seen):
    dataset = copy.copy(dataset)
    dataset.exclude_seen = exclude_seen
    user, k, frame = 3, 5, dataset.context_frame
    seen = set(dataset.item[dataset.user == user].tolist()) if exclude_seen else set()
    items = torch.arange(dataset.num_items)
    same = (frame == frame.iloc[0]).sum(axis=1)
    other = int(np.flatnonzero(same == 2)[0])  # Half of it is the same.
    scores, parts = [], []
    for context in (0, other):
        ids = torch.full_like(items, user), items, torch.full_like(items, context)
        with torch.no_grad():
            out = model.eval().encode(InteractionBatch.from_ids(dataset, *ids))
        scores.append(out.logits.tolist())
        factors = zip(*out.factors, strict=True)
        parts.append([(u * v).sum(1).tolist() for u, v in factors])
    top = sorted(set(range(len(items))) - seen, key=lambda item: -scores[0][item])[:k]
    a, b = frame.iloc[0], frame.iloc[other].to_dict()
    ax = plot_scores(Recommender(model, dataset), dataset.user_ids[user], a, b, k)
    for part, (name, points) in enumerate(
        zip(('intrinsic', 'extrinsic'), ax.collections, strict=True)
    ):
        expected = [(parts[0][part][item], parts[1][part][item]) for item in top]
        assert np.allclose(points.get_offsets(), expected, atol=1e-5)  # In their order.
        change = np.mean([abs(x - y) for x, y in expected])
        assert points.get_label() == f'{name}\n(mean change {change:.2f})'
        assert all(ax.viewLim.contains(*point) for point in points.get_offsets())
    [diagonal] = ax.lines
    assert diagonal.get_slope() == 1 and np.ptp(diagonal.get_xy1()) == 0
    ax.figure.canvas.draw()
    zero, one = ax.transData.transform([(0, 0), (1, 1)])
    assert np.ptp(one - zero) == pytest.approx(0, abs=1e-6)  # Axes of the same scale.
    assert f'{len(top)} items' in ax.get_title(loc='left')
    for context, label in ((a, ax.get_xlabel()), (b, ax.get_ylabel())):
        for name in a.index:
            assert (str(context[name]) in label) == (a[name] != b[name])


def test_scores_of_a_new_user_in_one_context(dataset, model):
    context = dataset.context_frame.iloc[0]
    user = {'age_group': '18-24', 'household': 'single'}
    ax = plot_scores(Recommender(model, dataset), user, context, context, 3)
    for points in ax.collections:
        assert np.allclose(*points.get_offsets().T)
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
