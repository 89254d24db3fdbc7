"""Models around another one that maps users and items to vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from iedr_geo.nn.models.bipartite import BipartiteModel, Vectors
from iedr_geo.nn.models.rebuild import describe, rebuild_part

if TYPE_CHECKING:
    from typing_extensions import Self

    from iedr_geo.data import BipartiteGraph
    from iedr_geo.loader import EdgeBatch


class OverBackbone(BipartiteModel):
    """Base class of models that have the vectors of another one, their backbone.

    Args:
        backbone (BipartiteModel): The model.

    Raises:
        ValueError: If the backbone has losses that would be left out.
    """

    def __init__(self, backbone: BipartiteModel) -> None:
        super().__init__()
        if hasattr(backbone, 'losses'):
            raise ValueError(
                f'{type(backbone).__name__} has losses of its own, which '
                f'{type(self).__name__} would leave out: it is no backbone'
            )
        self.backbone = backbone
        self.num_users, self.num_items = backbone.num_users, backbone.num_items
        self.channels = backbone.channels

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        self.backbone.reset_parameters()  # type: ignore[operator]

    @property
    def config(self) -> dict[str, Any] | None:
        """The constructor's arguments; nothing if the backbone cannot be described."""
        backbone = describe(self.backbone)
        arguments = {name: getattr(self, name) for name in self.arguments}
        return None if backbone is None else {'backbone': backbone, **arguments}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """Makes a model that a state can be loaded into."""
        backbone = rebuild_part(config['backbone'], state, 'backbone')
        return cls(**{**config, 'backbone': backbone})

    def check_graph(self, graph: BipartiteGraph) -> None:
        """Raises an error if the backbone was made of another graph."""
        self.backbone.check_graph(graph)

    def forward(self, user: Tensor, item: Tensor) -> Vectors:
        """Returns the vectors of the backbone."""
        users, items = self.backbone(user, item)
        return users, items

    def extra_losses(self, batch: EdgeBatch, encoded: None = None) -> dict[str, Tensor]:
        """Returns those of the backbone."""
        return self.backbone.extra_losses(batch)


def check_popularity(popularity: Tensor, num_items: int) -> None:
    """Raises an error if there is not one popularity for each item."""
    if popularity.shape != (num_items,):
        raise ValueError(
            f'`popularity` must be of shape ({num_items}) (got {tuple(popularity.shape)})'
        )


def check_same_popularity(model: OverBackbone, kept: Tensor, *wanted: Tensor) -> None:
    """Raises an error if what a model keeps of a popularity is none of what is wanted."""
    if not any(torch.equal(kept, own.to(kept)) for own in wanted):
        raise ValueError(
            f'{type(model).__name__} was made with another popularity than that of the '
            f'training graph: pass it `train.popularity`'
        )
