"""Writes docs/bipartite.md from the JSON files of the runs in benchmarks/results/dice.

python benchmarks/tables/bipartite.py
"""

from statistics import mean

from common import (
    SILENT,
    changed,
    commands,
    difference,
    epochs,
    percent,
    read_runs,
    table,
    write,
)

# What a flag is if it is not given.
ORDINARY = {
    'epochs': 500,
    'patience': 4,
    'batch_size': 1024,
    'learning_rate': 0.01,
    'channels': 128,
    'layers': 2,
    'num_negatives': 4,
    'margin': 40.0,
    'alpha': 0.1,
    'beta': 0.01,
    'discrepancy': 'dcor',
    'decay': 0.9,
    'decay_every': 'epoch',
    'cap': 0.9,
}
GOWALLA = ORDINARY | {
    'epochs': 1000,
    'batch_size': 2048,
    'learning_rate': 0.001,
    'channels': 64,
    'layers': 3,
    'num_negatives': 1,
}
LABELS = {
    'base': {'mf': 'MF', 'lightgcn': 'LightGCN'},
    'dice': {'mf': 'DICE-MF', 'lightgcn': 'DICE-LightGCN'},
    'pnsm': {'mf': 'MF + PNSM', 'lightgcn': 'LightGCN + PNSM'},
}
METHODS = {'cause': 'CausE'}
NAMES = {
    'coo': 'MovieLens-1M, a fixed intervened split',
    'ml-1m': 'MovieLens-1M, a split drawn by each seed',
    'planted': 'Planted clicks',
    'gowalla': 'Gowalla',
}
CHOICE = ('dataset', 'backbone', 'model', 'seed')
METRICS = ('recall@20', 'hit_ratio@20', 'ndcg@20', 'recall@50')


def marks(settings):
    """Returns the settings that are not ordinary, by name."""
    model = settings['model']
    negatives = 'margin' if model in ('dice', 'pnsm') else 'uniform'
    ordinary = GOWALLA if settings['dataset'] == 'gowalla' else ORDINARY
    ordinary = ordinary | {'negatives': negatives}
    known = (*CHOICE, 'threads', 'device', *SILENT)
    return changed(settings, known, ordinary)


def label(settings):
    model, backbone = settings['model'], settings['backbone']
    over = LABELS['base'][backbone]
    name = LABELS.get(model, {}).get(
        backbone, f'{METHODS.get(model, model.upper())}, {over}'
    )
    given = (
        f'{key} {value}' for key, value in marks(settings).items() if key != 'epochs'
    )
    return ', '.join([name, *given])


def flags(settings):
    return {name: settings[name] for name in CHOICE} | marks(settings)


def average(runs, *path):
    values = []
    for run in runs:
        for key in path:
            run = (run or {}).get(key)
        values.append(run)
    return '' if None in values else f'{mean(values):.3f}'


def results(dataset, models):
    own_split = dataset == 'ml-1m'  # Of each seed: users differ.
    head = ['model', 'seeds', 'R@20', 'HR@20', 'NDCG@20', 'R@50', 'R@20, test users']
    head += [] if own_split else ['less that of its backbone']
    head += ['IOU@50', 'interest', 'conformity', 'R@20 interest', 'R@20 conformity']
    head += ['best epoch', 's / epoch']
    first = next(iter(next(iter(models.values())).values()))
    cells = [percent([first['baselines']['popularity'][metric]]) for metric in METRICS]
    lines = [['popularity', '', *cells, *[''] * (len(head) - 6)]]
    for name, runs in models.items():
        each = list(runs.values())
        cells = [name, ', '.join(map(str, runs))]
        for metric in METRICS:
            cells.append(percent([run['test_all_users'][metric] for run in each]))
        cells.append(percent([run['test']['recall@20'] for run in each]))
        backbone = each[0]['settings']['backbone']
        reference = models.get(LABELS['base'][backbone], {})
        cells += (
            [] if own_split else [difference(runs, reference, 'test_users', 'recall@20')]
        )
        for factor in ('model', 'interest', 'conformity'):
            cells.append(average(each, 'iou@50', factor))
        for factor in ('interest', 'conformity'):
            cells.append(average(each, 'test_factors', factor, 'recall@20'))
        seconds = mean(run['seconds_per_epoch'] for run in each)
        lines.append([*cells, epochs(each), f'{seconds:.1f}'])
    return table(head, lines)


INTRODUCTION = """# Interest and conformity: results

This page is written by `python benchmarks/tables/bipartite.py` from the JSON files in
`benchmarks/results/dice`, each of which a run has left there with its settings, commit,
machine and history; the commands are below each table (add `--root FOLDER` for raw files
of your own). Metrics are in percent.

**Protocol.** The validation part chooses the epoch (Recall@50) and ends the run; the test
part is ranked once, with the model of that epoch. All items are ranked, less those of a
user's training part; ties count as the expectation over tied orders. `R@20`, `HR@20`,
`NDCG@20` and `R@50` are means over all users, those without test items included, as in
the code of DICE's authors; *test users* leaves these out. With several seeds, mean ±
standard deviation. *Less that of its backbone* is in points of Recall@20 over test users,
paired, with a 95 % bootstrap interval over users: it says nothing about other seeds.

`IOU@50` is the overlap of a user's top 50 with the 50 most popular items, of the whole
model and of either factor alone; *R@20 interest* and *R@20 conformity* rank by one factor
alone. `PNSM` is the negative sampler with a popularity margin.

**Reading.** What each part of DICE buys, on MovieLens-1M:

- *The sampler buys the ranking.* A backbone with the popularity-margin sampler and
  nothing else of DICE (MF + PNSM, LightGCN + PNSM) ranks at least as well as DICE on the
  same backbone, and DICE without its cause-specific losses (*alpha 0*) as well as with
  them; DICE with uniform negatives falls back to its backbone.
- *The cause-specific losses buy the separation.* With them, the top of the interest
  factor shares next to nothing with the most popular items, and that of the conformity
  factor about half, with uniform negatives too; without them (*alpha 0*) the two factors
  do not differ in this. Whoever wants to know why a user is shown an item, or to turn
  conformity down, needs them; whoever wants the ranking alone does not.
- Runs end at an early epoch: at a learning rate of 0.01 validation is best after a few.
  A rate of 0.003 for LightGCN + PNSM takes longer and ends lower; a third layer adds
  0.1 points of Recall@50 on validation, which makes LightGCN + PNSM with three layers the
  best that was found there.
- A bias of users has no effect on any ranking and no gradient: BIAS-U is its backbone.
"""

SECTIONS = {
    'coo': """
Five-star ratings, items and then users with more than ten, 4,627 users and 1,865 items;
127,650 normal and 21,149 intervened training edges, 21,149 for validation and 42,299 for
test, in the file layout of DICE's authors.
""",
    'gowalla': """
The split of LightGCN's authors. Their repository reports Recall@20 18.24 and NDCG@20
15.47 with three layers after about 1,000 epochs. The run below is cut short, and does
without a twentieth of the training edges, by which its curve is measured: it shows where
the curve stands, and is no reproduction.
""",
}


def curve(run):
    head = ['epoch', 'loss', 'validation R@20', 'validation NDCG@20']
    history = run['history']
    step = max(1, len(history) // 10)
    lines = []
    for epoch in history[step - 1 :: step]:
        values = (f'{100 * epoch[metric]:.2f}' for metric in ('recall@20', 'ndcg@20'))
        lines.append([str(epoch['epoch'] + 1), f'{epoch["total"]:.4f}', *values])
    return table(head, lines)


def page():
    lines = [INTRODUCTION]
    for dataset, models in read_runs('dice', lambda s: s['dataset'], label).items():
        lines += [f'## {NAMES[dataset]}', SECTIONS.get(dataset, '')]
        lines += results(dataset, models)
        for runs in models.values() if dataset == 'gowalla' else ():
            lines += [line for run in runs.values() for line in curve(run)]
        lines += commands('benchmarks/dice.py', models, flags)
    return '\n'.join(lines)


if __name__ == '__main__':
    write('bipartite', page())
