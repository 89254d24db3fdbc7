"""Batches of interactions, with negatives, shuffling and replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from iedr_geo.data import BipartiteGraph, InteractionDataset, UniformNegativeSampler
from iedr_geo.data.randomness import derive_seed
from iedr_geo.loader.interaction_batch import InteractionBatch

T = TypeVar('T')
Ids = tuple[Tensor, Tensor, Tensor, Tensor]

SHUFFLE, NEGATIVES = 0, 1  # Streams of randomness of one epoch.


class EpochSampler(Sampler[Ids]):
    """Yields user, item, context and label of the rows of each batch of an epoch.

    Everything random about an epoch is drawn here, from the seed and the epoch alone:
    workers only build graphs, and replicas see the same order and negatives.
    """

    def __init__(
        self,
        dataset: InteractionDataset,
        batch_size: int,
        negatives: UniformNegativeSampler | None,
        group_negatives: bool,
        shuffle: bool,
        seed: int,
        num_replicas: int | None,
        rank: int | None,
    ) -> None:
        self.dataset = dataset
        self.negatives = negatives
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self._num_replicas, self._rank = num_replicas, rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f'`rank` must be less than `num_replicas` (got {self.rank} of '
                f'{self.num_replicas})'
            )
        self._drawn: tuple[int, Tensor] | None = None
        if negatives is not None:
            self.graph = BipartiteGraph.from_dataset(dataset)
        self.slots = 1 if negatives is None else 1 + negatives.num_negatives
        # A unit of shuffling is a row, or a positive together with its negatives.
        self.slots_per_unit = self.slots if group_negatives else 1
        if batch_size < self.slots_per_unit:
            raise ValueError(
                f'`batch_size` must hold a positive and its negatives: at least '
                f'{self.slots_per_unit} rows (got {batch_size})'
            )
        self.units_per_batch = batch_size // self.slots_per_unit

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order and negatives come next."""
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
        units = len(self.dataset) * self.slots // self.slots_per_unit
        per_replica = -(-units // self.num_replicas)
        return -(-per_replica // self.units_per_batch)

    def _generator(self, stream: int, epoch: int) -> torch.Generator:
        generator = torch.Generator(self.dataset.user.device)
        return generator.manual_seed(derive_seed(self.seed, epoch, stream))

    def _negative_items(self) -> Tensor | None:
        if self.negatives is None:
            return None
        epoch = self.epoch if self.negatives.resample else 0
        if self._drawn is None or self._drawn[0] != epoch:
            generator = self._generator(NEGATIVES, epoch)
            user, item = self.dataset.user, self.dataset.item
            self._drawn = epoch, self.negatives.sample(self.graph, user, item, generator)
        return self._drawn[1]

    def __iter__(self) -> Iterator[Ids]:
        dataset, device = self.dataset, self.dataset.user.device
        negative = self._negative_items()
        num_units = len(dataset) * self.slots // self.slots_per_unit
        if self.shuffle:
            generator = self._generator(SHUFFLE, self.epoch)
            units = torch.randperm(num_units, generator=generator, device=device)
        else:
            units = torch.arange(num_units, device=device)
        # Replicas take equal numbers of units: the first ones fill the last round.
        total = -(-num_units // self.num_replicas) * self.num_replicas
        units = units[torch.arange(self.rank, total, self.num_replicas) % num_units]
        slot = torch.arange(self.slots_per_unit, device=device)
        for chunk in units.split(self.units_per_batch):
            row = (chunk.unsqueeze(1) * self.slots_per_unit + slot).flatten()
            positive, place = row // self.slots, row % self.slots
            item = dataset.item[positive]
            y = (place == 0).float() if dataset.y is None else dataset.y[positive]
            if negative is not None:
                drawn = negative[positive, (place - 1).clamp(min=0)]
                item = torch.where(place == 0, item, drawn)
            yield dataset.user[positive], item, dataset.context[positive], y


class _Batches(Dataset[InteractionBatch]):
    def __init__(self, dataset: InteractionDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, ids: Ids) -> InteractionBatch:
        return InteractionBatch.from_ids(self.dataset, *ids)


def _identity(batch: T) -> T:
    return batch


class InteractionLoader(DataLoader[InteractionBatch]):
    r"""Loads a dataset in batches of :class:`InteractionBatch`.

    Works on the device of the dataset's tensors: on a CPU, optionally with workers, or
    with ``dataset.to('cuda')`` entirely on a GPU. On a device of one kind, the order and
    the negatives of an epoch depend on :obj:`seed` and on the epoch alone, which is set
    by ``loader.sampler.set_epoch(epoch)``.

    Args:
        dataset: The rows to load. Without labels, all are positive.
        batch_size: The number of rows of a batch, negatives included.
        negatives: How to draw negatives. Not for datasets with labels.
        group_negatives: Whether a positive and its negatives come in the same batch,
            which then has fewer distinct users and contexts. Otherwise all rows are
            shuffled, as in the IEDR paper.
        shuffle: Whether to shuffle in every epoch.
        seed: The seed of the order and of the negatives.
        num_replicas: The number of processes that share an epoch (default: as
            :mod:`torch.distributed` says).
        rank: The number of this process among them.
        **kwargs: Further arguments of :class:`torch.utils.data.DataLoader`, *e.g.*,
            :obj:`num_workers` or :obj:`pin_memory`.
    """

    def __init__(
        self,
        dataset: InteractionDataset,
        batch_size: int = 1024,
        negatives: UniformNegativeSampler | None = None,
        *,
        group_negatives: bool = False,
        shuffle: bool = False,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        **kwargs: Any,
    ) -> None:
        if len(dataset) == 0:
            raise ValueError('The dataset has no rows to load')
        if dataset.transform is not None:
            raise ValueError(
                'The dataset has a transform, which is for single samples: load them '
                "with PyG's DataLoader(dataset, follow_batch=['x_user', 'x_item', "
                "'x_context'])"
            )
        if negatives is not None and dataset.y is not None:
            raise ValueError(
                'The dataset has labels of its own: negatives would contradict them'
            )
        if group_negatives and negatives is None:
            raise ValueError('`group_negatives` needs `negatives`')
        if dataset.user.device.type != 'cpu' and kwargs.get('num_workers', 0) > 0:
            raise ValueError('Workers build batches of a dataset on the CPU only')
        super().__init__(
            _Batches(dataset),
            batch_size=None,
            sampler=EpochSampler(
                dataset,
                batch_size,
                negatives,
                group_negatives,
                shuffle,
                seed,
                num_replicas,
                rank,
            ),
            collate_fn=_identity,
            **kwargs,
        )
