"""The ratings of MovieLens-1M."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import HeteroData

from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets.raw_folder import RawArchive, RawGraph, reading
from iedr_geo.datasets.raw_tables import parse_numbers, read_table

_COLUMNS = ['user', 'item', 'rating', 'time']


class MovieLens1M(RawArchive, RawGraph):
    r"""The ratings of `MovieLens-1M <https://grouplens.org/datasets/movielens/1m/>`_,
    from `"The MovieLens Datasets: History and Context"
    <https://doi.org/10.1145/2827872>`_.

    :obj:`dataset[0]` has an edge :obj:`('user', 'rates', 'movie')` for each rating, in
    the order of the file, with :obj:`rating` from 1 to 5 and :obj:`time`, and the raw ids
    as text in :obj:`ids` of users and movies.

    Args:
        root: A folder with :obj:`ratings.dat`, either in it or in its :obj:`raw` folder,
            or else with :obj:`ratings.npz`, that holds the arrays :obj:`user`,
            :obj:`item` and :obj:`rating` (there is no :obj:`time` then). Never written
            to. By default :obj:`$IEDR_GEO_DATA/ml-1m` where that is set, else a folder in
            PyG's home to which the ratings are downloaded.
        transform: Applied to the graph when it is read.
        force_reload: If :obj:`True`, the raw files are processed again.

    **STATS:**

    .. list-table::
        :widths: 10 10 10
        :header-rows: 1

        * - #ratings
          - #users
          - #movies
        * - 1,000,209
          - 6,040
          - 3,706
    """

    folder: ClassVar[str] = 'ml-1m'
    urls: ClassVar[dict[str, str]] = {
        'ratings.dat': 'https://files.grouplens.org/datasets/movielens/ml-1m.zip'
    }
    alternative: ClassVar[tuple[str, ...]] = ('ratings.npz',)
    checksums: ClassVar[dict[str, str]] = {
        'ratings.dat': 'a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20'
    }

    def process(self) -> None:
        """Numbers users and movies in the order of their ids."""
        path = self.raw_paths[0]
        if path.endswith('.npz'):
            with reading(path), np.load(path) as arrays:
                table = pd.DataFrame({name: arrays[name] for name in _COLUMNS[:3]})
        else:  # Between two colons there is an empty column.
            names = dict(zip((0, 2, 4, 6), _COLUMNS, strict=True))
            table = read_table(
                path, names, sep=':', header=None, dtype=None, low_memory=False
            )
        for name in map(str, table):
            limits = {'low': 1, 'high': 5} if name == 'rating' else {}
            table[name] = parse_numbers(table, path, name, **limits)
        data, ends = HeteroData(), []
        for kind, name in (('user', 'user'), ('movie', 'item')):
            ids, index = np.unique(table[name], return_inverse=True)
            data[kind].num_nodes = len(ids)
            data[kind].ids = ids.astype(str).tolist()
            ends.append(torch.from_numpy(index))
        rates = data['user', 'rates', 'movie']
        rates.edge_index = torch.stack(ends)
        for name in table.columns[2:]:
            rates[name] = torch.tensor(table[name].to_numpy())
        self._write(data)

    def graph(self, min_rating: float = 5, min_records: int = 11) -> BipartiteGraph:
        """Returns the high ratings as a graph, by default those of the data of
        `DICE <https://doi.org/10.1145/3442381.3449788>`_.

        Args:
            min_rating: The lowest rating that is kept.
            min_records: The number of kept ratings that a movie, and then a user, needs.

        Raises:
            ValueError: If no rating is left.
        """
        users, movies = self._data['user'], self._data['movie']
        rates = self._data['user', 'rates', 'movie']
        user, item = rates.edge_index[:, rates.rating >= min_rating]
        graph = BipartiteGraph(
            user,
            item,
            users.num_nodes,
            movies.num_nodes,
            user_ids=users.ids,
            item_ids=movies.ids,
        )
        return graph.core(min_records)
