"""A picture of a training run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from iedr_geo.analysis.plots import style
from iedr_geo.metrics import AUC

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
        for number, name in enumerate(group):
            color = style.COLORS[number % len(style.COLORS)]
            panel.plot(
                epoch,
                table[name],
                '.-',
                color=color if group is metrics else style.DARK,
                lw=2.5 if name == monitor else 1.2,
                label=name,
            )
        if group is metrics:
            style.add_legend(panel, fontsize='small', labelspacing=0.3)
        else:
            beside = panel.annotate(group[0], (1.02, 0.5), xycoords='axes fraction')
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
