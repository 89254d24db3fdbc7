"""The base of all that scores a catalogue of items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.data.fingerprint import sides_of
from iedr_geo.data.schema import Side
from iedr_geo.nn import Concepts
from iedr_geo.nn.blocks import blocks
from iedr_geo.scoring.queries import Queries


class CatalogueScorer(ABC):
    """The scores of items for users, by one model on one set of data.

    Everything after training asks a scorer: evaluation, recommendations, explanations and
    reports. It keeps what it has computed: make another one after further training.
    :func:`scorer` chooses the fastest that says the same as the model.

    Args:
        data: The users, items and, where there are any, contexts.
        device: Where the scores are computed.
    """

    parts: tuple[str, ...] = ()
    """The names of the parts that add up to a score, if it has any."""

    factor_names: tuple[str, ...] = ()
    """The names of the factors that users and items have, if they have any."""

    scores_at_once = 1 << 22
    """The number of scores that are held at a time."""

    pairs_at_once = 1 << 16
    """The number of pairs that a model is given at a time."""

    pair_by_pair = False
    """Whether a pair costs the same whatever else is scored with it."""

    def __init__(
        self, data: InteractionDataset | BipartiteGraph, device: torch.device
    ) -> None:
        self.num_users, self.num_items = data.num_users, data.num_items
        self.device = device
        self.fingerprints = sides_of(data)

    def chunk_size(self, num_items: int | None = None) -> int:
        """Returns the number of queries to score at a time.

        Args:
            num_items: The number of items of each (default: the catalogue).
        """
        size = self.num_items if num_items is None else num_items
        # However few the items are, there is a vector of each query.
        return min(self.pairs_at_once, max(1, self.scores_at_once // max(1, size)))

    @abstractmethod
    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the scores of items.

        Args:
            queries: Users, each in a context where there are contexts.
            items: The items, of shape :math:`(I)`, or those of each query, of shape
                :math:`(Q, I)` (default: the catalogue).

        Returns:
            Scores of shape :math:`(Q, I)`, free to be overwritten.
        """

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the parts that add up to the scores, each of shape :math:`(Q, I)`.

        Args:
            queries: As in :meth:`scores`.
            items: As in :meth:`scores`.
        """
        return {}

    def part(self, name: str | None, queries: Queries) -> Tensor:
        """Returns one part of the scores of the catalogue, of shape :math:`(Q, I)`.

        Args:
            name: The part, one of :obj:`parts` (:obj:`None`: the whole score).
            queries: As in :meth:`scores`.

        Raises:
            ValueError: If there is no such part.
        """
        if name is None:
            return self.scores(queries)
        if name not in self.parts:
            raise ValueError(
                f"The scores have no part '{name}' (they have: "
                f'{", ".join(self.parts) or "none"})'
            )
        items = torch.arange(self.num_items, device=self.device)
        return self.split(queries, items)[name]

    def factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns a factor of users or items in contexts, of shape :math:`(N, F)`.

        Args:
            name: The factor, one of :obj:`factor_names`.
            side: :obj:`'user'` or :obj:`'item'`.
            queries: The contexts, one for each user or item, and what is new; who the
                users of the queries are plays no part.
            index: The users or items, of shape :math:`(N)`.

        Raises:
            ValueError: If there is no such factor.
        """
        if name not in self.factor_names:
            raise ValueError(
                f"The model has no factor '{name}' (it has: "
                f'{", ".join(self.factor_names) or "none"})'
            )
        queries, index = queries.to(self.device), index.to(self.device)
        parts = [
            self._factor(name, side, queries[rows], index[rows])
            for rows in blocks(max(1, len(index)), self.pairs_at_once)
        ]
        return torch.cat(parts)

    def _factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns a factor that there is. To be defined where there are factors."""
        raise NotImplementedError

    def vectors(self, side: Side) -> Tensor | None:
        """Returns a vector for each user or item, of shape :math:`(N, F)`.

        Nothing where their scores are not made of such vectors.
        """
        return None

    def concepts(self) -> Concepts | None:
        """Returns the concepts that items belong to, where the model knows of any."""
        return None

    def _in_blocks(
        self,
        call: Callable[[Queries, Tensor], Mapping[str, Tensor]],
        names: Iterable[str],
        queries: Queries,
        items: Tensor,
    ) -> dict[str, Tensor]:
        """Returns what a function gives for all pairs, called with some at a time.

        Args:
            call: Maps queries and their items to a value for each pair, by name.
            names: The names.
            queries: As in :meth:`scores`.
            items: As in :meth:`scores`.

        Returns:
            By name, the values of shape :math:`(Q, I)`.
        """
        queries, items = queries.to(self.device), items.to(self.device)
        size = len(queries), items.size(-1)
        width = max(1, min(size[1], self.pairs_at_once))
        out = {name: torch.empty(size, device=self.device) for name in names}
        for rows in blocks(size[0], self.pairs_at_once // width):
            for columns in blocks(size[1], width):
                some = items[columns] if items.dim() == 1 else items[rows, columns]
                for name, values in call(queries[rows], some).items():
                    out[name] = out[name].to(values.dtype)
                    out[name][rows, columns] = values.view(-1, some.size(-1))
        return out

    def seconds(self, num_queries: int, num_items: int | None = None) -> float | None:
        """Returns about how long scoring will take; nothing where it is fast."""
        return None

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={self.num_users}, '
            f'num_items={self.num_items}, parts={list(self.parts)})'
        )
