"""Batches of edges, with negatives and the state of the curriculum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from iedr_geo.data import BipartiteGraph, PopularityMarginSampler
from iedr_geo.data.randomness import derive_seed

SHUFFLE, NEGATIVES = 0, 1  # Streams of randomness of one epoch.


class NegativeSampler(Protocol):
    """What draws the negatives of a batch."""

    @property
    def num_negatives(self) -> int:
        """How many are drawn for each positive."""

    def sample(
        self,
        graph: BipartiteGraph,
        user: Tensor,
        item: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Returns items, of shape :math:`(B, K)`."""


class BipartiteBatch(NamedTuple):
    """Edges with their negatives.

    Args:
        user: Users, of shape :math:`(B)`.
        item: Items that they have, of shape :math:`(B)`.
        negative: Items to be ranked below, of shape :math:`(B, K)`.
        intervened: Whether each edge is an intervened one, of shape :math:`(B)`.
        curriculum: What is left of margin and cause-specific weight: 1 at the beginning.
    """

    user: Tensor
    item: Tensor
    negative: Tensor
    intervened: Tensor | None = None
    curriculum: float = 1.0


class BipartiteLoader:
    r"""Loads the edges of a graph with negatives, on the device of the graph.

    On a device of one kind, an epoch depends on :obj:`seed` and on the epoch alone, which
    is set by :meth:`set_epoch`. Every epoch has an order and negatives of its own.

    Args:
        graph: The training edges.
        batch_size: The number of edges of a batch.
        negatives: How to draw negatives.
        shuffle: Whether to shuffle in every epoch.
        decay: What the curriculum is multiplied by after each epoch or step; so is the
            margin of a :class:`PopularityMarginSampler`.
        decay_every: :obj:`"epoch"` or, for small data, :obj:`"step"`.
        seed: The seed of the order and of the negatives.
    """

    def __init__(
        self,
        graph: BipartiteGraph,
        batch_size: int,
        negatives: NegativeSampler,
        *,
        shuffle: bool = False,
        decay: float = 1.0,
        decay_every: str = 'epoch',
        seed: int = 0,
    ) -> None:
        if graph.num_edges == 0:
            raise ValueError('The graph has no edges to load')
        if batch_size < 1:
            raise ValueError(f'`batch_size` must be at least 1 (got {batch_size})')
        if not 0 < decay <= 1:
            raise ValueError(f'`decay` must be above 0 and at most 1 (got {decay})')
        if decay_every not in ('epoch', 'step'):
            raise ValueError(f"`decay_every` is 'epoch' or 'step' (got '{decay_every}')")
        self.graph = graph
        self.batch_size = batch_size
        self.negatives = negatives
        self.shuffle = shuffle
        self.decay, self.decay_every = decay, decay_every
        self.seed = seed
        self.epoch = 0
        self._parts = [graph, graph]
        if isinstance(negatives, PopularityMarginSampler) and negatives.exclude == 'part':
            normal = graph.subgraph(~graph.intervened)
            self._parts = [normal, graph.subgraph(graph.intervened)]

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that comes next."""
        self.epoch = epoch

    @property
    def _replicas(self) -> tuple[int, int]:
        if not dist.is_initialized():
            return 0, 1
        return dist.get_rank(), dist.get_world_size()

    def __len__(self) -> int:
        per_replica = -(-self.graph.num_edges // self._replicas[1])
        return -(-per_replica // self.batch_size)

    def _generator(self, stream: int, *place: int) -> torch.Generator:
        generator = torch.Generator(self.graph.device)
        return generator.manual_seed(derive_seed(self.seed, self.epoch, stream, *place))

    def _sample(
        self, edge: Tensor, curriculum: float, generator: torch.Generator
    ) -> Tensor:
        sampler, graph = self.negatives, self.graph
        if isinstance(sampler, PopularityMarginSampler):
            sampler = replace(sampler, margin=sampler.margin * curriculum)
        user, item = graph.user[edge], graph.item[edge]
        normal, intervened = self._parts
        if normal is intervened:
            return sampler.sample(graph, user, item, generator)
        mask = graph.intervened[edge]
        negative = torch.empty(
            (edge.numel(), sampler.num_negatives), dtype=torch.long, device=graph.device
        )
        for part, rows in ((normal, ~mask), (intervened, mask)):
            negative[rows] = sampler.sample(part, user[rows], item[rows], generator)
        return negative

    def __iter__(self) -> Iterator[BipartiteBatch]:
        graph, num_edges = self.graph, self.graph.num_edges
        edges = torch.arange(num_edges, device=graph.device)
        if self.shuffle:
            edges = torch.randperm(
                num_edges, generator=self._generator(SHUFFLE), device=graph.device
            )
        # Replicas take equal numbers of edges: the first ones fill the last round.
        rank, world = self._replicas
        total = -(-num_edges // world) * world
        own = torch.arange(rank, total, world, device=graph.device)
        edges = edges[own % num_edges]
        generator = self._generator(NEGATIVES, rank)
        first = self.epoch * len(self) if self.decay_every == 'step' else self.epoch
        for step, edge in enumerate(edges.split(self.batch_size)):
            past = first + step if self.decay_every == 'step' else first
            curriculum = self.decay**past
            yield BipartiteBatch(
                graph.user[edge],
                graph.item[edge],
                self._sample(edge, curriculum, generator),
                graph.intervened[edge],
                curriculum,
            )
