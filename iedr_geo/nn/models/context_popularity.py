"""Popularity in a context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from iedr_geo.nn.models.popularity import CountedModel, Popularity, positive_rows

if TYPE_CHECKING:
    from typing_extensions import Self

    from iedr_geo.data import BipartiteGraph, InteractionDataset


class PairCounts(torch.nn.Module):
    """The counts of pairs of ids. Only pairs that do are kept, in order.

    Args:
        num_right: The number of ids that the second of a pair can be.
    """

    key: Tensor
    count: Tensor

    def __init__(self, num_right: int) -> None:
        super().__init__()
        self.num_right = num_right
        self.register_buffer('key', torch.empty(0, dtype=torch.long))
        self.register_buffer('count', torch.empty(0, dtype=torch.long))

    @property
    def right(self) -> Tensor:
        """The second id of each pair."""
        return self.key % self.num_right

    def fit(self, left: Tensor, right: Tensor) -> None:
        """Counts.

        Args:
            left: The first id of each pair, of shape :math:`(R)`.
            right: The second, of shape :math:`(R)`.
        """
        key = left.long() * self.num_right + right
        self.key, self.count = torch.unique(key, return_counts=True)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Returns the counts of pairs: none if an id is unknown (:obj:`-1`).

        Args:
            left: First ids, of any shape.
            right: Second ids, of a shape that broadcasts with it.
        """
        key = torch.where(right < 0, -1, left.long() * self.num_right + right)
        if not self.key.numel():
            return torch.zeros_like(key)
        index = torch.searchsorted(self.key, key.contiguous())
        index = index.clamp(max=self.key.numel() - 1)
        return torch.where(self.key[index] == key, self.count[index], 0)


class ContextPopularity(CountedModel):
    r"""Recommends what is popular in a context: an item's score is how often it was had
    in exactly this one.

    .. math::
        s_{u,i,c} = n_{c,i} + \frac{n_i}{1 + \sum_j n_j}

    Overall popularity adds less than one. It orders items that tie, and decides alone in
    a context that has no rows or is unknown (:obj:`-1`). An unknown item has score 0.

    The order is exact where :math:`n_{c,i} \, (1 + \sum_j n_j) < 2^{52}`: always for up
    to :math:`2^{26}` rows, and with more unless most are of one context and item.

    Args:
        num_items (int): The number of items.
    """

    reads = ('item', 'context')

    def __init__(self, num_items: int) -> None:
        super().__init__(num_items)
        self.popularity = Popularity(num_items)
        self.pairs = PairCounts(num_items)

    @classmethod
    def _fit(cls, train: InteractionDataset | BipartiteGraph) -> Self:
        if not hasattr(train, 'context'):
            raise ValueError(
                f'A {type(train).__name__} has no contexts to count in: '
                f'{cls.__name__} needs an InteractionDataset. Popularity takes both'
            )
        model = cls(train.num_items)
        model.popularity = Popularity.fit(train)
        rows = positive_rows(train)
        model.pairs.fit(train.context[rows], train.item[rows])
        return model

    @property
    def _unit(self) -> Tensor:
        """The weight of one more in the context, where one more in all counts one."""
        return self.popularity.count.sum() + 1

    def tally(self, item: Tensor, context: Tensor) -> Tensor:
        """Returns integers in the order of the scores.

        Args:
            item: Items, of any shape.
            context: Contexts, of a shape that broadcasts with it.
        """
        return self.pairs(context, item) * self._unit + self.popularity.tally(
            item, context
        )

    def tallies(self) -> Tensor:
        """Returns all that :meth:`tally` can be but for zero, in any order."""
        count = self.popularity.count
        here = self.pairs.count * self._unit + count[self.pairs.right]
        return torch.cat([count, here])

    def _scores(self, user: Tensor, item: Tensor, context: Tensor) -> Tensor:
        return self.tally(item, context).double() / self._unit
