"""The datasets of films and timed ratings, on small files and on their own."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from raw_files import (
    ARCHIVE,
    CONTEXTS,
    FILMS,
    LATEST,
    LATEST_FILMS,
    RATINGS,
    TYPED,
    buckets,
    nodes,
    write,
)

from iedr_geo.data import InteractionDataset
from iedr_geo.datasets import MovieLens100K, MovieLensLatestSmall

FORMATS = {
    'archive': (MovieLens100K, ARCHIVE, FILMS),
    'typed': (MovieLens100K, TYPED, FILMS),
    'latest': (MovieLensLatestSmall, LATEST, LATEST_FILMS),
}
USERS = [
    ['user=1', 'age=<18', 'gender=M', 'occupation=student'],
    ['user=2', 'age=18 to 25', 'gender=F', 'occupation=other'],
    ['user=3', 'age=>=56', 'gender=M', 'occupation=writer'],
]


@pytest.fixture(params=FORMATS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def cls(kind) -> Any:
    return FORMATS[kind][0]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of PyG of this test's own, in which nothing is processed yet."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home'


@pytest.fixture
def root(kind, tmp_path: Path) -> Path:
    return write(tmp_path / 'root', FORMATS[kind][1])


@pytest.fixture
def data(cls, root) -> Any:
    return cls(root)


def rows(dataset: InteractionDataset) -> list[tuple[int, int, int]]:
    """Reads user, film and time of each row back."""
    return list(
        zip(
            dataset.user_ids[dataset.user.numpy()].astype(int),
            dataset.item_ids[dataset.item.numpy()].astype(int),
            dataset.time.long().tolist(),
            strict=True,
        )
    )


def test_rows_and_contexts(data):
    """The log as it is, and of its times parts in UTC."""
    assert rows(data) == [(user, film, time) for user, film, _, time in RATINGS]
    assert data.y is None and data.exclude_seen
    names = data.schema.names()
    fields = ('hour', 'weekday', 'weekend', 'month')
    for sample, (*_, time) in zip(data, RATINGS, strict=True):
        moment = datetime.fromtimestamp(time, timezone.utc)
        quarter, *others = CONTEXTS[time]
        first, last = map(int, quarter.split('-'))
        assert first <= moment.hour <= last
        assert others == [
            moment.strftime('%A').lower(),
            'weekend' if moment.isoweekday() > 5 else 'workday',
            moment.strftime('%B').lower(),
        ]
        assert [names[x] for x in sample.x_context] == [
            f'time.{n}={value}' for n, value in zip(fields, CONTEXTS[time], strict=True)
        ]
    assert data.num_contexts == len(set(CONTEXTS.values()))


def test_users_and_films(kind, data):
    """Ages are in groups that begin with the age that names them; what a film has no
    genre or no year of has a node that says so.
    """
    assert nodes(data, 'user') == [u[: 1 if kind == 'latest' else 4] for u in USERS]
    films = FORMATS[kind][2]
    assert data.item_ids.tolist() == list(films)
    years, table = buckets(data, 'item', 'year'), data.films()
    assert list(table) == ['item', 'title', 'genres', 'year']
    for (film, (title, genres, year)), features, row in zip(
        films.items(), nodes(data, 'item'), table.itertuples(), strict=True
    ):
        *others, of_year = features
        genre_nodes = [f'genres={genre}' for genre in genres or ['<missing>']]
        assert others == [f'item={film}', *genre_nodes]
        assert row[1:4] == (int(film), title, '|'.join(genres))
        if year is None:
            assert of_year == 'year=<missing>' and pd.isna(row.year)
        else:
            assert years[of_year][0] <= row.year == year < years[of_year][1]


def test_split_is_by_time_and_then_by_row(data):
    """Of user 1, three share a second; of user 2, the last two."""
    train, valid, test, order = data.split()
    assert order == 'time'
    assert sorted(rows(test)) == [
        (1, 5, 881250949),
        (2, 1, 891717742),
        (3, 1, 885967200),
    ]
    assert sorted(rows(valid)) == [
        (1, 1, 881250949),
        (2, 7, 891717742),
        (3, 6, 885945600),
    ]
    assert sorted(rows(train) + rows(valid) + rows(test)) == sorted(rows(data))


def test_candidates(cls, root, data):
    """The held-out film first, and any that the user did not rate, in another order."""
    drawn = []
    for part in ('valid', 'test'):
        lists = data.candidates(part, num_negatives=60)
        held_out = getattr(data.split(), part)
        assert torch.equal(lists.user, held_out.user)
        assert torch.equal(lists.context, held_out.context)
        assert lists.list_index.tolist() == [i for i in range(3) for _ in range(61)]
        item, target = lists.item.view(3, 61), lists.target.view(3, 61)
        assert torch.equal(item[:, 0], held_out.item)
        assert target.tolist() == [[1] + 60 * [0]] * 3
        for user, others in zip(held_out.user.tolist(), item[:, 1:], strict=True):
            rated = set(data.item[data.user == user].tolist())
            # Of at most six films, each is among sixty uniform draws, but for a chance
            # of one in ten thousand, and the seed of the lists is fixed.
            assert set(others.tolist()) == set(range(data.num_items)) - rated
        torch.manual_seed(1)
        again = cls(root).candidates(part, num_negatives=60)
        assert torch.equal(again.item, lists.item)
        drawn.append(item[:, 1:])
    assert not torch.equal(*drawn)
    assert len(data.candidates('test').item) == 3 * 100
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        data.candidates('train')


def test_high_ratings(cls, kind, root, home):
    """Low ratings are no rows; users and films are the same as ever."""
    shift = 0.5 if kind == 'latest' else 0
    expected = [(u, i, t) for u, i, rating, t in RATINGS if rating - shift >= 3.5]
    whole, high = cls(root), cls(root, min_rating=3.5)
    assert rows(high) == expected
    assert high.user_ids.equals(whole.user_ids) and high.item_ids.equals(whole.item_ids)
    assert len(cls(root)) == len(RATINGS)
    assert len({path.name for path in home.rglob('[0-9a-f]*-*.pt')}) == 2
    # User 3 alone has three of them.
    assert high.split().test.user_ids[high.split().test.user.numpy()].tolist() == ['3']
    with pytest.raises(ValueError, match=r'No rating is 5\.5 or higher'):
        cls(root, min_rating=5.5)


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ('1 6 6 7', "the rating in row 11 is '6', not a .* from {step} to 5$"),
        ('1 6 0 7', "the rating in row 11 is '0', not "),
        ('1 6 2.25 7', r"the rating in row 11 is '2\.25', not "),
        ('1 6 nan 7', "the rating in row 11 is 'nan', not "),
        ('1 x6 4 7', "the item in row 11 is 'x6', not a whole number$"),
        ('-1 6 4 7', "the user in row 11 is '-1', not a whole number$"),
        ('1 6 4 1.5', r"the time in row 11 is '1\.5', not a whole number$"),
        ('1 6 4 inf', "the time in row 11 is 'inf', not a whole number$"),
        ('1 6 4', 'is damaged or of another format: row 11 has no time$'),
        ('1  4 7', 'is damaged or of another format: row 11 has no item$'),
        ('1 6 4 7 8', 'is damaged or of another format: .*line 1[12]'),
        ('1 666 4 7', "is damaged .*'item' .* absent .*: 666$"),
    ],
)
def test_bad_rating(cls, kind, root, home, row, message):
    """Rows are counted from 1, below the header."""
    separator, step = (',', '0.5') if kind == 'latest' else ('\t', '1')
    path = root / next(iter(FORMATS[kind][1]))
    path.write_text(path.read_text() + row.replace(' ', separator) + '\n')
    with pytest.raises(ValueError, match=f'{root}.*{message.format(step=step)}'):
        cls(root)
    assert not list(home.rglob('*-0.pt*'))


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'message'),
    [
        ('u.user', '|18|', '|old|', "the age in row 2 is 'old', not a whole number$"),
        ('u.user', '3|56', '|56', 'row 3 has no user$'),
        ('u.user', '|F|other|T8H1N', '', 'row 2 has no gender$'),
        ('u.item', '2|Mis', 'x|Mis', "the item in row 2 is 'x', not a whole number$"),
        ('u.item', '|0|1|0|1\n', '|0|1|0|2\n', "the Film-Noir in row 2 is '2', not a "),
        ('u.item', '|0|1|0|1\n', '|0|1|0\n', 'row 2 has no Film-Noir$'),
        ('u.item', '|0|1|0|1\n', '|0|1|0|1|0\n', 'is damaged .* line 2'),
        ('u.item', '7|Good', '6|Good', "'item' .* holds an id twice"),
        ('u.genre', '\n\n', '\nWar|4\n', "u.item .* table has no column '9'"),
        ('ml-100k.item', 'class:token_seq', 'genre:token', "no column 'class:token_seq'"),
        ('ml-100k.item', '\tAction Film-Noir', '', 'row 2 has no genres$'),
        ('ml-100k.user', '\t18\t', '\t18.5\t', r"the age in row 2 is '18\.5', not "),
        ('ml-100k.inter', 'rating:float', 'rating', "no column 'rating:float'"),
        ('movies.csv', 'genres\r', 'genre\r', "no column 'genres'"),
        ('movies.csv', '\r\n3,', '\r\nthree,', "the item in row 3 is 'three', not a "),
        ('movies.csv', 'Mirror,(no genres listed)', 'Mirror', 'row 3 has no genres$'),
        ('movies.csv', '\r\n3,', '\r\n2,', "'item' .* holds an id twice"),
        ('ratings.csv', ',2.5,', ',2.4,', "'2.4', not a multiple of 0.5 from 0.5 to 5$"),
        ('u.data', None, '', 'No columns'),
        ('u.item', None, '', 'No columns'),
        ('ml-100k.user', None, '', 'No columns'),
        ('movies.csv', None, '', 'No columns'),
    ],
)
def test_bad_file(tmp_path, name, old, new, message):
    """Where there is no old text, it is the whole file."""
    cls, files, _ = next(f for f in FORMATS.values() if name in f[1])
    assert old is None or old in files[name]
    text = new if old is None else files[name].replace(old, new, 1)
    write(tmp_path, files | {name: text})
    with pytest.raises(ValueError, match=f'{tmp_path}.*{message}'):
        cls(tmp_path)


def test_both_formats_are_the_same_dataset(tmp_path):
    one, two = (
        MovieLens100K(write(tmp_path / kind, FORMATS[kind][1]))
        for kind in ('archive', 'typed')
    )
    assert rows(one) == rows(two) and one.schema == two.schema
    assert torch.equal(one.context, two.context)
    assert one.context_frame.equals(two.context_frame)
    for side in ('user', 'item', 'context'):
        assert nodes(one, side) == nodes(two, side)
    assert one.films().equals(two.films())
    for part in ('valid', 'test'):
        assert torch.equal(one.candidates(part).item, two.candidates(part).item)


# Interactions, users, films and contexts; ratings of at least 4; what limits contexts.
FACTS = {
    MovieLens100K: ((100_000, 943, 1682, 220), 55_375, (0.758, 532, 415, 0.935)),
    MovieLensLatestSmall: ((100_836, 610, 9742, 336), 48_580, (0.23, 309, 94, 0.921)),
}


@pytest.mark.parametrize('cls', FACTS)
def test_facts(cls, data_root):
    """Counts, rows as the raw file has them, the split, and sessions: the share of
    ratings in the same second as another of the user, users with one context alone,
    those whose last two ratings are in the same second, and the share of users whose
    last two are in the same context.
    """
    data = cls(data_root / cls.folder)
    sizes, high, facts = FACTS[cls]
    assert (len(data), data.num_users, data.num_items, data.num_contexts) == sizes
    assert len(cls(data.root, min_rating=4)) == high
    path = data_root / cls.folder / data.raw_file_names[0]
    separator = ',' if cls is MovieLensLatestSmall else '\t'
    raw = pd.read_csv(path, sep=separator).to_numpy()
    assert np.array_equal(rows(data), raw[:, [0, 1, 3]])
    train, *held_out, _ = data.split()
    for part in held_out:
        assert sorted(part.user.tolist()) == list(range(data.num_users))
        assert set(part.context.tolist()) <= set(train.context.tolist())
    log = pd.DataFrame({n: getattr(data, n) for n in ('user', 'context', 'time')})
    users = log.sort_values('time', kind='stable').groupby('user')
    last, before = (users.nth(-i).set_index('user').sort_index() for i in (1, 2))
    assert facts == (
        log.duplicated(['user', 'time'], keep=False).mean().round(3),
        (users['context'].nunique() == 1).sum(),
        (last['time'] == before['time']).sum(),
        (last['context'] == before['context']).mean().round(3),
    )


def test_features_of_ml_100k(data_root):
    data, folder = MovieLens100K(data_root / 'ml-100k'), data_root / 'ml-100k'
    users, films = (
        [line.split('\t') for line in path.read_text('utf-8').splitlines()[1:]]
        for path in (folder / 'ml-100k.user', folder / 'ml-100k.item')
    )
    ages, years = buckets(data, 'user', 'age'), buckets(data, 'item', 'year')
    for (user, age, gender, work, _), read in zip(
        users, nodes(data, 'user'), strict=True
    ):
        of_age = read.pop(1)
        assert read == [f'user={user}', f'gender={gender}', f'occupation={work}']
        assert ages[of_age][0] <= int(age) < ages[of_age][1]
    counts: Counter[str] = Counter()
    for (item, _, year, genres), read in zip(films, nodes(data, 'item'), strict=True):
        *others, of_year = read
        expected = ['<missing>'] if genres == 'unknown' else genres.split(' ')
        assert others == [f'item={item}', *(f'genres={genre}' for genre in expected)]
        counts.update(expected)
        if item == '267':
            assert of_year == 'year=<missing>'
        else:  # One is a video, with the year in the column of the title.
            low, high = years[of_year]
            assert low <= (1995 if year == 'V' else int(year)) < high
    assert (counts['Drama'], counts['Fantasy'], counts['<missing>']) == (725, 22, 2)
    assert len(data.schema.vocabulary['item']['genres']) == 18


def test_features_of_ml_latest_small(data_root):
    data = MovieLensLatestSmall(data_root / 'ml-latest-small')
    assert data.item.unique().numel() == 9724
    films = pd.read_csv(data_root / 'ml-latest-small' / 'movies.csv', dtype=str)
    counts: Counter[str] = Counter()
    for (item, title, text), read in zip(films.values, nodes(data, 'item'), strict=True):
        genres = (
            ['<missing>'] if text == '(no genres listed)' else sorted(text.split('|'))
        )
        assert read[:-1] == [f'item={item}', *(f'genres={genre}' for genre in genres)]
        dated = title.strip()[-6] == '(' and title.strip()[-5:-1].isdigit()
        assert (read[-1] == 'year=<missing>') == (not dated)
        counts.update([*genres, read[-1]])
    assert (counts['Drama'], counts['IMAX'], counts['<missing>']) == (4361, 158, 34)
    assert counts['year=<missing>'] == 13
    sizes = [n for name, n in counts.items() if name.startswith('year=') and n > 13]
    assert len(sizes) == 10 and sum(sizes) == 9742 - 13


def test_graph_of_latest_small(data_root):
    """The sizes of its core of 20 ratings, and of what has 20 before any is left out."""
    folder = data_root / 'ml-latest-small'
    graph = MovieLensLatestSmall(folder).graph()
    assert (graph.num_users, graph.num_items, graph.num_edges) == (610, 9742, 100836)
    assert len(graph.label_names) == 19 and int((~graph.item_labels.any(1)).sum()) == 34
    enough = graph.item_degree[graph.item] >= 20
    enough &= graph.user_degree[graph.user] >= 20
    core, once = graph.core(20, repeat=True), graph.subgraph(enough).core(1)
    assert (core.num_users, core.num_items, core.num_edges) == (566, 1286, 67020)
    assert (once.num_users, once.num_items, once.num_edges) == (610, 1297, 67898)
    films = pd.read_csv(folder / 'movies.csv').set_index('movieId')['genres']
    stars = pd.read_csv(folder / 'ratings.csv').set_index(['userId', 'movieId'])['rating']
    for part in (core, once):
        users, items = part.user_ids.astype(int), part.item_ids.astype(int)
        own = zip(users[part.user.numpy()], items[part.item.numpy()], strict=True)
        assert part.value.tolist() == stars.loc[list(own)].tolist()
        names = np.array(part.label_names)
        texts = [set(names[row]) for row in part.item_labels.numpy()]
        assert texts == [set(text.split('|')) for text in films[items]]
    with pytest.raises(ValueError, match=r'No rating is 6 or higher'):
        MovieLensLatestSmall(folder, min_rating=6).graph()
