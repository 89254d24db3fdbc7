"""Pictures of the parts of scores in two contexts, and of what features give a score."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from iedr_geo.analysis.plots import style
from iedr_geo.data.arguments import check_count, check_type
from iedr_geo.data.schema import Side
from iedr_geo.recommend import Explanation, Recommender

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_scores(
    recommender: Recommender,
    user: Any,
    a: Mapping[str, Any] | pd.Series,
    b: Mapping[str, Any] | pd.Series,
    k: int = 100,
    ax: Axes | None = None,
) -> Axes:
    """Plots the intrinsic and extrinsic parts of the scores of the same items in two
    contexts, as in Figure 8 of `Su et al. <https://doi.org/10.1145/3722553>`_.

    A part that is the same in both contexts is on the diagonal: the intrinsic one should
    be, the extrinsic one should not. The items are those with the highest part in one
    context, other ones for each part, so that most of them score higher there.

    Args:
        recommender: The recommender, with a model that knows contexts.
        user: The user.
        a: The context in which the :obj:`k` items are the highest of each part.
        b: The other context.
        k: The number of items.
        ax: Where to plot (default: in a new figure).

    Raises:
        ValueError: If the scores have no such parts, or no items are left for the user.
    """
    parts = ['intrinsic', 'extrinsic']
    if not set(parts) <= set(recommender.parts):
        raise ValueError(
            f'The scores must have an intrinsic and an extrinsic part (they have: '
            f'{", ".join(recommender.parts) or "none"})'
        )
    check_count(k, 'k')
    a, b, name = dict(a), dict(b), recommender.item_name
    size = recommender.scorer.num_items
    first, second = (recommender.recommend(user, c, size).set_index(name) for c in (a, b))
    if first.empty:
        raise ValueError(f'No items are left to recommend to user {user!r}')
    ax = style.new_axes(ax)
    columns = [recommender.rename.get(part, part) for part in parts]
    start, label = float(first[columns[0]].max()), 'the same in both'
    ax.axline((start, start), slope=1, color=style.GREY, lw=1, zorder=0, label=label)
    for number, (part, column) in enumerate(zip(parts, columns, strict=True)):
        best = first[column].nlargest(k)
        points = np.stack([best, second[column].loc[best.index]], axis=1)
        change = np.abs(np.diff(points)).mean()
        label = f'{part}\n(mean change {change:.2f})'
        style.scatter_factor(ax, points, part, number, label=label)
    ax.set_aspect('equal', 'datalim')
    differ = [key for key in a if a[key] != b.get(key)] or list(a)
    x, y = (', '.join(str(context[key]) for key in differ) for context in (a, b))
    who = 'a new user' if isinstance(user, Mapping) else f'user {user}'
    return style.finish(
        ax,
        f'The top {min(k, len(first))} items by each part on the x axis, for {who}',
        xlabel=textwrap.fill(f'part of the score: {x}', 48),
        ylabel=textwrap.fill(f'part of the score: {y}', 48),
    )


def plot_explanation(
    explanation: Explanation, side: Side = 'context', ax: Axes | None = None
) -> Axes:
    """Plots the feature graph of one side, with what leaving a feature or a pair of
    features out takes from the score.

    Discs are features, the larger and the stronger in colour, the more the score changes
    without them; lines are pairs, and the rim of a disc is the pair of a feature with
    itself. One scale of colours is for all: what is brown raises the score, what is
    purple lowers it.

    Args:
        explanation: The result of :meth:`Recommender.explain`.
        side: :obj:`'user'`, :obj:`'item'` or :obj:`'context'`.
        ax: Where to plot (default: in a new figure).

    Raises:
        ValueError: If there are no features on the side, or the pairs are not those of
            the features.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

    check_type(explanation, 'explanation', Explanation)
    features = explanation.features.query('side == @side')
    labels, node = features['feature'].to_numpy(), features['difference'].to_numpy(float)
    if not len(labels):
        raise ValueError(f'The explanation has no features of side {side!r}')
    pairs = explanation.pairs.query('side == @side')
    edge = pairs['difference'].to_numpy(float)
    ends = np.stack(np.triu_indices(len(labels)), axis=1)
    of_pairs = pairs[['feature_a', 'feature_b']].to_numpy().tolist()
    if len(edge) and of_pairs != labels[ends].tolist():
        raise ValueError(f'The pairs of side {side!r} are not those of its features')
    most = max(np.abs([*node, *edge]).max(), 1e-12)
    colors = ScalarMappable(Normalize(-most, most), 'PuOr_r')
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(labels)) / len(labels)
    x, y = np.cos(angle), np.sin(angle)
    radius = 7 + 8 * np.abs(node) / most  # In points.
    shown = 'disc: feature'
    ax = style.new_axes(ax)
    if len(edge):
        shown += ', ring: with itself, line: pair; pairs: at most '
        shown += f'{np.abs(edge).max():.3f}'
        own = ends[:, 0] == ends[:, 1]
        shade, width = colors.to_rgba(edge), 0.8 + 5 * np.abs(edge) / most
        rings = ax.scatter(x, y, s=(2 * radius + 8) ** 2, c='none', zorder=2)
        rings.set(edgecolor=shade[own], linewidth=2.5)
        lines = LineCollection(np.stack([x[ends], y[ends]], axis=2)[~own], zorder=1)
        lines.set(color=shade[~own], linewidth=width[~own])
        ax.add_collection(lines)
    ax.scatter(x, y, s=(2 * radius) ** 2, c=colors.to_rgba(node), zorder=2)
    for label, a, b, away in zip(labels, x, y, radius + 9, strict=True):
        ax.annotate(
            style.plain(label if len(label) <= 20 else label.replace('=', '=\n', 1)),
            (a, b),
            (away * a, away * b),
            textcoords='offset points',
            ha='center' if abs(a) < 0.3 else 'left' if a > 0 else 'right',
            va='center' if abs(a) >= 0.3 else 'bottom' if b > 0 else 'top',
        )
    ax.set_axis_off()
    ax.set(xlim=(-2.0, 2.0), ylim=(-1.4, 1.4))
    label = 'difference: score less the score without it'
    ax.figure.colorbar(colors, ax=ax, label=label, shrink=0.8)
    what = f'What the score of {explanation.score:.2f} owes to features of the {side}'
    return style.finish(ax, f'{what}\n({shown})')
