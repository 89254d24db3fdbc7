"""What a score is made of, and what it would be without a feature."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from iedr_geo.data import FeatureGraphs
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.loader import InteractionBatch
from iedr_geo.scoring import evaluating

FEATURE_COLUMNS = ['side', 'feature', 'difference']
PAIR_COLUMNS = ['side', 'feature_a', 'feature_b', 'difference']
BATCH = 1024  # Variants of a sample that are scored at a time.


@dataclass(frozen=True)
class Explanation:
    """What a score is made of.

    The differences are of leaving one thing out: the score, less the score without it,
    means taken over what remains. They do not add up to the score, because features act
    on one another; nor do they say what would happen if the user's life were different.

    Args:
        score: The score.
        parts: The parts that add up to it, by name.
        features: A row for each feature: side, name, difference.
        pairs: A row for each pair of features within a side, a feature with itself
            included: side, both names, difference. It is zero for all pairs if the
            encoder of the model looks at no pairs.
    """

    score: float
    parts: dict[str, float]
    features: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=FEATURE_COLUMNS)
    )
    pairs: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=PAIR_COLUMNS)
    )

    def __str__(self) -> str:
        parts = '  '.join(f'{name} {value:+.3f}' for name, value in self.parts.items())
        parts = f' = {parts}' if parts else ''
        top = self.features.reindex(
            self.features['difference'].abs().sort_values(ascending=False).index
        )
        lines = [f'score {self.score:+.3f}{parts}']
        if not top['difference'].any():
            return '\n'.join([*lines, 'No feature changes it.'] if len(top) else lines)
        lines.append('Without a feature it falls by:')
        for _, row in top.head(8).iterrows():
            lines.append(f'  {row["difference"]:+.3f}  {row["feature"]} ({row["side"]})')
        lines.append('(One left out at a time; the differences do not add up.)')
        return '\n'.join(lines)


def explain(
    model: Any,
    graphs: Mapping[Side, FeatureGraphs],
    ids: Mapping[Side, int],
    names: Sequence[str],
    parts: dict[str, float],
    device: torch.device,
) -> Explanation:
    """Scores a sample without each of its features and pairs of features.

    Args:
        model: The model, or a function that maps an :class:`InteractionBatch` to logits.
        graphs: The feature graph of each side, a single one.
        ids: The id of each, -1 if it is new. It stays what it is without a feature.
        names: A name for each embedding row.
        parts: The parts of the score.
        device: Where the model is.
    """
    # Of each side, its graph and variants of it; rows say which graphs go together.
    variants = {side: [_whole(graphs[side])] for side in SIDES}
    features, pairs = [], []
    rows: list[dict[Side, int]] = [dict.fromkeys(SIDES, 0)]

    def add(side: Side, variant: Data) -> int:
        variants[side].append(variant)
        rows.append(rows[0] | {side: len(variants[side]) - 1})
        return len(rows) - 1

    for side in SIDES:
        [nodes] = variants[side]
        labels = [names[x] for x in nodes.x.tolist()]
        if len(labels) == 1:  # Of a single feature nothing would remain.
            continue
        for i, label in enumerate(labels):
            features.append((side, label, add(side, _without_node(nodes, i))))
        for i, j in combinations_with_replacement(range(len(labels)), 2):
            row = add(side, _without_pair(nodes, i, j))
            pairs.append((side, labels[i], labels[j], row))
    stores = {
        side: FeatureGraphs.from_batch(Batch.from_data_list(each))
        for side, each in variants.items()
    }
    table = torch.tensor([[row[side] for side in SIDES] for row in rows])
    scores: list[float] = []
    for chunk in table.split(BATCH):
        batch = _batch(stores, chunk, ids).to(device)
        with evaluating(model):
            scores += model(batch).tolist()
    score = scores[0]
    return Explanation(
        score,
        parts,
        pd.DataFrame(
            [(side, label, score - scores[row]) for side, label, row in features],
            columns=FEATURE_COLUMNS,
        ),
        pd.DataFrame(
            [(side, a, b, score - scores[row]) for side, a, b, row in pairs],
            columns=PAIR_COLUMNS,
        ),
    )


def _whole(graphs: FeatureGraphs) -> Data:
    data = graphs[0]
    for name in ('graph_id', 'node_id'):
        data.pop(name, None)
    return data


def _batch(
    stores: Mapping[Side, FeatureGraphs], rows: Tensor, ids: Mapping[Side, int]
) -> InteractionBatch:
    """Returns the variants whose graphs are given row by row."""
    arguments: dict[str, Any] = {}
    for side, index in zip(SIDES, rows.t(), strict=True):
        used, graph = torch.unique(index, return_inverse=True)
        arguments[side] = stores[side].select(used)
        arguments[f'{side}_graph'] = graph
        arguments[f'{side}_id'] = torch.full_like(used, ids[side])
    return InteractionBatch.from_graphs(**arguments)


def _without_node(graph: Data, node: int) -> Data:
    """Returns a graph without one of its nodes and the edges of that node."""
    kept = torch.arange(graph.num_nodes) != node
    part = graph.subgraph(kept)
    for name, vector in graph:
        if name.startswith('vector_'):  # A row for each node that is a vector.
            own = graph.x == int(name.removeprefix('vector_'))
            part[name] = vector[kept[own]]
    return part


def _without_pair(graph: Data, i: int, j: int) -> Data:
    """Returns a graph without the edges between two nodes."""
    source, target = graph.edge_index
    pair = ((source == i) & (target == j)) | ((source == j) & (target == i))
    part = copy.copy(graph)
    for name in ('edge_index', 'edge_weight'):
        if name in part:
            part[name] = part[name][..., ~pair]
    return part
