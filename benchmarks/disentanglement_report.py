"""Measures how far a model tells intrinsic and extrinsic factors apart, and draws it.

requires: pip install "iedr_geo[train,plot]"

python examples/disentanglement_report.py --page report.html    # planted data
python examples/disentanglement_report.py --dataset frappe --root FOLDER \
    --model runs/frappe-best-IEDR-0/model                       # from examples/iedr.py
"""

import argparse
import logging
from pathlib import Path

import torch
from quick_model import most_active_user, train_quickly, two_contexts

from iedr_geo.analysis import (
    disentanglement_report,
    plot_explanation,
    plot_factors,
    plot_generator,
    plot_history,
    plot_scores,
    write_page,
)
from iedr_geo.datasets import Frappe, PlantedFactors
from iedr_geo.recommend import Recommender, load_model

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument('--dataset', choices=['planted', 'frappe'], default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument('--model', type=Path, help='a saved model (default: train one)')
parser.add_argument('--epochs', type=int, default=4, help='of training')
parser.add_argument('--threads', type=int, help='of PyTorch, on a CPU')
parser.add_argument('--quiet', action='store_true', help='no progress bar')
parser.add_argument('--json', type=Path, help='where to write the numbers')
parser.add_argument('--page', type=Path, help='where to write report and pictures')
args = parser.parse_args()
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
if args.threads is not None:
    torch.set_num_threads(args.threads)

dataset = Frappe(args.root) if args.dataset == 'frappe' else PlantedFactors()
history = None
if args.model is None:
    trained = train_quickly(dataset, args.epochs, progress=not args.quiet)
    model, history = trained.model, trained.history
else:
    model = load_model(args.model).model
    if (log := args.model.parent / 'metrics.csv').is_file():
        history = log

report = disentanglement_report(model, dataset, dataset.candidates('test'))
print(report)
if args.json is not None:
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(report.to_json() + '\n')
    print(f'\nNumbers: {args.json}')


def pictures():
    recommender = Recommender(model, dataset)
    user, (a, b) = most_active_user(dataset), two_contexts(dataset)
    best = recommender.recommend(user, b, 1)['item'].iloc[0]
    explanation = recommender.explain(user, best, b)
    axes = {}
    for side in ('user', 'item'):
        axes[f'The factors of {side}s, in the contexts of rows of the data'] = (
            plot_factors(model, dataset, side)
        )
    axes[
        f'The parts of the scores of user {user} in two contexts: the intrinsic one '
        f'should stay the same'
    ] = plot_scores(recommender, user, a, b)
    for side in ('user', 'item'):
        axes[f'The weights by which the factors of {side}s are made'] = plot_generator(
            model, side
        )
    for side in explanation.features['side'].unique():
        axes[f'Why item {best} for user {user} in the second context: the {side}'] = (
            plot_explanation(explanation, side)
        )
    if history is not None:
        axes['The training'] = plot_history(history)
    return axes


if args.page is not None:
    tables = {'Which measures tell the factors apart': report.separation}
    write_page(args.page, report, pictures(), tables)
    print(f'\nPage: {args.page}')
