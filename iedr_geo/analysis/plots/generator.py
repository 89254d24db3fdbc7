"""A picture of the weights by which factors are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from iedr_geo.analysis.plots import style
from iedr_geo.data.schema import Side
from iedr_geo.nn import (
    IEDR,
    LinearGenerator,
    MLPGenerator,
    ResidualGenerator,
    SplitGenerator,
)
from iedr_geo.nn.contract import has_hooks, stands_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    middles = (np.arange(3) + 0.5) * size - 0.5
    ax.set_xticks(middles[: len(inputs)], inputs)
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
    unchanged = stands_for(generator, 'hidden', 'forward') and not has_hooks(generator)
    match generator if unchanged else None:
        case LinearGenerator():
            return [side, 'context'], generator.linear.weight.double().abs()
        case MLPGenerator():
            return [both], _paths(generator.mlp)
        case SplitGenerator():
            intrinsic, extrinsic = generator.intrinsic_mlp, generator.extrinsic_mlp
            return [side, both], torch.block_diag(_paths(intrinsic), _paths(extrinsic))
        case ResidualGenerator():
            weight = _paths(generator.mlp)
            added = torch.eye(*weight.shape).roll(generator.channels, 1).to(weight)
            return [both, f'{side} (sum)', 'context (sum)'], weight + added
    raise ValueError(
        f'The {side} generator is a {type(generator).__name__}, whose weights do not say '
        f'how inputs reach factors'
    )


def _paths(mlp: Any) -> Tensor:
    first, last = (lin.weight.double().abs() for lin in mlp.lins)
    return last @ first
