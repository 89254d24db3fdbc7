"""Every row with items of the batch, against the model on rows times items."""

import copy

import pytest
import torch
from iedr_run import assert_same_run, gradients

from iedr_geo.datasets import PlantedFactors
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import IEDR, score_items
from iedr_geo.nn.generator import GENERATORS, MLPGenerator


class Squared(MLPGenerator):
    """Folds no longer."""

    def forward(self, entity, context):
        return type(super().forward(entity, context))(
            *(factor.square() for factor in super().forward(entity, context))
        )


class Ids(torch.nn.Module):
    def __init__(self, dataset):
        super().__init__()
        self.user = torch.nn.Embedding(dataset.num_users, 3)
        self.item = torch.nn.Embedding(dataset.num_items, 3)

    def forward(self, batch):
        return (self.user(batch.user_id) * self.item(batch.item_id)).sum(-1)


@pytest.fixture(scope='module')
def dataset():
    return PlantedFactors(num_users=12, num_items=40, num_interactions=200)


@pytest.fixture
def batch(dataset):
    """More rows than distinct queries, and items several times."""
    sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
    return InteractionBatch.from_ids(
        dataset, *(torch.randint(size, (110,)) for size in sizes)
    )


def assert_says_the_same(model, batch, items, tol=1e-10):
    plain = copy.deepcopy(model)
    encoded = model.encode(batch) if hasattr(model, 'encode') else None
    logits = score_items(model, batch, items, encoded)
    expected = plain(batch.cross(items)).view(len(batch), -1)
    torch.testing.assert_close(logits, expected, rtol=tol, atol=tol)
    weight = torch.randn_like(logits)
    assert_same_run(
        gradients(model, (logits * weight).sum()),
        gradients(plain, (expected * weight).sum()),
        tol,
    )


@pytest.mark.parametrize(
    'change',
    [
        *({'generator': name} for name in GENERATORS),
        {'generator': 'mlp', 'combine': 'sum'},
        {'generator': 'split', 'combine': 'sum'},
        {'generator': Squared(6, 16)},
        {'pointwise': True},
        {'pointwise': True, 'dropout': 0.5},
        {'encoder': 'mean', 'generator': 'residual', 'pointwise': True},
        {'generator': 'separate', 'cross': False},
        {'hidden_channels': 1024, 'pointwise': True},  # In blocks of rows.
    ],
    ids=str,
)
def test_iedr(dataset, batch, change):
    arguments = {'hidden_channels': 16, 'contrastive_weight': 0.0} | change
    model = IEDR(dataset.schema.num_embeddings, 6, **arguments).double().eval()
    items = torch.cat([torch.randperm(batch.item.num_graphs), torch.tensor([2, 2, 0])])
    encoded = model.encode(batch)
    alone = encoded._replace(distinct_item=None)  # As where each row draws its own.
    torch.testing.assert_close(
        model.score_items(batch, items, alone), model.score_items(batch, items, encoded)
    )
    assert_says_the_same(model, batch, items)
    assert_says_the_same(model, batch[:1], items[:1])


def test_any_model_in_blocks(dataset):
    """More pairs than the model is given at a time."""
    sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
    many = (torch.randint(size, (1000,)) for size in sizes)
    batch = InteractionBatch.from_ids(dataset, *many)
    model, calls = Ids(dataset).double(), []
    hook = model.register_forward_hook(lambda *call: calls.append(len(call[2])))
    score_items(model, batch, torch.arange(40))
    hook.remove()
    assert len(calls) > 1 and max(calls) < sum(calls) == 40_000
    assert_says_the_same(model, batch, torch.arange(40))
