"""Raw files that are read where they are, or else downloaded."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
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
    # Files that may stand in the place of those that are downloaded.
    alternative: ClassVar[tuple[str, ...]] = ()

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
        """The files that are downloaded, or those that stand for them."""
        names = list(self.urls)
        if self.alternative and not self._has(names) and self._has(self.alternative):
            return list(self.alternative)
        return names

    def _has(self, names: Iterable[str]) -> bool:
        return all(osp.exists(osp.join(self.raw_dir, name)) for name in names)

    @cached_property
    def _digest(self) -> str:
        """What tells the content of the raw files from any other."""
        digest = hashlib.sha256()
        for path in self.raw_paths:
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()[:16]

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


class RawArchive(RawFolder):
    """Raw files that come in one zip file, there in a folder of the dataset's name."""

    checksum: ClassVar[str]  # Of the zip file.

    def download(self) -> None:
        """Downloads the zip file, and keeps what is missing if its checksum agrees."""
        (url,) = set(self.urls.values())
        archive = Path(self.raw_dir, f'{self.folder}.zip.partial')
        archive.unlink(missing_ok=True)  # PyG would take it for the download.
        try:
            download_url(url, self.raw_dir, filename=archive.name)
            check_sha256(archive.read_bytes(), self.checksum, archive)
            with zipfile.ZipFile(archive) as content:
                for path in map(Path, self.raw_paths):
                    if not path.exists():
                        partial = Path(f'{path}.partial')
                        partial.write_bytes(content.read(f'{self.folder}/{path.name}'))
                        partial.replace(path)
        finally:
            archive.unlink(missing_ok=True)


class RawGraph(RawFolder, InMemoryDataset):
    """A graph from raw files, or from one file of arrays that stands for them all.

    No checksum is asked of files that are there already.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transform: Any = None,
        force_reload: bool = False,
    ) -> None:
        super().__init__(self._find(root), transform, force_reload=force_reload)
        self.load(self.processed_paths[0], data_cls=HeteroData)

    @property
    def processed_file_names(self) -> str:
        """A name that follows from the content of the raw files."""
        return f'{self._digest}.pt'

    def _write(self, data: HeteroData) -> None:
        partial = f'{self.processed_paths[0]}.partial'
        self.save([data], partial)
        os.replace(partial, self.processed_paths[0])
