"""Users, items and contexts as a caller names them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, FeatureGraphs, InteractionDataset
from iedr_geo.data.columns import token
from iedr_geo.data.schema import Side
from iedr_geo.data.warning import warn_caller


class UnknownValueWarning(UserWarning):
    """A user, item or context has values that the model has not been trained on."""


class Numbers(NamedTuple):
    """Users, items or contexts as a scorer knows them; see :class:`Queries`.

    Args:
        number: Of each, of shape :math:`(N)`.
        new: The graphs of those that are new, if there are any.
    """

    number: Tensor
    new: FeatureGraphs | None = None


class Entities(ABC):
    """The ids of users and items, and contexts.

    Args:
        ids: The ids of all users and of all items.
        names: The names of their columns.
    """

    context_names: tuple[str, ...] = ()
    """The columns that say what the context is."""

    exclude_seen = True
    """The default for leaving out items that a user has had."""

    contexts_kept = 10_000
    """The number of contexts that are kept for the next time."""

    def __init__(self, ids: Iterable[pd.Index], names: Iterable[str]) -> None:
        sides: tuple[Side, ...] = ('user', 'item')
        self.ids: dict[Side, pd.Index] = dict(zip(sides, ids, strict=True))
        self.names: dict[Side, str] = dict(zip(sides, names, strict=True))
        self._kept: dict[Hashable, Numbers | None] = {}

    def find(self, side: Side, entities: Iterable[Any]) -> np.ndarray:
        """Returns the number of each user or item, -1 for those that are new.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.
            entities: Ids, or mappings from columns to values.
        """
        where = f"Column '{self.names[side]}'"
        wanted = pd.Index([_token(entity, where) for entity in entities], dtype=object)
        return self.ids[side].get_indexer(wanted)

    def candidates(self, candidates: Iterable[Any]) -> Tensor:
        """Returns the numbers of items by their ids, in the order of the item table.

        Raises:
            ValueError: If there are none, or one is not in the table or comes twice.
        """
        ids = pd.Index([token(item, 'A candidate') for item in candidates], dtype=object)
        number = self.ids['item'].get_indexer(ids)
        strangers = ids[number < 0]
        if ids.empty:
            raise ValueError('There are no candidates')
        if len(strangers):
            raise ValueError(
                f'{len(strangers)} of {len(ids)} candidates are not in column '
                f"'{self.names['item']}' of the item table, among them: "
                f'{", ".join(strangers[:5])}'
            )
        if ids.has_duplicates:
            raise ValueError(f"The candidates hold '{ids[ids.duplicated()][0]}' twice")
        return torch.from_numpy(np.sort(number))

    @abstractmethod
    def numbers(self, side: Side, entities: Sequence[Any]) -> Numbers:
        """Returns users or items as a scorer knows them, stored or new."""

    @abstractmethod
    def contexts(self, frame: pd.DataFrame) -> Numbers | None:
        """Returns the context of each row as a scorer knows it, if there are any."""

    def context(self, context: Mapping[str, Any]) -> Numbers | None:
        """Returns one context, which is kept for the next time, if there are any."""
        # True, 1 and 1.0 are equal keys, and different values.
        key = tuple((name, type(value), value) for name, value in context.items())
        try:
            return self._kept[key]
        except KeyError:
            if len(self._kept) >= self.contexts_kept:
                self._kept.clear()
        except TypeError:  # There is a list in it.
            key = ()
        numbers = self.contexts(pd.DataFrame([dict(context)], dtype=object))
        if key:
            self._kept[key] = numbers
        return numbers


def _token(entity: Any, where: str) -> str | None:
    described = isinstance(entity, Mapping)
    missing = pd.api.types.is_scalar(entity) and pd.isna(entity)
    return None if described or missing else token(entity, where)


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
        sides = graph.user_ids, graph.item_ids
        super().__init__(
            (pd.Index(list(map(token, ids))) for ids in sides), ('user', 'item')
        )

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
        super().__init__(ids, (dataset.user_name, dataset.item_name))
        self.data = dataset
        self.exclude_seen = dataset.exclude_seen
        self.context_names = tuple(dataset.schema.sources('context'))

    def _encode(
        self,
        side: Side,
        frame: pd.DataFrame,
        distinct: tuple[np.ndarray, np.ndarray] | None = None,
        known: int = 0,
    ) -> FeatureGraphs:
        """Encodes rows of features, and warns of values that are not known.

        Args:
            side: Which side it is.
            frame: The rows.
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
        first, row = distinct or (np.arange(len(frame)), None)
        encoded = frame.iloc[first]
        graphs = schema.encode(side, encoded)
        offsets = schema.offsets(side)
        mostly = schema.mostly_unknown(side, frame, graphs, row, known)
        for sentence in mostly.values():
            warn_caller(sentence, UnknownValueWarning)
        for column in schema.columns(side):
            node = (graphs.x == offsets[column.name]).nonzero()
            if node.numel() and column.column not in mostly:
                graph = int(torch.searchsorted(graphs.ptr, node[0], right=True)) - 1
                name = column.column
                value = encoded[name].iloc[graph]
                warn_caller(
                    f"The model has not seen the value {value!r} of column '{name}': it "
                    f'stands for all values that are unknown',
                    UnknownValueWarning,
                )
        return graphs

    def numbers(self, side: Side, entities: Sequence[Any]) -> Numbers:
        """Returns users or items, stored or new.

        An id that the tables lack stands for a user or an item of which nothing else is
        known.
        """
        found = self.find(side, entities)
        blank = dict.fromkeys(self.data.schema.sources(side))
        rows = []
        for entity in (entities[i] for i in np.flatnonzero(found < 0).tolist()):
            described = isinstance(entity, Mapping)
            rows.append(
                blank | (dict(entity) if described else {self.names[side]: entity})
            )
        known, frame = len(found) - len(rows), pd.DataFrame(rows, dtype=object)
        graphs = self._encode(side, frame, known=known) if rows else None
        return Numbers(_numbers(found, len(self.ids[side])), graphs)

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
        first, row = self.data.schema.distinct('context', frame)
        graphs = self._encode('context', frame, (first, row))
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
