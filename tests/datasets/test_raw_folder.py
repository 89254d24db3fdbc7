"""Where readers look for raw files, and what they write: on small files of each kind."""

from __future__ import annotations

import hashlib
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from raw_files import (
    ARCHIVE,
    DEPAUL,
    FRAPPE,
    LATEST,
    LISTS,
    STS,
    TYPED,
    archive,
    arrays,
    encode,
    write,
)

from iedr_geo.data import InteractionDataset
from iedr_geo.datasets import (
    DePaulMovie,
    Frappe,
    Gowalla,
    MovieLens1M,
    MovieLens100K,
    MovieLensLatestSmall,
    TravelSTS,
    raw_folder,
)


class Reader(NamedTuple):
    """A dataset, its raw files, and what is downloaded for each of them."""

    cls: Any
    files: dict[str, bytes]
    downloads: dict[str, bytes]
    checksums: dict[str, str]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def from_archive(cls: Any, texts: dict[str, str]) -> Reader:
    files = encode(texts)
    content = archive(
        {f'{cls.folder}/README': 'terms'}
        | {f'{cls.folder}/{name}': file for name, file in files.items()}
    )
    sums = dict.fromkeys(files, sha256(content))
    return Reader(cls, files, dict.fromkeys(files, content), sums)


def as_it_is(cls: Any, files: dict[str, bytes]) -> Reader:
    return Reader(cls, files, files, {name: sha256(file) for name, file in files.items()})


RATINGS = '1::10::5::70\n1::9::3::71\n2::10::4::72\n'
LINES = {'train.txt': b'0 2 0\n1 1\n', 'test.txt': b'1 0\n'}
PAIRS = {'train.txt': (0, 0, 0, 2, 1, 1), 'test.txt': (1, 0)}  # Sorted.
READERS = {
    '1m': from_archive(MovieLens1M, {'ratings.dat': RATINGS}),
    '100k': from_archive(MovieLens100K, ARCHIVE),
    'latest': from_archive(MovieLensLatestSmall, LATEST),
    'gowalla': Reader(
        Gowalla,
        LINES,
        LINES,
        {n: sha256(struct.pack(f'<{len(ids)}q', *ids)) for n, ids in PAIRS.items()},
    ),
    'frappe': Reader(
        Frappe,
        FRAPPE,
        FRAPPE | LISTS,
        {name: sha256(file) for name, file in (FRAPPE | LISTS).items()},
    ),
    'depaul': as_it_is(DePaulMovie, DEPAUL),
    'sts': as_it_is(TravelSTS, STS),
}
ALTERNATIVES = {  # The same, in other files.
    '1m': {
        'ratings.npz': arrays(user=[1, 1, 2], item=[10, 9, 10], rating=[5, 3, 4]),
    },
    '100k': encode(TYPED),
    'gowalla': {
        'gowalla.npz': arrays(
            train=[[0, 2], [0, 0], [1, 1]], test=[[1, 0]], n_users=2, n_items=3
        ),
    },
}
LAST_LINES = {'1m': 'ratings.dat', '100k': 'u.data', 'latest': 'ratings.csv'}


@pytest.fixture(params=READERS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def reader(kind, monkeypatch) -> Reader:
    reader = READERS[kind]
    monkeypatch.setattr(reader.cls, 'checksums', reader.checksums)
    return reader


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of PyG of this test's own, in which nothing is processed yet."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('IEDR_GEO_DATA', raising=False)
    return tmp_path / 'home'


@pytest.fixture
def root(reader, tmp_path: Path) -> Path:
    return write(tmp_path / 'root', reader.files)


@pytest.fixture
def server(reader, monkeypatch) -> dict[str, Any]:
    """What is at each URL, or the error on the way."""
    content = {url: reader.downloads[n] for n, url in reader.cls.urls.items()}

    def download_url(url, folder, log=True, filename=None):
        path = Path(folder) / filename
        assert not path.exists()  # PyG would not download it.
        if isinstance(content[url], Exception):
            path.write_bytes(b'half')
            raise content[url]
        path.write_bytes(content[url])

    monkeypatch.setattr(raw_folder, 'download_url', download_url)
    return content


def rows(data: Any) -> Any:
    """Returns what was read, without the transform."""
    if isinstance(data, InteractionDataset):
        users, items = data.user_ids[data.user.numpy()], data.item_ids[data.item.numpy()]
        return list(zip(users, items, data.context.tolist(), strict=True))
    graph = data.get(0)
    return {kind: graph[kind].edge_index.tolist() for kind in graph.edge_types}


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob('*')]
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()} - {'.lock'}


@pytest.mark.parametrize('nested', [False, True])
def test_root(reader, tmp_path, home, nested):
    """In the root or its folder `raw`; nothing is written there, nor pickled."""
    root = tmp_path / 'own'
    write(root / 'raw' if nested else root, reader.files)
    before = listing(root)
    data = reader.cls(str(root) if nested else root, transform=lambda sample: 'changed')
    (home / 'iedr_geo' / reader.cls.folder / 'processed' / '.lock').unlink()
    cached = listing(home)  # Is only read the next time.
    assert rows(reader.cls(root)) == rows(data) and data[0] == 'changed'
    assert listing(home) == cached
    if isinstance(data, InteractionDataset):
        data.split(), data.candidates('test')
    assert listing(root) == before
    processed = home / 'iedr_geo' / reader.cls.folder / 'processed'
    [path] = processed.glob('[0-9a-f]*.pt')
    assert len(path.stem.split('-')[0]) == 16
    torch.load(path, weights_only=True)


@pytest.mark.parametrize('kind', ALTERNATIVES, indirect=True)
def test_alternative_files(kind, reader, root, tmp_path, home):
    """They stand for the others, but only if one of those is missing."""
    expected = rows(reader.cls(root))
    (root / next(iter(reader.files))).write_bytes(b'')
    write(root, ALTERNATIVES[kind])
    with pytest.raises(ValueError, match=f'{root}.* is damaged'):
        reader.cls(root)
    first, *_ = reader.files
    (root / first).unlink()
    assert rows(reader.cls(root)) == expected
    assert len(list(home.rglob('[0-9a-f]' * 16 + '*.pt'))) == 2  # By content.
    (root / next(iter(ALTERNATIVES[kind]))).unlink()
    with pytest.raises(FileNotFoundError, match=f'{root} lacks {first}$'):
        reader.cls(root)


def test_cache(kind, reader, root, monkeypatch):
    """Neither the root nor the names of files tell what is in them."""
    cls, first = reader.cls, rows(reader.cls(root))

    def refuse(self):
        raise AssertionError('processed again')

    with monkeypatch.context() as patch:
        patch.setattr(cls, 'process', refuse)
        assert rows(cls(root)) == first
        with pytest.raises(AssertionError, match='processed again'):
            cls(root, force_reload=True)
    if kind in LAST_LINES:
        name = LAST_LINES[kind]
        end = reader.files[name].rstrip().rindex(b'\n')
        write(root, {name: reader.files[name][: end + 1]})
        assert rows(cls(root)) != first
        write(root, reader.files)
        assert rows(cls(root)) == first


def test_interrupted_processing(reader, root, home, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, 'replace', interrupt)
        with pytest.raises(KeyboardInterrupt):
            reader.cls(root)
    assert not list(home.rglob('[0-9a-f]' * 16 + '*.pt'))
    reader.cls(root)


def test_missing(reader, root, tmp_path):
    first, *others = reader.files
    for name in (first, *others[-1:]):
        content = (root / name).read_bytes()
        (root / name).unlink()
        with pytest.raises(FileNotFoundError, match=f'{root} lacks {name}$'):
            reader.cls(root)
        (root / name).write_bytes(content)
    wanted = ', '.join(reader.files)
    with pytest.raises(FileNotFoundError, match=f'none lacks {wanted}$'):
        reader.cls(tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


def test_download(reader, root, home, server):
    """To the home of PyG, once, and of an archive what is wanted alone."""
    cls, folder = reader.cls, home / 'iedr_geo' / reader.cls.folder
    expected = rows(cls(root))
    assert rows(cls()) == expected
    assert names(folder) == set(reader.files)
    for name, content in reader.files.items():
        assert name.endswith('.gz') or (folder / name).read_bytes() == content
    *_, last = reader.files
    before = listing(folder)
    content = {cls.urls[last]: server[cls.urls[last]]}
    server.clear()
    assert rows(cls()) == expected
    (folder / last).unlink()
    server.update(content)  # Of what is left, nothing is asked for.
    assert rows(cls()) == expected
    kept = {path: stat for path, stat in before.items() if path in reader.files}
    del kept[last]
    assert kept.items() <= listing(folder).items()


def test_data_folder(reader, root, tmp_path, monkeypatch, server):
    """It is the default root, and where files are downloaded to."""
    expected = rows(reader.cls(root))
    monkeypatch.setenv('IEDR_GEO_DATA', str(tmp_path / 'data'))
    assert rows(reader.cls()) == expected
    assert names(tmp_path / 'data' / reader.cls.folder) == set(reader.files)
    server.clear()
    assert rows(reader.cls()) == expected


@pytest.mark.parametrize('damage', ['page', 'other', 'cut', 'interrupted'])
def test_damaged_download(reader, home, server, damage):
    """No trace of it is left, nor is one in the way of the next try."""
    cls, folder = reader.cls, home / 'iedr_geo' / reader.cls.folder
    *_, last = reader.files
    url = cls.urls[last]
    good = server[url]
    damaged = {
        'page': b'<!DOCTYPE html>',
        'other': b'1 2\n',
        'cut': good[:-2],
        'interrupted': ConnectionError('reset by peer'),
    }
    server[url] = damaged[damage]
    message = f'from {url} is damaged or |^reset by peer$'
    with pytest.raises((ValueError, ConnectionError), match=message):
        cls()
    server[url] = good
    kept = [name for name in reader.files if cls.urls[name] != url]
    assert names(folder) == set(kept)
    # Left by processes that were killed.
    old, other = folder / f'.{last}.7-7.partial', f'{url.rsplit("/", 1)[1]}.partial'
    for path in (old, folder / other):
        path.write_bytes(b'half')
    os.utime(old, (0, 0))
    cls()
    assert names(folder) == set(reader.files)


def test_cannot_write(reader, root, tmp_path, monkeypatch):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'file'))
    folder = tmp_path / 'file' / 'iedr_geo' / reader.cls.folder
    with pytest.raises(OSError, match=f'Cannot write to {folder / "processed"}: '):
        reader.cls(root)
    with pytest.raises(OSError, match=f'Cannot write to {folder}: '):
        reader.cls()


def test_nothing_is_unpickled(reader, root, home, monkeypatch):
    """Neither what PyG keeps beside a cache nor the cache, which is made again."""
    expected = rows(reader.cls(root))
    [path] = home.rglob('[0-9a-f]' * 16 + '*.pt')
    load = torch.load

    def weights_alone(*args: Any, weights_only: bool = False, **kwargs: Any) -> Any:
        assert weights_only
        return load(*args, weights_only=True, **kwargs)

    monkeypatch.setattr(torch, 'load', weights_alone)
    monkeypatch.setattr(pickle, 'load', pytest.fail)
    content = path.read_bytes()
    for name in ('pre_transform.pt', 'pre_filter.pt'):
        torch.save(Trap(), path.with_name(name))
    assert rows(reader.cls(root)) == expected
    flipped = bytearray(content)
    flipped[content.index(b'\x80\x02') + 30] ^= 1  # In what is pickled.
    torch.save(Trap(), path)
    for damage in (path.read_bytes(), bytes(flipped), content[:-9], b''):
        path.write_bytes(damage)
        with pytest.warns(UserWarning, match=rf'^{path} is damaged: .*made again'):
            assert rows(reader.cls(root)) == expected
        assert rows(reader.cls(root)) == expected


class Trap:
    """Ends the test when it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ('unpickled',)


@pytest.mark.parametrize('kind', ['latest', 'gowalla'], indirect=True)
def test_processes_that_make_one_cache_at_once(reader, root, home):
    """One makes it, and all succeed."""
    code = 'import sys; from iedr_geo.datasets import {0}; print({0}(sys.argv[1]))'
    command = [sys.executable, '-c', code.format(reader.cls.__name__), str(root)]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert len({output for output, _ in outputs}) == 1
    assert not any(b'damaged' in error for _, error in outputs)
