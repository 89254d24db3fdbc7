"""Fingerprints: whose numbers the numbers of an object are."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.columns.cells import plain, token, tokens

NUMBERED = {
    'vocabulary': 'embeddings of the schema (its columns or their values)',
    'user': 'users (their ids, or the order of these)',
    'item': 'items (their ids, or the order of these)',
    'context': 'contexts (their values, or the order of these)',
    'rows': 'training rows (or the features of what they name)',
    'lists': 'validation lists',
}
"""What a fingerprint may be of, and what differs where it does."""


class Fingerprint(NamedTuple):
    """What tells equal numberings from others.

    Args:
        size: How many there are.
        digest: The hash of what they are. :obj:`None` if their numbers are all that is
            known of them, as for a graph of tensors alone.
    """

    size: int
    digest: str | None


class Numbered(Protocol):
    """An object with numbers: a dataset or a graph."""

    def fingerprint(self, of: str, size: int | None = None) -> Fingerprint | None:
        """Returns a fingerprint; nothing where there is nothing of the kind.

        Args:
            of: What it is of, a key of :data:`NUMBERED`.
            size: The number of users, items or contexts that count, the first ones
                (default: all). What is added at the end changes no number.
        """


def digest(*parts: Tensor | Sequence[str] | None) -> str:
    """Returns a hash of tensors and texts, the same on every device."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            array = part.detach().cpu().contiguous().numpy()
            sha.update(f'{array.dtype}{array.shape}'.encode())
            sha.update(array.data)
        else:
            sha.update(json.dumps(part).encode())
    return sha.hexdigest()[:16]


_kept: dict[tuple[int, int], tuple[weakref.ref[Any], Fingerprint]] = {}


def numbering(table: pd.Index | pd.DataFrame, size: int | None = None) -> Fingerprint:
    """Returns the fingerprint of the first entries of a table, computed once.

    Args:
        table: An id or the values of each entry, whatever their types. A
            :class:`~pandas.RangeIndex` from 0 says no more than the numbers.
        size: The number of entries that count (default: all).
    """
    size = len(table) if size is None else min(size, len(table))
    if isinstance(table, pd.RangeIndex) and (table.start, table.step) == (0, 1):
        return Fingerprint(size, None)
    key = id(table), size
    of, kept = _kept.get(key, (None, None))
    if of is not None and kept is not None and of() is table:
        return kept
    parts: list[Any] = []
    if isinstance(table, pd.Index):
        parts = [list(map(token, table[:size].tolist()))]
    else:
        for name in table:
            column = table[name].iloc[:size]
            try:
                codes, texts = tokens(column)
            except ValueError:  # Lists.
                column = column.map(lambda value: json.dumps(value, default=plain))
                codes, texts = tokens(column)
            parts += [torch.from_numpy(codes), texts]
    found = Fingerprint(size, digest(*parts))
    _kept[key] = weakref.ref(table, lambda _: _kept.pop(key, None)), found
    return found


def sides_of(data: Numbered) -> dict[str, Fingerprint | None]:
    """Returns the fingerprints of users, items and, where there are any, contexts."""
    return {side: data.fingerprint(side) for side in ('user', 'item', 'context')}


def check_fits(
    kept: Mapping[str, Sequence[Any] | None], data: Numbered, fault: str, advice: str = ''
) -> None:
    """Raises an error if an object has numbers of other data.

    Args:
        kept: The fingerprints of what the object reads of its data, by name.
        data: The data that it is used with.
        fault: The beginning of the message.
        advice: The end of the message.
    """
    found = {
        name: data.fingerprint(name, wanted[0])
        for name, wanted in kept.items()
        if wanted is not None
    }
    check_kept(kept, found, fault, advice)


def check_kept(
    kept: Mapping[str, Sequence[Any] | None],
    found: Mapping[str, Sequence[Any] | None],
    fault: str,
    advice: str = '',
) -> None:
    """Raises an error if fingerprints differ; see :func:`check_fits`."""
    different = []
    for name in kept.keys() | found.keys():
        there, here = kept.get(name), found.get(name)
        if there is None or here is None:
            continue
        if there[0] != here[0] or len({there[1], here[1]} - {None}) > 1:
            text = f'the {NUMBERED[name]} differ, {there[0]} there and {here[0]} here'
            different.append(text)
    if different:
        raise ValueError(f'{fault}: {"; ".join(sorted(different))}{advice}')
