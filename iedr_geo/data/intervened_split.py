"""A split whose test part is as if all items had been shown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.optimize import brentq
from torch import Tensor

from iedr_geo.data.arguments import check_type
from iedr_geo.data.bipartite import BipartiteGraph


class InterventionSplit(NamedTuple):
    """Training, validation and test edges, of which the last two are intervened.

    Args:
        train: The normal edges, by which :obj:`train.popularity` counts, and some that
            :obj:`train.intervened` marks.
        valid: Intervened edges.
        test: Intervened edges.
    """

    train: BipartiteGraph
    valid: BipartiteGraph
    test: BipartiteGraph

    def report(self) -> pd.DataFrame:
        r"""Returns the size of each part, and the entropy :math:`-\sum_i p_i \ln p_i` of
        the share :math:`p_i` of its edges that each item has: the higher, the more alike
        items are (Table 1 of `Zheng et al. <https://doi.org/10.1145/3442381.3449788>`_).
        """
        normal, intervened = self.train.parts
        parts = {
            'normal': normal,
            'intervened': intervened,
            'valid': self.valid,
            'test': self.test,
        }
        return pd.DataFrame(
            {
                name: {
                    'edges': graph.num_edges,
                    'users': int((graph.user_degree > 0).sum()),
                    'items': int((graph.item_degree > 0).sum()),
                    'entropy': _entropy(graph.item_degree),
                }
                for name, graph in parts.items()
            }
        ).T.astype({'edges': int, 'users': int, 'items': int})


def _entropy(count: Tensor) -> float:
    share = count.double() / count.sum().clamp(min=1)
    return float(torch.special.entr(share).sum())


def _capped(popularity: Tensor, share: float, cap: float) -> Tensor:
    """Returns min(cap, c / popularity), such that a share of the edges is expected."""
    degree = popularity.double()

    def excess(c: float) -> float:
        return float((cap * degree).clamp(max=c).sum() - share * degree.sum())

    highest = cap * float(degree.max())
    if excess(highest) <= 0:  # The share is the cap, but for rounding.
        return torch.full_like(degree, cap)
    c = brentq(excess, 0.0, highest, xtol=1e-9)
    return (c / degree.clamp(min=1)).clamp(max=cap)


def intervened_split(
    graph: BipartiteGraph,
    share: float = 0.4,
    cap: float = 0.9,
    cap_mode: str = 'probability',
    parts: Sequence[float] = (0.25, 0.25, 0.5),
    seed: int = 0,
) -> InterventionSplit:
    r"""Splits off edges by inverse popularity, as if every item had been shown alike
    (Section 4.1 of `Zheng et al. <https://doi.org/10.1145/3442381.3449788>`_).

    An edge of item :math:`i` is drawn with probability :math:`\min(\text{cap}, c / d_i)`,
    where :math:`d_i` is the number of its edges and :math:`c` such that a share of all
    edges is expected to be drawn. The drawn edges are the intervened ones of training,
    the validation part and the test part; the others are normal training data. No two
    parts share an edge, so what a user has had is left out of their rankings.

    Args:
        graph: The edges.
        share: The share of the edges to be drawn.
        cap: With :obj:`cap_mode="probability"`, the largest probability: the lower, the
            weaker the intervention. With :obj:`cap_mode="percentile"`, the quantile of
            the edges' weights :math:`1 / d_i` at which the weights are cut.
        cap_mode: :obj:`"probability"`, as in the paper, or :obj:`"percentile"`, as in the
            authors' code: exactly a share of the edges is drawn by weight, without
            replacement.
        parts: The shares of training, validation and test part in the drawn edges.
        seed: The seed of the draw.

    Raises:
        ValueError: If a share is out of range, or the normal, the validation or the test
            part would be empty.
    """
    check_type(graph, 'graph', BipartiteGraph)
    if not 0 < share < 1 or not 0 < cap <= 1:
        raise ValueError(
            f'`share` must be between 0 and 1, `cap` too, or 1 (got {share} and {cap})'
        )
    if cap_mode not in ('probability', 'percentile'):
        raise ValueError(
            f"`cap_mode` is 'probability' or 'percentile' (got '{cap_mode}')"
        )
    if len(parts) != 3 or min(parts) < 0 or not abs(sum(parts) - 1) <= 1e-6:
        raise ValueError(f'`parts` must be three shares that sum to 1 (got {parts})')
    if cap_mode == 'probability' and share > cap:
        raise ValueError(
            f'A share of {share} cannot be drawn with probabilities of at most {cap}'
        )
    too_few = f'part of the split is empty: {graph.num_edges} edges are too few'
    if graph.num_edges == 0:
        raise ValueError(f'The normal {too_few}')
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(graph.num_edges, generator=generator, dtype=torch.double)
    degree = graph.item_degree.cpu()
    item = graph.item.cpu()
    if cap_mode == 'probability':
        drawn = (noise < _capped(degree, share, cap)[item]).nonzero().view(-1)
    else:
        weight = 1 / degree[item].double()
        weight = weight.clamp(max=float(np.quantile(weight.numpy(), cap)))
        # The first arrivals of clocks with these rates are a draw without replacement.
        arrival = -torch.log1p(-noise) / weight
        drawn = arrival.argsort(stable=True)[: round(share * graph.num_edges)]
    drawn = drawn[torch.randperm(drawn.numel(), generator=generator)]
    # Where each part ends, so that a part of no share stays empty.
    ends = [round(sum(parts[:i]) * drawn.numel()) for i in (1, 2)]
    part = torch.full((graph.num_edges,), -1)
    for number, own in enumerate(drawn.tensor_split(ends)):
        part[own] = number
    part = part.to(graph.device)
    for number, name, wanted in (
        (-1, 'normal', 1),
        (1, 'validation', parts[1]),
        (2, 'test', parts[2]),
    ):
        if wanted > 0 and not (part == number).any():
            raise ValueError(f'The {name} {too_few}')
    normal = torch.bincount(graph.item[part == -1], minlength=graph.num_items)
    counted = replace(graph, popularity=normal, intervened=part >= 0, exclude_seen=True)
    return InterventionSplit(
        *(counted.subgraph(kept) for kept in (part <= 0, part == 1, part == 2))
    )
