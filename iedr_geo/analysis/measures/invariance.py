"""Whether factors stay the same across contexts, or across users and items."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.data import InteractionDataset

# Similarities that differ by less are equal but for rounding.
ROUNDING = 1e-9


class Measured(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


class ContextInvariance(NamedTuple):
    """Whether a factor tells of its user or item rather than of the context.

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
    """What the variance of a factor is due to; the three add up to 1.

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


class ContextSamples(NamedTuple):
    """Rows of users and items in contexts that do not depend on who they are.

    Of :math:`3N + EC` rows, the first :math:`N` are anchors, the next :math:`N` the same
    users and items in other contexts, the next :math:`N` others in the contexts of the
    anchors, and the rest the :math:`E` users and items of a block, each in the same
    :math:`C` contexts.

    Args:
        user: The users.
        item: The items.
        context: The contexts.
        num_anchors: The number :math:`N`.
        block: The numbers :math:`E` and :math:`C`.
    """

    user: Tensor
    item: Tensor
    context: Tensor
    num_anchors: int
    block: tuple[int, int]

    def parts(self, rows: Tensor) -> list[Tensor]:
        """Returns anchors, same users or items, same contexts, and the block."""
        n = self.num_anchors
        return list(rows.split([n, n, n, len(rows) - 3 * n]))


def first_rows(ids: Tensor) -> Tensor:
    """Returns the first row of each distinct id, in order."""
    return torch.from_numpy(np.sort(np.unique(ids.numpy(), return_index=True)[1]))


def sample_contexts(
    dataset: InteractionDataset,
    num_samples: int,
    seed: int = 0,
    max_entities: int = 50,
) -> ContextSamples:
    """Draws users and items from rows of a dataset, and contexts from other rows.

    All are as frequent as in the data, but who is in which context is left to chance: a
    habit is a fact of the data and not of the model.

    Args:
        dataset: The rows.
        num_samples: The number of anchors, and about that of the rows of the block.
        seed: The seed of the draw.
        max_entities: The number of users, and of items, of the block, at most; it is a
            tenth of the samples at most.

    Raises:
        ValueError: If there are fewer than two users, items or contexts.
    """
    generator = torch.Generator().manual_seed(seed)

    def shuffled(ids: Tensor) -> Tensor:
        return ids[torch.randperm(len(ids), generator=generator)]

    rows = torch.randperm(len(dataset), generator=generator)[:num_samples]
    ids = [getattr(dataset, s).cpu()[rows] for s in ('user', 'item', 'context')]
    distinct = [side[first_rows(side)] for side in ids]
    if min(map(len, distinct)) < 2:
        found = ', '.join(str(len(some)) for some in distinct)
        raise ValueError(
            f'Two users, items and contexts at least are needed (got {found})'
        )
    size = max(2, min(max_entities, num_samples // 10))
    size = min(size, len(distinct[0]), len(distinct[1]))
    contexts = distinct[2][: max(2, num_samples // size)]
    context, other_context = shuffled(ids[2]), shuffled(ids[2])
    user, item = (
        torch.cat([one, one, shuffled(one), some[:size].repeat_interleave(len(contexts))])
        for one, some in zip(ids[:2], distinct[:2], strict=True)
    )
    context = torch.cat([context, other_context, context, contexts.repeat(size)])
    return ContextSamples(user, item, context, len(rows), (size, len(contexts)))
