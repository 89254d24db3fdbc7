"""Puts IEDR's user side, with its two losses, over the item vectors of LightGCN.

A reader gets a disentangled, context-aware user side for items that have vectors of
their own, in a plain PyTorch loop.
"""

import torch
import torch.nn.functional as F
from shared import fit, parse

from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import PlantedFactors
from iedr_geo.nn import SIGN, BiCLUB, LightGCN, MLPGenerator
from iedr_geo.nn import ContextInvariantContrastiveLoss as ContrastiveLoss

args = parse(__doc__, epochs=12)

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
dataset = PlantedFactors().to(device)
graph = BipartiteGraph.from_dataset(dataset.split().train)
contrastive = ContrastiveLoss(10, mask_false_negatives=True)


class ByLightGCN(torch.nn.Module):
    """LightGCN as it is: knows who chose what, and neither features nor contexts."""

    def __init__(self, channels=32):
        super().__init__()
        adjacency = graph.adjacency()
        self.lightgcn = LightGCN(graph.num_users, graph.num_items, *adjacency, channels)

    def query(self, batch):
        return self.lightgcn.embeddings()[0][batch.user_id]

    def scores(self, query):
        return query @ self.lightgcn.embeddings()[1].t()

    def forward(self, batch):
        scores = self.scores(self.query(batch))
        return scores.gather(1, batch.item_id.unsqueeze(1)).squeeze(1)


class ByIEDR(ByLightGCN):
    """What the user wants of the items of LightGCN is said by IEDR's factors."""

    def __init__(self, channels=32):
        super().__init__(channels)
        self.embedding = torch.nn.Embedding(dataset.schema.num_embeddings, channels)
        torch.nn.init.normal_(self.embedding.weight, mean=1.0)
        self.user, self.context = SIGN(channels, 64), SIGN(channels, 64)
        self.generator = MLPGenerator(channels, 64)

    def readout(self, encoder, graphs):
        x = self.embedding(graphs.x)
        return encoder(x, graphs.edge_index, graphs.ptr, node_id=graphs.x)

    def readouts(self, batch):
        user = self.readout(self.user, batch.user)[batch.user_graph]
        return user, self.readout(self.context, batch.context)[batch.context_graph]

    def query(self, batch):
        return sum(self.generator(*self.readouts(batch)))


def train_and_test(name, make_model, lr, club=None):
    torch.manual_seed(args.seed)
    model = make_model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=1e-4)
    estimator = club and torch.optim.Adam(club.parameters(), lr=0.005)

    def step(model, batch):
        if club is None:
            query, extra = model.query(batch), 0.0
        else:
            user, context = model.readouts(batch)
            factors = model.generator(user, context)
            loss = club.estimator_loss(*factors)  # Trains the estimator alone.
            estimator.zero_grad()
            loss.backward()
            estimator.step()
            query = sum(factors)
            extra = 0.01 * contrastive(model.generator, user, context, batch.user_id)
            extra = extra + 0.1 * club(*factors)
        # All items are at hand: a softmax over the catalogue.
        loss = F.cross_entropy(model.scores(query), batch.item_id) + extra
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return fit(name, model, step, dataset, args)


_, lightgcn = train_and_test('LightGCN', ByLightGCN, 0.03)
_, without = train_and_test('IEDR without its losses', ByIEDR, 0.005)
_, iedr = train_and_test('IEDR', ByIEDR, 0.005, BiCLUB(32, 64).to(device))
print('IEDR over LightGCN:', iedr.difference(lightgcn), sep='\n')
print('IEDR over IEDR without its losses:', iedr.difference(without), sep='\n')
