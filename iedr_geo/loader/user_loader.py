"""Batches of users, with all items of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch_geometric.utils import cumsum

from iedr_geo.data import BipartiteGraph
from iedr_geo.data.arguments import check_type
from iedr_geo.data.bipartite import check_ids
from iedr_geo.loader.epoch import Epochs, Order

if TYPE_CHECKING:
    from typing_extensions import Unpack


class UserBatch(NamedTuple):
    """Users and their items, as edges from rows of the batch to items.

    Args:
        user: Users, of shape :math:`(B)`.
        row: The row of the batch of each edge, sorted, of shape :math:`(E)`.
        item: The item of each edge, sorted for each user, of shape :math:`(E)`.
        epoch: The number of epochs that have gone, with the share of the one that goes
            on, by which losses may be annealed. Infinite where nothing is trained.
    """

    user: Tensor
    row: Tensor
    item: Tensor
    epoch: float = math.inf

    @classmethod
    def from_graph(
        cls,
        graph: BipartiteGraph,
        user: Tensor,
        epoch: float = math.inf,
        num_edges: int | None = None,
    ) -> UserBatch:
        """Returns users of a graph with their items.

        Args:
            graph: The users and their items.
            user: The users, of shape :math:`(B)`, on the device of the graph.
            epoch: The number of epochs that have gone.
            num_edges: The number of their items together, if it is known: then nothing
                waits for the device.
        """
        size = graph.user_degree[user]
        total = int(size.sum()) if num_edges is None else num_edges
        count = torch.arange(max(user.numel(), total), device=graph.device)
        row = count[: user.numel()].repeat_interleave(size, output_size=total)
        begin = graph.ptr[user] - cumsum(size)[:-1]
        return cls(user, row, graph.item[begin[row] + count[:total]], epoch)


class UserLoader(Epochs):
    r"""Loads the users of a graph in batches of :class:`UserBatch`, on its device.

    An epoch depends on :obj:`seed` and on the epoch alone, which is set by
    :meth:`set_epoch`.

    Args:
        graph: The users and their items.
        batch_size: The number of users of a batch.
        users: The users to load, of shape :math:`(U)` (default: those with at least one
            item).
        **order: The order, as keywords: :obj:`shuffle`, :obj:`seed`, :obj:`num_replicas`
            and :obj:`rank`, as in :class:`EdgeLoader`.
    """

    def __init__(
        self,
        graph: BipartiteGraph,
        batch_size: int = 1024,
        users: Tensor | None = None,
        **order: Unpack[Order],
    ) -> None:
        check_type(graph, 'graph', BipartiteGraph)
        if users is None:
            users = graph.user_degree.nonzero().view(-1)
        check_ids(users, graph.num_users, 'user')
        super().__init__('users', users.numel(), batch_size, graph.device, **order)
        self.graph, self.users = graph, users.to(graph.device)

    def __iter__(self) -> Iterator[UserBatch]:
        graph = self.graph
        users = self.users[self.units()].split(self.units_per_batch)
        # Read once an epoch, so that no batch waits for the device.
        totals = torch.stack([graph.user_degree[user].sum() for user in users]).tolist()
        for number, (user, total) in enumerate(zip(users, totals, strict=True)):
            epoch = self.epoch + number / len(users)
            yield UserBatch.from_graph(graph, user, epoch, total)
