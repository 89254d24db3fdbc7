"""Lists of items that change in one dimension of their vectors alone."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.data.warning import warn_caller
from iedr_geo.nn import Concepts
from iedr_geo.nn.models import OF_HISTORIES


class Controlled(NamedTuple):
    """Items in the order of one dimension.

    Args:
        item: The items, of shape :math:`(B)`.
        value: What their vectors have in the dimension.
        similarity: The cosine similarity of their other dimensions to those of the item
            that was altered.
    """

    item: Tensor
    value: Tensor
    similarity: Tensor


def check_has_concepts(concepts: Concepts | None, model: object) -> Concepts:
    """Returns the concepts of a model, if there are some that can be controlled."""
    if concepts is not None and concepts.on_sphere:
        return concepts
    able = ', '.join(cls.__name__ for cls in OF_HISTORIES if hasattr(cls, 'concepts'))
    raise ValueError(
        f'{type(model).__name__} has no concepts by the cosine of vectors, within which '
        f'a dimension can be altered: {able} has, with similarity="cosine"'
    )


def value_range(
    vector: Tensor, prototypes: Tensor, dimension: int
) -> tuple[float, float]:
    r"""Returns the range of a dimension in which the nearest prototype stays the same.

    All vectors count by their direction: the altered vector is of length one again, so
    that its dimension :math:`j` is between -1 and 1 as that of any item is. Of length one
    or not, it is nearest to the prototype :math:`k^*` while, for each other :math:`k`,

    .. math::
        \langle \mathbf{h}_{-j}, \mathbf{m}_{k^*, -j} - \mathbf{m}_{k, -j} \rangle + v \,
        (m_{k^*, j} - m_{kj}) \geq 0,

    which bounds the value :math:`v` from one side. Of the vector of length one, this is
    :math:`v / \sqrt{v^2 + \lVert \mathbf{h}_{-j} \rVert^2}`.

    Args:
        vector: The vector, of shape :math:`(F)`.
        prototypes: The prototypes, of length one, of shape :math:`(K, F)`.
        dimension: The number :math:`j` of the dimension.
    """
    vector, prototypes = vector.double(), prototypes.double()
    lead = prototypes[(prototypes @ vector).argmax()] - prototypes
    slope = lead[:, dimension]
    rest = vector.index_fill(0, torch.tensor(dimension, device=vector.device), 0)
    bound = -(lead @ rest) / slope
    low = bound[slope > 0].amax() if (slope > 0).any() else bound.new_tensor(-torch.inf)
    high = bound[slope < 0].amin() if (slope < 0).any() else bound.new_tensor(torch.inf)
    norm = rest.norm()

    def of_length_one(value: Tensor) -> float:
        return float(torch.sin(torch.atan2(value, norm)))

    return of_length_one(low), of_length_one(high)


def control(
    concepts: Concepts, item: int, dimension: int, steps: int, gamma: float, width: int
) -> Controlled:
    r"""Returns a list of items that change in one dimension, and in little else.

    The items are of the concept :math:`k^*` of the one that is altered, each from another
    part of the range of :func:`value_range`, which is cut into quantiles of the items of
    the concept. By a beam search they are those of the highest

    .. math::
        \sum_t e^{\cos(\mathbf{h}_{i_t, -j}, \mathbf{h}_{-j}) / \tau} + \gamma \sum_{t <
        t'} e^{\cos(\mathbf{h}_{i_t, -j}, \mathbf{h}_{i_{t'}, -j}) / \tau}.

    Args:
        concepts: Items and prototypes.
        item: The item.
        dimension: The number :math:`j` of the dimension.
        steps: The number of parts of the range.
        gamma: The weight :math:`\gamma` of the similarity of the items to each other.
        width: The number of lists that the search goes on with.
    """
    vectors = concepts.item
    alive = concepts.prototype.any(dim=1)
    low, high = value_range(vectors[item], concepts.prototype[alive], dimension)
    values = vectors[:, dimension]
    inside = concepts.nearest == concepts.nearest[item]
    # The item itself is inside, also where rounding says otherwise.
    within = (values > low) & (values <= high)
    within[item] = True
    inside = (inside & within).nonzero().view(-1)
    inside = inside[values[inside].argsort(stable=True)]
    bins = _quantiles(values[inside], steps)
    if len(bins) < steps:
        warn_caller(
            f'The list has {len(bins)} items instead of {steps}: the concept has '
            f'{len(inside)} in the range of the dimension, not enough of other values'
        )
    others = vectors.index_fill(1, torch.tensor(dimension, device=vectors.device), 0)
    others = F.normalize(others[inside].double(), dim=1)
    start = others[(inside == item).nonzero().view(-1)].squeeze(0)
    found = _beam_search(others, start, bins, concepts.tau, gamma, width)
    chosen = inside[found]
    return Controlled(chosen, values[chosen], others[found] @ start)


def _quantiles(values: Tensor, steps: int) -> list[Tensor]:
    """Returns the places of sorted values by quantile, equal values in the same."""
    size = len(values)
    last = torch.arange(1, steps + 1, device=values.device) * size // steps - 1
    edges = values[last[last >= 0]].unique()
    bins = torch.bucketize(values, edges)
    places = torch.arange(size, device=values.device)
    return list(places.split(torch.bincount(bins).tolist()))


def _beam_search(
    others: Tensor,
    start: Tensor,
    bins: list[Tensor],
    tau: float,
    gamma: float,
    width: int,
) -> Tensor:
    """Returns one row of each bin.

    Args:
        others: The directions of all rows, of shape :math:`(N, F)`.
        start: That of the item, of shape :math:`(F)`.
        bins: The rows of each bin.
        tau: The temperature.
        gamma: The weight of the similarity to each other.
        width: The number of lists to go on with.
    """

    def likeness(cosine: Tensor) -> Tensor:
        # Of 1 at most: only the order of the sums counts.
        return ((cosine - 1) / tau).exp()

    lists = bins[0].new_empty(1, 0)
    score = others.new_zeros(1, 1)
    for rows in bins:
        to_others = likeness(others[lists] @ others[rows].t()).sum(dim=1)
        total = score + likeness(others[rows] @ start) + gamma * to_others
        best, place = total.view(-1).topk(min(width, total.numel()))
        score = best.unsqueeze(1)
        row, column = place // len(rows), place % len(rows)
        lists = torch.cat([lists[row], rows[column].unsqueeze(1)], dim=1)
    return lists[0]
