"""The part of IEDR that runs for every request, as a module to export."""

from __future__ import annotations

import torch
from torch import Tensor

from iedr_geo.nn import IEDR


class ScoringHead(torch.nn.Module):
    r"""Scores items for users from their readouts, with tensors alone.

    ``torch.export.export`` takes it, so that it can be served without this library: the
    readouts come from :meth:`Recommender.embeddings` and, of contexts,
    :meth:`IEDR.encode_graphs`. Pointwise terms are no part of it.

    Args:
        model: The trained model.

    Shapes:
        - **input:** readouts of users and of their contexts, each of shape
          :math:`(N, F')`, readouts of items :math:`(I, F')`, with the sums of further
          embeddings as :meth:`IEDR.encode_graphs` returns them
        - **output:** scores :math:`(N, I)`
    """

    def __init__(self, model: IEDR) -> None:
        super().__init__()
        self.generators, self.cross = model.generators, model.cross

    def forward(self, user: Tensor, context: Tensor, item: Tensor) -> Tensor:
        """Returns the scores."""
        # Every item in every context: a dimension for each.
        context = context.unsqueeze(1)
        users = self.generators['user'](user.unsqueeze(1), context)
        items = self.generators['item'](item.unsqueeze(0), context)
        products = map(torch.mul, users.meeting(self.cross), items)
        return torch.add(*products).sum(dim=-1)
