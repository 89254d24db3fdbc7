"""Trains IEDR, compares it with what is popular, and saves it.

A reader gets the whole way from a dataset to a saved model in one page: negatives,
training with early stopping, evaluation on lists of candidates, a recommender.

requires: pip install "iedr_geo[train]"

python examples/train_iedr.py                                # planted data, a minute
python examples/train_iedr.py --dataset frappe --root FOLDER
"""

import argparse
import logging

import torch

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.datasets import Frappe, PlantedFactors
from iedr_geo.evaluation import compare, evaluate_candidates
from iedr_geo.nn import IEDR, Popularity
from iedr_geo.recommend import Recommender
from iedr_geo.training import InteractionModule, fit

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--dataset', choices=['planted', 'frappe'], default='planted')
parser.add_argument('--root', help='folder with the raw files (default: download)')
parser.add_argument('--epochs', type=int, default=8)
args = parser.parse_args()
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)

dataset = Frappe(args.root) if args.dataset == 'frappe' else PlantedFactors()
train, valid, test, _ = dataset.split()

torch.manual_seed(0)
model = IEDR(dataset.schema.num_embeddings, contrastive_weight=0.01, num_negatives=8)
module = InteractionModule(
    model,
    train,
    valid,
    dataset.candidates('valid'),
    negatives=UniformNegativeSampler(4, resample=True),
    batch_size=512,
    learning_rate=3e-3,
)
folder = f'runs/iedr-{args.dataset}-{args.epochs}-epochs'
result = fit(module, folder, max_epochs=args.epochs, overwrite=True)

lists = dataset.candidates('test')
evaluations = {
    'IEDR': evaluate_candidates(result.model, test, lists),
    'popularity': evaluate_candidates(Popularity.fit(train), test, lists),
}
for name, evaluation in evaluations.items():
    print(f'{name}: {evaluation}')
print(compare(evaluations).loc['ndcg@10'].round(4).to_string())

Recommender(result.model, dataset).save(f'{folder}/model')
