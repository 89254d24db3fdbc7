"""A batch of samples in which every distinct graph stands once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from iedr_geo.data import FeatureGraphs, InteractionData, InteractionDataset
from iedr_geo.data.feature_graphs import map_tensors
from iedr_geo.data.schema import SIDES


@dataclass
class InteractionBatch:
    r"""A batch of samples in which every distinct user, item and context stands once.

    Row :math:`r` is user graph :obj:`user_graph[r]`, item graph :obj:`item_graph[r]`
    and context graph :obj:`context_graph[r]`.

    Args:
        user: The distinct users' graphs; :obj:`user.graph_id` says who they are.
        item: The distinct items' graphs.
        context: The distinct contexts' graphs.
        user_graph: The user graph of each row, of shape :math:`(B)`.
        item_graph: The item graph of each row, of shape :math:`(B)`.
        context_graph: The context graph of each row, of shape :math:`(B)`.
        y: The labels, of shape :math:`(B)`.
        rows_per_query: How many rows in succession are of one user in one context, as a
            positive and its negatives are: what belongs to them is computed once.
    """

    user: Batch
    item: Batch
    context: Batch
    user_graph: Tensor
    item_graph: Tensor
    context_graph: Tensor
    y: Tensor | None = None
    rows_per_query: int = 1

    def __post_init__(self) -> None:
        if len(self) % self.rows_per_query:
            raise ValueError(
                f'{len(self)} rows are not in groups of {self.rows_per_query} rows each'
            )

    @classmethod
    def from_ids(
        cls,
        dataset: InteractionDataset,
        user: Tensor,
        item: Tensor,
        context: Tensor,
        y: Tensor | None = None,
        *,
        rows_per_query: int = 1,
    ) -> InteractionBatch:
        """Builds a batch of any users, items and contexts of a dataset.

        Args:
            dataset: Where the feature graphs are.
            user: The user of each row, of shape :math:`(B)`.
            item: The item of each row, of shape :math:`(B)`.
            context: The context of each row, of shape :math:`(B)`.
            y: The labels, of shape :math:`(B)`.
            rows_per_query: As in :class:`InteractionBatch`.
        """
        graphs, index = {}, {}
        for side, ids in zip(SIDES, (user, item, context), strict=True):
            distinct, index[f'{side}_graph'] = torch.unique(ids, return_inverse=True)
            graphs[side] = getattr(dataset, f'{side}s').batch(distinct)
        return cls(**graphs, **index, y=y, rows_per_query=rows_per_query)

    @classmethod
    def from_graphs(
        cls,
        user: FeatureGraphs,
        item: FeatureGraphs,
        context: FeatureGraphs,
        user_graph: Tensor,
        item_graph: Tensor,
        context_graph: Tensor,
        *,
        user_id: Tensor | None = None,
        item_id: Tensor | None = None,
        context_id: Tensor | None = None,
    ) -> InteractionBatch:
        """Builds a batch of users, items and contexts that are given by their features.

        What is not of the dataset has the id -1: a model that looks ids up must say what
        it does with it.

        Args:
            user: The graphs of the users.
            item: The graphs of the items.
            context: The graphs of the contexts.
            user_graph: The user graph of each row, of shape :math:`(B)`.
            item_graph: The item graph of each row, of shape :math:`(B)`.
            context_graph: The context graph of each row, of shape :math:`(B)`.
            user_id: The id of each user graph (default: -1).
            item_id: The id of each item graph (default: -1).
            context_id: The id of each context graph (default: -1).
        """
        graphs = {}
        for side, stored, ids in zip(
            SIDES, (user, item, context), (user_id, item_id, context_id), strict=True
        ):
            every = torch.arange(len(stored), device=stored.ptr.device)
            graphs[side] = stored.batch(every)
            graphs[side].graph_id = torch.full_like(every, -1) if ids is None else ids
        return cls(
            **graphs,
            user_graph=user_graph,
            item_graph=item_graph,
            context_graph=context_graph,
        )

    def __len__(self) -> int:
        return self.user_graph.numel()

    def __getitem__(self, rows: Tensor | slice) -> InteractionBatch:
        """Returns some of the rows, which share the graphs."""
        index = self.user_graph[rows], self.item_graph[rows], self.context_graph[rows]
        y = None if self.y is None else self.y[rows]
        return InteractionBatch(self.user, self.item, self.context, *index, y)

    def cross(self, items: Tensor) -> InteractionBatch:
        """Returns a row for each row and each of some items: users and contexts stay.

        The graphs are shared; only indices are made.

        Args:
            items: Item graphs of the batch, of shape :math:`(I)`.

        Returns:
            :math:`B I` rows, those of the first row first, without labels.
        """
        return replace(
            self,
            user_graph=self.user_graph.repeat_interleave(len(items)),
            item_graph=items.repeat(len(self)),
            context_graph=self.context_graph.repeat_interleave(len(items)),
            y=None,
            rows_per_query=self.rows_per_query * len(items),
        )

    @property
    def user_id(self) -> Tensor:
        """The user of each row, of shape :math:`(B)`."""
        ids: Tensor = self.user.graph_id[self.user_graph]
        return ids

    @property
    def item_id(self) -> Tensor:
        """The item of each row, of shape :math:`(B)`."""
        ids: Tensor = self.item.graph_id[self.item_graph]
        return ids

    @property
    def context_id(self) -> Tensor:
        """The context of each row, of shape :math:`(B)`."""
        ids: Tensor = self.context.graph_id[self.context_graph]
        return ids

    def _map(self, function: Callable[[Tensor], Tensor]) -> InteractionBatch:
        def mapped(value: Any) -> Any:
            if value is None or isinstance(value, int):
                return value
            if isinstance(value, Tensor):
                return function(value)
            return map_tensors(value, function)

        return InteractionBatch(
            **{f.name: mapped(getattr(self, f.name)) for f in fields(self)}
        )

    def to(
        self, device: torch.device | str, non_blocking: bool = False
    ) -> InteractionBatch:
        """Returns the batch on another device."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> InteractionBatch:
        """Returns the batch in pinned memory."""
        return self._map(torch.Tensor.pin_memory)

    def expand(self) -> Batch:
        """Returns the row-by-row form, in which every row has graphs of its own.

        Equal to ``Batch.from_data_list(samples, follow_batch=['x_user', 'x_item',
        'x_context'])`` over the samples as :class:`InteractionData`.
        """
        columns = []
        for side in SIDES:
            own, index = getattr(self, side), getattr(self, f'{side}_graph')
            # A store's, since the edges of a batch may have been changed.
            batch = FeatureGraphs.from_batch(own).batch(torch.arange(own.num_graphs))
            batch.graph_id = own.graph_id
            graphs = batch.to_data_list()
            columns.append([graphs[i] for i in index.tolist()])
        labels = [None] * len(self) if self.y is None else self.y.split(1)
        samples = [
            InteractionData.from_graphs(graphs, y)
            for *graphs, y in zip(*columns, labels, strict=True)
        ]
        return Batch.from_data_list(samples, follow_batch=[f'x_{side}' for side in SIDES])
