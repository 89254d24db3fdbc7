"""Rows of different lengths as few dense blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.utils import cumsum

LEVELS = 64  # Lengths of up to 2^63 elements.


class PaddedRows:
    """The elements of rows, padded in blocks of rows that are about as long.

    The rows of a block are at most twice as long as each other, and padded to the longest
    of them: so dense products cost at most twice what the elements alone would, however
    the lengths are distributed.

    Args:
        row: The row of each element, sorted, of shape :math:`(E)`.
        num_rows: The number of rows :math:`B`, some of which may be empty.
    """

    def __init__(self, row: Tensor, num_rows: int) -> None:
        # On a device, `bincount` would wait for the largest number.
        self.length = length = _count(row, num_rows)
        """The number of elements of each row, of shape :math:`(B)`."""
        begin = cumsum(length)[:-1]
        level = length.clamp(min=1).double().log2().ceil().long()
        longest = length.new_zeros(LEVELS).scatter_reduce(0, level, length, 'amax')
        sizes = torch.stack([_count(level, LEVELS), longest])
        order = level.argsort(stable=True)
        self.inverse = torch.empty_like(order)
        self.inverse[order] = torch.arange(num_rows, device=row.device)
        self.blocks: list[tuple[Tensor, Tensor]] = []
        """The elements of each block of rows, and where there are any, ``(b, w)``."""
        size, width = sizes.tolist()  # All that is read from the device.
        kept = [level for level, number in enumerate(size) if number] or [0]
        self._rows = order.split([size[level] for level in kept])
        widths = [width[level] for level in kept]
        for some, wide in zip(self._rows, widths, strict=True):
            column = torch.arange(wide, device=row.device)
            element = begin[some].unsqueeze(1) + column
            inside = column < length[some].unsqueeze(1)
            self.blocks.append((element.masked_fill(~inside, 0), inside))

    def map(self, function: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        """Returns what a function gives for the rows.

        Args:
            function: Maps the rows of a block, their elements and where there are any, of
                shapes :math:`(b)`, :math:`(b, w)` and :math:`(b, w)`, to a tensor with an
                entry for each row.
        """
        each = zip(self._rows, self.blocks, strict=True)
        parts = [function(some, *block) for some, block in each]
        return torch.cat(parts).index_select(0, self.inverse)

    def aggregate(self, weight: Tensor, x: Tensor, index: Tensor) -> Tensor:
        r"""Returns weighted sums of vectors, over several channels of weights.

        .. math::
            y_{bk} = \sum_{e \in b} w_{ek} \, x_{\text{index}_e}

        Args:
            weight: The weights of each element, of shape :math:`(E, K)`.
            x: Vectors, of shape :math:`(N, F)`.
            index: The vector of each element, of shape :math:`(E)`.

        Returns:
            The sums, of shape :math:`(B, K, F)`.
        """

        def sums(_: Tensor, element: Tensor, inside: Tensor) -> Tensor:
            channels = F.embedding(element, weight) * inside.unsqueeze(-1)
            return channels.transpose(1, 2) @ F.embedding(index[element], x)

        return self.map(sums)


def _count(index: Tensor, size: int) -> Tensor:
    """Returns how often each number comes, of shape :math:`(S)`."""
    return index.new_zeros(size).scatter_add(0, index, torch.ones_like(index))
