"""Two towers: of users in contexts, and of items."""

import torch

from peers.fields import FieldModel, Network


class TwoTower(FieldModel):
    """Inner products of two networks, one of users in contexts and one of items, as in
    the `"Deep Neural Networks for YouTube Recommendations"
    <https://doi.org/10.1145/2959100.2959190>`_ and `"Sampling-Bias-Corrected Neural
    Modeling for Large Corpus Item Recommendations"
    <https://doi.org/10.1145/3298689.3346996>`_ papers.
    """

    def __init__(self, data, channels=64, hidden_channels=128, num_layers=2):
        sizes = {'hidden_channels': hidden_channels, 'num_layers': num_layers}
        super().__init__(data, channels, **sizes)
        fields = dict(self.fields.num_fields)
        item = {'item': fields.pop('item')}
        self.query, self.item = (
            Network(of, channels, **sizes, out_channels=channels) for of in (fields, item)
        )

    def _items(self, side):
        """Returns the vectors of distinct items."""
        every = torch.arange(len(side.x), device=side.x.device)
        return self.item([side._replace(rows=every)])

    def forward(self, batch):
        user, item, context = self.fields(batch)
        return (self.query([user, context]) * self._items(item)[item.rows]).sum(dim=1)

    def score_items(self, batch, items, encoded=None):
        """Returns the logits of every row with item graphs, of shape :math:`(B, I)`."""
        user, item, context = self.fields(batch)
        return self.query([user, context]) @ self._items(item)[items].t()
