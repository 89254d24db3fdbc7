"""The common parts of all pictures: colours, markers, axes, titles and legends.

Legends and colour bars stand beside the data: a figure that is passed in needs room for
them, which ``layout='constrained'`` makes.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

GREY, DARK = '#999999', '#333333'
# Okabe and Ito's colours, which the colour-blind tell apart, and a grey.
COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', DARK)
FACTOR_MARKERS = {'intrinsic': 'o', 'extrinsic': 'x', 'conformity': 'o', 'interest': 'x'}
MARKERS = 'so^vD'
LINE = 68  # Characters of a title.
TEX = str.maketrans(
    {c: f'\\{c}' for c in '$_%&#{}'}
    | {'\\': r'\textbackslash{}', '^': r'\^{}', '~': r'\textasciitilde{}'}
)


def plain(text: Any) -> str:
    """Returns what is drawn as a text is written, and is in a legend if it is a label.

    Matplotlib takes what is between two dollar signs for a formula, leaves out of legends
    what begins with an underscore, and may have all text set by TeX.
    """
    from matplotlib import rcParams

    text = str(text)
    escaped = text.translate(TEX) if rcParams['text.usetex'] else text.replace('$', r'\$')
    return f' {escaped}' if text.startswith('_') else escaped


def new_axes(ax: Axes | None, width: float = 6.5, height: float = 4.5) -> Axes:
    """Returns the Axes, in a new figure if there is none."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout='constrained').add_subplot()


def add_legend(ax: Axes, **kwargs: Any) -> None:
    """Adds a legend to the right of the data."""
    ax.legend(
        loc='upper left',
        bbox_to_anchor=(1.02, 1),
        borderaxespad=0,
        frameon=False,
        **kwargs,
    )


def finish(ax: Axes, title: str, **labels: Any) -> Axes:
    """Adds a title, labels of the axes and, where the data have labels, a legend."""
    ax.set(**{key: plain(text) for key, text in labels.items()})
    lines = [textwrap.fill(line, LINE) for line in title.split('\n')]
    ax.set_title(plain('\n'.join(lines)), loc='left', fontsize='medium')
    if ax.get_legend_handles_labels()[0]:
        ax.spines[['top', 'right']].set_visible(False)
        add_legend(ax)
    return ax


def add_key(ax: Axes, marker: str, color: str, label: str) -> None:
    """Adds an entry to the legend of which there is nothing among the data."""
    ax.plot([], [], ls='', ms=6, marker=marker, color=color, label=plain(label))


def factor_marker(factor: str, number: int) -> str:
    """Returns the marker of a factor."""
    return FACTOR_MARKERS.get(factor, MARKERS[number % 5])


def scatter_factor(
    ax: Axes, points: Floats, factor: str, number: int, **kwargs: Any
) -> None:
    """Adds the marker of a factor at each point; a label is taken as it is."""
    marker = factor_marker(factor, number)
    width = 0.9 if marker == 'x' else 0
    kwargs = {'c': COLORS[number % len(COLORS)], 'label': plain(factor)} | kwargs
    x, y = points.T
    ax.scatter(x, y, s=16, marker=marker, linewidths=width, alpha=0.7, **kwargs)
