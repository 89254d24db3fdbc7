import pandas as pd
import pytest

from iedr_geo.data import (
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
