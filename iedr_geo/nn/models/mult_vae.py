"""Auto-encoders with one vector a user: MultDAE and MultVAE."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Embedding, Linear, Parameter

from iedr_geo.nn.models.auto_encoder import AutoEncoder, Catalogue
from iedr_geo.nn.padded_rows import PaddedRows


class OneVectorAutoEncoder(AutoEncoder):
    """Base class of those with one vector a user, and a bias of each item."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.history_bias = Parameter(torch.empty(self.hidden))
        self.item_bias = Embedding(self.num_items, 1, sparse=self.item.sparse)

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        super().reset_parameters()
        torch.nn.init.trunc_normal_(self.history_bias, std=0.001)
        torch.nn.init.trunc_normal_(self.item_bias.weight, std=0.001)

    def _items(self, vector: Tensor, catalogue: Catalogue) -> tuple[Tensor, Tensor]:
        return vector, catalogue.rows_of(self.item_bias)

    def _read(self, rows: PaddedRows, row: Tensor, own: Tensor, x: Tensor) -> Tensor:
        """Returns the first hidden layer, of shape :math:`(B, H)`."""
        scale = rows.length.clamp(min=1).to(x.dtype).rsqrt()[row].unsqueeze(1)
        weight = F.dropout(scale, self.dropout, self.training)
        return (rows.aggregate(weight, x, own).squeeze(1) + self.history_bias).tanh()


class MultDAE(OneVectorAutoEncoder):
    r"""The denoising auto-encoder from the `"Variational Autoencoders for Collaborative
    Filtering" <https://arxiv.org/abs/1802.05814>`_ paper.

    With the items :math:`\mathcal{I}_u` of a user, of which dropout leaves a part in
    training, the logits of items are

    .. math::
        \mathbf{z}_u = \tanh \left( \mathbf{b} + \sum_{i \in \mathcal{I}_u}
        \frac{\mathbf{t}_i}{\sqrt{|\mathcal{I}_u|}} \right), \qquad
        l_{ui} = \mathbf{z}_u^{\top} \mathbf{h}_i + b_i.

    Args:
        num_items (int): The number of items.
        channels (int, optional): Size of all vectors. (default: :obj:`200`)
        dropout (float, optional): The share of a user's items that are dropped in
            training. (default: :obj:`0.5`)
        num_sampled (int, optional): If given, the number of draws that estimate the
            normaliser of the softmax. (default: :obj:`None`)
    """

    arguments: ClassVar[tuple[str, ...]] = (
        'num_items',
        'channels',
        'dropout',
        'num_sampled',
    )
    why_zero: ClassVar = {'divergence': 'MultDAE has none'}

    def __init__(
        self,
        num_items: int,
        channels: int = 200,
        dropout: float = 0.5,
        num_sampled: int | None = None,
    ) -> None:
        super().__init__(num_items, channels, channels, dropout, num_sampled=num_sampled)
        self.reset_parameters()

    def _queries(
        self,
        rows: PaddedRows,
        row: Tensor,
        own: Tensor,
        history: Tensor,
        log_weight: Tensor,
    ) -> tuple[Tensor, Tensor]:
        hidden = self._read(rows, row, own, history)
        return hidden.unsqueeze(1), hidden.new_zeros(())


class MultVAE(OneVectorAutoEncoder):
    r"""The variational auto-encoder from the `"Variational Autoencoders for Collaborative
    Filtering" <https://arxiv.org/abs/1802.05814>`_ paper.

    The vector :math:`\mathbf{z}_u` of a user is drawn from a normal distribution whose
    mean and variance are a linear layer of the hidden one of :class:`MultDAE`. It passes
    another hidden layer, :math:`\tanh(\mathbf{W} \mathbf{z}_u + \mathbf{b})`, before it
    meets the items. In evaluation it is the mean.

    Args:
        num_items (int): The number of items.
        channels (int, optional): Size of the vectors :math:`\mathbf{z}_u`.
            (default: :obj:`200`)
        hidden (int, optional): Size of both hidden layers, and of the vectors of items.
            (default: :obj:`600`)
        dropout (float, optional): The share of a user's items that are dropped in
            training. (default: :obj:`0.5`)
        beta (float, optional): The weight of the divergence. (default: :obj:`0.2`)
        anneal_epochs (float, optional): The number of epochs in which that weight would
            rise from zero to one. It stays where it has come to :obj:`beta`.
            (default: :obj:`5`)
        num_sampled (int, optional): As of :class:`MultDAE`. (default: :obj:`None`)
    """

    arguments: ClassVar[tuple[str, ...]] = (
        'num_items',
        'channels',
        'hidden',
        'dropout',
        'beta',
        'anneal_epochs',
        'num_sampled',
    )

    def __init__(
        self,
        num_items: int,
        channels: int = 200,
        hidden: int = 600,
        dropout: float = 0.5,
        beta: float = 0.2,
        anneal_epochs: float = 5.0,
        num_sampled: int | None = None,
    ) -> None:
        super().__init__(
            num_items, hidden, hidden, dropout, beta, anneal_epochs, num_sampled
        )
        self.channels = channels
        self.code = Linear(hidden, 2 * channels)
        self.decoder = Linear(channels, hidden)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        super().reset_parameters()
        for layer in (self.code, self.decoder):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.trunc_normal_(layer.bias, std=0.001)

    def _queries(
        self,
        rows: PaddedRows,
        row: Tensor,
        own: Tensor,
        history: Tensor,
        log_weight: Tensor,
    ) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.code(self._read(rows, row, own, history)).chunk(2, -1)
        code = mean
        if self.training:
            code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1) / 2
        return self.decoder(code).tanh().unsqueeze(1), divergence.mean()
