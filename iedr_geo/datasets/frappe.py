"""The Frappe log of mobile app usage."""

from __future__ import annotations

import gzip
import io
import os.path as osp
import zipfile
import zlib
from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import torch

from iedr_geo.data import (
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    Split,
    leave_last_out,
)
from iedr_geo.data.fingerprint import sides_of
from iedr_geo.datasets.raw_folder import RawLog
from iedr_geo.datasets.split_log import check_part

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

RATING = (0, 1, 2, 3, 4, 4.5, 5)
"""The bounds of the buckets of ratings, the upper one included, as the authors of IEDR
have them."""

_ZIP = 'Mobile_Frappe.zip'
_LISTS = {part: f'iedr_{part}_data.csv.gz' for part in ('valid', 'test')}
_AUTHORS = 'https://github.com/ethanmock/IEDR/raw/HEAD/data/frappe'


class Frappe(RawLog):
    r"""The Frappe log of mobile app usage in context, from the `"Frappe: Understanding
    the Usage and Perception of Mobile App Recommendations In-The-Wild"
    <https://arxiv.org/abs/1505.03014>`_ paper, with the candidate lists of the authors of
    `IEDR <https://doi.org/10.1145/3722553>`_.

    A user has one node, the id; an app has its id, category, downloads, developer,
    language and rating (a bucket such as "(4, 4.5]"); a context has eight. Rows have no
    time; their order in the log stands for it. It is a log of repeated use: apps that a
    user has had are never left out of a ranking.

    Args:
        root: A folder with :obj:`Mobile_Frappe.zip` and the candidate lists,
            :obj:`iedr_valid_data.csv.gz` and :obj:`iedr_test_data.csv.gz`, either in it
            or in its :obj:`raw` folder. Never written to. By default
            :obj:`$IEDR_GEO_DATA/frappe` where that is set, else a folder in PyG's home to
            which the files are downloaded.
        transform: Applied to each sample that is read.
        force_reload: If :obj:`True`, the raw files are processed again.

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
        _ZIP: (
            f'https://github.com/irecsys/CARSKit/raw/HEAD/context-aware_data_sets/{_ZIP}'
        ),
        _LISTS['valid']: f'{_AUTHORS}/valid_data.csv',
        _LISTS['test']: f'{_AUTHORS}/test_data.csv',
    }
    # Of the zip file, and of the lists' text, however it is compressed.
    checksums: ClassVar[dict[str, str]] = dict(
        zip(
            urls,
            (
                '4adc616de57170f282397f6e6e30215f97fa7ad1b7f40bd12ef5dceaaf3e9b4e',
                '19dc140a1971bb96beba27ba0f0a52ddb63f7ce8fdf59c3fbdfd596a98b0346e',
                '0017cd470b8f4a84b587b9f87acde496a0261d6cdb521b9ff415903e41218435',
            ),
            strict=True,
        )
    )

    def _unpack(self, content: bytes, name: str) -> bytes:
        return gzip.compress(content) if name.endswith('.gz') else content

    def _read(self, name: str) -> io.BytesIO:
        """Returns the content of a raw file if its checksum agrees."""
        path = osp.join(self.raw_dir, name)
        try:
            with (gzip.open if name.endswith('.gz') else open)(path, 'rb') as file:
                content: bytes = file.read()
        except (EOFError, gzip.BadGzipFile, zlib.error):
            content = b''
        self._check(content, name, path)
        return io.BytesIO(content)

    def _table(self, name: str) -> pd.DataFrame:
        """Reads a table of the log as text: 'NA' and '' are values of their own."""
        with zipfile.ZipFile(self._read(_ZIP)) as folder:
            file = folder.open(f'Mobile_Frappe/frappe/{name}.csv')
            return pd.read_csv(file, sep='\t', dtype=str, keep_default_na=False)

    @property
    def processed_file_names(self) -> str:
        """A name that no file has whose ratings were rounded down."""
        return f'{self._raw_digest}-buckets.pt'

    def process(self) -> None:
        """Encodes the log."""
        apps = self._table('meta')
        rating = pd.to_numeric(apps['rating'], errors='coerce')
        names = [f'({low:g}, {high:g}]' for low, high in pairwise(RATING)]
        bucket = pd.cut(rating, RATING, labels=names).astype(object)
        apps['rating'] = bucket.where(rating.notna(), apps['rating'])
        dataset = InteractionDataset.from_pandas(
            self._table('frappe'),
            users=None,
            items=apps,
            schema=FeatureSchema(
                user=[Categorical('user')],
                item=list(map(Categorical, ITEM)),
                context=list(map(Categorical, CONTEXT)),
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
        check_part(part)
        rows = pd.read_csv(self._read(_LISTS[part]), dtype={'user': str, 'item': str})
        # The lists number the values of each column by first appearance in the log,
        # one column after the other, behind all users and items. The distinct contexts
        # are in that order: a value that is new makes a context that is new.
        first = self.num_users + self.num_items
        context = pd.DataFrame(index=rows.index)
        for name in CONTEXT:
            values = self.context_frame[name].unique()
            context[name] = values[rows[name].to_numpy() - first]
            first += len(values)
        numbers = self.context_frame.reset_index(names='number')
        number = context.merge(numbers, on=list(CONTEXT), how='left')['number']
        positive = rows['rating'].to_numpy() == 1
        lists = pd.Index(rows['user'][positive])
        return CandidateLists(
            user=torch.from_numpy(self.user_ids.get_indexer(lists)),
            context=torch.from_numpy(number.to_numpy(dtype=np.int64)[positive]),
            item=torch.from_numpy(self.item_ids.get_indexer(pd.Index(rows['item']))),
            target=torch.from_numpy(positive).long(),
            list_index=torch.from_numpy(lists.get_indexer(pd.Index(rows['user']))),
            fingerprints=sides_of(self),
        )
