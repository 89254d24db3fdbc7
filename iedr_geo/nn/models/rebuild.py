"""Models as text: what tells a model of the library from others, and its way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MODELS: dict[str, Any] = {}
"""The classes that a description can name: those of :mod:`iedr_geo.nn.models`."""


def describe(model: torch.nn.Module) -> dict[str, Any] | None:
    """Describes a model so that :func:`rebuild` makes one like it.

    Returns:
        The name of its class and its arguments, for JSON. :obj:`None` if the library
        could not make it again: the class is one's own, or one of its parts is.
    """
    cls = type(model)
    if MODELS.get(cls.__name__) is not cls:
        return None
    config = model.config
    if config is None:
        return None
    description = {'model': cls.__name__, 'arguments': config}
    with torch.random.fork_rng(devices=[]):
        again = rebuild(description, model.state_dict())
    parts = [
        [(name, type(part)) for name, part in one.named_modules()]
        for one in (model, again)
    ]
    return description if parts[0] == parts[1] else None


def rebuild(
    description: Mapping[str, Any], state: Mapping[str, Tensor]
) -> torch.nn.Module:
    """Makes the model that :func:`describe` described, with its weights.

    Args:
        description: What :func:`describe` returned.
        state: The state of the model.

    Raises:
        ValueError: If the library has no such model.
    """
    name = description['model']
    if name not in MODELS:
        raise ValueError(f"There is no model '{name}' (there are: {', '.join(MODELS)})")
    cls = MODELS[name]
    arguments = description['arguments']
    make = getattr(cls, 'from_config', None)
    model: torch.nn.Module = cls(**arguments) if make is None else make(arguments, state)
    model.load_state_dict(state)
    return model


def rebuild_part(
    description: Mapping[str, Any], state: Mapping[str, Tensor], name: str
) -> Any:
    """Makes the part of a model that has a name in its state."""
    prefix = f'{name}.'
    return rebuild(
        description,
        {
            key.removeprefix(prefix): tensor
            for key, tensor in state.items()
            if key.startswith(prefix)
        },
    )
