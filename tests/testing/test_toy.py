"""The toy shop has what it says."""

import torch

from iedr_geo.data.schema import SIDES
from iedr_geo.testing import toy_batch, toy_dataset, toy_tables


def test_what_real_tables_have_as_well():
    interactions, users, items, schema = toy_tables()
    kinds = {type(column).__name__ for side in SIDES for column in schema.columns(side)}
    assert kinds == {'Categorical', 'MultiCategorical', 'Numerical', 'Bucketized'}
    assert users[['age', 'town']].isna().any().all()
    assert items['price'].isna().any() and (items['tags'] == '').any()
    assert not items['article'].is_monotonic_increasing
    assert items.duplicated(['tags', 'price']).any()
    pairs = interactions[['customer', 'article']]
    assert pairs.duplicated().any()
    bought = pairs.groupby('customer')['article'].nunique()
    assert bought.max() == len(items) and len(bought) == len(users) - 1
    # Tables are their reader's own.
    del users['town']
    schema.item.clear()
    dataset = toy_dataset()
    assert schema.vocabulary is None
    assert 'town' in toy_tables().users and len(toy_tables().schema.item) == 2
    assert not dataset.exclude_seen and toy_dataset(exclude_seen=True).exclude_seen
    for side in SIDES:  # No mean has to be rounded.
        assert set(getattr(dataset, f'{side}s').ptr.diff().tolist()) <= {2, 4}


def test_batch():
    dataset, batch = toy_dataset(), toy_batch(num_negatives=3)
    positive = batch.y == 1
    assert positive.view(-1, 4)[:, 0].all() and positive.sum() == len(dataset)
    assert torch.equal(batch.item_id[positive], dataset.item)
    for side in ('user', 'context'):
        rows = getattr(batch, f'{side}_id').view(-1, 4)
        assert torch.equal(rows, getattr(dataset, side).unsqueeze(1).expand(-1, 4))
    assert (batch.item_id.view(-1, 4)[:, 1:] != dataset.item.unsqueeze(1)).all()
    drawn = [toy_batch(3, seed).item_id for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
