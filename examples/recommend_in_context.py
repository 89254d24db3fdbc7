"""Recommends to one user in two contexts, and says what changes and why.

A reader gets the use of a `Recommender`: top items, two contexts compared, a score
explained.

requires: pip install "iedr_geo[train]"

python examples/recommend_in_context.py                     # planted data, a minute
python examples/recommend_in_context.py --dataset frappe --root FOLDER
    --model runs/frappe-best-IEDR-0/model    # a model that benchmarks/iedr.py trained
"""

import argparse
import logging

import pandas as pd
import torch
from quick_model import most_active_user, train_quickly, two_contexts

from iedr_geo.datasets import Frappe, PlantedFactors
from iedr_geo.recommend import Recommender

parser = argparse.ArgumentParser(
    description=__doc__.splitlines()[0],
    formatter_class=argparse.ArgumentDefaultsHelpFormatter,
)
parser.add_argument('--dataset', choices=['planted', 'frappe'], default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument('--model', help='a saved model (default: train one)')
parser.add_argument('--user', help='whom to recommend to (default: who did most)')
parser.add_argument('--k', type=int, default=8)
parser.add_argument('--epochs', type=int, default=4, help='of training')
parser.add_argument('--seed', type=int, default=0)
parser.add_argument('--threads', type=int, help='of PyTorch, on a CPU')
parser.add_argument('--quiet', action='store_true', help='no progress bar')
args = parser.parse_args()
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)
if args.threads is not None:
    torch.set_num_threads(args.threads)

if args.dataset == 'frappe':
    dataset = Frappe(args.root)
    table = dataset.apps().set_index('item')[['name', 'category']]
else:
    dataset = PlantedFactors()
    table = dataset.planted.items.set_index('item')[['category', 'price']]

if args.model is None:
    trained = train_quickly(dataset, args.epochs, args.seed, not args.quiet)
    recommender = Recommender(trained.model, dataset)
else:
    recommender = Recommender.load(args.model)

user = most_active_user(dataset) if args.user is None else args.user
contexts = two_contexts(dataset)

pd.set_option('display.width', 120, 'display.max_columns', 12, 'display.precision', 2)
for context in contexts:
    print(f'\nFor user {user}: ' + ', '.join(map(str, context.values())))
    found = recommender.recommend(user, context, args.k)
    print(found.join(table, on='item').to_string(index=False))

print('\nFrom the first context to the second')
changes = recommender.compare_contexts(user, *contexts, k=args.k)
print(changes.join(table.iloc[:, :1], on='item').to_string(index=False))

best = recommender.recommend(user, contexts[1], 1)['item'].iloc[0]
print(f'\nWhy {table.loc[best].iloc[0]} ({best}) in the second context?')
print(recommender.explain(user, best, contexts[1]))
