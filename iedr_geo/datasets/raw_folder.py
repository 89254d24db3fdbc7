"""Raw files that are read where they are, or else downloaded."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import os.path as osp
import zipfile
import zlib
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock
from torch_geometric.data import Dataset, HeteroData, InMemoryDataset, download_url
from torch_geometric.home import get_home_dir

from iedr_geo.data import InteractionDataset
from iedr_geo.data.files import load_tensors, replacing
from iedr_geo.data.warning import warn_caller

_DAMAGE = (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes the error that a damaged file causes name the file."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(f'{path} is damaged or of another format: {error}') from error


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OSError(f'Cannot write to {folder}: {error}') from error


class RawFolder(Dataset):
    """A dataset that never writes to the folder of raw files that it is given.

    By default, the folder is :obj:`$IEDR_GEO_DATA/<folder>` where that is set, else one
    in PyG's home. Only there, what is missing is downloaded. Processed files go to PyG's
    home, under names that follow from the content of the raw files. To be inherited from
    first.
    """

    folder: ClassVar[str]
    urls: ClassVar[dict[str, str]]
    # Of what is downloaded for each raw file, as `_digest` computes them.
    checksums: ClassVar[dict[str, str]]
    # Files that may stand in the place of those that are downloaded.
    alternative: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transform: Any = None,
        force_reload: bool = False,
    ) -> None:
        home = osp.join(get_home_dir(), 'iedr_geo', self.folder)
        self._processed_dir = osp.join(home, 'processed')
        self._downloads = root is None
        if root is None:
            data = os.environ.get('IEDR_GEO_DATA')
            root = home if data is None else osp.join(data, self.folder)
        Dataset.__init__(self, os.fspath(root), transform, force_reload=force_reload)

    @abstractmethod
    def _load(self, path: str) -> None:
        """Reads the processed file."""

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

    @functools.cached_property
    def _raw_digest(self) -> str:
        """The checksum of all raw files together."""
        digest = hashlib.sha256()
        for path in self.raw_paths:
            digest.update(Path(path).read_bytes())
        return digest.hexdigest()[:16]

    @property
    def processed_file_names(self) -> str:
        """A name that follows from the content of the raw files."""
        return f'{self._raw_digest}.pt'

    def _download(self) -> None:
        missing = [path for path in self.raw_paths if not osp.exists(path)]
        if missing and not self._downloads:
            raise FileNotFoundError(
                f'{self.raw_dir} lacks {", ".join(map(osp.basename, missing))}'
            )
        if missing:
            _make(self.raw_dir)
            with FileLock(osp.join(self.raw_dir, '.lock')):
                super()._download()

    def _process(self) -> None:
        """Reads the processed file, which one process at a time makes if it has to.

        PyG's own would unpickle other files that it keeps beside it.
        """
        path = self.processed_paths[0]
        if self._fault(path) is None:  # Without a lock: the folder may be read-only.
            return
        _make(self.processed_dir)
        with FileLock(osp.join(self.processed_dir, '.lock')):
            fault = self._fault(path)  # Another process may have made it.
            if fault is None:
                return
            if fault:
                warn_caller(f'{fault}: it is made again')
            self.process()
        self._load(path)

    def _fault(self, path: str) -> str | None:
        """Reads the processed file, or says why not; nothing of one that is not there."""
        if self.force_reload or not osp.exists(path):
            return ''
        try:
            self._load(path)
        except ValueError as error:
            return str(error)
        return None

    def download(self) -> None:
        """Downloads what is missing, and keeps it only if its checksum agrees."""
        get = functools.cache(self._get)  # One archive may hold several files.
        for path in map(Path, self.raw_paths):
            if not path.exists():
                url = self.urls[path.name]
                content = get(url)
                self._check(content, path.name, f'{path.name} from {url}')
                with replacing(path) as partial:
                    partial.write_bytes(self._unpack(content, path.name))

    def _get(self, url: str) -> bytes:
        partial = Path(self.raw_dir, f'{osp.basename(url)}.partial')
        partial.unlink(missing_ok=True)  # PyG would take it for the download.
        try:
            download_url(url, self.raw_dir, filename=partial.name)
            return partial.read_bytes()
        finally:
            partial.unlink(missing_ok=True)

    def _check(self, content: bytes, name: str, source: str) -> None:
        """Raises an error if content that was read for a file has another checksum."""
        with reading(source):
            digest = self._digest(content)
        if digest != self.checksums[name]:
            raise ValueError(
                f'{source} is damaged or another version: the SHA-256 is not '
                f'{self.checksums[name]}'
            )

    def _digest(self, content: bytes) -> str:
        """Returns what tells a file from its other versions."""
        return hashlib.sha256(content).hexdigest()

    def _unpack(self, content: bytes, name: str) -> bytes:
        """Returns what a raw file is to hold of what was downloaded for it."""
        return content


class RawArchive(RawFolder):
    """Raw files that come in one zip file, there in a folder of the dataset's name."""

    def _unpack(self, content: bytes, name: str) -> bytes:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(f'{self.folder}/{name}')


class RawGraph(RawFolder, InMemoryDataset):
    """A graph from raw files, or from one file of arrays that stands for them all.

    No checksum is asked of files that are there already.
    """

    def _load(self, path: str) -> None:
        # PyG's own reading would fall back on unpickling.
        content = load_tensors(path)
        with reading(path):
            data, self.slices, _ = content
            self.data = HeteroData.from_dict(data)

    def _write(self, data: HeteroData) -> None:
        with replacing(self.processed_paths[0]) as partial:
            self.save([data], str(partial))


class RawLog(RawFolder, InteractionDataset):
    """A log of interactions from raw files."""

    def _load(self, path: str) -> None:
        loaded = InteractionDataset.load(path)
        self.__dict__.update(loaded.__dict__ | self.__dict__)
