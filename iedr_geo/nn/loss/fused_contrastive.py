"""The contrastive loss of a generator of two layers, with its gradient written out.

Nearly all of the time of IEDR's training goes here: a batch of 1,024 rows evaluates each
generator for 84 thousand pairs. What the gradient needs of a block is at hand when its
value is known, so both are computed before the block leaves the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.blocks import blocks
from iedr_geo.nn.dense import linear, transposed_product
from iedr_geo.nn.loss.similarity import cross_entropy_and_gradient


class Layers(NamedTuple):
    r"""The two layers of :math:`\mathbf{W}_2 \, \mathrm{ReLU}(\mathbf{W}_1 (\mathbf{u}
    \circ \mathbf{c}) + \mathbf{b}_1) + \mathbf{b}_2`.

    Args:
        hidden_weight: :math:`\mathbf{W}_1`, of shape :math:`(H, F)`.
        hidden_bias: :math:`\mathbf{b}_1`, of shape :math:`(H)`.
        weight: :math:`\mathbf{W}_2`, of shape :math:`(F, H)`.
        bias: :math:`\mathbf{b}_2`, of shape :math:`(F)`.
        combine: The operation :math:`\circ`, :obj:`"product"` or :obj:`"sum"`; or
            :obj:`"residual"`, as the generator of that kind has it.
    """

    hidden_weight: Tensor
    hidden_bias: Tensor
    weight: Tensor
    bias: Tensor
    combine: str


def combined(entity: Tensor, context: Tensor, combine: str) -> Tensor:
    """Returns what the first layer is given; shapes broadcast."""
    if combine == 'product':
        return entity * context
    if combine == 'sum':
        return entity + context
    (u, direct), (c, of_context) = entity.chunk(2, dim=-1), context.chunk(2, dim=-1)
    return torch.cat(torch.broadcast_tensors(u * c, direct, of_context), dim=-1)


def _separated(
    grad: Tensor, entity: Tensor, context: Tensor, combine: str
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of what :func:`combined` is given."""
    if combine == 'product':
        return grad * context, grad * entity
    if combine == 'sum':
        return grad, grad
    product, direct, of_context = grad.chunk(3, dim=-1)
    (u, _), (c, _) = entity.chunk(2, dim=-1), context.chunk(2, dim=-1)
    return torch.cat([product * c, direct], -1), torch.cat([product * u, of_context], -1)


def _contrast(
    factor: Tensor,
    left_out: Tensor | None,
    row_weight: Tensor | None,
    temperature: float,
    variant: str,
) -> tuple[Tensor, Tensor]:
    """Returns the loss of factors of shape :math:`(A, 2, 1 + L, F)`, and its gradient.

    In each of the two contexts, the first factor is the row's own.
    """
    norm = torch.linalg.vector_norm(factor, dim=-1, keepdim=True).clamp_min_(1e-8)
    unit = factor / norm
    own = unit[:, :, 0]
    cosine = (unit @ own.unsqueeze(-1)).squeeze(-1)
    # The place of each own factor's cosine with itself takes that of the positive pair.
    logits = cosine / temperature
    logits[:, 0, 0] = (own[:, 0] * own[:, 1]).sum(-1) / temperature
    logits[:, 1, 0] = -torch.inf
    if left_out is not None:
        logits[:, :, 1:].masked_fill_(left_out, -torch.inf)
    losses, d_logits = cross_entropy_and_gradient(logits.flatten(1), variant)
    if row_weight is not None:
        losses *= row_weight
        d_logits *= row_weight.unsqueeze(1)

    d_cosine = d_logits.div_(temperature).view_as(cosine)
    d_positive = d_cosine[:, :1, 0].clone()
    d_cosine[:, :, 0] = 0
    d_own = (d_cosine.unsqueeze(2) @ unit).squeeze(2)
    d_own.addcmul_(d_positive.unsqueeze(-1), own.flip(1))
    d_unit = d_cosine.unsqueeze(-1) * own.unsqueeze(2)
    d_unit[:, :, 0] = d_own
    # What is along a vector does not change its direction.
    along = d_cosine * cosine
    along[:, :, 0] = (d_own * own).sum(-1)
    return losses.sum(), d_unit.addcmul_(along.unsqueeze(-1), unit, value=-1).div_(norm)


class _FusedContrastiveSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        entity: Tensor,
        place: Tensor,
        hidden_weight: Tensor,
        hidden_bias: Tensor,
        weight: Tensor,
        bias: Tensor,
        candidates: Tensor,
        left_out: Tensor | None,
        row_weight: Tensor | None,
        combine: str,
        temperature: float,
        variant: str,
        block_size: int,
    ) -> Tensor:
        kind = entity.device.type
        exact = dtype = entity.dtype
        if torch.is_autocast_enabled(kind) and exact == torch.float32:
            dtype = torch.get_autocast_dtype(kind)
        inputs = (entity, place, hidden_weight, hidden_bias, weight, bias)
        with torch.autocast(kind, enabled=False):
            grads = [torch.zeros_like(t) for t in inputs]
            total = entity.new_zeros(())
            d_entity, d_place, d_hidden_weight, d_hidden_bias, d_weight, d_bias = grads
            u, c, w1, b1, w2, b2 = (t.to(dtype) for t in inputs)
            size = w2.size(0)
            for rows in blocks(place.size(0), block_size):
                index = candidates[rows]
                shape = (*index.shape, entity.size(1))
                index = index.flatten()
                chosen = u.index_select(0, index).view(shape)
                at = c[rows].unsqueeze(2).expand(shape)
                x = combined(chosen, at, combine).flatten(0, 2)
                h = linear(x, w1, b1, relu=True)
                out = linear(h, w2, b2).to(exact).view(*shape[:-1], size)
                if combine == 'residual':
                    out += entity[:, size:].index_select(0, index).view(out.shape)

                loss, d_factor = _contrast(
                    out,
                    None if left_out is None else left_out[rows],
                    None if row_weight is None else row_weight[rows],
                    temperature,
                    variant,
                )
                total += loss
                d_factor = d_factor.flatten(0, 2)
                d_bias += d_factor.sum(0)
                d_out = d_factor.to(dtype)
                d_weight += transposed_product(d_out, h)
                d_hidden = linear(d_out, w2.t())
                torch.ops.aten.threshold_backward.grad_input(
                    d_hidden, h, 0, grad_input=d_hidden
                )
                d_hidden_bias += d_hidden.sum(0)
                d_hidden_weight += transposed_product(x, d_hidden).t()
                d_x = linear(d_hidden, w1.t()).view(*shape[:-1], -1)
                d_chosen, d_at = _separated(d_x, chosen, at, combine)
                d_chosen = d_chosen.flatten(0, 2).to(exact)
                if combine == 'residual':
                    d_chosen[:, size:] += d_factor
                d_entity.index_add_(0, index, d_chosen)
                d_place[rows] = d_at.sum(2)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return (*(grad * grad_output for grad in ctx.saved_tensors), *[None] * 7)


def fused_contrastive_sum(
    entity: Tensor,
    place: Tensor,
    candidates: Tensor,
    layers: Layers,
    temperature: float,
    variant: str,
    left_out: Tensor | None = None,
    row_weight: Tensor | None = None,
    block_size: int = 32,
) -> Tensor:
    """Sums the contrastive loss over rows. First derivatives only.

    Under autocast the matrix products take its dtype; sums and similarities do not.

    Args:
        entity: The readouts of users or items, of shape :math:`(B, F)`.
        place: The two contexts of each row, of shape :math:`(A, 2, F)`.
        candidates: In each context, the entity of the row and those of its negatives, of
            shape :math:`(A, 2, 1 + L)`.
        layers: The generator of intrinsic factors.
        temperature: What similarities are divided by.
        variant: As in :class:`ContextInvariantContrastiveLoss`.
        left_out: Which negatives do not count, of shape :math:`(A, 2, L)`.
        row_weight: What each row's loss is multiplied by, of shape :math:`(A)`.
        block_size: The number of rows of a block.
    """
    *tensors, combine = layers
    if torch.is_autocast_enabled(entity.device.type) and entity.element_size() == 2:
        entity, place = entity.float(), place.float()
    num_rows = candidates.size(0)
    block_size = max(1, min(block_size, num_rows))
    if missing := -num_rows % block_size:
        # Rows that count nothing: kernels are compiled anew for every size of a block.
        if row_weight is None:
            row_weight = entity.new_ones(num_rows)
        row_weight = F.pad(row_weight, (0, missing))
        place = F.pad(place, (0, 0, 0, 0, 0, missing))
        candidates = F.pad(candidates, (0, 0, 0, 0, 0, missing))
        if left_out is not None:
            left_out = F.pad(left_out, (0, 0, 0, 0, 0, missing))
    out: Tensor = _FusedContrastiveSum.apply(  # type: ignore[no-untyped-call]
        entity,
        place,
        *tensors,
        candidates,
        left_out,
        row_weight,
        combine,
        temperature,
        variant,
        block_size,
    )
    return out
