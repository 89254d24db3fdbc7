"""Gowalla against its raw arrays and files written by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from iedr_geo.datasets import Gowalla, raw_folder

RNG = np.random.default_rng(0)


@pytest.fixture(scope='module')
def raw(data_root: Path) -> dict[str, np.ndarray]:
    with np.load(data_root / 'gowalla' / 'gowalla.npz') as arrays:
        return dict(arrays)


@pytest.fixture(scope='module')
def data(data_root: Path) -> Gowalla:
    return Gowalla(data_root / 'gowalla')


@pytest.fixture
def own(tmp_path: Path):
    """Reads files of the given texts."""

    def read(train: str, test: str) -> Gowalla:
        (tmp_path / 'train.txt').write_text(train)
        (tmp_path / 'test.txt').write_text(test)
        return Gowalla(tmp_path)

    return read


def test_is_the_raw_file(data, raw):
    graph = data[0]
    assert graph['user'].num_nodes == 29_858
    assert graph['item'].num_nodes == 40_981
    for part, number in (('train', 810_128), ('test', 217_242)):
        edge_index = graph['user', part, 'item'].edge_index
        assert edge_index.dtype == torch.long
        assert edge_index.shape == (2, number)
        assert np.array_equal(edge_index.numpy().T, raw[part])
    assert graph.validate()


def test_parts(data, raw):
    for part in ('train', 'test'):
        graph = getattr(data, part)
        assert (graph.num_users, graph.num_items) == (29_858, 40_981)
        rows = raw[part][np.lexsort(raw[part].T[::-1])]
        assert np.array_equal(torch.stack([graph.user, graph.item], 1).numpy(), rows)
    assert not data.train.contains(data.test.user, data.test.item).any()


def lines(pairs: np.ndarray) -> str:
    """A line for each user, whose items come in any order."""
    pairs = RNG.permutation(pairs)
    pairs = pairs[np.argsort(pairs[:, 0], kind='stable')]
    users, starts = np.unique(pairs[:, 0], return_index=True)
    items = np.split(pairs[:, 1].astype(str), starts[1:])
    return ''.join(
        f'{user} {" ".join(own)}\n' for user, own in zip(users, items, strict=True)
    )


def test_checksums_are_of_the_split(raw, tmp_path, monkeypatch):
    """What is downloaded must hold its edges, in any order, and all of them."""
    monkeypatch.setenv('PYG_HOME', str(tmp_path))
    monkeypatch.delenv('IEDR_GEO_DATA')
    texts = {Gowalla.urls[f'{p}.txt']: lines(raw[p]) for p in ('train', 'test')}

    def download_url(url, folder, log=True, filename=None):
        (Path(folder) / filename).write_text(texts[url])

    monkeypatch.setattr(raw_folder, 'download_url', download_url)
    data = Gowalla()
    assert data.train.num_edges == 810_128 and data.test.num_edges == 217_242
    (tmp_path / 'iedr_geo' / 'gowalla' / 'test.txt').unlink()
    url = Gowalla.urls['test.txt']
    texts[url] = texts[url].rstrip().rsplit(maxsplit=1)[0]
    with pytest.raises(ValueError, match='its 217241 pairs are not those of the split'):
        Gowalla()


def test_text(own):
    """Users without items have a line or have none; what is nowhere counts as well."""
    data = own('2 3 1\n0 5\n\n1\n', '0\n1 4 \n2')
    graph = data[0]
    assert graph['user', 'train', 'item'].edge_index.tolist() == [[2, 2, 0], [3, 1, 5]]
    assert graph['user', 'test', 'item'].edge_index.tolist() == [[1], [4]]
    for part in (data.train, data.test):
        assert (part.num_users, part.num_items) == (3, 6)
    assert data.train.user.tolist() == [0, 2, 2]
    assert data.train.item.tolist() == [5, 1, 3]
    assert data.test.item_degree.tolist() == [0, 0, 0, 0, 1, 0]


def test_no_test_items(own):
    data = own('0 1\n1 0\n', '0\n1\n')
    assert data.test.num_edges == 0 and data.test.num_users == 2


@pytest.mark.parametrize(
    ('train', 'test', 'message'),
    [
        ('', '0 1\n', 'train.txt is damaged or of another format: it is empty'),
        ('0 1\n', '\n', 'test.txt is damaged or of another format: it is empty'),
        ('0 1\n', '0 x1\n', "test.txt is damaged or of another format: .*'x1'"),
        ('0 1\n', '0 1.5\n', r"test.txt is damaged or of another format: .*'1\.5'"),
        ('0 1\n', '0 1\n1 -2\n', r'test.txt: the item of .* less than 2 \(got -2\)'),
        ('-7 1\n', '0 1\n', r'train.txt: the user of .* less than 1 \(got -7\)'),
    ],
)
def test_bad_text(own, tmp_path, train, test, message):
    with pytest.raises(ValueError, match=f'{tmp_path}/{message}'):
        own(train, test)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'test': None}, ' is damaged or of another format: .*test'),
        ({'n_items': [3, 3]}, ' is damaged or of another format'),
        ({'n_items': 2}, r': the item of a train edge .* less than 2 \(got 2\)'),
        ({'test': [[0, 1], [3, 0]]}, r': the user of a test edge .* 3 \(got 3\)'),
        ({'train': [[0.0, 1.0]]}, r': train must be integers of shape \(N, 2\).*float'),
        ({'train': [[0, 1, 2]]}, r': train must be .* \(got int64 of shape \(1, 3\)\)'),
        ({'test': [0, 1]}, r': test must be .* \(got int64 of shape \(2,\)\)'),
    ],
)
def test_bad_arrays(tmp_path, changes, message):
    content = {'train': [[0, 2]], 'test': [[1, 0]], 'n_users': 3, 'n_items': 3} | changes
    kept = {name: value for name, value in content.items() if value is not None}
    np.savez(tmp_path / 'gowalla.npz', **kept)
    with pytest.raises(ValueError, match=f'{tmp_path}/gowalla.npz{message}'):
        Gowalla(tmp_path)
