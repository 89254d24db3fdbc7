from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from iedr_geo.data import Categorical, FeatureSchema, InteractionDataset
from iedr_geo.loader import InteractionBatch

NUM_USERS, NUM_ITEMS, NUM_CONTEXTS = 6, 9, 4


def make_dataset(**kwargs) -> InteractionDataset:
    """A log of 80 rows whose users come in another order than their names."""
    draws = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            'user': draws.integers(NUM_USERS, size=80),
            'item': draws.integers(NUM_ITEMS, size=80),
            'place': draws.integers(NUM_CONTEXTS, size=80),
            'label': draws.integers(2, size=80),
        }
    )
    return InteractionDataset.from_pandas(
        log,
        users=pd.DataFrame({'user': [3, 0, 5, 1, 4, 2]}),
        items=pd.DataFrame({'item': range(NUM_ITEMS)}),
        schema=FeatureSchema(
            user=[Categorical('user')],
            item=[Categorical('item')],
            context=[Categorical('place')],
        ),
        **kwargs,
    )


@pytest.fixture
def dataset() -> InteractionDataset:
    return make_dataset()


@pytest.fixture
def labelled() -> InteractionDataset:
    return make_dataset(label='label')


@pytest.fixture
def table() -> Tensor:
    """A score of its own for every user, item and context."""
    size = (NUM_USERS, NUM_ITEMS, NUM_CONTEXTS)
    scores = torch.randperm(NUM_USERS * NUM_ITEMS * NUM_CONTEXTS).view(size)
    return scores.float() / 100 - 1


@pytest.fixture
def scorer(table: Tensor) -> Callable[[InteractionBatch], Tensor]:
    """A plain function, which has no parameters and no mode."""

    def scorer(batch: InteractionBatch) -> Tensor:
        place = (batch.user_id, batch.item_id, batch.context_id)
        return table.to(batch.user_graph.device)[place]

    return scorer
