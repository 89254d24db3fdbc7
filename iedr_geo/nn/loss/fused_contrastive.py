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
from iedr_geo.nn.loss.similarity import Contrast, cross_entropy_and_gradient


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


def _contrast(factor: Tensor, contrast: Contrast) -> tuple[Tensor, Tensor]:
    """Returns the loss of factors of shape :math:`(A, 2, 1 + L, F)`, and its gradient.

    In each of the two contexts, the first factor is the row's own.
    """
    _, left_out, row_weight, temperature, variant = contrast
    norm = torch.linalg.vector_norm(factor, dim=-1, keepdim=True).clamp_min_(1e-8)
    unit = factor / norm
    own = unit[:, :, 0]
    cosine = (unit @ own.unsqueeze(-1)).squeeze(-1)
    # Instead of each own factor's cosine with itself, that of the positive pair.
    logits = cosine / temperature
    logits[:, 0, 0] = (own[:, 0] * own[:, 1]).sum(-1) / temperature
    logits[:, 1, 0] = -torch.inf
    if left_out is not None:
        logits[:, :, 1:].masked_fill_(left_out, -torch.inf)
    losses, d_logits = cross_entropy_and_gradient(logits.flatten(1), variant)
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
        combine: str,
        contrast: Contrast,
        block_size: int,
        entity: Tensor,
        *inputs: Tensor,
    ) -> Tensor:
        kind = entity.device.type
        exact = dtype = entity.dtype
        if torch.is_autocast_enabled(kind) and exact == torch.float32:
            dtype = torch.get_autocast_dtype(kind)
        inputs = (entity, *inputs)
        with torch.autocast(kind, enabled=False):
            grads = [torch.zeros_like(t) for t in inputs]
            total = entity.new_zeros(())
            d_u, d_c, d_w1, d_b1, d_w2, d_b2 = grads
            u, c, w1, b1, w2, b2 = (t.to(dtype) for t in inputs)
            size = w2.size(0)
            for rows in blocks(c.size(0), block_size):
                block = contrast.block(rows)
                index = block.candidates
                shape = (*index.shape, entity.size(1))
                index = index.flatten()
                chosen = u.index_select(0, index).view(shape)
                at = c[rows].unsqueeze(2).expand(shape)
                x = combined(chosen, at, combine).flatten(0, 2)
                h = linear(x, w1, b1, relu=True)
                out = linear(h, w2, b2).to(exact).view(*shape[:-1], size)
                if combine == 'residual':
                    out += entity[:, size:].index_select(0, index).view(out.shape)

                loss, d_factor = _contrast(out, block)
                total += loss
                d_factor = d_factor.flatten(0, 2)
                d_b2 += d_factor.sum(0)
                d_out = d_factor.to(dtype)
                d_w2 += transposed_product(d_out, h)
                d_hidden = linear(d_out, w2.t())
                torch.ops.aten.threshold_backward.grad_input(
                    d_hidden, h, 0, grad_input=d_hidden
                )
                d_b1 += d_hidden.sum(0)
                d_w1 += transposed_product(x, d_hidden).t()
                d_x = linear(d_hidden, w1.t()).view(*shape[:-1], -1)
                d_chosen, d_at = _separated(d_x, chosen, at, combine)
                d_chosen = d_chosen.flatten(0, 2).to(exact)
                if combine == 'residual':
                    d_chosen[:, size:] += d_factor
                d_u.index_add_(0, index, d_chosen)
                d_c[rows] = d_at.sum(2)
        ctx.save_for_backward(*grads)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, *(grad * grad_output for grad in ctx.saved_tensors))


def fused_contrastive_sum(
    entity: Tensor,
    contexts: Tensor,
    layers: Layers,
    contrast: Contrast,
    block_size: int,
) -> Tensor:
    """Sums the contrastive loss over rows. First derivatives only.

    Under autocast the matrix products take its dtype; sums and similarities do not.

    Args:
        entity: The readouts of users or items, of shape :math:`(B, F)`.
        contexts: The two contexts of each row, of shape :math:`(A, 2, F)`.
        layers: The generator of intrinsic factors.
        contrast: The rows that are compared.
        block_size: The number of rows of a block.
    """
    *tensors, combine = layers
    if torch.is_autocast_enabled(entity.device.type) and entity.element_size() == 2:
        entity, contexts = entity.float(), contexts.float()
    num_rows = len(contexts)
    block_size = max(1, min(block_size, num_rows))
    if missing := -num_rows % block_size:
        # Rows that count nothing: kernels are compiled anew for every size of a block.
        padding = (0, 0, 0, 0, 0, missing)
        contexts = F.pad(contexts, padding)
        left_out = contrast.left_out
        contrast = contrast._replace(
            candidates=F.pad(contrast.candidates, padding),
            left_out=None if left_out is None else F.pad(left_out, padding),
            row_weight=F.pad(contrast.row_weight, (0, missing)),
        )
    out: Tensor = _FusedContrastiveSum.apply(  # type: ignore[no-untyped-call]
        combine, contrast, block_size, entity, contexts, *tensors
    )
    return out
