"""Recommendation of items that a user had before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from iedr_geo.nn.models.context_popularity import ContextPopularity, PairCounts
from iedr_geo.nn.models.popularity import CountedModel, Popularity, positive_rows

if TYPE_CHECKING:
    from typing_extensions import Self

    from iedr_geo.data import BipartiteGraph, InteractionDataset


class Repeat(CountedModel):
    r"""Recommends what a user had before, the most often had first, then what is popular:
    *GP-TopFreq* of the `"A Next Basket Recommendation Reality Check"
    <https://arxiv.org/abs/2109.14233>`_ paper, in contexts.

    .. math::
        s_{u,i,c} = n_{u,i} + \frac{r_{c,i}}{1 + R}

    Here, :math:`r_{c,i}` is the rank of the score of
    :class:`~iedr_geo.nn.ContextPopularity` among the :math:`R` different ones that there
    are, 1 for the lowest. It adds less than one, orders items that tie, and decides alone
    for users who have no rows or are unknown (:obj:`-1`). In a context that has no rows
    or is unknown, it goes by :class:`~iedr_geo.nn.Popularity`, and always where the model
    was fitted to a graph. An unknown item ranks with those that nobody had, or else below
    all.

    Ranks, because a share of a share would soon be too small to tell items apart. The
    order is exact where :math:`n_{u,i} \, (1 + R) < 2^{52}`: always for up to
    :math:`2^{25}` rows.

    Args:
        num_items (int): The number of items.
        contexts (bool, optional): If :obj:`True`, items are popular in a context, else
            overall. (default: :obj:`True`)
    """

    arguments = ('num_items', 'contexts')
    reads = ('user', 'item', 'context')
    levels: Tensor
    popularity: Popularity | ContextPopularity

    def __init__(self, num_items: int, contexts: bool = True) -> None:
        super().__init__(num_items)
        self.contexts = contexts
        self.pairs = PairCounts(num_items)
        self.popularity = (ContextPopularity if contexts else Popularity)(num_items)
        self.register_buffer('levels', torch.empty(0, dtype=torch.long))

    @classmethod
    def _fit(cls, train: InteractionDataset | BipartiteGraph) -> Self:
        model = cls(train.num_items, contexts=hasattr(train, 'context'))
        rows = positive_rows(train)
        model.pairs.fit(train.user[rows], train.item[rows])
        model.popularity = type(model.popularity).fit(train)
        model.levels = torch.unique(model.popularity.tallies())
        return model

    def _scores(self, user: Tensor, item: Tensor, context: Tensor) -> Tensor:
        tally = self.popularity.tally(item, context).contiguous()
        rank = torch.searchsorted(self.levels, tally, right=True)
        return self.pairs(user, item) + rank.double() / (self.levels.numel() + 1)
