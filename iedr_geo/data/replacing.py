"""Files that are never seen half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path beside a file, which then takes the place of the file.

    After an error, nothing is left of it, and an older file stays.

    Args:
        path: The file.
    """
    partial = Path(f'{os.fspath(path)}.partial')
    partial.unlink(missing_ok=True)  # What a killed process has left is no start.
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
