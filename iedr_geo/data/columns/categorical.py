"""Categories as features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from iedr_geo.data.columns.cells import tokens
from iedr_geo.data.columns.column import MISSING, RESERVED, UNKNOWN, Column, Nodes
from iedr_geo.data.warning import warn_caller

_LIKE_MISSING = {'', 'NA', 'N/A', '<NA>', 'NaN', 'nan', 'NULL', 'null', 'None'}


@dataclass(frozen=True)
class Categorical(Column):
    """A column with one category a row: one node.

    Args:
        column: The column.
        min_count: Values that fewer rows of the log have are unknown, as are those that
            are new. Without a log, the rows of the table count.
    """

    min_count: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.min_count, int) or self.min_count < 1:
            raise ValueError(
                f"`min_count` of '{self.name}' must be at least 1 (got "
                f'{self.min_count}), and an int'
            )

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the sorted distinct values."""
        codes, values = tokens(column)
        if (codes < 0).any() and (texts := _LIKE_MISSING.intersection(values)):
            warn_caller(
                f"Column '{self.name}' has missing cells, and beside them the text "
                f"'{min(texts)}', which is a value like any other: replace it by None if "
                f'it means that there is none'
            )
        if self.min_count == 1:  # Those of rows that the log does not have as well.
            return sorted(values)
        present = codes >= 0
        counts = np.bincount(
            codes[present], None if weight is None else weight[present], len(values)
        )
        return sorted(np.array(values, dtype=object)[counts >= self.min_count])

    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Looks each value up; values that were not fitted are unknown."""
        codes, texts = tokens(column)
        known = {value: RESERVED + i for i, value in enumerate(values)}
        rows = [*(known.get(text, UNKNOWN) for text in texts), MISSING]
        return Nodes(np.array(rows)[codes])  # Code -1 reads the last entry.
