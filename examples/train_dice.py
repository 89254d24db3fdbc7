"""Trains DICE on planted clicks, and says what interest and conformity follow.

A reader gets the way from clicks to a model of interest and conformity in one page: an
intervened split, negatives with a popularity margin, training, evaluation of each factor.

requires: pip install "iedr_geo[train]"

python examples/train_dice.py                               # planted clicks
python examples/train_dice.py --dataset ml-1m --root FOLDER
"""

import argparse
import logging

import torch

from iedr_geo.analysis import popularity_overlap
from iedr_geo.data import PopularityMarginSampler, intervened_split
from iedr_geo.datasets import MovieLens1M, PlantedClicks
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.nn import DICE, MF, Popularity
from iedr_geo.training import BipartiteModule, fit

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--dataset', choices=['planted', 'ml-1m'], default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument('--epochs', type=int, default=20)
args = parser.parse_args()
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)

if args.dataset == 'ml-1m':
    graph = MovieLens1M(args.root).graph(min_rating=5, min_records=11)
else:
    graph = PlantedClicks().graph
train, valid, test = intervened_split(graph)  # As if all items were shown alike.

torch.manual_seed(0)
model = DICE(MF(train.num_users, train.num_items, channels=64), train.popularity)
module = BipartiteModule(model, train, valid, negatives=PopularityMarginSampler())
folder = f'runs/dice-{args.dataset}-{args.epochs}-epochs'
result = fit(module, folder, max_epochs=args.epochs, patience=4, overwrite=True)

print('popularity:', evaluate_catalogue(Popularity.fit(train), test, train))
for part in (None, 'interest', 'conformity'):
    evaluation = evaluate_catalogue(result.model, test, train, part=part)
    overlap = popularity_overlap(result.model, train, 50, part)
    print(f'{part or "DICE"}: {evaluation}  shared with the most popular {overlap:.3f}')
