"""MovieLens-100K in both formats, and against its raw files, read here in another way."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_files import ARCHIVE, FILMS, TYPED, buckets, nodes, sessions, write

from iedr_geo.datasets import MovieLens100K


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    return tmp_path / 'home'


@pytest.fixture(params=['archive', 'typed'])
def data(request, tmp_path) -> MovieLens100K:
    files = {'archive': ARCHIVE, 'typed': TYPED}[request.param]
    return MovieLens100K(write(tmp_path / request.param, files))


def assert_between(number: int, bounds: tuple[float, float]) -> None:
    assert bounds[0] <= number < bounds[1]


def test_users(data):
    """Groups of ages begin with the age that names them; zip codes are no feature."""
    assert nodes(data, 'user') == [
        ['user=1', 'age=<18', 'gender=M', 'occupation=student'],
        ['user=2', 'age=18 to 25', 'gender=F', 'occupation=other'],
        ['user=3', 'age=>=56', 'gender=M', 'occupation=writer'],
    ]


def test_films(data):
    """A film without a known genre, and one without a year, have nodes that say so."""
    assert data.item_ids.tolist() == list(FILMS)
    years = buckets(data, 'item', 'year')
    read = nodes(data, 'item')
    for (film, (_, genres, year)), features in zip(FILMS.items(), read, strict=True):
        genre_nodes = [f'genres={genre}' for genre in genres or ['<missing>']]
        assert features[:-1] == [f'item={film}', *genre_nodes]
        if year is None:
            assert features[-1] == 'year=<missing>'
        else:
            assert_between(year, years[features[-1]])


def test_table_of_films(data):
    table = data.films()
    assert table.columns.tolist() == ['item', 'title', 'genres', 'year']
    assert table['item'].tolist() == [int(film) for film in FILMS]
    assert table['title'].tolist() == [title for title, _, _ in FILMS.values()]
    assert table['genres'].tolist() == [
        '|'.join(genres) for _, genres, _ in FILMS.values()
    ]
    years = [year for *_, year in FILMS.values()]
    assert (
        table['year'].astype(object).where(table['year'].notna(), None).tolist() == years
    )


def test_both_formats_are_the_same_dataset(tmp_path, home):
    one, two = (
        MovieLens100K(write(tmp_path / str(i), files))
        for i, files in enumerate((ARCHIVE, TYPED))
    )
    assert len(list(home.rglob('*-0.pt'))) == 2  # Neither is the other's cache.
    for name in ('user', 'item', 'context', 'time'):
        assert torch.equal(getattr(one, name), getattr(two, name))
    for side in ('users', 'items', 'contexts'):
        for tensor in ('x', 'ptr'):
            assert torch.equal(*(getattr(getattr(d, side), tensor) for d in (one, two)))
    assert one.schema == two.schema
    assert one.user_ids.equals(two.user_ids) and one.item_ids.equals(two.item_ids)
    assert one.context_frame.equals(two.context_frame)
    assert one.films().equals(two.films())
    for part in ('valid', 'test'):
        assert torch.equal(one.candidates(part).item, two.candidates(part).item)


def test_archive_goes_before_typed_files(tmp_path):
    write(tmp_path, TYPED)
    write(tmp_path, ARCHIVE | {'u.data': '1\t1\t5\t7\n'})
    assert len(MovieLens100K(tmp_path)) == 1
    (tmp_path / 'u.genre').unlink()  # Only if none is missing.
    assert len(MovieLens100K(tmp_path)) == 10
    (tmp_path / 'ml-100k.user').unlink()
    with pytest.raises(FileNotFoundError, match=f'{tmp_path} lacks u.genre$'):
        MovieLens100K(tmp_path)


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
        ('u.genre', '\n\n', '\nWar|4\n', "u.item .* table has no column '9'"),
        ('ml-100k.item', 'class:token_seq', 'genre:token', "no column 'class:token_seq'"),
        ('ml-100k.item', '\tAction Film-Noir', '', 'row 2 has no genres$'),
        ('ml-100k.user', '\t18\t', '\t18.5\t', r"the age in row 2 is '18\.5', not "),
        ('ml-100k.inter', 'rating:float', 'rating', "no column 'rating:float'"),
    ],
)
def test_bad_files(tmp_path, name, old, new, message):
    files = ARCHIVE if name in ARCHIVE else TYPED
    assert old in files[name]
    write(tmp_path, files | {name: files[name].replace(old, new, 1)})
    with pytest.raises(ValueError, match=f'{tmp_path}.*{message}'):
        MovieLens100K(tmp_path)


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
    names = real.schema.names()
    contexts = [[names[x] for x in graph.x] for graph in real.contexts]
    quarters = ('0-5', '6-11', '12-17', '18-23')
    for row in range(0, 100_000, 97):
        moment = datetime.fromtimestamp(time[row], timezone.utc)
        assert contexts[real.context[row]] == [
            f'time.hour={quarters[moment.hour // 6]}',
            f'time.weekday={moment.strftime("%A").lower()}',
            f'time.weekend={"weekend" if moment.weekday() > 4 else "workday"}',
            f'time.month={moment.strftime("%B").lower()}',
        ]


def test_features_of_every_user_and_film(real, tables):
    ages = buckets(real, 'user', 'age')
    for row, read in zip(tables['user'], nodes(real, 'user'), strict=True):
        user, age, gender, occupation, _ = row
        assert [read[0], *read[2:]] == [
            f'user={user}',
            f'gender={gender}',
            f'occupation={occupation}',
        ]
        assert_between(int(age), ages[read[1]])
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
            assert_between(1995 if year == 'V' else int(year), years[read[-1]])
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
