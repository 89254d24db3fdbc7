"""Trains PyG's own LightGCN with the negatives of DICE (PNSM), against uniform ones.

A reader gets a model of another library, trained by `BipartiteModule` as it is: all that
it needs is `score(user, item)`.

requires: pip install "iedr_geo[train]"
"""

import logging
import tempfile

import torch
from shared import parse
from torch_geometric.nn import LightGCN

from iedr_geo.data import PopularityMarginSampler, UniformNegativeSampler
from iedr_geo.datasets import PlantedClicks
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import NDCG, Recall
from iedr_geo.training import BipartiteModule, fit

args = parse(__doc__, epochs=16)
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)

# Clicks to be found are those of a policy that shows all items alike.
train, valid, test = PlantedClicks().split()
size = train.num_users, train.num_items
metrics = (Recall(20), NDCG(20))


class Model(LightGCN):
    """The only thing that is asked of it: the scores of users and items."""

    def __init__(self, channels=32):
        super().__init__(sum(size), channels, num_layers=2, normalize=False)
        edge_index, edge_weight = train.adjacency()  # Items come after users.
        self.register_buffer('edge_index', edge_index.as_tensor())
        self.register_buffer('edge_weight', edge_weight)

    def score(self, user, item):
        x = self.get_embedding(self.edge_index, self.edge_weight)
        users, items = x.split(size)
        return (users[user] * items[item]).sum(dim=-1)


def train_and_test(name, negatives):
    torch.manual_seed(args.seed)
    # The margin shrinks by a tenth an epoch, as in DICE; uniform negatives have none.
    module = BipartiteModule(
        Model(),
        train,
        valid,
        negatives=negatives,
        learning_rate=0.03,
        metrics=metrics,
        monitor='recall@20',
        seed=args.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = fit(module, folder, max_epochs=args.epochs, progress=False)
    for epoch in result.history:
        print(
            f'{name}, Epoch: {epoch["epoch"]:03d}, Loss: {epoch["loss"]:.4f}, '
            f'Recall@20: {epoch["recall@20"]:.4f}'
        )
    return evaluate_catalogue(result.model, test, train, metrics)


uniform = UniformNegativeSampler(4, exclude='seen', resample=True)
before = train_and_test('Uniform', uniform)
after = train_and_test('PNSM', PopularityMarginSampler(4, margin=20))
print('Test, uniform:', before)
print('Test, PNSM:   ', after)
print(after.difference(before))
