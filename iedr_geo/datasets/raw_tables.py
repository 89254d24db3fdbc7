"""Tables of text in raw files, and what a cell must hold."""

from __future__ import annotations

import math
import os.path as osp
from collections.abc import Mapping, Sequence
from typing import IO, Any

import pandas as pd

from iedr_geo.data.tables import check_columns
from iedr_geo.datasets.raw_folder import reading


def read_table(
    path: str,
    names: Mapping[Any, str],
    numbers: Sequence[str] = (),
    source: IO[bytes] | None = None,
    **kwargs: Any,
) -> pd.DataFrame:
    """Reads columns of a file as text, none of which may be empty.

    Args:
        path: The file.
        names: Our name of each column to be read, by its name or number in the file.
        numbers: The columns, by our names, that hold whole numbers.
        source: The content of the file, if it is one in an archive.
        **kwargs: Further arguments of :func:`pandas.read_csv`.
    """
    options: dict[str, Any] = {
        'dtype': str,
        'keep_default_na': False,
        'na_values': [''],
    } | kwargs
    with reading(path):
        table = pd.read_csv(path if source is None else source, **options)
        check_columns(table, list(names), osp.basename(path))
        table = table[list(names)].rename(columns=dict(names))
        for name, empty in table.isna().items():
            if empty.any():
                raise ValueError(f'row {empty.to_numpy().argmax() + 1} has no {name}')
    for name in numbers:
        table[name] = parse_numbers(table, path, name)
    return table


def parse_numbers(
    table: pd.DataFrame,
    path: str,
    name: str,
    low: float = 0,
    high: float = math.inf,
    step: float = 1,
) -> pd.Series:
    """Returns the numbers that a column says, multiples of :obj:`step`.

    Raises:
        ValueError: If a cell holds another value. The message names file, row (from 1,
            below the header) and column.
    """
    number = pd.to_numeric(table[name], errors='coerce')
    right = number.between(low, high) & (number % step == 0)
    if not right.all():
        row = int(right.to_numpy().argmin())
        kind = 'a whole number' if step == 1 else f'a multiple of {step}'
        bounds = '' if high == math.inf else f' from {low} to {high}'
        raise ValueError(
            f"{path}: the {name} in row {row + 1} is '{table[name][row]}', not "
            f'{kind}{bounds}'
        )
    return number.astype('int64') if step == 1 else number
