"""The parts of a score, and its change without a feature."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations_with_replacement
from typing import Any

import pandas as pd
import torch
from torch_geometric.data import Batch, Data

from iedr_geo.data import FeatureGraphs, FeatureSchema
from iedr_geo.data.columns import MISSING
from iedr_geo.data.feature_graphs import VECTOR
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.loader import InteractionBatch
from iedr_geo.scoring import evaluating

ONE_AT_A_TIME = '(One left out at a time; the differences do not add up.)'

_features = partial(pd.DataFrame, columns=['side', 'feature', 'difference'])
_pairs = partial(pd.DataFrame, columns=['side', 'feature_a', 'feature_b', 'difference'])


@dataclass(frozen=True)
class Explanation:
    """The parts of a score, and its change without a feature.

    The differences are of leaving one thing out: the score, less the score without it,
    means taken over what remains. Where a feature is the only one of its side, nothing
    would remain: a missing value takes its place. They do not add up to the score,
    because features act on one another; nor do they say what would happen if the user's
    life were different.

    Args:
        score: The score.
        parts: The parts that add up to it, by name.
        features: A row for each feature: side, name, difference.
        pairs: A row for each pair of features within a side, a feature with itself
            included: side, both names, difference. It is zero for all pairs if the
            encoder of the model looks at no pairs.
        history: Of a model that makes users of their items, a row for each item that the
            user has had: its id, difference and, where the score has parts, the part that
            changes most.
    """

    score: float
    parts: dict[str, float]
    features: pd.DataFrame = field(default_factory=_features)
    pairs: pd.DataFrame = field(default_factory=_pairs)
    history: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __str__(self) -> str:
        parts = '  '.join(f'{name} {value:+.3f}' for name, value in self.parts.items())
        parts = f' = {parts}' if parts else ''
        if len(self.history):
            return '\n'.join([f'score {self.score:+.3f}{parts}', *self._had()])
        single = ~self.features['side'].duplicated(keep=False)
        top = self.features.assign(single=single).sort_values(
            'difference', ascending=False, key=abs
        )
        lines = [f'score {self.score:+.3f}{parts}']
        if not top['difference'].any():
            return '\n'.join([*lines, 'No feature changes it.'] if len(top) else lines)
        lines.append('Without a feature it falls by:')
        for _, row in top.head(8).iterrows():
            note = ', replaced by missing' if row['single'] else ''
            lines.append(
                f'  {row["difference"]:+.3f}  {row["feature"]} ({row["side"]}{note})'
            )
        return '\n'.join([*lines, ONE_AT_A_TIME])

    def _had(self) -> list[str]:
        """Returns what is said of the items that the user has had."""
        item, lines = self.history.columns[0], ['Without an item of theirs it falls by:']
        for _, row in self.history.head(8).iterrows():
            part = f' (most in {row["part"]})' if 'part' in row else ''
            lines.append(f'  {row["difference"]:+.3f}  {item} {row[item]}{part}')
        return [*lines, ONE_AT_A_TIME]


def explain(
    model: Any,
    graphs: Mapping[Side, tuple[FeatureGraphs, int]],
    schema: FeatureSchema,
    parts: dict[str, float],
    device: torch.device,
    size: int = 1024,
) -> Explanation:
    """Scores a sample without each of its features and pairs of features.

    Args:
        model: The model, or a function that maps an :class:`InteractionBatch` to logits.
        graphs: The feature graph of each side, a single one, and its id, -1 if it is new.
            It stays what it is without a feature.
        schema: The meaning of the embedding rows.
        parts: The parts of the score.
        device: Where the model is.
        size: The number of variants of the sample that are scored at a time.
    """
    names, variants, rows, left_out = schema.names(), {}, [dict.fromkeys(SIDES, 0)], []
    for side in SIDES:
        whole = graphs[side][0][0]
        for name in ('graph_id', 'node_id'):
            whole.pop(name, None)
        labels = [names[x] for x in whole.x.tolist()]
        without: dict[tuple[int, ...], Data] = {}
        if len(labels) == 1:  # Nothing would remain.
            [field] = schema.fields_of(side, whole.x).tolist()
            first = [*schema.offsets(side).values()][field]
            without[0,] = _with_missing(whole, first + MISSING)
        else:
            nodes = range(len(labels))
            without = {(i,): _without_node(whole, i) for i in nodes}
            for pair in combinations_with_replacement(nodes, 2):
                without[pair] = _without_pair(whole, *pair)
        variants[side] = FeatureGraphs.from_batch(
            Batch.from_data_list([whole, *without.values()])
        )
        rows += [rows[0] | {side: i + 1} for i in range(len(without))]
        left_out += [(side, *(labels[i] for i in key)) for key in without]
    scores: list[float] = []
    for start in range(0, len(rows), size):
        arguments: dict[str, Any] = {}
        for side in SIDES:
            index = torch.tensor([row[side] for row in rows[start : start + size]])
            used, arguments[f'{side}_graph'] = torch.unique(index, return_inverse=True)
            arguments[side] = variants[side].select(used)
            arguments[f'{side}_id'] = torch.full_like(used, graphs[side][1])
        with evaluating(model):
            scores += model(InteractionBatch.from_graphs(**arguments).to(device)).tolist()
    whole_score, *others = scores
    tables: dict[int, list[tuple[Any, ...]]] = {2: [], 3: []}
    for key, score in zip(left_out, others, strict=True):
        tables[len(key)].append((*key, whole_score - score))
    return Explanation(whole_score, parts, _features(tables[2]), _pairs(tables[3]))


def _without_node(graph: Data, node: int) -> Data:
    """Returns a graph without one of its nodes and the edges of that node."""
    kept = torch.arange(graph.num_nodes) != node
    part = graph.subgraph(kept)
    for name, vector in graph:
        if name.startswith(VECTOR):  # A row for each node that is a vector.
            own = graph.x == int(name.removeprefix(VECTOR))
            part[name] = vector[kept[own]]
    return part


def _with_missing(graph: Data, missing: int) -> Data:
    """Returns a graph of one node with a missing value in its place."""
    part = copy.copy(graph)
    for name, content in graph:
        if name.startswith(VECTOR):
            part[name] = content[:0]
        elif name in ('x', 'value'):
            part[name] = torch.full_like(content, missing if name == 'x' else 1)
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
