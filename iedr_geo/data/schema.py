"""The schema that turns tables into feature graphs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.columns import MISSING, RESERVED, UNKNOWN, Column
from iedr_geo.data.feature_graphs import FeatureGraphs
from iedr_geo.data.fingerprint import Fingerprint, digest
from iedr_geo.data.tables import check_columns
from iedr_geo.data.warning import warn_caller
from iedr_geo.transforms.serialization import transform_from_dict, transform_to_dict

Side = Literal['user', 'item', 'context']
SIDES: tuple[Side, ...] = ('user', 'item', 'context')
# Of the library: those of users come later.
KINDS: dict[str, Any] = {cls.__name__: cls for cls in Column.__subclasses__()}


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
        edges: By side, the transform that builds the edges of its graphs, *e.g.*, one of
            :mod:`iedr_geo.transforms` (default: graphs are complete). It is given the
            complete graphs, many in one :class:`~torch_geometric.data.Batch`, with the
            number of each node's field as :obj:`field` and their names as
            :obj:`field_names`.

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
    edges: dict[Side, Any] = field(default_factory=dict)
    vocabulary: dict[Side, dict[str, list[str]]] | None = field(default=None, repr=False)
    _fingerprint: tuple[Any, Fingerprint | None] = field(
        default=(None, None), init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        for name, transform in self.edges.items():
            if name not in SIDES:
                raise ValueError(f"`edges` are of {', '.join(SIDES)} (got '{name}')")
            if transform is not None and not callable(transform):
                raise ValueError(
                    f'The {name} edges must be built by a transform (got {transform!r})'
                )
        self.edges = {s: t for s, t in self.edges.items() if t is not None}
        for side in SIDES:
            setattr(self, side, list(self.columns(side)))
            for column in self.columns(side):
                if not (isinstance(column, Column) and isinstance(column.column, str)):
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
        if side not in SIDES:
            raise ValueError(f'A side is one of {", ".join(SIDES)} (got {side!r})')
        columns: Sequence[Column] = getattr(self, side)
        return columns

    def sources(self, side: Side) -> list[str]:
        """Returns the columns of a table that the fields of a side are made of."""
        return list(dict.fromkeys(column.column for column in self.columns(side)))

    def fit(
        self,
        frames: Mapping[Side, pd.DataFrame],
        counts: Mapping[Side, np.ndarray] | None = None,
    ) -> FeatureSchema:
        """Collects the values of every field.

        The vocabulary is sorted: it does not depend on the order of the rows.

        Args:
            frames: A table for each of :obj:`'user'`, :obj:`'item'` and
                :obj:`'context'`.
            counts: The number of rows of the log of each row of a table, by side, for
                fields that leave out rare values (default: one).

        Returns:
            The schema itself.
        """
        vocabulary: dict[Side, dict[str, list[str]]] = {}
        for side in SIDES:
            frame, weight = frames[side], (counts or {}).get(side)
            check_columns(frame, self.sources(side), side)
            vocabulary[side] = {
                c.name: c.fit(frame[c.column], weight) for c in self.columns(side)
            }
        self.vocabulary = vocabulary
        return self

    @property
    def fingerprint(self) -> Fingerprint:
        """What tells the numbers of the vocabulary from others, edges aside."""
        vocabulary, found = self._fingerprint
        if vocabulary is not self.vocabulary or found is None:
            content = json.dumps(self._content(edges=None))
            found = Fingerprint(self.num_embeddings, digest([content]))
            self._fingerprint = self.vocabulary, found
        return found

    def _fitted(self) -> dict[Side, dict[str, list[str]]]:
        if self.vocabulary is None:
            raise RuntimeError('The schema is not fitted: call `fit` first')
        return self.vocabulary

    def _sizes(self, side: Side) -> list[int]:
        """Returns the number of rows of each field of a side."""
        return [RESERVED + len(values) for values in self._fitted()[side].values()]

    @property
    def num_embeddings(self) -> int:
        """The number of rows of the embedding table."""
        return sum(sum(self._sizes(side)) for side in SIDES)

    def offsets(self, side: Side) -> dict[str, int]:
        """Returns the first row of each field of a side in the embedding table."""
        before = sum(sum(self._sizes(other)) for other in SIDES[: SIDES.index(side)])
        first = accumulate(self._sizes(side), initial=before)
        return dict(zip(self._fitted()[side], first, strict=False))

    def names(self) -> list[str]:
        """Returns a readable name for every row, *e.g.*, :obj:`'weekday=monday'`."""
        names = []
        for side in SIDES:
            for column in self.columns(side):
                labels = column.labels(self._fitted()[side][column.name])
                for label in ('<unknown>', '<missing>', *labels):
                    names.append(f'{column.name}={label}')
        return names

    def fields_of(self, side: Side, x: Tensor) -> Tensor:
        """Returns the number, among the fields of a side, of embedding rows."""
        first = torch.tensor([*self.offsets(side).values()], device=x.device)
        return torch.searchsorted(first, x, right=True) - 1

    def distinct(self, side: Side, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Returns a row for each distinct feature graph, and which of them each row has.

        Rows are the same where what is encoded of them is, whatever the cells: the minute
        of a time of which the hour is a feature, the order of tags, or which of the
        unknown values it is, tells nothing apart.

        Args:
            side: Which side the table describes.
            frame: The table, as in :meth:`encode`.
        """
        row, _ = pd.factorize(self._graphs(side, frame).hashes())
        return np.flatnonzero(~pd.Series(row).duplicated()), row

    def mostly_unknown(
        self,
        side: Side,
        frame: pd.DataFrame,
        graphs: FeatureGraphs,
        row: np.ndarray | None = None,
        known: int = 0,
    ) -> dict[str, str]:
        """Says of which columns the schema does not know over half of the values.

        Of less than ten rows it says nothing.

        Args:
            side: Which side the table describes.
            frame: The table.
            graphs: Graphs of its rows, as :meth:`encode` returned them.
            row: The graph of each row (default: each has one).
            known: How many more rows there are, all of them of known values.

        Returns:
            A sentence for each of these columns.
        """
        sentences: dict[str, str] = {}
        if len(frame) + known < 10:
            return sentences
        row = np.arange(len(frame)) if row is None else row
        weight = np.bincount(row, minlength=len(graphs))
        x, field = graphs.x.numpy(), self.fields_of(side, graphs.x).numpy()
        graph = np.arange(len(graphs)).repeat(graphs.ptr.diff().numpy())
        offsets = self.offsets(side).values()
        for i, (column, first) in enumerate(
            zip(self.columns(side), offsets, strict=True)
        ):
            name, new = column.column, graph[x == first + UNKNOWN]
            present = graph[(field == i) & (x != first + MISSING)]
            unknown, total = weight[new].sum(), weight[present].sum() + known
            if unknown > total / 2:
                cells = frame[name][np.isin(row, new)].head(1000).map(repr)
                sentences[name] = (
                    f'The schema does not know {unknown / total:.0%} of the values of '
                    f"{side} column '{name}', among them "
                    f'{", ".join(cells.unique()[:3])}: all of them stand for '
                    f'one value. Are they written as in the tables that it was fitted to?'
                )
        return sentences

    def encode(self, side: Side, frame: pd.DataFrame) -> FeatureGraphs:
        """Turns a table into one feature graph a row.

        The nodes of a graph follow the order of the schema's fields.

        Args:
            side: Which side the table describes.
            frame: The table, with a column for every field of the side.
        """
        return self.build_edges(side, self._graphs(side, frame))

    def _graphs(self, side: Side, frame: pd.DataFrame) -> FeatureGraphs:
        """Returns complete graphs of the rows of a table."""
        check_columns(frame, self.sources(side), side)
        values, offsets = self._fitted()[side], self.offsets(side)
        fields = {
            c.name: c.encode(frame[c.column], values[c.name]) for c in self.columns(side)
        }
        code = np.concatenate([n.code + offsets[name] for name, n in fields.items()])
        rows = np.arange(len(frame))
        row = np.concatenate([rows if n.row is None else n.row for n in fields.values()])
        order = np.argsort(row, kind='stable')  # Keeps the order of the fields.
        value = None
        if any(nodes.value is not None for nodes in fields.values()):
            value = np.concatenate(
                [
                    np.ones(len(nodes.code)) if nodes.value is None else nodes.value
                    for nodes in fields.values()
                ]
            )
        return FeatureGraphs(
            x=torch.from_numpy(code[order].astype(np.int64, copy=False)),
            ptr=torch.from_numpy(np.append(0, np.bincount(row).cumsum())),
            value=None if value is None else torch.from_numpy(value[order]).float(),
            vectors={
                offsets[name] + RESERVED: torch.from_numpy(nodes.vector)
                for name, nodes in fields.items()
                if nodes.vector is not None
            },
        )

    def build_edges(self, side: Side, graphs: FeatureGraphs) -> FeatureGraphs:
        """Returns graphs of a side with the edges that :obj:`edges` says.

        Args:
            side: Which side it is.
            graphs: The graphs, whatever edges they have.
        """
        graphs = graphs.with_edges(
            self.edges.get(side),
            field=self.fields_of(side, graphs.x),
            field_names=[column.name for column in self.columns(side)],
        )
        bare = 0 if graphs.edges is None else int((graphs.edges.ptr.diff() == 0).sum())
        if bare:
            warn_caller(
                f'{bare} of {len(graphs)} {side} graphs have no edges: encoders that '
                f'look at pairs see nothing of their features'
            )
        return graphs

    def _content(self, edges: Any) -> dict[str, Any]:
        """Returns what JSON holds of the schema, given what it holds of the edges."""
        fields: dict[str, Any] = {
            side: [{'kind': type(c).__name__, **vars(c)} for c in self.columns(side)]
            for side in SIDES
        }
        return {**fields, 'edges': edges, 'vocabulary': self.vocabulary}

    def to_json(self) -> str:
        """Returns the fields and their vocabulary as JSON text."""
        edges = {side: transform_to_dict(t) for side, t in self.edges.items()}
        return json.dumps(self._content(edges), indent=1)

    @classmethod
    def from_json(cls, text: str) -> FeatureSchema:
        """Reads what :meth:`to_json` wrote.

        Of a transform that is neither in :mod:`iedr_geo.transforms` nor composed of such,
        the text holds the name alone: give it again before new tables are encoded.

        Raises:
            ValueError: If the text is not a schema.
        """
        try:
            content = json.loads(text)
            columns = {
                side: [KINDS[spec.pop('kind')](**spec) for spec in content[side]]
                for side in SIDES
            }
            edges = {side: transform_from_dict(t) for side, t in content['edges'].items()}
            return cls(**columns, edges=edges, vocabulary=content['vocabulary'])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f'This is not a schema in JSON: {error!r}') from error
