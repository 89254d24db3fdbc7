"""The queue of runs and the choice of a recipe, with runs that take no time."""

import json
import runpy
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from scripts import ROOT

BENCHMARKS = ROOT / 'benchmarks'


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Runs that leave their learning rate as the NDCG of the validation lists, or fail if
    it is zero; and the commands of those that there were.
    """
    monkeypatch.syspath_prepend(BENCHMARKS)
    import run_queue

    commands = []

    def run(command, **_):
        commands.append(command)
        given = dict(pairwise(command))
        rate = float(given.get('--learning_rate', 1))
        content = {'valid': {'ndcg@10': rate}}
        path = Path(given['--json'])
        path.parent.mkdir(parents=True, exist_ok=True)
        if rate > 0:
            path.write_text(json.dumps(content))
        return subprocess.CompletedProcess(command, int(rate == 0))

    monkeypatch.setattr(run_queue.subprocess, 'run', run)
    monkeypatch.setattr(run_queue, 'HERE', tmp_path / 'benchmarks')
    monkeypatch.setattr(run_queue, 'RESULTS', tmp_path / 'results')
    return run_queue, commands


def test_runs_what_has_no_result(queue, tmp_path, capsys):
    run_queue, commands = queue
    for folder in ('frappe', 'cars'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'runs' / 'stopped').mkdir(parents=True)
    (tmp_path / 'runs' / 'stopped' / 'last.ckpt').touch()
    args = type('Args', (), {'data': tmp_path})
    for name, flags in {
        'one': 'dice.py --dataset planted',
        'stopped': 'iedr.py --dataset frappe',
        'survey': 'iedr.py --dataset depaul',
        'fails': 'iedr.py --dataset planted --learning_rate 0',
    }.items():
        for _ in range(2):
            run_queue.start(name, flags, args)
    ran = [Path(c[c.index('--json') + 1]).stem for c in commands]
    assert ran == ['one', 'stopped', 'survey', 'fails', 'fails']
    scripts = [Path(command[1]).name for command in commands[:2]]
    assert scripts == ['dice.py', 'iedr.py']
    assert '--resume' in commands[1] and '--overwrite' not in commands[1]
    for command, folder in zip(commands[1:], ('frappe', 'cars'), strict=False):
        assert command[command.index('--root') + 1] == str(tmp_path / folder)
    assert '--root' not in commands[0] and '--overwrite' in commands[0]
    assert (
        f'fails failed: see {tmp_path / "runs" / "fails.log"}' in capsys.readouterr().out
    )


def test_names_of_runs(queue):
    run_queue, _ = queue
    for name, words in run_queue.RUNS.items():
        script, *flags = words.split()
        given = dict(pairwise(flags))
        assert (BENCHMARKS / script).exists()
        assert name.split('/')[1].startswith(given['--dataset'])
        assert name.endswith(f'-{given["--seed"]}')
    for script in ('macridvae.py', 'sdrl.py'):
        assert any(words.startswith(script) for words in run_queue.RUNS.values())


def test_halving_keeps_the_best(queue, monkeypatch, capsys):
    _, commands = queue
    arguments = ['--number', '7', '--epochs', '2', '--seed', '3']
    arguments += ['--datasets', 'planted', 'outings']
    monkeypatch.setattr(sys, 'argv', ['study.py', *arguments])
    study = runpy.run_path(str(BENCHMARKS / 'study.py'), run_name='__main__')
    rounds: dict[str, list[float]] = {}
    for command in commands:
        given = dict(pairwise(command))
        assert given['--decay_epochs'] == given['--epochs']
        assert '--valid_only' in command
        positives = int(given['--batch_size']) / (1 + int(given['--negatives']))
        assert positives in study['GRID']['positives']
        if given['--dataset'] == 'outings':
            rounds.setdefault(given['--epochs'], []).append(
                float(given['--learning_rate'])
            )
    assert {epochs: len(rates) for epochs, rates in rounds.items()} == {'2': 7, '4': 2}
    assert sorted(rounds['4']) == sorted(rounds['2'])[-2:]
    assert '4 epochs, the best first' in capsys.readouterr().out
