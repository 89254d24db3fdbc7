"""Splits in the files of DICE's authors."""

from __future__ import annotations

import os
from functools import partial
from itertools import combinations
from pathlib import Path

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
        ValueError: If a file is damaged, shapes differ, or another two parts share an
            edge.
    """
    paths = [Path(folder) / name for name in _PARTS]
    graphs, shapes = [], []
    for path in paths:
        with reading(path):
            matrix = load_npz(path)
        graphs.append(BipartiteGraph.from_scipy(matrix))
        shapes.append(matrix.shape)
    if len(set(shapes)) > 1:
        listed = ', '.join(f'{n}: {s}' for n, s in zip(_PARTS, shapes, strict=True))
        raise ValueError(f'The shapes of the matrices in {folder} differ: {listed}')
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
            popularity = torch.from_numpy(np.load(path).astype(np.int64))
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
