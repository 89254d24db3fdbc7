"""Attention of fields to each other."""

import torch
import torch.nn.functional as F

from peers.fields import FieldModel, Network, of_rows


class Attention(torch.nn.Module):
    """The interacting layer of AutoInt.

    Args:
        channels: The size of the fields' vectors.
        num_heads: The number of heads.
    """

    def __init__(self, channels, num_heads):
        super().__init__()
        self.num_heads = num_heads
        # To queries, keys, values and what is added to the outcome.
        self.linear = torch.nn.Linear(channels, 4 * channels, bias=False)

    def forward(self, mapped):
        """Returns new vectors of the fields, of shape :math:`(B, F, C)`.

        Args:
            mapped: What :obj:`linear` makes of their vectors.
        """
        *heads, own = mapped.chunk(4, dim=-1)
        heads = [
            each.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for each in heads
        ]
        # The products have no scale in the paper.
        attended = F.scaled_dot_product_attention(*heads, scale=1.0)
        return (attended.transpose(1, 2).flatten(2) + own).relu()


class AutoInt(FieldModel):
    """AutoInt+ from the `"AutoInt: Automatic Feature Interaction Learning via
    Self-Attentive Neural Networks" <https://arxiv.org/abs/1810.11921>`_ paper: attention
    of fields to each other, with a network beside it.
    """

    def __init__(self, data, channels=64, hidden_channels=128, num_layers=2, num_heads=2):
        sizes = {'hidden_channels': hidden_channels, 'num_layers': num_layers}
        super().__init__(data, channels, **sizes)
        num_fields = self.fields.num_fields
        self.attention = torch.nn.ModuleList(
            Attention(channels, num_heads) for _ in range(num_layers)
        )
        self.out = torch.nn.Linear(sum(num_fields.values()) * channels, 1)
        self.network = Network(num_fields, channels, **sizes)

    def forward(self, batch):
        sides = self.fields(batch)
        first, *others = self.attention
        x = first(of_rows([side._replace(x=first.linear(side.x)) for side in sides]))
        for layer in others:
            x = layer(layer.linear(x))
        return (self.out(x.flatten(1)) + self.network(sides)).squeeze(1)
