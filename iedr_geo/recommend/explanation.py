"""What a score is made of, and what it would be without a feature."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import pandas as pd
import torch
from torch_geometric.data import Batch, Data

from iedr_geo.data import FeatureGraphs, InteractionData
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.nn import IEDR

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
        top = self.features.reindex(
            self.features['difference'].abs().sort_values(ascending=False).index
        )
        lines = [f'score {self.score:+.3f} = {parts}']
        if not len(top):
            return lines[0]
        lines.append('Without a feature it falls by:')
        for _, row in top.head(8).iterrows():
            lines.append(f'  {row["difference"]:+.3f}  {row["feature"]} ({row["side"]})')
        lines.append('(One left out at a time; the differences do not add up.)')
        return '\n'.join(lines)


def explain(
    model: IEDR,
    graphs: dict[Side, FeatureGraphs],
    names: Sequence[str],
    parts: dict[str, float],
) -> Explanation:
    """Scores a sample without each of its features and pairs of features.

    Args:
        model: The model, in evaluation mode.
        graphs: The feature graph of each side, a single one.
        names: A name for each embedding row.
        parts: The parts of the score.
    """
    whole = {side: graphs[side][0] for side in SIDES}
    for graph in whole.values():
        del graph.graph_id
        graph.pop('node_id', None)
    variants, features, pairs = [whole], [], []
    for side in SIDES:
        nodes = whole[side]
        labels = [names[x] for x in nodes.x.tolist()]
        if len(labels) > 1:  # Of a single feature nothing would remain.
            for i, label in enumerate(labels):
                features.append((side, label, len(variants)))
                variants.append(whole | {side: _without_node(nodes, i)})
        for i, j in combinations_with_replacement(range(len(labels)), 2):
            if len(labels) > 1:
                pairs.append((side, labels[i], labels[j], len(variants)))
                variants.append(whole | {side: _without_pair(nodes, i, j)})
    scores: list[float] = []
    device = next(model.parameters()).device
    for start in range(0, len(variants), BATCH):
        samples = [_sample(v) for v in variants[start : start + BATCH]]
        batch = Batch.from_data_list(
            samples, follow_batch=[f'x_{side}' for side in SIDES]
        )
        scores += model(batch.to(device)).tolist()
    score = scores[0]
    return Explanation(
        score,
        parts,
        pd.DataFrame(
            [(side, label, score - scores[place]) for side, label, place in features],
            columns=FEATURE_COLUMNS,
        ),
        pd.DataFrame(
            [(side, a, b, score - scores[place]) for side, a, b, place in pairs],
            columns=PAIR_COLUMNS,
        ),
    )


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


def _sample(graphs: dict[Side, Data]) -> InteractionData:
    data = InteractionData(num_nodes=sum(g.num_nodes for g in graphs.values()))
    for side, graph in graphs.items():
        for name, value in graph:
            data[f'{name}_{side}'] = value
    return data
