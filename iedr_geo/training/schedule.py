"""Learning rates that change from epoch to epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau


class RateSchedule(Protocol):
    """The learning rate of each epoch, decided by the history of the run alone."""

    def rate(self, base: float, values: Sequence[float | None]) -> float:
        """Returns the rate of the next epoch.

        Args:
            base: The rate of the first epoch.
            values: The metric that decides after each epoch so far, where there is one.
        """

    def is_final(self, rate: float) -> bool:
        """Returns if an epoch at this rate without a gain counts for stopping."""
        return True


@dataclass(frozen=True)
class CosineRate(RateSchedule):
    """A learning rate that falls to zero along half a cosine, epoch by epoch.

    Args:
        epochs: The number of epochs until then.
    """

    epochs: int

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f'`epochs` must be at least 1 (got {self.epochs})')

    def rate(self, base: float, values: Sequence[float | None]) -> float:
        """Returns the rate of the next epoch."""
        share = min(len(values) / self.epochs, 1)
        return base * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class PlateauRate(RateSchedule):
    """A learning rate that is divided by ten where the metric has not improved.

    It is the metric that decides. Epochs without gain count, for stopping, only once the
    rate is at its lowest.

    Args:
        patience: The number of epochs without improvement that are waited for.
        minimum: The lowest learning rate.
    """

    patience: int = 5
    minimum: float = 1e-4

    def rate(self, base: float, values: Sequence[float | None]) -> float:
        """Returns the rate of the next epoch."""
        optimizer = SGD([torch.zeros(1)], lr=base)
        schedule = ReduceLROnPlateau(
            optimizer, 'max', patience=self.patience, min_lr=self.minimum, eps=0
        )
        for value in values:
            if value is not None:
                schedule.step(value)
        return float(optimizer.param_groups[0]['lr'])

    def is_final(self, rate: float) -> bool:
        """Returns if the rate is at its lowest."""
        return rate <= self.minimum
