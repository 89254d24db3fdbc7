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
    assert len(content['test_lists']['ndcg@10']) == 500
    mean = sum(content['test_lists']['ndcg@10']) / 500
    assert mean == pytest.approx(content['test']['ndcg@10'], abs=1e-5)
    assert load_model(folder / 'model').schema.num_embeddings > 0


def test_there_is_no_such_preset():
    command = [sys.executable, EXAMPLES / 'iedr.py', '--preset', 'best']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no preset 'best' for planted" in done.stderr


@pytest.mark.slow
def test_iedr_on_frappe(tmp_path, data_root):
    flags = ('--threads', 1, '--quiet', '--run', tmp_path, '--epochs', 1)
    out = run('iedr.py', '--dataset', 'frappe', '--root', data_root / 'frappe', *flags)
    assert '94142 training rows, split by order of rows' in out


def test_own_loop():
    assert 'Test: ndcg@5' in run('iedr_own_loop.py', '--epochs', 1)


def test_benchmark_of_memory(tmp_path):
    report = tmp_path / 'large.json'
    flags = ('--scale', 0.0005, '--steps', 2, '--threads', 1, '--json', report)
    assert 'ndcg@10' in run('benchmarks/large.py', *flags)
    content = json.loads(report.read_text())
    assert content.pop('sizes') == [500, 50, 5000]
    phases = ['reading', 'building', 'training', 'evaluation']
    assert list(content) == phases
    peaks = [content[phase]['peak_gib'] for phase in phases]
    assert peaks == sorted(peaks) and peaks[0] > 0


@pytest.mark.slow
def test_benchmark_of_feature_graphs(tmp_path, data_root):
    report = tmp_path / 'speed.json'
    flags = ('--threads', 1, '--repeats', 1, '--json', report)
    run('benchmarks/feature_graphs.py', '--root', data_root / 'frappe', *flags)
    wanted = {'build', 'sign', 'sign_grouped', 'step', 'step_grouped'}
    assert wanted <= set(json.loads(report.read_text())['ratios'])
