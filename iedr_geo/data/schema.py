"""The schema that turns tables into feature graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
import torch

from iedr_geo.data.columns import KINDS, RESERVED, Column, Nodes, Numerical
from iedr_geo.data.feature_graphs import FeatureGraphs
from iedr_geo.data.tables import check_columns

Side = Literal['user', 'item', 'context']
SIDES: tuple[Side, ...] = ('user', 'item', 'context')


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
                    KINDS[(c := dict(spec)).pop('kind')](**c) for spec in content[side]
                ]
                for side in SIDES
            }
            return cls(**columns, vocabulary=content['vocabulary'])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'This is not a schema in JSON: {error!r}') from error
