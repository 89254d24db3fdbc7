"""Matrix factorisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn import Embedding

from iedr_geo.nn.models.bipartite import BipartiteModel, Vectors

if TYPE_CHECKING:
    from iedr_geo.loader import EdgeBatch


class MF(BipartiteModel):
    r"""Matrix factorisation trained by pairwise ranking, from the `"BPR: Bayesian
    Personalized Ranking from Implicit Feedback" <https://arxiv.org/abs/1205.2618>`_
    paper.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        channels (int, optional): Size of the vectors. (default: :obj:`128`)
        bound (float, optional): Vectors are drawn from
            :math:`\mathcal{U}(-\text{bound}, \text{bound})` at first. If :obj:`None`,
            :math:`1 / \sqrt{\text{channels}}`. (default: :obj:`None`)
        std (float, optional): If given, they are drawn from
            :math:`\mathcal{N}(0, \text{std}^2)`. (default: :obj:`None`)
        l2 (float, optional): Weight of half the squared norms of the embeddings of each
            edge and its negatives, averaged over the batch. (default: :obj:`0`)
    """

    arguments: ClassVar[tuple[str, ...]] = (
        'num_users',
        'num_items',
        'channels',
        'bound',
        'std',
        'l2',
    )

    def __init__(
        self,
        num_users: int,
        num_items: int,
        channels: int = 128,
        bound: float | None = None,
        std: float | None = None,
        l2: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_users, self.num_items, self.channels = num_users, num_items, channels
        self.bound, self.std, self.l2 = bound, std, l2
        self.user = Embedding(num_users, channels)
        self.item = Embedding(num_items, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        for table in (self.user, self.item):
            if self.std is not None:
                torch.nn.init.normal_(table.weight, std=self.std)
            else:
                bound = 1 / math.sqrt(self.channels) if self.bound is None else self.bound
                torch.nn.init.uniform_(table.weight, -bound, bound)

    def forward(self, user: Tensor, item: Tensor) -> Vectors:
        """Returns the vectors of users and items."""
        return self.user(user), self.item(item)

    def extra_losses(self, batch: EdgeBatch, encoded: None = None) -> dict[str, Tensor]:
        """Returns the weighted half squared norms, averaged over the batch."""
        if self.l2 == 0:
            return {}
        user, item = self.user(batch.user), self.item(batch.candidates)
        squares = user.square().sum() + item.square().sum()
        return {'regularization': self.l2 / 2 * squares / batch.user.numel()}

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'channels={self.channels})'
        )
