"""A model of the graph whose vectors are as they are given."""

import torch
from torch import Tensor

from iedr_geo.nn import BipartiteModel


class Tables(BipartiteModel):
    """Vectors whose columns up to a middle, and from it on, are a factor each."""

    config = None

    def __init__(self, user: Tensor, item: Tensor, middle: int, *names: str) -> None:
        super().__init__()
        self.user = torch.nn.Parameter(user, requires_grad=False)
        self.item = torch.nn.Parameter(item, requires_grad=False)
        (self.num_users, self.channels), self.num_items = user.shape, len(item)
        columns = slice(0, middle), slice(middle, None)
        self.columns = dict(zip(names, columns, strict=True))

    @property
    def factor_columns(self) -> dict[str, slice]:
        return self.columns

    def forward(self, user: Tensor, item: Tensor) -> tuple[Tensor, Tensor]:
        return self.user[user], self.item[item]
