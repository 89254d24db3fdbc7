"""The film ratings of DePaul University, in contexts that were asked for."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from iedr_geo.data import Categorical
from iedr_geo.data.columns import Column
from iedr_geo.datasets.cars_ratings import CarsRatings

_ZIP = 'Movie_DePaulMovie.zip'
_NAMES = {
    'userid': 'user',
    'itemid': 'item',
    'rating': 'rating',
    'Time': 'time',
    'Location': 'location',
    'Companion': 'companion',
}


class DePaulMovie(CarsRatings):
    r"""The ratings of films in context that students of DePaul University gave in a
    survey, from the `"CARSKit: A Java-Based Context-aware Recommendation Engine"
    <https://doi.org/10.1109/ICDMW.2015.222>`_ paper.

    A user and a film have one node, the id. A context has three: whether it is a weekend,
    the place and the companion. All three are :obj:`'NA'` where a film was rated without
    a context: nothing is missing there, as none was asked for, so it is a value like the
    others. Most films were rated again by the same user in other contexts, and 14 rows
    repeat another, the context included; all rows are kept.

    Args:
        root: A folder with :obj:`Movie_DePaulMovie.zip`, either in it or in its
            :obj:`raw` folder. Never written to. By default :obj:`$IEDR_GEO_DATA/cars`
            where that is set, else a folder in PyG's home to which the file is
            downloaded.
        min_rating: The lowest rating that is an interaction (default: all are).
        transform: Applied to each sample that is read.
        force_reload: If :obj:`True`, the raw file is processed again.

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10
        :header-rows: 1

        * - #ratings
          - #users
          - #films
          - #contexts
        * - 5,043
          - 97
          - 79
          - 13
    """

    urls: ClassVar[dict[str, str]] = {
        _ZIP: (
            'https://raw.githubusercontent.com/irecsys/CARSKit/master/'
            f'context-aware_data_sets/{_ZIP}'
        )
    }
    checksums: ClassVar[dict[str, str]] = {
        _ZIP: '6a7e7076b5de98fb7fd734fe817c97126262bf1a35267f5aca601b83a9abfbe3'
    }
    table: ClassVar[str] = 'Movie_DePaulMovie/ratings.txt'
    context_fields: ClassVar[tuple[Column, ...]] = (
        Categorical('time'),
        Categorical('location'),
        Categorical('companion'),
    )

    def _ratings(self) -> pd.DataFrame:
        return self._read(_NAMES)
