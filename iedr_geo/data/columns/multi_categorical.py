"""Any number of categories as features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like

from iedr_geo.data.columns.categorical import Categorical
from iedr_geo.data.columns.cells import token
from iedr_geo.data.columns.column import RESERVED, Column, Nodes


@dataclass(frozen=True)
class MultiCategorical(Column):
    """A column with any number of categories a row: one node for each of them.

    An empty list or text is a missing value and has the field's missing node.
    A value that a row repeats is one node. The order within a cell means nothing: nodes
    are in that of the field's values.

    Args:
        column: The column. It holds lists (tuples, sets, arrays), or text that
            :obj:`separator` splits.
        separator: The text between the values of a cell, *e.g.*, :obj:`'|'`.
        min_count: As in :class:`Categorical`.
    """

    separator: str | None = None
    min_count: int = 1

    def __post_init__(self) -> None:
        _ = self._one  # Checks `min_count`.
        separator = self.separator
        if separator is not None and not (isinstance(separator, str) and separator):
            raise ValueError(
                f"`separator` of '{self.name}' must be text (got {separator!r})"
            )

    @property
    def _one(self) -> Categorical:
        return Categorical(self.column, self.min_count)

    @property
    def _where(self) -> str:
        return f"Column '{self.name}'"

    def _list(self, cell: Any) -> Sequence[Any]:
        """Returns the values of a cell."""
        if isinstance(cell, str) and self.separator is not None:
            return cell.split(self.separator)
        if isinstance(cell, (list, tuple)):
            return cell
        if isinstance(cell, Mapping):
            raise ValueError(
                f"Column '{self.name}' holds mappings where lists belong: {cell!r}"
            )
        if is_list_like(cell):
            return list(cell)
        if self.separator is None:
            raise ValueError(
                f"Column '{self.name}' holds text or single values, not lists: pass "
                f'`separator` to MultiCategorical, or use Categorical'
            )
        return token(cell, self._where).split(self.separator)

    def _text(self, value: Any) -> str | None:
        if is_list_like(value):
            raise ValueError(
                f"Column '{self.name}' holds lists in lists, among them: {value!r}"
            )
        value = value.strip() if isinstance(value, str) else value
        return token(value, self._where) or None

    def _explode(self, column: pd.Series) -> pd.Series:
        """Returns a row for each distinct value of a cell, or for that it has none."""
        cells = column.reset_index(drop=True).astype(object)
        values = cells.map(self._list, na_action='ignore').explode()
        text = lru_cache(None, typed=True)(self._text)  # To Python, True equals 1.
        try:
            values = values.map(text, na_action='ignore')
        except TypeError:  # What is not hashable, which is refused here.
            values = values.map(self._text, na_action='ignore')
        some = values.notna().to_numpy()
        kept = some | ~np.isin(values.index, values.index[some])
        return values[kept & ~values.reset_index().duplicated().to_numpy()]

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the sorted distinct values over all rows."""
        cells = self._explode(column)
        return self._one.fit(cells, None if weight is None else weight[cells.index])

    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Looks each value of each row up."""
        cells = self._explode(column)
        code, row = self._one.encode(cells, values).code, cells.index.to_numpy()
        order = np.argsort(row * (RESERVED + len(values)) + code, kind='stable')
        return Nodes(code[order], row=row[order])
