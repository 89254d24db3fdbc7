"""Models of users and items alone."""

import torch

from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import UserBatch
from iedr_geo.nn import LightGCN
from peers import ease

L2 = (1.0, 10.0, 100.0, 1000.0)


class GraphModel(torch.nn.Module):
    """A model of the graph of users and items, on rows that have contexts.

    So it is trained on the same rows and negatives as others, and chosen by the same
    lists.

    Args:
        model: The model.
    """

    reads = ('user', 'item')

    def __init__(self, model):
        super().__init__()
        self.config, self.model = model.config, model

    def forward(self, batch):
        return self.model.score(batch.user_id, batch.item_id)


def lightgcn(train, channels=64, num_layers=2):
    """Returns LightGCN on the graph of training rows."""
    graph = BipartiteGraph.from_dataset(train)
    sizes = train.num_users, train.num_items
    model = LightGCN(*sizes, *graph.adjacency(), channels, num_layers, std=0.1)
    return GraphModel(model)


class EASE(torch.nn.Module):
    """EASE, with the scores of all pairs of users and items.

    Args:
        train: The training rows.
        l2: The regularisation.
    """

    reads = ('user', 'item')

    def __init__(self, train, l2):
        super().__init__()
        graph = BipartiteGraph.from_dataset(train)
        model = ease.EASE(graph, l2)
        self.config = model.config
        batch = UserBatch.from_graph(graph, torch.arange(graph.num_users))
        self.register_buffer('scores', model.encode(batch))

    def forward(self, batch):
        return self.scores[batch.user_id, batch.item_id]


def tuned_ease(train, valid, lists):
    """Returns EASE as :func:`~peers.ease.tuned` does."""
    return ease.tuned(
        lambda l2: EASE(train, l2),
        lambda model: evaluate_candidates(model, valid, lists),
        L2,
        'ndcg@10',
    )
