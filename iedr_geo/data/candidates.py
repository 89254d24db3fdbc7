"""Candidate lists: a user, a context, and the items to be ranked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.arguments import check_type
from iedr_geo.data.bipartite import BipartiteGraph
from iedr_geo.data.columns import tokens
from iedr_geo.data.fingerprint import Fingerprint, sides_of
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
        fingerprints: Those of the users, items and contexts that the lists number
            (default: they are not known, and not checked).
    """

    user: Tensor
    context: Tensor
    item: Tensor
    target: Tensor
    list_index: Tensor
    fingerprints: Mapping[str, Fingerprint | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.user.numel()

    @classmethod
    def from_labels(
        cls,
        dataset: InteractionDataset,
        list_id: pd.Series | np.ndarray | Sequence[Any] | None = None,
    ) -> CandidateLists:
        """Makes lists of the rows of a dataset with labels.

        The lists are on the CPU, in the order of their first rows. In a list without a
        positive there is nothing to be found: its metrics are missing, the means leave it
        out, and only :obj:`Evaluation.over_all_lists` and the AUC count it.

        Args:
            dataset: The candidates. Those with the label 1 are to be found.
            list_id: The list of each row, a column of numbers or text. By default, a list
                has all rows with the same user and context.

        Example:
            >>> candidates = InteractionDataset.from_pandas(
            ...     table, users, items, train.schema, label='clicked'
            ... )
            >>> lists = CandidateLists.from_labels(candidates, table['query'])
            >>> evaluate_candidates(model, candidates, lists)

        Raises:
            ValueError: If the dataset has no rows or no labels, if there are more or
                fewer list ids than rows, if one is missing, or if a list is of two users
                or two contexts.
        """
        check_type(dataset, 'dataset', InteractionDataset)
        dataset = dataset.to('cpu')
        if dataset.y is None:
            raise ValueError(
                'The dataset has no labels to say what is to be found: name their '
                "column, as in from_pandas(..., label='clicked')"
            )
        if len(dataset) == 0:
            raise ValueError('There is no row to make a list of')
        if list_id is None:
            pair = dataset.user * dataset.num_contexts + dataset.context
            codes, names = pd.factorize(pair.numpy())
        else:
            codes, texts = tokens(pd.Series(list_id), '`list_id`')
            names = np.array(texts)
        if len(codes) != len(dataset):
            raise ValueError(
                f'`list_id` must name the list of each of the {len(dataset)} rows (got '
                f'{len(codes)})'
            )
        if (codes < 0).any():
            raise ValueError(f'Row {int(np.argmax(codes < 0))} has no list id')
        index = torch.from_numpy(codes).long()
        first = torch.from_numpy(np.unique(codes, return_index=True)[1])
        for side in ('user', 'context'):
            ids = getattr(dataset, side)
            wrong = ids != ids[first][index]
            if wrong.any():
                row = int(wrong.nonzero()[0])
                raise ValueError(
                    f"List '{names[codes[row]]}' is of two {side}s: rows "
                    f'{int(first[index[row]])} and {row} differ'
                )
        return cls(
            user=dataset.user[first],
            context=dataset.context[first],
            item=dataset.item,
            target=dataset.y.long(),
            list_index=index,
            fingerprints=sides_of(dataset),
        )

    @classmethod
    def sample(
        cls,
        dataset: InteractionDataset,
        num_negatives: int = 99,
        seed: int = 0,
        seen: Sequence[InteractionDataset] | None = None,
    ) -> CandidateLists:
        """Makes a list of each positive row: its item, and negatives drawn uniformly from
        the catalogue of the rows.

        The lists are on the CPU and the same on every device.

        Args:
            dataset: The rows. Those with the label 0 make no list.
            num_negatives: The number of negatives of each.
            seed: The seed of the draw.
            seen: Datasets, *e.g.*, training and validation rows, whose items are no
                negatives of their users. Without any, all items but the row's own are.
        """
        check_type(dataset, 'dataset', InteractionDataset)
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
            fingerprints=sides_of(dataset),
        )
