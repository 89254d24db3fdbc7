"""Numbers as features."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd

from iedr_geo.data.columns.cells import check_rows, to_numbers
from iedr_geo.data.columns.column import MISSING, RESERVED, Column, Nodes
from iedr_geo.data.warning import warn_caller

LARGE = 10.0  # Numbers beyond it drown the other nodes of a graph.


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
    return _fitting(numbers, name)


def _fitting(numbers: np.ndarray, name: Hashable) -> np.ndarray:
    largest = float(np.finfo(np.float32).max)  # What a node's value can be.
    message = f"Column '{name}' holds numbers beyond {largest:.1e}"
    check_rows(np.abs(numbers) > largest, message)
    return numbers


@dataclass(frozen=True)
class Numerical(Column):
    r"""A number: one node, whose embedding is the number times the field's embedding.

    The :math:`\mathbf{u}_i = x_i \mathbf{v}_i` of Section 6.3.1 of the IEDR paper.
    Numbers enter as they are unless they are standardised, and should be on a scale near
    one: a warning says where they are not.

    Args:
        column: The column.
        standardize: If :obj:`True`, the mean of the fitted rows is taken off each number,
            and what is left is divided by their standard deviation.
    """

    standardize: bool = False
    is_number: ClassVar[bool] = True

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Checks the numbers; the field has a single row, the value of which says what
        numbers are standardised by.
        """
        numbers = finite_numbers(column)
        numbers = numbers[~np.isnan(numbers)]
        if self.standardize:
            if not len(numbers):
                raise ValueError(f"Column '{self.name}' holds no number to fit")
            mean, scale = float(numbers.mean()), float(numbers.std())
            # What is equal differs by rounding from its mean.
            return [f'{mean!r} {scale if scale > 1e-12 * abs(mean) else 1.0!r}']
        size = np.sqrt(np.mean(numbers**2)) if len(numbers) else 1.0
        if size > LARGE or 0 < np.abs(numbers).max(initial=0) < 1e-3:
            warn_caller(
                f"Column '{self.name}' holds numbers of about {size:,.3g}, by which "
                f'embeddings are multiplied: bring them to a scale near one with '
                f"Numerical('{self.name}', standardize=True), or use Bucketized"
            )
        return [self.name]

    def labels(self, values: list[str]) -> list[str]:
        """Returns that there is a number: the field has one row for all of them."""
        return ['<number>']

    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Returns the numbers as the nodes' values."""
        numbers = finite_numbers(column)
        if self.standardize:
            mean, scale = map(float, values[0].split())
            numbers = _fitting((numbers - mean) / scale, self.name)
        missing = np.isnan(numbers)
        code = np.where(missing, MISSING, RESERVED)
        return Nodes(code, np.where(missing, 1.0, numbers))
