"""The part of IEDR that runs for every request, as a module to export."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from iedr_geo.nn import IEDR
from iedr_geo.nn.loss.fused_contrastive import combined


class ScoringHead(torch.nn.Module):
    r"""Scores items for users from their readouts, with tensors alone.

    ``torch.export.export`` takes it, so that it can be served without this library: the
    readouts come from :meth:`Recommender.embeddings` and, of contexts,
    :meth:`IEDR.encode_graphs`. Pointwise terms are no part of it.

    Args:
        model: The trained model.

    Shapes:
        - **input:** readouts of users and of their contexts :math:`(N, F)` each, readouts
          of items :math:`(I, F)`
        - **output:** scores :math:`(N, I)`
    """

    def __init__(self, model: IEDR) -> None:
        super().__init__()
        self.generators = model.generators

    def forward(self, user: Tensor, context: Tensor, item: Tensor) -> Tensor:
        """Returns the scores."""
        users = _sum_of_factors(self.generators['user'], user, context)
        # Every item in every context: a dimension for each.
        items = _sum_of_factors(
            self.generators['item'], item.unsqueeze(0), context.unsqueeze(1)
        )
        return (items * users.unsqueeze(1)).sum(dim=-1)


def _sum_of_factors(generator: Any, entity: Tensor, context: Tensor) -> Tensor:
    """Returns the sum by PyTorch's own layers: others fix the number of rows."""
    if generator.kind not in ('mlp', 'residual'):
        intrinsic, extrinsic = generator(entity, context)
        return intrinsic + extrinsic
    channels = generator.channels
    product = combined(entity, context, generator.operation)
    intrinsic, extrinsic = generator.mlp(product).chunk(2, dim=-1)
    if generator.kind == 'residual':
        extrinsic = extrinsic + entity[..., channels:] + context[..., channels:]
    return intrinsic + extrinsic
