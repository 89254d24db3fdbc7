"""Users, items and contexts as a caller names them."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, FeatureGraphs, InteractionDataset
from iedr_geo.data.columns import token
from iedr_geo.data.schema import Side
from iedr_geo.scoring.top_k import first_of

KEPT = 10_000  # Contexts that are kept for the next time.


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
    """The ids of users and items, what users have seen, and contexts.

    Args:
        user_ids: The id of each user.
        item_ids: The id of each item.
        user_name: The name of the users' column.
        item_name: The name of the items' column.
    """

    context_names: tuple[str, ...] = ()
    """The columns that say what the context is."""

    exclude_seen = True
    """Whether items that a user has had are left out unless the caller says otherwise."""

    seen: BipartiteGraph
    """What users have seen."""

    def __init__(
        self, user_ids: pd.Index, item_ids: pd.Index, user_name: str, item_name: str
    ) -> None:
        self._ids = {'user': user_ids, 'item': item_ids}
        self._names = {'user': user_name, 'item': item_name}

    def ids(self, side: Side) -> pd.Index:
        """Returns the ids of all users or items."""
        return self._ids[side]

    def name(self, side: Side) -> str:
        """Returns the name of the column of users or items."""
        return self._names[side]

    def find(self, side: Side, entities: Iterable[Any]) -> np.ndarray:
        """Returns the number of each user or item, -1 for those that are new.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.
            entities: Ids, or mappings from columns to values.
        """
        wanted = pd.Index([_token(entity) for entity in entities], dtype=object)
        return self._ids[side].get_indexer(wanted)

    @abstractmethod
    def numbers(self, side: Side, entities: Sequence[Any]) -> Numbers:
        """Returns users or items as a scorer knows them, known or new."""

    @abstractmethod
    def context(self, context: Mapping[str, Any]) -> Numbers | None:
        """Returns one context as a scorer knows it, if there are contexts."""

    @abstractmethod
    def contexts(self, frame: pd.DataFrame) -> Numbers | None:
        """Returns the context of each row as a scorer knows it, if there are any."""


def _token(entity: Any) -> str | None:
    described = isinstance(entity, Mapping)
    missing = pd.api.types.is_scalar(entity) and pd.isna(entity)
    return None if described or missing else token(entity)


class GraphEntities(Entities):
    """The users and items of a graph.

    Args:
        graph: Their ids, and what each user has seen.
    """

    def __init__(self, graph: BipartiteGraph) -> None:
        users, items = (
            pd.Index([token(value) for value in ids])
            for ids in (graph.user_ids, graph.item_ids)
        )
        super().__init__(users, items, 'user', 'item')
        self.seen = self.data = graph

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

    def context(self, context: Mapping[str, Any]) -> None:
        """Returns nothing: there are no contexts."""
        self.contexts(pd.DataFrame([dict(context)]))

    def contexts(self, frame: pd.DataFrame) -> None:
        """Returns nothing: there are no contexts."""
        if len(frame.columns):
            raise ValueError(
                f"The model knows no contexts, but there is column '{frame.columns[0]}'"
            )


class DatasetEntities(Entities):
    """The users, items and contexts of a dataset, known or described by features.

    Args:
        dataset: Users, items and contexts with their features, and by its rows what each
            user has seen.
    """

    def __init__(self, dataset: InteractionDataset) -> None:
        super().__init__(
            dataset.user_ids, dataset.item_ids, dataset.user_name, dataset.item_name
        )
        self.data = dataset
        self.exclude_seen = dataset.exclude_seen
        self.context_names = tuple(dataset.schema.sources('context'))
        self._kept: dict[tuple[Any, ...], Numbers] = {}

    @cached_property
    def seen(self) -> BipartiteGraph:  # type: ignore[override]
        """What users have seen."""
        return BipartiteGraph.from_dataset(self.data)

    def graphs(self, side: Side) -> FeatureGraphs:
        """Returns the graphs of all users, items or contexts."""
        graphs: FeatureGraphs = getattr(self.data, f'{side}s')
        return graphs

    def _encode(self, side: Side, frame: pd.DataFrame) -> FeatureGraphs:
        """Encodes rows of features, and warns of values that are not known."""
        schema = self.data.schema
        names = schema.sources(side)
        others = [] if side == 'context' else [self.name(side)]
        unknown = [name for name in frame if name not in names and name not in others]
        if unknown:
            raise ValueError(
                f"The {side} has no column '{unknown[0]}' (it has: {', '.join(names)})"
            )
        graphs = schema.encode(side, frame)
        offsets = schema.offsets(side)
        for column in schema.columns(side):
            row = (graphs.x == offsets[column.name]).nonzero()
            if row.numel():
                graph = int(torch.searchsorted(graphs.ptr, row[0], right=True)) - 1
                name = column.column
                value = frame[name].iloc[graph]
                warnings.warn(
                    f"The model has not seen the value {value!r} of column '{name}': it "
                    f'stands for all values that are unknown',
                    UnknownValueWarning,
                    stacklevel=2,
                )
        return graphs

    def numbers(self, side: Side, entities: Sequence[Any]) -> Numbers:
        """Returns users or items, known or new.

        An id that the tables lack stands for a user or an item of which nothing else is
        known.
        """
        index = torch.from_numpy(self.find(side, entities))
        new = (index < 0).nonzero().view(-1)
        if not new.numel():
            return Numbers(index)
        names = self.data.schema.sources(side)
        rows = []
        for entity in (entities[i] for i in new.tolist()):
            described = isinstance(entity, Mapping)
            features = dict(entity) if described else {self.name(side): entity}
            rows.append(dict.fromkeys(names) | features)
        graphs = self._encode(side, pd.DataFrame(rows, dtype=object))
        index = index.clone()
        index[new] = len(self.graphs(side)) + torch.arange(len(new))
        return Numbers(index, graphs)

    def context(self, context: Mapping[str, Any]) -> Numbers:
        """Returns one context, which is kept for the next time."""
        # True, 1 and 1.0 are equal keys, and different values.
        key = tuple((name, type(value), value) for name, value in context.items())
        try:
            return self._kept[key]
        except (KeyError, TypeError):  # New, or with a list in it.
            numbers = self.contexts(pd.DataFrame([dict(context)], dtype=object))
        with suppress(TypeError):
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = numbers
        return numbers

    @cached_property
    def _known_contexts(self) -> pd.Index:
        hashes = pd.Index(self.data.contexts.hashes())
        if hashes.has_duplicates:  # Contexts that differ in what no field looks at.
            first = ~hashes.duplicated()
            hashes = hashes.where(first, np.arange(len(hashes), dtype=np.uint64))
        return hashes

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
        graphs = self._encode('context', frame.iloc[first])
        found = self._known_contexts.get_indexer(pd.Index(graphs.hashes()))
        index = torch.from_numpy(found)
        new = (index < 0).nonzero().view(-1)
        if new.numel():
            index = index.clone()
            index[new] = self.data.num_contexts + torch.arange(len(new))
            graphs = graphs.select(new)
        return Numbers(index[torch.from_numpy(row)], graphs if new.numel() else None)

    def graph(self, side: Side, numbers: Numbers) -> FeatureGraphs:
        """Returns the graph of the only user, item or context of numbers, on the CPU."""
        stored, [number] = self.graphs(side), numbers.number.tolist()
        if number < len(stored) or numbers.new is None:
            return stored.select(torch.tensor([number])).to('cpu')
        return numbers.new.select(torch.tensor([number - len(stored)]))

    def catalogue(self) -> InteractionDataset:
        """Returns users, items, contexts, and the first row of each seen pair."""
        data = self.data.to('cpu')
        rows = data if data.y is None else data[data.y == 1]
        seen = rows[torch.unique(first_of(rows.user * rows.num_items + rows.item))]
        return InteractionDataset(
            data.users,
            data.items,
            data.contexts,
            seen.user,
            seen.item,
            seen.context,
            schema=data.schema,
            user_ids=data.user_ids,
            item_ids=data.item_ids,
            context_frame=data.context_frame,
            exclude_seen=data.exclude_seen,
            user_name=data.user_name,
            item_name=data.item_name,
        )
