"""Batches of edges, with negatives and the state of the curriculum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, NegativeSampler
from iedr_geo.data.arguments import check_type
from iedr_geo.loader.curriculum import Curriculum
from iedr_geo.loader.epoch import NEGATIVES, EpochNegatives, Epochs, Order

if TYPE_CHECKING:
    from typing_extensions import Unpack


class EdgeBatch(NamedTuple):
    """Edges with their negatives.

    Args:
        user: Users, of shape :math:`(B)`.
        item: Items that they have, of shape :math:`(B)`.
        negative: Items to be ranked below, of shape :math:`(B, K)`.
        intervened: :obj:`True` for each intervened edge, of shape :math:`(B)`.
        curriculum: The state of the :class:`Curriculum`: 1 at the beginning.
    """

    user: Tensor
    item: Tensor
    negative: Tensor | None = None
    intervened: Tensor | None = None
    curriculum: float = 1.0

    @property
    def candidates(self) -> Tensor:
        """Each item, then its negatives if there are any, of shape :math:`(B, 1 + K)`."""
        item = self.item.unsqueeze(1)
        if self.negative is None:
            return item
        return torch.cat([item, self.negative], dim=1)


class EdgeLoader(Epochs):
    r"""Loads the edges of a graph in batches of :class:`EdgeBatch`, on its device.

    An epoch depends on :obj:`seed`, the epoch, which is set by :meth:`set_epoch`, and the
    rank alone.

    Args:
        graph: The training edges.
        batch_size: The number of edges of a batch.
        negatives: The sampler of negatives (default: there are none).
        curriculum: The curriculum of the sampler and of the loss (default: nothing
            changes).
        **order: The order, as keywords: :obj:`shuffle`, if the edges are to be shuffled
            in every epoch; :obj:`seed`, the seed of the order and of the negatives
            (default: 0); :obj:`num_replicas`, the number of processes that share an
            epoch, and :obj:`rank`, the number of this process among them (default: as
            :mod:`torch.distributed` says).
    """

    def __init__(
        self,
        graph: BipartiteGraph,
        batch_size: int = 1024,
        negatives: NegativeSampler | None = None,
        *,
        curriculum: Curriculum | None = None,
        **order: Unpack[Order],
    ) -> None:
        check_type(graph, 'graph', BipartiteGraph)
        super().__init__('edges', graph.num_edges, batch_size, graph.device, **order)
        self.graph = graph
        self.curriculum = curriculum or Curriculum()
        self._negatives = None
        if negatives is not None:
            self._negatives = EpochNegatives(
                self, negatives, self.curriculum, graph, graph.user, graph.item
            )

    def __iter__(self) -> Iterator[EdgeBatch]:
        graph, generator = self.graph, self.generator(NEGATIVES, self.rank)
        for step, edge in enumerate(self.units().split(self.units_per_batch)):
            factor = self.curriculum.at(self.epoch, step, len(self))
            negative = None
            if self._negatives is not None:
                negative = self._negatives.of_batch(edge, factor, generator)
            yield EdgeBatch(
                graph.user[edge],
                graph.item[edge],
                negative,
                graph.intervened[edge],
                factor,
            )
