"""MovieLens-latest-small, small and against its raw files, read here in another way."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from raw_files import LATEST, LATEST_FILMS, buckets, nodes, sessions, write

from iedr_geo.datasets import MovieLensLatestSmall


@pytest.fixture
def data(tmp_path) -> MovieLensLatestSmall:
    return MovieLensLatestSmall(write(tmp_path, LATEST))


def test_films(data):
    """One node a genre; without a genre or a year, there is a node that says so."""
    assert data.item_ids.tolist() == list(LATEST_FILMS)
    years = buckets(data, 'item', 'year')
    read = nodes(data, 'item')
    for row, features in zip(LATEST_FILMS.items(), read, strict=True):
        film, (_, genres, year) = row
        genre_nodes = [f'genres={genre}' for genre in genres or ['<missing>']]
        assert features[:-1] == [f'item={film}', *genre_nodes]
        if year is None:
            assert features[-1] == 'year=<missing>'
        else:
            low, high = years[features[-1]]
            assert low <= year < high


def test_users_are_ids(data):
    assert nodes(data, 'user') == [['user=1'], ['user=2'], ['user=3']]


def test_table_of_films(data):
    table = data.films().set_index('item')
    assert table.index.astype(str).tolist() == list(LATEST_FILMS)
    for film, (title, genres, year) in LATEST_FILMS.items():
        row = table.loc[int(film)]
        assert (row['title'], row['genres']) == (title, '|'.join(genres))
        assert pd.isna(row['year']) if year is None else row['year'] == year


@pytest.mark.parametrize(
    ('name', 'old', 'new', 'message'),
    [
        ('movies.csv', 'genres\r', 'genre\r', "no column 'genres'"),
        ('movies.csv', '\r\n3,', '\r\nthree,', "the item in row 3 is 'three', not a "),
        ('movies.csv', 'Mirror,(no genres listed)', 'Mirror', 'row 3 has no genres$'),
        (
            'ratings.csv',
            ',2.5,',
            ',2.4,',
            "'2.4', not a multiple of 0.5 from 0.5 to 5$",
        ),
    ],
)
def test_bad_files(tmp_path, name, old, new, message):
    assert old in LATEST[name]
    write(tmp_path, LATEST | {name: LATEST[name].replace(old, new, 1)})
    with pytest.raises(ValueError, match=f'{tmp_path / name}.*{message}'):
        MovieLensLatestSmall(tmp_path)


@pytest.fixture(scope='module')
def real(data_root: Path) -> MovieLensLatestSmall:
    return MovieLensLatestSmall(data_root / 'ml-latest-small')


@pytest.fixture(scope='module')
def tables(data_root: Path) -> dict[str, list[dict[str, str]]]:
    result = {}
    for name in ('ratings', 'movies'):
        path = data_root / 'ml-latest-small' / f'{name}.csv'
        with path.open(encoding='utf-8', newline='') as file:
            result[name] = list(csv.DictReader(file))
    return result


def test_counts(real):
    assert len(real) == 100_836
    assert (real.num_users, real.num_items, real.num_contexts) == (610, 9742, 336)
    assert real.item.unique().numel() == 9724
    assert [len(part) for part in real.split()[:3]] == [100_836 - 2 * 610, 610, 610]
    assert len(MovieLensLatestSmall(real.root, min_rating=4)) == 48_580


def test_rows_are_the_raw_file(real, tables):
    rows = tables['ratings']
    users, items = real.user_ids[real.user.numpy()], real.item_ids[real.item.numpy()]
    assert users.tolist() == [row['userId'] for row in rows]
    assert items.tolist() == [row['movieId'] for row in rows]
    assert real.time.long().tolist() == [int(row['timestamp']) for row in rows]


def test_features_of_every_film(real, tables):
    counts: Counter[str] = Counter()
    for row, read in zip(tables['movies'], nodes(real, 'item'), strict=True):
        listed = row['genres'] != '(no genres listed)'
        genres = row['genres'].split('|') if listed else ['<missing>']
        assert read[:-1] == [f'item={row["movieId"]}', *(f'genres={g}' for g in genres)]
        bracket, year = row['title'].strip()[-6:-5], row['title'].strip()[-5:-1]
        dated = bracket == '(' and year.isdigit()
        assert (read[-1] == 'year=<missing>') == (not dated)
        counts.update([*genres, read[-1]])
    assert (counts['Drama'], counts['IMAX'], counts['<missing>']) == (4361, 158, 34)
    assert counts['year=<missing>'] == 13
    sizes = [n for name, n in counts.items() if name.startswith('year=') and n > 13]
    assert len(sizes) == 10 and sum(sizes) == 9742 - 13


def test_users_rate_in_sessions(real):
    assert sessions(real) == {
        'shared second': 0.23,
        'one context': 309,
        'tie': 94,
        'same context': 0.921,
    }
    train, valid, test, _ = real.split()
    for part in (valid, test):
        assert set(part.context.tolist()) <= set(train.context.tolist())
