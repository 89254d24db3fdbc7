"""The items that a user does not have, without a table of users by items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.utils import cumsum


class UnseenItems:
    r"""Draws from the items that each user does not have, exactly and at once.

    The catalogue is laid out in an order, each item as long as its weight. What a user
    has is cut out and the rest pushed together: a position in what is left is an item
    that the user does not have. Both ways take a binary search, so nothing is rejected
    and drawn again.

    Args:
        user: The user of each edge, sorted, of shape :math:`(E)`.
        item: The item of each edge, distinct for each user, of shape :math:`(E)`.
        num_users: The number of users.
        order: The items in the order of the layout, of shape :math:`(I)`.
        weight: The weight of each item, integers from 0, of shape :math:`(I)`.
    """

    def __init__(
        self, user: Tensor, item: Tensor, num_users: int, order: Tensor, weight: Tensor
    ) -> None:
        self.order = order
        self._num_slots = order.numel()
        slot_of_item = torch.empty_like(order)
        slot_of_item[order] = torch.arange(order.numel(), device=order.device)
        # Sorted keys: those of one user stand together, and in the order of the layout.
        self._key, _ = (user * (self._num_slots + 1) + slot_of_item[item]).sort()
        slot = self._key - user * (self._num_slots + 1)
        self._ends = cumsum(weight[order])
        self._held = cumsum(weight[order][slot])
        self._ptr = cumsum(torch.bincount(user, minlength=num_users))
        unseen_before = self._ends[slot] - (self._held[:-1] - self._held[self._ptr[user]])
        self._length = self._ends[-1] + 1
        self._unseen = user * self._length + unseen_before
        everything = torch.full_like(self._ptr[1:], self._num_slots)
        self.total = self.before(torch.arange(num_users, device=user.device), everything)

    def _held_by(self, user: Tensor, edge: Tensor) -> Tensor:
        return self._held[edge] - self._held[self._ptr[user]]

    def before(self, user: Tensor, slot: Tensor) -> Tensor:
        """Returns the weight of what users do not have among the first slots.

        Args:
            user: Users, of any shape.
            slot: The number of slots of the order that count, of the same shape.
        """
        edge = torch.searchsorted(self._key, user * (self._num_slots + 1) + slot)
        return self._ends[slot] - self._held_by(user, edge)

    def at(self, user: Tensor, position: Tensor) -> Tensor:
        """Returns the items at positions in what users do not have.

        Args:
            user: Users, of any shape.
            position: Integers from 0 to less than the user's :obj:`total`, of the same
                shape. Beyond, the items have no meaning.
        """
        edge = torch.searchsorted(
            self._unseen, user * self._length + position, right=True
        )
        end = position + self._held_by(user, edge)
        slot = torch.searchsorted(self._ends, end, right=True) - 1
        return self.order[slot.clamp(max=self._num_slots - 1)]
