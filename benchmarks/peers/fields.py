"""The vectors of fields, and a network of them."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch_geometric.nn import MLP
from torch_geometric.utils import scatter

from iedr_geo.data import MultiCategorical
from iedr_geo.nn import FeatureEmbedding

SIDES = ('user', 'item', 'context')


class Side(NamedTuple):
    """The fields of the users, items or contexts of a batch.

    Args:
        x: A vector for each field of each distinct graph, of shape :math:`(G, F, C)`.
        rows: The graph of each row, of shape :math:`(B)`.
    """

    x: torch.Tensor
    rows: torch.Tensor


def of_rows(sides):
    """Returns the vectors of the fields of each row, of shape :math:`(B, F, C)`."""
    return torch.cat([x[rows] for x, rows in sides], dim=1)


def linear_of_rows(linear, sides):
    """Returns a linear map of all fields of each row.

    It is a sum over users, items and contexts, whose terms are computed for distinct
    graphs.
    """
    flat = [x.flatten(1) for x, _ in sides]
    weights = linear.weight.split([x.size(1) for x in flat], dim=1)
    terms = zip(flat, weights, sides, strict=True)
    return sum(F.linear(x, weight)[rows] for x, weight, (_, rows) in terms) + linear.bias


class Fields(torch.nn.Module):
    """Embeds each field of a row by one vector: the mean of its nodes.

    Distinct users, items and contexts are embedded once, whatever the number of rows.

    Args:
        schema: The schema of the data.
        channels: The size of the vectors.
        std: The standard deviation of embeddings at first.
    """

    def __init__(self, schema, channels, std=0.1):
        super().__init__()
        self.embedding = FeatureEmbedding(schema.num_embeddings, channels, std=std)
        self.num_fields = {side: len(schema.columns(side)) for side in SIDES}
        for side in SIDES:
            first = torch.tensor([*schema.offsets(side).values()])
            self.register_buffer(f'first_{side}', first, persistent=False)
        # Where each field has one node, they are in the order of the fields.
        self.single = {
            side: not any(isinstance(c, MultiCategorical) for c in schema.columns(side))
            for side in SIDES
        }

    def forward(self, batch):
        """Returns the fields of users, items and contexts."""
        graphs = [getattr(batch, side) for side in SIDES]
        found = []
        for side, of_side, x in zip(SIDES, graphs, self.embedding(graphs), strict=True):
            size, width = of_side.num_graphs, self.num_fields[side]
            if not self.single[side]:
                first = getattr(self, f'first_{side}')
                field = torch.searchsorted(first, of_side.x, right=True) - 1
                x = scatter(
                    x, of_side.batch * width + field, dim_size=size * width, reduce='mean'
                )
            rows = getattr(batch, f'{side}_graph')
            found.append(Side(x.view(size, width, -1), rows))
        return found


class Network(torch.nn.Module):
    """An MLP of all fields of a row.

    Args:
        fields: What the network is of.
        channels: The size of the fields' vectors.
        hidden_channels: The size of hidden layers.
        num_layers: Their number, at least one.
        out_channels: The size of what is returned, the last hidden layer if none.
    """

    def __init__(self, fields, channels, hidden_channels, num_layers, out_channels=1):
        super().__init__()
        size = channels * sum(fields.values())
        self.first = torch.nn.Linear(size, hidden_channels)
        sizes = [hidden_channels] * num_layers
        if out_channels is not None:
            sizes.append(out_channels)
        self.rest = torch.nn.Identity()
        if len(sizes) > 1:
            self.rest = MLP(sizes, norm=None, plain_last=out_channels is not None)

    def forward(self, sides):
        """Returns the output of each row, of shape :math:`(B, out_channels)`."""
        return self.rest(linear_of_rows(self.first, sides).relu())


class FieldModel(torch.nn.Module):
    """The base class of models of the fields of a row.

    Args:
        data: Data of the schema that the fields are of.
        channels: The size of the fields' vectors.
        **sizes: Further arguments of the model that :obj:`config` is to name.
    """

    reads = ('vocabulary',)

    def __init__(self, data, channels, **sizes):
        super().__init__()
        self.config = {'channels': channels, **sizes}
        self.fields = Fields(data.schema, channels)
