"""The base class of models that map users and items to vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch
from torch import Tensor

from iedr_geo.nn.models.rebuild import Rebuildable

if TYPE_CHECKING:
    from iedr_geo.data import BipartiteGraph
    from iedr_geo.loader import EdgeBatch

Vectors: TypeAlias = tuple[Tensor, Tensor]


class BipartiteModel(Rebuildable, ABC):
    r"""Maps ids of users and items to vectors, whose inner product is the score.

    Subclasses define :meth:`forward`, have :obj:`num_users`, :obj:`num_items` and
    :obj:`channels`, the size of the vectors. They may define :obj:`losses(batch)`, a
    named tuple of terms whose :obj:`total` is minimised in the place of an objective.
    """

    constants: ClassVar[tuple[str, ...]] = ()
    """Those of :obj:`factor_columns` that are the same for all users and for all items:
    parts of a score, but no factors.
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
    def factor_columns(self) -> dict[str, slice]:
        """The columns of the vectors that stand for one cause each, by name."""
        return {}

    def check_graph(self, graph: BipartiteGraph) -> None:
        """Raises an error if the model was made of another graph than it is to be trained
        on. To be defined where it keeps something of one.
        """

    def embeddings(self) -> Vectors:
        """Returns the vectors of all users and all items."""
        device = next(self.parameters()).device
        user = torch.arange(self.num_users, device=device)
        return self(user, torch.arange(self.num_items, device=device))

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Returns the scores of pairs.

        Args:
            user: Users, of any shape.
            item: Items, of a shape that broadcasts with it.
        """
        return torch.einsum('...f,...f->...', *self(user, item))

    def extra_losses(self, batch: EdgeBatch, encoded: None = None) -> dict[str, Tensor]:
        """Returns what is added to the loss of the prediction, by name: nothing."""
        return {}
