"""Planted outings as a dataset."""

from __future__ import annotations

from typing import Any

from iedr_geo.data import (
    Bucketized,
    Categorical,
    DateTime,
    FeatureSchema,
    MultiCategorical,
    Numerical,
)
from iedr_geo.datasets.outings import plant_outings
from iedr_geo.datasets.planted_log import PlantedLog


class PlantedOutings(PlantedLog):
    r"""Outings drawn from known intrinsic and extrinsic factors, in contexts of numbers.

    A second world beside :class:`PlantedFactors`, whose rule it does not share: a model
    that was fitted to one has not been fitted to the other. An outing appeals to a user
    by how many ancestors its topic shares, in a tree of topics, with the best of the
    user's interests, less what it costs over the user's budget,

    .. math::
        s^\text{int}_{ui} = w_\text{int} \left( \max_k v_k \,
        \frac{|\text{anc}(t_i) \cap \text{anc}(t_{uk})|}{3} - (c_i - b_u)_+ \right),

    and to a context by how near temperature and hour are to its own, and by the wind over
    what it stands, each as much as the user minds it,

    .. math::
        s^\text{ext}_{uic} = w_\text{ext} \sum_j m_{uj} \left( f_{ij}(c) -
        \mathbb{E}_{c'} [f_{ij}(c')] \right),

    so that the mean over all contexts is zero. Users can tend to contexts of their own,
    repeat what they have done, or do anything at all. The tables and the true factors
    are in :obj:`planted`; :obj:`planted.origin` tells choices, repeats and noise apart.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        num_interactions: The number of interactions, at least 8 for each user.
        seed: The seed of the data.
        **kwargs: :obj:`intrinsic_weight` (default: 7), :obj:`extrinsic_weight` (4) and
            :obj:`popularity_weight` (0.8), the scales of the parts of the scores;
            :obj:`correlation`, how much the contexts that a user is in are the user's own
            (0.5); :obj:`repeat`, the share of interactions that repeat an earlier one of
            the user (0.1), and :obj:`noise`, the share with any item at all (0.05).
    """

    def __init__(
        self,
        num_users: int = 500,
        num_items: int = 300,
        num_interactions: int = 20_000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        schema = FeatureSchema(
            user=[
                Categorical('user'),
                Categorical('region'),
                Bucketized('spending', num_buckets=8),
                MultiCategorical('likes'),
            ],
            item=[
                Categorical('item'),
                Categorical('subject'),
                Categorical('topic'),
                Categorical('season'),
                Numerical('shelter', standardize=True),
                Bucketized('price', num_buckets=8),
            ],
            context=[
                Bucketized('temperature', num_buckets=12),
                Numerical('wind', standardize=True),
                DateTime('time', 'hour'),
            ],
        )
        planted = plant_outings(num_users, num_items, num_interactions, seed, **kwargs)
        super().__init__(planted, schema)
