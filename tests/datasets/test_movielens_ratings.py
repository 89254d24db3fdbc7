"""What both datasets of films and ratings do, on small files."""

from __future__ import annotations

import hashlib
import io
import zipfile
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import raw_files
import torch
from raw_files import ARCHIVE, CONTEXTS, LATEST, RATINGS, TYPED, write

from iedr_geo.data import InteractionDataset
from iedr_geo.datasets import MovieLens100K, MovieLensLatestSmall, raw_folder
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import Recall

FILES = {'archive': ARCHIVE, 'typed': TYPED, 'latest': LATEST}
LOG = {'archive': 'u.data', 'typed': 'ml-100k.inter', 'latest': 'ratings.csv'}


@pytest.fixture(params=FILES)
def kind(request) -> str:
    return request.param


@pytest.fixture
def cls(kind) -> type:
    return MovieLensLatestSmall if kind == 'latest' else MovieLens100K


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of PyG of this test's own, in which nothing is processed yet."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('IEDR_GEO_DATA', raising=False)
    return tmp_path / 'home'


@pytest.fixture
def root(kind, tmp_path: Path) -> Path:
    return write(tmp_path / 'root', FILES[kind])


@pytest.fixture
def data(cls, root) -> InteractionDataset:
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


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob('*')]
    }


def test_rows_are_the_log(data):
    assert rows(data) == [(user, film, time) for user, film, _, time in RATINGS]
    assert data.y is None and data.exclude_seen


def test_contexts_are_parts_of_times_in_utc(data):
    names = data.schema.names()
    fields = ('hour', 'weekday', 'weekend', 'month')
    for sample, (*_, time) in zip(data, RATINGS, strict=True):
        moment = datetime.fromtimestamp(time, timezone.utc)
        values = CONTEXTS[time]
        first, last = map(int, values[0].split('-'))
        assert first <= moment.hour <= last
        assert values[1] == moment.strftime('%A').lower()
        assert values[2] == ('weekend' if moment.isoweekday() > 5 else 'workday')
        assert values[3] == moment.strftime('%B').lower()
        assert [names[x] for x in sample.x_context] == [
            f'time.{field}={value}' for field, value in zip(fields, values, strict=True)
        ]
    assert data.num_contexts == len(set(CONTEXTS.values()))


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


@pytest.mark.parametrize('part', ['valid', 'test'])
def test_candidates(data, part):
    """The held-out film first, and any that the user did not rate, in another order."""
    lists = data.candidates(part, num_negatives=60)
    held_out = getattr(data.split(), part)
    assert torch.equal(lists.user, held_out.user)
    assert torch.equal(lists.context, held_out.context)
    assert lists.list_index.tolist() == [i for i in range(3) for _ in range(61)]
    item, target = lists.item.view(3, 61), lists.target.view(3, 61)
    assert torch.equal(item[:, 0], held_out.item)
    assert target.tolist() == [[1] + 60 * [0]] * 3
    for user, drawn in zip(held_out.user.tolist(), item[:, 1:], strict=True):
        rated = set(data.item[data.user == user].tolist())
        # Of at most six films, each is among sixty uniform draws, but for a chance of
        # one in ten thousand, and the seed of the lists is fixed.
        assert set(drawn.tolist()) == set(range(data.num_items)) - rated


def test_candidates_are_fixed(cls, root, data):
    first = {part: data.candidates(part) for part in ('valid', 'test')}
    torch.manual_seed(1)
    for part, lists in first.items():
        assert torch.equal(cls(root).candidates(part).item, lists.item)
    assert len(first['test'].item) == 3 * 100
    drawn = [lists.item.view(3, 100)[:, 1:] for lists in first.values()]
    assert not torch.equal(*drawn)
    with pytest.raises(ValueError, match=r"'valid' or 'test' \(got 'train'\)"):
        data.candidates('train')


def test_seen_films_are_left_out_of_rankings(data):
    train, _, test, _ = data.split()
    seen = set(zip(train.user.tolist(), train.item.tolist(), strict=True))

    def best_for_seen(batch):
        pairs = zip(batch.user_id.tolist(), batch.item_id.tolist(), strict=True)
        return torch.tensor([float(pair in seen) for pair in pairs])

    others = data.num_items - 1 - train.user.bincount()
    result = evaluate_catalogue(best_for_seen, test, [train], [Recall(1)])
    expected = (1 / (1 + others[test.user])).mean()
    assert result.metrics['recall@1'] == pytest.approx(float(expected))


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


@pytest.mark.parametrize('nested', [False, True])
def test_root(cls, kind, tmp_path, home, nested):
    """In the root or its folder `raw`; nothing is written there."""
    root = tmp_path / 'own'
    write(root / 'raw' if nested else root, FILES[kind])
    before = listing(root)
    data = cls(str(root))
    assert len(data.films()) == data.num_items
    assert data.split().test.item.numel() == 3
    assert listing(root) == before
    [processed] = (home / 'iedr_geo' / cls.folder / 'processed').glob('[0-9a-f]*.pt')
    assert processed.stem.endswith('-0') and not list(home.rglob('*.partial'))


def test_default_root_is_in_the_data_folder(cls, kind, tmp_path, monkeypatch):
    write(tmp_path / 'data' / cls.folder, FILES[kind])
    monkeypatch.setenv('IEDR_GEO_DATA', str(tmp_path / 'data'))
    assert len(cls()) == len(RATINGS)


def test_cache_is_by_content(cls, kind, root, monkeypatch):
    """Neither the root nor the names of files tell what is in them."""
    first = cls(root)
    name, text = LOG[kind], FILES[kind][LOG[kind]]

    def refuse(self):
        raise AssertionError('processed again')

    with monkeypatch.context() as patch:
        patch.setattr(cls, 'process', refuse)
        assert rows(cls(root)) == rows(first)
        with pytest.raises(AssertionError, match='processed again'):
            cls(root, force_reload=True)
    write(root, {name: text[: text.rstrip().rindex('\n') + 1]})
    assert rows(cls(root)) == rows(first)[:-1]
    write(root, {name: text})
    assert rows(cls(root)) == rows(first)


def test_transform(cls, root):
    def mark(sample):
        sample.mark = True
        return sample

    assert cls(root, transform=mark)[5].mark
    assert 'mark' not in cls(root)[5]


def test_missing_file(cls, kind, root, tmp_path):
    names = list(cls.urls)
    with pytest.raises(FileNotFoundError, match=f'none lacks {", ".join(names)}$'):
        cls(tmp_path / 'none')
    assert not (tmp_path / 'none').exists()
    if kind != 'typed':
        (root / names[1]).unlink()
        with pytest.raises(FileNotFoundError, match=f'{root} lacks {names[1]}$'):
            cls(root)


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
        ('1 6 4 ', 'is damaged or of another format: row 11 has no time$'),
        ('1 6 4', 'is damaged or of another format: row 11 has no time$'),
        ('1  4 7', 'is damaged or of another format: row 11 has no item$'),
        ('1 6 4 7 8', 'is damaged or of another format: .*line 1[12]'),
    ],
)
def test_bad_rating(cls, kind, root, row, message):
    """Rows are counted from 1, below the header."""
    path = root / LOG[kind]
    separator = ',' if kind == 'latest' else '\t'
    path.write_text(path.read_text() + row.replace(' ', separator) + '\n')
    step = '0.5' if kind == 'latest' else '1'
    with pytest.raises(ValueError, match=f'{path}.*{message.format(step=step)}'):
        cls(root)


def test_unknown_film(cls, kind, root, home):
    path = root / LOG[kind]
    row = ('1', '666', '4', '7')
    path.write_text(path.read_text() + ('\t', ',')[kind == 'latest'].join(row) + '\n')
    with pytest.raises(ValueError, match=f"{root} is .*'item' .* absent .*: 666$"):
        cls(root)
    assert not list(home.rglob('*-0.pt*'))


def test_film_twice(cls, kind, root):
    path = root / {'archive': 'u.item', 'typed': 'ml-100k.item'}.get(kind, 'movies.csv')
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(True)[-1])
    with pytest.raises(ValueError, match=f"{root} is .*'item' .* holds an id twice"):
        cls(root)


@pytest.mark.parametrize('name', ['u.data', 'u.item', 'ml-100k.user', 'movies.csv'])
def test_empty_file(tmp_path, name):
    kind = next(kind for kind, files in FILES.items() if name in files)
    write(tmp_path, FILES[kind])
    (tmp_path / name).write_text('')
    cls = MovieLensLatestSmall if kind == 'latest' else MovieLens100K
    with pytest.raises(ValueError, match=f'{tmp_path / name} is damaged .*: No columns'):
        cls(tmp_path)


def archive(folder: str, files: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as content:
        content.writestr(f'{folder}/README', 'terms')
        for name, text in files.items():
            content.writestr(f'{folder}/{name}', raw_files.content(name, text))
    return file.getvalue()


@pytest.fixture
def server(cls, kind, monkeypatch) -> dict[str, bytes]:
    """What is at the URL, with the checksum of the small archive."""
    if kind == 'typed':
        pytest.skip('these files are not downloaded')
    (url,) = set(cls.urls.values())
    content = {url: archive(cls.folder, FILES[kind])}
    monkeypatch.setattr(cls, 'checksum', hashlib.sha256(content[url]).hexdigest())

    def download_url(url, folder, log=True, filename=None):
        path = Path(folder) / filename
        assert not path.exists()  # PyG would not download it.
        path.write_bytes(content[url])

    monkeypatch.setattr(raw_folder, 'download_url', download_url)
    return content


def test_download(cls, kind, home, server):
    """To the home of PyG, once, and what is wanted of the archive alone."""
    assert len(cls()) == len(RATINGS)
    folder = home / 'iedr_geo' / cls.folder
    read = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert read == {n: raw_files.content(n, text) for n, text in FILES[kind].items()}
    own = folder / list(FILES[kind])[1]
    own.write_bytes(read[own.name] + b'\n')  # Kept when another file is missing.
    (folder / LOG[kind]).unlink()
    assert len(cls()) == len(RATINGS)
    assert own.read_bytes() == read[own.name] + b'\n'
    server.clear()
    assert len(cls()) == len(RATINGS)


@pytest.mark.parametrize('damage', ['page', 'other', 'truncated'])
def test_damaged_download(cls, kind, home, server, damage):
    """No trace of it is left, so the next try starts anew."""
    (url,) = server
    good = server[url]
    server[url] = {
        'page': b'<!DOCTYPE html><title>Rate limit exceeded</title>',
        'other': archive(cls.folder, dict.fromkeys(FILES[kind], '')),
        'truncated': good[:-2],
    }[damage]
    with pytest.raises(ValueError, match=r'\.zip.* is damaged or another version'):
        cls()
    folder = home / 'iedr_geo' / cls.folder
    assert list(folder.iterdir()) == []
    server[url] = good
    # Left by a process that was killed.
    (folder / f'{cls.folder}.zip.partial').write_bytes(b'half')
    assert len(cls()) == len(RATINGS)
    assert not list(home.rglob('*.partial'))


def test_cached_file_is_read_without_pickle(cls, root, home):
    cls(root)
    [path] = home.rglob('*-0.pt')
    assert np.ndim(torch.load(path, weights_only=True)['user']) == 1
