"""What all models that map users and items to vectors have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from iedr_geo.loader import EdgeBatch

Vectors: TypeAlias = tuple[Tensor, Tensor]


def check_backbone(model: torch.nn.Module, backbone: torch.nn.Module) -> None:
    """Raises an error if a backbone has losses that the model around it leaves out."""
    if hasattr(backbone, 'losses'):
        raise ValueError(
            f'{type(backbone).__name__} has losses of its own, which '
            f'{type(model).__name__} would leave out: it is no backbone'
        )


class BipartiteModel(torch.nn.Module, ABC):
    r"""Maps ids of users and items to vectors, whose inner product is the score.

    Subclasses define :meth:`forward`, have :obj:`num_users`, :obj:`num_items` and
    :obj:`channels`, the size of the vectors. They may define :obj:`losses(batch)`, a
    named tuple of terms whose :obj:`total` is minimised in the place of an objective.
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
    def config(self) -> dict[str, Any] | None:
        """The constructor's arguments, for JSON, but for tensors and models."""

    @classmethod
    def from_config(
        cls, config: dict[str, Any], state: Mapping[str, Tensor]
    ) -> BipartiteModel:
        """Makes a model that a state can be loaded into.

        Args:
            config: What :obj:`config` was.
            state: What :meth:`state_dict` returned.
        """
        return cls(**config)

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
            user: Users, of any shape.
            item: Items, of a shape that broadcasts with it.
        """
        return torch.einsum('...f,...f->...', *self(user, item))

    def extra_losses(self, batch: EdgeBatch, encoded: None = None) -> dict[str, Tensor]:
        """Returns what is added to the loss of the prediction, by name: nothing."""
        return {}
