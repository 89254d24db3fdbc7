"""From a readout and a context to intrinsic and extrinsic factors."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.dense import parameters_of, two_layers
from iedr_geo.nn.loss.fused_contrastive import Layers, combined


class Factors(NamedTuple):
    """Intrinsic and extrinsic factors, each of shape :math:`(B, F)`."""

    intrinsic: Tensor
    extrinsic: Tensor


class FactorGenerator(torch.nn.Module):
    r"""The factor generator :math:`f_{ie}` of IEDR (Section 5.1 and Table 10 of `Su et
    al. <https://doi.org/10.1145/3722553>`_).

    .. math::
        [\mathbf{o}_{in}, \mathbf{o}_{ex}] = \mathrm{MLP}(\mathbf{u} \circ \mathbf{c})

    Args:
        channels (int): Size of the readouts and of each factor.
        hidden_channels (int, optional): Size of the hidden layer.
            (default: :obj:`128`)
        kind (str, optional): :obj:`"mlp"`, as above; :obj:`"linear"`,
            :math:`\mathbf{W} [\mathbf{u}, \mathbf{c}]`, which can fall into the trivial
            solution; :obj:`"nonlinear"`, its ReLU; or :obj:`"split"` (*IEDR*\
            :sub:`sp`), :math:`\mathbf{o}_{in} = \mathrm{MLP}_1(\mathbf{u})` and
            :math:`\mathbf{o}_{ex} = \mathrm{MLP}_2(\mathbf{u} \circ \mathbf{c})`; or
            :obj:`"residual"` (not in the paper), which takes :math:`[\mathbf{u},
            \mathbf{u}']` and :math:`[\mathbf{c}, \mathbf{c}']` and returns
            :math:`[\mathbf{u}', \mathbf{c}'] + \mathrm{MLP}([\mathbf{u} \odot
            \mathbf{c}, \mathbf{u}', \mathbf{c}'])`. (default: :obj:`"mlp"`)
        combine (str, optional): The operation :math:`\circ`: :obj:`"product"` (Frappe)
            or :obj:`"sum"` (Yelp). Of no effect where the kind says what is combined.
            (default: :obj:`"product"`)

    Shapes:
        - **input:** readouts :math:`(*, F)`, contexts :math:`(*, F)`, which broadcast
          (:math:`(*, 2F)` if residual)
        - **output:** :class:`Factors`, each :math:`(*, F)`
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int = 128,
        kind: str = 'mlp',
        combine: str = 'product',
    ) -> None:
        super().__init__()
        if combine not in ('product', 'sum'):
            raise ValueError(f"`combine` is 'product' or 'sum' (got '{combine}')")
        self.channels = channels
        self.kind = kind
        self.combine = combine
        if kind in ('mlp', 'residual'):
            size = channels if kind == 'mlp' else 3 * channels
            self.mlp = MLP([size, hidden_channels, 2 * channels], norm=None)
        elif kind in ('linear', 'nonlinear'):
            self.linear = torch.nn.Linear(2 * channels, 2 * channels)
        elif kind == 'split':
            self.intrinsic_mlp = MLP([channels, hidden_channels, channels], norm=None)
            self.extrinsic_mlp = MLP([channels, hidden_channels, channels], norm=None)
        else:
            raise ValueError(
                f"`kind` is 'mlp', 'linear', 'nonlinear', 'split' or 'residual' (got "
                f"'{kind}')"
            )

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]

    @property
    def operation(self) -> str:
        """How a readout and a context are combined."""
        return 'residual' if self.kind == 'residual' else self.combine

    def _combined(self, entity: Tensor, context: Tensor) -> Tensor:
        return combined(entity, context, self.operation)

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        """Returns the factors of users or items in their contexts."""
        if self.kind == 'split':
            extrinsic = self.extrinsic_mlp(self._combined(entity, context))
            return Factors(self.intrinsic(entity, context), extrinsic)
        if self.kind in ('mlp', 'residual'):
            out = two_layers(self._combined(entity, context), *parameters_of(self.mlp))
        else:
            out = self.linear(torch.cat(torch.broadcast_tensors(entity, context), -1))
            out = out.relu() if self.kind == 'nonlinear' else out
        intrinsic, extrinsic = out.chunk(2, dim=-1)
        if self.kind == 'residual':
            intrinsic = intrinsic + entity[..., self.channels :]
            extrinsic = extrinsic + context[..., self.channels :]
        return Factors(intrinsic, extrinsic)

    def intrinsic(self, entity: Tensor, context: Tensor) -> Tensor:
        """Returns the intrinsic factors alone, at two thirds of the cost or less."""
        if self.kind == 'split':
            shape = torch.broadcast_shapes(entity.shape, context.shape)
            return self.intrinsic_mlp(entity).expand(shape)
        if layers := self.intrinsic_layers():
            out = two_layers(self._combined(entity, context), *layers[:4])
            return out + entity[..., self.channels :] if self.kind == 'residual' else out
        x = torch.cat(torch.broadcast_tensors(entity, context), -1)
        weight, bias = self.linear.weight, self.linear.bias
        out = F.linear(x, weight[: self.channels], bias[: self.channels])
        return out.relu() if self.kind == 'nonlinear' else out

    def intrinsic_layers(self) -> Layers | None:
        """Returns the two layers of the intrinsic factors, if there are two."""
        if self.kind not in ('mlp', 'residual'):
            return None
        hidden, last = self.mlp.lins
        return Layers(
            hidden.weight,
            hidden.bias,
            last.weight[: self.channels],
            last.bias[: self.channels],
            self.operation,
        )

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.channels}, kind={self.kind!r}, '
            f'combine={self.combine!r})'
        )
