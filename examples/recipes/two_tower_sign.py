"""Trains a two-tower model whose features are encoded by SIGN, or by their mean."""

import argparse
import copy

import torch
import torch.nn.functional as F

from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionLoader
from iedr_geo.nn import SIGN, MeanEncoder, MLPEncoder

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--epochs', type=int, default=15)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
dataset = PlantedFactors().to(device)
train, valid, test, _ = dataset.split()
loader = InteractionLoader(train, 256, shuffle=True, seed=args.seed)
popularity = torch.bincount(train.item, minlength=train.num_items).clamp(min=1)


class TwoTower(torch.nn.Module):
    def __init__(self, make_encoder, mean, channels=32):
        super().__init__()
        self.embedding = torch.nn.Embedding(dataset.schema.num_embeddings, channels)
        torch.nn.init.normal_(self.embedding.weight, mean=mean)
        self.encoders = torch.nn.ModuleDict(
            {side: make_encoder(channels) for side in ('user', 'item', 'context')}
        )

    def encode(self, side, graphs):
        # With `node_id`, a pair of features is encoded once, however often it occurs.
        return self.encoders[side](
            self.embedding(graphs.x),
            graphs.edge_index,
            graphs.ptr,
            node_id=graphs.x,
            complete=True,
        )

    def towers(self, batch):
        user = self.encode('user', batch.user)[batch.user_graph]
        context = self.encode('context', batch.context)[batch.context_graph]
        return user * context, self.encode('item', batch.item)

    def forward(self, batch):
        query, item = self.towers(batch)
        return (query * item[batch.item_graph]).sum(dim=1)


def train_epoch(model, optimizer, epoch):
    loader.sampler.set_epoch(epoch)
    total = torch.zeros((), device=device)
    for batch in loader:
        query, item = model.towers(batch)
        # A softmax over the batch's distinct items, among which popular ones are
        # found more often: the correction takes that away again.
        logits = query @ item.t() - popularity[batch.item.graph_id].log()
        loss = F.cross_entropy(logits, batch.item_graph)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return float(total) / len(loader)


def fit(name, make_encoder, mean):
    torch.manual_seed(args.seed)
    model = TwoTower(make_encoder, mean).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=1e-4)
    lists, best, best_model = dataset.candidates('valid'), 0.0, model
    for epoch in range(args.epochs):
        loss = train_epoch(model, optimizer, epoch)
        ndcg = evaluate_candidates(model, valid, lists).metrics['ndcg@10']
        print(
            f'{name}, Epoch: {epoch:03d}, Loss: {loss:.4f}, NDCG@10: {ndcg:.4f}',
            flush=True,
        )
        if ndcg > best:
            best, best_model = ndcg, copy.deepcopy(model)
    return evaluate_candidates(best_model, test, dataset.candidates('test'))


# Each with the mean of its embeddings, 0 or 1, that is better in validation.
mean = fit('Mean', lambda channels: MeanEncoder(), mean=0.0)
mlp = fit('MLP', lambda channels: MLPEncoder(channels, 64), mean=0.0)
sign = fit('SIGN', lambda channels: SIGN(channels, 64), mean=1.0)
print('Test, mean of the features:', mean)
print('Test, MLP of the mean:     ', mlp)
print('Test, SIGN:                ', sign)
print('SIGN over the mean:', sign.difference(mean), sep='\n')
print('SIGN over the MLP:', sign.difference(mlp), sep='\n')
