"""Films that were rated at a time: what the small MovieLens datasets have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import pandas as pd

from iedr_geo.data import (
    BipartiteGraph,
    Bucketized,
    Categorical,
    DateTime,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
)
from iedr_geo.data.columns import Column
from iedr_geo.datasets.rated_log import RatedLog
from iedr_geo.datasets.raw_folder import RawArchive, reading
from iedr_geo.datasets.split_log import SplitLog


def add_year(films: pd.DataFrame) -> pd.DataFrame:
    """Adds the year, which is the last number of four digits in brackets in a title."""
    year = films['title'].str.extract(r'.*\((\d{4})\)', expand=False)
    return films.assign(title=films['title'].str.strip(), year=year.astype('Int64'))


class MovieLensRatings(RawArchive, RatedLog, SplitLog):
    """A log of timed ratings of films, each with its genres and the year in its title.

    A context is a time in UTC: the quarter of the day, the weekday, whether it is a
    weekend, and the month.

    To be extended by the fields of a user and the reading of the tables.
    """

    user_fields: ClassVar[tuple[Column, ...]]

    @abstractmethod
    def _ratings(self) -> pd.DataFrame:
        """Reads :obj:`user`, :obj:`item`, :obj:`rating` and :obj:`time` of each row."""

    @abstractmethod
    def _users(self) -> pd.DataFrame:
        """Reads the table of users."""

    @abstractmethod
    def films(self) -> pd.DataFrame:
        """Returns what the raw files tell of each film: item, title, genres and year.

        The title is that of the archive, with the year; genres are text, with
        :obj:`'|'` between them, empty if there are none.
        """

    def graph(self) -> BipartiteGraph:
        """Returns the ratings as values of a graph's edges, and the genres as labels of
        its items.
        """
        with reading(self.raw_dir):
            return BipartiteGraph.from_pandas(
                self._high(self._ratings(), self.raw_paths[0]),
                users=self._users(),
                items=self.films(),
                value='rating',
                item_labels=MultiCategorical('genres', '|'),
            )

    def process(self) -> None:
        """Encodes the log."""
        ratings = self._high(self._ratings(), self.raw_paths[0])
        users, films = self._users(), self.films()
        schema = FeatureSchema(
            user=self.user_fields,
            item=[
                Categorical('item'),
                MultiCategorical('genres', '|'),
                Bucketized('year', num_buckets=10),
            ],
            context=[
                DateTime('time', 'hour', boundaries=(6, 12, 18), unit='s'),
                *(DateTime('time', p, unit='s') for p in ('weekday', 'weekend', 'month')),
            ],
        )
        with reading(self.raw_dir):  # Ids can be missing in a table, or twice.
            dataset = InteractionDataset.from_pandas(
                ratings, users, films, schema, time='time'
            )
        dataset.save(self.processed_paths[0])
