"""Splits read from sparse matrices: DICE's own layout, and what is wrong with others."""

import io
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_array, coo_matrix, csr_matrix, load_npz, save_npz

from iedr_geo.datasets import read_coo_split

NAMES = ('train', 'train_skew', 'val', 'test')
PAIRS = {
    'train': [(0, 1), (2, 1), (2, 0), (1, 3)],
    'train_skew': [(1, 0), (0, 2)],
    'val': [(0, 3)],
    'test': [(2, 2), (2, 3)],
}


def save(folder: Path, name: str, pairs: list, shape=(3, 5), data=None, kind=coo_matrix):
    """Writes a part and returns its file."""
    row, col = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    data = np.ones(len(pairs)) if data is None else data
    path = folder / f'{name}_coo_record.npz'
    save_npz(path, kind(coo_matrix((data, (row, col)), shape)))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, pairs in PAIRS.items():
        save(tmp_path, name, pairs)
    return tmp_path


def pairs(graph, edges=slice(None)) -> list[tuple[int, int]]:
    return list(zip(graph.user[edges].tolist(), graph.item[edges].tolist(), strict=True))


def test_split_of_movielens(data_root):
    folder = data_root / 'ml-1m-dice'
    split = read_coo_split(folder)
    for graph in split:
        assert graph.popularity.tolist() == np.load(folder / 'popularity.npy').tolist()
    marked = split.train.intervened
    assert [graph.num_edges for graph in split] == [127_650 + 21_149, 21_149, 42_299]
    for name, graph, edges in (
        ('train', split.train, ~marked),
        ('train_skew', split.train, marked),
        ('val', split.valid, split.valid.intervened),
        ('test', split.test, split.test.intervened),
    ):
        raw = load_npz(folder / f'{name}_coo_record.npz')
        assert pairs(graph, edges) == sorted(
            zip(raw.row.tolist(), raw.col.tolist(), strict=True)
        )


@pytest.mark.parametrize('kind', [coo_matrix, coo_array, csr_matrix])
def test_small(folder, kind):
    for name, own in PAIRS.items():
        save(folder, name, own, kind=kind)
    train, valid, test = read_coo_split(str(folder))
    assert pairs(train) == sorted(PAIRS['train'] + PAIRS['train_skew'])
    assert pairs(train, train.intervened) == sorted(PAIRS['train_skew'])
    assert pairs(valid) == PAIRS['val'] and pairs(test) == PAIRS['test']
    for graph in (train, valid, test):
        assert (graph.num_users, graph.num_items) == (3, 5)
        assert graph.popularity.tolist() == [1, 2, 0, 1, 0]
    assert valid.intervened.all() and test.intervened.all()
    np.save(folder / 'popularity.npy', np.array([9, 0, 3, 1, 7]))
    for graph in read_coo_split(folder):
        assert graph.popularity.tolist() == [9, 0, 3, 1, 7]


def test_what_is_an_edge(folder):
    """Zeros are none, what a file holds twice is one, and an edge in both training parts
    is intervened and counts in the popularity.
    """
    save(folder, 'val', [(0, 3), (0, 1), (1, 1)], data=np.array([2.0, 0.0, -1.0]))
    save(folder, 'test', [(2, 2), (2, 2)])
    save(folder, 'train_skew', [(2, 0), (0, 2)])
    train, valid, test = read_coo_split(folder)
    assert pairs(valid) == [(0, 3), (1, 1)]
    assert pairs(test) == [(2, 2)]
    assert train.num_edges == 5
    assert pairs(train, train.intervened) == [(0, 2), (2, 0)]
    assert train.popularity.tolist() == [1, 2, 0, 1, 0]
    save(folder, 'train_skew', [])
    train = read_coo_split(folder).train
    assert train.num_edges == 4 and not train.intervened.any()


@pytest.mark.parametrize(
    ('part', 'edge', 'other'),
    [
        ('val', (2, 1), 'train'),
        ('val', (1, 0), 'train_skew'),
        ('test', (1, 3), 'train'),
        ('test', (0, 2), 'train_skew'),
        ('test', (0, 3), 'val'),
    ],
)
def test_shared_edge(folder, part, edge, other):
    path = save(folder, part, [(1, 4), edge])
    message = (
        f'{folder}/{other}_coo_record.npz and {path} share 1 edges, among them user '
        f'{edge[0]} with item {edge[1]}'
    )
    with pytest.raises(ValueError, match=message):
        read_coo_split(folder)


@pytest.mark.parametrize('name', NAMES)
def test_bad_part(folder, name):
    path = save(folder, name, [], shape=(3, 6))
    shapes = ', '.join(
        f'{other}_coo_record.npz: {(3, 6 if other == name else 5)}' for other in NAMES
    )
    message = f'The shapes of the matrices in {folder} differ: {shapes}'
    with pytest.raises(ValueError, match=re.escape(message)):
        read_coo_split(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        read_coo_split(folder)


@pytest.mark.parametrize('damage', [0, 100, -30, 'byte 0', 'byte 5', 'byte 20'])
def test_damaged(folder, damage):
    """What is compressed does not come apart, or into something else."""
    path = folder / 'val_coo_record.npz'
    content = bytearray(path.read_bytes())
    if isinstance(damage, int):
        content = content[:damage]
    else:
        header = content.index(b'row.npy') - 30
        name, extra = struct.unpack('<2H', content[header + 26 : header + 30])
        content[header + 30 + name + extra + int(damage.split()[1])] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'{path} is damaged'):
        read_coo_split(folder)
    np.savez(path, row=[0], col=[1])
    with pytest.raises(ValueError, match=f'{path} is damaged or of another format'):
        read_coo_split(folder)


def test_sizes_that_a_file_cannot_hold(folder):
    """Are refused before memory is asked for, and so are pointers beyond the cells."""
    path = folder / 'val_coo_record.npz'
    parts = dict(np.load(path))
    header = io.BytesIO()
    claim = {'descr': '<i4', 'fortran_order': False, 'shape': (10**15,)}
    np.lib.format.write_array_header_1_0(header, claim)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('row.npy', header.getvalue() + bytes(4))
    with pytest.raises(ValueError, match=rf'{path} is .*row\.npy is of shape \(10+,\)'):
        read_coo_split(folder)
    (folder / 'popularity.npy').write_bytes(header.getvalue() + bytes(4))
    np.savez(path, **parts)
    with pytest.raises(ValueError, match=r'popularity\.npy is damaged'):
        read_coo_split(folder)
    for name, own in PAIRS.items():
        save(folder, name, own, shape=(3, 10**12))
    with pytest.raises(ValueError, match=r'of shape \(3, 10+\), but hold only 9 cells'):
        read_coo_split(folder)
    save(folder, 'val', PAIRS['val'], kind=csr_matrix)
    np.savez(path, **dict(np.load(path)) | {'indptr': [0, 10**9, 1, 1]})
    with pytest.raises(ValueError, match=f'{path} is damaged'):
        read_coo_split(folder)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ([1, 2, 3], r'must hold 5 numbers, .* shape \(3,\)'),
        ([[1] * 5], r'must hold 5 numbers, .* shape \(1, 5\)'),
        ([1, 2, -1, 0, 0], 'must hold .* none negative'),
        ([None] * 5, 'is damaged or of another format'),
        (['a'] * 5, 'is damaged or of another format'),
        (None, 'is damaged or of another format'),
    ],
)
def test_bad_popularity(folder, content, message):
    path = folder / 'popularity.npy'
    path.write_bytes(b'')
    if content is not None:
        np.save(path, np.array(content), allow_pickle=True)
    with pytest.raises(ValueError, match=f'{path} {message}'):
        read_coo_split(folder)
