"""The factor generator of the IEDR paper."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.dense import parameters_of, two_layers
from iedr_geo.nn.generator.factors import FactorGenerator, Factors, Folded
from iedr_geo.nn.loss.fused_contrastive import Layers, combined


def check_combine(combine: str) -> None:
    """Raises an error if a readout and a context cannot be combined in this way."""
    if combine not in ('product', 'sum'):
        raise ValueError(f"`combine` is 'product' or 'sum' (got '{combine}')")


class MLPGenerator(FactorGenerator):
    r"""The factor generator of IEDR (Section 5.1 of `Su et al.
    <https://doi.org/10.1145/3722553>`_).

    .. math::
        [\mathbf{o}_{in}, \mathbf{o}_{ex}] = \mathrm{MLP}(\mathbf{u} \circ \mathbf{c})

    Args:
        channels (int): Size of the readouts and of each factor.
        hidden_channels (int, optional): Size of the hidden layer.
            (default: :obj:`128`)
        combine (str, optional): The operation :math:`\circ`: :obj:`"product"` (Frappe)
            or :obj:`"sum"` (Yelp). (default: :obj:`"product"`)

    Shapes:
        - **input:** readouts :math:`(*, F)`, contexts :math:`(*, F)`, which broadcast
        - **output:** :class:`Factors`, each :math:`(*, F)`
    """

    def __init__(
        self, channels: int, hidden_channels: int = 128, combine: str = 'product'
    ) -> None:
        super().__init__(channels)
        check_combine(combine)
        self.combine = combine
        self.mlp = MLP([channels, hidden_channels, 2 * channels], norm=None)

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts."""
        x = combined(entity, context, self.combine)
        intrinsic, extrinsic = two_layers(x, *parameters_of(self.mlp)).chunk(2, dim=-1)
        return Factors(self._added(intrinsic, entity), self._added(extrinsic, context))

    def _added(self, out: Tensor, readout: Tensor) -> Tensor:
        """Returns a factor, given what the last layer gives for it."""
        return out

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone, at two thirds of the cost."""
        *layers, combine = self.intrinsic_layers()
        out = two_layers(combined(entity, context, combine), *layers)
        return self._added(out, entity)

    def intrinsic_layers(self) -> Layers:
        """Returns the two layers of the intrinsic factors."""
        w1, b1, w2, b2 = parameters_of(self.mlp)
        size = self.channels
        return Layers(w1, b1, w2[:size], b2[:size], self.combine)

    def hidden(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Returns weight and bias of the hidden layer of readouts in contexts.

        Args:
            context: Contexts, of shape :math:`(C, F)`.

        Returns:
            Tensors of shapes :math:`(C, H, F)` and :math:`(C, H)`.
        """
        weight, bias, _, _ = parameters_of(self.mlp)
        return hidden_in_contexts(weight, bias, context, self.combine)

    def fold(self, vectors: Factors, context: Tensor) -> Folded:
        """Folds vectors into the last layer: their inner products with the factors.

        Args:
            vectors: What either factor is multiplied with, each of shape :math:`(N, F)`.
            context: The context of each, likewise.
        """
        _, _, weight, bias = parameters_of(self.mlp)
        # The last layer gives both factors side by side.
        both = torch.cat(vectors, dim=-1)
        return Folded(both @ weight, None, both @ bias)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.channels}, combine={self.combine!r})'


def hidden_in_contexts(
    weight: Tensor, bias: Tensor, context: Tensor, combine: str
) -> tuple[Tensor, Tensor]:
    """Returns weight and bias of a layer of readouts that are combined with contexts."""
    if combine == 'product':
        return weight * context.unsqueeze(1), bias.expand(len(context), -1)
    return weight.expand(len(context), -1, -1), bias + context @ weight.t()
