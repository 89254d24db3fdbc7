"""MovieLens-100K against its raw files, read here in another way."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from raw_files import buckets, nodes, sessions

from iedr_geo.datasets import MovieLens100K


@pytest.fixture(scope='module')
def real(data_root: Path) -> MovieLens100K:
    return MovieLens100K(data_root / 'ml-100k')


@pytest.fixture(scope='module')
def tables(data_root: Path) -> dict[str, list[list[str]]]:
    return {
        kind: [
            line.split('\t')
            for line in (data_root / 'ml-100k' / f'ml-100k.{kind}')
            .read_text('utf-8')
            .splitlines()[1:]
        ]
        for kind in ('inter', 'user', 'item')
    }


def test_counts(real):
    assert len(real) == 100_000
    assert (real.num_users, real.num_items, real.num_contexts) == (943, 1682, 220)
    assert [len(part) for part in real.split()[:3]] == [100_000 - 2 * 943, 943, 943]
    assert len(MovieLens100K(real.root, min_rating=4)) == 55_375


def test_rows_are_the_raw_file(real, tables):
    user, item, _, time = np.array(tables['inter'], dtype=int).T
    assert np.array_equal(real.user_ids[real.user.numpy()].astype(int), user)
    assert np.array_equal(real.item_ids[real.item.numpy()].astype(int), item)
    assert np.array_equal(real.time.numpy(), time)


def test_features_of_every_user_and_film(real, tables):
    ages = buckets(real, 'user', 'age')
    for row, read in zip(tables['user'], nodes(real, 'user'), strict=True):
        user, age, gender, occupation, _ = row
        assert [read[0], *read[2:]] == [
            f'user={user}',
            f'gender={gender}',
            f'occupation={occupation}',
        ]
        assert ages[read[1]][0] <= int(age) < ages[read[1]][1]
    counts: Counter[str] = Counter()
    years = buckets(real, 'item', 'year')
    for row, read in zip(tables['item'], nodes(real, 'item'), strict=True):
        item, _, year, genres = row
        expected = ['<missing>'] if genres == 'unknown' else genres.split(' ')
        assert read[:-1] == [f'item={item}', *(f'genres={genre}' for genre in expected)]
        counts.update(expected)
        if item == '267':
            assert read[-1] == 'year=<missing>'
        else:  # One is a video, with the year in the column of the title.
            low, high = years[read[-1]]
            assert low <= (1995 if year == 'V' else int(year)) < high
    assert (counts['Drama'], counts['Fantasy'], counts['<missing>']) == (725, 22, 2)
    assert len(real.schema.vocabulary['item']['genres']) == 18


def test_users_rate_in_sessions(real):
    assert sessions(real) == {
        'shared second': 0.758,
        'one context': 532,
        'tie': 415,
        'same context': 0.935,
    }
    train, valid, test, _ = real.split()
    for part in (valid, test):
        assert set(part.context.tolist()) <= set(train.context.tolist())
