"""Matrix products as fast as the CPU allows, and networks of two layers.

For float32, torch multiplies matrices by MKL. On AVX-512 the products of oneDNN, which
torch carries for other types, are faster where one side is 32 wide, as those of a scorer
are. They are used where the build and the CPU have them; elsewhere torch's own are.

oneDNN compiles a kernel for every shape it meets, which takes longer than the product:
callers keep to few shapes.
"""

from __future__ import annotations

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
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    relu: bool = False,
    finite: bool = False,
) -> Tensor:
    """Returns what :func:`torch.nn.functional.linear` does, or its ReLU.

    Has no gradient.

    Args:
        x: Of shape :math:`(N, F)`.
        weight: Of shape :math:`(H, F)`.
        bias: Of shape :math:`(H)`.
        relu: If :obj:`True`, the ReLU of it is returned.
        finite: If :obj:`True`, the caller knows that no product is NaN. Saves time alone.
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


def two_layers(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    r"""Returns :math:`\mathbf{W}_2 \, \mathrm{ReLU}(\mathbf{W}_1 \mathbf{x} +
    \mathbf{b}_1) + \mathbf{b}_2`.

    Args:
        x: Of shape :math:`(N, F)`.
        w1: Of shape :math:`(H, F)`.
        b1: Of shape :math:`(H)`.
        w2: Of shape :math:`(F', H)`.
        b2: Of shape :math:`(F')`.
    """
    return F.linear(F.linear(x, w1, b1).relu(), w2, b2)


def parameters_of(mlp: MLP) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns weights and biases of an MLP of two layers."""
    first, second = mlp.lins
    return first.weight, first.bias, second.weight, second.bias
