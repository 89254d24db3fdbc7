"""One run, one folder: who may use it, how a run ends, and what is left behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from lightning.pytorch import Callback
from training_runs import assert_same_run, clicks_module, files, load, run, script


class At(Callback):
    """Does something in the second step of an epoch."""

    def __init__(self, epoch: int, action: Callable[[], object]) -> None:
        self.epoch, self.action = epoch, action

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == (self.epoch, 1):
            self.action()


def test_two_runs_in_one_folder(tmp_path):
    """The second one is refused, also if it may overwrite, and the first one goes on."""

    def second() -> None:
        for arguments in ({'overwrite': True}, {'resume': True}, {}):
            message = rf'run is in use by another run, process {os.getpid()} on .*: wait'
            with pytest.raises(RuntimeError, match=message):
                run(clicks_module(), tmp_path / 'run', max_epochs=1, **arguments)

    one = {'max_epochs': 2, 'callbacks': At(1, second)}
    run(clicks_module(), tmp_path / 'run', **one)
    run(clicks_module(), tmp_path / 'alone', max_epochs=2)
    assert_same_run(tmp_path / 'run', tmp_path / 'alone')
    run(clicks_module(), tmp_path / 'run', max_epochs=3, resume=True)


def test_what_is_loaded_is_of_this_run(tmp_path):
    run(clicks_module(learning_rate=0.1), tmp_path / 'other', max_epochs=1)

    def exchange() -> None:
        shutil.copy(tmp_path / 'other' / 'best.ckpt', tmp_path / 'run' / 'best.ckpt')

    module = clicks_module()
    script(module, 0.3, 0.2)
    with pytest.raises(RuntimeError, match=r'best\.ckpt is not of this run'):
        run(module, tmp_path / 'run', max_epochs=2, callbacks=At(1, exchange))


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ('action', 'error', 'message'),
    [
        (interrupt, KeyboardInterrupt, '^$'),
        (
            lambda: os.kill(os.getpid(), signal.SIGTERM),
            SystemExit,
            r'Told to end \(SIGTERM\) after {} complete epochs: .* resume=True.* in {}',
        ),
    ],
)
@pytest.mark.parametrize('epochs', [0, 1])
def test_told_to_end(tmp_path, action, error, message, epochs):
    """As other programs do, with a status that is not 0; the run can go on, also where it
    was to overwrite another one.
    """
    run(clicks_module(learning_rate=0.1), tmp_path / 'run', max_epochs=2)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    arguments = {'max_epochs': 3, 'overwrite': True, 'callbacks': At(epochs, action)}
    with pytest.raises(error, match=message.format(epochs, tmp_path)) as raised:
        run(clicks_module(), tmp_path / 'run', **arguments)
    assert getattr(raised.value, 'code', 1) not in (0, None)
    assert handlers == [
        signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)
    ]
    assert files(tmp_path / 'run') == ['best.ckpt', 'last.ckpt', 'metrics.csv'] * epochs
    run(clicks_module(), tmp_path / 'run', max_epochs=3, resume=True)
    run(clicks_module(), tmp_path / 'alone', max_epochs=3)
    assert_same_run(tmp_path / 'run', tmp_path / 'alone')


def test_full_disk(tmp_path):
    """The file is named, the last epoch that was saved stands, and nothing is half."""
    run(clicks_module(), tmp_path, max_epochs=1)
    before = load(tmp_path)
    small = (tmp_path / 'last.ckpt').stat().st_size // 2
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (small, limits[1]))
    try:
        with pytest.raises(OSError, match=rf'Cannot write {tmp_path}/\w+\.ckpt: '):
            run(clicks_module(), tmp_path, max_epochs=2, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load(tmp_path)['history'] == before['history']
    assert files(tmp_path) == ['best.ckpt', 'last.ckpt', 'metrics.csv']
    run(clicks_module(), tmp_path, max_epochs=2, resume=True)


def test_everything_is_written_in_the_folder(tmp_path, monkeypatch):
    system = tmp_path / 'system'
    system.mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(system))
    written: list[Path] = []
    monkeypatch.setattr(os, 'replace', spy(os.replace, written))
    run(clicks_module(), tmp_path / 'run', max_epochs=1)
    assert not list(system.iterdir())
    assert {path.parent for path in written} == {tmp_path / 'run'}


def spy(function: Callable, calls: list) -> Callable:
    def wrapped(*args):
        calls.append(Path(args[0]))
        return function(*args)

    return wrapped


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'max_epochs': 0}, r'`max_epochs` must be at least 1 \(got 0\)'),
        ({'precision': 'bf16-true'}, "pass precision='bf16-mixed'"),
        ({'precision': '16-true'}, "pass precision='16-mixed'"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(clicks_module(), tmp_path / 'run', **arguments)
    assert not (tmp_path / 'run').exists()
