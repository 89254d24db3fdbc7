"""Pictures of what a model has learned, each in one Axes of matplotlib.

Legends and colour bars stand beside the data: a figure that is passed in needs room for
them, which ``layout='constrained'`` makes.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from functools import singledispatch
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import hypergeom
from torch import Tensor

from iedr_geo.analysis.measures.popularity_overlap import popularity_overlap
from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.data.schema import Side
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.metrics import AUC
from iedr_geo.nn import (
    IEDR,
    LinearGenerator,
    MLPGenerator,
    ResidualGenerator,
    SplitGenerator,
)
from iedr_geo.nn.contract import has_hooks, stands_for
from iedr_geo.recommend import Explanation, Recommender
from iedr_geo.scoring import Queries, scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

# Okabe and Ito's colours, which the colour-blind tell apart, and greys.
BLUE, ORANGE, GREEN, PURPLE = '#0072B2', '#D55E00', '#009E73', '#CC79A7'
SKY, YELLOW, GREY, DARK = '#56B4E9', '#E69F00', '#999999', '#333333'
COLORS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW, SKY, DARK)
POPULARITY_GROUPS = {'popular': ORANGE, 'normal': GREY, 'unpopular': BLUE}
MARKERS = {'intrinsic': 'o', 'extrinsic': 'x', 'conformity': 'o', 'interest': 'x'}
# What decides which epoch is the best where nothing else is said, as in training.
MONITORS = ('ndcg@10', 'recall@50')
NO_TERMS = ('epoch', 'learning_rate', 'seconds', 'training_seconds')
LINE = 68  # Characters of a title or a label.


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    """Returns the Axes, in a new figure if there is none."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout='constrained').add_subplot()


def _title(ax: Axes, text: str) -> None:
    lines = [textwrap.fill(line, LINE) for line in text.split('\n')]
    ax.set_title('\n'.join(lines), loc='left', fontsize='medium')


def _legend(ax: Axes, **kwargs: Any) -> None:
    """Adds a legend to the right of the data."""
    ax.legend(
        loc='upper left',
        bbox_to_anchor=(1.02, 1),
        borderaxespad=0,
        frameon=False,
        **kwargs,
    )


def _without_box(ax: Axes) -> None:
    ax.spines[['top', 'right']].set_visible(False)


def _marker(factor: str, number: int) -> str:
    return MARKERS.get(factor, 'so^vD'[number % 5])


def _scatter(ax: Axes, place: Floats, colors: Any, marker: str, label: str) -> None:
    """Adds a marker for each row of places."""
    width = 0.9 if marker == 'x' else 0
    ax.scatter(
        place[:, 0],
        place[:, 1],
        s=16,
        c=colors,
        marker=marker,
        linewidths=width,
        alpha=0.7,
        label=label,
    )


def plot_factors(
    model: Model,
    data: InteractionDataset | BipartiteGraph,
    side: Side = 'item',
    num_samples: int = 500,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Plots the factors of users or items in a plane (t-SNE), as in Figure 7 of `Su et
    al. <https://doi.org/10.1145/3722553>`_ and Figure 5 (b) of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_.

    Of interactions, a dot is the intrinsic and a cross the extrinsic factor of a row's
    user or item in the row's context. Of a graph, a dot is the conformity and a cross the
    interest of an item; the most popular third of the items is *popular*, the next third
    *normal*. Items and users without an edge, which were never trained, are left out.

    .. note::
        Two clouds say that the factors differ, not that they are independent or that
        they mean what they should: two factors of random weights are two clouds as well.
        Neither sizes of clouds nor distances between them mean anything.
        :func:`disentanglement_report` measures what the picture suggests.

    Args:
        model: Any model that fits the data and has factors, or a scorer of one.
        data: The interactions, of which rows are drawn, or the training graph.
        side: :obj:`'user'` or :obj:`'item'`.
        num_samples: The number of rows, users or items to draw, at most.
        seed: The seed of the draw and of t-SNE.
        ax: Where to plot (default: in a new figure).

    Raises:
        ValueError: If model and data do not fit each other, the model has no factors,
            there are fewer than two rows, or nothing varies.
    """
    if side not in ('user', 'item'):
        raise ValueError(f"`side` is 'user' or 'item' (got {side!r})")
    generator = torch.Generator().manual_seed(seed)
    made = scorer(model, data)
    if not made.factors:
        raise ValueError(
            f'The model has no factors (got {type(model).__name__} and '
            f'{type(data).__name__})'
        )
    groups = context = None
    if isinstance(data, InteractionDataset):
        rows = torch.randperm(len(data), generator=generator)[:num_samples]
        index, context = getattr(data, side).cpu()[rows], data.context.cpu()[rows]
        what = f'{side}s in their contexts: {len(rows)} rows'
    else:
        degree = (data.user_degree if side == 'user' else data.item_degree).cpu()
        known = degree.nonzero().view(-1)
        index = known[torch.randperm(len(known), generator=generator)[:num_samples]]
        what = f'{len(index)} {side}s'
        if side == 'item':
            groups = _popularity_groups(data.popularity.cpu(), known)[index]
    if len(index) < 2:
        raise ValueError(f'At least 2 rows are needed (got {len(index)})')
    queries = Queries(torch.zeros_like(index), context)
    tables = {name: made.factor(name, side, queries, index) for name in made.factors}
    places = _in_a_plane(
        [table.detach().double().cpu().numpy() for table in tables.values()], seed
    )
    ax = _axes(ax, 6.5, 4.5)
    shades = list(POPULARITY_GROUPS.values())
    for number, (name, place) in enumerate(zip(tables, places, strict=True)):
        colors: Any = COLORS[number % len(COLORS)]
        if groups is not None:
            colors = [shades[group] for group in groups.tolist()]
        _scatter(ax, place, colors, _marker(name, number), name)
    if groups is None:
        _legend(ax)
    else:
        _legend_of_groups(ax, list(tables))
    ax.set_aspect('equal', 'datalim')
    ax.set(xticks=[], yticks=[], xlabel='t-SNE')  # Places have no unit.
    _title(ax, f'{" and ".join(tables).capitalize()} factors of {what}')
    return ax


def _popularity_groups(popularity: Tensor, known: Tensor) -> Tensor:
    """Returns the third that each known item is in: 0 is the most popular."""
    order = known[torch.argsort(popularity[known], descending=True, stable=True)]
    groups = torch.full_like(popularity, -1)
    groups[order] = torch.arange(len(order)) * 3 // len(order)
    return groups


def _in_a_plane(tables: Sequence[Floats], seed: int) -> list[Floats]:
    """Returns places of the rows of all tables in one plane."""
    from sklearn.manifold import TSNE

    width = max(2, *(table.shape[1] for table in tables))  # A plane needs two columns.
    pads = [((0, 0), (0, width - table.shape[1])) for table in tables]
    rows = np.concatenate([*map(np.pad, tables, pads)])
    if not np.isfinite(rows).all():
        raise ValueError('The factors hold values that are not finite')
    if np.ptp(rows, axis=0).max() == 0:
        raise ValueError('The factors of all rows are equal: there is nothing to plot')
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init='pca', random_state=seed)
    return np.split(tsne.fit_transform(rows), len(tables))


def _legend_of_groups(ax: Axes, factors: Sequence[str]) -> None:
    """Adds a legend in which markers are of factors and colours of groups."""
    from matplotlib.lines import Line2D

    common: dict[str, Any] = {'ls': '', 'ms': 6}
    handles = [
        Line2D([], [], marker=_marker(name, number), color=DARK, label=name, **common)
        for number, name in enumerate(factors)
    ]
    handles += [
        Line2D([], [], marker='s', color=color, label=f'{name} item', **common)
        for name, color in POPULARITY_GROUPS.items()
    ]
    _legend(ax, handles=handles)


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
    parts = ('intrinsic', 'extrinsic')
    if not set(parts) <= set(recommender.parts):
        raise ValueError(
            f'The scores must have an intrinsic and an extrinsic part (they have: '
            f'{", ".join(recommender.parts) or "none"})'
        )
    a, b = dict(a), dict(b)
    name = recommender.item_name
    first = recommender.recommend(user, a, k).set_index(name)
    if first.empty:
        raise ValueError(f'No items are left to recommend to user {user!r}')
    items = list(first.index)
    second = recommender.recommend(user, b, k, candidates=items).set_index(name)
    second = second.loc[items]
    ax = _axes(ax, 6.5, 4.5)
    start = float(first[parts[0]].iloc[0])
    ax.axline(
        (start, start), slope=1, color=GREY, lw=1, zorder=0, label='the same in both'
    )
    for number, part in enumerate(parts):
        x, y = first[part].to_numpy(), second[part].to_numpy()
        label = f'{part}\n(mean change {np.abs(x - y).mean():.2f})'
        place = np.stack([x, y], axis=1)
        _scatter(ax, place, COLORS[number], _marker(part, number), label)
    ax.set_aspect('equal', 'datalim')
    differ = [key for key in a if a[key] != b.get(key)] or list(a)
    for context, set_label in ((a, ax.set_xlabel), (b, ax.set_ylabel)):
        text = ', '.join(str(context[key]) for key in differ)
        set_label(textwrap.fill(f'part of the score: {text}', 48))
    who = 'a new user' if isinstance(user, Mapping) else f'user {user}'
    _title(ax, f'The top {len(first)} items of the context on the x axis, for {who}')
    _without_box(ax)
    _legend(ax)
    return ax


def plot_generator(model: IEDR, side: Side = 'item', ax: Axes | None = None) -> Axes:
    """Plots how strongly each channel of the input of a factor generator reaches each
    channel of the factors, as in Figure 12 of `Su et al.
    <https://doi.org/10.1145/3722553>`_, and the mean of each block.

    Absolute weights; where there is a hidden layer, the sum over all paths through it of
    the products of the weights on the way. :class:`ResidualGenerator` adds sums of second
    embeddings to the factors as they are: paths of weight one.

    .. note::
        Weights do not tell how much the input varies. A product of user and context, the
        input of the paper's generator, is one block: what is intrinsic cannot be read
        from it. In the linear generator it can, where a context that reaches the
        extrinsic factor alone is the trivial solution of Section 6.3.

    Args:
        model: The model.
        side: Whose generator: :obj:`'user'` or :obj:`'item'`.
        ax: Where to plot (default: in a new figure).

    Raises:
        ValueError: If the generator is none of the library's, or computes its factors in
            another way.
    """
    if side not in ('user', 'item'):
        raise ValueError(f"`side` is 'user' or 'item' (got {side!r})")
    generator: Any = model.generators[side]
    weight, inputs = _input_weights(generator, side)
    size = generator.channels
    ax = _axes(ax, 6.5, 4.5)
    image = ax.imshow(
        weight, cmap='Blues', vmin=0, aspect='auto', interpolation='nearest'
    )
    box = {'boxstyle': 'round', 'fc': 'white', 'ec': 'none', 'alpha': 0.85}
    for row in range(2):
        for column in range(len(inputs)):
            block = weight[row * size :, column * size :][:size, :size]
            text = 'no path' if np.isnan(block).any() else f'mean {block.mean():.3f}'
            # In the corner that a diagonal of skipped layers leaves free.
            place = column * size - 0.5, (row + 1) * size - 0.5
            ax.annotate(
                text, place, (8, 8), textcoords='offset points', bbox=box, color=DARK
            )
    ax.axhline(size - 0.5, color=DARK, lw=1)
    for column in range(1, len(inputs)):
        ax.axvline(column * size - 0.5, color=DARK, lw=1)
    middles = [(block + 0.5) * size - 0.5 for block in range(3)]
    ax.set_xticks(middles[: len(inputs)], inputs)
    ax.set_yticks(middles[:2], ['intrinsic', 'extrinsic'], rotation=90, va='center')
    ax.tick_params(length=0)
    ax.set(xlabel=f'from: {size} channels each', ylabel=f'to: {size} channels each')
    ax.figure.colorbar(image, ax=ax, label='absolute weight, summed over paths')
    kind = type(generator).__name__
    _title(ax, f'Weights of the {side} generator ({kind}), block by block')
    return ax


def _input_weights(generator: Any, side: Side) -> tuple[Floats, list[str]]:
    """Returns how strongly inputs reach factors, and the names of the inputs."""
    changed = not stands_for(generator, 'hidden', 'forward') or has_hooks(generator)
    weight, inputs = (None, []) if changed else _weights(generator)
    if weight is None:
        raise ValueError(
            f'The {side} generator is a {type(generator).__name__}, whose weights do not '
            f'say how inputs reach factors'
        )
    return weight.detach().cpu().numpy(), [text.format(side) for text in inputs]


@singledispatch
def _weights(generator: Any) -> tuple[Tensor | None, list[str]]:
    """Returns absolute weights from inputs to factors, and the names of the inputs."""
    return None, []


@_weights.register
def _(generator: LinearGenerator) -> tuple[Tensor | None, list[str]]:
    return generator.linear.weight.double().abs(), ['{}', 'context']


@_weights.register
def _(generator: MLPGenerator) -> tuple[Tensor | None, list[str]]:
    return _paths(generator.mlp), [_combined(generator.combine)]


@_weights.register
def _(generator: SplitGenerator) -> tuple[Tensor | None, list[str]]:
    networks = generator.intrinsic_mlp, generator.extrinsic_mlp
    of_intrinsic, of_extrinsic = map(_paths, networks)
    nothing = torch.full_like(of_intrinsic, torch.nan)
    rows = [of_intrinsic, nothing], [nothing, of_extrinsic]
    weight = torch.cat([torch.cat(row, dim=1) for row in rows])
    return weight, ['{}', _combined(generator.combine)]


@_weights.register
def _(generator: ResidualGenerator) -> tuple[Tensor | None, list[str]]:
    weight, size = _paths(generator.mlp), generator.channels
    added = torch.eye(2 * size, 3 * size).roll(size, 1).to(weight)
    return weight + added, [_combined('product'), '{} (sum)', 'context (sum)']


def _paths(mlp: Any) -> Tensor:
    first, last = (lin.weight.double().abs() for lin in mlp.lins)
    return last @ first


def _combined(combine: str) -> str:
    sign = '\N{MULTIPLICATION SIGN}' if combine == 'product' else '+'
    return f'{{}} {sign} context'


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
    table = _history(history)
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
    best = len(table) - 1 if monitor is None else int(table[monitor].argmax())
    epoch = table['epoch']
    groups = [metrics, *([term] for term in terms)] if metrics else [[t] for t in terms]
    heights = [2.5 if group is metrics else 1.0 for group in groups]
    ax = _axes(ax, 6.5, 0.9 + 0.8 * sum(heights))
    ax.set_axis_off()
    margin = max(0.02 * float(np.ptp(epoch)), 0.1)
    for panel, group in zip(_panels(ax, heights), groups, strict=True):
        panel.set_xlim(epoch.min() - margin, epoch.max() + margin)
        panel.axvline(
            epoch[best], color=GREY, lw=1, ls='--', zorder=0, label='best epoch'
        )
        for number, name in enumerate(group):
            color = COLORS[number % len(COLORS)] if group is metrics else DARK
            width = 2.5 if name == monitor else 1.2
            panel.plot(epoch, table[name], '.-', color=color, lw=width, label=name)
        if group is metrics:
            _legend(panel, fontsize='small', labelspacing=0.3)
        else:
            side = panel.transAxes
            panel.text(1.02, 0.5, group[0], transform=side, va='center', color=DARK)
    chosen = 'the last epoch counts as the best'
    if monitor is not None:
        value = table[monitor][best]
        chosen = f'epoch {epoch[best]:.0f} has the best {monitor}, {value:.4f}'
    what = 'terms of the training loss'
    if metrics:
        what = f'validation metrics, {what}' if terms else 'validation metrics'
    _title(ax, f'Learning curves: {chosen}\n({what})')
    return ax


def _history(history: Any) -> pd.DataFrame:
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
    terms = [name for name in table if name not in NO_TERMS]
    if 'epoch' not in table or not terms:
        raise ValueError(
            f"A history has a column 'epoch' and others with losses or metrics (got "
            f'{", ".join(map(str, table))})'
        )
    return table


def _panels(ax: Axes, heights: Sequence[float]) -> list[Axes]:
    """Returns panels one below the other within an Axes, with a common abscissa."""
    from matplotlib.ticker import MaxNLocator

    gap = 0.25
    total, top, panels = sum(heights) + gap * (len(heights) - 1), 1.0, []
    for height in heights:
        share = height / total
        panel = ax.inset_axes((0.0, top - share, 1.0, share))
        top -= share + gap / total
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        panel.yaxis.set_major_locator(MaxNLocator(nbins=2 + int(2 * height)))
        panel.tick_params(labelbottom=False, labelsize='small')
        panel.grid(axis='y', alpha=0.3)
        _without_box(panel)
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
    lines = {
        part: [popularity_overlap(made, graph, k, part) for k in ks]
        for part in (None, *made.parts)
    }
    ax = _axes(ax, 6.5, 4.0)
    whole = 'all factors' if made.factors else 'the model'
    colors = (DARK, *COLORS[:-1])
    for number, (part, values) in enumerate(lines.items()):
        color, marker = colors[number % len(colors)], 'so^vD'[number % 5]
        ax.plot(ks, values, marker=marker, ms=5, color=color, label=part or whole)
    chance = [_chance_overlap(graph, k) for k in ks]
    ax.plot(ks, chance, color=GREY, ls='--', label='at random')
    ax.set_ylim(bottom=0)
    ax.set_xlabel('number k of items')
    ax.set_ylabel('intersection over union')
    ax.grid(axis='y', alpha=0.3)
    _title(ax, "Overlap of users' top k with the k most popular items")
    _without_box(ax)
    _legend(ax)
    return ax


def _chance_overlap(graph: BipartiteGraph, k: int) -> float:
    """Returns the expected overlap of random rankings with the most popular items."""
    left, users = torch.unique(graph.num_items - graph.user_degree, return_counts=True)
    total = 0.0
    for size, count in zip(left.tolist(), users.tolist(), strict=True):
        top = min(k, size)
        if top:
            common = np.arange(top + 1)
            chance = hypergeom(size, top, top).pmf(common)
            total += count * float((chance * common / (2 * top - common)).sum())
    return total / graph.num_users


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
        explanation: What :meth:`Recommender.explain` returned.
        side: :obj:`'user'`, :obj:`'item'` or :obj:`'context'`.
        ax: Where to plot (default: in a new figure).

    Raises:
        ValueError: If there are fewer than two features on the side, or the pairs are not
            those of the features.
    """
    import networkx as nx
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    features = explanation.features.query('side == @side')
    labels = features['feature'].tolist()
    if len(labels) < 2:
        raise ValueError(
            f'The explanation has {len(labels)} features of side {side!r}: there are '
            f'differences only where one can be left out'
        )
    pairs = explanation.pairs.query('side == @side')
    places = list(combinations_with_replacement(range(len(labels)), 2))
    if len(pairs) and list(zip(pairs['feature_a'], pairs['feature_b'], strict=True)) != [
        (labels[i], labels[j]) for i, j in places
    ]:
        raise ValueError(f'The pairs of side {side!r} are not those of its features')
    node = features['difference'].to_numpy(float)
    edge = dict(zip(places, pairs['difference'].to_numpy(float), strict=False))
    graph = nx.Graph()
    graph.add_nodes_from(range(len(labels)))
    graph.add_edges_from((i, j) for i, j in edge if i != j)
    most = max(np.abs([*node, *edge.values()]).max(), 1e-12)
    colors = ScalarMappable(Normalize(-most, most), 'PuOr_r')
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(labels)) / len(labels)
    place = dict(enumerate(np.stack([np.cos(angle), np.sin(angle)], axis=1)))
    radius = 7 + 8 * np.abs(node) / most  # In points.
    ax = _axes(ax, 6.5, 4.5)
    line = np.array([edge[pair] for pair in graph.edges])
    if len(edge):
        rim = colors.to_rgba(np.array([edge[i, i] for i in graph]))
        kwargs = {'node_color': 'none', 'edgecolors': rim, 'linewidths': 2.5}
        _draw_discs(nx, graph, place, ax, radius + 4, **kwargs)
        width, shade = 0.8 + 5 * np.abs(line) / most, colors.to_rgba(line)
        nx.draw_networkx_edges(graph, place, ax=ax, edge_color=shade, width=width)
    _draw_discs(nx, graph, place, ax, radius, node_color=colors.to_rgba(node))
    for label, (x, y), size in zip(labels, place.values(), radius + 9, strict=True):
        ax.annotate(
            label if len(label) <= 20 else label.replace('=', '=\n', 1),
            (x, y),
            (size * x, size * y),
            textcoords='offset points',
            ha='center' if abs(x) < 0.3 else 'left' if x > 0 else 'right',
            va='center' if abs(x) >= 0.3 else 'bottom' if y > 0 else 'top',
        )
    ax.set_axis_off()
    ax.set(xlim=(-2.0, 2.0), ylim=(-1.4, 1.4))
    label = 'difference: score less the score without it'
    ax.figure.colorbar(colors, ax=ax, label=label, shrink=0.8)
    shown = 'disc: feature'
    if len(edge):
        largest = np.abs([*edge.values()]).max()
        shown += f', ring: with itself, line: pair; pairs: at most {largest:.3f}'
    what = f'What the score of {explanation.score:.2f} owes to features of the {side}'
    _title(ax, f'{what}\n({shown})')
    return ax


def _draw_discs(
    nx: Any, graph: Any, place: Any, ax: Axes, radius: Floats, **kwargs: Any
) -> None:
    nx.draw_networkx_nodes(graph, place, ax=ax, node_size=(2 * radius) ** 2, **kwargs)
