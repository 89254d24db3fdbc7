"""Items and values that a part of a log cannot know of yet."""

from __future__ import annotations

import copy
from functools import cache

import numpy as np
import torch
from torch import Tensor

from iedr_geo.data.columns import RESERVED
from iedr_geo.data.feature_graphs import FeatureGraphs
from iedr_geo.data.interaction import InteractionDataset
from iedr_geo.data.parts import Split
from iedr_geo.data.schema import SIDES, FeatureSchema


def hide_new(split: Split) -> Split:
    """Returns a split in which nothing is known before its time.

    An item exists from the part on in which it first has a row, in the order training,
    validation, test; items that have no row at all exist from the beginning. The
    :obj:`catalogue` of each part says so: other items are neither negatives nor ranked.

    A value that no training sample has, *e.g.*, the id of a new user or item, becomes its
    field's *unknown* value, which it will be when the model serves: its own embedding is
    never trained. Numbers and missing values stay. Rows whose contexts are the same
    then have one context. Training samples are the training rows
    and, where there are no labels, all items of their catalogue as negatives.

    Args:
        split: The parts of a log. Those of tables of one's own must have the same items,
            in the same order, and share the schema.

    Example:
        >>> train, valid, test, _ = hide_new(leave_last_out(dataset))

    Raises:
        ValueError: If the parts have not the same items, or not the same schema.
    """
    parts = split[:3]
    train = parts[0]
    for part, name in zip(parts[1:], ('validation', 'test'), strict=True):
        if not part.item_ids.equals(train.item_ids) or part.schema != train.schema:
            raise ValueError(
                f'The training and the {name} part must have the same items, in the same '
                f'order, and the same schema'
            )
    first = torch.zeros(train.num_items, dtype=torch.long, device=train.item.device)
    for number in (2, 1, 0):
        first[parts[number].item.to(first.device)] = number
    train, valid, test = (
        _restrict(part, first <= number) for number, part in enumerate(parts)
    )
    stand_in = _stand_in(train.schema, _trained(train))

    @cache  # Parts share their graphs.
    def hide(graphs: FeatureGraphs) -> FeatureGraphs:
        return graphs.with_x(stand_in.to(graphs.x.device)[graphs.x])

    first_alike = cache(_first_alike)
    for part in (train, valid, test):
        part.users, part.items = hide(part.users), hide(part.items)
        part.contexts = hide(part.contexts)
        first = first_alike(part.contexts).to(part.context.device)
        part.context = first[part.context]
    return split._replace(train=train, valid=valid, test=test)


def _first_alike(graphs: FeatureGraphs) -> Tensor:
    """Returns, for each graph, the first that has the same nodes."""
    hashes = graphs.hashes()
    _, first, number = np.unique(hashes, return_index=True, return_inverse=True)
    return torch.from_numpy(first[number])


def _restrict(part: InteractionDataset, exists: Tensor) -> InteractionDataset:
    """Returns a part whose catalogue has lost the items that do not exist."""
    exists = exists.to(part.item.device)
    if part.catalogue is not None:
        exists &= torch.zeros_like(exists).index_fill_(0, part.catalogue, True)
    restricted = copy.copy(part)
    restricted.catalogue = None if exists.all() else exists.nonzero().view(-1)
    return restricted


def _trained(train: InteractionDataset) -> Tensor:
    """Returns :obj:`True` for each embedding row that a training sample has."""
    items = train.catalogue if train.y is None else train.item
    if items is None:
        items = torch.arange(train.num_items, device=train.item.device)
    trained = torch.zeros(train.schema.num_embeddings, dtype=torch.bool)
    for graphs, ids in (
        (train.users, train.user),
        (train.items, items),
        (train.contexts, train.context),
    ):
        trained[graphs.select(torch.unique(ids)).x.cpu()] = True
    return trained


def _stand_in(schema: FeatureSchema, trained: Tensor) -> Tensor:
    """Returns the row that stands for each row: itself, or its field's unknown."""
    first = [row for side in SIDES for row in schema.offsets(side).values()]
    columns = [column for side in SIDES for column in schema.columns(side)]
    sizes = torch.tensor([*first, schema.num_embeddings]).diff()
    unknown = torch.tensor(first).repeat_interleave(sizes)
    number = torch.tensor([column.is_number for column in columns])
    row = torch.arange(schema.num_embeddings)
    stays = trained | (row < unknown + RESERVED) | number.repeat_interleave(sizes)
    return torch.where(stays, row, unknown)
