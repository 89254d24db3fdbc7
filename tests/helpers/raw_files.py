"""Small raw files, in the formats of MovieLens, of Frappe and of CARSKit."""

import gzip
import io
import zipfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from iedr_geo.data import InteractionDataset

RATINGS = [  # User, film, rating and time, in no order.
    (1, 2, 3, 881250949),  # Thursday, 4 December 1997, 15:55:49 in UTC
    (2, 7, 1, 891717742),  # Saturday, 4 April 1998, 19:22:22
    (1, 1, 5, 881250949),
    (1, 5, 4, 881250949),
    (2, 2, 4, 891717600),
    (1, 3, 2, 881193600),  # Thursday, 4 December 1997, midnight
    (3, 4, 5, 885945599),  # Tuesday, 27 January 1998, 23:59:59
    (2, 1, 3, 891717742),
    (3, 6, 4, 885945600),  # Wednesday, 28 January 1998, midnight
    (3, 1, 4, 885967200),  # Wednesday, 28 January 1998, 6:00:00
]
CONTEXTS = {
    881250949: ('12-17', 'thursday', 'workday', 'december'),
    891717742: ('18-23', 'saturday', 'weekend', 'april'),
    891717600: ('18-23', 'saturday', 'weekend', 'april'),
    881193600: ('0-5', 'thursday', 'workday', 'december'),
    885945599: ('18-23', 'tuesday', 'workday', 'january'),
    885945600: ('0-5', 'wednesday', 'workday', 'january'),
    885967200: ('6-11', 'wednesday', 'workday', 'january'),
}


def lines(separator: str, rows: list[tuple[object, ...]], end: str = '\n') -> str:
    return ''.join(separator.join(map(str, row)) + end for row in rows)


# Names of several words and in brackets, letters of Latin-1, a video, a title with a
# space behind it, a film with neither title nor year, films without a known genre.
ARCHIVE = {
    'u.data': lines('\t', RATINGS),
    'u.user': '1|17|M|student|0213x\n2|18|F|other|T8H1N\n3|56|M|writer|94043\n',
    'u.item': (
        '1|Toy Story (1995)|01-Jan-1995||http://x/?Toy%20Story|0|0|1|0\n'
        '2|Misérables, Les (1958)|01-Jan-1958||http://x/?Les|0|1|0|1\n'
        '3|unknown||||1|0|0|0\n'
        '4|Land Before Time III: "Giving" (1995) (V)|||http://x/?Land|0|0|1|0\n'
        '5|Seven (Se7en) (1995)|01-Jan-1995||http://x/?Se7en|0|1|0|0\n'
        '6|Shadow and Light (1996) |02-Apr-1997||http://x/?Marlene|1|0|0|0\n'
        '7|Good Morning (1971)|4-Feb-1971|||1|0|0|0\n'
    ),
    'u.genre': "unknown|0\nAction|1\nChildren's|2\nFilm-Noir|3\n\n",
}
TYPED = {
    'ml-100k.inter': 'user_id:token\titem_id:token\trating:float\ttimestamp:float\n'
    + lines('\t', RATINGS),
    'ml-100k.user': (
        'user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n'
        '1\t17\tM\tstudent\t0213x\n2\t18\tF\tother\tT8H1N\n3\t56\tM\twriter\t94043\n'
    ),
    'ml-100k.item': (
        'item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n'
        "1\tToy Story\t1995\tChildren's\n"
        '2\tMisérables, Les\t1958\tAction Film-Noir\n'
        '3\tunkonwn\tunkonwn\tunknown\n'
        '4\tLand Before Time III: "Giving" (1995)\tV\tChildren\'s\n'
        '5\tSeven (Se7en)\t1995\tAction\n'
        '6\tShadow and Light\t1996\tunknown\n'
        '7\tGood Morning\t1971\tunknown\n'
    ),
}
FILMS = {  # Title, genres and year.
    '1': ('Toy Story (1995)', ["Children's"], 1995),
    '2': ('Misérables, Les (1958)', ['Action', 'Film-Noir'], 1958),
    '3': ('unknown', [], None),
    '4': ('Land Before Time III: "Giving" (1995) (V)', ["Children's"], 1995),
    '5': ('Seven (Se7en) (1995)', ['Action'], 1995),
    '6': ('Shadow and Light (1996)', [], 1996),
    '7': ('Good Morning (1971)', [], 1971),
}
LATEST = {
    'ratings.csv': 'userId,movieId,rating,timestamp\r\n'
    + lines(',', [(u, i, r - 0.5, t) for u, i, r, t in RATINGS], '\r\n'),
    'movies.csv': (
        'movieId,title,genres\r\n'
        '1,Toy Story (1995),Adventure|Children\r\n'
        '2,"American President, The (1995)",Comedy\r\n'
        '3,Black Mirror,(no genres listed)\r\n'
        '4,Death Note: Desu nôto (2006\u20132007),(no genres listed)\r\n'
        '5,"11\'09""01 - September 11 (2002)",Drama\r\n'
        '6,Superman/Doomsday (2007) ,Action|Animation\r\n'
        '7,Seven (a.k.a. Se7en) (1995),Film-Noir\r\n'
        '40,Never Rated (1902),Comedy|Sci-Fi\r\n'
    ),
}
LATEST_FILMS = {
    '1': ('Toy Story (1995)', ['Adventure', 'Children'], 1995),
    '2': ('American President, The (1995)', ['Comedy'], 1995),
    '3': ('Black Mirror', [], None),
    '4': ('Death Note: Desu nôto (2006\u20132007)', [], None),
    '5': ('11\'09"01 - September 11 (2002)', ['Drama'], 2002),
    '6': ('Superman/Doomsday (2007)', ['Action', 'Animation'], 2007),
    '7': ('Seven (a.k.a. Se7en) (1995)', ['Film-Noir'], 1995),
    '40': ('Never Rated (1902)', ['Comedy', 'Sci-Fi'], 1902),
}


def encode(files: dict[str, str]) -> dict[str, bytes]:
    """Returns texts in the encodings of their files."""
    return {
        name: text.encode('latin-1' if name == 'u.item' else 'utf-8')
        for name, text in files.items()
    }


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes files to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        content = encode({name: text})[name] if isinstance(text, str) else text
        (folder / name).write_bytes(content)
    return folder


def arrays(**content: object) -> bytes:
    """Returns a file of arrays; those that are :obj:`None` are left out."""
    file = io.BytesIO()
    kept = {name: array for name, array in content.items() if array is not None}
    np.savez(file, allow_pickle=True, **kept)
    return file.getvalue()


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """Returns a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as content:
        for name, text in files.items():
            content.writestr(name, text)
    return file.getvalue()


# Of apps, the features; 'NA' and '' are values, and ratings are rounded down.
APP = ('item', 'category', 'downloads', 'developer', 'language', 'rating')
APPS = [
    ('7', 'NA', '10 - 50', 'x', 'en', '4.9'),
    ('2', 'Tools', '', 'NA', 'de', 'unknown'),
    ('30', 'Tools', 'NA', '', 'en', '3.0'),
    ('4', 'Games', '10 - 50', 'y', 'en', '0.5'),
]
CONTEXT = [
    *('daytime', 'weekday', 'isweekend', 'homework'),
    *('cost', 'weather', 'country', 'city'),
]
# User, app and context of uses: two users have more than five, one app has none.
USES = [
    (user, ('7', '2', '7', '4')[i % 4], *(f'{i % 6 % n}.0' for n in range(2, 10)))
    for i, user in enumerate('515585185158181518')
]


def candidates(part: str) -> list[tuple[int, ...]]:
    """Returns rows of lists as Frappe's authors have them, the held-out ones first.

    Negatives repeat, were used before, and one is the app that is to be found.
    """
    values = [dict.fromkeys(column) for column in zip(*USES, strict=True)][2:]
    first = np.cumsum([3 + 4, *map(len, values)])
    rows: list[tuple[int, ...]] = []
    for user in ('5', '1'):
        use = [use for use in USES if use[0] == user][-1 if part == 'test' else -2]
        context = [
            int(start) + list(column).index(value)
            for start, column, value in zip(first, values, use[2:], strict=False)
        ]
        for i, item in enumerate([use[1], '30', '2', '30', '7']):
            rows.append((int(user), int(item), int(i == 0), *context))
    return sorted(rows, key=lambda row: -row[2])


LISTS = {
    f'iedr_{part}_data.csv.gz': lines(
        ',', [('user', 'item', 'rating', *CONTEXT), *candidates(part)]
    ).encode()
    for part in ('valid', 'test')
}
FRAPPE = {
    'Mobile_Frappe.zip': archive(
        {
            'Mobile_Frappe/frappe/meta.csv': lines(
                '\t', [(*APP, 'name'), *((*app, f'App {app[0]}') for app in APPS)]
            ),
            'Mobile_Frappe/frappe/frappe.csv': lines(
                '\t', [('user', 'item', *CONTEXT), *USES]
            ),
        }
    ),
    **{name: gzip.compress(text) for name, text in LISTS.items()},
}


# User, film, rating, time, location and companion: one without a context, a pair that
# recurs in another one, and a row that recurs as it is.
DEPAUL_ROWS = [
    ('1123', 'tt01', '2', 'NA', 'NA', 'NA'),
    ('1003', 'tt02', '3', 'Weekend', 'Home', 'Alone'),
    ('1123', 'tt01', '4', 'Weekday', 'Cinema', 'Family'),
    ('1003', 'ttnanana2', '1', 'Weekend', 'Home', 'Alone'),
    ('1003', 'tt02', '3', 'Weekend', 'Home', 'Alone'),
    *[('1040', 'tt02', str(i), 'Weekend', 'Cinema', 'Partner') for i in (3, 4, 5, 3, 2)],
]
DEPAUL = {
    'Movie_DePaulMovie.zip': archive(
        {
            'Movie_DePaulMovie/ReadMe.html': '<b>Data Name</b>',
            'Movie_DePaulMovie/ratings.txt': lines(
                ',',
                [
                    ('userid', 'itemid', 'rating', 'Time', 'Location', 'Companion'),
                    *DEPAUL_ROWS,
                ],
            ),
        }
    )
}
STS_COLUMNS = [
    *('creationDate', 'userID', 'itemID', 'rating', 'birthDate', 'gender'),
    *('opennessToExperience', 'conscientiousness', 'extraversion', 'agreeableness'),
    *('emotionalStability', 'distance', 'timeAvailable', 'temperature', 'crowdedness'),
    *('knowledgeOfSurroundings', 'season', 'budget', 'daytime', 'weather', 'companion'),
    *('mood', 'weekday', 'travelGoal', 'transport'),
    *('category1', 'category2', 'category3'),
]
_TOLD = {'birthDate': '31/12/1979', 'gender': 'f', 'opennessToExperience': '7'}
_STRANGER = {'userID': '4', 'itemID': '20', 'category1': '24', 'category2': '25'}
# What each row holds; the rest is NULL.
STS_ROWS = [
    {'userID': '9', 'itemID': '7', 'rating': '4', 'category1': '1', **_TOLD},
    {'userID': '9', 'itemID': '7', 'rating': '2', 'category1': '1', **_TOLD}
    | {'timeAvailable': '3', 'travelGoal': '9', 'transport': '1'},
    {**_STRANGER, 'rating': '5', 'category3': '3', 'temperature': '6'},
    *[{**_STRANGER, 'rating': str(i), 'category3': '3'} for i in (1, 2, 3, 4, 4, 3, 4)],
]
STS = {
    'Travel_STS.zip': archive(
        {
            'Travel_STS/README.txt': 'Missing value:\nNULL',
            'Travel_STS/Data_STS.csv': lines(
                '\t',
                [
                    tuple(STS_COLUMNS),
                    *(tuple(row.get(n, 'NULL') for n in STS_COLUMNS) for row in STS_ROWS),
                ],
            ),
        }
    )
}


def nodes(data: InteractionDataset, side: str) -> list[list[str]]:
    """Returns the names of the nodes of each graph of a side."""
    names, graphs = data.schema.names(), getattr(data, f'{side}s')
    x = [names[row] for row in graphs.x.tolist()]
    return [x[start:end] for start, end in pairwise(graphs.ptr.tolist())]


def buckets(
    data: InteractionDataset, side: str, field: str
) -> dict[str, tuple[float, float]]:
    """Returns the numbers that each node of a field stands for, from and to."""
    bounds = [*map(float, data.schema.vocabulary[side][field]), float('inf')]
    first = data.schema.offsets(side)[field] + 2  # Behind unknown and missing.
    names = data.schema.names()[first:]
    return dict(zip(names, pairwise(bounds), strict=False))
