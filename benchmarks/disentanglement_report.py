"""Measures how far a model tells intrinsic and extrinsic factors apart, and draws it.

requires: pip install "iedr_geo[train,plot]"

python benchmarks/disentanglement_report.py --page report.html     # after `make run`
python benchmarks/disentanglement_report.py --dataset frappe --root FOLDER \
    --model runs/frappe-best-separate-0/model            # a model that iedr.py trained
python benchmarks/disentanglement_report.py --split   # the control: its scores, split
"""

import argparse
import json
from pathlib import Path

import torch
from iedr_presets import DATASETS
from peers import PEERS
from records import parse, write_json

from iedr_geo.analysis import (
    disentanglement_report,
    plot_explanation,
    plot_factors,
    plot_generator,
    plot_history,
    plot_scores,
    write_page,
)
from iedr_geo.recommend import Recommender
from iedr_geo.scoring import context_split

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument('--dataset', choices=DATASETS, default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument(
    '--model',
    type=Path,
    default=Path(__file__).resolve().parents[1] / 'runs/planted-best-separate-0/model',
    help='the folder of a saved model',
)
parser.add_argument('--peer', choices=PEERS, help='which, if the model is a peer')
parser.add_argument(
    '--split',
    action='store_true',
    help='the control: parts are the mean of the score over training contexts and the '
    'rest, whatever factors the model has',
)
parser.add_argument('--page', type=Path, help='where to write report and pictures')
args = parse(parser)

dataset = DATASETS[args.dataset](args.root)
peer = None if args.peer is None else PEERS[args.peer](dataset.split()[0])
recommender = Recommender.load(args.model, model=peer)
model, history = recommender.model, args.model.parent / 'metrics.csv'
if args.split:
    model = context_split(model, dataset.split()[0])
    recommender = Recommender(model, dataset)
    print(model)
report = disentanglement_report(model, dataset, dataset.candidates('test'))
print(report)
if args.json is not None:
    write_json(args.json, json.loads(report.to_json()))


def least_alike_contexts(user):
    """Returns a user's most frequent context, and one that shares the least with it."""
    rows = dataset.context[dataset.user == user]
    numbers, counts = rows.unique(return_counts=True)
    frame = dataset.context_frame.iloc[numbers.numpy()]
    first = frame.iloc[int(counts.argmax())]
    other = frame.iloc[int((frame == first).sum(axis=1).argmin())]
    return first.to_dict(), other.to_dict()


def pictures():
    number = int(torch.bincount(dataset.user).argmax())  # Who did most.
    user, (a, b) = dataset.user_ids[number], least_alike_contexts(number)
    best = recommender.recommend(user, b, 1)['item'].iloc[0]
    explanation = recommender.explain(user, best, b)
    axes, of_factors = {}, () if args.split else ('user', 'item')
    for side in of_factors:
        axes[f'The factors of {side}s, in the contexts of rows of the data'] = (
            plot_factors(model, dataset, side)
        )
    axes[
        f'The parts of the scores of user {user} in two contexts: the intrinsic one '
        f'should stay the same'
    ] = plot_scores(recommender, user, a, b)
    for side in of_factors:
        axes[f'The weights by which the factors of {side}s are made'] = plot_generator(
            model, side
        )
    for side in explanation.features['side'].unique():
        axes[f'Why item {best} for user {user} in the second context: the {side}'] = (
            plot_explanation(explanation, side)
        )
    if history.is_file():
        axes['The training'] = plot_history(history)
    return axes


if args.page is not None:
    tables = {'Which measures tell the factors apart': report.separation}
    write_page(args.page, report, pictures(), tables)
    print(f'Page: {args.page}')
