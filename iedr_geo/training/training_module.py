"""What a module must have to be trained by :func:`fit`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule


class TrainingModule(LightningModule, ABC):
    """A module whose history alone decides what comes next.

    It appends the losses and validation metrics of each epoch to :obj:`history`, which
    checkpoints hold, so that a resumed run decides as if it had never stopped.

    Args:
        model: What is trained.
    """

    monitor: str | None
    """The validation metric that decides by default: the higher, the better. Without
    one, the last epoch is the best."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self.history: list[dict[str, float]] = []

    @property
    @abstractmethod
    def monitors(self) -> list[str]:
        """The names of the validation metrics."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What a run depends on besides its data; a checkpoint fits no other."""

    def best_epoch(self, monitor: str | None) -> int:
        """Returns the epoch with the best value of a metric, the earliest if several."""
        last = len(self.history) - 1
        if monitor is None:
            return last
        return max(range(last + 1), key=lambda epoch: self.history[epoch][monitor])

    def epochs_without_gain(self, monitor: str | None) -> int:
        """Returns for how many epochs now nothing has improved."""
        return len(self.history) - 1 - self.best_epoch(monitor)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the history and the settings."""
        checkpoint['history'] = self.history
        checkpoint['settings'] = self.settings

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the history up."""
        self.history = cast(list[dict[str, float]], checkpoint['history'])
