"""Puts IEDR's user side, with its two losses, over the item vectors of LightGCN."""

import argparse
import copy

import torch
import torch.nn.functional as F

from iedr_geo.analysis import context_invariance
from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionBatch, InteractionLoader
from iedr_geo.nn import SIGN, BiCLUB, LightGCN, MLPGenerator
from iedr_geo.nn import ContextInvariantContrastiveLoss as ContrastiveLoss

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--epochs', type=int, default=12)
parser.add_argument('--seed', type=int, default=0)
args = parser.parse_args()

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
dataset = PlantedFactors().to(device)
train, valid, test, _ = dataset.split()
graph = BipartiteGraph.from_dataset(train)
loader = InteractionLoader(train, 256, shuffle=True, seed=args.seed)
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

    def readouts(self, batch):
        for encoder, graphs, rows in (
            (self.user, batch.user, batch.user_graph),
            (self.context, batch.context, batch.context_graph),
        ):
            x = self.embedding(graphs.x)
            options = {'node_id': graphs.x, 'rows': rows, 'complete': True}
            yield encoder(x, graphs.edge_index, graphs.ptr, **options)

    def query(self, batch):
        return sum(self.generator(*self.readouts(batch)))


def train_step(model, batch, optimizer, estimator, club):
    extra = 0.0
    if club is None:
        query = model.query(batch)
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


def fit(name, make_model, lr, club=None):
    torch.manual_seed(args.seed)
    model = make_model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=1e-4)
    estimator = club and torch.optim.Adam(club.parameters(), lr=0.005)
    lists, best, best_model = dataset.candidates('valid'), 0.0, model
    for epoch in range(args.epochs):
        loader.set_epoch(epoch)
        for batch in loader:
            train_step(model, batch, optimizer, estimator, club)
        ndcg = evaluate_candidates(model, valid, lists).metrics['ndcg@10']
        print(f'{name}, Epoch: {epoch:03d}, NDCG@10: {ndcg:.4f}', flush=True)
        if ndcg > best:
            best, best_model = ndcg, copy.deepcopy(model)
    evaluation = evaluate_candidates(best_model, test, dataset.candidates('test'))
    print(f'Test, {name}: {evaluation}')
    return best_model, evaluation


@torch.no_grad()
def invariance(model):
    """How often an intrinsic factor is more like the same user's in another context than
    like another user's in the same context."""
    batch = InteractionBatch.from_ids(dataset, test.user, test.item, test.context)
    user, context = model.readouts(batch)
    pairs = (user, context), (user, context.roll(1, 0)), (user.roll(1, 0), context)
    factors = (model.generator.intrinsic(*pair) for pair in pairs)
    return context_invariance(*factors).auc.value


_, lightgcn = fit('LightGCN', ByLightGCN, 0.03)
plain_model, plain = fit('IEDR without its losses', ByIEDR, 0.005)
model, iedr = fit('IEDR', ByIEDR, 0.005, BiCLUB(32, 64).to(device))
print('IEDR over LightGCN:', iedr.difference(lightgcn), sep='\n')
print('IEDR over IEDR without its losses:', iedr.difference(plain), sep='\n')
print(f'Invariance: {invariance(plain_model):.3f} without, {invariance(model):.3f} with')
