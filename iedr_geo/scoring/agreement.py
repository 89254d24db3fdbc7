"""The agreement of scores, and of models with data."""

from __future__ import annotations

import torch
from torch import Tensor

from iedr_geo.data import FeatureSchema

ROUNDINGS = 8  # Where rounding is coarser: as many times that of one number.


def num_embeddings(model: object) -> int | None:
    """Returns the number of embeddings of a model's configuration, if it has one."""
    config = getattr(model, 'config', None)
    return config.get('num_embeddings') if isinstance(config, dict) else None


def check_schema(size: int | None, schema: FeatureSchema | None, name: str) -> None:
    """Raises an error if a model has another number of embeddings than a schema.

    Args:
        size: The number of embeddings of the model, if it is known.
        schema: The schema, if there is one.
        name: The name of the schema in the message.
    """
    if schema is not None and size not in (None, schema.num_embeddings):
        raise ValueError(
            f'{name} has {schema.num_embeddings} embeddings, the model '
            f'{size}: it was trained on another schema'
        )


def agree(scores: Tensor, wanted: Tensor, tolerance: float = 1e-3) -> Tensor:
    """Returns which scores are equal but for rounding.

    Args:
        scores: Scores of any shape and type.
        wanted: The scores that they should be, of the same shape.
        tolerance: The distance that equal scores may have, as a share of the largest
            one. By default, as far as sums of single precision in another order can be.
    """
    dtype = wanted.dtype
    if dtype == torch.float32 and torch.get_float32_matmul_precision() != 'highest':
        dtype = torch.bfloat16
    tolerance = max(tolerance, ROUNDINGS * torch.finfo(dtype).eps)
    scores, wanted = scores.double(), wanted.double()
    finite = wanted[wanted.isfinite()].abs()
    largest = float(finite.max()) if finite.numel() else 0.0
    return torch.isclose(scores, wanted, rtol=0, atol=tolerance * largest, equal_nan=True)
