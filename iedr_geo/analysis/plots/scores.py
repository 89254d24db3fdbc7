"""A picture of the parts of scores in two contexts."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from iedr_geo.analysis.plots import style
from iedr_geo.recommend import Recommender

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
    be, the extrinsic one should not. The items are the first of one context, so that
    most of them score higher there.

    Args:
        recommender: The recommender, with a model that knows contexts.
        user: The user.
        a: The context whose top :obj:`k` items are shown.
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
    a, b, name = dict(a), dict(b), recommender.item_name
    first = recommender.recommend(user, a, k).set_index(name)
    if first.empty:
        raise ValueError(f'No items are left to recommend to user {user!r}')
    second = recommender.recommend(user, b, k, candidates=list(first.index))
    second = second.set_index(name).loc[first.index]
    ax = style.new_axes(ax)
    start, label = float(first['intrinsic'].iloc[0]), 'the same in both'
    ax.axline((start, start), slope=1, color=style.GREY, lw=1, zorder=0, label=label)
    for number, part in enumerate(parts):
        points = np.stack([first[part], second[part]], axis=1)
        change = np.abs(np.diff(points)).mean()
        label = f'{part}\n(mean change {change:.2f})'
        style.scatter_factor(ax, points, part, number, label=label)
    ax.set_aspect('equal', 'datalim')
    differ = [key for key in a if a[key] != b.get(key)] or list(a)
    x, y = (', '.join(str(context[key]) for key in differ) for context in (a, b))
    who = 'a new user' if isinstance(user, Mapping) else f'user {user}'
    return style.finish(
        ax,
        f'The top {len(first)} items of the context on the x axis, for {who}',
        xlabel=textwrap.fill(f'part of the score: {x}', 48),
        ylabel=textwrap.fill(f'part of the score: {y}', 48),
    )
