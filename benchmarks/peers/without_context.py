"""Models of users and items alone."""

import time

import torch

from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.nn import LightGCN
from iedr_geo.training import TrainingResult

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
    r"""The model from the `"Embarrassingly Shallow Autoencoders for Sparse Data"
    <https://arxiv.org/abs/1905.03375>`_ paper, with the scores of all pairs.

    .. math::
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\mathbf{P})^{-1}, \qquad
        \mathbf{P} = (\mathbf{X}^{\top} \mathbf{X} + \lambda \mathbf{I})^{-1}

    Args:
        train: The training rows.
        l2: The regularisation :math:`\lambda`.
    """

    reads = ('user', 'item')

    def __init__(self, train, l2):
        super().__init__()
        self.config = {'l2': l2}
        x = torch.zeros(train.num_users, train.num_items, dtype=torch.double)
        graph = BipartiteGraph.from_dataset(train)
        x[graph.user, graph.item] = 1.0
        gram = x.t() @ x
        gram.diagonal().add_(l2)
        inverse = torch.linalg.inv(gram)
        weight = -inverse / inverse.diagonal()
        weight.diagonal().zero_()
        self.register_buffer('scores', (x @ weight).float())

    def forward(self, batch):
        return self.scores[batch.user_id, batch.item_id]


def tuned_ease(train, valid, lists):
    """Returns the settings of EASE with the regularisation that ranks validation lists
    best, and, for each one that was tried, what an epoch is for others.
    """
    models, history = [], []
    for epoch, l2 in enumerate(L2):
        start = time.perf_counter()
        models.append(EASE(train, l2))
        metrics = evaluate_candidates(models[-1], valid, lists).metrics
        seconds = time.perf_counter() - start
        history.append({'epoch': epoch, 'l2': l2, **metrics, 'seconds': seconds})
    best = max(range(len(L2)), key=lambda epoch: history[epoch]['ndcg@10'])
    seconds = sum(each['seconds'] for each in history) / len(L2)
    model = models[best]
    result = TrainingResult(model, history, best, seconds, model.scores.device)
    return {'model': 'EASE', 'arguments': model.config}, result
