"""Items of known concepts and attributes, had by users who care for a few of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from iedr_geo.data import (
    BipartiteGraph,
    StrongGeneralisationSplit,
    strong_generalisation_split,
)
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

_REACH = 0.35  # How far from the preferred value an attribute still pleases.
_DECLINE = 0.6  # The weight of an attribute in that of the one before.
_CONCENTRATION = 0.3  # Of the Dirichlet distribution: few concepts to a user.
_STRAY = 0.02  # The share of a user's care that goes to all concepts alike.


class ConceptScores(NamedTuple):
    """The scores by whose sum items were drawn, of the shape of users and items."""

    concept: Tensor
    attributes: Tensor
    appeal: Tensor


class PlantedConcepts:
    r"""Items drawn from known concepts, and within these from known attributes.

    An item belongs to one concept :math:`k_i` and has attributes :math:`a_i \in [0,
    1]^A`. A user cares for few concepts, by shares :math:`c_u` of a sparse Dirichlet
    distribution, and prefers other values :math:`p_{uk} \in [0, 1]^A` in each,

    .. math::
        s_{ui} = w_\text{concept} \ln c_{u k_i} + w_\text{attribute} \sum_j 0.6^{j - 1}
        \exp \left( -\frac{(a_{ij} - p_{u k_i j})^2}{2 r^2} \right) + q_i,

    with :math:`r = 0.35` and an appeal to all, :math:`q_i`, that is exponentially
    distributed with its tail cut. Each attribute weighs less than the one before: were
    they alike, nothing in the data would tell their axes from any others. The items of a
    user are drawn one after the other, without replacement, by the softmax of
    :math:`s_{ui}` over the items that are left. Concepts, attributes and preferences are
    independent of each other.

    :obj:`graph` holds the edges; :obj:`concept` (of shape :math:`(I)`),
    :obj:`attributes` (:math:`(I, A)`), :obj:`appeal` (:math:`(I)`), :obj:`user_concepts`
    (:math:`(U, K)`) and :obj:`preferences` (:math:`(U, K, A)`) hold what they were drawn
    from.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        num_interactions: The number of edges: at least 8 for each user, and no user has
            more than half of the items. Few users are very active.
        num_concepts: The number of concepts :math:`K`, of as many items each.
        num_attributes: The number of attributes :math:`A`.
        seed: The seed of the data.
        concept_weight: How much a user keeps to the own concepts. By default, clusters of
            the items that users share are the concepts; at 0.5, they no longer are.
        attribute_weight: The scale of the attributes; 0 removes them.
        appeal_weight: The scale of the appeal; 0 removes it.
        shared_preferences: If :obj:`True`, a user prefers the same values in all
            concepts, so that attributes say nothing of concepts.
        max_cells: The bound on the entries of a temporary matrix.

    Raises:
        ValueError: If an argument is out of its range.
    """

    def __init__(
        self,
        num_users: int = 2000,
        num_items: int = 600,
        num_interactions: int = 120_000,
        num_concepts: int = 5,
        num_attributes: int = 2,
        seed: int = 0,
        *,
        concept_weight: float = 2.0,
        attribute_weight: float = 4.0,
        appeal_weight: float = 1.0,
        shared_preferences: bool = False,
        max_cells: int = MAX_CELLS,
    ) -> None:
        most = num_items // 2
        check_ranges(
            num_users=(num_users, 1, math.inf),
            num_items=(num_items, 2 * MIN_RECORDS, math.inf),
            num_interactions=(
                num_interactions,
                MIN_RECORDS * num_users,
                most * num_users,
            ),
            num_concepts=(num_concepts, 1, num_items),
            num_attributes=(num_attributes, 1, math.inf),
            seed=(seed, 0, math.inf),
            concept_weight=(concept_weight, 0, math.inf),
            attribute_weight=(attribute_weight, 0, math.inf),
            appeal_weight=(appeal_weight, 0, math.inf),
        )
        rng = np.random.default_rng(seed)
        self.seed, self.concept_weight = seed, concept_weight
        self.attribute_weights = attribute_weight * _DECLINE ** np.arange(num_attributes)
        self.concept: Ints = rng.permutation(np.arange(num_items) % num_concepts)
        self.attributes: Floats = rng.random((num_items, num_attributes))
        self.appeal = draw_popularity(rng, num_items, appeal_weight)
        care = rng.dirichlet(np.full(num_concepts, _CONCENTRATION), num_users)
        self.user_concepts: Floats = (1 - _STRAY) * care + _STRAY / num_concepts
        size = num_users, num_concepts, num_attributes
        drawn = rng.random((num_users, 1, num_attributes) if shared_preferences else size)
        self.preferences: Floats = np.broadcast_to(drawn, size)
        count = draw_counts(rng, num_users, num_interactions, most)
        user, item = draw_distinct(rng, self._scores, count, num_items, max_cells)
        self.graph = BipartiteGraph(
            torch.from_numpy(user), torch.from_numpy(item), num_users, num_items
        )

    def _scores(self, user: Ints, item: Ints) -> tuple[Floats, ...]:
        """Returns the three scores, broadcast over users and items."""
        concept = self.concept[item]
        care = self.concept_weight * np.log(self.user_concepts[user, concept])
        pleasure = np.zeros_like(care)
        for number, weight in enumerate(self.attribute_weights):
            preferred = self.preferences[user, concept, number]
            away = self.attributes[item, number] - preferred
            pleasure += weight * np.exp(away**2 / (-2 * _REACH**2))
        return care, pleasure, np.broadcast_to(self.appeal[item], care.shape)

    def true_scores(self, user: Tensor, item: Tensor) -> ConceptScores:
        """Returns the true scores of users for items, in double precision, on the CPU.

        Args:
            user: Users, of any shape.
            item: Items, of a shape that broadcasts with it.
        """
        scores = self._scores(user.cpu().numpy(), item.cpu().numpy())
        return ConceptScores(*(torch.from_numpy(np.array(score)) for score in scores))

    def split(self, num_held_out: int = 200, **kwargs: Any) -> StrongGeneralisationSplit:
        """Splits the edges by :func:`~iedr_geo.data.strong_generalisation_split`.

        The ids of the parts are the numbers of :obj:`graph`: an item of theirs is of the
        concept :obj:`concept[train.item_ids]`.

        Args:
            num_held_out: The number of validation users, and of test users.
            **kwargs: Its other arguments (default: the seed of the data).
        """
        return strong_generalisation_split(
            self.graph, num_held_out, **{'seed': self.seed, **kwargs}
        )
