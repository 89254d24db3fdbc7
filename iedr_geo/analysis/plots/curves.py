"""Pictures by epoch, and by the number of items that count."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import hypergeom

from iedr_geo.analysis.measures.popularity_overlap import popularity_overlap
from iedr_geo.analysis.plots import style
from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.metrics import AUC
from iedr_geo.scoring import scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What decides which epoch is the best where nothing else is said, as in training.
MONITORS = ('ndcg@10', 'recall@50')
NO_TERMS = ('epoch', 'learning_rate', 'seconds', 'training_seconds')
GAP = 0.25  # Between panels, of the height of a small one.


def plot_history(
    history: str | os.PathLike[str] | pd.DataFrame | Sequence[Mapping[str, float]],
    monitor: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots validation metrics and the terms of the loss by epoch, and marks the best
    epoch.

    The terms have no common scale, so each has a panel of its own. The panels are
    :obj:`ax.child_axes`, that of the metrics first.

    Args:
        history: The folder of a run, its :obj:`metrics.csv`, or the history of a
            :class:`TrainingResult`.
        monitor: The metric that decides which epoch is the best (default:
            :obj:`'ndcg@10'`, :obj:`'recall@50'` or the first there is; the last epoch is
            the best if there is none).
        ax: Where to plot (default: in a new figure).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the history is empty or no history, or lacks the metric.
    """
    table = _table(history)
    names = [str(name) for name in table if name not in NO_TERMS]
    metrics = [name for name in names if '@' in name or name == AUC.name]
    terms = [name for name in names if name not in metrics]
    if monitor is None:
        monitor = next((name for name in (*MONITORS, *metrics) if name in metrics), None)
    elif monitor not in metrics:
        raise ValueError(
            f"The history has no metric '{monitor}' (it has: "
            f'{", ".join(metrics) or "none"})'
        )
    epoch, best = table['epoch'], len(table) - 1
    chosen = 'the last epoch counts as the best'
    if monitor is not None:
        best = int(table[monitor].argmax())
        value = table[monitor][best]
        chosen = f'epoch {epoch[best]:.0f} has the best {monitor}, {value:.4f}'
    groups = [group for group in (metrics, *([term] for term in terms)) if group]
    heights = [2.5 if group is metrics else 1.0 for group in groups]
    ax = style.new_axes(ax, height=0.9 + 0.8 * sum(heights))
    ax.set_axis_off()
    margin = max(0.02 * float(np.ptp(epoch)), 0.1)
    for panel, group in zip(_panels(ax, heights), groups, strict=True):
        panel.set_xlim(epoch.min() - margin, epoch.max() + margin)
        line = panel.axvline(epoch[best], color=style.GREY, lw=1, ls='--', zorder=0)
        line.set_label('best epoch')
        panel.set_prop_cycle(color=style.COLORS if group is metrics else [style.DARK])
        for name in group:
            width = 2.5 if name == monitor else 1.2
            panel.plot(epoch, table[name], '.-', lw=width, label=style.plain(name))
        if group is metrics:
            style.add_legend(panel, fontsize='small', labelspacing=0.3)
        else:
            name = style.plain(group[0])
            beside = panel.annotate(name, (1.02, 0.5), xycoords='axes fraction')
            beside.set(color=style.DARK, va='center')
    shown = ['validation metrics'] * bool(metrics)
    shown += ['terms of the training loss'] * bool(terms)
    return style.finish(ax, f'Learning curves: {chosen}\n({", ".join(shown)})')


def _table(history: Any) -> pd.DataFrame:
    if isinstance(history, (str, os.PathLike)):
        path = Path(history)
        path = path / 'metrics.csv' if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f'There is no history of a run at {path}')
        table = pd.read_csv(path)
    else:
        table = pd.DataFrame(history).reset_index(drop=True)
    if table.empty:
        raise ValueError('The history has no epochs')
    if 'epoch' not in table or set(table) <= set(NO_TERMS):
        raise ValueError(
            f"A history has a column 'epoch' and others with losses or metrics (got "
            f'{", ".join(map(str, table))})'
        )
    return table


def _panels(ax: Axes, heights: Sequence[float]) -> list[Axes]:
    """Returns panels one below the other within an Axes, with a common abscissa."""
    from matplotlib.ticker import MaxNLocator

    unit = 1 / (sum(heights) + GAP * (len(heights) - 1))
    bottoms = 1 - unit * (np.cumsum(heights) + GAP * np.arange(len(heights)))
    panels = []
    for bottom, height in zip(bottoms, heights, strict=True):
        panel = ax.inset_axes((0.0, bottom, 1.0, height * unit))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.yaxis.set_major_locator(MaxNLocator(nbins=2 + int(2 * height)))
        panel.tick_params(labelbottom=False, labelsize='small')
        panel.grid(axis='y', alpha=0.3)
        panel.spines[['top', 'right']].set_visible(False)
        panels.append(panel)
    panels[-1].tick_params(labelbottom=True)
    panels[-1].set_xlabel('epoch, counted from 0')
    return panels


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
    whole = 'all factors' if made.factor_names else 'the model'
    values = {
        part or whole: [popularity_overlap(made, graph, k, part) for k in ks]
        for part in (None, *made.parts)
    }
    ax = style.new_axes(ax, height=4.0)
    ax.set_prop_cycle(color=(style.DARK, *style.COLORS[:4]), marker=list(style.MARKERS))
    ax.plot(
        ks, np.transpose(list(values.values())), ms=5, label=[*map(style.plain, values)]
    )
    chance = [_chance_overlap(graph, k) for k in ks]
    ax.plot(ks, chance, '--', color=style.GREY, marker='', label='at random')
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
