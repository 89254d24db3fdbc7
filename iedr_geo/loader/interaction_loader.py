"""Batches of interactions, with negatives, shuffling and replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from iedr_geo.data import BipartiteGraph, InteractionDataset, NegativeSampler
from iedr_geo.data.arguments import check_type
from iedr_geo.data.bipartite import graph_of_queries
from iedr_geo.loader.curriculum import Curriculum
from iedr_geo.loader.epoch import EpochNegatives, Epochs, Order
from iedr_geo.loader.interaction_batch import InteractionBatch

if TYPE_CHECKING:
    from typing_extensions import Unpack

Ids = tuple[Tensor, Tensor, Tensor, Tensor]


class _Rows(Epochs):
    """Yields user, item, context and label of the rows of each batch of an epoch.

    Everything random about an epoch is drawn here: workers only build graphs, and
    replicas see the same order and negatives.
    """

    def __init__(
        self,
        dataset: InteractionDataset,
        batch_size: int,
        negatives: NegativeSampler | None,
        group_negatives: bool,
        curriculum: Curriculum,
        **order: Unpack[Order],
    ) -> None:
        self.dataset = dataset
        # A positive fills the first of its slots, its negatives the others.
        self.slots = 1 if negatives is None else 1 + negatives.num_negatives
        self.slots_per_unit = self.slots if group_negatives else 1
        super().__init__(
            'rows',
            len(dataset) * self.slots // self.slots_per_unit,
            batch_size,
            dataset.user.device,
            self.slots_per_unit,
            **order,
        )
        self._negatives = None
        if negatives is not None:
            graph, query = BipartiteGraph.from_dataset(dataset), dataset.user
            if getattr(negatives, 'exclude', None) == 'context':
                graph, query, _ = graph_of_queries(dataset)
            self._negatives = EpochNegatives(
                self, negatives, curriculum, graph, query, dataset.item
            )

    def __iter__(self) -> Iterator[Ids]:
        dataset = self.dataset
        negative = None if self._negatives is None else self._negatives.of_epoch()
        slot = torch.arange(self.slots_per_unit, device=self.device)
        for units in self.units().split(self.units_per_batch):
            row = (units.unsqueeze(1) * self.slots_per_unit + slot).flatten()
            positive, number = row // self.slots, row % self.slots
            item = dataset.item[positive]
            y = (number == 0).float() if dataset.y is None else dataset.y[positive]
            if negative is not None:
                drawn = negative[positive, (number - 1).clamp(min=0)]
                item = torch.where(number == 0, item, drawn)
            yield dataset.user[positive], item, dataset.context[positive], y


class _Batches(Dataset[InteractionBatch]):
    def __init__(self, dataset: InteractionDataset, rows_per_query: int) -> None:
        self.dataset, self.rows_per_query = dataset, rows_per_query

    def __getitem__(self, ids: Ids) -> InteractionBatch:
        return InteractionBatch.from_ids(
            self.dataset, *ids, rows_per_query=self.rows_per_query
        )


class InteractionLoader(DataLoader[InteractionBatch]):
    r"""Loads a dataset in batches of :class:`InteractionBatch`.

    Works on the device of the dataset's tensors: on a CPU, optionally with workers, or
    with ``dataset.to('cuda')`` entirely on a GPU. On a device of one kind, the order and
    the negatives of an epoch depend on :obj:`seed` and on the epoch alone, which is set
    by :meth:`set_epoch`.

    Args:
        dataset: The rows to load. Without labels, all are positive.
        batch_size: The number of rows of a batch, negatives included.
        negatives: The sampler of negatives. Not for datasets with labels.
        group_negatives: If :obj:`True`, a positive and its negatives come in one batch,
            which then has fewer distinct users and contexts. Otherwise all rows are
            shuffled, as in the IEDR paper.
        shuffle: If :obj:`True`, the rows are shuffled in every epoch.
        curriculum: The curriculum of the sampler from epoch to epoch, *e.g.*, of a
            :class:`~iedr_geo.data.PopularityMarginSampler` (default: nothing changes).
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
        negatives: NegativeSampler | None = None,
        *,
        group_negatives: bool = False,
        shuffle: bool = False,
        curriculum: Curriculum | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_type(dataset, 'dataset', InteractionDataset)
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
        if curriculum is not None and curriculum.every == 'step':
            raise ValueError(
                f'The negatives of an epoch are drawn at once, so they cannot follow '
                f"{curriculum}: use every='epoch'"
            )
        if dataset.user.device.type != 'cpu' and kwargs.get('num_workers', 0) > 0:
            raise ValueError('Workers build batches of a dataset on the CPU only')
        rows = _Rows(
            dataset,
            batch_size,
            negatives,
            group_negatives,
            curriculum or Curriculum(),
            shuffle=shuffle,
            seed=seed,
            num_replicas=num_replicas,
            rank=rank,
        )
        # Its own, or each new iterator would draw from torch's global one.
        kwargs.setdefault('generator', torch.Generator())
        super().__init__(
            _Batches(dataset, rows.slots_per_unit),
            batch_size=None,
            sampler=rows,
            **kwargs,
        )

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that comes next."""
        cast(_Rows, self.sampler).set_epoch(epoch)
