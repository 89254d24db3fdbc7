"""Splits in the files of DICE's authors."""

from __future__ import annotations

import math
import os
import zipfile
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import load_npz

from iedr_geo.data import BipartiteGraph, InterventionSplit
from iedr_geo.datasets.raw_folder import reading

_PARTS = (
    'train_coo_record.npz',
    'train_skew_coo_record.npz',
    'val_coo_record.npz',
    'test_coo_record.npz',
)
_DEFLATED = 1032  # The bytes that one byte of a zip file can stand for, at most.
_FEW = 10**7  # Users or items that cost little memory, whether they have edges or not.


def _read_matrix(path: Path) -> Any:
    """Reads a matrix that takes no more memory than its file can hold."""
    with reading(path):
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                with archive.open(part) as file:
                    old = np.lib.format.read_magic(file) == (1, 0)
                    read = 'read_array_header_1_0' if old else 'read_array_header_2_0'
                    shape, _, dtype = getattr(np.lib.format, read)(file)
                held = min(part.file_size, part.compress_size * _DEFLATED)
                if math.prod(shape) * dtype.itemsize > held:
                    raise ValueError(f'{part.filename} is of shape {shape}, but shorter')
        matrix = load_npz(path)
        if hasattr(matrix, 'check_format'):
            matrix.check_format()
        return matrix


def read_coo_split(folder: str | os.PathLike[str]) -> InterventionSplit:
    """Reads a split from the files that the authors of `DICE
    <https://doi.org/10.1145/3442381.3449788>`_ released for theirs: sparse matrices of
    users by items, as :func:`scipy.sparse.save_npz` writes them.

    What is zero is no edge. An edge may be in both training matrices: it is one
    intervened edge then, and counts in the popularity all the same.

    Args:
        folder: A folder with :obj:`train_coo_record.npz`, the normal part of training,
            :obj:`train_skew_coo_record.npz`, the intervened part,
            :obj:`val_coo_record.npz` and :obj:`test_coo_record.npz`. If there is
            :obj:`popularity.npy`, it holds the popularity of each item (default: the
            number of edges in the normal part).

    Raises:
        ValueError: If a file is damaged, shapes differ or are far larger than the number
            of edges, or another two parts share an edge.
    """
    paths = [Path(folder) / name for name in _PARTS]
    matrices = [_read_matrix(path) for path in paths]
    shapes = [matrix.shape for matrix in matrices]
    if len(set(shapes)) > 1:
        listed = ', '.join(f'{n}: {s}' for n, s in zip(_PARTS, shapes, strict=True))
        raise ValueError(f'The shapes of the matrices in {folder} differ: {listed}')
    cells = sum(matrix.nnz for matrix in matrices)
    if max(shapes[0]) > max(_FEW, cells):
        raise ValueError(
            f'The matrices in {folder} are of shape {shapes[0]}, but hold only {cells} '
            f'cells: is one damaged?'
        )
    graphs = [BipartiteGraph.from_scipy(matrix) for matrix in matrices]
    for one, two in combinations(range(4), 2):
        user, item = graphs[two].user, graphs[two].item
        shared = graphs[one].contains(user, item).nonzero()
        if two > 1 and shared.numel():
            raise ValueError(
                f'{paths[one]} and {paths[two]} share {len(shared)} edges, among them '
                f'user {int(user[shared[0]])} with item {int(item[shared[0]])}'
            )
    normal, skew, *held_out = graphs
    popularity = normal.item_degree
    path = Path(folder) / 'popularity.npy'
    if path.exists():
        with reading(path):
            popularity = torch.from_numpy(np.load(path, mmap_mode='r').astype(np.int64))
        if popularity.shape != (normal.num_items,) or (popularity < 0).any():
            raise ValueError(
                f'{path} must hold {normal.num_items} numbers, one for each item and '
                f'none negative (got shape {tuple(popularity.shape)})'
            )
    make = partial(
        BipartiteGraph,
        num_users=normal.num_users,
        num_items=normal.num_items,
        popularity=popularity,
        exclude_seen=True,  # Nothing that is held out is an edge of training.
    )
    train = make(
        torch.cat([normal.user, skew.user]),
        torch.cat([normal.item, skew.item]),
        intervened=torch.arange(normal.num_edges + skew.num_edges) >= normal.num_edges,
    )
    valid, test = (
        make(part.user, part.item, intervened=part.user >= 0) for part in held_out
    )
    return InterventionSplit(train, valid, test)
