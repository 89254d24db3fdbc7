"""MovieLens-100K."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from iedr_geo.data import Bucketized, Categorical
from iedr_geo.data.columns import Column
from iedr_geo.datasets.movielens_ratings import MovieLensRatings, add_year
from iedr_geo.datasets.raw_tables import parse_numbers, read_table

# The columns of the typed files, in the order of those of the archive.
_RATINGS = {
    'user_id:token': 'user',
    'item_id:token': 'item',
    'rating:float': 'rating',
    'timestamp:float': 'time',
}
_USERS = {
    'user_id:token': 'user',
    'age:token': 'age',
    'gender:token': 'gender',
    'occupation:token': 'occupation',
}
_FILMS = {
    'item_id:token': 'item',
    'movie_title:token_seq': 'title',
    'release_year:token': 'year',
    'class:token_seq': 'genres',
}


class MovieLens100K(MovieLensRatings):
    r"""The ratings of `MovieLens-100K <https://grouplens.org/datasets/movielens/100k/>`_,
    from `"The MovieLens Datasets: History and Context"
    <https://doi.org/10.1145/2827872>`_, in the context of their time.

    A user has an id, an age in the groups of MovieLens-1M, a gender and an occupation.
    Zip codes are left out: 795 of them for 943 users tell little that the id does not,
    and the regions that their first digit stands for are those of one country of several.
    A film has its id, its genres (the genre *unknown* is none) and the year in its title,
    in buckets that hold about as many films each. A context is a time in UTC: the quarter
    of the day, the weekday, whether it is a weekend, and the month. Where users were, and
    hence the hour of their day, is not known.

    Users rate in sessions: most ratings share their second with another of the user, and
    more than half of the users have a single context.

    Args:
        root: A folder with :obj:`u.data`, :obj:`u.user`, :obj:`u.item` and
            :obj:`u.genre`, either in it or in its :obj:`raw` folder, or else with
            :obj:`ml-100k.inter`, :obj:`ml-100k.user` and :obj:`ml-100k.item`, which hold
            the same as columns with typed names. Never written to. By default
            :obj:`$IEDR_GEO_DATA/ml-100k` where that is set, else a folder in PyG's home
            to which the former are downloaded.
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
        * - 100,000
          - 943
          - 1,682
          - 220
    """

    folder: ClassVar[str] = 'ml-100k'
    urls: ClassVar[dict[str, str]] = dict.fromkeys(
        ('u.data', 'u.user', 'u.item', 'u.genre'),
        'https://files.grouplens.org/datasets/movielens/ml-100k.zip',
    )
    alternative: ClassVar[tuple[str, ...]] = tuple(
        f'ml-100k.{kind}' for kind in ('inter', 'user', 'item')
    )
    checksums: ClassVar[dict[str, str]] = dict.fromkeys(
        urls, '50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229'
    )
    user_fields: ClassVar[tuple[Column, ...]] = (
        Categorical('user'),
        Bucketized('age', (18, 25, 35, 45, 50, 56)),
        Categorical('gender'),
        Categorical('occupation'),
    )

    @property
    def _is_archive(self) -> bool:
        return self.raw_file_names == list(self.urls)

    def _table(
        self, file: int, names: dict[str, str], numbers: Sequence[str], sep: str
    ) -> pd.DataFrame:
        """Reads a file of the archive, or the typed one of the same columns."""
        path = self.raw_paths[file]
        if self._is_archive:
            columns = dict(enumerate(names.values()))
            return read_table(path, columns, numbers, sep=sep, header=None)
        return read_table(path, names, numbers, sep='\t')

    def _ratings(self) -> pd.DataFrame:
        return self._table(0, _RATINGS, ('user', 'item', 'time'), '\t')

    def _users(self) -> pd.DataFrame:
        return self._table(1, _USERS, ('user', 'age'), '|')

    def films(self) -> pd.DataFrame:
        """Returns what the raw files tell of each film: item, title, genres and year."""
        return add_year(
            self._archive_films() if self._is_archive else self._typed_films()
        )

    def _archive_films(self) -> pd.DataFrame:
        *_, path, genre_path = self.raw_paths
        genres = read_table(genre_path, {0: 'name'}, sep='|', header=None)['name']
        films = read_table(
            path,
            {0: 'item', 1: 'title'} | dict(enumerate(genres, start=5)),
            ['item'],
            sep='|',
            header=None,
            encoding='latin-1',
            quoting=csv.QUOTE_NONE,
        )
        text = pd.Series('', films.index)
        for name in genres:
            has = parse_numbers(films, path, name, 0, 1) == 1
            if name != 'unknown':
                text += np.where(has, f'|{name}', '')
        return films[['item', 'title']].assign(genres=text.str.removeprefix('|'))

    def _typed_films(self) -> pd.DataFrame:
        films = read_table(
            self.raw_paths[2], _FILMS, ['item'], sep='\t', quoting=csv.QUOTE_NONE
        )
        # The year is what the title ends on, in brackets; one film has no title.
        title = films['title'] + ' (' + films['year'] + ')'
        return films[['item']].assign(
            title=title.replace('unkonwn (unkonwn)', 'unknown'),
            genres=films['genres'].replace('unknown', '').str.replace(' ', '|'),
        )
