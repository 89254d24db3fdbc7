"""Pictures of factors in a plane, and of the weights by which they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo import nn
from iedr_geo.analysis.plots import style
from iedr_geo.analysis.plots.plane import in_a_plane
from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.data.arguments import check_type
from iedr_geo.data.schema import Side
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.nn.contract import has_hooks, stands_for
from iedr_geo.scoring import Queries, scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, *_ = style.COLORS
POPULARITY_GROUPS = {'popular': ORANGE, 'normal': style.GREY, 'unpopular': BLUE}


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
    made = scorer(model, data)
    if not made.factor_names:
        raise ValueError(
            f'The model has no factors (got {type(model).__name__} and '
            f'{type(data).__name__})'
        )
    if isinstance(data, InteractionDataset):
        ids, what = getattr(data, side).cpu(), f'{side}s in their contexts: {{}} rows'
    else:
        ids = getattr(data, f'{side}_degree').cpu().nonzero().view(-1)
        what = f'{{}} {side}s'
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(ids), generator=generator)[:num_samples]
    if len(chosen) < 2:
        raise ValueError(f'At least 2 rows are needed (got {len(chosen)})')
    index = ids[chosen]
    context = data.context.cpu()[chosen] if isinstance(data, InteractionDataset) else None
    queries = Queries(torch.zeros_like(index), context)
    tables = [made.factor(name, side, queries, index) for name in made.factor_names]
    planes = in_a_plane(tables, seed)
    ax = style.new_axes(ax)
    by_group: dict[str, Any] = {}
    if isinstance(data, BipartiteGraph) and side == 'item':
        rank = pd.Series(data.popularity.cpu()[ids]).rank(method='first', ascending=False)
        third = ((rank - 1) * 3 // len(ids)).astype(int)[chosen.numpy()]
        colors = np.array([*POPULARITY_GROUPS.values()])[third]
        by_group = {'c': colors, 'label': '_'}
        # In the legend, markers are of factors and colours of groups.
        for number, name in enumerate(made.factor_names):
            style.add_key(ax, style.factor_marker(name, number), style.DARK, name)
        for name, color in POPULARITY_GROUPS.items():
            style.add_key(ax, 's', color, f'{name} item')
    for number, (name, points) in enumerate(zip(made.factor_names, planes, strict=True)):
        style.scatter_factor(ax, points, name, number, **by_group)
    ax.set_aspect('equal', 'datalim')
    ax.set(xticks=[], yticks=[])  # Places have no unit.
    factors = ' and '.join(made.factor_names).capitalize()
    title = f'{factors} factors of {what.format(len(chosen))}'
    return style.finish(ax, title, xlabel='t-SNE')


def plot_generator(model: nn.IEDR, side: Side = 'item', ax: Axes | None = None) -> Axes:
    """Plots how strongly each channel of the input of a factor generator reaches each
    channel of the factors, as in Figure 12 of `Su et al.
    <https://doi.org/10.1145/3722553>`_, and the mean of each block.

    Absolute weights; where there is a hidden layer, the sum over all paths through it of
    the products of the weights on the way. :class:`ResidualGenerator` and
    :class:`SeparateGenerator` add sums of further embeddings to the factors as they are:
    paths of weight one.

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
    check_type(model, 'model', nn.IEDR)
    generator: Any = model.generators[side]
    inputs, strengths = _strengths(generator, side)
    weight, size = strengths.detach().cpu().numpy(), generator.channels
    ax = style.new_axes(ax)
    image = ax.imshow(
        weight, cmap='Blues', vmin=0, aspect='auto', interpolation='nearest'
    )
    means = weight.reshape(2, size, len(inputs), size).mean(axis=(1, 3))
    for (row, column), mean in np.ndenumerate(means):
        ax.annotate(
            f'mean {mean:.3f}' if mean else 'no path',
            # In the corner that a diagonal of skipped layers leaves free.
            (column * size - 0.5, (row + 1) * size - 0.5),
            (8, 8),
            textcoords='offset points',
            bbox={'boxstyle': 'round', 'fc': 'white', 'ec': 'none', 'alpha': 0.85},
            color=style.DARK,
        )
    ax.axhline(size - 0.5, color=style.DARK, lw=1)
    for column in range(1, len(inputs)):
        ax.axvline(column * size - 0.5, color=style.DARK, lw=1)
    middles = (np.arange(len(inputs) + 1) + 0.5) * size - 0.5
    ax.set_xticks(middles[:-1], inputs)
    ax.set_yticks(middles[:2], ['intrinsic', 'extrinsic'], rotation=90, va='center')
    ax.tick_params(length=0)
    ax.figure.colorbar(image, ax=ax, label='absolute weight, summed over paths')
    title = (
        f'Weights of the {side} generator ({type(generator).__name__}), block by block'
    )
    each = f'{size} channels each'
    return style.finish(ax, title, xlabel=f'from: {each}', ylabel=f'to: {each}')


def _strengths(generator: Any, side: str) -> tuple[list[str], Tensor]:
    """Returns the names of the inputs, and how strongly they reach the factors."""
    sign = (
        '+' if getattr(generator, 'combine', '') == 'sum' else '\N{MULTIPLICATION SIGN}'
    )
    both = f'{side} {sign} context'
    sums = f'{side} (sum)', 'context (sum)'
    unchanged = stands_for(generator, 'hidden', 'forward') and not has_hooks(generator)
    match generator if unchanged else None:
        case nn.LinearGenerator():
            return [side, 'context'], generator.linear.weight.double().abs()
        case nn.SplitGenerator():
            intrinsic, extrinsic = generator.intrinsic_mlp, generator.extrinsic_mlp
            return [side, both], torch.block_diag(_paths(intrinsic), _paths(extrinsic))
        case nn.ResidualGenerator():
            return [both, *sums], _with_sums(_paths(generator.mlp), 1, 2)
        case nn.SeparateGenerator():
            size, own = generator.channels, f'{side} (other sum)'
            product, *rest = _paths(generator.extrinsic_mlp).split(size, 1)
            none = torch.zeros_like(product)
            of_sum = _paths(generator.intrinsic_mlp)
            weight = torch.cat([none, of_sum, none, none], dim=1)
            weight = torch.cat([weight, torch.cat([product, none, *rest], dim=1)])
            added = 2 if generator.side == 'item' else 3
            return [both, sums[0], own, sums[1]], _with_sums(weight, 1, added)
        case nn.MLPGenerator():
            return [both], _paths(generator.mlp)
    raise ValueError(
        f'The {side} generator is a {type(generator).__name__}, whose weights do not say '
        f'how inputs reach factors'
    )


def _with_sums(weight: Tensor, intrinsic: int, extrinsic: int) -> Tensor:
    """Adds paths of weight one from inputs, given their numbers, to both factors."""
    size = len(weight) // 2
    added = weight.clone()
    for row, column in enumerate((intrinsic, extrinsic)):
        block = added[row * size :, column * size :][:size, :size]
        block.diagonal().add_(1)
    return added


def _paths(mlp: Any) -> Tensor:
    first, last = (lin.weight.double().abs() for lin in mlp.lins)
    return last @ first
