"""Trains factors that stay the same in contexts augmented in a way of one's own.

A reader gets the contrastive loss of IEDR in a network of another kind, in a plain
PyTorch loop, and the place where an augmentation of one's own goes in.
"""

import torch
import torch.nn.functional as F
from shared import fit, invariance, parse

from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import ContextInvariantContrastiveLoss, MLPEncoder, MLPGenerator

args = parse(__doc__, epochs=10)

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
dataset = PlantedFactors().to(device)
train = dataset.split().train
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


def measure(model, rows):
    batch = InteractionBatch.from_ids(dataset, rows.user, rows.item, rows.context)
    user, _, context = model.readouts(batch)
    return f'invariance {invariance(model.generator, user, context):.3f}'


def train_and_test(name, contrastive=None, own=False):
    torch.manual_seed(args.seed)
    model = Model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005, weight_decay=1e-4)

    def step(model, batch):
        train_step(model, batch, optimizer, contrastive, own)

    return fit(name, model, step, dataset, args, measure)[1]


contrastive = ContextInvariantContrastiveLoss(10, mask_false_negatives=True)
without = train_and_test('no loss')
train_and_test('contexts of IEDR', contrastive)
print(train_and_test('mixed contexts', contrastive, own=True).difference(without))
