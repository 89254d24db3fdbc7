"""Categories as features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from iedr_geo.data.columns.cells import tokens
from iedr_geo.data.columns.column import MISSING, UNKNOWN, Column, Nodes


def check_count(name: str, min_count: int) -> None:
    """Raises an error if rare values cannot be told by a count."""
    if not isinstance(min_count, int) or min_count < 1:
        raise ValueError(
            f"`min_count` of '{name}' must be at least 1 (got {min_count}), and an int"
        )


def frequent(
    column: pd.Series, weight: np.ndarray | None, rows: np.ndarray, min_count: int
) -> list[str]:
    """Returns the sorted values of a column that enough rows have."""
    codes, values = tokens(column)
    known = codes >= 0
    counts = np.ones(len(rows)) if weight is None else weight[rows]
    total = np.bincount(codes[known], counts[known], minlength=len(values))
    # Different cells can mean the same: 1 and '1'.
    sums = pd.Series(total, index=pd.Index(values, dtype=object)).groupby(level=0).sum()
    return sorted(sums.index[sums >= (min_count if min_count > 1 else 0)])


@dataclass(frozen=True)
class Categorical(Column):
    """A column with one category a row: one node.

    Args:
        name: The column.
        min_count: Values that fewer rows of the log have are unknown, as are those that
            are new. Without a log, the rows of the table count.
    """

    name: str
    min_count: int = 1
    kind: ClassVar[str] = 'categorical'

    def __post_init__(self) -> None:
        check_count(self.name, self.min_count)

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the sorted distinct values."""
        return frequent(column, weight, np.arange(len(column)), self.min_count)

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Looks each value up; values not in the vocabulary are unknown."""
        codes, values = tokens(column)
        known = [vocabulary.get(value, UNKNOWN) for value in values]
        lookup = np.array([*known, MISSING])  # Code -1 reads the last entry.
        return Nodes(np.arange(len(column)), lookup[codes], np.ones(len(column)))

    def key(self, column: pd.Series, vocabulary: Mapping[str, int]) -> pd.Series:
        """Returns a number for each value."""
        return pd.Series(tokens(column)[0], column.index)
