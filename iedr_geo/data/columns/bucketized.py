"""Numbers as categories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from iedr_geo.data.columns.column import MISSING, RESERVED, Column, Nodes
from iedr_geo.data.columns.numerical import finite_numbers


@dataclass(frozen=True)
class Bucketized(Column):
    """A number as a category: one node for the bucket that it falls into.

    Args:
        column: The column.
        boundaries: Where a bucket ends and the next begins, increasing; a number
            equal to a boundary belongs to the bucket above.
        num_buckets: In place of :obj:`boundaries`: that many buckets with equal
            shares of the fitted rows.
    """

    boundaries: tuple[float, ...] | None = None
    num_buckets: int | None = None

    def __post_init__(self) -> None:
        if (self.boundaries is None) == (self.num_buckets is None):
            raise ValueError(
                f"Bucketized('{self.name}') needs either `boundaries` or `num_buckets`"
            )
        if self.boundaries is None:
            if not isinstance(self.num_buckets, int) or self.num_buckets < 2:
                raise ValueError(
                    f"Bucketized('{self.name}') needs at least 2 buckets "
                    f'(got {self.num_buckets})'
                )
            return
        try:
            boundaries = tuple(map(float, self.boundaries))
        except (TypeError, ValueError):  # What is no sequence, or not of numbers.
            boundaries = ()
        increase = all(a < b for a, b in pairwise((-np.inf, *boundaries, np.inf)))
        if not (boundaries and increase):
            raise ValueError(
                f"The boundaries of '{self.name}' must be finite numbers that increase "
                f'(got {self.boundaries!r})'
            )
        object.__setattr__(self, 'boundaries', boundaries)

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the lower ends of the buckets, as text that reads back exactly."""
        numbers = finite_numbers(column)
        boundaries = self.boundaries
        if self.num_buckets is not None:
            numbers = numbers[~np.isnan(numbers)]
            if not len(numbers):
                raise ValueError(f"Column '{self.name}' holds no number to fit")
            shares = np.arange(1, self.num_buckets) / self.num_buckets
            cuts = np.unique(np.quantile(numbers, shares))
            # A lowest bucket below the minimum would never be filled.
            boundaries = tuple(map(float, cuts[cuts > numbers.min()]))
        return ['-inf', *map(repr, boundaries or ())]

    def encode(self, column: pd.Series, values: Sequence[str]) -> Nodes:
        """Returns the bucket of each number."""
        numbers = finite_numbers(column)
        lower = np.array([float(text) for text in values])
        bucket = np.searchsorted(lower, numbers, side='right') - 1 + RESERVED
        return Nodes(np.where(np.isnan(numbers), MISSING, bucket))

    def labels(self, values: list[str]) -> list[str]:
        """Returns the range of each bucket, *e.g.*, :obj:`'90 to 120'`."""
        ends = [value.removesuffix('.0') for value in values[1:]]
        if not ends:
            return ['any']
        between = [f'{low} to {high}' for low, high in pairwise(ends)]
        return [f'<{ends[0]}', *between, f'>={ends[-1]}']
