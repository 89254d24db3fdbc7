"""MovieLens-latest-small."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from iedr_geo.data import Categorical
from iedr_geo.data.columns import Column
from iedr_geo.datasets.movielens_ratings import MovieLensRatings, add_year
from iedr_geo.datasets.raw_tables import read_table


class MovieLensLatestSmall(MovieLensRatings):
    r"""The ratings of `MovieLens-latest-small
    <https://grouplens.org/datasets/movielens/latest/>`_, as of September 2018, from
    `"The MovieLens Datasets: History and Context" <https://doi.org/10.1145/2827872>`_,
    in the context of their time.

    A user has one node, the id. A film has its id, its genres and the year in its title,
    in buckets that hold about as many films each; 18 films have no rating. A context is a
    time in UTC: the quarter of the day, the weekday, whether it is a weekend, and the
    month. Where users were, and hence the hour of their day, is not known.

    Args:
        root: A folder with :obj:`ratings.csv` and :obj:`movies.csv`, either in it or in
            its :obj:`raw` folder. Never written to. By default
            :obj:`$IEDR_GEO_DATA/ml-latest-small` where that is set, else a folder in
            PyG's home to which the files are downloaded.
        min_rating: The lowest rating that is an interaction (default: all are).
        transform: Applied to each sample that is read.
        force_reload: If :obj:`True`, the raw files are processed again.

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10
        :header-rows: 1

        * - #ratings
          - #users
          - #films
          - #contexts
        * - 100,836
          - 610
          - 9,742
          - 336
    """

    folder: ClassVar[str] = 'ml-latest-small'
    urls: ClassVar[dict[str, str]] = dict.fromkeys(
        ('ratings.csv', 'movies.csv'),
        'https://files.grouplens.org/datasets/movielens/ml-latest-small.zip',
    )
    # The archive is replaced at times: this is the one with the numbers above.
    checksums: ClassVar[dict[str, str]] = dict.fromkeys(
        urls, '696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436'
    )
    user_fields: ClassVar[tuple[Column, ...]] = (Categorical('user'),)
    rating_step: ClassVar[float] = 0.5

    def _ratings(self) -> pd.DataFrame:
        names = {'userId': 'user', 'movieId': 'item', 'timestamp': 'time'}
        return read_table(
            self.raw_paths[0], names | {'rating': 'rating'}, list(names.values())
        )

    def _users(self) -> pd.DataFrame:
        return self._ratings()[['user']].drop_duplicates()

    def films(self) -> pd.DataFrame:
        """Returns what the raw files tell of each film: item, title, genres and year."""
        names = {'movieId': 'item', 'title': 'title', 'genres': 'genres'}
        films = read_table(self.raw_paths[1], names, ['item'])
        films['genres'] = films['genres'].replace('(no genres listed)', '')
        return add_year(films)
