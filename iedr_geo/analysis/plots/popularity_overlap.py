"""A picture of how far rankings follow popularity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from scipy.stats import hypergeom

from iedr_geo.analysis.measures.popularity_overlap import popularity_overlap
from iedr_geo.analysis.plots import style
from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.scoring import scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_popularity_overlap(
    model: Model,
    graph: BipartiteGraph,
    ks: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots how much of the top of the rankings is the most popular items, by how many
    items count, as in Figure 5 (a) of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_: a line for the whole score, one for each
    part of it, and one for rankings at random.

    Args:
        model: A model of the graph, or a scorer of one.
        graph: The training edges, whose popularity counts.
        ks: The numbers of items (default: 10, 20, ..., 100, or less where there are not
            as many).
        ax: Where to plot (default: in a new figure).

    Raises:
        ValueError: If there are no numbers, or one is not from 1 to the number of items.
    """
    if ks is None:
        ks = range(10, min(100, graph.num_items) + 1, 10) or [graph.num_items]
    ks = sorted(ks)
    if not ks:
        raise ValueError('There are no numbers of items in `ks`')
    made = scorer(model, graph)
    lines = {
        part: [popularity_overlap(made, graph, k, part) for k in ks]
        for part in (None, *made.parts)
    }
    ax = style.new_axes(ax, height=4.0)
    whole = 'all factors' if made.factors else 'the model'
    colors = (style.DARK, *style.COLORS[:-1])
    for number, (part, values) in enumerate(lines.items()):
        marker, color = style.MARKERS[number % 5], colors[number % len(colors)]
        ax.plot(ks, values, marker=marker, ms=5, color=color, label=part or whole)
    chance = [_chance_overlap(graph, k) for k in ks]
    ax.plot(ks, chance, color=style.GREY, ls='--', label='at random')
    ax.set_ylim(bottom=0)
    ax.grid(axis='y', alpha=0.3)
    title = "Overlap of users' top k with the k most popular items"
    labels = {'xlabel': 'number k of items', 'ylabel': 'intersection over union'}
    return style.finish(ax, title, **labels)


def _chance_overlap(graph: BipartiteGraph, k: int) -> float:
    """Returns the expected overlap of random rankings with the most popular items."""
    left, users = torch.unique(graph.num_items - graph.user_degree, return_counts=True)
    total = 0.0
    for size, count in zip(left.tolist(), users.tolist(), strict=True):
        if top := min(k, size):
            common = hypergeom(size, top, top)
            total += count * common.expect(lambda n, top=top: n / (2 * top - n))
    return total / graph.num_users
