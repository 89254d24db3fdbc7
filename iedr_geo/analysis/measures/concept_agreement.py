"""The agreement of concepts with categories that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor


class ConceptAgreement(NamedTuple):
    """How far the concepts of items are their categories.

    Args:
        nmi: The normalised mutual information, by the mean of both entropies: from 0, of
            concepts that tell nothing, to 1.
        purity: The share of items that are of the most frequent category of their
            concept: from the share of the most frequent category to 1, which as many
            concepts as items would have.
        largest: The share of items that are of the largest concept: near 1 where almost
            all are of the same.
    """

    nmi: float
    purity: float
    largest: float


def concept_agreement(concepts: Tensor, categories: Tensor) -> ConceptAgreement:
    """Compares the concepts of items with their categories, whatever either are called.

    Args:
        concepts: The concept of each item, integers of shape :math:`(I)`, or how far it
            belongs to each, of shape :math:`(I, K)`: then the one of which it is most.
        categories: The category of each item, integers of shape :math:`(I)`.

    Raises:
        ValueError: If there are no items, or not as many of both.
    """
    from sklearn.metrics import normalized_mutual_info_score

    if concepts.dim() == 2:
        concepts = concepts.argmax(dim=1)
    if concepts.dim() != 1 or concepts.shape != categories.shape or not len(concepts):
        raise ValueError(
            f'Each item needs a concept and a category (got shapes '
            f'{tuple(concepts.shape)} and {tuple(categories.shape)})'
        )
    one, two = (
        torch.unique(labels, return_inverse=True)[1].cpu().numpy()
        for labels in (concepts, categories)
    )
    counts = np.zeros((one.max() + 1, two.max() + 1), dtype=int)
    np.add.at(counts, (one, two), 1)
    return ConceptAgreement(
        nmi=float(normalized_mutual_info_score(two, one)),
        purity=float(counts.max(axis=1).sum() / len(one)),
        largest=float(counts.sum(axis=1).max() / len(one)),
    )


def category_numbers(
    categories: Sequence[Any] | Tensor, num_items: int
) -> tuple[Tensor, list[Any]]:
    """Returns the number of the category of each item, and the names of the categories.

    Args:
        categories: The category of each item, :obj:`None` where it has none, which is
            number -1.
        num_items: The number of items.

    Raises:
        ValueError: If there is not one for each item, or all have none.
    """
    if isinstance(categories, Tensor):
        categories = categories.tolist()
    number, names = pd.factorize(pd.Series(categories, dtype=object), sort=False)
    if len(number) != num_items or not len(names):
        raise ValueError(
            f'`categories` must have one for each of the {num_items} items (got '
            f'{len(number)}, {int((number >= 0).sum())} of them known)'
        )
    return torch.from_numpy(number), list(names)
