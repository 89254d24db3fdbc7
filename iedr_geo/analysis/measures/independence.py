"""The independence of the dimensions of vectors."""

from __future__ import annotations

import torch
from torch import Tensor

# A dimension whose values differ by less of their size is constant but for rounding.
ROUNDING = 1e-5


def independence(x: Tensor) -> float:
    r"""Returns how far the dimensions of vectors are from correlated (Section 3.4 of `Ma
    et al. <https://arxiv.org/abs/1910.14238>`_).

    .. math::
        1 - \frac{2}{d (d - 1)} \sum_{i < j} |\text{corr}_{ij}|

    1 for dimensions without any correlation, 0 where each is a multiple of each other. A
    dimension that is constant, but for rounding, tells nothing of others: its
    correlations are 0.

    .. note::
        Of :math:`n` vectors even independent dimensions have correlations of about
        :math:`\sqrt{2 / (\pi n)}` in size: 50 vectors have at most about 0.89.

    Args:
        x: The vectors, of shape :math:`(N, d)`.

    Raises:
        ValueError: If there are fewer than two vectors or dimensions, or values are not
            finite.
    """
    if x.dim() != 2 or min(x.shape) < 2:
        raise ValueError(
            f'Two vectors of two dimensions at least are needed (got shape '
            f'{tuple(x.shape)})'
        )
    x = x.detach().double()
    if not x.isfinite().all():
        raise ValueError('`x` holds values that are not finite')
    varies = x.amax(dim=0) - x.amin(dim=0) > ROUNDING * x.abs().amax(dim=0)
    x = x - x.mean(dim=0)
    x = torch.where(varies, x / torch.linalg.vector_norm(x, dim=0), 0)
    correlation = (x.t() @ x).abs().fill_diagonal_(0)
    num_pairs = x.size(1) * (x.size(1) - 1)
    return 1 - float(correlation.sum()) / num_pairs
