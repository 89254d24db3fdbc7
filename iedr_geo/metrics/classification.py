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
        positives, negatives = scores[target == 1], scores[target == 0].sort().values
        num_pairs = len(positives) * len(negatives)
        if not num_pairs:
            raise ValueError(
                f'AUC needs both classes, got {len(positives)} positives and '
                f'{len(negatives)} negatives'
            )
        # Pairs are counted in integers, twice over for the halves: no rounding.
        lower = torch.searchsorted(negatives, positives)
        not_higher = torch.searchsorted(negatives, positives, right=True)
        return (lower + not_higher).sum().double() / (2 * num_pairs)
