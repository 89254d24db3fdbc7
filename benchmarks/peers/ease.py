"""EASE, as a model of users made of the items that they have."""

import time

import torch

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import UserBatch
from iedr_geo.training import TrainingResult


class EASE(torch.nn.Module):
    r"""The model from the `"Embarrassingly Shallow Autoencoders for Sparse Data"
    <https://arxiv.org/abs/1905.03375>`_ paper.

    .. math::
        \mathbf{B} = \mathbf{I} - \mathbf{P} \, \mathrm{diag}(\mathbf{P})^{-1}, \qquad
        \mathbf{P} = (\mathbf{X}^{\top} \mathbf{X} + \lambda \mathbf{I})^{-1}

    Args:
        train: The training edges :math:`\mathbf{X}`.
        l2: The regularisation :math:`\lambda`.
    """

    reads = ('item',)

    def __init__(self, train: BipartiteGraph, l2: float):
        super().__init__()
        self.config, self.num_items = {'l2': l2}, train.num_items
        x = torch.zeros(train.num_users, train.num_items, dtype=torch.double)
        x[train.user, train.item] = 1.0
        gram = x.t() @ x
        gram.diagonal().add_(l2)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
        weight = -inverse / inverse.diagonal()
        weight.diagonal().zero_()
        self.register_buffer('weight', weight.float())

    def encode(self, batch: UserBatch):
        """Returns the scores of all items, of shape :math:`(B, I)`."""
        scores = self.weight.new_zeros(len(batch.user), self.num_items)
        return scores.index_add_(0, batch.row, self.weight[batch.item])

    def decode(self, encoded, items=None):
        """Returns the scores of items, of shape :math:`(I)` or :math:`(B, I)`."""
        if items is None:
            return encoded
        return encoded.gather(1, items.expand(len(encoded), -1))


def tuned(make, evaluate, values, monitor):
    """Returns the settings of EASE with the regularisation that ranks validation lists
    best, and, for each one that was tried, what an epoch is for others.

    Args:
        make: Returns the model, given its regularisation.
        evaluate: Returns the evaluation of a model on the validation lists.
        values: What is tried.
        monitor: The metric that decides.
    """
    models, history = [], []
    for epoch, l2 in enumerate(values):
        start = time.perf_counter()
        models.append(make(l2))
        metrics = evaluate(models[-1]).metrics
        seconds = time.perf_counter() - start
        history.append({'epoch': epoch, 'l2': l2, **metrics, 'seconds': seconds})
    best = max(range(len(models)), key=lambda epoch: history[epoch][monitor])
    seconds = sum(each['seconds'] for each in history) / len(models)
    model = models[best]
    device = next(model.buffers()).device
    result = TrainingResult(model, history, best, seconds, device)
    return {'model': 'EASE', 'arguments': model.config}, result
