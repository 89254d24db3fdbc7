"""Inverse propensity scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from iedr_geo.nn.models.bipartite import BipartiteModel, Vectors

if TYPE_CHECKING:
    from iedr_geo.loader import BipartiteBatch

WEIGHTINGS = ('plain', 'c', 'cn', 'cnsr')


class IPS(BipartiteModel):
    r"""Trains a model on positives weighted by inverse popularity (Section 4.2.1 of
    `Zheng et al. <https://doi.org/10.1145/3442381.3449788>`_).

    The weight of a positive is :math:`w_i = \max_j p_j / p_i`, where :math:`p_i` is the
    popularity of its item (*IPS*), cut at the median of all items' weights (*IPS-C*),
    then divided by the largest (*IPS-CN*), before which *IPS-CNSR* raises it to a power.

    Args:
        backbone (BipartiteModel): The model.
        popularity (torch.Tensor): The popularity of each item, of shape :math:`(I)`.
        weighting (str, optional): :obj:`"plain"`, :obj:`"c"`, :obj:`"cn"` or
            :obj:`"cnsr"`. (default: :obj:`"cn"`)
        exponent (float, optional): The power of *IPS-CNSR*. (default: :obj:`0.5`)
    """

    item_weight: Tensor

    def __init__(
        self,
        backbone: BipartiteModel,
        popularity: Tensor,
        weighting: str = 'cn',
        exponent: float = 0.5,
    ) -> None:
        super().__init__()
        if weighting not in WEIGHTINGS:
            raise ValueError(
                f"`weighting` is one of {', '.join(WEIGHTINGS)} (got '{weighting}')"
            )
        if popularity.shape != (backbone.num_items,):
            raise ValueError(
                f'`popularity` must be of shape ({backbone.num_items}) (got '
                f'{tuple(popularity.shape)})'
            )
        self.backbone, self.weighting, self.exponent = backbone, weighting, exponent
        self.num_users, self.num_items = backbone.num_users, backbone.num_items
        self.channels = backbone.channels
        popularity = popularity.double().clamp(min=1)
        weight = popularity.max() / popularity
        if weighting != 'plain':
            weight = weight.clamp(max=float(weight.quantile(0.5)))
        if weighting == 'cnsr':
            weight = weight**exponent
        if weighting in ('cn', 'cnsr'):
            weight = weight / weight.max()
        self.register_buffer('item_weight', weight.float())

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        self.backbone.reset_parameters()  # type: ignore[operator]

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments, of the backbone its config."""
        return {
            'backbone': self.backbone.config,
            'weighting': self.weighting,
            'exponent': self.exponent,
        }

    def forward(self, user: Tensor, item: Tensor) -> Vectors:
        """Returns the vectors of the backbone."""
        users, items = self.backbone(user, item)
        return users, items

    def regularization(self, batch: BipartiteBatch) -> Tensor:
        """Returns that of the backbone."""
        return self.backbone.regularization(batch)

    def weight_of(self, batch: BipartiteBatch) -> Tensor:
        """Returns the weight of each positive."""
        return self.item_weight[batch.item]
