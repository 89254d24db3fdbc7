"""Any number of categories as features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like

from iedr_geo.data.columns.categorical import Categorical, check_count, frequent
from iedr_geo.data.columns.cells import token
from iedr_geo.data.columns.column import Column, Nodes


@dataclass(frozen=True)
class MultiCategorical(Column):
    """A column with any number of categories a row: one node for each of them.

    An empty list or text is a missing value and has the field's missing node.
    A value that a row repeats is one node.

    Args:
        name: The column. It holds lists (tuples, sets, arrays), or text that
            :obj:`separator` splits.
        separator: What separates the values of a text, *e.g.*, :obj:`'|'`.
        min_count: As in :class:`Categorical`.
    """

    name: str
    separator: str | None = None
    min_count: int = 1
    kind: ClassVar[str] = 'multi_categorical'

    def __post_init__(self) -> None:
        check_count(self.name, self.min_count)
        if self.separator is not None and not (
            isinstance(self.separator, str) and self.separator
        ):
            raise ValueError(
                f"`separator` of '{self.name}' must be text (got {self.separator!r})"
            )

    def _split(self, cell: Any) -> Any:
        if isinstance(cell, Mapping):
            raise ValueError(
                f"Column '{self.name}' holds mappings where lists belong: {cell!r}"
            )
        if isinstance(cell, (set, frozenset)):
            return sorted(cell, key=token)  # Sets of text change order between runs.
        if self.separator is not None and not is_list_like(cell):
            return token(cell).split(self.separator)
        return cell

    def _text(self, value: Any) -> str:
        if is_list_like(value):
            raise ValueError(
                f"Column '{self.name}' holds lists in lists, among them: {value!r}"
            )
        return token(value).strip()

    def _explode(self, column: pd.Series) -> pd.Series:
        column = column.reset_index(drop=True).astype(object)
        filled = column.dropna()
        if self.separator is None and not filled.map(is_list_like).all():
            raise ValueError(
                f"Column '{self.name}' holds text or single values, not lists: pass "
                f'`separator` to MultiCategorical, or use Categorical'
            )
        values = column.map(self._split, na_action='ignore').explode()
        text = values.map(self._text, na_action='ignore')
        values = text.mask(text == '')
        # A row keeps its missing marker only if nothing else is left in it.
        some = values.notna().groupby(level=0).transform('any')
        values = values[values.notna() | ~some]
        return values[~(values.reset_index().duplicated().to_numpy())]

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the sorted distinct values over all rows."""
        values = self._explode(column)
        return frequent(values, weight, values.index.to_numpy(), self.min_count)

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Looks each value of each row up."""
        values = self._explode(column)
        nodes = Categorical(self.name).encode(values, vocabulary)
        return nodes._replace(row=values.index.to_numpy())
