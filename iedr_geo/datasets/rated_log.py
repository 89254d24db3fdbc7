"""A log of ratings, of which the high ones may be the interactions."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import pandas as pd

from iedr_geo.datasets.raw_folder import RawLog
from iedr_geo.datasets.raw_tables import parse_numbers


class RatedLog(RawLog):
    """A log of ratings up to 5, of which those from a threshold on are interactions."""

    rating_step: ClassVar[float] = 1

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        min_rating: float = 0,
        transform: Any = None,
        force_reload: bool = False,
    ) -> None:
        self.min_rating = min_rating
        super().__init__(root, transform, force_reload)

    @property
    def processed_file_names(self) -> str:
        """A name that follows from the content of the raw files and the threshold."""
        return f'{self._raw_digest}-{self.min_rating:g}.pt'

    def _high(self, ratings: pd.DataFrame, path: str) -> pd.DataFrame:
        """Returns the rows that are interactions, with their ratings as numbers."""
        step = self.rating_step
        rating = parse_numbers(ratings, path, 'rating', step, 5, step)
        high = ratings.assign(rating=rating)[rating >= self.min_rating]
        if high.empty:
            raise ValueError(f'No rating is {self.min_rating} or higher')
        return high.reset_index(drop=True)
