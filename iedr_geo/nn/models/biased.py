"""Scalar biases of users and items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import Embedding

from iedr_geo.nn.models.bipartite import BipartiteModel, Vectors
from iedr_geo.nn.models.over_backbone import OverBackbone


class Biased(OverBackbone):
    r"""Adds scalar biases to a model (*BIAS-U*, *BIAS-I* and *BIAS-UI*, Section 4.2.2 of
    `Zheng et al. <https://doi.org/10.1145/3442381.3449788>`_).

    The score is :math:`\langle \mathbf{u}, \mathbf{i} \rangle + b_u + b_i`, which is the
    inner product of :math:`[\mathbf{u}, b_u, 1]` and :math:`[\mathbf{i}, 1, b_i]`. A bias
    of users alone changes no ranking and has no gradient in a pairwise loss.

    Args:
        backbone (BipartiteModel): The model.
        user (bool, optional): If :obj:`True`, users have biases. (default: :obj:`True`)
        item (bool, optional): If :obj:`True`, items have biases. (default: :obj:`True`)
    """

    arguments = ('user', 'item')

    def __init__(
        self, backbone: BipartiteModel, user: bool = True, item: bool = True
    ) -> None:
        super().__init__(backbone)
        self.channels += 2
        self.user, self.item = user, item
        self.user_bias = Embedding(self.num_users, 1) if user else None
        self.item_bias = Embedding(self.num_items, 1) if item else None
        self._reset_biases()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        super().reset_parameters()
        self._reset_biases()

    def _reset_biases(self) -> None:
        for bias in (self.user_bias, self.item_bias):
            if bias is not None:
                torch.nn.init.zeros_(bias.weight)

    def forward(self, user: Tensor, item: Tensor) -> Vectors:
        """Returns the vectors of users and items, extended by their biases."""
        users, items = self.backbone(user, item)
        one = users.new_ones(())
        b_u = users.new_zeros(()) if self.user_bias is None else self.user_bias(user)
        b_i = items.new_zeros(()) if self.item_bias is None else self.item_bias(item)
        u_shape, i_shape = (*user.shape, 1), (*item.shape, 1)
        return (
            torch.cat([users, b_u.expand(u_shape), one.expand(u_shape)], dim=-1),
            torch.cat([items, one.expand(i_shape), b_i.expand(i_shape)], dim=-1),
        )
