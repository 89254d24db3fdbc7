"""Numbers as features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from iedr_geo.data.columns.cells import check_rows, to_numbers
from iedr_geo.data.columns.column import MISSING, RESERVED, Column, Nodes


def finite_numbers(column: pd.Series) -> np.ndarray:
    """Returns the numbers of a column, NaN where one is missing.

    Raises:
        ValueError: If a cell is no number, or none that a node can have.
    """
    name = column.name
    if column.dtype.kind in 'Mm':
        raise ValueError(
            f"Column '{name}' is declared a number, but holds times: use "
            f"DateTime('{name}', 'hour') or another part of them"
        )
    try:
        numbers = to_numbers(column)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Column '{name}' is declared a number, but holds other values: {error}"
        ) from None
    largest = float(np.finfo(np.float32).max)  # What a node's value can be.
    too_large = f"Column '{name}' holds numbers beyond {largest:.1e}"
    check_rows(np.abs(numbers) > largest, too_large)
    return numbers


@dataclass(frozen=True)
class Numerical(Column):
    r"""A number: one node, whose embedding is the number times the field's embedding.

    The :math:`\mathbf{u}_i = x_i \mathbf{v}_i` of Section 6.3.1 of the IEDR paper.
    Numbers enter as they are: bring them to a scale near one beforehand, or use
    :class:`Bucketized`.

    Args:
        column: The column.
    """

    is_number: ClassVar[bool] = True

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Checks the numbers; the field has a single row."""
        finite_numbers(column)
        return [self.name]

    def labels(self, values: list[str]) -> list[str]:
        """Returns that there is a number: the field has one row for all of them."""
        return ['<number>']

    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Returns the numbers as the nodes' values."""
        numbers = finite_numbers(column)
        missing = np.isnan(numbers)
        code = np.where(missing, MISSING, RESERVED)
        return Nodes(code, np.where(missing, 1.0, numbers))
