"""What a model knows of the concepts of items."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Concepts(NamedTuple):
    r"""Items and the prototypes of their concepts.

    Args:
        item: The vectors of items, of shape :math:`(I, F)`.
        prototype: Those of the prototypes, of shape :math:`(K, F)`.
        assignment: How far items belong to concepts, of shape :math:`(I, K)`.
        tau: The temperature :math:`\tau` that similarities are divided by.
        on_sphere: Whether vectors are of length one, so that inner products are cosines.
    """

    item: Tensor
    prototype: Tensor
    assignment: Tensor
    tau: float
    on_sphere: bool

    @property
    def nearest(self) -> Tensor:
        """The concept that each item belongs to most, of shape :math:`(I)`."""
        return self.assignment.argmax(dim=1)
