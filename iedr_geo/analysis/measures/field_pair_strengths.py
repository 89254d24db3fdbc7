"""The pairs of fields that matter most to a trained model."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch_geometric.utils import scatter

from iedr_geo.data import InteractionDataset
from iedr_geo.data.schema import Side
from iedr_geo.nn import IEDR, SIGNConv


@torch.no_grad()
def field_pair_strengths(
    model: IEDR, dataset: InteractionDataset, side: Side, chunk_size: int = 1024
) -> pd.DataFrame:
    r"""Measures by how much each pair of fields moves the readouts of a trained model.

    A readout is the sum of what its pairs of fields contribute. What a pair contributes
    to every graph alike tells no graph from another, so a pair is as strong as its
    contribution varies over the rows of the dataset:

    .. math::
        s_{fg} = \sqrt{\sum_d \mathrm{Var} \left[ \sum_{(i, j) \in f \times g}
        w_{ij} \, h_d(\mathbf{z}_i \odot \mathbf{z}_j) \right]}

    :meth:`FieldPairs.strongest() <iedr_geo.transforms.FieldPairs.strongest>` makes the
    transform of it that keeps these pairs alone.

    Args:
        model: The model, whose encoder looks at pairs of features.
        dataset: The rows, *e.g.*, those for training; not those that a model with the
            strongest pairs is to be tested on.
        side: :obj:`'user'`, :obj:`'item'` or :obj:`'context'`.
        chunk_size: The number of graphs to look at at a time.

    Returns:
        A row for each pair of fields that has an edge, the strongest first: the names of
        both fields (:obj:`field_a`, :obj:`field_b`) and the :obj:`strength`.

    Raises:
        ValueError: If the encoder of the model looks at no pairs.
    """
    encoder: Any = model.encoders[side]
    if not isinstance(getattr(encoder, 'conv', None), SIGNConv):
        raise ValueError(
            f'The {side} encoder of the model, {type(encoder).__name__}, looks at no '
            f'pairs of features'
        )
    device = next(model.parameters()).device
    graphs = getattr(dataset, f'{side}s')
    rows = getattr(dataset, side)
    weight = torch.bincount(rows, minlength=len(graphs)).double()
    weight = (weight / weight.sum()).to(device)
    names = [column.name for column in dataset.schema.columns(side)]
    pairs = torch.triu_indices(len(names), len(names)).t().tolist()
    number = torch.zeros(len(names), len(names), dtype=torch.long, device=device)
    for i, (a, b) in enumerate(pairs):
        number[a, b] = number[b, a] = i
    mean, square, edges = (torch.zeros(1, device=device) for _ in range(3))
    for ids in (weight > 0).nonzero().view(-1).split(chunk_size):
        batch = graphs.batch(ids).to(device)
        z = model.node_features(batch)
        source, target = batch.edge_index
        message = encoder.conv.nn(z[source] * z[target]).double()
        degree = torch.bincount(target, minlength=len(z))
        size = batch.ptr.diff()[batch.batch]
        share = (1 / (degree * size).double())[target]
        if 'edge_weight' in batch:
            share = share * batch.edge_weight
        field = dataset.schema.fields_of(side, batch.x)
        pair = number[field[source], field[target]]
        index = batch.batch[target] * len(pairs) + pair
        sums = scatter(message * share[:, None], index, 0, len(ids) * len(pairs))
        sums = sums.view(len(ids), len(pairs), -1)
        mean = mean + (weight[ids, None, None] * sums).sum(0)
        square = square + (weight[ids, None, None] * sums.square()).sum(0)
        edges = edges + torch.bincount(pair, minlength=len(pairs))
    variance = (square - mean.square()).clamp(min=0).sum(dim=1)
    table = pd.DataFrame(
        {
            'field_a': [names[a] for a, _ in pairs],
            'field_b': [names[b] for _, b in pairs],
            'strength': variance.sqrt().cpu(),
        }
    )
    table = table[(edges > 0).cpu().numpy()]
    table = table.sort_values('strength', ascending=False, kind='stable')
    return table.reset_index(drop=True)
