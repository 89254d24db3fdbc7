"""Trains a two-tower model whose features are encoded by SIGN, or by their mean.

A reader gets a model of one's own with an encoder of the library in it, trained by
`InteractionModule` with a softmax over the items of a batch.

requires: pip install "iedr_geo[train]"
"""

import logging
import tempfile

import torch
from shared import parse

from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import compare, evaluate_candidates
from iedr_geo.nn import SIGN, MeanEncoder, MLPEncoder, SoftmaxObjective
from iedr_geo.training import InteractionModule, fit

args = parse(__doc__, epochs=15)
logging.getLogger('lightning.pytorch').setLevel(logging.WARNING)

dataset = PlantedFactors()
train, valid, test, _ = dataset.split()


class TwoTower(torch.nn.Module):
    def __init__(self, make_encoder, mean, channels=32):
        super().__init__()
        self.embedding = torch.nn.Embedding(dataset.schema.num_embeddings, channels)
        torch.nn.init.normal_(self.embedding.weight, mean=mean)
        self.encoders = torch.nn.ModuleDict(
            {side: make_encoder(channels) for side in ('user', 'item', 'context')}
        )

    def readout(self, side, graphs):
        # With `node_id`, a pair of features is encoded once, however often it occurs.
        x = self.embedding(graphs.x)
        return self.encoders[side](x, graphs.edge_index, graphs.ptr, node_id=graphs.x)

    def towers(self, batch):
        user = self.readout('user', batch.user)[batch.user_graph]
        context = self.readout('context', batch.context)[batch.context_graph]
        return user * context, self.readout('item', batch.item)

    def forward(self, batch):
        query, item = self.towers(batch)
        return (query * item[batch.item_graph]).sum(dim=1)

    def score_items(self, batch, items, encoded):
        """The same for every row with items of the batch: one product of matrices."""
        query, item = self.towers(batch)
        return query @ item[items].t()


def train_and_test(name, make_encoder, mean):
    torch.manual_seed(args.seed)
    module = InteractionModule(
        TwoTower(make_encoder, mean),
        train,
        valid,
        dataset.candidates('valid'),
        # A softmax over the items of the batch, which needs no negatives.
        objective=SoftmaxObjective(over='batch'),
        batch_size=256,
        learning_rate=0.005,
        weight_decay=1e-4,
        seed=args.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = fit(module, folder, max_epochs=args.epochs, progress=False)
    for epoch in result.history:
        print(
            f'{name}, Epoch: {epoch["epoch"]:03d}, Loss: {epoch["loss"]:.4f}, '
            f'NDCG@10: {epoch["ndcg@10"]:.4f}'
        )
    return evaluate_candidates(result.model, test, dataset.candidates('test'))


# Each with the mean of its embeddings, 0 or 1, that is better in validation.
mean = train_and_test('Mean', lambda channels: MeanEncoder(), mean=0.0)
mlp = train_and_test('MLP', lambda channels: MLPEncoder(channels, 64), mean=0.0)
sign = train_and_test('SIGN', lambda channels: SIGN(channels, 64), mean=1.0)
print('Test, mean of the features:', mean)
print('Test, MLP of the mean:     ', mlp)
print('Test, SIGN:                ', sign)
table = compare({'SIGN': sign, 'MLP': mlp, 'mean': mean})
print(table.loc['ndcg@10'].round(4).to_string())
