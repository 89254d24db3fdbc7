"""Files that are never seen half written, and are read only if they are whole."""

from __future__ import annotations

import os
import pickle
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import torch

Source: TypeAlias = str | os.PathLike[str] | IO[bytes]
"""A file by its path, or one that is open."""

STRAY = 24 * 3600.0  # Seconds after which nobody can still be writing.


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside a file, which then takes the place of the file.

    After an error, nothing is left of it, and an older file stays. Of several processes
    that write the same file, the last one to end wins. What a killed one has left is
    removed a day later.

    Args:
        path: The file.

    Raises:
        OSError: If it cannot be written, *e.g.*, as the disk is full (names the file).
    """
    path = Path(path)
    for stray in path.parent.glob(f'.{path.name}.*.partial'):
        if time.time() - stray.stat().st_mtime > STRAY:
            stray.unlink(missing_ok=True)
    own = f'.{path.name}.{os.getpid()}-{threading.get_ident()}.partial'
    partial = path.with_name(own)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise type(error)(f'Cannot write {path}: {error}') from error
    finally:
        partial.unlink(missing_ok=True)


def save_tensors(content: Any, path: str | os.PathLike[str]) -> None:
    """Writes tensors and plain values, as :func:`replacing` does."""
    with replacing(path) as partial, open(partial, 'wb') as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # Of torch, as the disk is full.
            raise OSError(str(error)) from error


def name_of(source: Source) -> str:
    """Returns the path of a file."""
    return os.fspath(source if isinstance(source, str | os.PathLike) else source.name)


def _odd(archive: zipfile.ZipFile) -> str | None:
    """Returns a part of a file that it says other things of than torch writes.

    Torch would ask for memory of any size, or leave it as it finds it, for what is marked
    as a folder.
    """
    for part in archive.infolist():
        as_written = part.compress_type, part.compress_size, part.external_attr
        if as_written != (zipfile.ZIP_STORED, part.file_size, 0):
            return part.filename
    return None


def load_tensors(path: Source, verify: bool = True) -> Any:
    """Reads tensors and plain values that :func:`torch.save` wrote, onto the CPU.

    Nothing in the file is executed.

    Args:
        path: The file.
        verify: If :obj:`True`, the checksums of all that is in the file are compared,
            which torch does not do.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or holds anything else (names the file).
    """
    try:
        if verify:
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip() or _odd(archive)
            if broken is not None:
                raise ValueError(f'the checksum of {broken} does not agree')
        return torch.load(path, map_location='cpu', weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError as error:  # torch's advice is to execute it.
        raise ValueError(
            f'{name_of(path)} is damaged: it holds more than tensors and plain values'
        ) from error
    except Exception as error:
        raise ValueError(f'{name_of(path)} is damaged: {error}') from error
