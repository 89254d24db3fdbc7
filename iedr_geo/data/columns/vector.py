"""Vectors that were made elsewhere as features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
from pandas.api.types import is_list_like

from iedr_geo.data.columns.column import MISSING, RESERVED, Column, Nodes


@dataclass(frozen=True)
class Vector(Column):
    r"""A vector that was made elsewhere, *e.g.*, an embedding of a text or an image: one
    node, whose embedding is :math:`\sum_d v_d \mathbf{e}_d` with an embedding for each
    entry of the vector, which is a linear map that is learned.

    Args:
        name: The column. It holds lists, arrays or tensors, all of one length.
        normalize: Whether vectors are brought to length one.
    """

    name: str
    normalize: bool = True
    kind: ClassVar[str] = 'vector'
    is_number: ClassVar[bool] = True

    def _vectors(self, column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
        """Returns which rows have a vector, and the vectors."""
        cells = column.astype(object).tolist()
        has = np.array([is_list_like(c) for c in cells], dtype=bool)
        for row in np.flatnonzero(~has):
            if not (np.ndim(cells[row]) == 0 and pd.isna(cells[row])):
                raise ValueError(
                    f"Column '{self.name}' must hold vectors: row {row} holds "
                    f'{cells[row]!r}'
                )
        try:
            rows = [np.asarray(cells[row]) for row in np.flatnonzero(has)]
        except (RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"Column '{self.name}' holds what is no vector: {error}"
            ) from None
        if not rows:
            return has, np.empty((0, 0), dtype=np.float32)
        for row, vector in zip(np.flatnonzero(has), rows, strict=True):
            if vector.shape != rows[0].shape or vector.ndim != 1 or not len(vector):
                raise ValueError(
                    f"Column '{self.name}' must hold vectors of one length: row {row} "
                    f'holds one of shape {vector.shape}, the first is of shape '
                    f'{rows[0].shape}'
                )
        try:
            vectors = np.stack(rows)
            if vectors.dtype.kind in 'cMm':
                raise TypeError(f'{vectors.dtype}')
            with np.errstate(over='ignore'):  # What is infinite then is found below.
                vectors = vectors.astype(np.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Column '{self.name}' holds vectors of other things than numbers: "
                f'{error}'
            ) from None
        wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(wrong):
            raise ValueError(
                f"Column '{self.name}' holds numbers that are not finite in row "
                f'{np.flatnonzero(has)[wrong[0]]} ({len(wrong)} rows in all)'
            )
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

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Returns the vectors as they will be multiplied."""
        has, vectors = self._vectors(column)
        if len(vectors) and vectors.shape[1] != len(vocabulary):
            raise ValueError(
                f"Column '{self.name}' holds vectors of length {vectors.shape[1]}, those "
                f'that the schema was fitted to have {len(vocabulary)}'
            )
        code = np.where(has, RESERVED, MISSING)
        vectors = vectors.reshape(len(vectors), len(vocabulary))
        return Nodes(np.arange(len(column)), code, np.ones(len(column)), vectors)

    def key(self, column: pd.Series, vocabulary: Mapping[str, int]) -> pd.Series:
        """Returns the bytes of each vector as it will be multiplied."""
        has, vectors = self._vectors(column)
        keys = np.full(len(column), None, dtype=object)
        keys[has] = [vector.tobytes() for vector in vectors]
        return pd.Series(keys, column.index)
