"""The discrepancy losses of DICE: measures of how alike two tables are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.blocks import blocks


def _tables(x: Tensor, y: Tensor, same_size: bool) -> tuple[Tensor, Tensor]:
    """Returns checked tables in the wider of their dtypes, and in float32 at least."""
    shapes = f'(got shapes {tuple(x.shape)} and {tuple(y.shape)})'
    if x.dim() != 2 or y.dim() != 2 or x.size(0) != y.size(0):
        raise ValueError(f'`x` and `y` must be tables of as many rows {shapes}')
    if same_size and x.size(1) != y.size(1):
        raise ValueError(f'`x` and `y` must be of the same shape {shapes}')
    dtype = torch.promote_types(torch.promote_types(x.dtype, y.dtype), torch.float32)
    return x.to(dtype), y.to(dtype)


def _standardised(x: Tensor) -> tuple[Tensor, Tensor]:
    """Moves the mean to the origin and divides by the largest norm, also returned.

    The correlation depends on neither; rounding errors do, and overflow.
    """
    x = x.double() - x.mean(0, dtype=torch.double)
    scale = torch.linalg.vector_norm(x, dim=1).amax()
    scale = scale.clamp_min(torch.finfo(x.dtype).tiny)
    return x / scale, scale


def _distances(
    x: Tensor, each_rows: Sequence[slice], dtype: torch.dtype
) -> Iterator[Tensor]:
    """Yields the distances of each block of rows to itself and to all later rows."""
    if dtype == torch.double:
        for rows in each_rows:
            mode = 'donot_use_mm_for_euclid_dist'
            yield torch.cdist(x[rows], x[rows.start :], compute_mode=mode)
        return
    # One product gives |x_i|^2 + |x_j|^2 - 2 x_i x_j. In float64 what cancels is less
    # than what float32 rounds off, in a fraction of the time that differences take.
    square = x.square().sum(1, keepdim=True)
    one = torch.ones_like(square)
    left, right = torch.cat([-2 * x, square, one], 1), torch.cat([x, one, square], 1)
    rounding = 1e-15 * left.size(1)  # No norm is above one. Equal rows are at zero.
    for rows in each_rows:
        squared = left[rows] @ right[rows.start :].t()
        yield F.threshold(squared, rounding, 0.0, inplace=True).to(dtype).sqrt_()


def _centred(a: Tensor, mean: Tensor, rows: slice) -> Tensor:
    """Returns a block less its means, of which each holds half of the total mean."""
    return (a - mean[rows].unsqueeze(1)).sub_(mean[rows.start :])


def _weighted_differences(
    distances: Iterable[tuple[slice, Tensor, Tensor]],
    x: Tensor,
    ratio: Tensor,
    mean: Tensor,
    factor: Tensor,
) -> Tensor:
    r"""Returns :math:`f \sum_j w_{ij} (\mathbf{x}_i - \mathbf{x}_j)` where
    :math:`w_{ij} = (b_{ij} - r a_{ij} - m_i - m_j) / a_{ij}`, and zero where
    :math:`a_{ij} = 0`.

    Args:
        distances: Rows, their distances :math:`a_{ij}` and :math:`b_{ij}`, in blocks.
        x: A table.
        ratio: :math:`r`.
        mean: :math:`m_i`.
        factor: :math:`f`.
    """
    total, product = torch.zeros_like(x[:, :1]), torch.zeros_like(x)
    for rows, a, b in distances:
        weight = _centred(torch.addcmul(b, a, ratio, value=-1), mean, rows)
        # Zero where a is; a mask takes ten times as long.
        weight.div_(a).nan_to_num_(0, 0, 0)
        later = weight[:, a.size(0) :].t()  # Both triangles are the same.
        total[rows] += weight.sum(1, keepdim=True)
        total[rows.stop :] += later.sum(1, keepdim=True)
        product[rows].addmm_(weight, x[rows.start :])
        product[rows.stop :].addmm_(later, x[rows])
    return (total * x - product) * factor


class _DistanceCorrelation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, block_size: int) -> Tensor:
        dtype, n = x.dtype, x.size(0)
        each_rows = ctx.each_rows = blocks(n, block_size)
        (x, scale_x), (y, scale_y) = _standardised(x), _standardised(y)
        distances = [list(_distances(table, each_rows, dtype)) for table in (x, y)]

        means = x.new_zeros(2, n)
        for mean, table in zip(means, distances, strict=True):
            for rows, a in zip(each_rows, table, strict=True):
                mean[rows] += a.sum(1, dtype=torch.double)
                mean[rows.stop :] += a[:, a.size(0) :].sum(0, dtype=torch.double)
        means /= n
        means -= means.mean(1, keepdim=True) / 2
        mean_a, mean_b = means.to(dtype)

        # Of centred distances: the sums of others differ little from what is wanted.
        sums = x.new_zeros(3)
        for rows, a, b in zip(each_rows, *distances, strict=True):
            a, b = _centred(a, mean_a, rows), _centred(b, mean_b, rows)
            for i, product in enumerate((a * b, a * a, b * b)):
                own = product[:, : product.size(0)].sum(dtype=torch.double)
                sums[i] += 2 * product.sum(dtype=torch.double) - own
        covariance, variance_x, variance_y = sums / n**2
        value = (covariance / (variance_x * variance_y).sqrt()).sqrt().clamp(max=1)

        # With centred A and B, the derivative by a_ij is
        # value / (2 n^2 covariance) * (B_ij - ratio_x A_ij), and a_ij is also a_ji.
        factor = value / (n**2 * covariance)
        # Zero may be negative by rounding. A NaN in a table is neither, and remains.
        value, factor = (t.masked_fill(covariance <= 0, 0) for t in (value, factor))
        ratio_x, ratio_y = covariance / variance_x, covariance / variance_y
        mean_a, mean_b = means
        of_x = (x, ratio_x, mean_b - ratio_x * mean_a, factor / scale_x)
        of_y = (y, ratio_y, mean_a - ratio_y * mean_b, factor / scale_y)
        tensors = (t.to(dtype) for t in (*of_x, *of_y))
        ctx.save_for_backward(*tensors, *distances[0], *distances[1])
        return value.to(dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_y = ctx.saved_tensors[:4], ctx.saved_tensors[4:8]
        half = len(ctx.each_rows)
        a, b = ctx.saved_tensors[8 : 8 + half], ctx.saved_tensors[8 + half :]
        d_x = d_y = None
        with torch.autocast(grad.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                d_x = grad * _weighted_differences(
                    zip(ctx.each_rows, a, b, strict=True), *of_x
                )
            if ctx.needs_input_grad[1]:
                d_y = grad * _weighted_differences(
                    zip(ctx.each_rows, b, a, strict=True), *of_y
                )
        return d_x, d_y, None


class DistanceCorrelation(torch.nn.Module):
    r"""The distance correlation of two tables, the discrepancy loss *dCor* of DICE
    (Section 3.2 of `Zheng et al. <https://doi.org/10.1145/3442381.3449788>`_) as
    `Székely et al. <https://doi.org/10.1214/009053607000000505>`_ define it.

    .. math::
        \mathrm{dCor}(\mathbf{X}, \mathbf{Y}) = \sqrt{\frac{\overline{\mathbf{A} \odot
        \mathbf{B}}}{\sqrt{\overline{\mathbf{A} \odot \mathbf{A}}} \;
        \sqrt{\overline{\mathbf{B} \odot \mathbf{B}}}}}
        \quad \text{where} \quad
        A_{ij} = a_{ij} - \bar{a}_{i \cdot} - \bar{a}_{\cdot j} + \bar{a},
        \quad a_{ij} = {\lVert \mathbf{x}_i - \mathbf{x}_j \rVert}_2,

    :math:`\mathbf{B}` is the same of :math:`\mathbf{Y}`, and a bar is a mean. It is 0 if
    all rows of a table are equal, and there is no gradient then. Only first derivatives
    can be taken.

    .. note::
        Of few rows, it is well above zero even for independent tables: about 0.36 for
        1,700 rows of 64 normal variables. Time and memory grow with the square of the
        rows: pass the distinct users or items of a batch.

    Args:
        block_size (int, optional): The number of rows whose distances are worked on at a
            time. Changes speed and memory alone. (default: :obj:`128`, whose distances
            stay in the cache)

    Shapes:
        - **input:** one table :math:`(N, F)`, the other :math:`(N, F')`
        - **output:** a scalar in :math:`[0, 1]`, in float32 at least

    Raises:
        ValueError: If the tables are not of as many rows.
    """

    def __init__(self, block_size: int = 128) -> None:
        super().__init__()
        self.block_size = block_size

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns the loss, which is to be minimized."""
        x, y = _tables(x, y, same_size=False)
        if x.size(0) == 0:
            return x.sum() + y.sum()
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = _DistanceCorrelation.apply(  # type: ignore[no-untyped-call]
                x, y, self.block_size
            )
        return out


class InverseL1(torch.nn.Module):
    r"""The discrepancy loss *L1-inv* of DICE (Section 3.2 of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_): the negative mean absolute difference.

    .. math::
        - \frac{1}{N F} \sum_{i, f} | x_{if} - y_{if} |

    Shapes:
        - **input:** two tables :math:`(N, F)`
        - **output:** a scalar, 0 if a table is empty, in float32 at least

    Raises:
        ValueError: If the tables are not of the same shape.
    """

    power: ClassVar[int] = 1

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns the loss, which is to be minimized."""
        x, y = _tables(x, y, same_size=True)
        return -((x - y).abs() ** self.power).sum() / max(x.numel(), 1)


class InverseL2(InverseL1):
    r"""The discrepancy loss *L2-inv* of DICE (Section 3.2 of `Zheng et al.
    <https://doi.org/10.1145/3442381.3449788>`_): the negative mean squared difference.

    .. math::
        - \frac{1}{N F} \sum_{i, f} {(x_{if} - y_{if})}^2

    Shapes:
        - **input:** two tables :math:`(N, F)`
        - **output:** a scalar, 0 if a table is empty, in float32 at least

    Raises:
        ValueError: If the tables are not of the same shape.
    """

    power = 2
