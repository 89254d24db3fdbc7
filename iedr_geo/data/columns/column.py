"""The conduct that all types of columns share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd

UNKNOWN = 0
MISSING = 1
RESERVED = 2  # Rows of every field before its values: unknown and missing.


class Nodes(NamedTuple):
    """The nodes of one field, sorted by the row of the table that they are of.

    Args:
        code: The row of each node in the field.
        value: The factor of its embedding. :obj:`None` if all are one.
        row: The row of the table that it is of. :obj:`None` if each has one node.
        vector: The vector of each node that has one, in their order.
    """

    code: np.ndarray
    value: np.ndarray | None = None
    row: np.ndarray | None = None
    vector: np.ndarray | None = None


@dataclass(frozen=True)
class Column(ABC):
    """The base class of the types of columns, each of which makes nodes of cells.

    Args:
        column: The column of the table.
    """

    column: str
    is_number: ClassVar[bool] = False
    """If :obj:`True`, embeddings of the field are multiplied by numbers, and stand for
    no values of their own."""

    @property
    def name(self) -> str:
        """The field."""
        return self.column

    @abstractmethod
    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the values of the field.

        Args:
            column: The column.
            weight: The weight of each row (default: once).
        """

    @abstractmethod
    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Returns the nodes of a column.

        Args:
            column: The column.
            values: The values of the field, as :meth:`fit` returned them.
        """

    def labels(self, values: list[str]) -> list[str]:
        """Returns what people are to read in the place of each value of the field."""
        return values
