"""Writes docs/bipartite.md from the JSON files of the runs in docs/results/bipartite.

python docs/bipartite.py
"""

import json
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
from tables import interval, percent, row

from iedr_geo.evaluation import Evaluation

HERE = Path(__file__).parent
# Settings without effect on a result, or what a flag is if it is not given.
SILENT = ('training', 'quiet', 'resume', 'overwrite', 'threads', 'device')
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
METRICS = ('recall@20', 'hit_ratio@20', 'ndcg@20', 'recall@50')


def marks(settings):
    """Returns the settings that are not ordinary, by name."""
    model = settings['model']
    negatives = 'margin' if model in ('dice', 'pnsm') else 'uniform'
    ordinary = GOWALLA if settings['dataset'] == 'gowalla' else ORDINARY
    ordinary = ordinary | {'negatives': negatives}
    known = ('dataset', 'backbone', 'model', 'seed', *SILENT)
    return {
        name: value
        for name, value in settings.items()
        if name not in known
        and value is not None
        and value is not False
        and value != ordinary.get(name)
    }


def label(settings):
    model, backbone = settings['model'], settings['backbone']
    over = LABELS['base'][backbone]
    name = LABELS.get(model, {}).get(
        backbone, f'{METHODS.get(model, model.upper())}, {over}'
    )
    changed = (
        f'{key} {value}' for key, value in marks(settings).items() if key != 'epochs'
    )
    return ', '.join([name, *changed])


def command(run):
    settings = run['settings']
    parts = ['python examples/dice.py']
    for name in ('dataset', 'backbone', 'model', 'seed'):
        parts.append(f'--{name} {settings[name]}')
    for name, value in marks(settings).items():
        parts.append(f'--{name}' if value is True else f'--{name} {value}')
    return f'`{" ".join(parts)}` at {run["commit"]}'


def read_runs():
    """Returns the runs of each dataset by label and seed."""
    datasets = {}
    for path in sorted(HERE.glob('results/bipartite/*.json')):
        run = json.loads(path.read_text())
        settings = run['settings']
        models = datasets.setdefault(settings['dataset'], {})
        runs = models.setdefault(label(settings), {})
        if settings['seed'] in runs:
            raise ValueError(f'{path} is a second run of {label(settings)}')
        runs[settings['seed']] = run
    return datasets


def users(runs, seeds):
    values = np.mean([runs[seed]['test_users']['recall@20'] for seed in seeds], axis=0)
    frame = pd.DataFrame({'user': range(len(values)), 'recall@20': values})
    return Evaluation({}, frame)


def difference(runs, reference):
    """Returns the paired difference in Recall@20 over the seeds of both, in points."""
    seeds = [seed for seed in runs if seed in reference]
    if not seeds or runs is reference:
        return ''
    return interval(users(runs, seeds).difference(users(reference, seeds)).iloc[0])


def average(runs, *path):
    values = []
    for run in runs:
        for key in path:
            run = (run or {}).get(key)
        values.append(run)
    return '' if None in values else f'{mean(values):.3f}'


def table(dataset, models):
    own_split = dataset in ('ml-1m',)  # Of each seed: users differ.
    head = ['model', 'seeds', 'R@20', 'HR@20', 'NDCG@20', 'R@50', 'R@20, test users']
    head += [] if own_split else ['less that of its backbone']
    head += ['IOU@50', 'interest', 'conformity', 'R@20 interest', 'R@20 conformity']
    head += ['best epoch', 's / epoch']
    lines = [row(head), '|---' * len(head) + '|']
    first = next(iter(next(iter(models.values())).values()))
    cells = [percent([first['baselines']['popularity'][metric]]) for metric in METRICS]
    lines.append(row(['popularity', '', *cells, *[''] * (len(head) - 6)]))
    for name, runs in models.items():
        each = list(runs.values())
        cells = [name, ', '.join(map(str, runs))]
        for metric in METRICS:
            cells.append(percent([run['test_all_users'][metric] for run in each]))
        cells.append(percent([run['test']['recall@20'] for run in each]))
        backbone = each[0]['settings']['backbone']
        reference = models.get(LABELS['base'][backbone], {})
        cells += [] if own_split else [difference(runs, reference)]
        for factor in ('model', 'interest', 'conformity'):
            cells.append(average(each, 'iou@50', factor))
        for factor in ('interest', 'conformity'):
            cells.append(average(each, 'test_factors', factor, 'recall@20'))
        epochs = (f'{r["best_epoch"] + 1} of {len(r["history"])}' for r in each)
        cells += [', '.join(epochs)]
        cells += [f'{mean(run["seconds_per_epoch"] for run in each):.1f}']
        lines.append(row(cells))
    return [*lines, '']


INTRODUCTION = """# Interest and conformity: results

This page is written by `python docs/bipartite.py` from the JSON files in
`docs/results/bipartite`, each of which a run has left there with its settings, commit,
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
    lines = [
        '| epoch | loss | validation R@20 | validation NDCG@20 |',
        '|---|---|---|---|',
    ]
    history = run['history']
    step = max(1, len(history) // 10)
    for epoch in [*history[step - 1 :: step]]:
        lines.append(
            f'| {epoch["epoch"] + 1} | {epoch["total"]:.4f} | '
            f'{100 * epoch["recall@20"]:.2f} | {100 * epoch["ndcg@20"]:.2f} |'
        )
    return [*lines, '']


def page():
    lines = [INTRODUCTION]
    for dataset, models in sorted(read_runs().items()):
        lines += [f'## {NAMES[dataset]}', SECTIONS.get(dataset, '')]
        lines += table(dataset, models)
        for runs in models.values() if dataset == 'gowalla' else ():
            lines += [line for run in runs.values() for line in curve(run)]
        lines += ['The runs:', '']
        lines += [
            f'- {command(run)}' for runs in models.values() for run in runs.values()
        ]
        lines.append('')
    return '\n'.join(lines)


if __name__ == '__main__':
    (HERE / 'bipartite.md').write_text(page())
