"""Adam of dense and sparse parameters together, against one after the other."""

import copy

import pytest
import torch
from torch.optim import Adam, SparseAdam

from iedr_geo.training.adam import make_adam, sparse_parameters

OPTIONS = {'lr': 0.1, 'betas': (0.8, 0.9), 'weight_decay': 0.0, 'amsgrad': False}


def make() -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict(
        {
            'sparse': torch.nn.Embedding(9, 3, sparse=True),
            'dense': torch.nn.Embedding(9, 3),
            'layer': torch.nn.Linear(3, 1),
        }
    )


def loss(model, index):
    rows = model['sparse'](index) * model['dense'](index)
    return model['layer'](rows).square().sum()


def test_both_as_one():
    """With a learning rate that changes, and after their state was loaded."""
    model = make()
    expected = copy.deepcopy(model)
    sparse = sparse_parameters(model)
    assert len(sparse) == 1 and sparse[0] is model['sparse'].weight
    optimizer = make_adam(list(model.parameters()), sparse, **OPTIONS)
    rest = [*expected['dense'].parameters(), *expected['layer'].parameters()]
    lazy = SparseAdam(expected['sparse'].parameters(), lr=0.1, betas=(0.8, 0.9))
    parts = [Adam(rest, **OPTIONS), lazy]
    before = model['sparse'].weight[5].clone()
    for step in range(6):
        index = torch.tensor([step % 3, 7, 7])
        for group in (
            *optimizer.param_groups,
            *(g for p in parts for g in p.param_groups),
        ):
            group['lr'] = 0.1 / (1 + step)
        optimizer.zero_grad()
        loss(model, index).backward()
        optimizer.step()
        for part in parts:
            part.zero_grad()
        loss(expected, index).backward()
        for part in parts:
            part.step()
        for one, two in zip(model.parameters(), expected.parameters(), strict=True):
            torch.testing.assert_close(one, two)
        if step == 3:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = make_adam(list(model.parameters()), sparse, **OPTIONS)
            optimizer.load_state_dict(state)
    assert torch.equal(model['sparse'].weight[5], before)  # Never in a batch.
    assert not torch.equal(model['sparse'].weight[7], before)


def test_nothing_is_sparse():
    optimizer = make_adam(list(torch.nn.Linear(2, 2).parameters()), [], **OPTIONS)
    assert type(optimizer) is Adam


@pytest.mark.parametrize('option', [{'weight_decay': 0.1}, {'amsgrad': True}])
def test_what_would_move_every_row(option):
    model = make()
    with pytest.raises(ValueError, match=f'`{next(iter(option))}`.*sparse'):
        make_adam(list(model.parameters()), sparse_parameters(model), **OPTIONS | option)
