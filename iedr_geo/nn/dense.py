"""Matrix products and networks of two layers, as fast as the CPU allows.

For float32, torch multiplies matrices by MKL. On AVX-512 the products of oneDNN, which
torch carries for other types, take half the time where one side is 32 wide. They are
used where the build and the CPU have them; elsewhere torch's own are.

oneDNN compiles a kernel for every shape it meets, which takes longer than the product. So
rows, whose number changes from batch to batch, are taken in blocks of one size that fits
into the cache, and the last of them is rounded up.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.blocks import blocks

_ONEDNN = {torch.float32: False, torch.bfloat16: False}
if torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, '_linear_pointwise'
):
    _ONEDNN = {
        torch.float32: torch.backends.cpu.get_cpu_capability() == 'AVX512',
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    relu: bool = False,
    finite: bool = False,
) -> Tensor:
    """Returns what :func:`torch.nn.functional.linear` does, and its ReLU if wanted.

    Has no gradient.

    Args:
        x: Of shape :math:`(N, F)`.
        weight: Of shape :math:`(H, F)`.
        bias: Of shape :math:`(H)`.
        relu: Whether the ReLU is wanted.
        finite: Whether the caller knows that no product is NaN. Saves time alone.
    """
    if x.is_cpu and _ONEDNN.get(x.dtype, False) and x.numel() > 0:
        # It takes any layout of the matrices, but reads the bias as if it had none. Its
        # own ReLU would make zeros of NaNs.
        bias = None if bias is None else bias.contiguous()
        fused = 'relu' if relu and finite else 'none'
        out = torch.ops.mkldnn._linear_pointwise(x, weight, bias, fused, [], '')
        return out.relu_() if relu and not finite else out
    out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


def transposed_product(narrow: Tensor, wide: Tensor) -> Tensor:
    """Returns :obj:`narrow.t() @ wide`. Has no gradient."""
    if narrow.dtype == torch.float32:
        return linear(narrow.t(), wide.t())
    return narrow.t() @ wide


BLOCK, PART = 2048, 256  # Rows.


def _rounded_up(x: Tensor) -> Tensor:
    missing = -x.size(0) % PART
    return F.pad(x, (0, 0, 0, missing)) if missing else x.contiguous()


class _TwoLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
    ) -> Tensor:
        ctx.save_for_backward(x, w1, b1, w2)
        out = x.new_empty(x.size(0), w2.size(0))
        for rows in blocks(x.size(0), BLOCK):
            hidden = linear(_rounded_up(x[rows]), w1, b1, relu=True)
            out[rows] = linear(hidden, w2, b2)[: rows.stop - rows.start]
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, b1, w2 = ctx.saved_tensors
        need_x, *need_parameters = ctx.needs_input_grad
        d_x = torch.empty_like(x) if need_x else None
        d_w1, d_w2 = (torch.zeros_like(w, dtype=torch.float32) for w in (w1, w2))
        d_b1, d_b2 = (w.new_zeros(w.size(0), dtype=torch.float32) for w in (w1, w2))
        for rows in blocks(x.size(0), BLOCK):
            # The hidden layer again: less work than to write it and to read it back.
            part, d_out = _rounded_up(x[rows]), _rounded_up(grad[rows])
            hidden = linear(part, w1, b1, relu=True)
            d_hidden = linear(d_out, w2.t())
            torch.ops.aten.threshold_backward.grad_input(
                d_hidden, hidden, 0, grad_input=d_hidden
            )
            if d_x is not None:
                d_x[rows] = linear(d_hidden, w1.t())[: rows.stop - rows.start]
            if any(need_parameters):
                d_w1 += transposed_product(part, d_hidden).t()
                d_w2 += transposed_product(d_out, hidden)
                d_b1 += d_hidden.sum(0)
                d_b2 += d_out.sum(0)
        if not any(need_parameters):
            return d_x, None, None, None, None
        return d_x, *(d.to(x.dtype) for d in (d_w1, d_b1, d_w2, d_b2))


def two_layers(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    r"""Returns :math:`\mathbf{W}_2 \, \mathrm{ReLU}(\mathbf{W}_1 \mathbf{x} +
    \mathbf{b}_1) + \mathbf{b}_2`, of which first derivatives can be taken.

    Args:
        x: Of shape :math:`(N, F)`.
        w1: Of shape :math:`(H, F)`.
        b1: Of shape :math:`(H)`.
        w2: Of shape :math:`(F', H)`.
        b2: Of shape :math:`(F')`.
    """
    tensors = [x, w1, b1, w2, b2]
    if torch.is_autocast_enabled(x.device.type):
        low = torch.get_autocast_dtype(x.device.type)
        tensors = [t.to(low) if t.dtype == torch.float32 else t for t in tensors]
    dtype = tensors[0].dtype
    agree = all(t.dtype == dtype for t in tensors)
    exported = torch.compiler.is_compiling() or torch.compiler.is_exporting()
    fast = x.is_cpu and x.dim() == 2 and agree and _ONEDNN.get(dtype, False)
    if fast and not exported:  # Elsewhere, the private operators do not exist.
        out: Tensor = _TwoLayers.apply(*tensors)  # type: ignore[no-untyped-call]
        return out
    return F.linear(F.linear(x, w1, b1).relu(), w2, b2)


def parameters_of(mlp: MLP) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns weights and biases of an MLP of two layers."""
    first, second = mlp.lins
    return first.weight, first.bias, second.weight, second.bias
