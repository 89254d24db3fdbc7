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

import pandas as pd
import pytest
import torch

from iedr_geo.data import UniformNegativeSampler

EPOCHS = 5


@pytest.fixture
def assert_same_run(without_times):
    """Compares the folders of two runs: weights, optimizers, progress and history."""

    def compare(one, two, place=''):
        assert type(one) is type(two), place
        if isinstance(one, dict):
            assert list(one) == list(two), place
            for key in one:
                compare(one[key], two[key], f'{place}/{key}')
        elif isinstance(one, (list, tuple)):
            assert len(one) == len(two), place
            for i, pair in enumerate(zip(one, two, strict=True)):
                compare(*pair, f'{place}/{i}')
        elif torch.is_tensor(one):
            assert torch.equal(one, two), place
        else:
            assert one == two, place

    def assert_same_run(one: Path, two: Path) -> None:
        names = sorted(path.name for path in one.iterdir())
        assert names == ['best.ckpt', 'last.ckpt', 'metrics.csv']
        for name in ('last', 'best'):
            checkpoints = [
                torch.load(folder / f'{name}.ckpt', weights_only=True)
                for folder in (one, two)
            ]
            for checkpoint in checkpoints:
                checkpoint['history'] = without_times(checkpoint['history'])
                assert set(checkpoint) >= {'state_dict', 'optimizer_states', 'loops'}
            compare(*(dict(checkpoint) for checkpoint in checkpoints))
        tables = [
            pd.read_csv(folder / 'metrics.csv').drop(
                columns=['seconds', 'training_seconds']
            )
            for folder in (one, two)
        ]
        pd.testing.assert_frame_equal(*tables, check_exact=True)

    return assert_same_run


@pytest.mark.parametrize('first', [1, 2, 3])
def test_resumed_equals_uninterrupted(
    make_module, run, tmp_path, assert_same_run, assert_same_state, without_times, first
):
    whole = run(make_module(), tmp_path / 'whole', max_epochs=4)
    run(make_module(), tmp_path / 'parts', max_epochs=first)
    torch.rand(7)  # The new process is in another state.
    module = make_module()
    torch.nn.init.zeros_(module.model.embedding.weight)
    result = run(module, tmp_path / 'parts', max_epochs=4, resume=True)
    assert_same_run(tmp_path / 'parts', tmp_path / 'whole')
    assert_same_state(result.model.state_dict(), whole.model.state_dict())
    assert without_times(result.history) == without_times(whole.history)
    assert result.best_epoch == whole.best_epoch


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
@pytest.mark.parametrize('workers', [0, 2])
def test_resumed_with_dropout_fresh_negatives_and_workers(
    make_module, run, tmp_path, assert_same_run, workers
):
    """The order, the negatives and the dropout of an epoch are its own."""
    arguments = {
        'num_workers': workers,
        'negatives': UniformNegativeSampler(2, resample=True),
        'model': {'dropout': 0.5},
    }
    run(make_module(**arguments | {'num_workers': 0}), tmp_path / 'whole', max_epochs=3)
    run(make_module(**arguments), tmp_path / 'parts', max_epochs=2)
    run(make_module(**arguments), tmp_path / 'parts', max_epochs=3, resume=True)
    assert_same_run(tmp_path / 'parts', tmp_path / 'whole')


def test_stopped_run_does_not_go_on(
    make_module, run, tmp_path, assert_same_run, assert_same_state
):
    """A run that stopped early has come to its end; more patience takes it further."""
    arguments = {'max_epochs': 20, 'patience': 2}
    module = make_module(learning_rate=0.05)
    whole = run(module, tmp_path / 'run', **arguments)
    assert len(whole.history) == whole.best_epoch + 3 < 20
    shutil.copytree(tmp_path / 'run', tmp_path / 'copy')
    again = run(
        make_module(learning_rate=0.05), tmp_path / 'copy', resume=True, **arguments
    )
    assert again.history == whole.history
    assert_same_state(again.model.state_dict(), whole.model.state_dict())
    assert_same_run(tmp_path / 'copy', tmp_path / 'run')
    arguments['patience'] = 4
    more = run(
        make_module(learning_rate=0.05), tmp_path / 'copy', resume=True, **arguments
    )
    assert len(more.history) > len(whole.history)
    run(make_module(learning_rate=0.05), tmp_path / 'patient', **arguments)
    assert_same_run(tmp_path / 'copy', tmp_path / 'patient')


def test_finished_run_is_read_again(make_module, run, tmp_path, assert_same_state):
    whole = run(make_module(), tmp_path, max_epochs=2)
    again = run(make_module(), tmp_path, max_epochs=2, resume=True)
    assert again.history == whole.history
    assert_same_state(again.model.state_dict(), whole.model.state_dict())


def test_nothing_to_resume(make_module, run, tmp_path, assert_same_run):
    run(make_module(), tmp_path / 'one', max_epochs=1)
    run(make_module(), tmp_path / 'two', max_epochs=1, resume=True)
    assert_same_run(tmp_path / 'one', tmp_path / 'two')


def test_folder_may_move(make_module, run, tmp_path, assert_same_run):
    """The best epoch so far counts, wherever the folder was."""
    arguments = {'learning_rate': 0.05}
    whole = run(make_module(**arguments), tmp_path / 'whole', max_epochs=7)
    cut = whole.best_epoch + 1
    assert cut < 7
    run(make_module(**arguments), tmp_path / 'old', max_epochs=cut)
    (tmp_path / 'old').rename(tmp_path / 'new')
    run(make_module(**arguments), tmp_path / 'new', max_epochs=7, resume=True)
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
        ('training_step', 1),
        ('training_step', 20),  # In the middle of the third epoch.
        ('save_checkpoint', 1),
        ('save_checkpoint', 3),
        ('copyfile', 1),
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
    """Eight times at random moments. Where a run has come to its end, another begins."""
    whole, seconds = uninterrupted
    moments, runs, killed = random.Random(0), 1, 0
    for _ in range(8):
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
