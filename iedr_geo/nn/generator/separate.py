"""A factor generator of parts that are separate by construction."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.dense import parameters_of, two_layers
from iedr_geo.nn.generator.factors import FactorGenerator, Factors, Folded


class SeparateGenerator(FactorGenerator):
    r"""A factor generator whose intrinsic factors know no context (not in the paper).

    The two factors share no embedding: :math:`\mathbf{u}'` and :math:`\mathbf{u}''` are
    sums of second and third ones.

    .. math::
        \mathbf{o}_{in} &= \mathbf{u}' + \mathrm{MLP}_1(\mathbf{u}') \\
        \mathbf{o}_{ex} &= \mathbf{s}'' + \mathrm{MLP}_2([\mathbf{u} \odot \mathbf{c},
        \mathbf{u}'', \mathbf{c}''])

    For users, :math:`\mathbf{s}'' = \mathbf{c}''`, what a context calls for; for items,
    :math:`\mathbf{s}'' = \mathbf{v}''`, what an item has to offer: the product of the two
    is that of a factorisation machine.

    Args:
        channels (int): Size of the readouts and of each factor.
        hidden_channels (int, optional): Size of both hidden layers.
            (default: :obj:`128`)
        side (str, optional): :obj:`"user"` or :obj:`"item"`. (default: :obj:`"user"`)

    Shapes:
        - **input:** readouts and the sums of both other embeddings :math:`[\mathbf{u},
          \mathbf{u}', \mathbf{u}'']`, :math:`(*, 3F)`, the same of contexts, which
          broadcast
        - **output:** :class:`Factors`, each :math:`(*, F)`
    """

    further_embeddings = 2
    context_free_intrinsic = True

    def __init__(
        self, channels: int, hidden_channels: int = 128, side: str = 'user'
    ) -> None:
        super().__init__(channels)
        if side not in ('user', 'item'):
            raise ValueError(f"`side` is 'user' or 'item' (got '{side}')")
        self.side = side
        self.intrinsic_mlp = MLP([channels, hidden_channels, channels], norm=None)
        self.extrinsic_mlp = MLP([3 * channels, hidden_channels, channels], norm=None)

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts."""
        readout, _, sums = entity.chunk(3, dim=-1)
        of_context, _, sums_of_context = context.chunk(3, dim=-1)
        product = readout * of_context
        sides = [side.expand_as(product) for side in (sums, sums_of_context)]
        x = torch.cat([product, *sides], dim=-1)
        extrinsic = two_layers(x, *parameters_of(self.extrinsic_mlp))
        added = sides[0] if self.side == 'item' else sides[1]
        return Factors(self.intrinsic(entity, context), added + extrinsic)

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone, which are the same in every context."""
        shape = torch.broadcast_shapes(entity.shape, context.shape)
        sums = entity.chunk(3, dim=-1)[1]
        out = sums + two_layers(sums, *parameters_of(self.intrinsic_mlp))
        return out.expand(*shape[:-1], self.channels)

    def hidden(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the hidden layer of the extrinsic factors; see
        :meth:`MLPGenerator.hidden`.
        """
        first, bias, _, _ = parameters_of(self.extrinsic_mlp)
        of_product, _, of_contexts = first.chunk(3, dim=1)
        readout, _, sums = context.chunk(3, dim=-1)
        return of_product * readout.unsqueeze(1), bias + sums @ of_contexts.t()

    def stable_hidden(self, entity: Tensor) -> Tensor:
        """Returns what sums add to the hidden layer in every context."""
        of_sums = self.extrinsic_mlp.lins[0].weight.chunk(3, dim=1)[1]
        return entity.chunk(3, dim=-1)[2] @ of_sums.t()

    def fold(self, vectors: Factors, context: Tensor) -> Folded:
        """Folds vectors into the last layer of the extrinsic factors; see
        :meth:`MLPGenerator.fold`.
        """
        _, _, weight, bias = parameters_of(self.extrinsic_mlp)
        _, extrinsic = vectors
        folded, constant, direct = extrinsic @ weight, extrinsic @ bias, None
        if self.side == 'item':
            none = torch.zeros_like(extrinsic)
            direct = torch.cat([none, none, extrinsic], dim=-1)
        else:
            sums = context.chunk(3, dim=-1)[2]
            constant = constant + (extrinsic * sums).sum(dim=-1)
        return Folded(folded, direct, constant)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.channels}, side={self.side!r})'
