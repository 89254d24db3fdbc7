"""The sameness of factors across contexts, and across users and items."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Similarities that differ by less are equal but for rounding.
ROUNDING = 1e-9


class Measured(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


class ContextInvariance(NamedTuple):
    """Similarities that tell a factor of its user or item from one of the context.

    Args:
        same_entity: The mean similarity of the same user or item in different contexts.
        same_context: That of different users or items in the same context.
        neither: That of different ones in different contexts.
        auc: The probability that a row is more like the same user or item in another
            context than like another one in the same context.
    """

    same_entity: Measured
    same_context: Measured
    neither: Measured
    auc: Measured


class VarianceShares(NamedTuple):
    """The shares of the variance of a factor; the three add up to 1.

    Args:
        entity: The user or item, whatever the context.
        context: The context, whoever the user or item.
        both: The two together: the same context moves each one differently.
    """

    entity: float
    context: float
    both: float


def context_invariance(
    anchor: Tensor, same_entity: Tensor, same_context: Tensor
) -> ContextInvariance:
    r"""Compares rows with the same user or item, and with the same context.

    Similarity is the cosine, as in the contrastive loss of IEDR, but about the mean of
    all rows, as what all of them have in common tells of neither. A factor of the user
    alone has an :obj:`auc` of 1, one of the context alone 0; one that takes as much from
    either has 0.5, and so has one that never changes. Standard errors are as if rows were
    independent.

    Args:
        anchor: Factors of users or items in a context, of shape :math:`(N, F)`.
        same_entity: The same users or items in other contexts, of shape :math:`(N, F)`.
        same_context: Other users or items in the same contexts, of shape :math:`(N, F)`.

    Raises:
        ValueError: If the shapes differ, or there are fewer than two rows.
    """
    if anchor.dim() != 2 or not anchor.shape == same_entity.shape == same_context.shape:
        raise ValueError(
            f'The three tables must be of the same shape (N, F) (got '
            f'{tuple(anchor.shape)}, {tuple(same_entity.shape)} and '
            f'{tuple(same_context.shape)})'
        )
    if len(anchor) < 2:
        raise ValueError(f'At least 2 rows are needed (got {len(anchor)})')
    rows = torch.stack([anchor, same_entity, same_context]).detach().double()
    if not rows.isfinite().all():
        raise ValueError('The factors hold values that are not finite')
    one, two, three = F.normalize(rows - rows.mean((0, 1)), dim=-1)
    of_entity, of_context = (one * two).sum(-1), (one * three).sum(-1)
    # With the next row's: another one in another context, as good as always.
    of_neither = (one * two.roll(1, 0)).sum(-1)
    lead = of_entity - of_context
    wins = (lead.masked_fill(lead.abs() <= ROUNDING, 0).sign() + 1) / 2
    size = math.sqrt(len(anchor))
    means = [
        Measured(float(values.mean()), float(values.std()) / size)
        for values in (of_entity, of_context, of_neither)
    ]
    auc = Measured(float(wins.mean()), 0.5 / size)  # At most.
    return ContextInvariance(means[0], means[1], means[2], auc)


def variance_shares(block: Tensor) -> VarianceShares:
    r"""Returns the shares of the variance of factors of :math:`E` users or items, each in
    the same :math:`C` contexts.

    The components of a two-way analysis of variance, summed over the columns of the
    factors: unbiased, but that those below zero are taken as zero. Not numbers where
    nothing varies.

    Args:
        block: Factors, of shape :math:`(E, C, F)`.

    Raises:
        ValueError: If there are fewer than two users or items, or contexts.
    """
    if block.dim() != 3 or min(block.shape[:2]) < 2:
        raise ValueError(
            f'Factors must be of shape (E, C, F) with at least two users or items and '
            f'two contexts (got {tuple(block.shape)})'
        )
    num_entities, num_contexts = block.shape[:2]
    if not block.isfinite().all():
        raise ValueError('The factors hold values that are not finite')
    block = block.detach().double()
    block = block - block.mean((0, 1))
    of_entity, of_context = block.mean(1, keepdim=True), block.mean(0, keepdim=True)

    def mean_square(part: Tensor, degrees: int) -> float:
        return float(part.square().sum()) / degrees

    both = mean_square(
        block - of_entity - of_context, (num_entities - 1) * (num_contexts - 1)
    )
    entity = mean_square(of_entity, num_entities - 1) - both / num_contexts
    context = mean_square(of_context, num_contexts - 1) - both / num_entities
    parts = [max(0.0, part) for part in (entity, context, both)]
    total = sum(parts)
    return VarianceShares(*(part / total if total > 0 else math.nan for part in parts))


def variance_share_errors(block: Tensor) -> VarianceShares:
    """Returns the standard errors of :func:`variance_shares`: a jackknife over users or
    items, and over contexts. Not numbers where there are only two of either.

    Args:
        block: As in :func:`variance_shares`.
    """
    variance = np.zeros(3)
    for dim, size in enumerate(block.shape[:2]):
        if size < 3:
            return VarianceShares(*[math.nan] * 3)
        kept = ~torch.eye(size, dtype=torch.bool, device=block.device)
        others = [variance_shares(block[k] if dim == 0 else block[:, k]) for k in kept]
        variance += np.var(others, axis=0) * (size - 1)
    return VarianceShares(*np.sqrt(variance).tolist())
