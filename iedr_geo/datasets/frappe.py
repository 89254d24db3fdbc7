"""The Frappe log of mobile app usage."""

from __future__ import annotations

import gzip
import io
import os
import os.path as osp
import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import Dataset, download_url

from iedr_geo.data import (
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    Split,
    leave_last_out,
)
from iedr_geo.datasets.raw_folder import RawFolder, check_sha256

ITEM = ('item', 'category', 'downloads', 'developer', 'language', 'rating')
"""The columns of an app."""

CONTEXT = (
    'daytime',
    'weekday',
    'isweekend',
    'homework',
    'cost',
    'weather',
    'country',
    'city',
)
"""The context columns, in the order of the log."""


class Frappe(RawFolder, InteractionDataset):
    r"""The Frappe log of mobile app usage in context, from the `"Frappe: Understanding
    the Usage and Perception of Mobile App Recommendations In-The-Wild"
    <https://arxiv.org/abs/1505.03014>`_ paper, with the candidate lists of the authors of
    `IEDR <https://doi.org/10.1145/3722553>`_.

    A user has one node, the id; an app has its id, category, downloads, developer,
    language and rating (rounded down); a context has eight. Rows have no time; their
    order in the log stands for it. It is a log of repeated use: apps that a user has had
    are never left out of a ranking.

    Args:
        root: A folder with :obj:`Mobile_Frappe.zip` and the candidate lists,
            :obj:`iedr_valid_data.csv.gz` and :obj:`iedr_test_data.csv.gz`, either in it
            or in its :obj:`raw` folder. Never written to. By default
            :obj:`$IEDR_GEO_DATA/frappe` where that is set, else a folder in PyG's home to
            which the files are downloaded.
        transform: Applied to each sample that is read.
        force_reload: Whether to process the raw files again.

    **STATS:**

    .. list-table::
        :widths: 10 10 10 10 10
        :header-rows: 1

        * - #interactions
          - #users
          - #apps
          - #contexts
          - #features
        * - 96,203
          - 957
          - 4,082
          - 18,603
          - 8,274
    """

    folder: ClassVar[str] = 'frappe'
    urls: ClassVar[dict[str, str]] = {
        'Mobile_Frappe.zip': (
            'https://github.com/irecsys/CARSKit/raw/HEAD/'
            'context-aware_data_sets/Mobile_Frappe.zip'
        ),
        'iedr_valid_data.csv.gz': (
            'https://github.com/ethanmock/IEDR/raw/HEAD/data/frappe/valid_data.csv'
        ),
        'iedr_test_data.csv.gz': (
            'https://github.com/ethanmock/IEDR/raw/HEAD/data/frappe/test_data.csv'
        ),
    }
    # Of the zip file, and of the lists' text, however it is compressed.
    checksums: ClassVar[dict[str, str]] = {
        'Mobile_Frappe.zip': (
            '4adc616de57170f282397f6e6e30215f97fa7ad1b7f40bd12ef5dceaaf3e9b4e'
        ),
        'iedr_valid_data.csv.gz': (
            '19dc140a1971bb96beba27ba0f0a52ddb63f7ce8fdf59c3fbdfd596a98b0346e'
        ),
        'iedr_test_data.csv.gz': (
            '0017cd470b8f4a84b587b9f87acde496a0261d6cdb521b9ff415903e41218435'
        ),
    }

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transform: Any = None,
        force_reload: bool = False,
    ) -> None:
        Dataset.__init__(self, self._find(root), transform, force_reload=force_reload)
        loaded = InteractionDataset.load(self.processed_paths[0])
        self.__dict__.update(loaded.__dict__ | self.__dict__)

    @property
    def processed_file_names(self) -> str:
        """The encoded log."""
        return 'dataset.pt'

    def _fetch(self, name: str, path: Path) -> None:
        download_url(self.urls[name], str(path.parent), filename=path.name)
        if name.endswith('.gz'):
            path.write_bytes(gzip.compress(path.read_bytes()))
        self._check(str(path), name)

    def _check(self, path: str, name: str) -> bytes:
        """Returns the content of a raw file if its checksum agrees."""
        try:
            with (gzip.open if name.endswith('.gz') else open)(path, 'rb') as file:
                content: bytes = file.read()
        except (EOFError, gzip.BadGzipFile, zlib.error):
            content = b''
        check_sha256(content, self.checksums[name], path)
        return content

    def _table(self, name: str) -> pd.DataFrame:
        """Reads a table of the log as text: 'NA' and '' are values of their own."""
        path = self.raw_paths[0]
        content = io.BytesIO(self._check(path, osp.basename(path)))
        with zipfile.ZipFile(content) as folder:
            file = folder.open(f'Mobile_Frappe/frappe/{name}.csv')
            return pd.read_csv(file, sep='\t', dtype=str, keep_default_na=False)

    def process(self) -> None:
        """Encodes the log."""
        apps = self._table('meta')
        rated = apps['rating'] != 'unknown'
        floor = apps.loc[rated, 'rating'].astype(float).astype(int).astype(str)
        apps.loc[rated, 'rating'] = floor
        dataset = InteractionDataset.from_pandas(
            self._table('frappe'),
            users=None,
            items=apps,
            schema=FeatureSchema(
                user=[Categorical('user')],
                item=[Categorical(name) for name in ITEM],
                context=[Categorical(name) for name in CONTEXT],
            ),
            exclude_seen=False,
        )
        dataset.save(self.processed_paths[0])

    def apps(self) -> pd.DataFrame:
        """Returns what the raw files tell of each app, its name among it."""
        return self._table('meta')

    def split(self) -> Split:
        """Splits as the IEDR paper does (Section 7.1.1): users with more than 5 records,
        their last row for test and the one before for validation.
        """
        return leave_last_out(self, min_records=6)

    def candidates(self, part: Literal['valid', 'test']) -> CandidateLists:
        """Returns the candidate lists of the paper's authors: the row that
        :meth:`split` holds out, and 99 negatives.

        They are drawn from all items: some repeat, some are items that the user had at
        another time, and in 9 test and 19 validation lists the item to be found recurs
        as a negative. All rows are kept.

        Args:
            part: :obj:`'valid'` or :obj:`'test'`.
        """
        if part not in ('valid', 'test'):
            raise ValueError(f"`part` is 'valid' or 'test' (got '{part}')")
        path = self.raw_paths[1 if part == 'valid' else 2]
        rows = pd.read_csv(io.BytesIO(self._check(path, osp.basename(path))))
        # The lists number the values of each column by first appearance in the log,
        # one column after the other, behind all users and items. The distinct contexts
        # are in that order: a value that is new makes a context that is new.
        first = self.num_users + self.num_items
        context = pd.DataFrame(index=rows.index)
        for name in CONTEXT:
            values = self.context_frame[name].unique()
            context[name] = values[rows[name].to_numpy() - first]
            first += len(values)
        known = self.context_frame.reset_index(names='context')
        place = context.merge(known, on=list(CONTEXT), how='left')['context']
        item = pd.Index(self.item_ids).get_indexer(pd.Index(rows['item'].astype(str)))
        positive = rows['rating'].to_numpy() == 1
        owner = pd.Index(rows['user'].astype(str).to_numpy())
        lists = owner[positive]
        return CandidateLists(
            user=torch.from_numpy(self.user_ids.get_indexer(lists)),
            context=torch.from_numpy(place.to_numpy(dtype=np.int64)[positive]),
            item=torch.from_numpy(item),
            target=torch.from_numpy(positive).long(),
            list_index=torch.from_numpy(lists.get_indexer(owner)),
        )
