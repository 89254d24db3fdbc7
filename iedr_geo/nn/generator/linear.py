"""A factor generator without a hidden layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.nn.generator.factors import FactorGenerator, Factors, Folded


class LinearGenerator(FactorGenerator):
    r"""A linear factor generator (*Linear* and *Nonlinear* in Table 10 of `Su et al.
    <https://doi.org/10.1145/3722553>`_).

    .. math::
        [\mathbf{o}_{in}, \mathbf{o}_{ex}] = \mathbf{W} [\mathbf{u}, \mathbf{c}] +
        \mathbf{b}

    It can fall into the trivial solution, in which the intrinsic factors copy the user or
    item and the extrinsic ones the context.

    Args:
        channels (int): Size of the readouts and of each factor.
        relu (bool, optional): If :obj:`True`, a ReLU follows (*Nonlinear*).
            (default: :obj:`False`)

    Shapes: see :class:`MLPGenerator`.
    """

    def __init__(self, channels: int, relu: bool = False) -> None:
        super().__init__(channels)
        self.relu = relu
        self.linear = torch.nn.Linear(2 * channels, 2 * channels)

    def _factors(
        self, entity: Tensor, context: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        x = torch.cat(torch.broadcast_tensors(entity, context), dim=-1)
        out = F.linear(x, weight, bias)
        return out.relu() if self.relu else out

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts."""
        out = self._factors(entity, context, self.linear.weight, self.linear.bias)
        return Factors(*out.chunk(2, dim=-1))

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone, at half the cost."""
        weight, bias = self.linear.weight, self.linear.bias
        size = self.channels
        return self._factors(entity, context, weight[:size], bias[:size])

    def hidden(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the hidden layer: the outputs before their ReLU, or
        nothing; see :meth:`MLPGenerator.hidden`.
        """
        of_entity, of_context = self.linear.weight.chunk(2, dim=1)
        weight = of_entity.expand(len(context), -1, -1)
        bias = context @ of_context.t() + self.linear.bias
        return (weight, bias) if self.relu else (weight[:, :0], bias[:, :0])

    def fold(self, vectors: Factors, context: Tensor) -> Folded:
        """Folds vectors into the last layer; see :meth:`MLPGenerator.fold`."""
        both = torch.cat(vectors, dim=-1)
        if self.relu:
            return Folded(both, None, both.new_zeros(len(both)))
        of_entity, of_context = self.linear.weight.chunk(2, dim=1)
        constant = (both * (context @ of_context.t() + self.linear.bias)).sum(dim=-1)
        return Folded(both[:, :0], both @ of_entity, constant)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.channels}, relu={self.relu})'
