"""Where datasets look for raw files, and what they write: on small files of each kind."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from iedr_geo.datasets import Gowalla, MovieLens1M, raw_folder

TEXT = {
    MovieLens1M: {'ratings.dat': '1::10::5::70\n1::9::3::71\n2::10::4::72\n'},
    Gowalla: {'train.txt': '0 2 0\n1 1\n', 'test.txt': '1 0\n'},
}
# The same graphs, but for the time of ratings.
ARRAYS = {
    MovieLens1M: {'user': [1, 1, 2], 'item': [10, 9, 10], 'rating': [5, 3, 4]},
    Gowalla: {
        'train': [[0, 2], [0, 0], [1, 1]],
        'test': [[1, 0]],
        'n_users': 2,
        'n_items': 3,
    },
}
# With one edge less.
SHORTER = {
    MovieLens1M: {'ratings.dat': '1::10::5::70\n2::10::4::72\n'},
    Gowalla: {'train.txt': '0 0\n1 1\n', 'test.txt': '1 0\n'},
}


@pytest.fixture(params=[MovieLens1M, Gowalla])
def cls(request) -> type:
    return request.param


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of PyG of this test's own, in which nothing is processed yet."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'home'))
    monkeypatch.delenv('IEDR_GEO_DATA', raising=False)
    return tmp_path / 'home'


def write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def root(cls, tmp_path: Path) -> Path:
    return write(tmp_path / 'root', TEXT[cls])


def edges(data: HeteroData) -> dict[str, list[list[int]]]:
    return {name[1]: data[name].edge_index.tolist() for name in data.edge_types}


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in [folder, *folder.rglob('*')]
    }


EDGES = {
    MovieLens1M: {'rates': [[0, 0, 1], [1, 0, 1]]},
    Gowalla: {'train': [[0, 0, 1], [2, 0, 1]], 'test': [[1], [0]]},
}


@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('arrays', [False, True])
def test_root(cls, tmp_path, home, nested, arrays):
    """In the root or its folder `raw`, as text or as arrays; nothing is written there."""
    root = tmp_path / 'own'
    folder = root / 'raw' if nested else root
    if arrays:
        folder.mkdir(parents=True)
        np.savez(folder / cls.alternative[0], **ARRAYS[cls])
    else:
        write(folder, TEXT[cls])
    before = listing(root)
    data = cls(str(root) if nested else root)[0]
    assert edges(data) == EDGES[cls]
    assert list(data.metadata()[0]) == ['user', data.edge_types[0][2]]
    assert listing(root) == before
    [processed] = (home / 'iedr_geo' / cls.folder / 'processed').glob('[0-9a-f]*.pt')
    assert len(processed.stem) == 16


def test_text_goes_before_arrays(cls, root):
    np.savez(root / cls.alternative[0], **ARRAYS[cls])
    write(root, SHORTER[cls])
    assert edges(cls(root)[0]) != EDGES[cls]
    (root / next(iter(TEXT[cls]))).unlink()  # Only if none is missing.
    assert edges(cls(root)[0]) == EDGES[cls]


def test_cache(cls, root, monkeypatch):
    first = cls(root)

    def refuse(self):
        raise AssertionError('processed again')

    with monkeypatch.context() as patch:
        patch.setattr(cls, 'process', refuse)
        assert edges(cls(root)[0]) == edges(first[0])
        with pytest.raises(AssertionError, match='processed again'):
            cls(root, force_reload=True)
    # Neither the root nor the names of files tell what is in them.
    write(root, SHORTER[cls])
    assert edges(cls(root)[0]) != edges(first[0])
    write(root, TEXT[cls])
    assert edges(cls(root)[0]) == edges(first[0])


def test_interrupted_processing(cls, root, monkeypatch):
    def save(self, data_list, path):
        Path(path).write_bytes(b'half')
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cls, 'save', save)
        with pytest.raises(KeyboardInterrupt):
            cls(root)
    assert edges(cls(root)[0]) == EDGES[cls]


def test_transform(cls, root):
    def mark(data):
        data.mark = True
        return data

    assert cls(root, mark)[0].mark
    assert 'mark' not in cls(root)[0]


def test_missing(cls, root, tmp_path):
    *_, last = TEXT[cls]
    (root / last).unlink()
    with pytest.raises(FileNotFoundError, match=f'{root} lacks {last}$'):
        cls(root)
    with pytest.raises(FileNotFoundError, match=f'none lacks {", ".join(TEXT[cls])}$'):
        cls(tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


def test_default_root_is_in_the_data_folder(cls, tmp_path, monkeypatch):
    write(tmp_path / 'data' / cls.folder, TEXT[cls])
    monkeypatch.setenv('IEDR_GEO_DATA', str(tmp_path / 'data'))
    assert edges(cls()[0]) == EDGES[cls]


def archive(text: str, name: str = 'ml-1m/ratings.dat') -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, 'w') as file:
        file.writestr('ml-1m/README', 'terms')
        file.writestr(name, text)
    return content.getvalue()


@pytest.fixture
def server(cls, monkeypatch) -> dict[str, bytes]:
    """What is at each URL, with the checksums of the small files."""
    if cls is MovieLens1M:
        content = archive(TEXT[cls]['ratings.dat'])
        monkeypatch.setattr(cls, 'checksum', hashlib.sha256(content).hexdigest())
        files = {'ratings.dat': content}
    else:
        files = {name: text.encode() for name, text in TEXT[cls].items()}
        pairs = {'train.txt': (0, 0, 0, 2, 1, 1), 'test.txt': (1, 0)}
        sums = {
            name: hashlib.sha256(struct.pack(f'<{len(ids)}q', *ids)).hexdigest()
            for name, ids in pairs.items()
        }
        monkeypatch.setattr(cls, 'checksums', sums)
    content = {cls.urls[name]: file for name, file in files.items()}

    def download_url(url, folder, log=True, filename=None):
        path = Path(folder) / filename
        assert not path.exists()  # PyG would not download it.
        path.write_bytes(content[url])

    monkeypatch.setattr(raw_folder, 'download_url', download_url)
    return content


def test_download(cls, home, server):
    """To the home of PyG, once; what is there is not downloaded again."""
    assert edges(cls()[0]) == EDGES[cls]
    folder = home / 'iedr_geo' / cls.folder
    read = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}
    assert read == TEXT[cls]
    first, *others = TEXT[cls]
    for name in others:
        del server[cls.urls[name]]
    assert edges(cls()[0]) == EDGES[cls]
    (folder / first).unlink()
    assert edges(cls()[0]) == EDGES[cls]  # Of what is left, nothing was asked for.
    server.clear()
    assert edges(cls()[0]) == EDGES[cls]


def test_downloads_to_the_data_folder(cls, tmp_path, monkeypatch, server):
    monkeypatch.setenv('IEDR_GEO_DATA', str(tmp_path / 'data'))
    assert edges(cls()[0]) == EDGES[cls]
    files = {path.name for path in (tmp_path / 'data' / cls.folder).iterdir()}
    assert files == set(TEXT[cls])


@pytest.mark.parametrize('kind', ['page', 'other', 'truncated'])
def test_damaged_download(cls, home, server, kind):
    """No trace of it is left, so the next try starts anew."""
    *others, last = TEXT[cls]
    url = cls.urls[last]
    damaged = 'ml-1m.zip' if cls is MovieLens1M else last
    good = server[url]
    server[url] = {
        'page': b'<!DOCTYPE html><title>Rate limit exceeded</title>',
        'other': archive('1::10::5::70\n') if cls is MovieLens1M else b'1 2\n',
        'truncated': good[:-2],
    }[kind]
    with pytest.raises(ValueError, match=f'{damaged}.* is damaged'):
        cls()
    folder = home / 'iedr_geo' / cls.folder
    assert {path.name for path in folder.iterdir()} == set(others)
    server[url] = good
    # Left by a process that was killed.
    (folder / f'{damaged}.partial').write_bytes(b'half')
    assert edges(cls()[0]) == EDGES[cls]
    assert not list(home.rglob('*.partial'))


def test_cannot_write(cls, root, tmp_path, monkeypatch):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('PYG_HOME', str(tmp_path / 'file'))
    folder = tmp_path / 'file' / 'iedr_geo' / cls.folder
    with pytest.raises(OSError, match=f'Cannot write to {folder / "processed"}: '):
        cls(root)
    with pytest.raises(OSError, match=f'Cannot write to {folder}: '):
        cls()


def test_processed_file_is_read_without_pickle(cls, root, home):
    cls(root)
    [path] = home.rglob('[0-9a-f]' * 16 + '.pt')
    content = torch.load(path, weights_only=True)
    assert content[2] is HeteroData
