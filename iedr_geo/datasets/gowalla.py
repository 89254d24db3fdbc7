"""The check-ins of Gowalla."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from iedr_geo.data import BipartiteGraph
from iedr_geo.data.bipartite import check_ids
from iedr_geo.datasets.raw_folder import RawGraph, reading

_PARTS = ('train', 'test')
_SIDES = ('user', 'item')


def _read_lists(content: bytes) -> NDArray[np.int64]:
    """Reads the pairs of user and item of text with a line for each user."""
    lines = content.decode('utf-8').splitlines()
    rows = [np.array(line.split(), dtype=np.int64) for line in lines if line.strip()]
    if not rows:
        raise ValueError('it is empty')
    users = np.repeat([row[0] for row in rows], [len(row) - 1 for row in rows])
    return np.stack([users, np.concatenate([row[1:] for row in rows])], axis=1)


class Gowalla(RawGraph):
    r"""The check-ins of Gowalla, as split by the authors of `"LightGCN: Simplifying and
    Powering Graph Convolution Network for Recommendation"
    <https://arxiv.org/abs/2002.02126>`_.

    :obj:`dataset[0]` has the edges :obj:`('user', 'train', 'item')` and
    :obj:`('user', 'test', 'item')`, in the order of the files.

    Args:
        root: A folder with :obj:`train.txt` and :obj:`test.txt`, either in it or in its
            :obj:`raw` folder, in which each line holds a user and the user's items, or
            else with :obj:`gowalla.npz`, that holds the arrays :obj:`train` and
            :obj:`test`, with a row for each pair of user and item, :obj:`n_users` and
            :obj:`n_items`. Never written to. By default :obj:`$IEDR_GEO_DATA/gowalla`
            where that is set, else a folder in PyG's home to which the files are
            downloaded.
        transform: Applied to the graph when it is read.
        force_reload: If :obj:`True`, the raw files are processed again.

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10
        :header-rows: 1

        * - #users
          - #items
          - #training edges
          - #test edges
        * - 29,858
          - 40,981
          - 810,128
          - 217,242
    """

    folder: ClassVar[str] = 'gowalla'
    urls: ClassVar[dict[str, str]] = {
        f'{part}.txt': (
            f'https://github.com/gusye1234/LightGCN-PyTorch/raw/HEAD/data/gowalla/{part}.txt'
        )
        for part in _PARTS
    }
    alternative: ClassVar[tuple[str, ...]] = ('gowalla.npz',)
    # Of the sorted pairs, as two columns of 64-bit numbers.
    checksums: ClassVar[dict[str, str]] = {
        'train.txt': 'd453bfc18e5613d6310ab05f7ebc1c6c724ee913dc31c769d1c8743c678d27f7',
        'test.txt': 'dac9527045e35230c82e4a5c54715b5e60f8a7bbe935ffdb4ee2ebe21c32ddb7',
    }

    def _digest(self, content: bytes) -> str:
        pairs = _read_lists(content)
        ordered = pairs[np.lexsort(pairs.T[::-1])].astype('<i8')
        return hashlib.sha256(ordered.tobytes()).hexdigest()

    def process(self) -> None:
        """Puts the edges of both parts into one graph."""
        paths = self.raw_paths
        if paths[0].endswith('.npz'):
            paths = paths * 2
            with reading(paths[0]), np.load(paths[0]) as arrays:
                parts = [arrays[name] for name in _PARTS]
                sizes = [int(arrays[name]) for name in ('n_users', 'n_items')]
        else:
            parts = []
            for path in paths:
                with reading(path):
                    parts.append(_read_lists(Path(path).read_bytes()))
            sizes = (np.concatenate(parts).max(axis=0, initial=-1) + 1).tolist()
        data = HeteroData()
        for kind, size in zip(_SIDES, sizes, strict=True):
            data[kind].num_nodes = size
        for path, part, pairs in zip(paths, _PARTS, parts, strict=True):
            with reading(path):
                if pairs.dtype.kind not in 'iu' or pairs.shape[1:] != (2,):
                    raise ValueError(
                        f'{part} must be integers of shape (N, 2) (got {pairs.dtype} of '
                        f'shape {pairs.shape})'
                    )
                edges = torch.from_numpy(pairs.astype(np.int64).T.copy())
                for side, ids, size in zip(_SIDES, edges, sizes, strict=True):
                    check_ids(ids, size, f'{part} {side}')
            data['user', part, 'item'].edge_index = edges
        self._write(data)

    def _graph(self, part: str) -> BipartiteGraph:
        user, item = self._data['user', part, 'item'].edge_index
        sizes = (self._data[side].num_nodes for side in _SIDES)
        return BipartiteGraph(user, item, *sizes)

    @cached_property
    def train(self) -> BipartiteGraph:
        """The training edges."""
        return self._graph('train')

    @cached_property
    def test(self) -> BipartiteGraph:
        """The test edges, of the same users and items."""
        return self._graph('test')
