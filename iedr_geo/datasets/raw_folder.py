"""Raw files that are read where they are, or else downloaded."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from torch_geometric.data import Dataset, HeteroData, InMemoryDataset, download_url
from torch_geometric.home import get_home_dir

_DAMAGE = (
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


def check_sha256(content: bytes, expected: str, path: str | os.PathLike[str]) -> None:
    """Raises an error that names the file if its content has another checksum."""
    if hashlib.sha256(content).hexdigest() != expected:
        raise ValueError(
            f'{path} is damaged or another version: its SHA-256 is not {expected}'
        )


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes the error that a damaged file causes name the file."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f'{path} is damaged or of another format: {error}') from error


class RawFolder(Dataset):
    """A dataset that never writes to the folder of raw files that it is given.

    By default, the folder is :obj:`$IEDR_GEO_DATA/<folder>` where that is set, else one
    in PyG's home. Only there, what is missing is downloaded. Processed files go to PyG's
    home. To be inherited from first.
    """

    folder: ClassVar[str]
    urls: ClassVar[dict[str, str]]

    def _find(self, root: str | os.PathLike[str] | None) -> str:
        """Returns the folder to read."""
        home = osp.join(get_home_dir(), 'iedr_geo', self.folder)
        self._processed_dir = osp.join(home, 'processed')
        self._downloads = root is None
        if root is None:
            data = os.environ.get('IEDR_GEO_DATA')
            root = home if data is None else osp.join(data, self.folder)
        return os.fspath(root)

    @property
    def raw_dir(self) -> str:
        """The folder of the raw files: :obj:`raw` in the root, or the root itself."""
        nested = osp.join(self.root, 'raw')
        return nested if osp.isdir(nested) else self.root

    @property
    def processed_dir(self) -> str:
        """A folder in PyG's home, wherever the raw files are."""
        return self._processed_dir

    @property
    def raw_file_names(self) -> list[str]:
        """The files that are downloaded."""
        return list(self.urls)

    def _download(self) -> None:
        missing = [path for path in self.raw_paths if not osp.exists(path)]
        if missing and not self._downloads:
            raise FileNotFoundError(
                f'{self.raw_dir} lacks {", ".join(map(osp.basename, missing))}'
            )
        if missing:
            self._make(self.raw_dir)
        super()._download()

    def _process(self) -> None:
        self._make(self.processed_dir)
        super()._process()

    @staticmethod
    def _make(folder: str) -> None:
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise OSError(f'Cannot write to {folder}: {error}') from error

    def download(self) -> None:
        """Downloads what is missing, and keeps it only if its checksum agrees."""
        for name, path in zip(self.raw_file_names, self.raw_paths, strict=True):
            if osp.exists(path):
                continue
            partial = Path(f'{path}.partial')
            partial.unlink(missing_ok=True)  # PyG would take it for the download.
            try:
                self._fetch(name, partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    def _fetch(self, name: str, path: Path) -> None:
        """Downloads a raw file to a path. To be extended by a check."""
        download_url(self.urls[name], str(path.parent), filename=path.name)


class RawGraph(RawFolder, InMemoryDataset):
    """A graph from raw files, or from one file of arrays that stands for them all.

    No checksum is asked of files that are there already.
    """

    arrays: ClassVar[str]

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transform: Any = None,
        force_reload: bool = False,
    ) -> None:
        super().__init__(self._find(root), transform, force_reload=force_reload)
        self.load(self.processed_paths[0], data_cls=HeteroData)

    @property
    def raw_file_names(self) -> list[str]:
        """The files that are downloaded, or that which stands for them."""
        names = list(self.urls)
        if all(osp.exists(osp.join(self.raw_dir, name)) for name in names):
            return names
        return [self.arrays] if osp.exists(osp.join(self.raw_dir, self.arrays)) else names

    @property
    def processed_file_names(self) -> str:
        """A name that follows from the content of the raw files."""
        return f'{self._digest}.pt'

    def _process(self) -> None:
        digest = hashlib.sha256()
        for path in self.raw_paths:
            digest.update(Path(path).read_bytes())
        self._digest = digest.hexdigest()[:16]
        super()._process()

    def _write(self, data: HeteroData) -> None:
        partial = f'{self.processed_paths[0]}.partial'
        self.save([data], partial)
        os.replace(partial, self.processed_paths[0])
