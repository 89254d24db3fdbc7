"""Scores for users who are made of the items that they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.data.schema import Side
from iedr_geo.loader import UserBatch
from iedr_geo.nn import Concepts
from iedr_geo.nn.blocks import blocks
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.plain import device_of
from iedr_geo.scoring.queries import Queries


def reads_history(model: object) -> bool:
    """Returns whether a model makes users of the items that they have."""
    return hasattr(model, 'decode') and not hasattr(model, 'score')


class HistoryScorer(CatalogueScorer):
    """Scores by a model that makes the vectors of a user of the user's items.

    Args:
        model: The model, with :obj:`encode(batch)` for a :class:`UserBatch` and
            :obj:`decode(encoded, items)`. It may have :obj:`decode_parts`, which
            returns the parts of the scores by the names in :obj:`parts`;
            :obj:`item_vectors()`, the vectors of items that those of users, which
            :obj:`encode` then returns, meet; and :obj:`concepts()`, a :class:`Concepts`
            with one for each part. Then the factors are the concepts: of a user, the
            vector of that concept; of an item, its vector as far as it belongs to it.
        history: The items of each user.
    """

    def __init__(self, model: Any, history: BipartiteGraph) -> None:
        device = device_of(model, history.device)
        super().__init__(history, device)
        if model.num_items != history.num_items:
            raise ValueError(
                f'The model has {model.num_items} items, the history {history.num_items}'
            )
        self.model, self.history = model, history.to(device)
        self.parts = tuple(getattr(model, 'parts', ()))
        if hasattr(model, 'concepts'):
            self.factor_names = self.parts

    def _encode(self, queries: Queries) -> Tensor:
        """Returns what the model makes of the user of each query."""
        user, index = queries.user.to(self.device).unique(return_inverse=True)
        graphs, encoded, first = [self.history], [], 0
        if queries.histories is not None:
            graphs.append(queries.histories.to(self.device))
        for graph in graphs:
            some = user[(user >= first) & (user < first + graph.num_users)] - first
            encoded.append(self.model.encode(UserBatch.from_graph(graph, some)))
            first += graph.num_users
        strangers = user[user >= first]
        if len(strangers):
            raise ValueError(
                f'There is no user {int(strangers[0])} in histories of {first} users'
            )
        return torch.cat(encoded)[index]

    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the scores of items by the items that users have."""

        def call(encoded: Tensor, items: Tensor | None) -> Mapping[str, Tensor]:
            return {'score': self.model.decode(encoded, items)}

        return self._some(call, ['score'], queries, items)['score']

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the parts of the scores, by the model's :obj:`decode_parts`."""
        if not self.parts:
            return {}
        return self._some(self.model.decode_parts, self.parts, queries, items)

    def vectors(self, side: Side) -> Tensor | None:
        """Returns the vectors of all items, or of the users of the history, those of all
        concepts one after the other.
        """
        if not hasattr(self.model, 'item_vectors'):
            return None
        with evaluating(self.model):
            if side == 'item':
                vectors: Tensor = self.model.item_vectors()
                return vectors
            users = torch.arange(self.num_users, device=self.device)
            each = blocks(self.num_users, self.pairs_at_once)
            parts = [self._encode(Queries(users[rows])).flatten(1) for rows in each]
        return torch.cat(parts)

    def concepts(self) -> Concepts | None:
        """Returns the concepts of the model, where it has any."""
        if not hasattr(self.model, 'concepts'):
            return None
        with evaluating(self.model):
            concepts: Concepts = self.model.concepts()
        return concepts

    def _factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns the vectors of a concept."""
        number = self.factor_names.index(name)
        if side == 'user':
            with evaluating(self.model):
                return self._encode(replace(queries, user=index))[:, number]
        concepts: Any = self.concepts()
        return concepts.item[index] * concepts.assignment[index, number].unsqueeze(1)

    def _some(
        self, call: Any, names: Any, queries: Queries, items: Tensor | None
    ) -> dict[str, Tensor]:
        with evaluating(self.model):
            if items is None or items.dim() == 1:
                index = None if items is None else items.to(self.device)
                return dict(call(self._encode(queries), index))

            def block(queries: Queries, items: Tensor) -> Mapping[str, Tensor]:
                values: Mapping[str, Tensor] = call(
                    self._encode(queries), items.expand(len(queries), -1)
                )
                return values

            return self._in_blocks(block, names, queries, items)
