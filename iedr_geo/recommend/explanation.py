"""What a score is made of, and what it would be without a feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement

import pandas as pd
import torch
from torch_geometric.data import Batch

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
    whole = {side: _Nodes.of(graphs[side]) for side in SIDES}
    variants, features, pairs = [whole], [], []
    for side in SIDES:
        nodes = whole[side]
        labels = [names[x] for x in nodes.x.tolist()]
        if len(labels) > 1:  # Of a single feature nothing would remain.
            for i, label in enumerate(labels):
                features.append((side, label, len(variants)))
                variants.append(whole | {side: nodes.without_node(i)})
        for i, j in combinations_with_replacement(range(len(labels)), 2):
            if len(labels) > 1:
                pairs.append((side, labels[i], labels[j], len(variants)))
                variants.append(whole | {side: nodes.without_pair(i, j)})
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


@dataclass(frozen=True)
class _Nodes:
    """A feature graph, of which something may have been left out."""

    x: torch.Tensor
    value: torch.Tensor | None
    edge_index: torch.Tensor

    @classmethod
    def of(cls, graphs: FeatureGraphs) -> _Nodes:
        graph = graphs[0]
        return cls(graph.x, graph.get('value'), graph.edge_index)

    def without_node(self, node: int) -> _Nodes:
        kept = torch.arange(len(self.x)) != node
        edges = (self.edge_index != node).all(dim=0)
        edge_index = self.edge_index[:, edges]
        edge_index = edge_index - (edge_index > node).long()
        value = None if self.value is None else self.value[kept]
        return _Nodes(self.x[kept], value, edge_index)

    def without_pair(self, i: int, j: int) -> _Nodes:
        source, target = self.edge_index
        pair = ((source == i) & (target == j)) | ((source == j) & (target == i))
        return _Nodes(self.x, self.value, self.edge_index[:, ~pair])


def _sample(nodes: dict[Side, _Nodes]) -> InteractionData:
    data = InteractionData(num_nodes=sum(len(n.x) for n in nodes.values()))
    for side, graph in nodes.items():
        data[f'x_{side}'] = graph.x
        data[f'edge_index_{side}'] = graph.edge_index
        if graph.value is not None:
            data[f'value_{side}'] = graph.value
        data[f'{side}_id'] = torch.zeros(1, dtype=torch.long)
    return data
