"""A run that stopped at any moment goes on, and equals one that did not."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from optuna_integration import PyTorchLightningPruningCallback

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.loader import Curriculum
from iedr_geo.training import PlateauRate

EPOCHS = 5


def callbacks(monitor: str, **kwargs) -> list:
    """Lightning's early stopping and optuna's pruning."""
    trial = optuna.create_study(pruner=optuna.pruners.NopPruner()).ask()
    stopping = EarlyStopping(monitor, mode='max', **{'patience': 9, **kwargs})
    return [PyTorchLightningPruningCallback(trial, monitor), stopping]


@pytest.fixture
def make(make_module, make_clicks):
    """Makes a module in which all randomness of an epoch is at stake."""

    def make(kind: str, **kwargs):
        if kind != 'rows':
            curriculum = Curriculum(0.99, 'step')
            return make_clicks(kind, curriculum=curriculum, **kwargs)
        negatives = UniformNegativeSampler(2, resample=True)
        model = {'dropout': 0.5}
        schedule = PlateauRate(0)
        return make_module(negatives=negatives, model=model, schedule=schedule, **kwargs)

    return make


@pytest.mark.parametrize(
    ('kind', 'first'), [('rows', 1), ('rows', 3), ('mf', 2), ('dice-lightgcn', 2)]
)
def test_resumed_equals_uninterrupted(
    make, run, tmp_path, assert_same_run, assert_same_state, without_times, kind, first
):
    monitor = make(kind).monitor
    arguments = {'callbacks': callbacks(monitor)}
    whole = run(make(kind), tmp_path / 'whole', max_epochs=4, **arguments)
    arguments = {'callbacks': callbacks(monitor)}
    run(make(kind), tmp_path / 'parts', max_epochs=first, **arguments)
    torch.rand(7)  # The new process is in another state.
    module = make(kind)
    torch.nn.init.zeros_(next(module.model.parameters()))
    arguments = {'callbacks': callbacks(monitor), 'resume': True}
    result = run(module, tmp_path / 'parts', max_epochs=4, **arguments)
    assert_same_run(tmp_path / 'parts', tmp_path / 'whole')
    assert_same_state(result.model.state_dict(), whole.model.state_dict())
    assert without_times(result.history) == without_times(whole.history)
    assert result.best_epoch == whole.best_epoch


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_workers_change_nothing(make, run, tmp_path, assert_same_run):
    """Nor where a run is resumed: they begin with the epoch that comes next."""
    run(make('rows'), tmp_path / 'whole', max_epochs=3)
    run(make('rows', num_workers=2), tmp_path / 'parts', max_epochs=2)
    run(make('rows', num_workers=2), tmp_path / 'parts', max_epochs=3, resume=True)
    assert_same_run(tmp_path / 'parts', tmp_path / 'whole')


def test_stopped_run_does_not_go_on(
    make_clicks, run, script, tmp_path, assert_same_run, assert_same_state
):
    """A run that stopped early has come to its end; more patience takes it further."""
    values = [0.1, 0.3, 0.2, 0.2, 0.25, 0.1, 0.1]

    def go(folder, patience, done=0):
        module = make_clicks(schedule=PlateauRate(2, minimum=0.1))
        script(module, *values[done:])
        arguments = {'max_epochs': 7, 'resume': True, 'patience': patience}
        return run(module, tmp_path / folder, **arguments)

    whole = go('run', 2)
    assert len(whole.history) == 4 and whole.best_epoch == 1
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    again = go('copy', 2, done=4)
    assert again.history == whole.history
    assert_same_state(again.model.state_dict(), whole.model.state_dict())
    assert_same_run(tmp_path / 'copy', tmp_path / 'run')
    more = go('copy', 4, done=4)
    assert len(more.history) == 6
    go('patient', 4)
    assert_same_run(tmp_path / 'copy', tmp_path / 'patient')


@pytest.mark.parametrize(
    ('stopping', 'epochs'),
    [
        ({'patience': 2}, 4),
        ({'stopping_threshold': 0.05}, 1),
        ({'stopping_threshold': 0.25}, 2),
        ({'check_finite': True}, 6),
    ],
    ids=str,
)
def test_what_early_stopping_has_ended_does_not_go_on(
    make_clicks, run, script, tmp_path, stopping, epochs
):
    values = [0.1, 0.3, 0.2, 0.2, 0.25, float('nan'), 0.1]
    for done in (0, epochs):  # The second time nothing is left to do.
        module = make_clicks()
        script(module, *values[done:])
        arguments = {'callbacks': callbacks('recall@20', **stopping)}
        result = run(module, tmp_path, max_epochs=7, resume=True, **arguments)
        assert len(result.history) == epochs
    # Without it, the run goes on.
    module = make_clicks()
    script(module, *values[epochs:])
    result = run(module, tmp_path, max_epochs=7, resume=True)
    assert len(result.history) == 7


def test_finished_run_is_read_again(make_module, run, tmp_path, assert_same_state):
    """With `resume`, whether there is something to resume or not."""
    whole = run(make_module(), tmp_path, max_epochs=2, resume=True)
    again = run(make_module(), tmp_path, max_epochs=2, resume=True)
    assert again.history == whole.history
    assert_same_state(again.model.state_dict(), whole.model.state_dict())


def test_folder_may_move(make_clicks, run, script, tmp_path, assert_same_run):
    """The best epoch so far counts, wherever the folder was."""
    values = [0.1, 0.3, 0.2, 0.25]
    for folder, done, epochs in (('whole', 0, 4), ('old', 0, 2), ('new', 2, 4)):
        module = make_clicks()
        script(module, *values[done:])
        run(module, tmp_path / folder, max_epochs=epochs, resume=True)
        if folder == 'old':
            (tmp_path / 'old').rename(tmp_path / 'new')
    assert_same_run(tmp_path / 'new', tmp_path / 'whole')
    assert not (tmp_path / 'old').exists()


class Forks:
    """Runs in processes of their own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name('forks.py')],
            cwd=Path(__file__).parents[2],
            env={**os.environ, 'PYTHONPATH': str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == 'ready'

    def start(self, **request) -> int:
        return int(self._answer(json.dumps(request)))

    def end(self) -> int:
        return int(self._answer(''))

    def _answer(self, line: str | None = None) -> str:
        if line is not None:
            self.process.stdin.write(f'{line}\n')
            self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture(scope='module')
def forks() -> Iterator[Forks]:
    if not hasattr(os, 'fork'):
        pytest.skip('needs a system that can fork')
    forks = Forks()
    yield forks
    forks.process.stdin.close()
    assert forks.process.wait(timeout=30) == 0


@pytest.fixture(scope='module')
def uninterrupted(forks, tmp_path_factory) -> tuple[Path, float]:
    """The folder of a run, and how long it took."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    started = time.perf_counter()
    forks.start(folder=str(folder), max_epochs=EPOCHS)
    assert forks.end() == 0
    return folder, time.perf_counter() - started


def check_last(folder: Path) -> None:
    for path in folder.glob('*.ckpt'):
        torch.load(path, weights_only=True)


# An epoch saves once and renames twice if it is the best so far, else once.
@pytest.mark.parametrize(
    ('name', 'call'),
    [
        ('training_step', 30),  # In the middle of the third epoch.
        ('save_checkpoint', 3),
        ('copyfile', 2),
        *[('replace', call) for call in (1, 2, 3, 4)],
    ],
)
def test_killed_at(forks, uninterrupted, tmp_path, assert_same_run, name, call):
    request = {'folder': str(tmp_path), 'max_epochs': EPOCHS}
    forks.start(kill=[name, call], **request)
    assert forks.end() == -signal.SIGKILL
    check_last(tmp_path)
    forks.start(**request)
    assert forks.end() == 0
    assert_same_run(tmp_path, uninterrupted[0])


def test_killed_again_and_again(forks, uninterrupted, tmp_path, assert_same_run):
    """Six times at random moments. Where a run has come to its end, another begins."""
    whole, seconds = uninterrupted
    moments, runs, killed = random.Random(0), 1, 0
    for _ in range(6):
        folder = tmp_path / str(runs)
        child = forks.start(folder=str(folder), max_epochs=EPOCHS)
        time.sleep(seconds * moments.uniform(0.1, 0.7))
        os.kill(child, signal.SIGKILL)
        if forks.end() == 0:
            runs += 1
        else:
            killed += 1
            check_last(folder)
    assert killed > 0
    forks.start(folder=str(folder), max_epochs=EPOCHS)
    assert forks.end() == 0
    for folder in tmp_path.iterdir():
        assert_same_run(folder, whole)
