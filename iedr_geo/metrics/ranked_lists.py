"""Scored candidate lists, sorted once and shared by all ranking metrics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from iedr_geo.metrics._checks import check_rows


@dataclass(frozen=True, eq=False)
class RankedLists:
    r"""Candidate lists in descending order of score, ties in random order.

    Tied scores leave the order open. Rather than pick one, each rank holds two
    probabilities over all equally likely orders of the ties. Every metric that is a
    weighted sum of them over ranks is then an exact expectation. At place :math:`s`
    of a tie group of :math:`t` candidates, :math:`m` of them positive, they are

    .. math::
        P(\text{positive}) = \frac{m}{t}, \qquad
        P(\text{first positive}) = \binom{t - s}{m - 1} \Big/ \binom{t}{m},

    the latter only in the first group of its list that has a positive, else 0.

    The :math:`R` rows are sorted by list, then by rank. Build instances with
    :meth:`from_rows` or :meth:`from_dense`.

    Attributes:
        list_index: List of each row :math:`[R]`.
        rank: Rank of each row in its list, from 1, :math:`[R]`.
        positive: Probability that a positive is at this rank :math:`[R]`, float64.
        first_positive: Probability that the first positive of the list is at this
            rank :math:`[R]`, float64. Its relative error grows as
            :math:`10^{-16} \, t \log t`.
        num_positives: Positives of each list :math:`[L]`.
        width: Number of rows of every list, where all have as many.
    """

    list_index: Tensor
    rank: Tensor
    positive: Tensor
    first_positive: Tensor
    num_positives: Tensor
    width: int | None = None

    @classmethod
    def from_rows(
        cls,
        scores: Tensor,
        target: Tensor,
        list_index: Tensor,
        num_lists: int | None = None,
        num_positives: Tensor | None = None,
    ) -> RankedLists:
        r"""Builds ragged lists from rows in any order.

        Args:
            scores: Scores :math:`[R]`. Infinite ones are ordinary values.
            target: Binary targets :math:`[R]`.
            list_index: List of each row :math:`[R]`, integers in :math:`[0, L)`.
            num_lists: Number of lists :math:`L`, by default one more than the
                largest index. Lists without rows are allowed.
            num_positives: Positives of each list :math:`[L]`, where the rows are only the
                top of each list; by default those among the rows.

        Raises:
            ValueError: If a shape, a score, a target or an index is invalid.
        """
        check_rows(scores, target)
        list_index, num_lists = _check_index(list_index, scores, num_lists)

        # Two stable sorts order by list, then by score.
        order = scores.argsort(descending=True, stable=True)
        order = order[list_index[order].argsort(stable=True)]
        scores, list_index = scores[order], list_index[order]
        is_positive = target[order] == 1

        row = torch.arange(len(order), device=order.device)
        length = list_index.bincount(minlength=num_lists)
        list_start = (length.cumsum(0) - length)[list_index]

        opens_tie = row == list_start
        opens_tie[1:] |= scores[1:] != scores[:-1]
        tie = opens_tie.cumsum(0) - 1
        tie_start = row[opens_tie][tie]
        tie_size = tie.bincount()
        tie_positives = tie[is_positive].bincount(minlength=len(tie_size))[tie]
        tie_size = tie_size[tie]

        positives_above = is_positive.cumsum(0) - is_positive.long()
        is_first = positives_above[tie_start] == positives_above[list_start]
        first = _first_positive(row - tie_start + 1, tie_size, tie_positives)
        if num_positives is None:
            num_positives = list_index[is_positive].bincount(minlength=num_lists)

        return cls(
            list_index=list_index,
            rank=row - list_start + 1,
            positive=tie_positives.double() / tie_size.double(),
            first_positive=first * is_first,
            num_positives=num_positives,
        )

    @classmethod
    def from_dense(
        cls, scores: Tensor, target: Tensor, mask: Tensor | None = None
    ) -> RankedLists:
        r"""Builds one list from each row of a matrix.

        Args:
            scores: Scores :math:`[L, C]`.
            target: Binary targets :math:`[L, C]`.
            mask: Boolean, true at valid candidates, :math:`[L, C]`; by default all
                are. Values of invalid candidates are never read.

        Raises:
            ValueError: If a shape, the mask's dtype, a score or a target is invalid.
        """
        if mask is None:
            mask = torch.ones_like(scores, dtype=torch.bool)
        if mask.dtype != torch.bool:
            raise ValueError(f'mask must be boolean, got {mask.dtype}')
        if scores.dim() != 2 or not scores.shape == target.shape == mask.shape:
            raise ValueError(
                f'scores, target and mask must all be [L, C], got '
                f'{list(scores.shape)}, {list(target.shape)} and {list(mask.shape)}'
            )
        list_index = mask.nonzero()[:, 0]
        return cls.from_rows(scores[mask], target[mask], list_index, len(scores))

    @classmethod
    def from_hits(cls, hits: Tensor, num_positives: Tensor) -> RankedLists:
        r"""Builds the top of lists that are ranked already and have no ties.

        Args:
            hits: :obj:`True` where a rank has a positive, :math:`[L, K]`.
            num_positives: Positives of each list :math:`[L]`, also below the top.

        Raises:
            ValueError: If a shape or the dtype of the hits is invalid.
        """
        if hits.dim() != 2 or hits.dtype != torch.bool:
            raise ValueError(
                f'hits must be boolean [L, K], got {hits.dtype} {list(hits.shape)}'
            )
        if num_positives.shape != hits.shape[:1]:
            raise ValueError(
                f'num_positives must be {list(hits.shape[:1])}, '
                f'got {list(num_positives.shape)}'
            )
        size, width = hits.shape
        lists = torch.arange(size, device=hits.device)
        ranks = torch.arange(1, width + 1, device=hits.device)
        first = hits & (hits.cumsum(1, dtype=torch.int32) == 1)
        return cls(
            list_index=lists.repeat_interleave(width),
            rank=ranks.repeat(size),
            positive=hits.flatten().double(),
            first_positive=first.flatten().double(),
            num_positives=num_positives,
            width=width,
        )

    def top_sum(self, value: Tensor, k: int) -> Tensor:
        r"""Sums a value over the first ranks of each list.

        Args:
            value: Value of each row :math:`[R]`, float64.
            k: Number of ranks; a shorter list just ends.

        Returns:
            Sums :math:`[L]`, NaN for lists without any positive.
        """
        if self.width is not None:
            total = value.view(-1, self.width)[:, :k].sum(dim=1)
        else:
            top = self.rank <= k
            total = value.new_zeros(len(self.num_positives))
            total.index_add_(0, self.list_index[top], value[top])
        return total.masked_fill_(self.num_positives == 0, torch.nan)


def _check_index(
    list_index: Tensor, scores: Tensor, num_lists: int | None
) -> tuple[Tensor, int]:
    if list_index.shape != scores.shape:
        raise ValueError(
            f'list_index must be {list(scores.shape)} as scores, '
            f'got {list(list_index.shape)}'
        )
    if list_index.is_floating_point() or list_index.dtype == torch.bool:
        raise ValueError(f'list_index must be of integers, got {list_index.dtype}')
    list_index = list_index.long()
    low, high = map(int, list_index.aminmax()) if len(list_index) else (0, -1)
    if num_lists is None:
        num_lists = high + 1
    if low < 0 or high >= num_lists:
        raise ValueError(f'list_index must lie in [0, {num_lists}), got {low} to {high}')
    return list_index, num_lists


def _first_positive(place: Tensor, size: Tensor, positives: Tensor) -> Tensor:
    s, t, m = place.double(), size.double(), positives.double()
    # The quotient of binomials with its factorials cancelled. Past the last place
    # the first positive can take, lgamma is at a pole: exp(-inf) is the 0 we want.
    log_quotient = (t - s + 1).lgamma() - (t - s - m + 2).lgamma()
    log_quotient += (t - m + 1).lgamma() - (t + 1).lgamma()
    return m * log_quotient.exp()
