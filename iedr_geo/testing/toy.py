"""A shop with ids, categories, lists and numbers, small enough to check by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    UniformNegativeSampler,
)
from iedr_geo.loader import InteractionBatch, InteractionLoader


class ToyTables(NamedTuple):
    """Tables and the schema of their columns, in the order of
    :meth:`InteractionDataset.from_pandas`.

    Args:
        interactions: Who bought what on which day, and whether as a gift.
        users: The customers, with numbers and a category.
        items: The articles, with tags and prices.
        schema: The columns, not fitted yet. Articles are known by tags and price alone.
    """

    interactions: pd.DataFrame
    users: pd.DataFrame
    items: pd.DataFrame
    schema: FeatureSchema


def toy_tables() -> ToyTables:
    """Returns tables of ids, categories, lists and numbers, and what real ones have too.

    Values are missing, ids are not in order, items are alike, some are bought twice, one
    user has bought nothing and one everything. All feature graphs have 2 or 4 nodes, so
    that no mean has to be rounded.
    """
    users = pd.DataFrame(
        {
            'customer': [30, 4, 21, 5, 17],
            'age': [1, 2, -1, None, 1],
            'income': [0, 2, 1, 1, -2],
            'town': ['x', 'y', 'y', None, 'x'],
        }
    )
    tags = ['p', 'q', 'p|q|r', 'p', '', 'q', 'p', 'r|p|s', 'q', 'p', 'p|q|r', 'r']
    items = pd.DataFrame(
        {
            'article': [40, 7, 112, 31, 5, 100, 23, 9, 64, 2, 18, 77],
            'tags': tags,
            'price': [3, 8, 3, 4, 8, 8, 3, 3, 9, 8, 2, None],
        }
    )
    bought = [(30, 40), (30, 5), (4, 7), (4, 31), (4, 7), (5, 2), (30, 77)]
    bought += [(17, article) for article in items['article']]
    interactions = pd.DataFrame(bought, columns=['customer', 'article'])
    row = interactions.index
    interactions['day'] = [('mon', 'tue', 'sat')[i % 3] for i in row]
    interactions['gift'] = row % 2 == 0
    schema = FeatureSchema(
        user=[
            Categorical('customer'),
            Numerical('age'),
            Numerical('income'),
            Categorical('town'),
        ],
        item=[MultiCategorical('tags', '|'), Bucketized('price', (3, 9))],
        context=[Categorical('day'), Categorical('gift')],
    )
    return ToyTables(interactions, users, items, schema)


def toy_dataset(**kwargs: Any) -> InteractionDataset:
    """Returns the tables of :func:`toy_tables` as a dataset.

    Args:
        **kwargs: Further arguments of :meth:`InteractionDataset.from_pandas`.
    """
    return InteractionDataset.from_pandas(
        *toy_tables(), user='customer', item='article', **kwargs
    )


def toy_batch(num_negatives: int = 2, seed: int = 0) -> InteractionBatch:
    """Returns all rows of :func:`toy_dataset` in one batch, with negatives.

    Args:
        num_negatives: The number of negatives of each row.
        seed: The seed of the draw.
    """
    dataset = toy_dataset()
    negatives = UniformNegativeSampler(num_negatives)
    size = len(dataset) * (1 + num_negatives)
    [batch] = InteractionLoader(dataset, size, negatives, seed=seed)
    return batch
