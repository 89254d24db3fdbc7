"""Blocks of rows."""

from __future__ import annotations


def blocks(num_rows: int, size: int) -> list[slice]:
    """Returns the rows in blocks of a size, the last of which may be smaller."""
    return [slice(i, min(i + size, num_rows)) for i in range(0, num_rows, size)]
