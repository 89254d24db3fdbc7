"""What a model reads of its data, and which of its methods say the same."""

from __future__ import annotations

from typing import Any

import torch

READS = ('vocabulary', 'user', 'item')


def data_read(model: object, data: Any) -> dict[str, Any]:
    """Returns the fingerprints of what a model reads of the data that it is trained on.

    A model says by :obj:`reads` whose numbers it knows: :obj:`'vocabulary'`, those of
    features; :obj:`'user'`, :obj:`'item'` and :obj:`'context'`, those of ids. By default
    of all but contexts, so that a model of features alone, which may be given other
    users, has to say so.

    Args:
        model: The model.
        data: The dataset or graph.
    """
    return {name: data.fingerprint(name) for name in getattr(model, 'reads', READS)}


def has_hooks(module: torch.nn.Module, parts: bool = True) -> bool:
    """Returns whether a hook may change what a module computes.

    Args:
        module: The module.
        parts: If :obj:`True`, hooks on its parts count as well.
    """
    modules: Any = module.modules() if parts else [module]
    return any(part._forward_hooks or part._forward_pre_hooks for part in modules)


def _owner(model: object, name: str) -> int:
    """Returns how far up the class is that defines a method; the instance is at -1."""
    if name in vars(model):
        return -1
    mro = type(model).__mro__
    return next((i for i, cls in enumerate(mro) if name in vars(cls)), len(mro))


def stands_for(model: object, method: str, *others: str) -> bool:
    """Returns whether a method can be called in the place of others.

    It can where no subclass has changed one of them without changing the method as well.

    Args:
        model: The model, or a part of it.
        method: The method that is to be called, *e.g.*, a faster one.
        *others: The methods whose results it is to give.
    """
    if not hasattr(model, method):
        return False
    owner = _owner(model, method)
    return all(owner <= _owner(model, other) for other in others)
