"""Losses that are not finite, or explode."""

from __future__ import annotations

from math import inf, nan
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from training_runs import CLICKS, METRICS, SIZE, run

from iedr_geo.nn import MF
from iedr_geo.training import BipartiteModule, DivergenceError
from iedr_geo.training.divergence import Divergence


class Losses(NamedTuple):
    ranking: Tensor
    extra: Tensor
    total: Tensor


class Scripted(MF):
    """One of its terms is not finite, or large, from a step on."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(*SIZE, 4)
        self.at, self.value, self.step = step, value, 0

    def losses(self, batch) -> Losses:
        ranking = self.score(batch.user, batch.item).square().mean()
        extra = ranking * (self.value if self.step >= self.at else 1.0)
        self.step += self.training
        return Losses(ranking, extra, ranking + extra)


class Fewer(NamedTuple):
    ranking: Tensor
    total: Tensor


class Late(Scripted):
    """Has one of its terms, as a vector of one number, in every other step of later
    epochs.
    """

    def losses(self, batch) -> Losses | Fewer:
        losses = super().losses(batch)
        if self.step > STEPS and self.step % 2:
            return losses._replace(extra=losses.extra.view(1))
        return Fewer(losses.ranking, losses.ranking)


def module(step: int, value: float, model=Scripted, **kwargs) -> BipartiteModule:
    torch.manual_seed(0)
    arguments = {'batch_size': 256, 'metrics': METRICS, 'monitor': 'recall@20'}
    return BipartiteModule(
        model(step, value), CLICKS.train, CLICKS.valid, **arguments | kwargs
    )


STEPS = -(-CLICKS.train.num_edges // 256)


@pytest.mark.parametrize('value', [nan, inf])
@pytest.mark.parametrize('valid', [True, False])
def test_what_is_not_finite_ends_the_run(tmp_path, value, valid):
    """Step and term are named, and the best model stays, with and without validation."""
    one = module(2 * STEPS + 1, value)
    if not valid:
        one.rankings = one.monitor = None
    message = "The term 'extra' .* in step 1 of epoch 2: .* max_epochs=2"
    with pytest.raises(DivergenceError, match=message):
        run(one, tmp_path / 'run', max_epochs=5)
    again = module(9 * STEPS, value)
    if not valid:
        again.rankings = again.monitor = None
    kept = run(again, tmp_path / 'run', max_epochs=2, resume=True)
    assert len(kept.history) == 2
    assert all(torch.isfinite(table).all() for table in kept.model.state_dict().values())


def test_a_device_is_asked_now_and_then(device):
    """It keeps the first step and term; of one step, the sum is not the one named."""
    watch = Divergence()
    watch.begin(2, 0)
    message = "The term 'extra' .* in step 3 of epoch 2"
    steps = [(1.0, 1.0)] * 3 + [(nan, nan)] + [(nan, 1.0)] * 45
    with pytest.raises(DivergenceError, match=message):
        for i, values in enumerate(steps):
            terms = zip(('loss', 'extra'), values, strict=True)
            watch.note({name: torch.tensor(v, device=device) for name, v in terms})
            assert i < 3 or device.type == 'cuda'
        watch.check()


def test_nothing_is_left_of_a_first_epoch(tmp_path):
    with pytest.raises(DivergenceError, match=r'step 1 of epoch 0.* no complete epoch'):
        run(module(1, nan), tmp_path, max_epochs=2)
    assert not list(tmp_path.glob('*.ckpt'))


def test_terms_that_not_every_step_has(tmp_path):
    with pytest.raises(DivergenceError, match=r"'extra' .* of epoch 2: .* max_epochs=2"):
        run(module(2 * STEPS, float('nan'), Late), tmp_path, max_epochs=3)


@pytest.mark.parametrize(('step', 'epoch'), [(1, 0), (STEPS, 1)])
def test_explosions_are_warned_of_once(tmp_path, recwarn, step, epoch):
    run(module(step, 1e6, learning_rate=1e-4), tmp_path / 'run', max_epochs=3)
    texts = [str(warning.message) for warning in recwarn if 'of the loss' in str(warning)]
    [text] = texts
    assert f'in epoch {epoch}: try a lower `learning_rate`' in text
    assert "The term 'extra' of the loss has gone from 0.0" in text
