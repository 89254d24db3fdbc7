"""Models as text: what tells a model of the library from others, and its way back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self

MODELS: dict[str, type[Rebuildable]] = {}
"""The classes that a description can name: those of :mod:`iedr_geo.nn.models`."""


class Rebuildable(torch.nn.Module):
    """Base class of models that keep the arguments that they are made from."""

    arguments: ClassVar[tuple[str, ...]] = ()
    """Those of the constructor that JSON can hold, each an attribute of the model."""

    trained_on: Mapping[str, Any] = MappingProxyType({})
    """The fingerprints of what it reads of the data that it was trained on."""

    @property
    def config(self) -> dict[str, Any] | None:
        """The constructor's arguments, for JSON, but for tensors; nothing if one is a
        model that cannot be described.
        """
        return {name: getattr(self, name) for name in self.arguments}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """Makes a model that a state can be loaded into.

        Args:
            config: The :obj:`config` of the model that the state is of.
            state: Its state dict.
        """
        return cls(**config)


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
    again = _make(description, model.state_dict())
    return description if _form(model) == _form(again) else None


def _form(model: torch.nn.Module) -> tuple[list[Any], list[Any]]:
    """Returns what the parts of a model are, and the shapes of its tensors."""
    parts = [(name, type(part), repr(part)) for name, part in model.named_modules()]
    return parts, [(key, tensor.shape) for key, tensor in model.state_dict().items()]


def _make(description: Mapping[str, Any], state: Mapping[str, Tensor]) -> torch.nn.Module:
    """Makes a model that a state can be loaded into, which holds no memory before."""
    name = description['model']
    if name not in MODELS:
        raise ValueError(f"There is no model '{name}' (there are: {', '.join(MODELS)})")
    with torch.device('meta'):  # A description may ask for any size.
        return MODELS[name].from_config(description['arguments'], state)


def rebuild(
    description: Mapping[str, Any], state: Mapping[str, Tensor]
) -> torch.nn.Module:
    """Makes the model that :func:`describe` described, with its weights.

    Args:
        description: The result of :func:`describe`.
        state: The state of the model, whose tensors are those of the new one.

    Raises:
        ValueError: If the library has no such model.
    """
    model = _make(description, state)
    # As they are: a model in double precision stays one.
    model.load_state_dict(state, assign=True)
    return model


def rebuild_part(
    description: Mapping[str, Any], state: Mapping[str, Tensor], name: str
) -> Any:
    """Makes the part of a model that has a name in its state, for that to be loaded."""
    prefix = f'{name}.'
    own = {key: tensor for key, tensor in state.items() if key.startswith(prefix)}
    return _make(description, {key.removeprefix(prefix): own[key] for key in own})
