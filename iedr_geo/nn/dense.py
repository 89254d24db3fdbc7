"""Matrix products and networks of two layers, as fast as the CPU allows.

For float32, torch multiplies matrices by MKL. On AVX-512 the products of oneDNN, which
torch carries for other types, take half the time where one side is 32 wide. They are
used where the build and the CPU have them; elsewhere torch's own are.

oneDNN compiles a kernel for every shape it meets, which takes longer than the product. So
the number of rows, which changes from batch to batch, is rounded up here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MLP

_ONEDNN = {torch.float32: False, torch.bfloat16: False}
if torch.backends.mkldnn.is_available() and hasattr(
    torch.ops.mkldnn, '_linear_pointwise'
):
    _ONEDNN = {
        torch.float32: torch.backends.cpu.get_cpu_capability() == 'AVX512',
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, relu: bool = False
) -> Tensor:
    """Returns what :func:`torch.nn.functional.linear` does, and its ReLU if wanted.

    Has no gradient.
    """
    if x.is_cpu and _ONEDNN.get(x.dtype, False) and x.numel() > 0:
        name = 'relu' if relu else 'none'
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], '')
        return out
    out = F.linear(x, weight, bias)
    return out.relu_() if relu else out


def transposed_product(narrow: Tensor, wide: Tensor) -> Tensor:
    """Returns :obj:`narrow.t() @ wide`. Has no gradient."""
    if narrow.dtype == torch.float32:
        return linear(narrow.t(), wide.t())
    return narrow.t() @ wide


def _rounded_up(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 0, -x.size(0) % 256))


class _TwoLayers(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor
    ) -> Tensor:
        num_rows = x.size(0)
        x = _rounded_up(x)
        hidden = linear(x, w1, b1, relu=True)
        ctx.save_for_backward(x, hidden, w1, w2)
        return linear(hidden, w2, b2)[:num_rows]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, hidden, w1, w2 = ctx.saved_tensors
        need_x, *need_parameters = ctx.needs_input_grad
        num_rows = grad.size(0)
        grad = _rounded_up(grad)
        d_hidden = linear(grad, w2.t())
        torch.ops.aten.threshold_backward.grad_input(
            d_hidden, hidden, 0, grad_input=d_hidden
        )
        d_x = linear(d_hidden, w1.t())[:num_rows] if need_x else None
        if not any(need_parameters):
            return d_x, None, None, None, None
        return (
            d_x,
            transposed_product(x, d_hidden).t(),
            d_hidden.sum(0),
            transposed_product(grad, hidden),
            grad.sum(0),
        )


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
    dtype = x.dtype
    if torch.is_autocast_enabled(x.device.type) and dtype == torch.float32:
        dtype = torch.get_autocast_dtype(x.device.type)
    if x.is_cpu and x.dim() == 2 and _ONEDNN.get(dtype, False):
        out: Tensor = _TwoLayers.apply(  # type: ignore[no-untyped-call]
            *(t.to(dtype) for t in (x, w1, b1, w2, b2))
        )
        return out
    return F.linear(F.linear(x, w1, b1).relu(), w2, b2)


def parameters_of(mlp: MLP) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns weights and biases of an MLP of two layers."""
    first, second = mlp.lins
    return first.weight, first.bias, second.weight, second.bias
