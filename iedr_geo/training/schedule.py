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
    """What decides on the learning rate of an epoch, by the history of the run alone."""

    def rates(self, base: float, values: Sequence[float | None]) -> list[float]:
        """Returns the rate of each epoch so far, and of the next.

        Args:
            base: The rate of the first epoch.
            values: The metric that decides after each epoch, where there is one.
        """

    def is_final(self, rate: float) -> bool:
        """Returns whether an epoch at this rate counts as one without gain."""


@dataclass(frozen=True)
class CosineRate:
    """Lets the learning rate fall to zero along half a cosine, epoch by epoch.

    Args:
        epochs: The number of epochs until then.
    """

    epochs: int

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f'`epochs` must be at least 1 (got {self.epochs})')

    def rates(self, base: float, values: Sequence[float | None]) -> list[float]:
        """Returns the rate of each epoch so far, and of the next."""
        shares = (min(epoch / self.epochs, 1) for epoch in range(len(values) + 1))
        return [base * (1 + math.cos(math.pi * share)) / 2 for share in shares]

    def is_final(self, rate: float) -> bool:
        """Returns that every epoch counts."""
        return True


@dataclass(frozen=True)
class PlateauRate:
    """Divides the learning rate by ten where the metric that decides has not improved.

    Epochs without gain count, for stopping, only once it is at its lowest.

    Args:
        patience: The number of epochs without improvement that are waited for.
        minimum: The lowest learning rate.
    """

    patience: int = 5
    minimum: float = 1e-4

    def rates(self, base: float, values: Sequence[float | None]) -> list[float]:
        """Returns the rate of each epoch so far, and of the next."""
        optimizer = SGD([torch.zeros(1)], lr=base)
        schedule = ReduceLROnPlateau(
            optimizer, 'max', patience=self.patience, min_lr=self.minimum, eps=0
        )
        rates = [base]
        for value in values:
            if value is not None:
                schedule.step(value)
            rates.append(optimizer.param_groups[0]['lr'])
        return rates

    def is_final(self, rate: float) -> bool:
        """Returns whether the rate is at its lowest."""
        return rate <= self.minimum
