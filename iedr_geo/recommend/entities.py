"""Users, items and contexts as a caller names them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property, reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from iedr_geo.data import BipartiteGraph, FeatureGraphs, InteractionDataset
from iedr_geo.data.columns import MISSING, UNKNOWN, scalar, token
from iedr_geo.data.schema import Side
from iedr_geo.data.warning import warn_caller
from iedr_geo.nn.blocks import blocks


class UnknownValueWarning(UserWarning):
    """A user, item or context has values that the model has not been trained on."""


class Numbers(NamedTuple):
    """Users, items or contexts as a scorer knows them; see :class:`Queries`.

    Args:
        number: Of each, of shape :math:`(N)`.
        new: The graphs of those that are new, if there are any.
        known: The stored one that each is, with features of its own or not, -1 for one
            of which nothing is stored (default: the numbers).
    """

    number: Tensor
    new: FeatureGraphs | None = None
    known: Tensor | None = None

    @property
    def stored(self) -> Tensor:
        """The stored one that each is, -1 for one of which nothing is stored."""
        return self.number if self.known is None else self.known

    @classmethod
    def join(cls, parts: Sequence[Numbers], size: int) -> Numbers:
        """Returns what was found in parts as one.

        Args:
            parts: The parts. Each numbers those that are new from :obj:`size` on.
            size: The number of those that are stored.
        """
        if len(parts) == 1:
            return parts[0]
        numbers, before = [], 0
        for part in parts:
            numbers.append(part.number + before * (part.number >= size))
            before += 0 if part.new is None else len(part.new)
        new = [part.new for part in parts if part.new is not None]
        return cls(
            torch.cat(numbers),
            reduce(FeatureGraphs.concatenate, new) if new else None,
            torch.cat([part.stored for part in parts]),
        )


class Entities(ABC):
    """The ids of users and items, and contexts.

    Args:
        ids: The ids of all users and of all items as text.
        own: The same as in the user's own tables. The names of these indices are those of
            the columns.
    """

    context_names: tuple[str, ...] = ()
    """The columns that say what the context is."""

    exclude_seen: bool
    """The default for leaving out items that a user has had."""

    contexts_kept = 10_000
    """The number of contexts that are kept for the next time."""

    rows_at_once = 1 << 16
    """The number of rows of a table that are read at a time."""

    def __init__(self, ids: Iterable[pd.Index], own: Iterable[pd.Index]) -> None:
        sides: tuple[Side, ...] = ('user', 'item')
        self.ids: dict[Side, pd.Index] = dict(zip(sides, ids, strict=True))
        self.own = {
            side: column.rename(column.name or side)
            for side, column in zip(sides, own, strict=True)
        }
        self.names = {side: str(column.name) for side, column in self.own.items()}
        self._kept: dict[Hashable, Numbers | None] = {}

    def find(self, side: Side, ids: Iterable[Any]) -> np.ndarray:
        """Returns the number of each user or item, -1 for those that are new.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.
            ids: Their ids.
        """
        where = f"Column '{self.names[side]}'"
        wanted = pd.Index(
            [None if _missing(i) else token(i, where) for i in ids], dtype=object
        )
        return self.ids[side].get_indexer(wanted)

    def candidates(self, candidates: Iterable[Any]) -> Tensor:
        """Returns the numbers of items by their ids, in the order of the item table.

        Raises:
            ValueError: If there are none, or one is not in the table or comes twice.
        """
        number = self._items(candidates, 'A candidate', 'candidates')
        if not number.size:
            raise ValueError('There are no candidates')
        again = pd.Series(number).duplicated()
        if again.any():
            twice = self.ids['item'][number[again]][0]
            raise ValueError(f"The candidates hold '{twice}' twice")
        return torch.from_numpy(np.sort(number))

    def history(self, items: Iterable[Any]) -> Tensor:
        """Returns the numbers of the items that someone has had, each once.

        Raises:
            ValueError: If one is not in the item table.
        """
        number = self._items(items, 'An item of the history', 'items of the history')
        return torch.from_numpy(np.unique(number))

    def _items(self, items: Iterable[Any], one: str, several: str) -> np.ndarray:
        ids = pd.Index([token(item, one) for item in items], dtype=object)
        number: np.ndarray = self.ids['item'].get_indexer(ids)
        strangers = ids[number < 0]
        if len(strangers):
            raise ValueError(
                f'{len(strangers)} of {len(ids)} {several} are not in column '
                f"'{self.names['item']}' of the item table, among them: "
                f'{", ".join(strangers[:5])}'
            )
        return number

    @abstractmethod
    def numbers(self, side: Side, entities: Sequence[Any]) -> Numbers:
        """Returns users or items as a scorer knows them, stored or new."""

    @abstractmethod
    def contexts(self, frame: pd.DataFrame) -> Numbers | None:
        """Returns the context of each row as a scorer knows it, if there are any."""

    def context(self, context: Mapping[str, Any]) -> Numbers | None:
        """Returns one context, which is kept for the next time, if there are any."""
        context = {name: scalar(value) for name, value in context.items()}
        # True, 1 and 1.0 are equal keys, and different values.
        key = tuple((name, type(value), value) for name, value in context.items())
        try:
            return self._kept[key]
        except KeyError:
            if len(self._kept) >= self.contexts_kept:
                self._kept.clear()
        except TypeError:  # There is a list in it.
            key = ()
        numbers = self.contexts(pd.DataFrame([context], dtype=object))
        if key:
            self._kept[key] = numbers
        return numbers


def _missing(value: Any) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _numbers(found: np.ndarray, size: int) -> Tensor:
    """Returns the numbers that were found, and the next ones for what was not."""
    new = found < 0
    return torch.from_numpy(np.where(new, size - 1 + new.cumsum(), found))


class GraphEntities(Entities):
    """The users and items of a graph.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: BipartiteGraph) -> None:
        columns = graph.user_ids, graph.item_ids
        ids = [pd.Index(list(map(token, column))) for column in columns]
        super().__init__(ids, columns)
        self.exclude_seen = graph.exclude_seen

    def numbers(self, side: Side, entities: Sequence[Any]) -> Numbers:
        """Returns the number of each user or item.

        Raises:
            ValueError: If one is new: without features, nothing is known of it.
        """
        index = self.find(side, entities)
        if (index < 0).any():
            stranger = entities[int(np.argmax(index < 0))]
            raise ValueError(
                f'The model has no {side} {stranger!r}, and no features to know it by'
            )
        return Numbers(torch.from_numpy(index))

    def contexts(self, frame: pd.DataFrame) -> None:
        """Returns nothing: there are no contexts."""
        if len(frame.columns):
            raise ValueError(
                f"The model knows no contexts, but there is column '{frame.columns[0]}'"
            )


class DatasetEntities(Entities):
    """The users, items and contexts of a dataset, stored or described by features.

    Args:
        dataset: Users, items and contexts with their features.
    """

    def __init__(self, dataset: InteractionDataset) -> None:
        ids = dataset.user_ids, dataset.item_ids
        super().__init__(ids, (dataset.own_ids('user'), dataset.own_ids('item')))
        self.data, self._had = dataset, dict[Side, Tensor]()
        self.exclude_seen = dataset.exclude_seen
        self.context_names = tuple(dataset.schema.sources('context'))

    def _encode(
        self,
        side: Side,
        frame: pd.DataFrame,
        said: set[tuple[Any, ...]],
        given: Tensor | None = None,
        distinct: tuple[np.ndarray, np.ndarray] | None = None,
        known: int = 0,
    ) -> FeatureGraphs:
        """Encodes rows of features, and warns of values that are not known.

        Args:
            side: Which side the rows are of.
            frame: The rows.
            said: What has been warned of, which is not said again.
            given: Whether each field of each row is said, or else of no account
                (default: all are).
            distinct: As :meth:`FeatureSchema.distinct` says, which of them are encoded.
            known: As :meth:`FeatureSchema.mostly_unknown` wants it.
        """
        schema = self.data.schema
        names = schema.sources(side)
        others = [] if side == 'context' else [self.names[side]]
        unknown = [name for name in frame if name not in names and name not in others]
        if unknown:
            raise ValueError(
                f"The {side} has no column '{unknown[0]}' (it has: {', '.join(names)})"
            )
        distinct_rows, row_of = distinct or (np.arange(len(frame)), None)
        encoded = frame.iloc[distinct_rows]
        graphs = schema.encode(side, encoded)
        mostly = schema.mostly_unknown(side, frame, graphs, row_of, known)
        for name, sentence in mostly.items():
            self._warn(sentence, (side, name), said)
        if side not in self._had:
            self._had[side] = getattr(self.data, f'{side}s').x.cpu().unique()
        first = [*schema.offsets(side).values()]
        for (field, column), kind in product(
            enumerate(schema.columns(side)), (UNKNOWN, MISSING)
        ):
            row = first[field] + kind
            trained = kind == MISSING and row in self._had[side]
            if trained or (kind == UNKNOWN and column.column in mostly):
                continue
            node = (graphs.x == row).nonzero()[:, 0]
            graph = torch.searchsorted(graphs.ptr, node, right=True) - 1
            if given is not None:
                graph = graph[given[graph, field]]
            if not len(graph):
                continue
            what, why = 'a missing value', 'what stands for it was never trained'
            if kind == UNKNOWN:
                what = f'the value {encoded[column.column].iloc[int(graph[0])]!r}'
                why = 'it stands for all values that are unknown'
            self._warn(
                f"The model has not seen {what} of column '{column.column}': {why}",
                (side, field, kind),
                said,
            )
        return graphs

    def _warn(
        self, message: str, about: tuple[Any, ...], said: set[tuple[Any, ...]]
    ) -> None:
        if about not in said:
            said.add(about)
            warn_caller(message, UnknownValueWarning)

    def numbers(self, side: Side, entities: Sequence[Any]) -> Numbers:
        """Returns users or items, stored or new.

        One is known by its id, also where the id is among its features. Of features that
        are given with a known id, those that are not stay as they are stored. An id that
        the tables lack stands for a user or an item of which nothing else is known; a
        warning says so.
        """
        said, each = set[tuple[Any, ...]](), blocks(len(entities), self.rows_at_once)
        parts = [self._some_numbers(side, entities[rows], said) for rows in each]
        return Numbers.join(parts, len(self.ids[side]))

    def _some_numbers(
        self, side: Side, entities: Sequence[Any], said: set[tuple[Any, ...]]
    ) -> Numbers:
        name, size = self.names[side], len(self.ids[side])
        rows = [e if isinstance(e, Mapping) else {name: e} for e in entities]
        found = self.find(side, [row.get(name) for row in rows])
        more = [i for i, row in enumerate(rows) if found[i] < 0 or row.keys() - {name}]
        number = torch.from_numpy(found)
        if not more:
            return Numbers(number)
        where, described = torch.tensor(more), [rows[i] for i in more]
        known = number[where]
        stored = getattr(self.data, f'{side}s').select(known.clamp(min=0)).to('cpu')
        others = len(rows) - len(more)
        graphs = self._described(side, described, known, stored, said, others)
        same = torch.from_numpy(graphs.hashes() == stored.hashes()) & (known >= 0)
        new = torch.arange(size, size + len(where))
        return Numbers(
            number.index_copy(0, where, known.where(same, new)), graphs, number
        )

    def _described(
        self,
        side: Side,
        rows: Sequence[Mapping[str, Any]],
        known: Tensor,
        stored: FeatureGraphs,
        said: set[tuple[Any, ...]],
        others: int,
    ) -> FeatureGraphs:
        """Returns the graphs of users or items that are described.

        Args:
            side: Which side the rows are of.
            rows: Their columns, the id among them or not.
            known: The stored ones that they are, -1 for those that are new.
            stored: The graphs of the stored ones; for those that are new, any.
            said: As in :meth:`_encode`.
            others: The number of those beside them of which nothing is said.
        """
        schema, name = self.data.schema, self.names[side]
        fields, sources = schema.columns(side), schema.sources(side)
        pairs = list(zip(rows, known.tolist(), strict=True))
        given = torch.tensor([[k < 0 or c.column in r for c in fields] for r, k in pairs])
        blank = dict.fromkeys(sources)
        cells = [{n: scalar(v) for n, v in (blank | {**row}).items()} for row in rows]
        frame = pd.DataFrame(cells, dtype=object)
        graphs = self._encode(side, frame, said, given, known=others)
        strangers = [row[name] for row, k in pairs if k < 0 and name in row]
        if strangers and name not in sources:
            self._warn(
                f"The {side} table has no id {strangers[0]!r} in column '{name}': "
                f'nothing is known of this {side} by it',
                (side, name),
                said,
            )
        if (known < 0).all():
            return graphs
        # What is stored of one stands where nothing else is said.
        both = graphs.concatenate(stored)
        node_row = torch.arange(len(both)).repeat_interleave(both.ptr.diff())
        row, field = node_row % len(rows), schema.fields_of(side, both.x)
        kept = (given[row, field] == (node_row < len(rows))).nonzero()[:, 0]
        order = (row * len(fields) + field)[kept].argsort(stable=True)
        ptr = cumsum(torch.bincount(row[kept], minlength=len(rows)))
        return schema.build_edges(side, both.regroup(kept[order], ptr))

    @cached_property
    def _hashes(self) -> pd.Index:
        """The index by which stored contexts are found."""
        hashes = pd.Index(self.data.contexts.hashes())
        # Contexts that differ in what no field looks at go by the first.
        return hashes.where(~hashes.duplicated(), np.arange(len(hashes), dtype=np.uint64))

    def contexts(self, frame: pd.DataFrame) -> Numbers:
        """Returns the context of each row: the dataset's own where it has it.

        Args:
            frame: A row for each context.

        Raises:
            ValueError: If the frame lacks a column or has one too many.
        """
        lacking = [name for name in self.context_names if name not in frame]
        if lacking:
            raise ValueError(
                f"The context lacks column '{lacking[0]}' (None stands for a value that "
                f'is missing)'
            )
        said, schema = set[tuple[Any, ...]](), self.data.schema
        each = blocks(len(frame), self.rows_at_once)
        try:
            parts = [self._some_contexts(frame.iloc[rows], said) for rows in each]
        except ValueError:
            if len(each) > 1:
                schema.distinct('context', frame)  # Says which of all rows is wrong.
            raise
        return Numbers.join(parts, self.data.num_contexts)

    def _some_contexts(self, frame: pd.DataFrame, said: set[tuple[Any, ...]]) -> Numbers:
        first, row = self.data.schema.distinct('context', frame)
        graphs = self._encode('context', frame, said, distinct=(first, row))
        found = self._hashes.get_indexer(pd.Index(graphs.hashes()))
        new = torch.from_numpy(found < 0)
        number = _numbers(found, self.data.num_contexts)[torch.from_numpy(row)]
        return Numbers(number, graphs.select(new.nonzero()[:, 0]) if new.any() else None)

    def graph(self, side: Side, numbers: Numbers) -> tuple[FeatureGraphs, int]:
        """Returns the graph, on the CPU, and the id of a single user, item or context.

        The id is -1 if it is new.
        """
        stored: FeatureGraphs = getattr(self.data, f'{side}s')
        index = numbers.number
        if numbers.new is None or index < len(stored):
            return stored.select(index).to('cpu'), int(index)
        return numbers.new, -1
