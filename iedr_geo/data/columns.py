"""Column types: what the nodes of a column are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_list_like

UNKNOWN = 0
MISSING = 1
RESERVED = 2  # Rows of every field before its values: unknown and missing.


class Nodes(NamedTuple):
    """The nodes of one field.

    Args:
        row: The row of the table that each node is of.
        code: Its row in the field.
        value: The factor of its embedding.
        vector: The vector of each node that has one, in their order.
    """

    row: np.ndarray
    code: np.ndarray
    value: np.ndarray
    vector: np.ndarray | None = None


def token(value: Any) -> str:
    """The text under which a value is known, so that 1, 1.0 and '1' agree.

    A column of integers becomes floating point as soon as one value is missing,
    and text when it goes through a CSV file; neither may change who is who.
    """
    if isinstance(value, (float, np.floating)):
        value = float(value)  # The digits of a narrower type are not in a file.
        value = int(value) if value.is_integer() else value
    return str(value)


def tokens(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Factorizes a column: a code for each row (-1: missing) and the codes' tokens."""
    if column.dtype.kind == 'f':  # Arrow tells NaN from what is missing.
        column = pd.Series(column.to_numpy(float, na_value=np.nan), name=column.name)
    try:
        codes, values = pd.factorize(column)
        if column.dtype == object and infer_dtype(column).startswith('mixed'):
            # To Python, True equals 1.
            codes, values = pd.factorize(column.map(token, na_action='ignore'))
    except (TypeError, NotImplementedError):  # What is not hashable.
        raise ValueError(
            f"Column '{column.name}' holds lists where single values belong: use "
            f'MultiCategorical'
        ) from None
    return codes, [token(value) for value in values]


class Column(ABC):
    """What the nodes of one field are made of."""

    name: str
    """The field."""
    kind: ClassVar[str]
    is_number: ClassVar[bool] = False
    """Whether rows of the field are scaled by numbers rather than values of their own."""

    @property
    def column(self) -> str:
        """The column of the table that the field is made of."""
        return self.name

    @abstractmethod
    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the values of the field.

        Args:
            column: The column.
            weight: How often each row counts (default: once).
        """

    @abstractmethod
    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Returns the nodes of a column.

        Args:
            column: The column.
            vocabulary: The row of each value in the field.
        """

    def key(self, column: pd.Series, vocabulary: Mapping[str, int]) -> pd.Series:
        """Returns what of each cell makes a difference: equal keys have equal nodes."""
        return column

    def labels(self, values: list[str]) -> list[str]:
        """Returns what people are to read in the place of each value of the field."""
        return values


def _check_count(name: str, min_count: int) -> None:
    if not isinstance(min_count, int) or min_count < 1:
        raise ValueError(
            f"`min_count` of '{name}' must be at least 1 (got {min_count}), and an int"
        )


def _frequent(
    column: pd.Series, weight: np.ndarray | None, rows: np.ndarray, min_count: int
) -> list[str]:
    """Returns the sorted values of a column that enough rows have."""
    codes, values = tokens(column)
    known = codes >= 0
    counts = np.ones(len(rows)) if weight is None else weight[rows]
    total = np.bincount(codes[known], counts[known], minlength=len(values))
    # Different cells can mean the same: 1 and '1'.
    sums = pd.Series(total, index=pd.Index(values, dtype=object)).groupby(level=0).sum()
    return sorted(sums.index[sums >= (min_count if min_count > 1 else 0)])


@dataclass(frozen=True)
class Categorical(Column):
    """A column with one category a row: one node.

    Args:
        name: The column.
        min_count: Values that fewer rows of the log have are unknown, as are those that
            are new. Without a log, the rows of the table count.
    """

    name: str
    min_count: int = 1
    kind: ClassVar[str] = 'categorical'

    def __post_init__(self) -> None:
        _check_count(self.name, self.min_count)

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the sorted distinct values."""
        return _frequent(column, weight, np.arange(len(column)), self.min_count)

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Looks each value up; values not in the vocabulary are unknown."""
        codes, values = tokens(column)
        known = [vocabulary.get(value, UNKNOWN) for value in values]
        lookup = np.array([*known, MISSING])  # Code -1 reads the last entry.
        return Nodes(np.arange(len(column)), lookup[codes], np.ones(len(column)))

    def key(self, column: pd.Series, vocabulary: Mapping[str, int]) -> pd.Series:
        """Returns a number for each value."""
        return pd.Series(tokens(column)[0], column.index)


@dataclass(frozen=True)
class MultiCategorical(Column):
    """A column with any number of categories a row: one node for each of them.

    An empty list or text is a missing value and has the field's missing node.
    A value that a row repeats is one node.

    Args:
        name: The column. It holds lists (tuples, sets, arrays), or text that
            :obj:`separator` splits.
        separator: What separates the values of a text, *e.g.*, :obj:`'|'`.
        min_count: As in :class:`Categorical`.
    """

    name: str
    separator: str | None = None
    min_count: int = 1
    kind: ClassVar[str] = 'multi_categorical'

    def __post_init__(self) -> None:
        _check_count(self.name, self.min_count)
        if self.separator is not None and not (
            isinstance(self.separator, str) and self.separator
        ):
            raise ValueError(
                f"`separator` of '{self.name}' must be text (got {self.separator!r})"
            )

    def _split(self, cell: Any) -> Any:
        if isinstance(cell, Mapping):
            raise ValueError(
                f"Column '{self.name}' holds mappings where lists belong: {cell!r}"
            )
        if isinstance(cell, (set, frozenset)):
            return sorted(cell, key=token)  # Sets of text change order between runs.
        if self.separator is not None and not is_list_like(cell):
            return token(cell).split(self.separator)
        return cell

    def _text(self, value: Any) -> str:
        if is_list_like(value):
            raise ValueError(
                f"Column '{self.name}' holds lists in lists, among them: {value!r}"
            )
        return token(value).strip()

    def _explode(self, column: pd.Series) -> pd.Series:
        column = column.reset_index(drop=True).astype(object)
        filled = column.dropna()
        if self.separator is None and not filled.map(is_list_like).all():
            raise ValueError(
                f"Column '{self.name}' holds text or single values, not lists: pass "
                f'`separator` to MultiCategorical, or use Categorical'
            )
        values = column.map(self._split, na_action='ignore').explode()
        text = values.map(self._text, na_action='ignore')
        values = text.mask(text == '')
        # A row keeps its missing marker only if nothing else is left in it.
        some = values.notna().groupby(level=0).transform('any')
        values = values[values.notna() | ~some]
        return values[~(values.reset_index().duplicated().to_numpy())]

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the sorted distinct values over all rows."""
        values = self._explode(column)
        return _frequent(values, weight, values.index.to_numpy(), self.min_count)

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Looks each value of each row up."""
        values = self._explode(column)
        nodes = Categorical(self.name).encode(values, vocabulary)
        return nodes._replace(row=values.index.to_numpy())


def to_numbers(column: pd.Series) -> np.ndarray:
    """Returns the numbers of a column, NaN where one is missing.

    Raises:
        TypeError: If a cell is neither a number nor text.
        ValueError: If a text is no number.
    """
    if column.dtype.kind not in 'biuf':
        column = column.astype(object)  # pandas finds numbers in periods and durations.
    if infer_dtype(column) == 'mixed' and column.map(is_list_like).any():
        raise TypeError('lists')  # pandas finds nothing in empty ones.
    numbers = pd.to_numeric(column)
    if numbers.dtype.kind == 'c':
        raise TypeError('complex numbers')
    return numbers.to_numpy(dtype=float, na_value=np.nan)


def _numbers(name: str, column: pd.Series) -> np.ndarray:
    if column.dtype.kind in 'Mm':
        raise ValueError(
            f"Column '{name}' is declared a number, but holds times: use "
            f"DateTime('{name}', 'hour') or another part of them"
        )
    try:
        numbers = to_numbers(column)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Column '{name}' is declared a number, but holds other values: {error}"
        ) from None
    largest = float(np.finfo(np.float32).max)  # What a node's value can be.
    infinite = np.flatnonzero(np.abs(numbers) > largest)
    if len(infinite):
        raise ValueError(
            f"Column '{name}' holds {len(infinite)} infinite values, the first in "
            f'row {infinite[0]} (the largest number is {largest:.1e})'
        )
    return numbers


@dataclass(frozen=True)
class Numerical(Column):
    r"""A number: one node, whose embedding is the number times the field's embedding.

    The :math:`\mathbf{u}_i = x_i \mathbf{v}_i` of Section 6.3.1 of the IEDR paper.
    Numbers enter as they are: bring them to a scale near one beforehand, or use
    :class:`Bucketized`.

    Args:
        name: The column.
    """

    name: str
    kind: ClassVar[str] = 'numerical'
    is_number: ClassVar[bool] = True

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Checks the numbers; the field has a single row."""
        _numbers(self.name, column)
        return [self.name]

    def labels(self, values: list[str]) -> list[str]:
        """Returns that there is a number: the field has one row for all of them."""
        return ['<number>']

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Returns the numbers as the nodes' values."""
        numbers = _numbers(self.name, column)
        missing = np.isnan(numbers)
        code = np.where(missing, MISSING, vocabulary[self.name])
        return Nodes(np.arange(len(column)), code, np.where(missing, 1.0, numbers))


@dataclass(frozen=True)
class Bucketized(Column):
    """A number as a category: one node for the bucket that it falls into.

    Args:
        name: The column.
        boundaries: Where a bucket ends and the next begins, increasing; a number
            equal to a boundary belongs to the bucket above.
        num_buckets: In place of :obj:`boundaries`: that many buckets with equal
            shares of the fitted rows.
    """

    name: str
    boundaries: tuple[float, ...] | None = None
    num_buckets: int | None = None
    kind: ClassVar[str] = 'bucketized'

    def __post_init__(self) -> None:
        if (self.boundaries is None) == (self.num_buckets is None):
            raise ValueError(
                f"Bucketized('{self.name}') needs either `boundaries` or `num_buckets`"
            )
        if self.num_buckets is not None and (
            not isinstance(self.num_buckets, int) or self.num_buckets < 2
        ):
            raise ValueError(
                f"Bucketized('{self.name}') needs at least 2 buckets "
                f'(got {self.num_buckets})'
            )
        if self.boundaries is not None:
            try:
                boundaries = tuple(map(float, self.boundaries))
            except (TypeError, ValueError):
                raise ValueError(
                    f"The boundaries of '{self.name}' must be numbers "
                    f'(got {self.boundaries!r})'
                ) from None
            object.__setattr__(self, 'boundaries', boundaries)
            increase = all(a < b for a, b in pairwise((-np.inf, *boundaries, np.inf)))
            if not (boundaries and increase):
                raise ValueError(
                    f"The boundaries of '{self.name}' must be finite and increase "
                    f'(got {boundaries})'
                )

    def fit(self, column: pd.Series, weight: np.ndarray | None = None) -> list[str]:
        """Returns the lower ends of the buckets, as text that reads back exactly."""
        numbers = _numbers(self.name, column)
        boundaries = self.boundaries
        if self.num_buckets is not None:
            numbers = numbers[~np.isnan(numbers)]
            if not len(numbers):
                raise ValueError(f"Column '{self.name}' holds no number to fit")
            shares = np.arange(1, self.num_buckets) / self.num_buckets
            cuts = np.unique(np.quantile(numbers, shares))
            # A lowest bucket below the minimum would never be filled.
            boundaries = tuple(map(float, cuts[cuts > numbers.min()]))
        return ['-inf', *map(repr, boundaries or ())]

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Returns the bucket of each number."""
        numbers = _numbers(self.name, column)
        lower = np.array([float(text) for text in vocabulary])
        bucket = np.searchsorted(lower, numbers, side='right') - 1 + RESERVED
        code = np.where(np.isnan(numbers), MISSING, bucket)
        return Nodes(np.arange(len(column)), code, np.ones(len(column)))

    def labels(self, values: list[str]) -> list[str]:
        """Returns the range of each bucket, *e.g.*, :obj:`'90 to 120'`."""
        ends = [value.removesuffix('.0') for value in values[1:]]
        if not ends:
            return ['any']
        between = [f'{low} to {high}' for low, high in pairwise(ends)]
        return [f'<{ends[0]}', *between, f'>={ends[-1]}']

    def key(self, column: pd.Series, vocabulary: Mapping[str, int]) -> pd.Series:
        """Returns the bucket of each number."""
        return pd.Series(self.encode(column, vocabulary).code, column.index)
