"""Films that were rated at a time: what the small MovieLens datasets have in common."""

from __future__ import annotations

import math
import os
import os.path as osp
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pandas as pd
from torch_geometric.data import Dataset

from iedr_geo.data import (
    Bucketized,
    CandidateLists,
    Categorical,
    DateTime,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Split,
    leave_last_out,
)
from iedr_geo.data.columns import Column
from iedr_geo.data.tables import check_columns
from iedr_geo.datasets.raw_folder import RawArchive, reading


def read_table(path: str, names: Mapping[Any, str], **kwargs: Any) -> pd.DataFrame:
    """Reads columns of a file as text, none of which may be empty.

    Args:
        path: The file.
        names: Our name of each column to be read, by its name or number in the file.
        **kwargs: Further arguments of :func:`pandas.read_csv`.
    """
    with reading(path):
        table = pd.read_csv(
            path, dtype=str, keep_default_na=False, na_values=[''], **kwargs
        )
        check_columns(table, list(names), osp.basename(path))
        table = table[list(names)].rename(columns=dict(names))
        for name, empty in table.isna().items():
            if empty.any():
                raise ValueError(f'row {empty.to_numpy().argmax() + 1} has no {name}')
    return table


def parse_numbers(
    table: pd.DataFrame,
    path: str,
    name: str,
    low: float = 0,
    high: float = math.inf,
    step: float = 1,
) -> pd.Series:
    """Returns the numbers that the text of a column says, multiples of :obj:`step`.

    Raises:
        ValueError: If a cell holds another value. The message names file, row (from 1,
            below the header) and column.
    """
    number = pd.to_numeric(table[name], errors='coerce')
    right = number.between(low, high) & (number % step == 0)
    if not right.all():
        row = int(right.to_numpy().argmin())
        kind = 'a whole number' if step == 1 else f'a multiple of {step}'
        bounds = '' if high == math.inf else f' from {low} to {high}'
        raise ValueError(
            f"{path}: the {name} in row {row + 1} is '{table[name][row]}', not "
            f'{kind}{bounds}'
        )
    return number.astype('int64') if step == 1 else number


def read_ratings(
    path: str, names: Mapping[Any, str], step: float, **kwargs: Any
) -> pd.DataFrame:
    """Reads the ratings of a file, from :obj:`step` to 5, as :func:`read_table` does."""
    ratings = read_table(path, names, **kwargs)
    ratings['rating'] = parse_numbers(ratings, path, 'rating', step, 5, step)
    for name in ('user', 'item', 'time'):
        ratings[name] = parse_numbers(ratings, path, name)
    return ratings


def add_year(films: pd.DataFrame) -> pd.DataFrame:
    """Adds the year, which is the last number of four digits in brackets in a title."""
    year = films['title'].str.extract(r'.*\((\d{4})\)', expand=False)
    return films.assign(title=films['title'].str.strip(), year=year.astype('Int64'))


class MovieLensRatings(RawArchive, InteractionDataset):
    """A log of timed ratings of films, each with its genres and the year in its title.

    A context is a time in UTC: the quarter of the day, the weekday, whether it is a
    weekend, and the month.

    To be extended by the fields of a user and the reading of the tables.
    """

    user_fields: ClassVar[tuple[Column, ...]]

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        min_rating: float = 0,
        transform: Any = None,
        force_reload: bool = False,
    ) -> None:
        self.min_rating = min_rating
        Dataset.__init__(self, self._find(root), transform, force_reload=force_reload)
        loaded = InteractionDataset.load(self.processed_paths[0])
        self.__dict__.update(loaded.__dict__ | self.__dict__)

    @property
    def processed_file_names(self) -> str:
        """A name that follows from the content of the raw files and the threshold."""
        return f'{self._digest}-{self.min_rating:g}.pt'

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

    def process(self) -> None:
        """Encodes the log."""
        ratings = self._ratings()
        ratings = ratings[ratings['rating'] >= self.min_rating].reset_index(drop=True)
        if ratings.empty:
            raise ValueError(f'No rating is {self.min_rating} or higher')
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
                DateTime('time', 'weekday', unit='s'),
                DateTime('time', 'weekend', unit='s'),
                DateTime('time', 'month', unit='s'),
            ],
        )
        with reading(self.raw_dir):  # Ids can be missing in a table, or twice.
            dataset = InteractionDataset.from_pandas(
                ratings, users, films, schema, time='time'
            )
        dataset.save(self.processed_paths[0])

    def split(self) -> Split:
        """Takes each user's last rating for test and the one before for validation.

        Ratings of the same second are in the order of the file. Users with fewer than
        three, which only :obj:`min_rating` can leave, are left out.
        """
        return leave_last_out(self)

    def candidates(
        self, part: Literal['valid', 'test'], num_negatives: int = 99
    ) -> CandidateLists:
        """Returns a list for each row that :meth:`split` holds out: its film, and others
        drawn uniformly from those that the user has no rating of in the dataset.

        Args:
            part: :obj:`'valid'` or :obj:`'test'`.
            num_negatives: How many others to draw.
        """
        if part not in ('valid', 'test'):
            raise ValueError(f"`part` is 'valid' or 'test' (got '{part}')")
        rows = getattr(self.split(), part)
        return CandidateLists.sample(rows, num_negatives, seed=len(part), seen=[self])
