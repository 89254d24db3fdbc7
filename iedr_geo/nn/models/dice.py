"""DICE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.loss import DistanceCorrelation, InverseL1, InverseL2
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

DISCREPANCIES = {'dcor': DistanceCorrelation, 'l1': InverseL1, 'l2': InverseL2}


class DICELosses(NamedTuple):
    """The terms of DICE's loss, before weighting, and their weighted sum."""

    click: Tensor
    interest: Tensor
    conformity: Tensor
    discrepancy: Tensor
    total: Tensor


class DICE(OverBackbone):
    r"""The model from the `"Disentangling User Interest and Conformity for Recommendation
    with Causal Embedding" <https://doi.org/10.1145/3442381.3449788>`_ paper.

    The vectors of any backbone are split in halves: interest and conformity. A click on
    an item is due to one or the other. Where the negative is the more popular of the two
    (:math:`O_2`), interest has outdone conformity; where it is not (:math:`O_1`),
    conformity is what is known to have helped. With :math:`d^I` and :math:`d^C` the
    positive's lead in either half, and :math:`m = 1` in :math:`O_2`, else 0, the loss is

    .. math::
        - \overline{\ln \sigma(d^I + d^C)}
        - \alpha \left( \overline{m \ln \sigma(d^I)} + \overline{m \ln \sigma(-d^C)}
        + \overline{(1 - m) \ln \sigma(d^C)} \right)
        + \beta \left( D(\text{users}) + D(\text{items}) \right),

    with means over all negatives (Equations (6) to (10)), and :math:`D` how far from
    independent the halves of the distinct users and items of the batch are.

    .. note::
        In :math:`O_2` the arguments of the conformity term are swapped, as in the
        authors' code: the minus sign of Equation (6) has no lower bound.

    Args:
        backbone (BipartiteModel): Maps ids to vectors of an even size, *e.g.*,
            :class:`MF` or :class:`LightGCN`.
        popularity (torch.Tensor): The popularity of each item, of shape :math:`(I)`.
        alpha (float, optional): The weight :math:`\alpha`, which the curriculum of each
            batch multiplies. (default: :obj:`0.1`)
        beta (float, optional): The weight :math:`\beta`. (default: :obj:`0.01`)
        discrepancy (str, optional): :math:`D`: :obj:`"dcor"`, the distance correlation,
            :obj:`"l1"` or :obj:`"l2"`. (default: :obj:`"dcor"`)
        max_rows (int, optional): The largest number of distinct users, or items, that
            :math:`D` is taken of: the first of a random order. Its memory grows with the
            square. (default: :obj:`4096`)
    """

    arguments = ('alpha', 'beta', 'discrepancy', 'max_rows')
    why_zero: ClassVar = {
        'interest': 'no negative was more popular than its positive, as where margin or '
        'pool of the sampler are too large for the data'
    }
    popularity: Tensor

    def __init__(
        self,
        backbone: BipartiteModel,
        popularity: Tensor,
        alpha: float = 0.1,
        beta: float = 0.01,
        discrepancy: str = 'dcor',
        max_rows: int = 4096,
    ) -> None:
        super().__init__(backbone)
        if discrepancy not in DISCREPANCIES:
            raise ValueError(
                f'`discrepancy` is one of {", ".join(DISCREPANCIES)} (got '
                f"'{discrepancy}')"
            )
        if backbone.channels % 2:
            raise ValueError(
                f'The vectors of the backbone must split in halves (got '
                f'{backbone.channels} channels)'
            )
        check_popularity(popularity, self.num_items)
        self.alpha, self.beta, self.max_rows = alpha, beta, max_rows
        self.discrepancy = discrepancy
        self.dependence = DISCREPANCIES[discrepancy]()
        self.register_buffer('popularity', popularity.clone())

    @classmethod
    def from_config(cls, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """Makes a model that a state, which has the popularity, can be loaded into."""
        return super().from_config({**config, 'popularity': state['popularity']}, state)

    def check_graph(self, graph: BipartiteGraph) -> None:
        """Raises an error if backbone or popularity are of another graph."""
        super().check_graph(graph)
        counts = graph.popularity, graph.item_degree
        check_same_popularity(self, self.popularity, *counts)

    @property
    def factor_columns(self) -> dict[str, slice]:
        """The columns of interest and of conformity."""
        half = self.channels // 2
        return {'interest': slice(0, half), 'conformity': slice(half, self.channels)}

    def losses(self, batch: EdgeBatch) -> DICELosses:
        """Returns the four terms of the loss, and the total, which has the extra losses
        of the backbone in it.
        """
        # Each distinct user and item is looked up once.
        users, user_row = torch.unique(batch.user, return_inverse=True)
        items, item_row = torch.unique(batch.candidates, return_inverse=True)
        user, item = self(users, items)
        product = F.embedding(user_row, user).unsqueeze(1) * F.embedding(item_row, item)
        score = product.unflatten(-1, (2, -1)).sum(dim=-1)
        lead_interest, lead_conformity = (score[:, :1] - score[:, 1:]).unbind(dim=-1)
        popularity = self.popularity[batch.candidates]
        more_popular = (popularity[:, 1:] > popularity[:, :1]).to(score.dtype)
        click = -F.logsigmoid(lead_interest + lead_conformity).mean()
        interest = -(more_popular * F.logsigmoid(lead_interest)).mean()
        # One logarithm for both cases: the mask turns the sign of the lead.
        conformity = -F.logsigmoid((1 - 2 * more_popular) * lead_conformity).mean()
        if self.alpha == 0:  # They are for looking at.
            interest, conformity = interest.detach(), conformity.detach()
        total = click + self.alpha * batch.curriculum * (interest + conformity)
        discrepancy = click.new_zeros(())
        if self.beta != 0:
            discrepancy = self._discrepancy(user) + self._discrepancy(item)
            total = total + self.beta * discrepancy
        total = total + sum(self.extra_losses(batch).values())
        return DICELosses(click, interest, conformity, discrepancy, total)

    def _discrepancy(self, vectors: Tensor) -> Tensor:
        if len(vectors) > self.max_rows:
            rows = torch.randperm(len(vectors), device=vectors.device)[: self.max_rows]
            vectors = vectors[rows]
        loss: Tensor = self.dependence(*vectors.chunk(2, dim=1))
        return loss
