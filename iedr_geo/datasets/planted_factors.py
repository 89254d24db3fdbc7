"""Planted-factor data as a dataset."""

from __future__ import annotations

from typing import Any

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureSchema,
    MultiCategorical,
)
from iedr_geo.datasets.planted import CONTEXTS, plant
from iedr_geo.datasets.planted_log import PlantedLog


def planted_schema() -> FeatureSchema:
    """Returns the fields of the tables of :func:`plant`, not fitted yet."""
    return FeatureSchema(
        user=[
            Categorical(name) for name in ('user', 'age_group', 'occupation', 'household')
        ],
        item=[
            Categorical('item'),
            Categorical('category'),
            MultiCategorical('tags'),
            Bucketized('price', num_buckets=8),
        ],
        context=[Categorical(name) for name in CONTEXTS],
    )


class PlantedFactors(PlantedLog):
    r"""Interactions drawn from known intrinsic and extrinsic factors.

    Users have tastes that are the same in every context; four interacting context fields
    call for kinds of items, differently for each segment of users. Features tell of the
    factors with noise. The tables and the true factors are in :obj:`planted`; see
    :func:`plant` for how they are drawn.

    Args:
        num_users: The number of users.
        num_items: The number of items.
        num_interactions: The number of interactions, at least 8 for each user.
        seed: The seed of the data.
        **kwargs: Further arguments of :func:`plant`.
    """

    def __init__(
        self,
        num_users: int = 500,
        num_items: int = 300,
        num_interactions: int = 20_000,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        planted = plant(num_users, num_items, num_interactions, seed, **kwargs)
        super().__init__(planted, planted_schema())
