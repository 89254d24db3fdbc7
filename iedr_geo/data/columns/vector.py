"""Vectors that were made elsewhere as features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like

from iedr_geo.data.columns.cells import check_rows
from iedr_geo.data.columns.column import MISSING, RESERVED, Column, Nodes


@dataclass(frozen=True)
class Vector(Column):
    r"""A vector that was made elsewhere, *e.g.*, an embedding of a text or an image: one
    node, whose embedding is :math:`\sum_d v_d \mathbf{e}_d` with an embedding for each
    entry of the vector, which is a linear map that is learned.

    Args:
        column: The column. It holds lists, arrays or tensors, all of one length.
        normalize: If :obj:`True`, vectors are brought to length one.
    """

    normalize: bool = True
    is_number: ClassVar[bool] = True

    def _vectors(self, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Returns which rows have a vector, and the vectors."""
        cells = column.astype(object).reset_index(drop=True)
        has = cells.notna().to_numpy()
        cells = cells[has]
        for row, cell in cells.items():
            if not is_list_like(cell):
                raise ValueError(
                    f"Column '{self.name}' must hold vectors: row {row} holds {cell!r}"
                )
        try:
            with np.errstate(over='ignore'):  # What is infinite then is found below.
                rows = [_floats(cell) for cell in cells]
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"Column '{self.name}' holds what is no vector of numbers: {error}"
            ) from None
        if not rows:
            return has, np.empty((0, 0), dtype=np.float32)
        for row, vector in zip(cells.index, rows, strict=True):
            if vector.shape != rows[0].shape or vector.ndim != 1 or not len(vector):
                raise ValueError(
                    f"Column '{self.name}' must hold vectors of one length: row {row} "
                    f'holds one of shape {vector.shape}, the first is of shape '
                    f'{rows[0].shape}'
                )
        vectors = np.stack(rows)
        message = f"Column '{self.name}' holds numbers that are not finite"
        check_rows(~np.isfinite(vectors).all(axis=1), message, cells.index.to_numpy())
        if self.normalize:
            # In double precision: squares would not fit.
            length = np.linalg.norm(vectors.astype(float), axis=1, keepdims=True)
            vectors /= np.where(length > 0, length, 1)
        return has, vectors

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns a value for each entry of the vectors."""
        _, vectors = self._vectors(column)
        if not len(vectors):
            raise ValueError(f"Column '{self.name}' holds no vector to fit")
        return ['<vector>', *map(str, range(1, vectors.shape[1]))]

    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Returns the vectors as they will be multiplied."""
        has, vectors = self._vectors(column)
        if len(vectors) and vectors.shape[1] != len(values):
            raise ValueError(
                f"Column '{self.name}' holds vectors of length {vectors.shape[1]}, those "
                f'that the schema was fitted to have {len(values)}'
            )
        vectors = vectors.reshape(len(vectors), len(values))
        return Nodes(np.where(has, RESERVED, MISSING), vector=vectors)


def _floats(cell: Any) -> np.ndarray:
    vector = np.asarray(cell)
    if vector.dtype.kind in 'cMm':
        raise TypeError(f'{vector.dtype}')
    return vector.astype(np.float32)
