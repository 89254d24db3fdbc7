"""Readouts, factors and logits of a batch."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from iedr_geo.nn.generator import Factors


class IEDRFactors(NamedTuple):
    """The factors of the users and items of a batch, in their contexts."""

    user: Factors
    item: Factors


def split_score(user: Factors, item: Factors, cross: bool) -> dict[str, Tensor]:
    """Returns the parts of the inner product of two sums of factors, by name.

    Args:
        user: Factors of users, each of shape :math:`(*, F)`.
        item: Factors of items, of a shape that broadcasts with it.
        cross: If :obj:`True`, intrinsic meet extrinsic factors as well.
    """
    parts = {
        'intrinsic': (user.intrinsic * item.intrinsic).sum(dim=-1),
        'extrinsic': (user.extrinsic * item.extrinsic).sum(dim=-1),
    }
    if cross:
        both = user.intrinsic * item.extrinsic + user.extrinsic * item.intrinsic
        parts['cross'] = both.sum(dim=-1)
    return parts


class Encoded(NamedTuple):
    """One pass over a batch: readouts, factors and logits of its rows.

    Args:
        user: Readouts of the users, of shape :math:`(B, F)`, and beside them the sums of
            the generator's further embeddings.
        item: Readouts of the items, likewise.
        context: Readouts of the contexts, likewise.
        factors: The factors of users and items.
        logits: The logits, of shape :math:`(B)`.
        pointwise: The pointwise terms of the rows, of shape :math:`(B)`, if there are
            any.
        distinct_item: The readouts of the distinct items of the batch, where its rows
            share them.
        cross: If :obj:`True`, intrinsic factors meet extrinsic ones in the logits.
        rows_per_query: As in :class:`~iedr_geo.loader.InteractionBatch`.
    """

    user: Tensor
    item: Tensor
    context: Tensor
    factors: IEDRFactors
    logits: Tensor
    pointwise: Tensor | None = None
    distinct_item: Tensor | None = None
    cross: bool = True
    rows_per_query: int = 1

    @property
    def parts(self) -> dict[str, Tensor]:
        """The parts that add up to the logits, by name, each of shape :math:`(B)`."""
        parts = split_score(*self.factors, self.cross)
        return parts if self.pointwise is None else parts | {'pointwise': self.pointwise}
