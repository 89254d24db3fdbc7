"""Draws how one row of a log becomes a score: python docs/figures/data_way.py"""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
)

SIDES = {'user': '#2a6fbb', 'item': '#c8601a', 'context': '#2e8b57'}
LANE = {'user': 5.15, 'item': 3.05, 'context': 0.95}
SYMBOL = {'user': 'u', 'item': 'v', 'context': 'c'}
INTRINSIC, EXTRINSIC, INK, PALE = '#5b4b8a', '#b5487a', '#222222', '#8a8a8a'
STAGES = (  # Where each stage is, its name, what makes it, and what it is.
    (0.95, 'tables', 'pandas', 'one row of a log,\nwith its features'),
    (
        3.25,
        'feature graphs',
        'FeatureSchema',
        'complete: a ring is the\nedge of a node to itself',
    ),
    (5.6, 'batch', 'InteractionLoader', 'distinct graphs, and\nwhich each row has'),
    (7.5, 'readouts', 'SIGN', 'a vector\na graph'),
    (
        9.45,
        'factors',
        'MLPGenerator',
        'intrinsic and extrinsic,\nof users and of items',
    ),
    (11.45, 'score', 'IEDR', 'a logit\na row'),
)


def films():
    items = pd.DataFrame(
        {
            'film': ['Alien', 'Brazil'],
            'genres': ['horror|scifi', 'comedy|scifi'],
            'minutes': [117, None],
        }
    )
    log = pd.DataFrame(
        {
            'person': ['Ann', 'Ann', 'Bob'],
            'film': ['Brazil', 'Alien', 'Alien'],
            'day': ['sat', 'fri', 'sat'],
            'with': ['friends', 'family', 'friends'],
        }
    )
    schema = FeatureSchema(
        user=[Categorical('person')],
        item=[
            Categorical('film'),
            MultiCategorical('genres', '|'),
            Bucketized('minutes', (90, 120)),
        ],
        context=[Categorical('day'), Categorical('with')],
    )
    return (
        log,
        items,
        InteractionDataset.from_pandas(
            log, None, items, schema, user='person', item='film'
        ),
    )


def table(ax, side, record):
    x, y = STAGES[0][0] - 0.95, LANE[side] + 0.17 * len(record)
    for i, (name, value) in enumerate(record.items()):
        top = y - 0.34 * (i + 1)
        ax.add_patch(Rectangle((x, top), 0.85, 0.34, fc='#f1f1f1', ec=PALE, lw=0.6))
        ax.add_patch(Rectangle((x + 0.85, top), 1.15, 0.34, fc='white', ec=PALE, lw=0.6))
        ax.text(x + 0.07, top + 0.16, name, size=8.5, va='center', color=INK)
        ax.text(x + 0.92, top + 0.16, value, size=8.5, va='center', color=SIDES[side])


def places(size, radius):
    if size == 1:
        return np.zeros((1, 2))
    angle = np.pi * (0.5 + 2 * np.arange(size) / size) + (size == 2) * np.pi / 2
    angle += (size == 4) * np.pi / 4
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def graph(ax, x, y, side, size, radius, dot, labels=None):
    """Draws a complete graph; its self-loops are the rings around the nodes."""
    at = np.array((x, y)) + places(size, radius)
    for i in range(size):
        for j in range(i):
            ax.plot(*at[[i, j]].T, color=SIDES[side], lw=1, alpha=0.6, zorder=1)
    ax.scatter(*at.T, s=dot, color=SIDES[side], zorder=3)
    ax.scatter(*at.T, s=3.2 * dot, facecolors='none', edgecolors=SIDES[side], lw=0.8)
    for (px, py), label in zip(at, labels or (), strict=False):
        below = py < y - 0.01 or size < 4
        ax.text(
            *(px, py - 0.34 if below else py + 0.3),
            label,
            size=9,
            ha='center',
            va='center',
            color=INK,
        )


def vector(ax, x, y, color, label=None, width=0.17, cells=5):
    left = x - cells * width / 2
    for i in range(cells):
        ax.add_patch(
            Rectangle(
                (left + i * width, y - 0.11),
                width,
                0.22,
                fc=color,
                ec='white',
                alpha=(0.95, 0.55, 0.8, 0.4, 0.7)[i % 5],
            )
        )
    if label:
        ax.text(x, y + 0.27, label, size=10, ha='center', va='center', color=color)


def arrow(ax, start, end, color=PALE, **kwargs):
    style = {'arrowstyle': '-|>', 'mutation_scale': 11, 'lw': 1.1, 'color': color}
    ax.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **(style | kwargs)))


def draw(path):
    log, items, dataset = films()
    names = dataset.schema.names()
    sample = dataset[0].to_networkx(names)
    figure = Figure(figsize=(10, 6.05), facecolor='white')
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(-0.65, 12.0), ylim=(-0.8, 6.85))
    ax.axis('off')
    for x, stage, maker, note in STAGES:
        ax.text(x, 6.55, stage, size=11.5, weight='bold', ha='center', color=INK)
        ax.text(x, 6.22, maker, size=8.5, family='monospace', ha='center', color=PALE)
        ax.text(x, -0.45, note, size=8.5, ha='center', va='center', color='#555555')
    row = log.iloc[0]
    film = items[items['film'] == row['film']].iloc[0]
    records = {
        'user': {'person': row['person']},
        'item': {'film': film['film'], 'genres': film['genres'], 'minutes': '-'},
        'context': {'day': row['day'], 'with': row['with']},
    }
    for side, y in LANE.items():
        color = SIDES[side]
        ax.text(-0.35, y, side, size=11, weight='bold', color=color, rotation=90,
                ha='center', va='center')  # fmt: skip
        table(ax, side, records[side])
        labels = [
            data['label'].split('=')[1]
            for _, data in sample.nodes(data=True)
            if data['side'] == side
        ]
        graph(ax, STAGES[1][0], y, side, len(labels), 0.55, 45, labels)
        arrow(ax, (2.1, y), (2.5, y))
        arrow(ax, (4.15, y), (4.6, y))
        batch(ax, STAGES[2][0], y, side, dataset)
        arrow(ax, (6.58, y), (6.98, y))
        vector(ax, STAGES[3][0], y, color, f'$\\mathbf{{{SYMBOL[side]}}}$')
    factors(ax)
    figure.savefig(path, metadata={'Date': None} if str(path).endswith('svg') else None)


def batch(ax, x, y, side, dataset):
    """Draws the distinct graphs of three rows, and which of them each row uses."""
    ids = getattr(dataset, side)
    distinct, rows = ids.unique(return_inverse=True)
    stored = getattr(dataset, f'{side}s')
    heights = y + 0.42 * (np.arange(len(distinct))[::-1] * 2 - (len(distinct) - 1))
    for place, height in zip(distinct, heights, strict=True):
        size = stored[int(place)].num_nodes
        graph(ax, x - 0.55, height, side, size, 0.2, 9)
    for i, graph_of_row in enumerate(rows):
        height = y + 0.3 * (1 - i)
        ax.add_patch(
            Rectangle((x + 0.45, height - 0.1), 0.42, 0.2, fc='#f1f1f1', ec=PALE, lw=0.6)
        )
        ax.text(x + 0.66, height - 0.01, f'{i}', size=7, ha='center', va='center')
        ax.plot(
            (x - 0.2, x + 0.43),
            (heights[graph_of_row], height),
            color=SIDES[side],
            lw=0.8,
        )


def factors(ax):
    x, end = STAGES[4][0], STAGES[5][0]
    for side in ('user', 'item'):
        y, color, symbol = LANE[side], SIDES[side], SYMBOL[side]
        arrow(ax, (8.02, y), (8.68, y), color)
        box = FancyBboxPatch(
            (x - 0.68, y - 0.82),
            1.36,
            1.64,
            boxstyle='round,pad=0.06',
            fc='#fafafa',
            ec=color,
        )
        ax.add_patch(box)
        vector(ax, x, y + 0.27, INTRINSIC, f'$\\mathbf{{o}}^{symbol}_{{in}}$')
        vector(ax, x, y - 0.52, EXTRINSIC, f'$\\mathbf{{o}}^{symbol}_{{ex}}$')
        arrow(
            ax,
            (x + 0.8, y),
            (end - 0.32, 4.1 + (0.25 if side == 'user' else -0.25)),
            color,
        )
    # The context goes into both generators.
    line = {'color': SIDES['context'], 'lw': 1.1}
    ax.plot((8.02, 8.32, 8.32), (0.95, 0.95, 4.8), **line)
    arrow(ax, (8.32, 2.7), (8.68, 2.7), SIDES['context'])
    arrow(ax, (8.32, 4.8), (8.68, 4.8), SIDES['context'])
    ax.add_patch(FancyBboxPatch((end - 0.22, 3.88), 0.44, 0.44, boxstyle='round,pad=0.06',
                                fc='#fafafa', ec=INK))  # fmt: skip
    ax.text(end, 4.1, r'$\hat{y}$', size=14, ha='center', va='center', color=INK)
    ax.text(
        10.35,
        0.95,
        r'$\hat{y} = (\mathbf{o}^u_{in} + \mathbf{o}^u_{ex})^{\!\top}'
        r'(\mathbf{o}^v_{in} + \mathbf{o}^v_{ex})$',
        size=12,
        ha='center',
        va='center',
        color=INK,
    )


if __name__ == '__main__':
    mpl.rcParams['svg.hashsalt'] = 'iedr_geo'
    draw(Path(__file__).with_suffix('.svg'))
