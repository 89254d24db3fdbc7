"""The convolution of SIGN."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn.conv import MessagePassing
from torch_geometric.nn.inits import reset
from torch_geometric.typing import Adj, OptTensor, PairTensor


class SIGNConv(MessagePassing):
    r"""The pairwise-interaction operator from the `"Detecting Beneficial Feature
    Interactions for Recommender Systems" <https://arxiv.org/abs/2008.00404>`_ paper.

    .. math::
        \mathbf{x}^{\prime}_i = \frac{1}{|\mathcal{N}(i)|} \sum_{j \in \mathcal{N}(i)}
        e_{ij} \, h(\mathbf{x}_i \odot \mathbf{x}_j)

    where :math:`h` is a neural network, *i.e.* an MLP, and :math:`e_{ij}` an edge
    weight.

    Args:
        nn (torch.nn.Module): The network :math:`h`, from shape
            :obj:`[-1, in_channels]` to :obj:`[-1, out_channels]`.
        dropout (float, optional): The probability with which an entry of a message is
            zeroed during training. (default: :obj:`0.0`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** node features :math:`(|\mathcal{V}|, F_{in})`, edge indices
          :math:`(2, |\mathcal{E}|)`, edge weights :math:`(|\mathcal{E}|)` *(optional)*
        - **output:** node features :math:`(|\mathcal{V}|, F_{out})`
    """

    def __init__(self, nn: Any, dropout: float = 0.0, **kwargs: Any) -> None:
        kwargs.setdefault('aggr', 'mean')
        super().__init__(**kwargs)
        if not 0 <= dropout < 1:
            raise ValueError(f'`dropout` must be in [0, 1) (got {dropout})')
        self.nn = nn
        self.dropout = dropout
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        super().reset_parameters()
        reset(self.nn)

    def forward(
        self,
        x: Tensor | PairTensor,
        edge_index: Adj,
        edge_weight: OptTensor = None,
        size: tuple[int, int] | None = None,
    ) -> Tensor:
        """Returns the new features of each node."""
        # propagate_type: (x: PairTensor, edge_weight: OptTensor)
        if isinstance(x, Tensor):
            x = (x, x)
        out: Tensor = self.propagate(edge_index, x=x, edge_weight=edge_weight, size=size)
        return out

    def message(self, x_i: Tensor, x_j: Tensor, edge_weight: OptTensor) -> Tensor:
        """Returns the message of each edge."""
        message = F.dropout(self.nn(x_i * x_j), self.dropout, self.training)
        if edge_weight is None:
            return message
        return edge_weight.view(-1, 1) * message

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(nn={self.nn})'
