"""MovieLens-latest-small against its raw files, read here in another way."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from raw_files import nodes, sessions

from iedr_geo.datasets import MovieLensLatestSmall


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
