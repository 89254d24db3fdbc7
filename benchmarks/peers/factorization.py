"""Factorisation machines, with a network and without, and a network that is wide."""

import torch

from peers.fields import FieldModel, Fields, Network


class Linear(torch.nn.Module):
    """A learned number for each feature, and one for all rows."""

    def __init__(self, schema):
        super().__init__()
        self.fields = Fields(schema, 1, std=0.0)
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def forward(self, batch):
        """Returns the sum of the numbers of each row."""
        sums = [side.x.sum(dim=(1, 2))[side.rows] for side in self.fields(batch)]
        return sum(sums) + self.bias


def pairs(sides):
    """Returns the sum of the inner products of all pairs of fields of each row."""
    total = sum(x.sum(dim=1)[rows] for x, rows in sides)
    squares = sum(x.square().sum(dim=(1, 2))[rows] for x, rows in sides)
    return (total.square().sum(dim=1) - squares) / 2


class FM(FieldModel):
    """The model from the `"Factorization Machines"
    <https://doi.org/10.1109/ICDM.2010.127>`_ paper.
    """

    def __init__(self, data, channels=64):
        super().__init__(data, channels)
        self.linear = Linear(data.schema)

    def forward(self, batch):
        return self.linear(batch) + pairs(self.fields(batch))


class DeepFM(FieldModel):
    """The model from the `"DeepFM: A Factorization-Machine based Neural Network for CTR
    Prediction" <https://arxiv.org/abs/1703.04247>`_ paper.
    """

    def __init__(self, data, channels=64, hidden_channels=128, num_layers=2):
        sizes = {'hidden_channels': hidden_channels, 'num_layers': num_layers}
        super().__init__(data, channels, **sizes)
        self.linear = Linear(data.schema)
        self.network = Network(self.fields.num_fields, channels, **sizes)

    def forward(self, batch):
        sides = self.fields(batch)
        deep = self.network(sides).squeeze(1)
        return self.linear(batch) + pairs(sides) + deep


class WideDeep(DeepFM):
    """The model from the `"Wide & Deep Learning for Recommender Systems"
    <https://arxiv.org/abs/1606.07792>`_ paper.

    Its wide part is of features alone, as in public packages: products of features would
    have to be chosen by hand.
    """

    def forward(self, batch):
        return self.linear(batch) + self.network(self.fields(batch)).squeeze(1)
