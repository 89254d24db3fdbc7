"""Users and items that are vectors, whose inner product is the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.data.columns import token
from iedr_geo.data.schema import Side
from iedr_geo.recommend.ids import id_tokens
from iedr_geo.recommend.iedr_scorer import Readouts


class VectorSource:
    """The vectors of a trained bipartite model.

    Args:
        user: The vectors of all users, of shape :math:`(U, F)`.
        item: The vectors of all items, of shape :math:`(I, F)`.
        factors: The columns of each factor, by name.
        graph: The ids, and what each user has seen.
    """

    context_names: tuple[str, ...] = ()
    exclude_seen = True
    alike: Tensor | None = None

    def __init__(
        self, user: Tensor, item: Tensor, factors: dict[str, slice], graph: BipartiteGraph
    ) -> None:
        if (len(user), len(item)) != (graph.num_users, graph.num_items):
            raise ValueError(
                f'The model has {len(user)} users and {len(item)} items, the graph '
                f'{graph.num_users} and {graph.num_items}'
            )
        self.users = Readouts(user, user.new_zeros(len(user)))
        self.items = Readouts(item, item.new_zeros(len(item)))
        self.columns = factors
        self.seen = graph.to(user.device)
        self._ids = {
            side: pd.Index([token(value) for value in ids])
            for side, ids in (('user', graph.user_ids), ('item', graph.item_ids))
        }

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of a score."""
        return tuple(self.columns)

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors."""
        return self.parts

    @property
    def device(self) -> torch.device:
        """The device of the vectors."""
        return self.users.vector.device

    def known(self, side: Side) -> tuple[pd.Index, str]:
        """Returns the ids of users or items, and the name of their column."""
        return self._ids[side], side

    def place(self, side: Side, entities: Sequence[Any]) -> np.ndarray:
        """Returns the number of each user or item.

        Raises:
            ValueError: If one is new: without features, nothing is known of it.
        """
        place = self._ids[side].get_indexer(id_tokens(entities))
        if (place < 0).any():
            stranger = entities[int(np.argmax(place < 0))]
            raise ValueError(
                f'The model has no {side} {stranger!r}, and no features to know it by'
            )
        return place

    def entities(self, side: Side, entities: Sequence[Any]) -> Readouts:
        """Returns the vectors of users or items."""
        place = torch.from_numpy(self.place(side, entities)).to(self.device)
        return (self.users if side == 'user' else self.items)[place]

    def context(self, context: Mapping[str, Any]) -> Readouts:
        """Returns nothing: there are no contexts."""
        return self.contexts(pd.DataFrame([context]))

    def distinct_contexts(self, frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first row, and that all are like it: there are no contexts."""
        return np.zeros(1, dtype=np.int64), np.zeros(len(frame), dtype=np.int64)

    def contexts(self, frame: pd.DataFrame) -> Readouts:
        """Returns nothing for each row: there are no contexts."""
        if len(frame.columns):
            raise ValueError(
                f"The model knows no contexts, but there is column '{frame.columns[0]}'"
            )
        empty = torch.zeros(len(frame), device=self.device)
        return Readouts(empty.unsqueeze(1), empty)

    def scores(
        self, user: Readouts, contexts: Readouts, context_row: Tensor, items: Readouts
    ) -> Tensor:
        """Returns the scores of items for users, of shape :math:`(N, I)`."""
        return user.vector @ items.vector.t()

    def split(
        self, user: Readouts, item: Readouts, context: Readouts
    ) -> dict[str, Tensor]:
        """Returns the parts of the scores of pairs, each of shape :math:`(N)`."""
        product = user.vector * item.vector
        return {
            name: product[:, columns].sum(1) for name, columns in self.columns.items()
        }

    def factor(
        self, side: Side, readouts: Readouts, context: Readouts, name: str
    ) -> Tensor:
        """Returns one factor of users or items."""
        return readouts.vector[:, self.columns[name]]
