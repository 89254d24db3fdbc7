"""Gowalla against its raw arrays and files written by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from raw_files import arrays, lines, write

from iedr_geo.datasets import Gowalla

PARTS = {'train': 810_128, 'test': 217_242}


def read(folder: Path, train: str, test: str) -> Gowalla:
    return Gowalla(write(folder, {'train.txt': train, 'test.txt': test}))


def test_is_the_raw_file(data_root):
    data = Gowalla(data_root / 'gowalla')
    graph = data[0]
    assert (graph['user'].num_nodes, graph['item'].num_nodes) == (29_858, 40_981)
    with np.load(data_root / 'gowalla' / 'gowalla.npz') as raw:
        for part, number in PARTS.items():
            edge_index = graph['user', part, 'item'].edge_index
            assert edge_index.dtype == torch.long
            assert edge_index.shape == (2, number)
            assert np.array_equal(edge_index.numpy().T, raw[part])
            edges = getattr(data, part)
            assert (edges.num_users, edges.num_items) == (29_858, 40_981)
            rows = raw[part][np.lexsort(raw[part].T[::-1])]
            pairs = torch.stack([edges.user, edges.item], 1)
            assert np.array_equal(pairs.numpy(), rows)
            # What is downloaded holds these edges, in any order, and all of them.
            shuffled = pd.DataFrame(np.random.default_rng(0).permutation(raw[part]))
            items = shuffled.groupby(0)[1].agg(list).items()
            text = lines(' ', [(user, *own) for user, own in items]).encode()
            assert data._digest(text) == Gowalla.checksums[f'{part}.txt']
    assert graph.validate()
    assert not data.train.contains(data.test.user, data.test.item).any()


def test_text(tmp_path):
    """Users without items have a line or have none; what is nowhere counts as well."""
    data = read(tmp_path, '2 3 1\n0 5\n\n1\n', '0\n1 4 \n2')
    graph = data[0]
    assert graph['user', 'train', 'item'].edge_index.tolist() == [[2, 2, 0], [3, 1, 5]]
    assert graph['user', 'test', 'item'].edge_index.tolist() == [[1], [4]]
    for part in (data.train, data.test):
        assert (part.num_users, part.num_items) == (3, 6)
    assert data.train.user.tolist() == [0, 2, 2]
    assert data.train.item.tolist() == [5, 1, 3]
    assert data.test.item_degree.tolist() == [0, 0, 0, 0, 1, 0]
    data = read(tmp_path, '0 1\n1 0\n', '0\n1\n')
    assert data.test.num_edges == 0 and data.test.num_users == 2


@pytest.mark.parametrize(
    ('train', 'test', 'message'),
    [
        ('', '0 1\n', 'train.txt is damaged or of another format: it is empty'),
        ('0 1\n', '\n', 'test.txt is damaged or of another format: it is empty'),
        ('0 1\n', '0 x1\n', "test.txt is damaged or of another format: .*'x1'"),
        ('0 1\n', '0 1.5\n', r"test.txt is damaged or of another format: .*'1\.5'"),
        ('0 1\n', '0 1\n1 -2\n', r'test.txt .*: Test item .* less than 2 \(got -2 to 1'),
        ('-7 1\n', '0 1\n', r'train.txt .*: Train user .* less than 1 \(got -7 to -7'),
    ],
)
def test_bad_text(tmp_path, train, test, message):
    with pytest.raises(ValueError, match=f'{tmp_path}/{message}'):
        read(tmp_path, train, test)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'test': None}, '.*test'),
        ({'n_items': [3, 3]}, ''),
        ({'n_items': 2}, r'Train item ids .* less than 2 \(got 2 to 2\)'),
        ({'test': [[0, 1], [3, 0]]}, r'Test user ids .* less than 3 \(got 0 to 3\)'),
        ({'train': [[0.0, 1.0]]}, r'train must be integers of shape \(N, 2\).*float'),
        ({'train': [[0, 1, 2]]}, r'train must be .* \(got int64 of shape \(1, 3\)\)'),
        ({'test': [0, 1]}, r'test must be .* \(got int64 of shape \(2,\)\)'),
    ],
)
def test_bad_arrays(tmp_path, changes, message):
    content = {'train': [[0, 2]], 'test': [[1, 0]], 'n_users': 3, 'n_items': 3} | changes
    write(tmp_path, {'gowalla.npz': arrays(**content)})
    start = f'{tmp_path}/gowalla.npz is damaged or of another format: '
    with pytest.raises(ValueError, match=start + message):
        Gowalla(tmp_path)
