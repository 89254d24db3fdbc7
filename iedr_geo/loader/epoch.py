"""Epochs: an order, a share for each replica, and negatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypedDict

import torch
import torch.distributed as dist
from torch import Tensor

from iedr_geo.data import BipartiteGraph, NegativeSampler
from iedr_geo.data.arguments import check_count
from iedr_geo.data.negative_sampling import for_graph
from iedr_geo.data.randomness import derive_seed
from iedr_geo.loader.curriculum import Curriculum

SHUFFLE, NEGATIVES = 0, 1  # Streams of randomness of one epoch.


class Order(TypedDict, total=False):
    """The arguments of every loader that say in which order it loads, and what of it."""

    shuffle: bool
    seed: int
    num_replicas: int | None
    rank: int | None


class Epochs:
    """The epochs of a loader: what comes in which order, and on which replica.

    On a device of one kind, they depend on seed and epoch alone.

    Args:
        name: The name of what is loaded, in the plural, for errors.
        num_units: The number of units, which are shuffled as a whole: a row, an edge, a
            user, or a positive together with its negatives.
        batch_size: The number of rows of a batch.
        device: The device on which the order is drawn.
        rows_per_unit: The number of rows of a unit.
        shuffle: If :obj:`True`, the units are shuffled in every epoch.
        seed: The seed of everything random.
        num_replicas: The number of processes that share an epoch (default: as
            :mod:`torch.distributed` says, whenever it is asked).
        rank: The number of this process among them (default: likewise).
    """

    def __init__(
        self,
        name: str,
        num_units: int,
        batch_size: int,
        device: torch.device,
        rows_per_unit: int = 1,
        *,
        shuffle: bool = False,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        if num_units == 0:
            raise ValueError(f'There are no {name} to load')
        check_count(batch_size, 'batch_size')
        if batch_size < rows_per_unit:
            group = ', a positive and its negatives' if rows_per_unit > 1 else ''
            raise ValueError(
                f'`batch_size` must be at least {rows_per_unit}{group} (got {batch_size})'
            )
        self.num_units, self.units_per_batch = num_units, batch_size // rows_per_unit
        self.device = device
        self.shuffle, self.seed, self.epoch = shuffle, seed, 0
        self._num_replicas, self._rank = num_replicas, rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f'`rank` must be less than `num_replicas` (got {self.rank} of '
                f'{self.num_replicas})'
            )

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that comes next."""
        self.epoch = epoch

    @property
    def num_replicas(self) -> int:
        """The number of processes that share an epoch."""
        if self._num_replicas is not None:
            return self._num_replicas
        return dist.get_world_size() if dist.is_initialized() else 1

    @property
    def rank(self) -> int:
        """The number of this process among the replicas."""
        if self._rank is not None:
            return self._rank
        return dist.get_rank() if dist.is_initialized() else 0

    def __len__(self) -> int:
        per_replica = -(-self.num_units // self.num_replicas)
        return -(-per_replica // self.units_per_batch)

    def generator(
        self, stream: int, *parts: int, epoch: int | None = None
    ) -> torch.Generator:
        """Returns a source of randomness for this epoch, or for another one."""
        epoch = self.epoch if epoch is None else epoch
        generator = torch.Generator(self.device)
        return generator.manual_seed(derive_seed(self.seed, epoch, stream, *parts))

    def units(self) -> Tensor:
        """Returns the units of this replica, in order: equally many on each of them.

        They are dealt in turns, and the first ones fill the last round.
        """
        if self.shuffle:
            units = torch.randperm(
                self.num_units, generator=self.generator(SHUFFLE), device=self.device
            )
        else:
            units = torch.arange(self.num_units, device=self.device)
        total = -(-self.num_units // self.num_replicas) * self.num_replicas
        own = torch.arange(self.rank, total, self.num_replicas, device=self.device)
        return units[own % self.num_units]


@dataclass
class EpochNegatives:
    """The negatives of a loader's positives, drawn for an epoch or for a batch.

    Args:
        epochs: The epochs of the loader.
        sampler: The sampler.
        curriculum: The curriculum, which a sampler that has :obj:`at` follows.
        graph: The items that queries have.
        query: The query of each positive, of shape :math:`(N)`.
        item: The item of each positive, of shape :math:`(N)`.
    """

    epochs: Epochs
    sampler: NegativeSampler
    curriculum: Curriculum
    graph: BipartiteGraph
    query: Tensor
    item: Tensor
    _drawn: tuple[int, Tensor] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        fixed = hasattr(self.sampler, 'at') and not self.sampler.resample
        if fixed and self.curriculum.decay < 1:
            raise ValueError(
                f'Fixed negatives cannot follow a curriculum: '
                f'{type(self.sampler).__name__} needs resample=True for {self.curriculum}'
            )
        self.sampler = for_graph(self.sampler, self.graph)

    def of_epoch(self) -> Tensor:
        """Returns those of all positives, alike on all replicas, :math:`(N, K)`.

        Where they are fixed, those of epoch 0 serve every epoch.
        """
        epoch = self.epochs.epoch if self.sampler.resample else 0
        if self._drawn is None or self._drawn[0] != epoch:
            generator = self.epochs.generator(NEGATIVES, epoch=epoch)
            factor = self.curriculum.at(epoch, 0, len(self.epochs))
            self._drawn = epoch, self._draw(slice(None), factor, generator)
        return self._drawn[1]

    def of_batch(self, rows: Tensor, factor: float, generator: torch.Generator) -> Tensor:
        """Returns those of some positives: the fixed ones, or fresh ones.

        Args:
            rows: The numbers of the positives, of shape :math:`(B)`.
            factor: The state of the curriculum.
            generator: The source of fresh ones.
        """
        if not self.sampler.resample:
            return self.of_epoch()[rows]
        return self._draw(rows, factor, generator)

    def _draw(
        self, rows: Tensor | slice, factor: float, generator: torch.Generator
    ) -> Tensor:
        follow = getattr(self.sampler, 'at', None)
        sampler = self.sampler if follow is None else follow(factor)
        query = self.query[rows]
        negative = sampler.sample(self.graph, query, self.item[rows], generator)
        shape = len(query), sampler.num_negatives
        if negative.shape != shape:
            raise ValueError(
                f'{type(sampler).__name__} must draw items of shape {shape} (got '
                f'{tuple(negative.shape)})'
            )
        return negative
