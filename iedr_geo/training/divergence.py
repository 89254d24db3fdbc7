"""Losses that are not finite any more, or grow beyond all measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from iedr_geo.data.warning import warn_caller

CHECKED = 50  # Steps on a device after which the host looks: it has to wait for it.
GROWTH = 1e3  # Times the value at the start, or 1, beyond which a term explodes.
NEVER = torch.iinfo(torch.long).max
ADVICE = (
    'try a lower `learning_rate`, `gradient_clip_val` in fit, or a lower weight of the '
    'term; of a bound on mutual information, which has no lower limit, more '
    '`estimator_steps`'
)


class DivergenceError(RuntimeError):
    """A term of the loss is not finite."""


class Divergence:
    """Watches the terms of the loss."""

    def __init__(self) -> None:
        self.warned = False

    def begin(self, epoch: int, best: int) -> None:
        """Begins an epoch.

        Args:
            epoch: The epoch, counted from 0.
            best: The best epoch before it.
        """
        self.epoch, self.best, self.step = epoch, best, 0
        self.terms: dict[str, Tensor] = {}
        self.first: dict[tuple[str, ...], Tensor] = {}

    def note(self, terms: Mapping[str, Tensor]) -> None:
        """Takes the terms of a step, and checks them as often as that is cheap.

        Raises:
            DivergenceError: If one was not finite since the last check.
        """
        # Of several, the sum is not the one to be named.
        names = tuple(sorted(terms, key='loss'.__eq__))
        step, self.step = self.step, self.step + 1
        self.terms = {name: terms[name].detach() for name in names} | self.terms
        device = terms['loss'].device
        if device.type == 'cpu':
            for name in names:
                if not math.isfinite(terms[name].detach()):
                    self._fail(name, step)
            return
        if names not in self.first:  # Not every step has to have every term.
            self.first[names] = torch.full((len(names),), NEVER, device=device)
        values = [terms[name].detach().reshape(()).to(device) for name in names]
        finite, first = torch.stack(values).isfinite(), self.first[names]
        first.masked_fill_(~finite & (first == NEVER), step)
        if self.step % CHECKED == 0:
            self.check()

    def check(self) -> None:
        """Raises an error if a term was not finite on a device."""
        steps = [
            (step, name)
            for names, first in self.first.items()
            for name, step in zip(names, first.tolist(), strict=True)
        ]
        step, name = min(steps, key=lambda pair: pair[0], default=(NEVER, ''))
        if step != NEVER:
            self._fail(name, step)

    def _fail(self, name: str, step: int) -> None:
        kept = 'There is no complete epoch whose model could be kept'
        if self.epoch:
            kept = (
                f'The best model so far, of epoch {self.best}, is kept: fit(..., '
                f'resume=True, max_epochs={self.epoch}) returns it'
            )
        raise DivergenceError(
            f"The term '{name}' of the loss was not finite in step {step} of epoch "
            f'{self.epoch}: {ADVICE}. {kept}'
        )

    def compare(
        self, means: Mapping[str, float], history: Sequence[Mapping[str, float]]
    ) -> None:
        """Warns of the first term that has exploded, once.

        Args:
            means: The mean of each term over the epoch.
            history: All epochs with this one.
        """
        for name, term in self.terms.items():
            before = [epoch[name] for epoch in history[:-1] if name in epoch]
            start = before[0] if before else float(term)
            if abs(means[name]) > GROWTH * max(1.0, abs(start)) and not self.warned:
                self.warned = True
                warn_caller(
                    f"The term '{name}' of the loss has gone from {start:.3g} to "
                    f'{means[name]:.3g} in epoch {self.epoch}: {ADVICE}'
                )
