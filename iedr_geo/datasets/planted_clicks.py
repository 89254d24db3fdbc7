"""Clicks with known interest and conformity, drawn by a known rule."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InterventionSplit, intervened_split
from iedr_geo.datasets.planted import nearness
from iedr_geo.datasets.planting import (
    MAX_CELLS,
    MIN_RECORDS,
    Floats,
    Ints,
    check_ranges,
    draw_counts,
    draw_distinct,
    draw_popularity,
)


class ClickScores(NamedTuple):
    """The scores by whose sum items were clicked, of the shape of users and items."""

    interest: Tensor
    conformity: Tensor


class PlantedClicks:
    r"""Clicks drawn from known interest and conformity.

    Interest is a matter of distance in a plane: the nearer an item to the nearer of the
    user's two anchors, the more it interests,

    .. math::
        s_{ui} = w_\text{interest} \exp \left( -\frac{\min_k \lVert a_{uk} - p_i \rVert^2}
        {2 r^2} \right) + w_\text{conformity} \, h_u q_i,

    and conformity the product of how much the user heeds others, :math:`h_u \geq 0`, and
    the item's appeal to all, :math:`q_i`, exponentially distributed with its tail cut: a
    few items are very popular. The clicks of a user are drawn one after the other,
    without replacement, by the softmax of :math:`s_{ui}` over the items that are left.
    Nothing here multiplies embeddings, so a model that recovers the factors has not been
    handed its own form.

    :obj:`graph` holds the clicks; :obj:`anchors` (of shape :math:`(2, U, 2)`),
    :obj:`position`, :obj:`sensitivity` and :obj:`appeal` hold what they were drawn from.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        num_clicks: The number of clicks: at least 8 for each user, and no user clicks
            more than half of the items. Few users are very active.
        seed: The seed of the data.
        interest_weight: The interest in an item that lies on an anchor; 0 removes it.
        conformity_weight: The scale of conformity; 0 removes it. By default, a tenth of
            the items have about half of the clicks.
        max_cells: The bound on the entries of a temporary matrix.
    """

    def __init__(
        self,
        num_users: int = 1000,
        num_items: int = 500,
        num_clicks: int = 40_000,
        seed: int = 0,
        *,
        interest_weight: float = 6.0,
        conformity_weight: float = 2.2,
        max_cells: int = MAX_CELLS,
    ) -> None:
        most = num_items // 2
        check_ranges(
            num_users=(num_users, 1, math.inf),
            num_items=(num_items, 2 * MIN_RECORDS, math.inf),
            num_clicks=(num_clicks, MIN_RECORDS * num_users, most * num_users),
            seed=(seed, 0, math.inf),
            interest_weight=(interest_weight, 0, math.inf),
            conformity_weight=(conformity_weight, 0, math.inf),
        )
        rng = np.random.default_rng(seed)
        self.seed = seed
        self.interest_weight, self.conformity_weight = interest_weight, conformity_weight
        self.anchors: Floats = rng.random((2, num_users, 2))
        self.position: Floats = rng.random((num_items, 2))
        self.sensitivity: Floats = rng.gamma(4.0, 0.25, num_users)
        self.appeal = draw_popularity(rng, num_items, 1.0)
        count = draw_counts(rng, num_users, num_clicks, most)
        user, item = draw_distinct(rng, self._scores, count, num_items, max_cells)
        self.graph = BipartiteGraph(
            torch.from_numpy(user), torch.from_numpy(item), num_users, num_items
        )

    def _scores(self, user: Ints, item: Ints) -> tuple[Floats, Floats]:
        """Returns interest and conformity, broadcast over users and items."""
        interest = nearness(self.anchors[:, user], self.position[item])
        conformity = self.sensitivity[user] * self.appeal[item]
        return self.interest_weight * interest, self.conformity_weight * conformity

    def true_scores(self, user: Tensor, item: Tensor) -> ClickScores:
        """Returns the true scores of users for items, in double precision, on the CPU.

        Args:
            user: Users, of any shape.
            item: Items, of a shape that broadcasts with it.
        """
        scores = self._scores(user.cpu().numpy(), item.cpu().numpy())
        return ClickScores(*map(torch.as_tensor, scores))

    def split(self, **kwargs: Any) -> InterventionSplit:
        """Splits the clicks by :func:`~iedr_geo.data.intervened_split`.

        Args:
            **kwargs: Its arguments (default: the seed of the data).
        """
        return intervened_split(self.graph, **{'seed': self.seed, **kwargs})
