"""Checks that every metric makes of its input."""

from torch import Tensor


def check_rows(scores: Tensor, target: Tensor) -> None:
    r"""Refuses rows that no metric could judge.

    Args:
        scores: Scores :math:`[R]`, free of NaN.
        target: Binary targets :math:`[R]`.

    Raises:
        ValueError: If the shapes differ from :math:`[R]`, a score is NaN or a
            target is neither 0 nor 1.
    """
    if scores.dim() != 1 or target.shape != scores.shape:
        raise ValueError(
            f'scores and target must both be [R], got {list(scores.shape)} '
            f'and {list(target.shape)}'
        )
    # Sorting puts NaN first or last without a word, which reads as a ranking.
    if num_nan := int(scores.isnan().sum()):
        raise ValueError(f'{num_nan} of {scores.numel()} scores are NaN')
    if num_other := int(((target != 0) & (target != 1)).sum()):
        raise ValueError(
            f'target must be 0 or 1, but {num_other} of {target.numel()} are not'
        )
