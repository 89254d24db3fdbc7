"""What the nodes of a column are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

UNKNOWN = 0
MISSING = 1
RESERVED = 2  # Rows of every field before its values: unknown and missing.


class Nodes(NamedTuple):
    """The nodes of one field.

    Args:
        row: The row of the table that each node is of.
        code: Its row in the field.
        value: The factor of its embedding.
        vector: The vector of each node that has one, in their order.
    """

    row: np.ndarray
    code: np.ndarray
    value: np.ndarray
    vector: np.ndarray | None = None


class Column(ABC):
    """What the nodes of one field are made of."""

    name: str
    """The field."""
    kind: ClassVar[str]
    is_number: ClassVar[bool] = False
    """Whether rows of the field are scaled by numbers rather than values of their own."""

    @property
    def column(self) -> str:
        """The column of the table that the field is made of."""
        return self.name

    @abstractmethod
    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the values of the field.

        Args:
            column: The column.
            weight: How often each row counts (default: once).
        """

    @abstractmethod
    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Returns the nodes of a column.

        Args:
            column: The column.
            vocabulary: The row of each value in the field.
        """

    def key(self, column: pd.Series, vocabulary: Mapping[str, int]) -> pd.Series:
        """Returns what of each cell makes a difference: equal keys have equal nodes."""
        return column

    def labels(self, values: list[str]) -> list[str]:
        """Returns what people are to read in the place of each value of the field."""
        return values
