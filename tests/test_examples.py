"""The examples of training run, and leave what they say."""

import importlib
import json
import subprocess
import sys

import pytest
from examples_run import EXAMPLES, run

from iedr_geo.recommend import load_model


def test_iedr(tmp_path):
    folder, report = tmp_path / 'run', tmp_path / 'results.json'
    flags = ('--threads', 1, '--quiet', '--run', folder, '--json', report)
    flags += ('--variant', 'noCL')  # Most of the time goes into that loss.
    out = run('iedr.py', '--epochs', 1, *flags)
    assert 'oracle' in out and 'popularity' in out
    run('iedr.py', '--epochs', 2, '--resume', *flags)
    content = json.loads(report.read_text())
    assert [epoch['epoch'] for epoch in content['history']] == [0, 1]
    assert set(content['test']) == {'ndcg@5', 'ndcg@10', 'recall@5', 'recall@10', 'auc'}
    assert content['test'].keys() == content['valid'].keys()
    # The test part is read once, after training.
    assert not any('test' in key for epoch in content['history'] for key in epoch)
    baselines = content['baselines']
    assert list(baselines) == ['popularity', 'in context', 'repeat', 'oracle']
    assert baselines['oracle']['auc'] > content['test']['auc']
    assert content['machine']['device'] and content['machine']['processor']
    assert len(content['test_lists']['ndcg@10']) == 500
    mean = sum(content['test_lists']['ndcg@10']) / 500
    assert mean == pytest.approx(content['test']['ndcg@10'], abs=1e-5)
    assert load_model(folder / 'model').schema.num_embeddings > 0


def test_iedr_by_another_objective(tmp_path):
    report = tmp_path / 'results.json'
    flags = ('--threads', 1, '--quiet', '--run', tmp_path / 'run', '--json', report)
    choice = ('--objective', 'softmax', '--over', 'batch', '--variant', 'noCIED')
    run('iedr.py', *choice, '--epochs', 1, *flags)
    training = json.loads(report.read_text())['settings']['training']
    assert training['objective'].startswith("SoftmaxObjective(over='batch'")
    assert training['negatives'] is None


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ('dataset', 'rows'), [('ml-100k', 98_114), ('ml-latest-small', 99_616)]
)
def test_iedr_on_movielens(tmp_path, data_root, dataset, rows):
    flags = ('--threads', 1, '--quiet', '--run', tmp_path, '--epochs', 1)
    place = ('--dataset', dataset, '--root', data_root / dataset, '--preset', 'best')
    assert f'{rows} training rows, split by order of time' in run(
        'iedr.py', *place, *flags
    )


METRICS = {f'{name}@{k}' for k in (20, 50) for name in ('recall', 'hit_ratio', 'ndcg')}


def test_dice(tmp_path):
    folder, report = tmp_path / 'run', tmp_path / 'results.json'
    flags = ('--threads', 1, '--quiet', '--run', folder, '--json', report)
    out = run('dice.py', '--epochs', 1, *flags)
    assert 'Overlap' in out and 'conformity' in out
    run('dice.py', '--epochs', 2, '--resume', *flags)
    content = json.loads(report.read_text())
    assert [epoch['epoch'] for epoch in content['history']] == [0, 1]
    # The test part is read once, after training.
    assert not any('test' in key for epoch in content['history'] for key in epoch)
    assert content['seconds_per_epoch'] > 0
    assert set(content['test']) == set(content['test_all_users']) == METRICS
    assert set(content['test_factors']) == {'interest', 'conformity'}
    assert set(content['iou@50']) == {'model', 'interest', 'conformity'}
    assert content['iou@50']['interest'] < content['iou@50']['conformity']
    # Users without test clicks count as zero in one mean, and not at all in the other.
    users = content['test_users']['recall@20']
    assert sum(users) / len(users) == pytest.approx(content['test']['recall@20'], 1e-4)
    share = content['test_all_users']['recall@20'] / content['test']['recall@20']
    assert share == pytest.approx(len(users) / 1000)


@pytest.mark.parametrize(
    'flags',
    [
        *(('--model', model) for model in ('base', 'cause', 'pnsm', 'ips-cnsr')),
        ('--backbone', 'lightgcn', '--official'),
        ('--backbone', 'lightgcn', '--model', 'bias-ui', '--negatives', 'popularity'),
        ('--discrepancy', 'l1', '--decay_every', 'step', '--alpha', '0.5'),
    ],
)
def test_models_of_dice(tmp_path, monkeypatch, flags):
    report = tmp_path / 'results.json'
    common = ('--quiet', '--epochs', 1, '--run', tmp_path / 'run', '--json', report)
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(sys, 'argv', ['dice.py', *map(str, (*flags, *common))])
    importlib.import_module('dice').main()  # In this process: it has all that it needs.
    assert json.loads(report.read_text())['test']['recall@20'] > 0.02


def test_curve_over_caps(tmp_path):
    report = tmp_path / 'caps.json'
    flags = ('--caps', 0.5, 0.9, '--epochs', 1, '--threads', 1, '--json', report)
    run('dice_robustness.py', *flags, '--plot', tmp_path / 'caps.png')
    content = json.loads(report.read_text())
    assert set(content['recall@20']) == {'base', 'dice'}
    assert all(len(curve) == 2 for curve in content['recall@20'].values())
    assert (tmp_path / 'caps.png').stat().st_size > 5000


@pytest.mark.slow
def test_dice_on_real_data(tmp_path, data_root):
    flags = ('--threads', 1, '--quiet', '--epochs', 1)
    for dataset, folder in (('coo', 'ml-1m-dice'), ('ml-1m', 'ml-1m')):
        place = ('--root', data_root / folder, '--run', tmp_path / dataset)
        assert 'base' in run(
            'dice.py', '--dataset', dataset, '--model', 'base', *place, *flags
        )
    place = ('--root', data_root / 'gowalla', '--run', tmp_path / 'gowalla')
    assert 'num_edges=810128' in run('lightgcn_gowalla.py', *place, *flags)
