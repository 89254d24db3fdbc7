"""Candidate lists: a user, a context, and the items to be ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from iedr_geo.data.bipartite import BipartiteGraph
from iedr_geo.data.interaction import InteractionDataset
from iedr_geo.data.negative_sampling import UniformNegativeSampler


@dataclass(frozen=True)
class CandidateLists:
    r"""Lists of items to be ranked, each for one user in one context.

    Rows may come in any order, lists may differ in length, and an item may recur.

    Args:
        user: The user of each list, of shape :math:`(L)`.
        context: The context of each list, of shape :math:`(L)`.
        item: The items of all lists, of shape :math:`(R)`.
        target: 1 for the items to be found, else 0, of shape :math:`(R)`.
        list_index: The list of each item, of shape :math:`(R)`.
    """

    user: Tensor
    context: Tensor
    item: Tensor
    target: Tensor
    list_index: Tensor

    def __len__(self) -> int:
        return self.user.numel()

    @classmethod
    def sample(
        cls,
        dataset: InteractionDataset,
        num_negatives: int = 99,
        seed: int = 0,
        seen: Sequence[InteractionDataset] | None = None,
    ) -> CandidateLists:
        """Makes a list of each positive row: its item, and negatives drawn uniformly.

        The lists are on the CPU and the same on every device.

        Args:
            dataset: The rows. Those with the label 0 make no list.
            num_negatives: How many to draw for each.
            seed: The seed of the draw.
            seen: Datasets, *e.g.*, training and validation rows, whose items are no
                negatives of their users. Without any, all items but the row's own are.
        """
        dataset = dataset.to('cpu')
        if dataset.y is not None:
            dataset = dataset[dataset.y == 1]
        if len(dataset) == 0:
            raise ValueError('There is no positive row to make a list of')
        sampler = UniformNegativeSampler(
            num_negatives, 'positive' if seen is None else 'seen'
        )
        graph = BipartiteGraph.from_dataset(dataset, *(seen or ()))
        generator = torch.Generator().manual_seed(seed)
        negative = sampler.sample(graph, dataset.user, dataset.item, generator)
        item = torch.cat([dataset.item.unsqueeze(1), negative], dim=1)
        target = torch.zeros_like(item)
        target[:, 0] = 1
        index = torch.arange(len(dataset), device=item.device)
        return cls(
            user=dataset.user,
            context=dataset.context,
            item=item.flatten(),
            target=target.flatten(),
            list_index=index.repeat_interleave(item.size(1)),
        )
