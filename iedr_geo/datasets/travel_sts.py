"""The ratings of sights of South Tyrol Suggests."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from iedr_geo.data import Bucketized, Categorical, MultiCategorical
from iedr_geo.data.columns import Column
from iedr_geo.datasets.cars_ratings import CarsRatings

_ZIP = 'Travel_STS.zip'
_MISSING = 'NULL'
_TRAITS = (
    'openness_to_experience',
    'conscientiousness',
    'extraversion',
    'agreeableness',
    'emotional_stability',
)
_CATEGORIES = ('category1', 'category2', 'category3')

CONTEXT = {
    'distance': ('far away', 'near by'),
    'time_available': ('half day', 'one day', 'more than one day'),
    'temperature': ('burning', 'hot', 'warm', 'cool', 'cold', 'freezing'),
    'crowdedness': ('crowded', 'not crowded', 'empty'),
    'knowledge_of_surroundings': (
        'new to area',
        'returning visitor',
        'citizen of the area',
    ),
    'season': ('spring', 'summer', 'autumn', 'winter'),
    'budget': ('budget traveler', 'price for quality', 'high spender'),
    'daytime': ('morning', 'noon', 'afternoon', 'evening', 'night'),
    'weather': ('clear sky', 'sunny', 'cloudy', 'rainy', 'thunderstorm', 'snowing'),
    'companion': (
        'alone',
        'with friends/colleagues',
        'with family',
        'with girlfriend/boyfriend',
        'with children',
    ),
    'mood': ('happy', 'sad', 'active', 'lazy'),
    'weekday': ('weekday', 'weekend'),
    'travel_goal': (
        'visiting friends',
        'business',
        'religion',
        'health care',
        'social event',
        'education',
        'scenic/landscape',
        'hedonistic/fun',
        'activity/sport',
    ),
    'transport': (
        'no transportation means',
        'a bicycle',
        'a car',
        'public transport',
    ),
}
"""The context columns, and what the codes from 1 on mean, by the notes beside the log."""

# What each code means, by our names of the columns.
_MEANINGS = {
    'gender': {'f': 'female', 'm': 'male'},
    **{name: {str(i): str(i) for i in range(1, 8)} for name in _TRAITS},
    **{
        name: {str(i): value for i, value in enumerate(values, start=1)}
        for name, values in CONTEXT.items()
    },
    **{name: {str(i): str(i) for i in range(1, 30)} for name in _CATEGORIES},
}


def _in_file(name: str) -> str:
    """Returns the file's name of a column: 'travelGoal' for 'travel_goal'."""
    first, *others = name.split('_')
    return first + ''.join(map(str.capitalize, others))


_NAMES = {
    'userID': 'user',
    'itemID': 'item',
    'rating': 'rating',
    'birthDate': 'birth',
    **{_in_file(name): name for name in _MEANINGS},
}


class TravelSTS(CarsRatings):
    r"""The ratings of sights that users of the app South Tyrol Suggests gave, from the
    `"Personality-Based Active Learning for Collaborative Filtering Recommender Systems"
    <https://doi.org/10.1007/978-3-319-03524-6_31>`_ paper and *Context-Aware Points of
    Interest Suggestion with Dynamic Weather Data Management*.

    A user has an id, a gender, the year of birth by its decade, and five traits of
    personality, each from 1 to 7. A sight has its id and one to three categories, of
    which the numbers alone are known. A context has fourteen columns, from the distance
    to the means of transport (:obj:`CONTEXT`), of which a row has five at most, and in
    36 % of the rows none. What is :obj:`NULL` in the log is unknown by the notes beside
    it, so it is missing, of contexts as of users, and not a value.

    28 % of the rows repeat the user and sight of an earlier one, mostly in another
    context; all rows are kept. The time of a third of them is unknown, and is left out.

    Args:
        root: A folder with :obj:`Travel_STS.zip`, either in it or in its :obj:`raw`
            folder. Never written to. By default :obj:`$IEDR_GEO_DATA/cars` where that is
            set, else a folder in PyG's home to which the file is downloaded.
        min_rating: The lowest rating that is an interaction (default: all are).
        transform: Applied to each sample that is read.
        force_reload: If :obj:`True`, the raw file is processed again.

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10
        :header-rows: 1

        * - #ratings
          - #users
          - #sights
          - #contexts
        * - 2,534
          - 325
          - 249
          - 932
    """

    urls: ClassVar[dict[str, str]] = {
        _ZIP: (
            'https://raw.githubusercontent.com/irecsys/CARSKit/master/'
            f'context-aware_data_sets/{_ZIP}'
        )
    }
    checksums: ClassVar[dict[str, str]] = {
        _ZIP: 'b74a9ebee758cddd307e7ce46a31f7ffad484ef57468b6ea3caa51a0d25c05e5'
    }
    table: ClassVar[str] = 'Travel_STS/Data_STS.csv'
    user_fields: ClassVar[tuple[Column, ...]] = (
        Categorical('user'),
        Categorical('gender'),
        Bucketized('born', (1960, 1970, 1980, 1990)),
        *map(Categorical, _TRAITS),
    )
    item_fields: ClassVar[tuple[Column, ...]] = (
        Categorical('item'),
        MultiCategorical('categories', '|'),
    )
    context_fields: ClassVar[tuple[Column, ...]] = tuple(map(Categorical, CONTEXT))

    def _ratings(self) -> pd.DataFrame:
        ratings = self._read(_NAMES, ('user', 'item'), sep='\t')
        for name, meanings in _MEANINGS.items():
            known = ratings[name].map(meanings)
            self._check_known(ratings[name], known, f'one of {", ".join(meanings)}')
            ratings[name] = known
        birth = pd.to_datetime(ratings['birth'], format='%d/%m/%Y', errors='coerce')
        self._check_known(ratings['birth'], birth, 'a date such as 31/12/1980')
        categories = ratings[list(_CATEGORIES)].fillna('')
        return ratings.assign(
            born=birth.dt.year.astype('Int64'),
            categories=categories['category1'].str.cat(categories.iloc[:, 1:], sep='|'),
        )

    def _check_known(self, column: pd.Series, known: pd.Series, kind: str) -> None:
        """Raises an error if a cell is not missing, but is not read either."""
        wrong = (known.isna() & (column != _MISSING)).to_numpy()
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{self._path}: the {column.name} in row {row + 1} is '{column[row]}', "
                f'neither {kind} nor {_MISSING}'
            )
