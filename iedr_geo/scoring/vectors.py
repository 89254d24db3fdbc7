"""Scores by inner products of vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.data.schema import Side
from iedr_geo.nn import BipartiteModel
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.queries import Queries
from iedr_geo.scoring.scorer import scorer


@scorer.register(BipartiteModel, gives=('score', 'embeddings'))
class VectorScorer(CatalogueScorer):
    """Scores by the inner products of the vectors of users and items.

    The parts are the products of those columns that stand for one cause each.

    Args:
        model: The model.
        graph: The users and items.
    """

    def __init__(self, model: BipartiteModel, graph: BipartiteGraph) -> None:
        with evaluating(model):
            self.user, self.item = model.embeddings()
        size = len(self.user), len(self.item)
        if size != (graph.num_users, graph.num_items):
            raise ValueError(
                f'The model has {size[0]} users and {size[1]} items, the graph '
                f'{graph.num_users} and {graph.num_items}'
            )
        super().__init__(graph, self.user.device)
        self.columns = model.factor_columns
        self.parts = tuple(self.columns)
        self.factor_names = tuple(n for n in self.columns if n not in model.constants)

    def _products(
        self, queries: Queries, items: Tensor | None, columns: slice = slice(None)
    ) -> Tensor:
        user = self.user[queries.user.to(self.device)][:, columns]
        item = self.item[:, columns]
        if items is None:
            return user @ item.t()
        item = item[items.to(self.device)]
        if items.dim() == 1:
            return user @ item.t()
        return torch.einsum('qf,qif->qi', user, item)

    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the inner products."""
        if items is None or items.dim() == 1:
            return self._products(queries, items)

        def call(queries: Queries, items: Tensor) -> dict[str, Tensor]:
            return {'score': self._products(queries, items)}

        return self._in_blocks(call, ['score'], queries, items)['score']

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the inner products of the columns of each factor."""

        def call(queries: Queries, items: Tensor) -> dict[str, Tensor]:
            return {
                name: self._products(queries, items, columns)
                for name, columns in self.columns.items()
            }

        return self._in_blocks(call, self.parts, queries, items)

    def _factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns the columns of a factor."""
        return self.vectors(side)[index][:, self.columns[name]]

    def vectors(self, side: Side) -> Tensor:
        """Returns the vectors of all users or items."""
        return self.user if side == 'user' else self.item
