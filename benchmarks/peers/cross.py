"""Networks of crosses."""

import torch

from peers.fields import FieldModel, Network, linear_of_rows, of_rows


class DCNv2(FieldModel):
    r"""The model from the `"DCN V2: Improved Deep & Cross Network and Practical Lessons
    for Web-scale Learning to Rank Systems" <https://arxiv.org/abs/2008.13535>`_ paper,
    whose cross network is beside its deep one.

    .. math::
        \mathbf{x}_{l+1} = \mathbf{x}_0 \odot (\mathbf{W}_l \mathbf{x}_l + \mathbf{b}_l) +
        \mathbf{x}_l
    """

    def __init__(self, data, channels=64, hidden_channels=128, num_layers=2):
        sizes = {'hidden_channels': hidden_channels, 'num_layers': num_layers}
        super().__init__(data, channels, **sizes)
        num_fields = self.fields.num_fields
        size = sum(num_fields.values()) * channels
        self.crosses = torch.nn.ModuleList(
            torch.nn.Linear(size, size) for _ in range(num_layers)
        )
        self.network = Network(num_fields, channels, **sizes, out_channels=None)
        self.out = torch.nn.Linear(size + hidden_channels, 1)

    def forward(self, batch):
        sides = self.fields(batch)
        x = first = of_rows(sides).flatten(1)
        for i, cross in enumerate(self.crosses):
            crossed = linear_of_rows(cross, sides) if i == 0 else cross(x)
            x = torch.addcmul(x, first, crossed)
        return self.out(torch.cat([x, self.network(sides)], dim=1)).squeeze(1)
