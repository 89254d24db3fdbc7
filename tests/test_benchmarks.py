"""Benchmarks and accuracy runs run, and leave what they say."""

import runpy
from dataclasses import replace

import pytest
import torch
from scripts import NUM_USERS, ROOT, run, run_benchmark

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import MF
from iedr_geo.recommend import load_model

HELD_OUT = '--num_held_out 20'
# After one epoch it ranks nothing well, which is not to be held.
SDRL, BLOCKS = 'sdrl.py --epochs 1 --quiet --run {0}/run', 'test classification planted'
# The baselines of a run, its metrics, and where it has the values of one for each list.
RUNS = {
    'iedr.py --variant noCL': (
        ['popularity', 'in context', 'repeat', 'oracle'],
        'ndcg@5 ndcg@10 recall@5 recall@10 auc',
        ('test_lists', 'ndcg@10'),
    ),
    'dice.py': (
        ['popularity'],
        'recall@20 hit_ratio@20 ndcg@20 recall@50 hit_ratio@50 ndcg@50',
        ('test_users', 'recall@20'),
    ),
    f'macridvae.py {HELD_OUT}': (
        ['popularity'],
        'ndcg@100 recall@20 recall@50',
        ('test_users', 'recall@20'),
    ),
}
# The keys of what others leave.
LEFT = {
    **{f'dice.py --model {name}': 'test' for name in ('base', 'cause', 'pnsm')},
    'dice.py --model ips-cnsr': 'test',
    'dice.py --backbone lightgcn --official': 'test',
    'dice.py --backbone lightgcn --model bias-ui --negatives popularity': 'test',
    'dice.py --discrepancy l1 --decay_every step --alpha 0.5': 'test',
    f'macridvae.py {HELD_OUT} --similarity dot --hard_assignment --beta 0': 'test',
    **{f'macridvae.py {HELD_OUT} --model {it}': 'test' for it in ('multvae', 'multdae')},
    f'macridvae.py {HELD_OUT} --model ease': 'test test_users baselines',
    f'{SDRL} --internal_weight 2 --external_weight 0.5 --batch_size 100': BLOCKS,
    f'{SDRL} --variant ext+oth': BLOCKS,
    **{f'sdrl.py --model {it}': 'test' for it in ('multvae', 'macridvae')},
    **{
        f'sdrl.py --model {it}': 'test_unmasked test_users data'
        for it in ('ease', 'popularity', 'netmf', 'prone')
    },
    'iedr.py --objective softmax --over batch --variant noCIED': 'test',
    'iedr.py --model deepfm --channels 8 --hidden_channels 16 --num_layers 1': 'test',
    'iedr.py --model lightgcn --objective bpr': 'test',
    'iedr.py --model ease': 'test',
    'dice_robustness.py --caps 0.5 0.9 --epochs 1 --plot {0}/caps.png': 'recall@20',
    'concept_control.py --seeds 0 --epochs 2 --lists 3 --steps 3': 'settings seeds',
    'objectives.py --repeats 1': 'ratios milliseconds',
    'large.py --scale 0.0005 --steps 2': 'reading building training evaluation',
    'soak.py --calls 40 --epochs 1': 'calls errors milliseconds resident_mib',
    'wide_graphs.py --graphs 40 --cases 30x20 --repeats 1': 'rows',
}
LEFT_OF_REAL_DATA = {
    'iedr.py --dataset frappe --root {1}/frappe': 'test',
    'iedr.py --dataset ml-100k --root {1}/ml-100k': 'test',
    'iedr.py --dataset depaul --root {1}/cars': 'test',
    'iedr.py --dataset sts --root {1}/cars': 'test',
    'iedr.py --preset paper --dataset ml-latest-small --root {1}/ml-latest-small': 'test',
    'dice.py --model base --dataset ml-1m --root {1}/ml-1m': 'test',
    'dice.py --model base --dataset coo --root {1}/ml-1m-dice': 'test',
    'lightgcn_gowalla.py --root {1}/gowalla': 'test',
    'macridvae.py --dataset ml-latest-small --root {1}/ml-latest-small': 'test',
    'macridvae.py --model multvae --dataset ml-100k --root {1}/ml-100k': 'test',
    'macridvae.py --model multdae --dataset ml-1m --root {1}/ml-1m': 'test',
    'macridvae.py --model multdae --dataset coo --root {1}/ml-1m-dice': 'test',
    f'{SDRL} --dataset ml-latest-small --label_mask --root {{1}}/ml-latest-small': (
        'test classification'
    ),
    f'{SDRL} --dataset ml-1m --variant whole --root {{1}}/ml-1m': 'test data',
    'bipartite.py --users 500 --repeats 1 --root {1}/gowalla': 'milliseconds',
    'feature_graphs.py --repeats 1 --root {1}/frappe': 'ratios milliseconds',
    'pieces.py --repeats 1 --root {1}/frappe --dice_root {1}/ml-1m-dice': 'milliseconds',
    'recommend.py --rows 50 --items 2000 --repeats 1 --root {1}/frappe': 'ratios',
}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    found = {}
    for command in RUNS:
        folder = tmp_path_factory.mktemp('run')
        resumed = f'{command} --quiet --run {folder}'
        run(f'benchmarks/{resumed} --epochs 1')
        found[command] = folder, *run_benchmark(f'{resumed} --epochs 2 --resume', folder)
    return found


@pytest.mark.parametrize('command', RUNS)
def test_accuracy_run(command, runs):
    folder, out, content = runs[command]
    baselines, metrics, (part, metric) = RUNS[command]
    assert all(name in out for name in (*baselines, *metrics.split()))
    assert list(content['baselines']) == baselines
    assert content['test'].keys() - {'list_auc'} == set(metrics.split())
    assert [epoch['epoch'] for epoch in content['history']] == [0, 1]
    # The test part is read once, after training.
    assert not any('test' in key for epoch in content['history'] for key in epoch)
    assert content['machine']['device'] and content['seconds_per_epoch'] > 0
    values = content[part][metric]
    assert sum(values) / len(values) == pytest.approx(content['test'][metric], 1e-4)
    # The values of all lists are on one line.
    assert len((folder / 'report.json').read_text().splitlines()) < 100


def test_what_else_runs_leave(runs):
    (folder, _, iedr), (_, _, dice), (_, _, macridvae) = runs.values()
    assert load_model(folder / 'model').schema.num_embeddings > 0
    assert iedr['baselines']['oracle']['auc'] > iedr['test']['auc']
    for part, metrics in ('valid', iedr['valid']), ('test', iedr['test']):
        values = iedr[f'{part}_lists']['ndcg@10']
        assert sum(values) / len(values) == pytest.approx(metrics['ndcg@10'], 1e-4)
        assert 0.5 < metrics['list_auc'] != metrics['auc']
    assert dice['test_factors'].keys() == {'interest', 'conformity'}
    assert dice['iou@50'].keys() == {'model', 'interest', 'conformity'}
    # Users without test clicks count as zero in one mean, and not at all in the other.
    share = dice['test_all_users']['recall@20'] / dice['test']['recall@20']
    assert share == pytest.approx(len(dice['test_users']['recall@20']) / NUM_USERS)
    share = macridvae['test_all_users']['ndcg@100'] / macridvae['test']['ndcg@100']
    assert share == pytest.approx(len(macridvae['test_users']['ndcg@100']) / 20)
    concepts = macridvae['concepts']
    assert 1 / 7 <= concepts['largest'] <= 1
    assert 0 <= concepts['nmi'] <= 1 and 1 / 5 <= concepts['purity'] <= 1
    assert macridvae['settings']['training']['arguments']['num_concepts'] == 7


@pytest.mark.slow
def test_what_sdrl_leaves(tmp_path):
    flags = f'--quiet --epochs 60 --learning_rate 0.01 --run {tmp_path}'
    found = {
        mask: run_benchmark(f'sdrl.py {flags} --overwrite {mask}', tmp_path)[1]
        for mask in ('', '--label_mask')
    }
    for mask, content in found.items():
        masked, unmasked = content['test'], content['test_unmasked']
        assert masked.keys() == unmasked.keys() >= {'f1@5', 'precision@15', 'ndcg@10'}
        assert masked['ndcg@10'] > unmasked['ndcg@10']
        for metric, values in content['test_users'].items():
            assert sum(values) / len(values) == pytest.approx(masked[metric], 1e-3)
        blocks = {'internal', 'external', 'other', 'whole'}
        assert content['classification'].keys() == content['planted'].keys() == blocks
        of_internal = content['classification']['internal']
        assert of_internal.keys() == {'recall', 'precision', 'micro_f1'}
        assert content['data'] == {'users': 600, 'items': 200, 'edges': 18_000}
        assert content['settings']['label_mask'] == bool(mask)
    # The categories that SDRL has seen are in the internal block, and nowhere else.
    seen = found['']['planted']
    for block in ('external', 'other'):
        assert seen['internal']['category'] > seen[block]['category'] + 0.3
        assert seen[block]['category'] < seen[block]['chance'] + 0.1
    assert seen['external']['attribute 1'] > 0.6
    leaked, withheld = (
        content['classification']['internal']['micro_f1'] for content in found.values()
    )
    assert leaked > withheld + 0.2


def test_rankings_of_each_user(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')
    script = runpy.run_path(str(ROOT / 'benchmarks' / 'sdrl.py'))
    generator = torch.Generator().manual_seed(0)
    rated = torch.rand(12, 20, generator=generator) < 0.5
    rated[3] = False
    graph = BipartiteGraph(*rated.nonzero().t(), 12, 20)
    train, test = script['divide'](graph, 0.3, seed=1)
    assert test.num_edges == round(0.3 * graph.num_edges)
    assert not train.contains(test.user, test.item).any()
    assert torch.equal(train.popularity, train.item_degree)
    assert torch.equal(test.popularity, train.item_degree)
    scores = MF(12, 20, 4)
    for unmasked in (False, True):
        if unmasked:
            test = replace(test, exclude_seen=False)
        found = script['ranked'](scores, train, test)
        assert list(found.index) == test.user.unique().tolist()
        for user, values in found.iterrows():
            order = scores.score(torch.tensor(user), torch.arange(20)).argsort().tolist()
            known, wanted = train.positives(user).tolist(), test.positives(user).tolist()
            left = [i for i in order[::-1] if unmasked or i not in known]
            for k in (5, 10, 15):
                hits = len(set(left[:k]) & set(wanted))
                precision, recall = hits / k, hits / len(wanted)
                f1 = 2 * precision * recall / (precision + recall) if hits else 0
                expected = {'precision': precision, 'recall': recall, 'f1': f1}
                for name, value in expected.items():
                    assert values[f'{name}@{k}'] == pytest.approx(value)


def test_disentanglement_report(runs, tmp_path):
    page, model = tmp_path / 'report.html', next(iter(runs.values()))[0] / 'model'
    flags = f'--model {model} --page {page}'
    out, content = run_benchmark(f'disentanglement_report.py {flags}', tmp_path)
    assert 'Context invariance' in out
    groups = {row['group'] for row in content['table']}
    assert groups >= {'invariance', 'probe', 'dependence', 'ranking', 'truth'}
    content = page.read_text()
    assert content.count('data:image/png;base64') + content.count('<svg') >= 6
    out, content = run_benchmark(f'disentanglement_report.py --split {flags}', tmp_path)
    assert 'standard_error=0' in out
    assert {row['group'] for row in content['table']} == {'ranking', 'truth'}


@pytest.mark.parametrize('command', LEFT)
def test_what_scripts_leave(command, tmp_path, data='', left=LEFT):
    trains = f' --quiet --epochs 1 --run {tmp_path}' if left[command] == 'test' else ''
    _, content = run_benchmark(command.format(tmp_path, data) + trains, tmp_path)
    assert content.keys() >= set(left[command].split())
    assert not trains or all(value > 0.01 for value in content['test'].values())


@pytest.mark.slow
@pytest.mark.parametrize('command', LEFT_OF_REAL_DATA)
def test_what_scripts_leave_of_real_data(command, tmp_path, data_root):
    test_what_scripts_leave(command, tmp_path, data_root, LEFT_OF_REAL_DATA)


def test_flags_that_do_not_go_together(capsys):
    for flags in (
        'iedr.py --model fm --hidden_channels 8',
        'iedr.py --model fm --variant noCL',
        'dice.py --dataset coo',
        'macridvae.py --model ease --epochs 3',
        'macridvae.py --model multdae --beta 0',
        'macridvae.py --min_rating 4',
        'sdrl.py --model ease --label_mask',
        'sdrl.py --model prone --epochs 3',
        'sdrl.py --variant whole --label_mask',
        'sdrl.py --dataset ml-1m',
        'sdrl.py --single_pass',
        'sdrl.py --model popularity --dataset ml-1m --concept_weight 1',
    ):
        with pytest.raises(SystemExit, match='2'):
            run(f'benchmarks/{flags}')
    said = capsys.readouterr().err
    assert 'coo needs --root' in said
    assert 'ease has no --epochs' in said and 'multdae has no --beta' in said
    assert 'planted has no --min_rating' in said
    assert 'ease has no --label_mask' in said and 'prone has no --epochs' in said
    assert 'whole sees no categories' in said and 'without categories' in said
    assert 'planted has no --single_pass' in said
    assert 'ml-1m has no --concept_weight' in said
    assert 'fm has no --hidden_channels' in said and 'of IEDR, not of fm' in said
