"""Queries: who is to be recommended something, and where."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, FeatureGraphs
from iedr_geo.data.schema import SIDES


@dataclass(frozen=True)
class Queries:
    """Users, each in a context where there are contexts.

    Users, items and contexts of the data go by their numbers. Those that are new are
    given by their graphs and go by the numbers after those of the data: with :math:`U`
    users, user :math:`U + 2` is graph 2 of :obj:`users`.

    Args:
        user: The user of each query, of shape :math:`(Q)`.
        context: The context of each query, of shape :math:`(Q)`, if there are any.
        users: The graphs of users that are not of the data.
        contexts: The graphs of contexts that are not of the data.
        items: The graphs of items that are not of the data.
        histories: The items of users that are not of the data, where users are made of
            the items that they have.
    """

    user: Tensor
    context: Tensor | None = None
    users: FeatureGraphs | None = None
    contexts: FeatureGraphs | None = None
    items: FeatureGraphs | None = None
    histories: BipartiteGraph | None = None

    def __len__(self) -> int:
        return self.user.numel()

    def __getitem__(self, index: Tensor | slice) -> Queries:
        context = None if self.context is None else self.context[index]
        return replace(self, user=self.user[index], context=context)

    def to(self, device: torch.device) -> Queries:
        """Returns the queries with their numbers on a device; graphs stay."""
        context = None if self.context is None else self.context.to(device)
        return replace(self, user=self.user.to(device), context=context)

    def get_context(self) -> Tensor:
        """Returns the context of each query.

        Raises:
            ValueError: If there are none.
        """
        if self.context is None:
            raise ValueError('Queries of a dataset need a context each')
        return self.context

    def graphs(self, side: str) -> FeatureGraphs | None:
        """Returns the new graphs of a side, if there are any."""
        graphs: FeatureGraphs | None = getattr(self, f'{side}s')
        return graphs

    def __repr__(self) -> str:
        sides = {f'{side}s': self.graphs(side) for side in SIDES}
        new = [f'{name}={len(graphs)} new' for name, graphs in sides.items() if graphs]
        return f'Queries({", ".join([str(len(self)), *new])})'
