"""The base class of models that are fitted by counting, and overall popularity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from iedr_geo.nn.contract import data_read
from iedr_geo.nn.models.rebuild import Rebuildable

if TYPE_CHECKING:
    from typing_extensions import Self

    from iedr_geo.data import BipartiteGraph, InteractionDataset
    from iedr_geo.loader import InteractionBatch


def positive_rows(train: InteractionDataset | BipartiteGraph) -> Tensor | slice:
    """Returns which rows of a dataset, or edges of a graph, count: the positives."""
    y = getattr(train, 'y', None)
    return slice(None) if y is None else y == 1


class CountedModel(Rebuildable, ABC):
    r"""A baseline that :meth:`fit` makes of counts. It has no parameters, only buffers.

    Counts are integers and scores float64, so that neither ``model.half()`` nor a large
    count costs the order of items: float32 has no other number between :math:`2^{24}` and
    :math:`2^{24} + 2`, nor between 100 and :math:`100 + 7 \cdot 10^{-6}`.

    An id of :obj:`-1` is a user, an item or a context that is not of the data: nothing
    has been counted for it. All others have to be numbers of the training data.

    Args:
        num_items (int): The number of items.
    """

    arguments: ClassVar[tuple[str, ...]] = ('num_items',)
    reads: ClassVar[tuple[str, ...]] = ('item',)

    def __init__(self, num_items: int) -> None:
        super().__init__()
        self.num_items = num_items

    @classmethod
    def fit(cls, train: InteractionDataset | BipartiteGraph) -> Self:
        """Counts.

        Args:
            train: Rows, of which only the positive count if they have labels, or a graph.
                The model is on its device.
        """
        model = cls._fit(train)
        model.trained_on = data_read(model, train)
        return model

    @classmethod
    @abstractmethod
    def _fit(cls, train: InteractionDataset | BipartiteGraph) -> Self:
        """Counts."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """Makes a model that can load a state: how much it holds depends on the data."""
        model = cls(**config)
        for name, buffer in model.named_buffers():
            if buffer.numel() == 0:
                buffer.resize_(state.get(name, buffer).shape)
        return model

    @abstractmethod
    def _scores(self, user: Tensor, item: Tensor, context: Tensor) -> Tensor:
        """Returns scores. Context may be one for all rows."""

    def forward(self, batch: InteractionBatch) -> Tensor:
        """Returns the score of each row.

        Args:
            batch: Rows, of which only the ids are read.

        Returns:
            Scores of shape :math:`(B)`, float64.
        """
        return self._scores(batch.user_id, batch.item_id, batch.context_id)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        """Returns the scores of pairs, in a context that was never seen if there are any.

        Args:
            user: Users, of any shape.
            item: Items, of a shape that broadcasts with it.

        Returns:
            Scores of the shape of both together, float64.
        """
        user, item = torch.broadcast_tensors(user, item)
        return self._scores(user, item, item.new_full((), -1))

    def extra_repr(self) -> str:
        """Returns the arguments for the model's text."""
        return ', '.join(f'{name}={getattr(self, name)}' for name in self.arguments)


class Popularity(CountedModel):
    r"""Recommends what is popular: an item's score is how often it was had.

    .. math::
        s_{u,i} = n_i

    In a :class:`~iedr_geo.data.BipartiteGraph`, :math:`n_i` is its :obj:`popularity`.
    An item that is not of the data (:obj:`-1`) has score 0.

    Args:
        num_items (int): The number of items.

    Example:
        >>> model = Popularity.fit(split.train)
        >>> evaluate_candidates(model, split.test, lists)
    """

    count: Tensor

    def __init__(self, num_items: int) -> None:
        super().__init__(num_items)
        self.register_buffer('count', torch.zeros(num_items, dtype=torch.long))

    @classmethod
    def _fit(cls, train: InteractionDataset | BipartiteGraph) -> Self:
        model = cls(train.num_items)
        if hasattr(train, 'popularity'):
            model.count = train.popularity.clone()
        else:
            item = train.item[positive_rows(train)]
            model.count = torch.bincount(item, minlength=train.num_items)
        return model

    def tally(self, item: Tensor, context: Tensor) -> Tensor:
        """Returns integers in the order of the scores.

        Args:
            item: Items, of any shape.
            context: Contexts, which do not matter.
        """
        return torch.where(item < 0, 0, self.count[item.clamp(min=0)])

    def tallies(self) -> Tensor:
        """Returns all that :meth:`tally` can be but for zero, in any order."""
        return self.count

    def _scores(self, user: Tensor, item: Tensor, context: Tensor) -> Tensor:
        return self.tally(item, context).double()
