"""Mutual information between two factors, bounded from above."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.nn.dense import parameters_of, two_layers


class BiCLUB(torch.nn.Module):
    r"""The bidirectional vCLUB bound of IEDR (Equation (3) and Algorithm 1, lines 21 to
    40, of `Su et al. <https://doi.org/10.1145/3722553>`_).

    Two networks predict the extrinsic from the intrinsic factor and the reverse.
    :meth:`estimator_loss` trains them and nothing else; :meth:`forward` is the bound, and
    trains everything but them:

    .. math::
        \frac{1}{2} \sum_{\to, \gets} \left( \frac{1}{N} \sum_{r}
        \mathrm{MSE}(q(\cdot_r), \cdot_i) - \mathrm{MSE}(q(\cdot_i), \cdot_i) \right)

    .. note::
        With the mean squared error, :math:`q` is a Gaussian of fixed variance: the form
        that the authors of CLUB advise where the bound is unstable. The bound can be
        negative while :math:`q` is not yet a good predictor.

    Args:
        channels (int): Size of each factor.
        hidden_channels (int, optional): Size of the networks' hidden layer.
            (default: :obj:`128`)
        num_negatives (int, optional): The number :math:`N` of rows whose prediction a
            row is compared with, drawn from the batch with replacement.
            (default: :obj:`5`)
        bidirectional (bool, optional): If :obj:`False`, predicts the extrinsic from the
            intrinsic factor alone, without the one half (*vCLUB*).
            (default: :obj:`True`)
        halve (bool, optional): If :obj:`False`, leaves the one half out, as the authors'
            scripts do. (default: :obj:`True`)

    Shapes:
        - **input:** intrinsic factors :math:`(B, F)`, extrinsic factors :math:`(B, F)`
        - **output:** a scalar
    """

    def __init__(
        self,
        channels: int,
        hidden_channels: int = 128,
        num_negatives: int = 5,
        bidirectional: bool = True,
        halve: bool = True,
    ) -> None:
        super().__init__()
        if num_negatives < 1:
            raise ValueError(f'`num_negatives` must be at least 1 (got {num_negatives})')
        self.num_negatives = num_negatives
        self.bidirectional = bidirectional
        self.scale = 0.5 if bidirectional and halve else 1.0
        sizes = [channels, hidden_channels, channels]
        self.to_extrinsic = MLP(sizes, norm=None)
        self.to_intrinsic = MLP(sizes, norm=None) if bidirectional else None

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        for module in self.children():
            module.reset_parameters()  # type: ignore[operator]

    def _directions(
        self, intrinsic: Tensor, extrinsic: Tensor
    ) -> list[tuple[MLP, Tensor, Tensor]]:
        directions = [(self.to_extrinsic, intrinsic, extrinsic)]
        if self.to_intrinsic is not None:
            directions.append((self.to_intrinsic, extrinsic, intrinsic))
        return directions

    def estimator_loss(self, intrinsic: Tensor, extrinsic: Tensor) -> Tensor:
        """Returns the approximation loss; no gradient reaches the factors."""
        losses = [
            (two_layers(given.detach(), *parameters_of(network)) - wanted.detach())
            .square()
            .mean()
            for network, given, wanted in self._directions(intrinsic, extrinsic)
        ]
        return self.scale * torch.stack(losses).sum()

    def variance(self, intrinsic: Tensor, extrinsic: Tensor) -> Tensor:
        """Returns what the approximation loss is of networks that predict the mean."""
        wanted = [factor for *_, factor in self._directions(intrinsic, extrinsic)]
        apart = [each.detach().var(0, correction=0).mean() for each in wanted]
        return self.scale * torch.stack(apart).sum()

    def forward(
        self, intrinsic: Tensor, extrinsic: Tensor, negative: Tensor | None = None
    ) -> Tensor:
        """Returns the bound; no gradient reaches the two networks.

        Args:
            intrinsic: Intrinsic factors.
            extrinsic: Extrinsic factors.
            negative: The rows that each row is compared with, of shape :math:`(B, N)`
                (default: drawn here).
        """
        if negative is None:
            shape = (intrinsic.size(0), self.num_negatives)
            negative = torch.randint(shape[0], shape, device=intrinsic.device)
        losses = []
        for network, given, wanted in self._directions(intrinsic, extrinsic):
            frozen = (p.detach() for p in parameters_of(network))
            predicted = two_layers(given, *frozen)
            apart = (predicted[negative] - wanted.unsqueeze(1)).square().mean()
            losses.append(apart - (predicted - wanted).square().mean())
        return self.scale * torch.stack(losses).sum()

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_negatives={self.num_negatives}, '
            f'bidirectional={self.bidirectional})'
        )
