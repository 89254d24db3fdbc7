"""Trains PyG's own LightGCN with the negatives of DICE (PNSM), against uniform ones."""

import argparse
import copy
from typing import ClassVar

import torch
from torch_geometric.nn import LightGCN

from iedr_geo.data import PopularityMarginSampler, UniformNegativeSampler
from iedr_geo.datasets import PlantedClicks
from iedr_geo.evaluation import evaluate_bipartite
from iedr_geo.loader import BipartiteLoader
from iedr_geo.metrics import NDCG, Recall
from iedr_geo.nn import bpr_loss

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--epochs', type=int, default=16)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
# Clicks to be found are those of a policy that shows all items alike.
train, valid, test = (part.to(device) for part in PlantedClicks().split())
edge_index, edge_weight = train.adjacency()  # Normalised; items come after users.
metrics = (Recall(20), NDCG(20))


class Model(LightGCN):
    factors: ClassVar = {}  # The evaluation asks for named parts of the vectors, ...

    def embeddings(self):  # ... and for the vectors of all users and items.
        x = self.get_embedding(edge_index, edge_weight)
        return x.split([train.num_users, train.num_items])


def train_epoch(model, optimizer, loader):
    total = torch.zeros((), device=device)
    for batch in loader:
        item = torch.cat([batch.item.unsqueeze(1), batch.negative], dim=1)
        user = batch.user.unsqueeze(1).expand_as(item)
        pairs = torch.stack([user, item + train.num_users]).flatten(1)
        score = model(edge_index, pairs, edge_weight).view_as(item)
        loss = bpr_loss(score[:, 0], score[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return float(total) / len(loader)


def fit(name, negatives):
    torch.manual_seed(args.seed)
    size = train.num_users + train.num_items
    model = Model(size, 32, num_layers=2, normalize=False).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    # The margin shrinks by a tenth an epoch, as in DICE; uniform negatives have none.
    loader = BipartiteLoader(
        train, 1024, negatives, shuffle=True, decay=0.9, seed=args.seed
    )
    best, best_model = 0.0, model
    for epoch in range(args.epochs):
        loader.set_epoch(epoch)
        loss = train_epoch(model, optimizer, loader)
        recall = evaluate_bipartite(model, valid, train, metrics).metrics['recall@20']
        print(
            f'{name}, Epoch: {epoch:03d}, Loss: {loss:.4f}, Recall@20: {recall:.4f}',
            flush=True,
        )
        if recall > best:
            best, best_model = recall, copy.deepcopy(model)
    return best_model


uniform = fit('Uniform', UniformNegativeSampler(4, exclude='seen', resample=True))
pnsm = fit('PNSM', PopularityMarginSampler(4, margin=20))
before, after = (evaluate_bipartite(m, test, train, metrics) for m in (uniform, pnsm))
print('Test, uniform:', before)
print('Test, PNSM:   ', after)
print(after.difference(before))
