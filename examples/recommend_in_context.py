"""Recommends to one user in two contexts, and says what changes and why.

requires: pip install "iedr_geo[train]"

python examples/recommend_in_context.py                     # planted data, a minute
python examples/recommend_in_context.py --dataset frappe --root FOLDER
    --model runs/frappe-best-IEDR-0/model    # a model that examples/iedr.py trained
"""

import argparse
import logging
import tempfile

import pandas as pd
import torch

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.datasets import Frappe, PlantedFactors
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender
from iedr_geo.training import IEDRModule, fit

CONTEXTS = {
    'planted': (
        {'daytime': 'noon', 'weekday': 'tue', 'place': 'work', 'company': 'alone'},
        {'daytime': 'evening', 'weekday': 'sat', 'place': 'home', 'company': 'family'},
    ),
    'frappe': (
        {
            'daytime': 'morning',
            'weekday': 'tuesday',
            'isweekend': 'workday',
            'homework': 'work',
            'cost': 'free',
            'weather': 'cloudy',
        },
        {
            'daytime': 'evening',
            'weekday': 'saturday',
            'isweekend': 'weekend',
            'homework': 'home',
            'cost': 'free',
            'weather': 'sunny',
        },
    ),
}

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


def train():
    frappe = args.dataset == 'frappe'
    torch.manual_seed(args.seed)
    arguments = {'channels': 64, 'generator': 'residual'} if frappe else {}
    model = IEDR(dataset.schema.num_embeddings, contrastive_weight=0.01, **arguments)
    parts = dataset.split()
    module = IEDRModule(
        model,
        parts.train,
        parts.valid,
        dataset.candidates('valid'),
        negatives=UniformNegativeSampler(5, resample=True),
        batch_size=2048 if frappe else 512,
        group_negatives=True,
        learning_rate=3e-3,
        decay_epochs=args.epochs,
        weight_decay=0.0,
        seed=args.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        quiet = {'progress': not args.quiet}
        return fit(module, folder, max_epochs=args.epochs, **quiet).model


if args.model is None:
    recommender = Recommender(train(), dataset)
else:
    recommender = Recommender.load(args.model)

most = dataset.user_ids[int(torch.bincount(dataset.user).argmax())]
user = most if args.user is None else args.user
contexts = [dict(context) for context in CONTEXTS[args.dataset]]
if args.dataset == 'frappe':  # Where the user is most of the time.
    [number] = dataset.user_ids.get_indexer([most])
    rows = dataset.context_frame.iloc[dataset.context[dataset.user == number].numpy()]
    for context in contexts:
        context |= rows[['country', 'city']].mode().iloc[0].to_dict()

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
