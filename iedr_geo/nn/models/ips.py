"""Inverse propensity scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from iedr_geo.nn.loss import bpr_loss
from iedr_geo.nn.models.bipartite import BipartiteModel
from iedr_geo.nn.models.over_backbone import (
    OverBackbone,
    check_popularity,
    check_same_popularity,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from iedr_geo.data import BipartiteGraph
    from iedr_geo.loader import EdgeBatch

WEIGHTINGS = ('plain', 'c', 'cn', 'cnsr')


class IPSLosses(NamedTuple):
    """The weighted ranking loss and the loss that is minimised."""

    ranking: Tensor
    total: Tensor


class IPS(OverBackbone):
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

    arguments = ('weighting', 'exponent')
    item_weight: Tensor

    def __init__(
        self,
        backbone: BipartiteModel,
        popularity: Tensor,
        weighting: str = 'cn',
        exponent: float = 0.5,
    ) -> None:
        super().__init__(backbone)
        if weighting not in WEIGHTINGS:
            raise ValueError(
                f"`weighting` is one of {', '.join(WEIGHTINGS)} (got '{weighting}')"
            )
        check_popularity(popularity, self.num_items)
        self.weighting, self.exponent = weighting, exponent
        self.register_buffer('item_weight', self._weight(popularity))

    def _weight(self, popularity: Tensor) -> Tensor:
        """Returns the weight of each item."""
        popularity = popularity.double().clamp(min=1)
        weight = popularity.max() / popularity
        if self.weighting != 'plain':
            weight = weight.clamp(max=float(weight.quantile(0.5)))
        if self.weighting == 'cnsr':
            weight = weight**self.exponent
        if self.weighting in ('cn', 'cnsr'):
            weight = weight / weight.max()
        return weight.float()

    def check_graph(self, graph: BipartiteGraph) -> None:
        """Raises an error if backbone or popularity are of another graph."""
        super().check_graph(graph)
        weights = map(self._weight, (graph.popularity, graph.item_degree))
        check_same_popularity(self, self.item_weight, *weights)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """Makes a model that a state, which has the weights, can be loaded into."""
        popularity = torch.ones_like(state['item_weight'])
        return super().from_config({**config, 'popularity': popularity}, state)

    def losses(self, batch: EdgeBatch) -> IPSLosses:
        """Returns the pairwise ranking loss, each positive weighted, and the total, which
        has the extra losses of the backbone in it.

        Args:
            batch: Edges with negatives.
        """
        score = self.score(batch.user.unsqueeze(1), batch.candidates)
        weight = self.item_weight[batch.item]
        ranking = bpr_loss(score[:, 0], score[:, 1:], weight)
        extra = self.extra_losses(batch)
        return IPSLosses(ranking, ranking + sum(extra.values()))
