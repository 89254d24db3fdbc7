"""Writes docs/results.md from the JSON files of the runs in benchmarks/results/models.

python benchmarks/tables/results.py
"""

import numpy as np
from common import (
    SILENT,
    commands,
    difference,
    epochs,
    paired,
    percent,
    read_runs,
    summary,
    table,
    write,
)

from iedr_geo.evaluation import Evaluation, compare

REFERENCE = 'separate (softmax + BCE, 16 negatives)'
TITLES = {
    'planted': 'Planted factors',
    'outings': 'Planted outings',
    'frappe': 'Frappe',
    'ml-100k': 'MovieLens-100K',
    'ml-latest-small': 'MovieLens-latest-small',
    'depaul': 'DePaulMovie',
    'sts': 'South Tyrol Suggests',
}
NAMES = {
    'deepfm': 'DeepFM',
    'dcnv2': 'DCNv2',
    'autoint': 'AutoInt',
    'wdl': 'Wide & Deep',
    'fm': 'FM',
    'twotower': 'two-tower',
    'lightgcn': 'LightGCN',
    'ease': 'EASE',
}
INTRODUCTION = """# Results

IEDR's variant *separate*, its controls and what one would pick instead, on the same
rows, negatives, lists and seeds. [The paper's experiments](paper.md) have a page of their
own.

This page is written by `python benchmarks/tables/results.py` from the JSON files in
`benchmarks/results/models`, each of which a run has left there with its settings, commit,
machine, history and the values of each list. `benchmarks/run_queue.py` runs those of
`benchmarks/iedr_runs.py` that are not there yet. Metrics are in percent.

**Protocol.** Validation lists choose the epoch (NDCG@10) and chose the recipe; the test
lists are ranked once, with the model of that epoch. A list is one positive and 99 items
without interaction: on Frappe those of the paper's authors, else drawn uniformly with
fixed seeds. Ties count as the expectation over tied orders. With several seeds, mean ±
standard deviation.

**AUC** is over all rows of all lists: it tells whether scores compare across users and
contexts, *e.g.*, to send a message to whoever likes it most. The *AUC of a list* is
the mean over lists: how often the positive is ahead of a negative of the same list.

**Differences** are paired: means over the seeds that both models have, on the same lists,
in points of NDCG@10, with a 95 % bootstrap interval over the lists. *p* is that of the
paired t-test, corrected by Holm over the models of a table. It says nothing about other
seeds. Baselines in italics are counted; the *oracle* ranks by the true scores.

**Recipe.** That of *separate* was chosen by hand, from some 30 short runs on the
validation lists of planted data and Frappe with seed 0; `benchmarks/study.py`, which
would choose it from a grid, was not run. The others stand on the same recipe, and for
DeepFM on Frappe, four were tried on the validation lists: binary cross-entropy with 5 and
with 16 negatives, with weight decay, with a lower learning rate. The others of the table
were not tuned. Times are of one core of a machine that was shared with other work: take
them for an order of size.
"""
READING = """## Reading

- *The structure pays on planted data.* By the same recipe, *separate* is ahead of the
  residual generator without any loss (noCIED) and of all peers, and its parts follow the
  truth ([Are the factors disentangled?](disentanglement.md)). IEDR with both losses, of
  which one seed was run, is between. In the second world, the planted outings, the lists
  tell none of the trained models from it.
- *On Frappe, what the user had before is most of what there is to know*: counting it
  (*repeat*) is within some three points of the best models. *separate* is ahead of DeepFM
  by about a point, at several times its time, which is not beyond chance (column p), and
  the same recipe without its structure (noCIED, one seed) ranks as well. The AUC over all
  rows is best of DeepFM by the same softmax.
- *SIGN's messages are not what makes it good*: with the mean of the features in their
  place (*encoder mean*) the variant ranks about as well, in less time. The bound on the
  mutual information (λ2 0) costs or gains no ranking.
- *Models that know no context* (LightGCN, EASE) rank no better than counting, on planted
  data and on Frappe.
- *What to pick.* Where parts are to be shown to people, or stable taste is to be served
  apart from the moment: *separate*. Where only the ranking on logs of repeated use
  counts and time is short: count first (`Repeat`), then DeepFM. To repeat the paper:
  `--preset paper`.
- What has no row was not run: `benchmarks/iedr_runs.py` lists it.
"""
PER_LIST = 'test_lists', 'ndcg@10'
METRICS = ('ndcg@10', 'recall@10', 'auc', 'list_auc')


def key(settings):
    return settings['dataset']


def label(settings):
    """Returns the name of a model with what sets its recipe apart."""
    name = settings['variant'] or NAMES[settings['model']]
    weights = [
        f'{sign} {settings[flag]:g}'
        for sign, flag in (('λ1', 'contrastive_weight'), ('λ2', 'disentangling_weight'))
        if settings.get(flag) is not None
    ]
    if settings['model'] == 'ease':
        return name
    loss = {'bce': 'BCE', 'softmax': 'softmax', 'bpr': 'BPR'}[settings['objective']]
    if settings['objective'] == 'softmax' and settings['bce_weight']:
        loss += ' + BCE'
    if settings.get('encoder'):
        weights.append(f'encoder {settings["encoder"]}')
    recipe = [f'{loss}, {settings["negatives"]} negatives', *weights]
    return f'{name} ({", ".join(recipe)})'


def flags(settings):
    kept = {n: v for n, v in settings.items() if n not in SILENT}
    return {n: v for n, v in kept.items() if n not in ('device', 'devices', 'patience')}


def corrected_p(models):
    """Returns how often each model would differ as much from the reference by chance."""
    evaluations = {}
    for name, runs in models.items():
        one, other = paired(runs, models[REFERENCE], *PER_LIST)
        apart = one.per_list['ndcg@10'] - other.per_list['ndcg@10']
        evaluations[name] = Evaluation({}, one.per_list.assign(**{'ndcg@10': apart}))
    return compare(evaluations, REFERENCE).loc['ndcg@10', 'p_corrected']


def probability(p):
    return '< 0.001' if p < 0.001 else f'{p:.3f}'


def section(dataset, models):
    """Returns the lines of the table of a dataset, the best model first."""
    reference = models.get(REFERENCE, {})
    p = corrected_p(models) if reference else {}
    head = ['model', 'seeds', 'NDCG@10', 'Recall@10', 'AUC', 'AUC of a list']
    head += ['NDCG@10 less that of separate', 'p', 'epoch', 's to train']
    rows = {}
    for name, runs in models.items():
        each = list(runs.values())
        values = [[run['test'].get(metric) for run in each] for metric in METRICS]
        cells = [name, str(len(each)), *map(percent, values)]
        apart = difference(runs, reference, *PER_LIST)
        cells += [apart, probability(p[name]) if apart else '']
        seconds = [run['seconds_per_epoch'] * len(run['history']) for run in each]
        cells += [epochs(each), summary(seconds, '.0f')]
        rows[np.mean(values[0]), name] = cells
    baselines = next(iter(next(iter(models.values())).values()))['baselines']
    for name, metrics in baselines.items():
        numbers = [percent([metrics[metric]]) for metric in METRICS]
        rows[metrics['ndcg@10'], name] = [f'*{name}*', '', *numbers, '', '', '', '']
    ordered = [rows[place] for place in sorted(rows, reverse=True)]
    return [
        f'## {TITLES[dataset]}\n',
        *table(head, ordered),
        '<details><summary>The runs</summary>\n',
        *commands('benchmarks/iedr.py', models, flags),
        '</details>\n',
    ]


def page():
    found = read_runs('models', key, label)
    lines = [INTRODUCTION]
    for dataset in TITLES:
        if dataset in found:
            lines += section(dataset, found[dataset])
    return '\n'.join([*lines, READING])


if __name__ == '__main__':
    write('results', page())
