"""Features of the nodes of feature graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch
from torch_geometric.utils import segment

__all__ = ['FeatureEmbedding']


class FeatureEmbedding(torch.nn.Embedding):
    r"""Embeds the nodes of feature graphs.

    A node is :math:`\mathbf{e}_x`, its row of the table, or
    :math:`v \, \mathbf{e}_x` if it has a value :math:`v`. One that has a vector
    :math:`\mathbf{v}`, whose first entry belongs to its row, is :math:`\sum_d v_d \,
    \mathbf{e}_{x + d}`.

    Args:
        num_embeddings (int): Rows of the table: :obj:`schema.num_embeddings`.
        channels (int): Size of the embeddings.
        mean (float, optional): Embeddings are drawn from
            :math:`\mathcal{N}(\text{mean}, \text{std}^2)` at first.
            (default: :obj:`0.0`)
        std (float, optional): See :obj:`mean`. (default: :obj:`1.0`)

    Shapes:
        - **input:** :math:`G` feature graphs of :math:`N` nodes, as
          :class:`~iedr_geo.data.FeatureGraphs` batches them
        - **output:** node features :math:`(N, F)`

    Example:
        >>> embedding = FeatureEmbedding(dataset.schema.num_embeddings, 32)
        >>> x = embedding(batch.item)
        >>> readouts = SIGN(32)(x, batch.item.edge_index, batch.item.ptr)
    """

    def __init__(
        self, num_embeddings: int, channels: int, mean: float = 0.0, std: float = 1.0
    ) -> None:
        self.mean, self.std = mean, std
        super().__init__(num_embeddings, channels)

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        torch.nn.init.normal_(self.weight, self.mean, self.std)

    def forward(self, graphs: Batch | Sequence[Batch]) -> Any:
        """Returns the features of the nodes of graphs; or of several batches of graphs,
        *e.g.*, of users, items and contexts, a list of them.

        That takes less time than a call for each: the gradient of every lookup is as
        large as the whole table.
        """
        if isinstance(graphs, Batch):
            return self.forward([graphs])[0]
        rows = super().forward(torch.cat([batch.x for batch in graphs]))
        sizes = [batch.x.numel() for batch in graphs]
        features = []
        for batch, z in zip(graphs, rows.split(sizes), strict=True):
            value = batch.get('value')
            if value is not None:
                z = z * value.to(z.dtype).unsqueeze(1)
            for row, vector in vectors_of(batch).items():
                weight = self.weight[row : row + vector.size(1)]
                node = (batch.x == row).nonzero().view(-1)
                z = z.index_copy(0, node, (vector.to(weight.dtype) @ weight).to(z.dtype))
            features.append(z)
        return features

    def sums(self, graphs: Sequence[Batch]) -> list[Tensor]:
        """Returns the sum of the features of each graph, of shape :math:`(G, F)`, for
        each of several batches of graphs.
        """
        pairs = zip(self(graphs), graphs, strict=True)
        return [segment(x, batch.ptr) for x, batch in pairs]


def vectors_of(graphs: Batch) -> dict[int, Tensor]:
    """Returns the vectors of graphs, one for each node that has one, by the row of the
    table that belongs to their first entries.
    """
    return {
        int(name.removeprefix('vector_')): graphs[name]
        for name in graphs.keys()  # noqa: SIM118
        if name.startswith('vector_')
    }
