"""The examples run, and leave what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from iedr_geo.recommend import load_model

EXAMPLES = Path(__file__).parents[1] / 'examples'


def run(name, *args):
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_iedr(tmp_path):
    folder, report = tmp_path / 'run', tmp_path / 'results.json'
    flags = ('--threads', 1, '--quiet', '--run', folder, '--json', report)
    out = run('iedr.py', '--epochs', 1, *flags)
    assert 'oracle' in out and 'popularity' in out
    run('iedr.py', '--epochs', 2, '--resume', *flags)
    content = json.loads(report.read_text())
    assert [epoch['epoch'] for epoch in content['history']] == [0, 1]
    assert set(content['test']) == {'ndcg@5', 'ndcg@10', 'recall@5', 'recall@10', 'auc'}
    assert content['test'].keys() == content['valid'].keys()
    # The test part is read once, after training.
    assert not any('test' in key for epoch in content['history'] for key in epoch)
    assert content['baselines']['oracle']['auc'] > content['test']['auc']
    assert load_model(folder / 'model').schema.num_embeddings > 0


@pytest.mark.slow
def test_iedr_on_frappe(tmp_path, data_root):
    flags = ('--threads', 1, '--quiet', '--run', tmp_path, '--epochs', 1)
    out = run('iedr.py', '--dataset', 'frappe', '--root', data_root / 'frappe', *flags)
    assert '94142 training rows, split by order of rows' in out


def test_own_loop():
    assert 'Test: ndcg@5' in run('iedr_own_loop.py', '--epochs', 1)
