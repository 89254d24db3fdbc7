"""Factors, and what a generator of them has to offer."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor


class Factors(NamedTuple):
    """Intrinsic and extrinsic factors, each of shape :math:`(B, F)`."""

    intrinsic: Tensor
    extrinsic: Tensor

    def meeting(self, cross: bool) -> Factors:
        """Returns what either factor of the other side is multiplied with in a score.

        Args:
            cross: If :obj:`True`, both factors; if :obj:`False`, the same factor alone.
        """
        return Factors(*[self.intrinsic + self.extrinsic] * 2) if cross else self


class Folded(NamedTuple):
    r"""The last layer of a generator, multiplied with the vectors that it is to meet.

    With hidden layer :math:`\mathbf{W} \mathbf{v} + \mathbf{b}` of an item's readout
    :math:`\mathbf{v}`, its score is :math:`\mathbf{a}^{\top} \mathrm{ReLU}(\mathbf{W}
    \mathbf{v} + \mathbf{b}) + \mathbf{d}^{\top} \mathbf{v} + e`.

    Args:
        weight: :math:`\mathbf{a}`, of shape :math:`(N, H)`.
        direct: :math:`\mathbf{d}`, of shape :math:`(N, F')`. :obj:`None` for zero.
        constant: :math:`e`, of shape :math:`(N)`.
    """

    weight: Tensor
    direct: Tensor | None
    constant: Tensor


class FactorGenerator(torch.nn.Module):
    r"""Base class of factor generators :math:`f_{ie}`, which make intrinsic and extrinsic
    factors of a user or an item in a context (Section 5.1 of `Su et al.
    <https://doi.org/10.1145/3722553>`_).

    Subclasses define :meth:`forward` and :meth:`intrinsic`. Those whose only
    non-linearity is the ReLU of one hidden layer may define :obj:`hidden` and
    :obj:`fold` as well: a catalogue is then scored without its factors. The weights of
    :obj:`hidden` are of the first channels of a readout; what the rest of it gives the
    hidden layer, in every context, is :meth:`stable_hidden`.

    Args:
        channels (int): Size of each factor.
    """

    further_embeddings: ClassVar[int] = 0
    """How many embeddings there are besides those of the encoder, of which readouts come
    with the sums: :math:`(*, F + nF)`."""

    context_free_intrinsic: ClassVar[bool] = False
    """If :obj:`True`, the intrinsic factors look at no context. What :obj:`hidden` and
    :obj:`fold` give is then of the extrinsic factors alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts; shapes broadcast."""
        raise NotImplementedError

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone."""
        return self(entity, context).intrinsic

    def stable_hidden(self, entity: Tensor) -> Tensor | None:
        """Returns what readouts add to the hidden layer in every context, of shape
        :math:`(N, H)`; :obj:`None` for nothing.
        """
        return None

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.channels})'
