"""Pictures of what a model has learned, each in one Axes of matplotlib.

Legends and colour bars stand beside the data: a figure that is passed in needs room for
them, which ``layout='constrained'`` makes.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.stats import hypergeom
from torch import Tensor

from iedr_geo.analysis.popularity_overlap import popularity_overlap
from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.data.schema import Side
from iedr_geo.evaluation.bipartite import Embedder
from iedr_geo.evaluation.evaluation import evaluating
from iedr_geo.loader import InteractionBatch
from iedr_geo.metrics import AUC
from iedr_geo.nn import IEDR, Encoded, FactorGenerator
from iedr_geo.recommend import Explanation, Recommender

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from iedr_geo.analysis.report import FactorModel

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


def _scatter(ax: Axes, place: Floats, colors: Any, factor: str, label: str) -> None:
    """Adds a dot or a cross for each row of places."""
    marker = MARKERS.get(factor, 'o')
    width = 0 if marker == 'o' else 0.9
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
    model: FactorModel | Embedder,
    data: InteractionDataset | BipartiteGraph,
    side: Side = 'item',
    num_samples: int = 500,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Plots the factors of users or items in a plane (t-SNE), as in Figure 7 of `Su et
    al. <https://doi.org/10.1145/3722553>`_ and Figure 5 (b) of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_.

    Of a model of features and contexts, a dot is the intrinsic and a cross the extrinsic
    factor of a row's user or item in the row's context. Of a model of the graph, a dot is
    the conformity and a cross the interest of an item; the most popular third of the
    items is *popular*, the next third *normal*. Items and users without an edge, which
    were never trained, are left out.

    .. note::
        Two clouds say that the factors differ, not that they are independent or that
        they mean what they should: two factors of random weights are two clouds as well.
        Neither sizes of clouds nor distances between them mean anything.
        :func:`disentanglement_report` measures what the picture suggests.

    Args:
        model: The model, with :obj:`encode(batch)` for interactions in contexts, with
            :obj:`embeddings()` and :obj:`factors` for a graph.
        data: The interactions, of which rows are drawn, or the training graph.
        side: :obj:`'user'` or :obj:`'item'`.
        num_samples: The number of rows, users or items to draw, at most.
        seed: The seed of the draw and of t-SNE.
        ax: Where to plot (default: in a new figure).

    Raises:
        ValueError: If model and data do not fit each other, there are fewer than two
            rows, or nothing varies.
    """
    if side not in ('user', 'item'):
        raise ValueError(f"`side` is 'user' or 'item' (got {side!r})")
    generator = torch.Generator().manual_seed(seed)
    groups, names = None, getattr(model, 'factors', None)
    if isinstance(data, InteractionDataset) and hasattr(model, 'encode'):
        rows = torch.randperm(len(data), generator=generator)[:num_samples]
        _check_rows(rows)
        tables = _factors_of_rows(model, data, side, rows)
        what = f'{side}s in their contexts: {len(rows)} rows'
    elif isinstance(data, BipartiteGraph) and hasattr(model, 'embeddings') and names:
        degree = (data.user_degree if side == 'user' else data.item_degree).cpu()
        known = degree.nonzero().view(-1)
        rows = known[torch.randperm(len(known), generator=generator)[:num_samples]]
        _check_rows(rows)
        tables = _factors_of_nodes(model, data, side, rows)
        what = f'{len(rows)} {side}s'
        if side == 'item':
            groups = _popularity_groups(data.popularity.cpu(), known)[rows]
    else:
        raise ValueError(
            f'Factors are of a model with `encode` and an InteractionDataset, or of one '
            f'with `embeddings` and `factors` and a BipartiteGraph (got '
            f'{type(model).__name__} and {type(data).__name__})'
        )
    places = _in_a_plane(
        [table.double().cpu().numpy() for table in tables.values()], seed
    )
    ax = _axes(ax, 6.5, 4.5)
    shades = list(POPULARITY_GROUPS.values())
    for name, place, color in zip(tables, places, COLORS, strict=False):
        colors: Any = color
        if groups is not None:
            colors = [shades[group] for group in groups.tolist()]
        _scatter(ax, place, colors, name, name)
    if groups is None:
        _legend(ax)
    else:
        _legend_of_groups(ax, list(tables))
    ax.set_aspect('equal', 'datalim')
    ax.set(xticks=[], yticks=[], xlabel='t-SNE')  # Places have no unit.
    _title(ax, f'{" and ".join(tables).capitalize()} factors of {what}')
    return ax


def _check_rows(rows: Tensor) -> None:
    if len(rows) < 2:
        raise ValueError(f'At least 2 rows are needed (got {len(rows)})')


def _factors_of_rows(
    model: Any, dataset: InteractionDataset, side: Side, rows: Tensor
) -> dict[str, Tensor]:
    device = dataset.user.device
    if isinstance(model, torch.nn.Module):
        device = next((p.device for p in model.parameters()), device)
    known = dataset.schema.num_embeddings
    if isinstance(model, IEDR) and model.embedding.num_embeddings != known:
        raise ValueError(
            f'The schema has {known} embeddings, the model '
            f'{model.embedding.num_embeddings}: it was trained on another schema'
        )
    some = dataset[rows.to(dataset.user.device)].to(device)
    with evaluating(model):
        encoded: Encoded = model.encode(
            InteractionBatch.from_ids(some, some.user, some.item, some.context)
        )
    factors = getattr(encoded.factors, side)
    return {name: getattr(factors, name) for name in ('intrinsic', 'extrinsic')}


def _factors_of_nodes(
    model: Any, graph: BipartiteGraph, side: Side, rows: Tensor
) -> dict[str, Tensor]:
    with evaluating(model):
        users, items = model.embeddings()
    if (len(users), len(items)) != (graph.num_users, graph.num_items):
        raise ValueError(
            f'The model has {len(users)} users and {len(items)} items, the graph '
            f'{graph.num_users} and {graph.num_items}'
        )
    vectors = (users if side == 'user' else items)[rows.to(users.device)]
    return {name: vectors[:, columns] for name, columns in model.factors.items()}


def _popularity_groups(popularity: Tensor, known: Tensor) -> Tensor:
    """Returns the third that each known item is in: 0 is the most popular."""
    order = known[torch.argsort(popularity[known], descending=True, stable=True)]
    groups = torch.full_like(popularity, -1)
    groups[order] = torch.arange(len(order)) * 3 // len(order)
    return groups


def _in_a_plane(tables: Sequence[Floats], seed: int) -> list[Floats]:
    """Returns places of the rows of all tables in one plane."""
    from sklearn.manifold import TSNE

    rows = np.concatenate(tables)
    if not np.isfinite(rows).all():
        raise ValueError('The factors hold values that are not finite')
    if np.ptp(rows, axis=0).max() == 0:
        raise ValueError('The factors of all rows are equal: there is nothing to plot')
    if rows.shape[1] == 1:  # A plane needs two columns.
        rows = np.concatenate([rows, np.zeros_like(rows)], axis=1)
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init='pca', random_state=seed)
    return np.split(tsne.fit_transform(rows), len(tables))


def _legend_of_groups(ax: Axes, factors: Sequence[str]) -> None:
    """Adds a legend in which markers are of factors and colours of groups."""
    from matplotlib.lines import Line2D

    common: dict[str, Any] = {'ls': '', 'ms': 6}
    handles = [
        Line2D([], [], marker=MARKERS.get(name, 'o'), color=DARK, label=name, **common)
        for name in factors
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
    for part, color in zip(parts, COLORS, strict=False):
        x, y = first[part].to_numpy(), second[part].to_numpy()
        label = f'{part}\n(mean change {np.abs(x - y).mean():.2f})'
        _scatter(ax, np.stack([x, y], axis=1), color, part, label)
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
    the products of the weights on the way. The residual generator adds sums of second
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
    layers = generator.kind not in ('linear', 'nonlinear')
    label = 'absolute weight' + (', summed over paths' if layers else '')
    ax.figure.colorbar(image, ax=ax, label=label)
    _title(ax, f'Weights of the {side} generator ({generator.kind}), block by block')
    return ax


def _input_weights(generator: FactorGenerator, side: Side) -> tuple[Floats, list[str]]:
    """Returns how strongly inputs reach factors, and the names of the inputs."""

    def paths(mlp: Any) -> Floats:
        first, last = (lin.weight.detach().double().cpu().abs() for lin in mlp.lins)
        return np.asarray(last @ first)

    size, kind = generator.channels, generator.kind
    times = '\N{MULTIPLICATION SIGN}'
    sign = times if kind == 'residual' or generator.combine == 'product' else '+'
    both = f'{side} {sign} context'
    if kind in ('linear', 'nonlinear'):
        weight = generator.linear.weight.detach().double().cpu().abs().numpy()
        return weight, [side, 'context']
    if kind == 'split':
        weight = np.full((2 * size, 2 * size), np.nan)
        weight[:size, :size] = paths(generator.intrinsic_mlp)
        weight[size:, size:] = paths(generator.extrinsic_mlp)
        return weight, [side, both]
    weight = paths(generator.mlp)
    if kind == 'mlp':
        return weight, [both]
    weight[:, size:] += np.eye(2 * size)
    return weight, [both, f'{side} (sum)', 'context (sum)']


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
    model: Embedder,
    graph: BipartiteGraph,
    ks: Sequence[int] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plots how much of the top of the rankings is the most popular items, by how many
    items count, as in Figure 5 (a) of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_: a line for the whole model, one for each
    factor, and one for rankings at random.

    Args:
        model: What has the vectors.
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
    lines = {
        factor: [popularity_overlap(model, graph, k, factor) for k in ks]
        for factor in (None, *model.factors)
    }
    ax = _axes(ax, 6.5, 4.0)
    whole = 'all factors' if model.factors else 'the model'
    colors = (DARK, *COLORS[:-1])
    for number, (factor, values) in enumerate(lines.items()):
        color, marker = colors[number % len(colors)], 'so^vD'[number % 5]
        ax.plot(ks, values, marker=marker, ms=5, color=color, label=factor or whole)
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
