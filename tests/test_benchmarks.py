"""Benchmarks and accuracy runs run, and leave what they say."""

import pytest
from scripts import NUM_USERS, run, run_benchmark

from iedr_geo.recommend import load_model

HELD_OUT = '--num_held_out 20'
# It ranks nothing well after one epoch, which is not to be held.
SDRL = 'sdrl.py --epochs 1 --quiet --run {0}/run'
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
    'sdrl.py': (
        ['popularity', 'ease'],
        ' '.join(
            f'{name}@{k}'
            for name in ('f1', 'ndcg', 'precision', 'recall')
            for k in (5, 10, 15)
        ),
        ('test_users', 'ndcg@10'),
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
    f'{SDRL} --variant int+ext --label_mask': (
        'test test_unmasked test_users_ease classification'
    ),
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
    f'{SDRL} --dataset ml-latest-small --root {{1}}/ml-latest-small': 'test_unmasked',
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
    (folder, _, iedr), (_, _, dice), (_, _, macridvae), (_, _, sdrl) = runs.values()
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
    for name in ('popularity', 'ease'):  # What users have had is in their way.
        masked, unmasked = (sdrl[f'baselines{it}'][name] for it in ('', '_unmasked'))
        assert masked['f1@5'] > unmasked['f1@5']
    assert list(sdrl['classification']) == ['whole', 'internal', 'external', 'other']
    for values in sdrl['classification'].values():
        assert list(values) == ['recall', 'precision', 'micro_f1']


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
    assert not trains or all(value > 0.02 for value in content['test'].values())


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
    ):
        with pytest.raises(SystemExit, match='2'):
            run(f'benchmarks/{flags}')
    said = capsys.readouterr().err
    assert 'coo needs --root' in said
    assert 'ease has no --epochs' in said and 'multdae has no --beta' in said
    assert 'planted has no --min_rating' in said
    assert 'fm has no --hidden_channels' in said and 'of IEDR, not of fm' in said
