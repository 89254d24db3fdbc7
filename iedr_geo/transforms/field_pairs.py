"""Edges between the nodes of given fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

import networkx as nx
import pandas as pd
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

Pair = tuple[str, str] | tuple[str, str, float]


class FieldPairs(BaseTransform):
    r"""Keeps the edges between given pairs of fields alone, and may weigh them.

    A pair of a field with itself stands for all edges between its nodes, the self-loop of
    each among them; PyG's :class:`~torch_geometric.transforms.RemoveSelfLoops` takes
    these away. What edges there are already can only be kept, and their weights are
    multiplied.

    The graph holds :obj:`field`, the number of each node's field, of shape :math:`(N)`,
    and :obj:`field_names`, the name of each number. Feature graphs have both when a
    schema or a dataset builds their edges.

    Args:
        pairs: Pairs of names of fields, or triples with a weight (default: one).
        directed: If :obj:`True`, a pair is from source to target only.

    Raises:
        ValueError: If there is no pair, one comes twice, or, later, if the graph has no
            field of that name.

    Example:
        >>> schema = FeatureSchema(
        ...     user=[Categorical('user')],
        ...     item=[Categorical(name) for name in ('film', 'studio', 'year')],
        ...     context=[Categorical('day')],
        ...     edges={'item': FieldPairs([('film', 'studio'), ('film', 'year')])},
        ... )
    """

    def __init__(self, pairs: Sequence[Pair], directed: bool = False) -> None:
        self.pairs: list[tuple[str, str, float]] = []
        self.directed = directed
        seen = set()
        for pair in pairs:
            if isinstance(pair, str) or len(pair) not in (2, 3):
                raise ValueError(f'{pair!r} is no pair of fields')
            source, target, weight = (*pair, 1.0)[:3]
            key = (source, target) if directed else frozenset((source, target))
            if key in seen:
                raise ValueError(f"The pair '{source}', '{target}' comes twice")
            if not math.isfinite(weight):
                raise ValueError(
                    f"The weight of '{source}', '{target}' is not finite ({weight})"
                )
            seen.add(key)
            self.pairs.append((source, target, float(weight)))
        if not self.pairs:
            raise ValueError('There are no pairs of fields to keep')

    @classmethod
    def from_networkx(cls, graph: nx.Graph) -> FieldPairs:
        """Takes a graph whose nodes are fields for a template.

        Args:
            graph: The graph, directed or not. An edge's :obj:`weight` is that of all
                edges between nodes of its fields (default: one).
        """
        if graph.is_multigraph():
            raise ValueError('The template may not have several edges between two fields')
        pairs = [(*edge, float(w)) for *edge, w in graph.edges.data('weight', 1.0)]
        return cls(pairs, directed=graph.is_directed())

    @classmethod
    def strongest(cls, strengths: pd.DataFrame, k: int) -> FieldPairs:
        """Takes the pairs that matter most to a trained model.

        Args:
            strengths: A table with :obj:`field_a` and :obj:`field_b`, the strongest pair
                first, as :func:`iedr_geo.analysis.field_pair_strengths` returns.
            k: The number of pairs that are kept, at most.

        Example:
            >>> strengths = field_pair_strengths(model, train, 'item')
            >>> fewer = dataset.with_edges(item=FieldPairs.strongest(strengths, k=6))
        """
        if k < 1:
            raise ValueError(f'`k` must be at least 1 (got {k})')
        top = strengths.head(k)
        return cls(list(zip(top['field_a'], top['field_b'], strict=True)))

    def forward(self, data: Data) -> Data:
        """Returns the graph, or graphs if it is a batch, with the edges that are kept."""
        if 'field' not in data or 'field_names' not in data:
            raise ValueError(
                'The graph tells the field of no node: FieldPairs needs `field` and '
                '`field_names`'
            )
        names = data.field_names
        if isinstance(names[0], (list, tuple)):  # Of each graph that PyG has collated.
            if names.count(names[0]) < len(names):
                raise ValueError('The graphs of the batch have different `field_names`')
            names = names[0]
        template = torch.full((len(names), len(names)), torch.nan)
        for *ends, weight in self.pairs:
            for name in ends:
                if name not in names:
                    raise ValueError(
                        f"There is no field '{name}' (there are: {', '.join(names)})"
                    )
            source, target = map(names.index, ends)
            template[source, target] = weight
            if not self.directed:
                template[target, source] = weight
        field = data.field[data.edge_index]
        weights = template.to(field.device)[field[0], field[1]]
        kept = ~weights.isnan()
        weights = weights[kept]
        data.edge_index = data.edge_index[:, kept]
        if 'edge_weight' in data:
            data.edge_weight = data.edge_weight[kept] * weights
        elif any(weight != 1 for *_, weight in self.pairs):
            data.edge_weight = weights
        return data

    def __repr__(self) -> str:
        name = self.__class__.__name__
        return f'{name}({len(self.pairs)} pairs, directed={self.directed})'
