"""Users, items and contexts as IEDR sees them, known or new."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, FeatureGraphs, InteractionDataset
from iedr_geo.data.schema import Side
from iedr_geo.nn import IEDR
from iedr_geo.recommend.explanation import Explanation, explain
from iedr_geo.recommend.ids import id_tokens
from iedr_geo.recommend.iedr_scorer import IEDRScorer, Readouts
from iedr_geo.recommend.top_k import first_of

KEPT = 10_000  # Contexts whose readouts are kept.


class UnknownValueWarning(UserWarning):
    """A user, item or context has values that the model has not been trained on."""


class IEDRSource(IEDRScorer):
    """A trained IEDR with the users and items of a dataset.

    Args:
        model: The model. It is put into evaluation mode.
        dataset: Its users and items with their features, and by its rows what each user
            has seen.
    """

    def __init__(self, model: IEDR, dataset: InteractionDataset) -> None:
        if dataset.schema.num_embeddings != model.embedding.num_embeddings:
            raise ValueError(
                f'The schema of the dataset has {dataset.schema.num_embeddings} '
                f'embeddings, the model {model.embedding.num_embeddings}: it was trained '
                f'on another schema'
            )
        super().__init__(model.eval(), dataset.users, dataset.items)
        self.dataset = dataset
        self._context: dict[tuple[Any, ...], Readouts] = {}
        self.exclude_seen = dataset.exclude_seen
        self.context_names = dataset.schema.sources('context')

    @cached_property
    def seen(self) -> BipartiteGraph:
        """What each user has seen."""
        return BipartiteGraph.from_dataset(self.dataset).to(self.device)

    def known(self, side: Side) -> tuple[pd.Index, str]:
        """Returns the ids of users or items, and the name of their column."""
        dataset = self.dataset
        if side == 'user':
            return dataset.user_ids, dataset.user_name
        return dataset.item_ids, dataset.item_name

    def _encode(self, side: Side, frame: pd.DataFrame) -> Readouts:
        """Encodes rows of features, and warns of values that are not known."""
        schema = self.dataset.schema
        names = schema.sources(side)
        others = [None] if side == 'context' else [self.known(side)[1]]
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
        return self.encode(side, graphs)

    def _described(self, side: Side, entities: Sequence[Any]) -> pd.DataFrame:
        """Returns the features of users or items that are not in the tables."""
        names = self.dataset.schema.sources(side)
        rows = []
        for entity in entities:
            described = isinstance(entity, Mapping)
            features = dict(entity) if described else {self.known(side)[1]: entity}
            rows.append(dict.fromkeys(names) | features)
        return pd.DataFrame(rows, dtype=object)

    def entities(self, side: Side, entities: Sequence[Any]) -> Readouts:
        """Returns the readouts of users or items, known or new.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.
            entities: Ids, or mappings from columns to values.
        """
        place = torch.from_numpy(self.place(side, entities)).to(self.device)
        readouts = self.users if side == 'user' else self.items
        new = (place < 0).nonzero().view(-1)
        if not new.numel():
            return readouts[place]
        encoded = self._encode(side, self._described(side, [entities[i] for i in new]))
        out = readouts[place.clamp(min=0)]
        out.vector[new], out.pointwise[new] = encoded.vector, encoded.pointwise
        return out

    @cached_property
    def alike(self) -> Tensor | None:
        """For each item, the first that has the same features; nothing if none has."""
        content = self.dataset.items.content()
        if int(content.max()) + 1 == len(content):
            return None
        return first_of(content).to(self.device)

    def place(self, side: Side, entities: Sequence[Any]) -> np.ndarray:
        """Returns the number of each user or item, or -1 of one that is new."""
        return self.known(side)[0].get_indexer(id_tokens(entities))

    def context(self, context: Mapping[str, Any]) -> Readouts:
        """Returns the readout of a context, which is kept for the next time."""
        # True, 1 and 1.0 are equal keys, and different values.
        key = tuple((name, type(value), value) for name, value in context.items())
        try:
            return self._context[key]
        except (KeyError, TypeError):  # New, or with a list in it.
            readout = self.contexts(pd.DataFrame([context], dtype=object))
        with suppress(TypeError):
            if len(self._context) >= KEPT:
                self._context.clear()
            self._context[key] = readout
        return readout

    def distinct_contexts(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Returns a row for each distinct context, and which of them each row has."""
        return self.dataset.schema.distinct('context', frame)

    def contexts(self, frame: pd.DataFrame) -> Readouts:
        """Returns the readouts of contexts.

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
        return self._encode('context', frame)

    def explain(
        self, user: Any, item: Any, context: pd.DataFrame, parts: dict[str, float]
    ) -> Explanation:
        """Scores a sample without each of its features; see :func:`explain`."""
        graphs: dict[Side, FeatureGraphs] = {
            'user': self._graph('user', user),
            'item': self._graph('item', item),
            'context': self.dataset.schema.encode('context', context),
        }
        return explain(self.model, graphs, self.dataset.schema.names(), parts)

    def _graph(self, side: Side, entity: Any) -> FeatureGraphs:
        [place] = self.place(side, [entity])
        if place < 0:
            return self.dataset.schema.encode(side, self._described(side, [entity]))
        stored = self.dataset.users if side == 'user' else self.dataset.items
        return stored.select(torch.tensor([int(place)])).to('cpu')

    def catalogue(self) -> InteractionDataset:
        """Returns users, items and one row for each pair; contexts are no part of it."""
        dataset, seen = self.dataset.to('cpu'), self.seen.to('cpu')
        nowhere = dataset.context_frame.iloc[:1]
        return InteractionDataset(
            dataset.users,
            dataset.items,
            dataset.contexts.select(torch.tensor([0])),
            seen.user,
            seen.item,
            torch.zeros_like(seen.user),
            schema=dataset.schema,
            user_ids=list(dataset.user_ids),
            item_ids=list(dataset.item_ids),
            context_frame=nowhere,
            exclude_seen=dataset.exclude_seen,
            user_name=dataset.user_name,
            item_name=dataset.item_name,
        )
