"""Pictures of concepts in a plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.analysis.measures.concept_agreement import category_numbers
from iedr_geo.analysis.plots import style
from iedr_geo.analysis.plots.plane import in_a_plane
from iedr_geo.analysis.report.concepts import MOST_CONFIDENT, user_confidence
from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation.evaluate import Model
from iedr_geo.scoring import Queries, scorer

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_concepts(
    model: Model,
    data: BipartiteGraph,
    categories: Sequence[Any] | Tensor | None = None,
    num_items: int = 1000,
    num_users: int = 100,
    seed: int = 0,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Plots items and users in a plane (t-SNE), coloured by their concepts and, beside
    it, by the categories of the items, as in Figure 2 of `Ma et al.
    <https://arxiv.org/abs/1910.14238>`_.

    A dot is an item, of the concept to which it belongs most. A triangle is the vector of
    a user for a concept: of each user, for the two of which the user has most items. A
    category has the colour of the concept that it agrees with best.

    .. note::
        Neither sizes of clouds nor distances between them mean anything.
        :func:`disentanglement_report` measures what the picture suggests.

    Args:
        model: A model with concepts, *e.g.*, :class:`MacridVAE`, or a scorer of one.
        data: The items of each user. Items without an edge, which were never trained, are
            left out.
        categories: The category of each item, :obj:`None` where it is not known (default:
            there is no second picture).
        num_items: The number of items to draw, at most.
        num_users: The number of users to draw, at most.
        seed: The seed of the draw and of t-SNE.
        axes: Where to plot, one for each picture (default: in a new figure).

    Raises:
        ValueError: If the model has no concepts, or nothing varies.
    """
    made = scorer(model, data)
    concepts = made.concepts()
    if concepts is None:
        raise ValueError(f'{type(model).__name__} has no concepts to plot')
    by_category = None
    if categories is not None:
        by_category = category_numbers(categories, data.num_items)
    generator = torch.Generator().manual_seed(seed)
    items, users = (
        ids[torch.randperm(len(ids), generator=generator)[:size]]
        for ids, size in (
            (data.item_degree.cpu().nonzero().view(-1), num_items),
            (data.user_degree.cpu().nonzero().view(-1), num_users),
        )
    )
    confidence = user_confidence(concepts, data, users)
    best = confidence.topk(min(MOST_CONFIDENT, confidence.size(1)), dim=1).indices.cpu()
    each = [made.factor(n, 'user', Queries(users), users) for n in made.factor_names]
    vectors = torch.stack(each, dim=1).cpu()[torch.arange(len(users)).unsqueeze(1), best]
    tables = concepts.item.cpu()[items], vectors.flatten(0, 1)
    if concepts.on_sphere:
        tables = F.normalize(tables[0], dim=1), F.normalize(tables[1], dim=1)
    item_points, user_points = in_a_plane(tables, seed)
    nearest = concepts.nearest.cpu()
    concept, of_user = nearest[items].numpy(), best.flatten().numpy()

    size = 1 if by_category is None else 2
    if axes is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=(6.5 * size, 4.5), layout='constrained')
        axes = [figure.add_subplot(1, size, n + 1) for n in range(size)]
    if len(axes) != size:
        raise ValueError(f'`axes` must be {size} (got {len(axes)})')
    ax = axes[0]
    for k, name in enumerate(made.factor_names):
        _dots(ax, item_points[concept == k], k, name)
    for k in range(len(made.factor_names)):
        x, y = user_points[of_user == k].T
        color = style.COLORS[k % len(style.COLORS)]
        ax.scatter(x, y, s=30, marker='^', c=color, ec='white', lw=0.5)
    style.add_key(ax, '^', style.GREY, 'a user, of a concept')
    title = f'{len(items)} items by concept, and {len(users)} users'
    _finish(ax, title)
    if by_category is not None:
        number, names = by_category
        place = _alike(nearest.numpy(), number.numpy(), concepts.assignment.size(1))
        label = number[items].numpy()
        for n in np.argsort(place):  # In the order of the concepts.
            _dots(axes[1], item_points[label == n], place[n], str(names[n]))
        if (label < 0).any():
            x, y = item_points[label < 0].T
            axes[1].scatter(x, y, s=6, c=style.GREY, label='not known')
        _finish(axes[1], 'The same items by category')
    return list(axes)


def _dots(ax: Axes, points: style.Floats, number: int, name: str) -> None:
    """Adds items of one colour, and another marker where colours come again."""
    turn, place = divmod(number, len(style.COLORS))
    x, y = points.T
    look: dict[str, Any] = {'c': style.COLORS[place], 'label': style.plain(name)}
    marker = ('o', *style.MARKERS)[turn % 6]
    ax.scatter(x, y, s=12, marker=marker, alpha=0.6, lw=0, **look)


def _finish(ax: Axes, title: str) -> None:
    ax.set_aspect('equal', 'datalim')
    ax.set(xticks=[], yticks=[])  # Places have no unit.
    style.finish(ax, title, xlabel='t-SNE')


def _alike(concept: Any, category: Any, num_concepts: int) -> list[int]:
    """Returns for each category the number of a concept with as many of its items as can
    be, each once; then further numbers.
    """
    from scipy.optimize import linear_sum_assignment

    known = category >= 0
    counts = np.zeros((category.max() + 1, num_concepts))
    np.add.at(counts, (category[known], concept[known]), 1)
    place = dict(zip(*linear_sum_assignment(-counts), strict=True))
    further = iter(range(num_concepts, num_concepts + len(counts)))
    return [int(place[n]) if n in place else next(further) for n in range(len(counts))]
