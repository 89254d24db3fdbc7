import pandas as pd
import pytest
import torch

from iedr_geo.data import (
    BipartiteGraph,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)

USERS, ITEMS = [0, 3, 1, 0, 2, 3, 3, 0, 1], [5, 5, 0, 2, 1, 3, 5, 5, 4]


@pytest.fixture(scope='session')
def dataset() -> InteractionDataset:
    """Nine rows with ragged graphs; the context of a row is its number."""
    return InteractionDataset.from_pandas(
        pd.DataFrame(
            {
                'user': USERS,
                'item': ITEMS,
                'row': range(9),
                'with': [
                    ['k', 'l'],
                    [],
                    ['k'],
                    [],
                    ['l'],
                    ['k', 'l', 'm'],
                    [],
                    [],
                    ['m'],
                ],
                'label': [1, 0, 0, 1, 1, 0, 1, 1, 0],
            }
        ),
        users=pd.DataFrame({'user': range(5)}),
        items=pd.DataFrame(
            {
                'item': range(7),
                'tags': ['x|y', 'x', '', 'x|y|z', 'z', 'y|z', 'y'],
                'price': [0.5, 1.5, None, -2.0, 0.0, 0.5, 1.0],
            }
        ),
        schema=FeatureSchema(
            user=[Categorical('user')],
            item=[Categorical('item'), MultiCategorical('tags', '|'), Numerical('price')],
            context=[Categorical('row'), MultiCategorical('with')],
        ),
        label='label',
    )


@pytest.fixture
def positives(dataset: InteractionDataset) -> InteractionDataset:
    """The same rows without labels."""
    positives = dataset[:]
    positives.y = None
    return positives


@pytest.fixture(scope='session')
def graph() -> BipartiteGraph:
    """Eleven edges, five of them intervened; a user has none."""
    has = [[0, 3, 8], [1], [], [2, 4, 8, 9], [0, 5, 9]]
    pairs = [(user, item) for user, items in enumerate(has) for item in items]
    user, item = torch.tensor(pairs).t()
    marks = torch.tensor([0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 1], dtype=torch.bool)
    return BipartiteGraph(user, item, len(has), 11, intervened=marks)
