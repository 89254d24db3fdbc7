"""Transforms as text, without pickles."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose, RemoveSelfLoops

from iedr_geo.transforms.complete import Complete
from iedr_geo.transforms.field_pairs import FieldPairs

_KNOWN = {cls.__name__: cls for cls in (Complete, FieldPairs, RemoveSelfLoops)}


class OwnTransform(BaseTransform):
    """Stands for a transform that a file cannot hold, until it is given again.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, data: Data) -> Data:
        """Raises an error: only the name is known."""
        raise RuntimeError(
            f'The edges of these graphs are built by {self.name}, which a file cannot '
            f'hold: give it again when you load, e.g. Recommender.load(folder, '
            f"edges={{'item': {self.name}}})"
        )


def transform_to_dict(transform: Any) -> dict[str, Any]:
    """Returns a transform as what JSON can hold: all of it, or else its name."""
    if type(transform) is Compose:
        return {'Compose': [transform_to_dict(part) for part in transform.transforms]}
    name = type(transform).__name__
    if _KNOWN.get(name) is type(transform):
        return {name: vars(transform)}
    if isinstance(transform, OwnTransform):
        return {'OwnTransform': {'name': transform.name}}
    return {'OwnTransform': {'name': repr(transform)}}


def transform_from_dict(content: dict[str, Any]) -> Any:
    """Reads what :func:`transform_to_dict` returned."""
    [(name, arguments)] = content.items()
    if name == 'Compose':
        return Compose([transform_from_dict(part) for part in arguments])
    return {**_KNOWN, 'OwnTransform': OwnTransform}[name](**arguments)
