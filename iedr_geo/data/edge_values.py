"""Values of edges: what users thought of their items."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.columns.cells import check_rows, to_numbers

REPEATED_VALUES = ('last', 'error')


def parse_values(column: pd.Series) -> Tensor:
    """Returns a column of numbers, none of which may be missing."""
    try:
        values = to_numbers(column)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Column '{column.name}' must hold numbers: {error}") from None
    check_rows(~np.isfinite(values), f"Column '{column.name}' has no finite number")
    return torch.from_numpy(values.astype(np.float32))


def edge_values(value: Tensor, edge: Tensor, repeated: str) -> Tensor:
    """Returns the value of each edge.

    Args:
        value: The value of each interaction, of shape :math:`(R)`.
        edge: The edge of each interaction, all of which have one, of shape :math:`(R)`.
        repeated: The value of an edge of several interactions: :obj:`'last'`, that of
            the last one, or :obj:`'error'`, if their values differ.
    """
    if value.shape != edge.shape:
        raise ValueError(
            f'`value` must be of shape {tuple(edge.shape)} (got {tuple(value.shape)})'
        )
    if repeated not in REPEATED_VALUES:
        raise ValueError(f"`repeated_value` is 'last' or 'error' (got {repeated!r})")
    value = value if value.is_floating_point() else value.float()
    wrong = ~value.isfinite()
    if wrong.any():
        raise ValueError(
            f'`value` is not finite in row {int(wrong.nonzero()[0])} '
            f'({int(wrong.sum())} rows in all)'
        )
    row = torch.arange(len(edge), device=edge.device)
    last = row.new_zeros(int(edge.max()) + 1 if len(edge) else 0)
    last = last.scatter_reduce(0, edge, row, 'amax')
    kept = value[last]
    if repeated == 'error':
        other = (kept[edge] != value).nonzero().view(-1)
        if len(other):
            first = int(other[0])
            raise ValueError(
                f'A pair of user and item comes with several values, among them '
                f'{float(value[first])} in row {first} and {float(kept[edge[first]])} in '
                f"row {int(last[edge[first]])}: repeated_value='last' takes the last one"
            )
    return kept
