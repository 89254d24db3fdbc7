"""The examples of recommendations and reports run, and so do recipes and benchmarks.

Apart from those of training, so that another process can take them.
"""

import json
import re
import runpy
import sys

import pytest
from examples_run import EXAMPLES, run

from iedr_geo.datasets import PlantedFactors
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender


def test_recommend_in_context():
    flags = ('--epochs', 1, '--threads', 1, '--quiet', '--k', 3)
    out = run('recommend_in_context.py', *flags)
    assert 'For user u' in out and 'noon, tue, work, alone' in out
    assert 'enters' in out and 'leaves' in out
    assert 'the differences do not add up' in out


def test_disentanglement_report(tmp_path):
    report, page = tmp_path / 'report.json', tmp_path / 'report.html'
    shop = PlantedFactors()
    model = IEDR(shop.schema.num_embeddings)  # The other script trains one.
    Recommender(model, shop).save(tmp_path / 'model')
    flags = ('--model', tmp_path / 'model', '--threads', 1, '--json', report)
    flags += ('--page', page)
    assert 'Context invariance' in run('disentanglement_report.py', *flags)
    groups = {row['group'] for row in json.loads(report.read_text())['table']}
    assert {'invariance', 'probe', 'dependence', 'ranking', 'truth'} <= groups
    content = page.read_text()
    assert content.count('data:image/png;base64') + content.count('<svg') >= 6


@pytest.mark.slow
def test_benchmark_of_recommendations(tmp_path, data_root):
    report = tmp_path / 'speed.json'
    flags = ('--threads', 1, '--rows', 50, '--items', 2000, '--repeats', 1)
    place = ('--root', data_root / 'frappe', '--json', report)
    run('benchmarks/recommend.py', *place, *flags)
    content = json.loads(report.read_text())
    assert content['ratios']['many'] > 0 and content['milliseconds']['one_pair'] > 0


def test_own_loop():
    assert 'Test: ndcg@5' in run('iedr_own_loop.py', '--epochs', 1)


@pytest.mark.parametrize(
    ('name', 'compared'),
    [
        ('biclub_own_embeddings', 2),
        ('contrastive_own_augmentation', 3),
        ('iedr_user_over_lightgcn', 3),
        ('lightgcn_pnsm', 2),
        ('two_tower_sign', 3),
    ],
)
def test_recipe(name, compared, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', [name, '--epochs', '1'])
    runpy.run_path(str(EXAMPLES / 'recipes' / f'{name}.py'), run_name='__main__')
    lines = capsys.readouterr().out.splitlines()
    assert sum('Epoch: 000' in line for line in lines) == compared
    results = [line for line in lines if line.startswith('Test, ')]
    assert len(results) == compared and len(set(results)) == compared
    # One epoch ranks better than chance: 0.045 in lists of 100, less in a catalogue.
    values = [float(re.search(r'ndcg@[12]0 (\S+)', line)[1]) for line in results]
    assert min(values) > 0.06


def test_every_recipe_is_tested():
    [mark] = test_recipe.pytestmark
    names = {name for name, _ in mark.args[1]}
    assert names == {path.stem for path in (EXAMPLES / 'recipes').glob('*.py')}


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
def test_benchmark_of_bipartite_models(tmp_path, data_root):
    report = tmp_path / 'speed.json'
    flags = ('--threads', 1, '--repeats', 1, '--users', 500, '--json', report)
    run('benchmarks/bipartite.py', '--root', data_root / 'gowalla', *flags)
    content = json.loads(report.read_text())
    assert set(content['ratios']) == {'lightgcn_step', 'pnsm'}


@pytest.mark.slow
def test_benchmark_of_feature_graphs(tmp_path, data_root):
    report = tmp_path / 'speed.json'
    flags = ('--threads', 1, '--repeats', 1, '--json', report)
    run('benchmarks/feature_graphs.py', '--root', data_root / 'frappe', *flags)
    wanted = {'build', 'sign', 'sign_grouped', 'step', 'step_grouped'}
    assert wanted <= set(json.loads(report.read_text())['ratios'])


def test_benchmark_of_wide_graphs(tmp_path):
    report = tmp_path / 'wide.json'
    flags = ('--graphs', 40, '--cases', '30x20', '--repeats', 1, '--threads', 1)
    run('benchmarks/wide_graphs.py', *flags, '--json', report)
    [row] = json.loads(report.read_text())['rows']
    assert row['edges'] == 40 * 30**2
    assert row['pairs'] == 210  # All of them.
    assert min(row['milliseconds'].values()) > 0
    assert row['mebibytes']['edges'] > 2 * row['mebibytes']['complete']
