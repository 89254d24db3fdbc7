"""Trains MF, with its sampler, and DICE under weaker and stronger interventions.

requires: pip install "iedr_geo[train,plot]"

The cap on the probability with which an edge is drawn decides how far the test part is
from the training part (Section 4.3.2 of Zheng et al., WWW 2021).

python benchmarks/dice_robustness.py                                  # planted clicks
python benchmarks/dice_robustness.py --root FOLDER --dataset ml-1m    # MovieLens-1M
"""

import argparse
import tempfile
from pathlib import Path

import torch
from records import parse, write_json

from iedr_geo.data import (
    PopularityMarginSampler,
    UniformNegativeSampler,
    intervened_split,
)
from iedr_geo.datasets import MovieLens1M, PlantedClicks
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.nn import DICE, MF
from iedr_geo.training import BipartiteModule, fit

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument('--dataset', choices=['planted', 'ml-1m'], default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument('--caps', type=float, nargs='+', default=[0.5, 0.7, 0.9])
parser.add_argument('--epochs', type=int, default=500, help='at most (early stopping)')
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--plot', type=Path, help='where to draw the curves')
args = parse(parser)

if args.dataset == 'ml-1m':
    graph = MovieLens1M(args.root).graph(min_rating=5, min_records=11)
else:
    graph = PlantedClicks().graph


def train_and_test(kind, train, valid, test):
    torch.manual_seed(args.seed)
    size = train.num_users, train.num_items
    model = MF(*size)
    if kind == 'dice':
        model = DICE(MF(*size, bound=1 / 8), train.popularity)
    if kind == 'base':
        negatives = UniformNegativeSampler(4, exclude='seen')
    else:
        negatives = PopularityMarginSampler()
    module = BipartiteModule(model, train, valid, negatives=negatives, seed=args.seed)
    with tempfile.TemporaryDirectory() as folder:
        result = fit(module, folder, max_epochs=args.epochs, patience=4, progress=False)
    return evaluate_catalogue(result.model, test, train)


NAMES = {'base': 'MF', 'pnsm': 'MF + PNSM', 'dice': 'DICE'}
curves = {kind: [] for kind in NAMES}
lists = {kind: [] for kind in NAMES}
entropies = []
print('cap   entropy of test   Recall@20: base    pnsm    dice')
for cap in args.caps:
    split = intervened_split(graph, cap=cap, seed=args.seed)
    for kind, curve in curves.items():
        found = train_and_test(kind, *split)
        curve.append(found.metrics['recall@20'])
        lists[kind].append(found.per_list['recall@20'].round(6).tolist())
    entropies.append(float(split.report().loc['test', 'entropy']))
    print(f'{cap:<6}{entropies[-1]:15.2f}{"":10}', end='')
    print(''.join(f'{curve[-1]:8.4f}' for curve in curves.values()), flush=True)

if args.json is not None:
    content = {'dataset': args.dataset, 'caps': args.caps, 'seed': args.seed}
    content |= {'entropy': entropies, 'recall@20': curves, 'test_lists': lists}
    write_json(args.json, content)
if args.plot is not None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.5, 3), layout='constrained')
    for kind, curve in curves.items():
        axes.plot(args.caps, curve, marker='o', label=NAMES[kind])
    axes.set(xlabel='cap: stronger interventions to the right', ylabel='Recall@20')
    axes.set_ylim(bottom=0)
    axes.legend()
    figure.savefig(args.plot, dpi=150)
