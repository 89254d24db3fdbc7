"""A log with planted factors as a dataset."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from iedr_geo.data import FeatureSchema, InteractionDataset
from iedr_geo.datasets.planting import PlantedTables
from iedr_geo.datasets.split_log import SplitLog


class TrueScores(NamedTuple):
    """The scores by which items were drawn, each of shape :math:`(B)`."""

    intrinsic: Tensor
    extrinsic: Tensor
    popularity: Tensor


class PlantedLog(SplitLog):
    """A log of repeated use that was drawn from known factors.

    Args:
        planted: The tables and the truth behind them.
        schema: The fields of the tables.
    """

    def __init__(self, planted: PlantedTables, schema: FeatureSchema) -> None:
        self.planted = planted
        dataset = InteractionDataset.from_pandas(
            planted.interactions,
            planted.users,
            planted.items,
            schema,
            time='time',
            exclude_seen=False,
        )
        self.__dict__.update(dataset.__dict__)

    def true_scores(self, user: Tensor, item: Tensor, context: Tensor) -> TrueScores:
        """Returns the true scores of users, items and contexts of the dataset.

        Args:
            user: Users, of shape :math:`(B)`.
            item: Items, of shape :math:`(B)`.
            context: Contexts, of shape :math:`(B)`.
        """
        users, items = user.cpu().numpy(), item.cpu().numpy()
        contexts = self.context_frame.iloc[context.cpu().numpy()]
        return TrueScores(
            torch.from_numpy(self.planted.intrinsic_scores(users, items)),
            torch.from_numpy(self.planted.extrinsic_scores(users, items, contexts)),
            torch.from_numpy(self.planted.popularity[items]),
        )
