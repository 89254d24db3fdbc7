"""A factor that shrinks in the course of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Curriculum:
    r"""A factor that is 1 at the beginning of a run and shrinks as it goes on.

    The margin of a :class:`~iedr_geo.data.PopularityMarginSampler` is multiplied by it,
    and so are terms of a model's loss that go by the :obj:`curriculum` of a batch.

    Args:
        decay: The number by which it is multiplied after each epoch or step; 1 for a
            constant.
        every: :obj:`'epoch'` or, for small data, :obj:`'step'`.
    """

    decay: float = 1.0
    every: str = 'epoch'

    def __post_init__(self) -> None:
        if not 0 < self.decay <= 1:
            raise ValueError(f'`decay` must be above 0 and at most 1 (got {self.decay})')
        if self.every not in ('epoch', 'step'):
            raise ValueError(f"`every` is 'epoch' or 'step' (got '{self.every}')")

    def at(self, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Returns the factor at a step of an epoch, both counted from 0."""
        past = epoch * steps_per_epoch + step if self.every == 'step' else epoch
        return self.decay**past
