"""Labels of items: which of some categories each one has."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.arguments import check_type
from iedr_geo.data.columns import MultiCategorical
from iedr_geo.data.columns.column import RESERVED
from iedr_geo.data.tables import check_columns


def check_labels(
    labels: Tensor | None, names: Sequence[str], num_items: int
) -> tuple[str, ...]:
    """Returns the names of labels, or raises an error if these do not fit the items."""
    if labels is None:
        if names:
            raise ValueError('There are `label_names`, but no `item_labels`')
        return ()
    if labels.dtype != torch.bool or labels.dim() != 2 or len(labels) != num_items:
        raise ValueError(
            f'`item_labels` must be boolean, of shape ({num_items}, C) (got '
            f'{labels.dtype} of shape {tuple(labels.shape)})'
        )
    names = tuple(names) or tuple(map(str, range(labels.size(1))))
    if len(names) != labels.size(1):
        raise ValueError(
            f'There are {labels.size(1)} labels of items, but {len(names)} `label_names`'
        )
    return names


def multi_hot(
    column: MultiCategorical | None, items: pd.DataFrame | None
) -> tuple[Tensor | None, tuple[str, ...]]:
    """Returns which of its values each row of a table has, and the values; nothing where
    no column is given.

    A row without values has none of them, nor has one any of those that
    :obj:`min_count` leaves out.
    """
    if column is None:
        return None, ()
    check_type(column, 'item_labels', MultiCategorical)
    if items is None:
        raise ValueError(
            f"The labels of items are in column '{column.name}' of the item table: pass "
            f'`items`'
        )
    check_columns(items, [column.column], 'item')
    values = column.fit(items[column.column])
    nodes = column.encode(items[column.column], values)
    labels = torch.zeros(len(items), RESERVED + len(values), dtype=torch.bool)
    labels[torch.from_numpy(nodes.row), torch.from_numpy(nodes.code)] = True
    return labels[:, RESERVED:].contiguous(), tuple(column.labels(values))
