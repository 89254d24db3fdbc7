"""Trains factors that stay the same in contexts augmented in a way of one's own."""

import argparse
import copy

import torch
import torch.nn.functional as F

from iedr_geo.analysis import context_invariance
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionBatch, InteractionLoader
from iedr_geo.nn import ContextInvariantContrastiveLoss, MLPEncoder, MLPGenerator

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--epochs', type=int, default=10)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
dataset = PlantedFactors().to(device)
train, valid, test, _ = dataset.split()
loader = InteractionLoader(train, 256, shuffle=True, seed=args.seed)
popularity = torch.bincount(train.item, minlength=train.num_items).clamp(min=1)
num_fields = len(dataset.schema.context)


class Model(torch.nn.Module):
    def __init__(self, channels=32):
        super().__init__()
        self.embedding = torch.nn.Embedding(dataset.schema.num_embeddings, channels)
        self.encoders = torch.nn.ModuleDict(
            {side: MLPEncoder(channels, 64) for side in ('user', 'item', 'context')}
        )
        self.generator = MLPGenerator(channels, 64)

    def readout(self, side, x, ptr):
        return self.encoders[side](self.embedding(x), ptr=ptr)

    def readouts(self, batch):
        user = self.readout('user', batch.user.x, batch.user.ptr)
        context = self.readout('context', batch.context.x, batch.context.ptr)
        item = self.readout('item', batch.item.x, batch.item.ptr)
        return user[batch.user_graph], item, context[batch.context_graph]

    def forward(self, batch):
        user, item, context = self.readouts(batch)
        factors = self.generator(user, context)
        return (sum(factors) * item[batch.item_graph]).sum(dim=1)

    def mixed_contexts(self, batch):
        """Takes each field of a context from another row, with probability one half."""
        fields = batch.context.x.view(-1, num_fields)[batch.context_graph]
        other = fields[torch.randperm(len(fields), device=device)]
        mixed = torch.where(torch.rand(fields.shape, device=device) < 0.5, fields, other)
        ptr = torch.arange(len(fields) + 1, device=device) * num_fields
        return self.readout('context', mixed.flatten(), ptr)


def train_step(model, batch, optimizer, contrastive, own):
    user, item, context = model.readouts(batch)
    logits = sum(model.generator(user, context)) @ item.t()
    logits = logits - popularity[batch.item.graph_id].log()  # Sampling correction.
    loss = F.cross_entropy(logits, batch.item_graph)
    if contrastive is not None:
        other = model.mixed_contexts(batch) if own else None
        loss = loss + 0.1 * contrastive(
            model.generator, user, context, batch.user_id, other_context=other
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@torch.no_grad()
def invariance(model, rows):
    """How often a factor is more like the same user's in another context than like
    another user's in the same context."""
    batch = InteractionBatch.from_ids(dataset, rows.user, rows.item, rows.context)
    user, _, context = model.readouts(batch)
    pairs = (user, context), (user, context.roll(1, 0)), (user.roll(1, 0), context)
    factors = (model.generator.intrinsic(*pair) for pair in pairs)
    return context_invariance(*factors).auc.value


def fit(name, contrastive=None, own=False):
    torch.manual_seed(args.seed)
    model = Model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=1e-4)
    lists, best, best_model = dataset.candidates('valid'), 0.0, model
    for epoch in range(args.epochs):
        loader.set_epoch(epoch)
        for batch in loader:
            train_step(model, batch, optimizer, contrastive, own)
        ndcg = evaluate_candidates(model, valid, lists).metrics['ndcg@10']
        print(
            f'{name}, Epoch: {epoch:03d}, NDCG@10: {ndcg:.4f}, '
            f'Invariance: {invariance(model, valid):.3f}',
            flush=True,
        )
        if ndcg > best:
            best, best_model = ndcg, copy.deepcopy(model)
    evaluation = evaluate_candidates(best_model, test, dataset.candidates('test'))
    return evaluation, invariance(best_model, test)


contrastive = ContextInvariantContrastiveLoss(10, mask_false_negatives=True)
results = {
    'no loss': fit('No loss'),
    'contexts of IEDR': fit('Contexts of IEDR', contrastive),
    'mixed contexts': fit('Mixed contexts', contrastive, own=True),
}
for name, (evaluation, value) in results.items():
    print(f'Test, {name}: {evaluation}  invariance {value:.3f}')
print(results['mixed contexts'][0].difference(results['no loss'][0]))
