"""The base class of auto-encoders over the graph of users and items."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Embedding

from iedr_geo.nn.log_partition import log_partition
from iedr_geo.nn.models.rebuild import Rebuildable
from iedr_geo.nn.padded_rows import PaddedRows

if TYPE_CHECKING:
    from iedr_geo.loader import UserBatch


class AutoEncoderLosses(NamedTuple):
    r"""The terms of the loss of an auto-encoder, and their weighted sum.

    Args:
        reconstruction: The mean over users of the negative log-likelihood of their items.
        divergence: The mean over users of the KL divergence from the prior.
        total: The sum, in which :math:`\beta` weighs the divergence.
    """

    reconstruction: Tensor
    divergence: Tensor
    total: Tensor


class Catalogue(NamedTuple):
    """The items that a step has to do with.

    Args:
        items: Their numbers, of shape :math:`(I)`; nothing where they are all.
        own: Which of them each item of the batch is, of shape :math:`(E)`.
        drawn: Which of them were drawn to stand for the whole catalogue, if any were.
        log_expected: The logarithm of the probability with which each item was drawn.
    """

    items: Tensor | None
    own: Tensor
    drawn: Tensor | None = None
    log_expected: float = 0.0

    def rows_of(self, table: Embedding) -> Tensor:
        """Returns the rows of the items in a table."""
        return table.weight if self.items is None else table(self.items)


class AutoEncoder(Rebuildable, ABC):
    r"""Base class of models that make the vectors of a user of the user's items.

    They have no parameters of users: a new user, or a visitor, is a set of items like any
    other. Whose items they are is said by a graph, the history, on which a scorer is
    made.

    Items have two vectors each: one by which they are read (:obj:`history`) and one by
    which they are recommended (:obj:`item`). Each item of a user has the probability

    .. math::
        p_{ui} = \frac{\sum_k w_{ik} \exp(\mathbf{q}_{uk}^{\top} \mathbf{h}_i)}
        {\sum_j \sum_k w_{jk} \exp(\mathbf{q}_{uk}^{\top} \mathbf{h}_j)}.

    Of large catalogues, the sum over all items is estimated by some that are drawn once
    for all users of a batch, each weighted by one over the probability with which it was
    drawn; a user's own items are counted as they are. The gradients of both tables of
    items then are sparse.

    Args:
        num_items (int): The number of items.
        channels (int): Size of the vectors by which items are recommended.
        hidden (int): Size of the vectors by which they are read.
        dropout (float): The share of the input that is dropped in training.
        beta (float): The weight :math:`\beta` of the divergence.
        anneal_epochs (float): The number of epochs in which :math:`\beta` would rise from
            zero to one. It stays where it has come to its value.
        num_sampled (int, optional): The number of draws. If :obj:`None`, the sum is over
            all items.
    """

    batches: ClassVar[str] = 'users'
    reads: ClassVar[tuple[str, ...]] = ('item',)

    parts: tuple[str, ...] = ()
    """The names of the parts that add up to a score, if it has any."""

    def __init__(
        self,
        num_items: int,
        channels: int,
        hidden: int,
        dropout: float,
        beta: float = 0.0,
        anneal_epochs: float = 0.0,
        num_sampled: int | None = None,
    ) -> None:
        super().__init__()
        self.num_items, self.channels, self.hidden = num_items, channels, hidden
        self.dropout, self.beta, self.anneal_epochs = dropout, beta, anneal_epochs
        if num_sampled is not None and num_sampled < 1:
            raise ValueError(f'`num_sampled` must be at least 1 (got {num_sampled})')
        self.num_sampled = num_sampled
        self.history = Embedding(num_items, hidden, sparse=num_sampled is not None)
        self.item = Embedding(num_items, channels, sparse=num_sampled is not None)

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        for table in (self.history, self.item):
            torch.nn.init.xavier_uniform_(table.weight)

    # What subclasses say.

    @abstractmethod
    def _items(self, vector: Tensor, catalogue: Catalogue) -> tuple[Tensor, Tensor]:
        """Returns the vectors of items that queries meet, and their logarithmic weights.

        Args:
            vector: The rows of their table, of shape :math:`(*, F)`.
            catalogue: Which they are.

        Returns:
            Vectors of shape :math:`(*, F)` and weights of shape :math:`(*, K)`.
        """

    @abstractmethod
    def _queries(
        self,
        rows: PaddedRows,
        row: Tensor,
        own: Tensor,
        history: Tensor,
        log_weight: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Returns the vectors of users that meet items, and the divergence.

        Args:
            rows: The items of each user.
            row: The user of each item.
            own: Which of the items of the step it is.
            history: The vectors by which these are read, of shape :math:`(I, H)`.
            log_weight: Their logarithmic weights, of shape :math:`(I, K)`.

        Returns:
            Vectors of shape :math:`(B, K, F)`, and the mean divergence of a user.
        """

    # What all of them do.

    def item_vectors(self) -> Tensor:
        """Returns the vectors of items that those of users meet."""
        return self.item.weight

    def encode(self, batch: UserBatch) -> Tensor:
        """Returns the vectors of users that meet those of items.

        Args:
            batch: The users and their items.

        Returns:
            Vectors of shape :math:`(B, K, F)`.
        """
        items, own = batch.item.unique(return_inverse=True)
        catalogue = Catalogue(items, own)
        _, log_weight = self._items(self.item(items), catalogue)
        rows = PaddedRows(batch.row, len(batch.user))
        history = self.history(items)
        return self._queries(rows, batch.row, own, history, log_weight)[0]

    def _logits(self, encoded: Tensor, items: Tensor | None) -> list[Tensor]:
        """Returns the logits of items by each component, each of shape :math:`(B, I)`."""
        numbers = torch.arange(0, device=encoded.device) if items is None else items
        vector = self.item.weight if items is None else self.item(items)
        item, log_weight = self._items(vector, Catalogue(items, numbers))
        if item.dim() == 2:
            return [
                torch.addmm(weight, query, item.t())
                for query, weight in zip(encoded.unbind(1), log_weight.t(), strict=True)
            ]
        logits = encoded @ item.transpose(1, 2) + log_weight.transpose(1, 2)
        return list(logits.unbind(1))

    def decode(self, encoded: Tensor, items: Tensor | None = None) -> Tensor:
        """Returns the scores of items.

        Args:
            encoded: The vectors of users, as :meth:`encode` returns them.
            items: The items, of shape :math:`(I)`, or those of each user, of shape
                :math:`(B, I)` (default: all).

        Returns:
            Scores of shape :math:`(B, I)`.
        """
        [logits] = self._logits(encoded, items)
        return logits

    def losses(self, batch: UserBatch) -> AutoEncoderLosses:
        """Returns the terms of the loss, and the total."""
        catalogue = self._catalogue(batch)
        rows = PaddedRows(batch.row, len(batch.user))
        item, log_weight = self._items(catalogue.rows_of(self.item), catalogue)
        query, divergence = self._queries(
            rows, batch.row, catalogue.own, catalogue.rows_of(self.history), log_weight
        )
        loss = -self._log_likelihood(query, item, log_weight, rows, batch.row, catalogue)
        total = loss + self.annealed_beta(batch.epoch) * divergence
        return AutoEncoderLosses(loss, divergence, total)

    def annealed_beta(self, epoch: float) -> float:
        r"""Returns the weight of the divergence after a number of epochs."""
        if self.anneal_epochs == 0:
            return self.beta
        return min(self.beta, epoch / self.anneal_epochs)

    def _catalogue(self, batch: UserBatch) -> Catalogue:
        """Returns the items of a step, some of them drawn if there are too many."""
        if self.num_sampled is None:
            return Catalogue(None, batch.item)
        size = (self.num_sampled,)
        drawn = torch.randint(self.num_items, size, device=batch.item.device).unique()
        items, index = torch.cat([batch.item, drawn]).unique(return_inverse=True)
        own, drawn = index.split([len(batch.item), len(drawn)])
        missed = (1 - 1 / self.num_items) ** self.num_sampled
        return Catalogue(items, own, drawn, math.log1p(-missed))

    def _log_likelihood(
        self,
        query: Tensor,
        item: Tensor,
        log_weight: Tensor,
        rows: PaddedRows,
        row: Tensor,
        catalogue: Catalogue,
    ) -> Tensor:
        """Returns the mean over users of the log-likelihood of their items.

        Args:
            query: The vectors of users, of shape :math:`(B, K, F)`.
            item: The vectors of the items of the step, of shape :math:`(I, F)`.
            log_weight: Their logarithmic weights, of shape :math:`(I, K)`.
            rows: The items of each user.
            row: The user of each of them.
            catalogue: The items of the step.
        """
        own, drawn = catalogue.own, catalogue.drawn

        def of_own(some: Tensor, element: Tensor, inside: Tensor) -> Tensor:
            index = own[element]
            logits = query[some] @ F.embedding(index, item).transpose(1, 2)
            logits = logits + F.embedding(index, log_weight).transpose(1, 2)
            logits = logits.logsumexp(dim=1)
            total = logits.masked_fill(~inside, 0).sum(dim=1)
            if drawn is None:
                return total.unsqueeze(1)
            # The lowest number, not minus infinity: a user may have no items at all.
            lowest = torch.finfo(logits.dtype).min
            own_share = logits.masked_fill(~inside, lowest).logsumexp(dim=1)
            return torch.stack([total, own_share], dim=1)

        total, *own_share = rows.map(of_own).unbind(dim=1)
        if drawn is None:
            partition = log_partition(query, item, log_weight)
        else:
            column = torch.full((len(item),), -1, device=drawn.device)
            column[drawn] = torch.arange(len(drawn), device=drawn.device)
            # A user's own items count already. The last column, -1, is of those of them
            # that were not drawn.
            size = len(query), len(drawn) + 1
            had = torch.zeros(size, dtype=torch.bool, device=drawn.device)
            had[row, column[own]] = True
            others = log_partition(
                query,
                F.embedding(drawn, item),
                F.embedding(drawn, log_weight) - catalogue.log_expected,
                had[:, :-1],
            )
            partition = torch.logaddexp(own_share[0], others)
        count = torch.bincount(row, minlength=len(query))
        return (total - count * partition).mean()

    def extra_repr(self) -> str:
        """Returns the arguments for the model's text."""
        return ', '.join(f'{name}={getattr(self, name)}' for name in self.arguments)
