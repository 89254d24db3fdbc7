"""Small graphs of users and items, batches of edges, and adjacencies written out."""

from collections.abc import Iterable

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import EdgeBatch
from iedr_geo.nn import MF, LightGCN

NUM_USERS, NUM_ITEMS = 6, 8
# Items 1 and 2 are equally popular, and so are 4, 5 and 6.
POPULARITY = torch.tensor([9, 4, 4, 0, 2, 2, 2, 30])
BACKBONES = ('MF', 'LightGCN')


def random_graph(num_edges: int = 15) -> BipartiteGraph:
    """A graph whose last nodes have edges, and whose user 0 and item 0 have none."""
    user = torch.randint(1, NUM_USERS, (num_edges,))
    item = torch.randint(1, NUM_ITEMS, (num_edges,))
    user[0], item[0] = NUM_USERS - 1, NUM_ITEMS - 1
    return BipartiteGraph(user, item, NUM_USERS, NUM_ITEMS)


def columns(pairs: Iterable[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    user, item = torch.tensor(list(pairs), dtype=torch.long).reshape(-1, 2).unbind(1)
    return user, item


def edges(graph: BipartiteGraph) -> list[tuple[int, int]]:
    return list(zip(graph.user.tolist(), graph.item.tolist(), strict=True))


def random_batch(
    rows: int = 10, num_negatives: int = 3, device: torch.device | str = 'cpu'
) -> EdgeBatch:
    """Rows with recurring users and items, of which one is both positive and negative.

    Users 1 and 4 and items 2 and 5 are in none, so that numbers within the batch differ.
    """
    users, items = torch.tensor([0, 2, 3, 5]), torch.tensor([0, 1, 3, 4, 6, 7])
    user = users[torch.randint(4, (rows,))]
    item = items[torch.randint(6, (rows,))]
    negative = items[torch.randint(6, (rows, num_negatives))]
    negative[0, 0] = item[-1]
    intervened = torch.arange(rows) % 3 == 1
    tensors = (t.to(device) for t in (user, item, negative, intervened))
    return EdgeBatch(*tensors, 0.7)


def dense_adjacency(graph: BipartiteGraph, self_loops: bool = False) -> Tensor:
    """Links edge by edge, divided by the roots of the degrees of both ends."""
    size = graph.num_users + graph.num_items
    link = torch.eye(size).double() if self_loops else torch.zeros(size, size).double()
    for user, item in edges(graph):
        link[user, graph.num_users + item] = link[graph.num_users + item, user] = 1
    degree = link.sum(1).tolist()
    for i in range(size):
        for j in range(size):
            if link[i, j]:
                link[i, j] /= (degree[i] * degree[j]) ** 0.5
    return link


def double_lightgcn(
    graph: BipartiteGraph, *, self_loops: bool = False, **kwargs
) -> LightGCN:
    """A LightGCN in float64, the weights of its edges too."""
    edge_index, _ = graph.adjacency(self_loops)
    row, column = edge_index.as_tensor()
    weight = dense_adjacency(graph, self_loops)[row, column]
    size = graph.num_users, graph.num_items
    return LightGCN(*size, edge_index, weight, **kwargs).double()


def make_backbone(
    name: str, graph: BipartiteGraph, channels: int = 4, **kwargs
) -> MF | LightGCN:
    """One of the backbones, in float64."""
    if name == 'LightGCN':
        return double_lightgcn(graph, channels=channels, **kwargs)
    return MF(graph.num_users, graph.num_items, channels, **kwargs).double()


def vectors_by_hand(
    model: MF | LightGCN, graph: BipartiteGraph, self_loops: bool = False
) -> tuple[Tensor, Tensor]:
    """Rows of the tables, or their mean over the powers of the adjacency."""
    powers = [torch.cat([model.user.weight, model.item.weight])]
    adjacency = dense_adjacency(graph, self_loops).to(powers[0])
    for _ in range(getattr(model, 'num_layers', 0)):
        powers.append(adjacency @ powers[-1])
    mean = torch.stack(powers).mean(dim=0)
    return mean.split([model.num_users, model.num_items])
