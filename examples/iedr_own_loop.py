"""Trains IEDR in a plain PyTorch loop, on the planted data.

A reader gets both steps of IEDR's training and validation by epoch, without Lightning.
"""

import argparse

import torch

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionLoader
from iedr_geo.nn import IEDR, BCEObjective

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--epochs', type=int, default=10)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
torch.manual_seed(args.seed)

dataset = PlantedFactors().to(device)
train, valid, test, _ = dataset.split()
negatives = UniformNegativeSampler(2)
loader = InteractionLoader(train, 256, negatives, shuffle=True, seed=args.seed)
valid_lists = dataset.candidates('valid')
model = IEDR(dataset.schema.num_embeddings, num_negatives=8).to(device)
optimizer = torch.optim.Adam(model.main_parameters(), lr=0.003, weight_decay=1e-5)
objective = BCEObjective()
estimator = torch.optim.Adam(model.estimator_parameters(), lr=0.003, weight_decay=1e-5)


def train_epoch(epoch):
    model.train()
    loader.set_epoch(epoch)
    total = torch.zeros((), device=device)
    for batch in loader:
        encoded = model.encode(batch)

        # Step 1: how well do intrinsic and extrinsic factors predict each other?
        loss = model.estimator_loss(encoded)
        estimator.zero_grad()
        loss.backward()
        estimator.step()

        # Step 2: rank, keep intrinsic factors the same, and keep the factors apart.
        loss = objective(encoded.logits, batch.y)
        loss = loss + sum(model.extra_losses(batch, encoded).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return float(total) / len(loader)


best, best_state = 0.0, model.state_dict()
for epoch in range(args.epochs):
    loss = train_epoch(epoch)
    metrics = evaluate_candidates(model, valid, valid_lists).metrics
    print(
        f'Epoch: {epoch:03d}, Loss: {loss:.4f}, NDCG@10: {metrics["ndcg@10"]:.4f}',
        flush=True,
    )
    if metrics['ndcg@10'] > best:
        best = metrics['ndcg@10']
        best_state = {name: t.clone() for name, t in model.state_dict().items()}

model.load_state_dict(best_state)
print('Test:', evaluate_candidates(model, test, dataset.candidates('test')))
