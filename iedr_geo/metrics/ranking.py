r"""Top-:math:`k` ranking metrics of binary relevance.

Each is the exact expectation over all orders of tied scores, gives one float64 value
per list, and NaN for a list without any positive: such a list is undefined and to be
left out of averages, as :meth:`torch.Tensor.nanmean` does. A list shorter than
:math:`k` just ends.
"""

import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from numbers import Integral
from typing import ClassVar

from torch import Tensor

from iedr_geo.metrics.ranked_lists import RankedLists


@dataclass(frozen=True)
class RankingMetric(ABC):
    """A metric of the top :math:`k` ranks of each list."""

    k: int
    label: ClassVar[str]

    def __post_init__(self) -> None:
        is_integer = isinstance(self.k, Integral) and not isinstance(self.k, bool)
        if not is_integer or self.k <= 0:
            raise ValueError(f'k must be a positive integer, got {self.k!r}')

    @property
    def name(self) -> str:
        """Name of the metric, such as ``ndcg@10``."""
        return f'{self.label}@{self.k}'

    @abstractmethod
    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""


@dataclass(frozen=True)
class NDCG(RankingMetric):
    r"""Normalised discounted cumulative gain.

    With :math:`y_r` the target at rank :math:`r` and :math:`P` the positives,

    .. math::
        \text{NDCG@}k = \mathbb{E} \left[ \sum_{r \le k} \frac{y_r}{\log_2(r + 1)}
        \right] \Big/ \sum_{r \le \min(k, P)} \frac{1}{\log_2(r + 1)}.

    Args:
        k: Number of ranks that count.
    """

    label: ClassVar[str] = 'ndcg'

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        discount = 1 / (ranked.rank.double() + 1).log2()
        ideal = ranked.rank <= ranked.num_positives[ranked.list_index]
        gain = ranked.top_sum(ranked.positive * discount, self.k)
        return gain / ranked.top_sum(ideal * discount, self.k)


@dataclass(frozen=True)
class Recall(RankingMetric):
    r"""Share of a list's positives that reach the top.

    With :math:`y_r` the target at rank :math:`r` and :math:`P` the positives,

    .. math::
        \text{Recall@}k = \frac{1}{P} \, \mathbb{E} \left[ \sum_{r \le k} y_r \right].

    Args:
        k: Number of ranks that count.
    """

    label: ClassVar[str] = 'recall'

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        return ranked.top_sum(ranked.positive, self.k) / ranked.num_positives


@dataclass(frozen=True)
class TruncatedRecall(RankingMetric):
    r"""Share of the positives that fit in the top that reach it, as in `"Variational
    Autoencoders for Collaborative Filtering" <https://arxiv.org/abs/1802.05814>`_.

    With :math:`y_r` the target at rank :math:`r` and :math:`P` the positives,

    .. math::
        \text{TruncatedRecall@}k = \frac{1}{\min(k, P)} \,
        \mathbb{E} \left[ \sum_{r \le k} y_r \right],

    so that 1 can be reached also by a list of more than :math:`k` positives.

    Args:
        k: Number of ranks that count.
    """

    label: ClassVar[str] = 'truncated_recall'

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        most = ranked.num_positives.clamp(max=self.k)
        return ranked.top_sum(ranked.positive, self.k) / most


@dataclass(frozen=True)
class Precision(RankingMetric):
    r"""Share of the top that is positive.

    With :math:`y_r` the target at rank :math:`r`,

    .. math::
        \text{Precision@}k = \frac{1}{k} \, \mathbb{E} \left[ \sum_{r \le k} y_r \right].

    Args:
        k: Number of ranks that count, whether or not a list has so many.
    """

    label: ClassVar[str] = 'precision'

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        some = ranked.num_positives > 0
        return (ranked.top_sum(ranked.positive, self.k) / self.k).where(some, math.nan)


@dataclass(frozen=True)
class F1(RankingMetric):
    r"""Harmonic mean of precision and recall.

    With :math:`y_r` the target at rank :math:`r` and :math:`P` the positives,

    .. math::
        \text{F1@}k = \frac{2}{k + P} \, \mathbb{E} \left[ \sum_{r \le k} y_r \right].

    Args:
        k: Number of ranks that count, whether or not a list has so many.
    """

    label: ClassVar[str] = 'f1'

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        size = ranked.num_positives
        mean = 2 * ranked.top_sum(ranked.positive, self.k) / (self.k + size)
        return mean.where(size > 0, math.nan)


@dataclass(frozen=True)
class HitRatio(RankingMetric):
    r"""Probability that at least one positive reaches the top.

    With :math:`F` the rank of the first positive,

    .. math::
        \text{HitRatio@}k = P(F \le k).

    Args:
        k: Number of ranks that count.
    """

    label: ClassVar[str] = 'hit_ratio'

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        # Rounding can carry a sum of probabilities past 1.
        return ranked.top_sum(ranked.first_positive, self.k).clamp(max=1)


@dataclass(frozen=True)
class MRR(RankingMetric):
    r"""Reciprocal rank of the first positive, 0 beyond the top.

    With :math:`F` the rank of the first positive,

    .. math::
        \text{MRR@}k = \sum_{r \le k} \frac{P(F = r)}{r}.

    Args:
        k: Number of ranks that count.
    """

    label: ClassVar[str] = 'mrr'

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        return ranked.top_sum(ranked.first_positive / ranked.rank, self.k)


@dataclass(frozen=True)
class ListAUC(RankingMetric):
    r"""Probability that a positive of a list outscores a negative of the same list.

    With :math:`y_r` the target at rank :math:`r` of :math:`n` and :math:`P` the
    positives,

    .. math::
        \text{ListAUC} = \frac{1}{P (n - P)} \left( P n - \frac{P (P - 1)}{2} -
        \mathbb{E} \left[ \sum_{r \le n} r \, y_r \right] \right),

    NaN also for a list without a negative. What all rows of a list have in common has no
    influence on it, as it has on :class:`AUC`. It takes whole lists, such as candidate
    lists: of a catalogue only the top is ranked.
    """

    label: ClassVar[str] = 'list_auc'
    k: int = field(default=sys.maxsize, init=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the metric, ``list_auc``."""
        return self.label

    def __call__(self, ranked: RankedLists) -> Tensor:
        r"""Returns the value of each list :math:`[L]`."""
        positives = ranked.num_positives.double()
        length = ranked.list_index.bincount(minlength=len(positives))
        ranks = ranked.top_sum(ranked.positive * ranked.rank, self.k)
        pairs = positives * length - positives * (positives - 1) / 2 - ranks
        return pairs / (positives * (length - positives))
