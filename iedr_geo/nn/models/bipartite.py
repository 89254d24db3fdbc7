"""What all models of the graph of users and items have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from iedr_geo.nn.loss import bpr_loss

if TYPE_CHECKING:
    from iedr_geo.loader import BipartiteBatch

Vectors: TypeAlias = tuple[Tensor, Tensor]


class RankingLosses(NamedTuple):
    """The ranking loss, the regularisation, and their sum."""

    ranking: Tensor
    regularization: Tensor
    total: Tensor


class BipartiteModel(torch.nn.Module, ABC):
    r"""Maps ids of users and items to vectors, whose inner product is the score.

    Subclasses define :meth:`forward`, have :obj:`num_users`, :obj:`num_items` and
    :obj:`channels`, the size of the vectors, and may define a loss of their own.
    """

    num_users: int
    num_items: int
    channels: int

    @abstractmethod
    def forward(self, user: Tensor, item: Tensor) -> Vectors:
        """Returns the vectors of users and items.

        Args:
            user: Users, of any shape.
            item: Items, of any shape.

        Returns:
            Vectors, with one more dimension of size :obj:`channels` each.
        """

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What tells the model apart from others of its class, for JSON."""

    @property
    def factors(self) -> dict[str, slice]:
        """The columns of the vectors that stand for one cause each, by name."""
        return {}

    def embeddings(self) -> Vectors:
        """Returns the vectors of all users and all items."""
        device = next(self.parameters()).device
        user = torch.arange(self.num_users, device=device)
        return self(user, torch.arange(self.num_items, device=device))

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Returns the scores of pairs.

        Args:
            user: Users, of shape :math:`(B)`.
            item: Items, of shape :math:`(B)`.
        """
        users, items = self(user, item)
        return (users * items).sum(dim=-1)

    def scores(self, batch: BipartiteBatch) -> Vectors:
        """Returns the scores of the positives and of their negatives.

        Args:
            batch: Edges with negatives.

        Returns:
            Scores of shape :math:`(B)` and :math:`(B, K)`.
        """
        items = torch.cat([batch.item.unsqueeze(1), batch.negative], dim=1)
        user, item = self(batch.user, items)
        score = torch.einsum('bf,bkf->bk', user, item)
        return score[:, 0], score[:, 1:]

    def regularization(self, batch: BipartiteBatch) -> Tensor:
        """Returns what is added to the loss to keep the parameters small: nothing."""
        return torch.zeros((), device=batch.user.device)

    def weight_of(self, batch: BipartiteBatch) -> Tensor | None:
        """Returns the weight of each positive: one."""
        return None

    def losses(self, batch: BipartiteBatch) -> NamedTuple:
        """Returns the terms of the loss, and as :obj:`total` what is to be minimised."""
        ranking = bpr_loss(*self.scores(batch), self.weight_of(batch))
        regularization = self.regularization(batch)
        return RankingLosses(ranking, regularization, ranking + regularization)
