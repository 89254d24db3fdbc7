"""Column types, and the schema that turns tables into feature graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from pandas.api.types import is_list_like, is_string_dtype

from iedr_geo.data.feature_graphs import FeatureGraphs

Side = Literal['user', 'item', 'context']
SIDES: tuple[Side, ...] = ('user', 'item', 'context')

UNKNOWN = 0
MISSING = 1
RESERVED = 2  # Rows of every field before its values: unknown and missing.


class Nodes(NamedTuple):
    """The nodes of one column: their table row, row in the field, and value."""

    row: np.ndarray
    code: np.ndarray
    value: np.ndarray


def token(value: Any) -> str:
    """The text under which a value is known, so that 1, 1.0 and '1' agree.

    A column of integers becomes floating point as soon as one value is missing,
    and text when it goes through a CSV file; neither may change who is who.
    """
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value)


def tokens(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Factorizes a column: a code for each row (-1: missing) and the codes' tokens."""
    try:
        codes, values = pd.factorize(column)
    except (TypeError, NotImplementedError):  # What is not hashable.
        raise ValueError(
            f"Column '{column.name}' holds lists where single values belong: use "
            f'MultiCategorical'
        ) from None
    return codes, [token(value) for value in values]


@dataclass(frozen=True)
class Categorical:
    """A column with one category a row: one node.

    Args:
        name: The column.
    """

    name: str
    kind: ClassVar[str] = 'categorical'

    def fit(self, column: pd.Series) -> list[str]:
        """Returns the sorted distinct values."""
        return sorted(set(tokens(column)[1]))

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Looks each value up; values not in the vocabulary are unknown."""
        codes, values = tokens(column)
        known = [vocabulary.get(value, UNKNOWN) for value in values]
        lookup = np.array([*known, MISSING])  # Code -1 reads the last entry.
        return Nodes(np.arange(len(column)), lookup[codes], np.ones(len(column)))


@dataclass(frozen=True)
class MultiCategorical:
    """A column with any number of categories a row: one node for each of them.

    An empty list or text is a missing value and has the field's missing node.
    A value that a row repeats is one node.

    Args:
        name: The column. It holds lists (tuples, sets, arrays), or text that
            :obj:`separator` splits.
        separator: What separates the values of a text, *e.g.*, :obj:`'|'`.
    """

    name: str
    separator: str | None = None
    kind: ClassVar[str] = 'multi_categorical'

    def _split(self, cell: Any) -> Any:
        if isinstance(cell, (set, frozenset)):
            return sorted(cell, key=token)  # Sets of text change order between runs.
        if self.separator is not None and not is_list_like(cell):
            return token(cell).split(self.separator)
        return cell

    def _explode(self, column: pd.Series) -> pd.Series:
        column = column.reset_index(drop=True).astype(object)
        filled = column.dropna()
        if self.separator is None and len(filled) and is_string_dtype(filled):
            raise ValueError(
                f"Column '{self.name}' holds text, not lists: pass "
                f'`separator` to MultiCategorical, or use Categorical'
            )
        values = column.map(self._split, na_action='ignore').explode()
        text = values.map(lambda value: token(value).strip(), na_action='ignore')
        values = text.mask(text == '')
        # A row keeps its missing marker only if nothing else is left in it.
        some = values.notna().groupby(level=0).transform('any')
        values = values[values.notna() | ~some]
        return values[~(values.reset_index().duplicated().to_numpy())]

    def fit(self, column: pd.Series) -> list[str]:
        """Returns the sorted distinct values over all rows."""
        return sorted(set(tokens(self._explode(column))[1]))

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Looks each value of each row up."""
        values = self._explode(column)
        nodes = Categorical(self.name).encode(values, vocabulary)
        return nodes._replace(row=values.index.to_numpy())


def _numbers(name: str, column: pd.Series) -> np.ndarray:
    if column.dtype.kind in 'Mm':
        raise ValueError(f"Column '{name}' is declared a number, but holds times")
    try:
        numbers = pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"Column '{name}' is declared a number, but holds other values: {error}"
        ) from None
    infinite = np.flatnonzero(np.isinf(numbers))
    if len(infinite):
        raise ValueError(
            f"Column '{name}' holds {len(infinite)} infinite values, the first in "
            f'row {infinite[0]}'
        )
    return numbers


@dataclass(frozen=True)
class Numerical:
    r"""A number: one node, whose embedding is the number times the field's embedding.

    The :math:`\mathbf{u}_i = x_i \mathbf{v}_i` of Section 6.3.1 of the IEDR paper.
    Numbers enter as they are: bring them to a scale near one beforehand, or use
    :class:`Bucketized`.

    Args:
        name: The column.
    """

    name: str
    kind: ClassVar[str] = 'numerical'

    def fit(self, column: pd.Series) -> list[str]:
        """Checks the numbers; the field has a single row."""
        _numbers(self.name, column)
        return [self.name]

    def encode(self, column: pd.Series, vocabulary: Mapping[str, int]) -> Nodes:
        """Returns the numbers as the nodes' values."""
        numbers = _numbers(self.name, column)
        missing = np.isnan(numbers)
        code = np.where(missing, MISSING, vocabulary[self.name])
        return Nodes(np.arange(len(column)), code, np.where(missing, 1.0, numbers))


@dataclass(frozen=True)
class Bucketized:
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
        if self.num_buckets is not None and self.num_buckets < 2:
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

    def fit(self, column: pd.Series) -> list[str]:
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


Column = Categorical | MultiCategorical | Numerical | Bucketized
_KINDS: dict[str, Any] = {
    cls.kind: cls for cls in (Categorical, MultiCategorical, Numerical, Bucketized)
}


def check_columns(frame: pd.DataFrame, names: Sequence[str], table: str) -> None:
    """Raises an error that names the table and the column if one is not usable."""
    duplicated = frame.columns[frame.columns.duplicated()].unique().tolist()
    if duplicated:
        raise ValueError(f'The {table} table has duplicate columns: {duplicated}')
    for name in names:
        if name not in frame.columns:
            raise ValueError(
                f"The {table} table has no column '{name}' (it has: "
                f'{", ".join(map(str, frame.columns))})'
            )
    if frame.empty:
        raise ValueError(f'The {table} table is empty')


@dataclass
class FeatureSchema:
    """The fields of users, items and contexts, and one vocabulary for all three.

    Every value of every field has a row in one embedding table. Each field starts
    with two rows of its own: one for values that were not seen when the schema was
    fitted (*unknown*), one for values that are absent (*missing*).

    Args:
        user: The fields of a user. The user's id is a field like any other: leave it
            out, and users are known by their features alone.
        item: The fields of an item.
        context: The fields of a context.

    Example:
        >>> schema = FeatureSchema(
        ...     user=[Categorical('user')],
        ...     item=[Categorical('item'), MultiCategorical('genres', '|')],
        ...     context=[Categorical('weekday'), Bucketized('hour', (6, 12, 18))],
        ... )
    """

    user: Sequence[Column]
    item: Sequence[Column]
    context: Sequence[Column]
    vocabulary: dict[Side, dict[str, list[str]]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for side in SIDES:
            setattr(self, side, list(self.columns(side)))
            for column in self.columns(side):
                if not isinstance(column, Column):
                    raise ValueError(
                        f"{column!r} is no {side} column: write, e.g., Categorical('id')"
                    )
            names = [column.name for column in self.columns(side)]
            if not names:
                raise ValueError(f'The schema has no {side} column')
            if len(set(names)) < len(names):
                raise ValueError(f'The schema names a {side} column twice: {names}')
            if self.vocabulary is not None and list(self.vocabulary[side]) != names:
                raise ValueError(
                    f'The vocabulary has values of the {side} columns '
                    f'{list(self.vocabulary[side])}, the schema columns {names}'
                )

    def columns(self, side: Side) -> Sequence[Column]:
        """Returns the fields of a side."""
        columns: Sequence[Column] = getattr(self, side)
        return columns

    def fit(self, frames: Mapping[Side, pd.DataFrame]) -> FeatureSchema:
        """Collects the values of every field.

        The vocabulary is sorted: it does not depend on the order of the rows.

        Args:
            frames: A table for each of :obj:`'user'`, :obj:`'item'` and
                :obj:`'context'`.

        Returns:
            The schema itself.
        """
        vocabulary: dict[Side, dict[str, list[str]]] = {}
        for side in SIDES:
            columns = self.columns(side)
            check_columns(frames[side], [column.name for column in columns], side)
            vocabulary[side] = {c.name: c.fit(frames[side][c.name]) for c in columns}
        self.vocabulary = vocabulary
        return self

    def _fitted(self) -> dict[Side, dict[str, list[str]]]:
        if self.vocabulary is None:
            raise RuntimeError('The schema is not fitted: call `fit` first')
        return self.vocabulary

    @property
    def num_embeddings(self) -> int:
        """The number of rows of the embedding table."""
        vocabulary = self._fitted()
        return sum(
            RESERVED + len(values)
            for side in SIDES
            for values in vocabulary[side].values()
        )

    def offsets(self, side: Side) -> dict[str, int]:
        """Returns the first row of each field of a side in the embedding table."""
        vocabulary, offset = self._fitted(), 0
        offsets = {}
        for other in SIDES:
            for name, values in vocabulary[other].items():
                if other == side:
                    offsets[name] = offset
                offset += RESERVED + len(values)
        return offsets

    def names(self) -> list[str]:
        """Returns a readable name for every row, *e.g.*, :obj:`'weekday=monday'`."""
        names = []
        for side in SIDES:
            for name, values in self._fitted()[side].items():
                names += [f'{name}=<unknown>', f'{name}=<missing>']
                names += [f'{name}={value}' for value in values]
        return names

    def encode(self, side: Side, frame: pd.DataFrame) -> FeatureGraphs:
        """Turns a table into one complete feature graph a row.

        The nodes of a graph follow the order of the schema's fields.

        Args:
            side: Which side the table describes.
            frame: The table, with a column for every field of the side.
        """
        columns, vocabulary = self.columns(side), self._fitted()[side]
        check_columns(frame, [column.name for column in columns], side)
        offsets = self.offsets(side)
        parts = []
        for column in columns:
            lookup = {
                value: RESERVED + i for i, value in enumerate(vocabulary[column.name])
            }
            nodes = column.encode(frame[column.name], lookup)
            parts.append(nodes._replace(code=nodes.code + offsets[column.name]))
        nodes = Nodes(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        order = np.argsort(nodes.row, kind='stable')  # Keeps the order of the fields.
        sizes = np.bincount(nodes.row, minlength=len(frame))
        numerical = any(isinstance(column, Numerical) for column in columns)
        return FeatureGraphs(
            x=torch.from_numpy(nodes.code[order].astype(np.int64)),
            ptr=torch.from_numpy(np.concatenate([[0], sizes.cumsum()])),
            value=torch.from_numpy(nodes.value[order]).float() if numerical else None,
        )

    def to_json(self) -> str:
        """Returns the fields and their vocabulary as JSON text."""
        fields = {
            side: [{'kind': c.kind, **asdict(c)} for c in self.columns(side)]
            for side in SIDES
        }
        return json.dumps({**fields, 'vocabulary': self.vocabulary}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> FeatureSchema:
        """Reads what :meth:`to_json` wrote.

        Raises:
            ValueError: If the text is not a schema.
        """
        try:
            content = json.loads(text)
            columns = {
                side: [
                    _KINDS[(c := dict(spec)).pop('kind')](**c) for spec in content[side]
                ]
                for side in SIDES
            }
            return cls(**columns, vocabulary=content['vocabulary'])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'This is not a schema in JSON: {error!r}') from error
