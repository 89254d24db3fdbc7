"""Area under the ROC curve."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from iedr_geo.metrics._checks import check_rows


@dataclass(frozen=True)
class AUC:
    r"""Probability that a positive outscores a negative, over all rows.

    With positives :math:`\mathcal{P}` and negatives :math:`\mathcal{N}`,

    .. math::
        \text{AUC} = \frac{1}{|\mathcal{P}| |\mathcal{N}|}
        \sum_{p \in \mathcal{P}} \sum_{n \in \mathcal{N}}
        [s_p > s_n] + \tfrac{1}{2} [s_p = s_n].
    """

    name: ClassVar[str] = 'auc'

    def __call__(self, scores: Tensor, target: Tensor) -> Tensor:
        r"""Computes the area by sorting, in :math:`O(R \log R)`.

        Args:
            scores: Scores :math:`[R]`. Infinite ones are ordinary values.
            target: Binary targets :math:`[R]`.

        Returns:
            Scalar, float64.

        Raises:
            ValueError: If a shape, a score or a target is invalid, or the rows are
                all of one class.
        """
        check_rows(scores, target)
        scores, order = scores.sort()
        tie = torch.zeros_like(order)
        tie[1:] = (scores[1:] != scores[:-1]).cumsum(0)

        # Pairs are counted in integers, twice over for the halves: no rounding.
        size = tie.bincount()
        positives = tie[target[order] == 1].bincount(minlength=len(size))
        negatives = size - positives
        num_pairs = positives.sum() * negatives.sum()
        if not num_pairs:
            raise ValueError(
                f'AUC needs both classes, got {int(positives.sum())} positives '
                f'and {int(negatives.sum())} negatives'
            )
        negatives_below = negatives.cumsum(0) - negatives
        half_wins = (positives * (2 * negatives_below + negatives)).sum()
        return half_wins.double() / (2 * num_pairs).double()
