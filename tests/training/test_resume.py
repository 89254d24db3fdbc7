"""A run that stopped at any moment goes on, and equals one that did not."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from optuna_integration import PyTorchLightningPruningCallback
from training_runs import (
    assert_same_result,
    assert_same_run,
    clicks_module,
    load,
    make_module,
    run,
    run_or_die,
    script,
)

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.loader import Curriculum
from iedr_geo.training import PlateauRate

EPOCHS = 5
ARGUMENTS = {  # With these, all randomness of an epoch is at stake.
    'rows': {
        'negatives': UniformNegativeSampler(2, resample=True),
        'model': {'dropout': 0.5},
        'schedule': PlateauRate(0),
    },
    'dice-lightgcn': {'curriculum': Curriculum(0.99, 'step')},
    'macrid': {},
}


def callbacks(monitor: str, **kwargs) -> dict[str, list]:
    """Lightning's early stopping and optuna's pruning."""
    trial = optuna.create_study(pruner=optuna.pruners.NopPruner()).ask()
    stopping = EarlyStopping(monitor, mode='max', **{'patience': 9, **kwargs})
    return {'callbacks': [PyTorchLightningPruningCallback(trial, monitor), stopping]}


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize(
    ('kind', 'first', 'workers'),
    [
        ('rows', 1, {}),
        ('rows', 2, {'num_workers': 2}),
        ('dice-lightgcn', 2, {}),
        ('macrid', 2, {}),
    ],
)
def test_resumed_equals_uninterrupted(tmp_path, kind, first, workers):
    """Workers change nothing: they begin with the epoch that comes next."""

    def go(folder: str, max_epochs: int, **kwargs):
        module = make_module(kind, **ARGUMENTS[kind] | kwargs)
        if folder == 'moved':  # The new process is in another state.
            torch.nn.init.zeros_(next(module.model.parameters()))
            torch.rand(7)
        arguments = callbacks(module.monitor) | {'resume': True}
        return run(module, tmp_path / folder, max_epochs=max_epochs, **arguments)

    whole = go('whole', 4)
    go('parts', first, **workers)
    (tmp_path / 'parts').rename(tmp_path / 'moved')
    result = go('moved', 4, **workers)
    assert_same_run(tmp_path / 'moved', tmp_path / 'whole')
    assert_same_result(result, whole)
    assert_same_result(go('whole', 4), whole)  # Nothing is left to do.
    assert not (tmp_path / 'parts').exists()


def test_stopped_run_does_not_go_on(tmp_path):
    """A run that stopped early has come to its end; more patience takes it further."""
    values = [0.1, 0.3, 0.2, 0.2, 0.25, 0.1, 0.1]

    def go(folder, patience, done=0):
        module = clicks_module('dice', schedule=PlateauRate(2, minimum=0.1))
        script(module, *values[done:])
        arguments = {'max_epochs': 7, 'resume': True, 'patience': patience}
        return run(module, tmp_path / folder, **arguments)

    whole = go('run', 2)
    assert len(whole.history) == 4 and whole.best_epoch == 1
    assert_same_result(go('run', 2, done=4), whole)
    assert len(go('run', 4, done=4).history) == 6
    go('patient', 4)
    assert_same_run(tmp_path / 'run', tmp_path / 'patient')


@pytest.mark.parametrize(
    ('stopping', 'epochs'),
    [
        ({'patience': 2}, 4),
        ({'stopping_threshold': 0.05}, 1),
        ({'check_finite': True}, 6),
    ],
    ids=str,
)
def test_what_early_stopping_has_ended_does_not_go_on(tmp_path, stopping, epochs):
    values = [0.1, 0.3, 0.2, 0.2, 0.25, float('nan'), 0.1]
    # The second time nothing is left to do. Without the callback, the run goes on.
    for done, total in ((0, epochs), (epochs, epochs), (epochs, 7)):
        module = clicks_module()
        script(module, *values[done:])
        arguments = callbacks('recall@20', **stopping) if total == epochs else {}
        result = run(module, tmp_path, max_epochs=7, resume=True, **arguments)
        assert len(result.history) == total


@pytest.fixture(scope='module')
def forks():
    """Runs in a process forked from one that has imported everything, to its end."""
    if 'forkserver' not in multiprocessing.get_all_start_methods():
        pytest.skip('needs a system that can fork')
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['training_runs'])

    def end(folder: Path, kill=None, seconds: float | None = None) -> int | None:
        process = context.Process(target=run_or_die, args=(folder, EPOCHS, kill))
        process.start()
        process.join(seconds)
        process.kill()  # If that was before its end.
        process.join()
        return process.exitcode

    helpers = Path(run_or_die.__code__.co_filename).parent
    with pytest.MonkeyPatch.context() as patch:  # Of the process that forks.
        patch.setenv('PYTHONPATH', f'{helpers.parents[1]}{os.pathsep}{helpers}')
        yield end


@pytest.fixture(scope='module')
def uninterrupted(forks, tmp_path_factory) -> Path:
    """The folder of a run."""
    folder = tmp_path_factory.mktemp('uninterrupted')
    assert forks(folder) == 0
    return folder


# An epoch saves once and renames twice if it is the best so far, else once.
@pytest.mark.parametrize(
    'kill',
    [
        ('training_step', 30),  # In the middle of the third epoch.
        ('save', 3),
        ('copyfile', 2),
        ('replace', 1),
        *[pytest.param(('replace', n), marks=pytest.mark.full) for n in (2, 3, 4)],
    ],
    ids=str,
)
def test_killed_at(forks, uninterrupted, tmp_path, kill):
    assert forks(tmp_path, kill) == -signal.SIGKILL
    for path in tmp_path.glob('*.ckpt'):
        load(tmp_path, path.stem)  # What is there can be read.
    assert forks(tmp_path) == 0
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.parametrize('seed', [0, *[pytest.param(1, marks=pytest.mark.slow)]])
def test_killed_at_any_moment(forks, uninterrupted, tmp_path, seed):
    """Again and again, until one run comes to its end."""
    moments = np.random.default_rng(seed).uniform(0.2, 1.5, 40 if seed else 2)
    for i, moment in enumerate(moments):
        folder = tmp_path / str(i // 4)  # Some are killed several times.
        assert forks(folder, seconds=moment) in (0, -signal.SIGKILL)
        for path in folder.glob('*.ckpt'):
            load(folder, path.stem)
        if i % 4 == 3 or i == len(moments) - 1:
            assert forks(folder) == 0
            assert_same_run(folder, uninterrupted)
