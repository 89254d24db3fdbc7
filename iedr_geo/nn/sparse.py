"""Products of a constant sparse matrix with a dense one."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch_geometric.utils.sparse import index2ptr, ptr2index

# Compressed rows are what makes the sum fast, and all that is used of them is stable.
# PyTorch says once in a process that they are in beta: here, where no one listens.
with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), device='cpu', check_invariants=False)


class Compressed(NamedTuple):
    """A sparse matrix in compressed rows. A column may recur in a row."""

    ptr: Tensor
    column: Tensor
    value: Tensor

    def transposed(self, num_columns: int) -> Compressed:
        """Returns the transpose."""
        if self.ptr.is_cpu:  # SciPy counts where torch sorts.
            ptr, column, value = (t.numpy() for t in self)
            shape = ptr.size - 1, num_columns
            matrix = csr_matrix((value, column, ptr), shape=shape).tocsc()
            arrays = matrix.indptr, matrix.indices, matrix.data
            return Compressed(*(torch.from_numpy(array) for array in arrays))
        row = ptr2index(self.ptr, self.column.numel())
        row = row[order := self.column.argsort(stable=True)]
        ptr = index2ptr(self.column[order], num_columns)
        return Compressed(ptr, row, self.value[order])

    def matmul(self, x: Tensor) -> Tensor:
        """Multiplies the matrix with a dense one, in single precision at least."""
        x = x.float() if x.dtype in (torch.bfloat16, torch.half) else x
        matrix = torch.sparse_csr_tensor(
            self.ptr.to(self.column.dtype),
            self.column,
            self.value.to(x.dtype),
            (self.ptr.numel() - 1, x.size(0)),
            check_invariants=False,
        )
        if not x.is_cuda:  # Faster than the product of MKL, but there is none for CUDA.
            return torch.sparse.mm(matrix, x, 'sum')
        with torch.autocast(x.device.type, enabled=False):
            return matrix @ x


class _SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, matrix: Compressed, transposed: Compressed | None
    ) -> Tensor:
        ctx.matrix, ctx.transposed, ctx.size = matrix, transposed, len(x)
        return matrix.matmul(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        transposed = ctx.transposed or ctx.matrix.transposed(ctx.size)
        return transposed.matmul(grad.contiguous()), None, None


def sparse_product(
    x: Tensor, matrix: Compressed, transposed: Compressed | None = None
) -> Tensor:
    """Multiplies a constant sparse matrix with a dense one. First derivatives only.

    Args:
        x: The dense matrix.
        matrix: The sparse matrix.
        transposed: Its transpose, for the gradient (default: made when it is needed).
    """
    out: Tensor = _SparseProduct.apply(x, matrix, transposed)  # type: ignore[no-untyped-call]
    return out


class _LayerSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Compressed, num_layers: int) -> Tensor:
        ctx.matrix, ctx.num_layers = matrix, num_layers
        out = x
        for _ in range(num_layers):  # Horner's rule.
            out = matrix.matmul(out).add_(x)
        return out.clone() if num_layers == 0 else out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        with torch.no_grad():
            out = _LayerSum.forward(ctx, grad.contiguous(), ctx.matrix, ctx.num_layers)
        return out, None, None


def layer_sum(x: Tensor, matrix: Compressed, num_layers: int) -> Tensor:
    r"""Returns :math:`\sum_{l=0}^L \mathbf{A}^l \mathbf{x}` of a symmetric matrix.

    It is symmetric too, so the gradient is the same sum, and no layer is kept for it.

    Args:
        x: The dense matrix.
        matrix: The symmetric matrix :math:`\mathbf{A}`.
        num_layers: The number of products :math:`L`.
    """
    out: Tensor = _LayerSum.apply(x, matrix, num_layers)  # type: ignore[no-untyped-call]
    return out
