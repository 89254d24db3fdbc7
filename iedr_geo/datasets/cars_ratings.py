"""Ratings in contexts that people told: what datasets of the CARSKit collection share."""

from __future__ import annotations

import io
import os.path as osp
import zipfile
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import pandas as pd

from iedr_geo.data import (
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    Split,
    random_split,
)
from iedr_geo.data.columns import Column
from iedr_geo.datasets.rated_log import RatedLog
from iedr_geo.datasets.raw_folder import reading
from iedr_geo.datasets.raw_tables import read_table
from iedr_geo.datasets.split_log import SplitLog


class CarsRatings(RatedLog, SplitLog):
    """A log of ratings in one file of a zip file, which also tells of users and items.

    An item is rated again in other contexts, so items that a user has had are never left
    out of a ranking. Rows have no time that is known of all: those that are held out are
    drawn.

    To be extended by the fields of the three sides and the reading of the table.
    """

    folder: ClassVar[str] = 'cars'
    table: ClassVar[str]  # The file in the zip file.
    user_fields: ClassVar[tuple[Column, ...]] = (Categorical('user'),)
    item_fields: ClassVar[tuple[Column, ...]] = (Categorical('item'),)
    context_fields: ClassVar[tuple[Column, ...]]

    @property
    def _path(self) -> str:
        return osp.join(self.raw_paths[0], self.table)

    def _read(
        self, names: Mapping[str, str], numbers: Sequence[str] = (), sep: str = ','
    ) -> pd.DataFrame:
        """Reads columns of the table, as :func:`read_table` does."""
        path = self.raw_paths[0]
        with reading(path), zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read(self.table))
        return read_table(self._path, names, numbers, source, sep=sep)

    @abstractmethod
    def _ratings(self) -> pd.DataFrame:
        """Reads :obj:`user`, :obj:`item`, :obj:`rating` and all fields of each row."""

    def process(self) -> None:
        """Encodes the log."""
        ratings = self._ratings()
        schema = FeatureSchema(self.user_fields, self.item_fields, self.context_fields)
        users, items = (
            ratings[schema.sources(side)].drop_duplicates() for side in ('user', 'item')
        )
        high = self._high(ratings, self._path)
        with reading(self._path):  # Rows can differ in what they tell of a user or item.
            dataset = InteractionDataset.from_pandas(
                high, users, items, schema, exclude_seen=False
            )
        dataset.save(self.processed_paths[0])

    def split(self, seed: int = 0) -> Split:
        """Takes a tenth of the rows for validation and another for test, at random.

        Args:
            seed: The seed of the draw.
        """
        return random_split(self, seed=seed)

    def candidates(
        self, part: Literal['valid', 'test'], num_negatives: int = 99, seed: int = 0
    ) -> CandidateLists:
        """Returns a list for each row that :meth:`split` holds out: its item, and others
        drawn uniformly, which recur where there are fewer items.

        Args:
            part: :obj:`'valid'` or :obj:`'test'`.
            num_negatives: The number of others to draw.
            seed: The seed of the split.
        """
        return self._lists(self.split(seed), part, num_negatives)
