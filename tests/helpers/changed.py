"""Classes that differ from one that is right in one method."""

import copy
from collections.abc import Callable
from typing import Any

import torch


def changed(base: type, method: str, change: Callable) -> type:
    """Returns a class whose method is :obj:`change(self, method of base, *args)`."""

    def new(self, *args: Any, **kwargs: Any) -> Any:
        return change(self, getattr(super(cls, self), method, None), *args, **kwargs)

    cls = type(base.__name__, (base,), {method: new})
    return cls


def of_result(change: Callable) -> Callable:
    """Returns a change of what a method returns."""
    return lambda self, call, *args, **kwargs: change(call(*args, **kwargs))


def adds_unused(self, call: Callable, *args: Any) -> None:
    """A change of the constructor: a layer that plays no part in anything."""
    call(*args)
    self.unused = torch.nn.Linear(4, 1)


def assert_left_as_it_was(module: torch.nn.Module, check: Callable) -> None:
    """Neither weights, gradients, modes nor random generators are what a check changes,
    whatever it finds.
    """
    module.train()
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    before, random = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    try:
        check(module)
    except AssertionError as error:
        assert 'differ' in str(error)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(part.training for part in module.modules())
    for name, tensor in module.state_dict().items():
        assert tensor.dtype == torch.float and torch.equal(tensor, before[name])
    assert all((p.grad == 7).all() for p in module.parameters())
