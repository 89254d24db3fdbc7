"""The models of the library, and some of which nothing is of the library."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from iedr_geo import nn
from iedr_geo.data import BipartiteGraph, InteractionDataset


class Attention(torch.nn.Module):
    """Attention of users, items and contexts to each other, each the sum of its features.

    Args:
        data: The data that it is of.
        dropout: The dropout probability.
    """

    def __init__(self, data: InteractionDataset, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(data.schema.num_embeddings, 8)
        self.layer = torch.nn.TransformerEncoderLayer(
            8, 2, 16, dropout=dropout, batch_first=True
        )
        self.out = torch.nn.Linear(8, 1)

    def forward(self, batch: Any) -> Tensor:
        tokens = []
        for side in ('user', 'item', 'context'):
            graphs = getattr(batch, side)
            x = self.embedding(graphs.x)
            sums = x.new_zeros(graphs.num_graphs, x.size(1))
            sums = sums.index_add(0, graphs.batch, x)
            tokens.append(sums[getattr(batch, f'{side}_graph')])
        return self.out(self.layer(torch.stack(tokens, dim=1)).mean(dim=1)).squeeze(1)


class Distance(torch.nn.Module):
    """The nearer an item to a user, the better."""

    def __init__(self, graph: BipartiteGraph) -> None:
        super().__init__()
        self.user = torch.nn.Embedding(graph.num_users, 4)
        self.item = torch.nn.Embedding(graph.num_items, 5)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        place, bias = self.item(item).split([4, 1], dim=-1)
        return bias.squeeze(-1) - (self.user(user) - place).square().sum(-1)


class Losses(NamedTuple):
    scaled: Tensor
    total: Tensor


class AutoEncoder(torch.nn.Module):
    """Reads all items of a user, and says which ones it has read."""

    batches = 'users'

    def __init__(self, graph: BipartiteGraph) -> None:
        super().__init__()
        self.graph = graph
        self.encoder = torch.nn.Embedding(graph.num_items, 8)
        self.decoder = torch.nn.Linear(8, graph.num_items)

    def logits(self, size: int, row: Tensor, item: Tensor) -> Tensor:
        hidden = self.encoder.weight.new_zeros(size, 8)
        return self.decoder(hidden.index_add(0, row, self.encoder(item)))

    def losses(self, batch: Any) -> Losses:
        logits = self.logits(len(batch.user), batch.row, batch.item)
        total = -logits.log_softmax(dim=1)[batch.row, batch.item].sum() / len(batch.user)
        return Losses(total.detach() * 7, total)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        graph = self.graph.to(user.device)
        return self.logits(graph.num_users, graph.user, graph.item)[user, item]


def mf(graph: BipartiteGraph) -> nn.MF:
    return nn.MF(graph.num_users, graph.num_items, 6, l2=1e-3)


def lightgcn(graph: BipartiteGraph, **kwargs: float) -> nn.LightGCN:
    size = graph.num_users, graph.num_items
    return nn.LightGCN(*size, *graph.adjacency(), channels=6, **kwargs)


ON_DATASETS: dict[str, Callable[..., torch.nn.Module]] = {
    'IEDR': lambda data: nn.IEDR(data.schema.num_embeddings, 8, 16),
    'Popularity': nn.Popularity.fit,
    'ContextPopularity': nn.ContextPopularity.fit,
    'Repeat': nn.Repeat.fit,
    'Attention': lambda data: Attention(data, dropout=0.1),
}
ON_GRAPHS: dict[str, Callable[..., torch.nn.Module]] = {
    'MF': mf,
    'LightGCN': lambda graph: lightgcn(graph, dropout=0.5),
    'DICE': lambda graph: nn.DICE(lightgcn(graph), graph.popularity),
    'IPS': lambda graph: nn.IPS(mf(graph), graph.popularity),
    'CausE': lambda graph: nn.CausE(mf(graph)),
    'Biased': lambda graph: nn.Biased(mf(graph)),
    'Popularity of a graph': nn.Popularity.fit,
    'Repeat of a graph': nn.Repeat.fit,
    'Distance': Distance,
    'AutoEncoder': AutoEncoder,
    'MacridVAE': lambda graph: nn.MacridVAE(graph.num_items, 3, 6),
    'MultDAE': lambda graph: nn.MultDAE(graph.num_items, 6),
    'MultVAE': lambda graph: nn.MultVAE(graph.num_items, 4, 6),
}
