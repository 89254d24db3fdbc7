"""MacridVAE."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Parameter

from iedr_geo.nn.models.auto_encoder import AutoEncoder, AutoEncoderLosses, Catalogue
from iedr_geo.nn.models.concepts import Concepts
from iedr_geo.nn.padded_rows import PaddedRows

if TYPE_CHECKING:
    from iedr_geo.loader import UserBatch

EPS = 1e-12
SIMILARITIES = ('cosine', 'dot')


class MacridVAE(AutoEncoder):
    r"""The model from the `"Learning Disentangled Representations for Recommendation"
    <https://arxiv.org/abs/1910.14238>`_ paper.

    Each item belongs to one of :math:`K` concepts, by its similarity to their prototypes
    :math:`\mathbf{m}_k` (Equation (6)),

    .. math::
        c_{ik} = \text{softmax}_k \left( \cos(\mathbf{h}_i, \mathbf{m}_k) / \tau \right),

    and a user has a vector for each concept, made of the items of that concept alone
    (Equation (7)),

    .. math::
        (\mathbf{a}_{uk}, \mathbf{b}_{uk}) = f \left( \frac{\sum_{i \in \mathcal{I}_u}
        c_{ik} \mathbf{t}_i}{\sqrt{\sum_{i \in \mathcal{I}_u} c_{ik}^2}} \right), \qquad
        \mathbf{z}_{uk} \sim \mathcal{N} \left( \frac{\mathbf{a}_{uk}}{\lVert
        \mathbf{a}_{uk} \rVert}, \sigma_0^2 e^{-\mathbf{b}_{uk}} \right).

    The likelihood is multinomial, with the logits :math:`\log s_{ui}` of

    .. math::
        s_{ui} = \sum_k c_{ik} \exp \left( \cos(\mathbf{z}_{uk}, \mathbf{h}_i) / \tau
        \right).

    In training, :math:`c` is drawn from a Gumbel-softmax, once for all users of a batch,
    and dropout leaves out another part of the input of each concept. The score of an item
    is :math:`s_{ui}` itself, which is in the order of the logits: its summands, one for
    each concept, are the parts of the score.

    .. note::
        The paper has items belong to their nearest prototype alone in evaluation, its
        code by the softmax; the former ranks clearly worse.

    Args:
        num_items (int): The number of items.
        num_concepts (int, optional): The number of concepts :math:`K`.
            (default: :obj:`7`)
        channels (int, optional): Size of all vectors. (default: :obj:`100`)
        tau (float, optional): The temperature :math:`\tau`. (default: :obj:`0.1`)
        sigma (float, optional): The standard deviation :math:`\sigma_0` of the prior.
            (default: :obj:`0.075`)
        beta (float, optional): The weight of the divergence from the prior.
            (default: :obj:`0.2`)
        dropout (float, optional): The share of the input of each concept that is dropped
            in training. (default: :obj:`0.5`)
        anneal_epochs (float, optional): The number of epochs in which the weight of the
            divergence would rise from zero to one. It stays where it has come to
            :obj:`beta`. (default: :obj:`5`)
        similarity (str, optional): :obj:`"cosine"`, or :obj:`"dot"` for inner products,
            with which most items tend to end in one concept. (default: :obj:`"cosine"`)
        hard_assignment (bool, optional): If :obj:`True`, items belong to their nearest
            prototype alone in evaluation. (default: :obj:`False`)
        min_divergence (float, optional): If above zero, :math:`K` adapts (Appendix A.2):
            at the start of each epoch a concept is given up if the Jensen-Shannon
            divergence of its items from those of an earlier one is less, in nats.
            (default: :obj:`0`)
        num_sampled (int, optional): If given, the number of draws that estimate the
            normaliser of the softmax. (default: :obj:`None`)
    """

    arguments: ClassVar[tuple[str, ...]] = (
        'num_items',
        'num_concepts',
        'channels',
        'tau',
        'sigma',
        'beta',
        'dropout',
        'anneal_epochs',
        'similarity',
        'hard_assignment',
        'min_divergence',
        'num_sampled',
    )
    is_given_up: Tensor

    def __init__(
        self,
        num_items: int,
        num_concepts: int = 7,
        channels: int = 100,
        tau: float = 0.1,
        sigma: float = 0.075,
        beta: float = 0.2,
        dropout: float = 0.5,
        anneal_epochs: float = 5.0,
        similarity: str = 'cosine',
        hard_assignment: bool = False,
        min_divergence: float = 0.0,
        num_sampled: int | None = None,
    ) -> None:
        super().__init__(
            num_items, channels, channels, dropout, beta, anneal_epochs, num_sampled
        )
        if not 1 <= num_concepts <= num_items:
            raise ValueError(
                f'`num_concepts` must be from 1 to the number of items, {num_items} (got '
                f'{num_concepts})'
            )
        if similarity not in SIMILARITIES:
            raise ValueError(
                f"`similarity` is one of {', '.join(SIMILARITIES)} (got '{similarity}')"
            )
        for name, value in (('tau', tau), ('sigma', sigma)):
            if value <= 0:
                raise ValueError(f'`{name}` must be above zero (got {value})')
        self.num_concepts, self.tau, self.sigma = num_concepts, tau, sigma
        self.similarity, self.hard_assignment = similarity, hard_assignment
        self.min_divergence = min_divergence
        self.parts = tuple(f'concept {k}' for k in range(num_concepts))
        self.prototype = Parameter(torch.empty(num_concepts, channels))
        self.history_bias = Parameter(torch.empty(channels))
        self.code = Linear(channels, 2 * channels)
        given_up = torch.zeros(num_concepts, dtype=torch.bool)
        self.register_buffer('is_given_up', given_up)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        super().reset_parameters()
        for weight in (self.prototype, self.code.weight):
            torch.nn.init.xavier_uniform_(weight)
        for bias in (self.history_bias, self.code.bias):
            torch.nn.init.trunc_normal_(bias, std=0.001)
        self.is_given_up.fill_(False)

    def _normalized(self, x: Tensor) -> Tensor:
        """Returns vectors of which inner products are the similarities."""
        return F.normalize(x, dim=-1, eps=EPS) if self.similarity == 'cosine' else x

    def _log_assignment(self, item: Tensor) -> Tensor:
        """Returns the logarithm of how far items belong to concepts, drawn in training.

        Args:
            item: Their vectors, of shape :math:`(*, F)`.

        Returns:
            Logarithms of shape :math:`(*, K)`.
        """
        logits = item @ self._normalized(self.prototype).t() / self.tau
        lowest = torch.finfo(logits.dtype).min
        logits = logits.masked_fill(self.is_given_up, lowest)
        if self.training:  # The Gumbel distribution.
            logits = logits - torch.empty_like(logits).exponential_().log()
        elif self.hard_assignment:
            nearest = torch.zeros_like(logits, dtype=torch.bool)
            nearest.scatter_(-1, logits.argmax(dim=-1, keepdim=True), True)
            logits = logits.masked_fill(~nearest, lowest)
        return logits.log_softmax(dim=-1)

    def assignment(self, items: Tensor | None = None) -> Tensor:
        r"""Returns how far items belong to concepts.

        Args:
            items: The items, of any shape (default: all).

        Returns:
            The probabilities :math:`c_{ik}`, with one more dimension of size :math:`K`;
            drawn in training.
        """
        vector = self.item.weight if items is None else self.item(items)
        return self._log_assignment(self._normalized(vector)).exp()

    def item_vectors(self) -> Tensor:
        """Returns the vectors of items that those of users meet, of length one by
        cosines.
        """
        return self._normalized(self.item.weight)

    def concepts(self) -> Concepts:
        """Returns items and prototypes, as similarities compare them.

        The prototypes of concepts that were given up are zero.
        """
        prototype = self._normalized(self.prototype)
        return Concepts(
            self.item_vectors(),
            prototype.masked_fill(self.is_given_up.unsqueeze(1), 0),
            self.assignment(),
            self.tau,
            self.similarity == 'cosine',
        )

    def _items(self, vector: Tensor, catalogue: Catalogue) -> tuple[Tensor, Tensor]:
        item = self._normalized(vector)
        return item, self._log_assignment(item)

    def _queries(
        self,
        rows: PaddedRows,
        row: Tensor,
        own: Tensor,
        history: Tensor,
        log_weight: Tensor,
    ) -> tuple[Tensor, Tensor]:
        weight = F.embedding(own, log_weight.exp())
        square = weight.new_zeros(len(rows.inverse), weight.size(1))
        norm = square.index_add(0, row, weight.square()).clamp(min=EPS).rsqrt()
        weight = F.dropout(weight * F.embedding(row, norm), self.dropout, self.training)
        hidden = (rows.aggregate(weight, history, own) + self.history_bias).tanh()
        mean, log_precision = self.code(hidden).chunk(2, dim=-1)
        code = mean = F.normalize(mean, dim=-1, eps=EPS)
        if self.training:
            spread = self.sigma * (-log_precision / 2).exp()
            code = mean + spread * torch.randn_like(mean)
        # But for a constant, as the means have norm 1.
        divergence = (log_precision + (-log_precision).exp() - 1).sum(dim=(1, 2)) / 2
        return self._normalized(code) / self.tau, divergence.mean()

    def losses(self, batch: UserBatch) -> AutoEncoderLosses:
        """Returns the terms of the loss, and the total."""
        if (
            self.min_divergence > 0
            and batch.epoch > 0
            and batch.epoch == int(batch.epoch)
        ):
            self._give_up()
        return super().losses(batch)

    @torch.no_grad()
    def _give_up(self) -> None:
        """Gives up concepts whose items are those of an earlier one."""
        with_mode = self.training
        self.training = False
        share = self.assignment().t()
        self.training = with_mode
        share = share / share.sum(dim=1, keepdim=True).clamp(min=EPS)

        def divergence(p: Tensor, q: Tensor) -> Tensor:
            middle = (p + q) / 2
            return (torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle)).sum(-1) / 2

        for k in range(1, self.num_concepts):
            near = divergence(share[:k], share[k].expand_as(share[:k]))
            near = near.masked_fill(self.is_given_up[:k], torch.inf)
            self.is_given_up[k] |= near.min() < self.min_divergence

    def decode_parts(
        self, encoded: Tensor, items: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Returns the parts of the scores, one for each concept.

        Args:
            encoded: As in :meth:`decode`.
            items: As in :meth:`decode`.

        Returns:
            By the name of the concept, values of shape :math:`(B, I)`.
        """
        logits = self._logits(encoded, items)
        if self.similarity == 'dot':  # Has no bound.
            logits = [each.double() for each in logits]
        parts = (each.exp() for each in logits)
        return dict(zip(self.parts, parts, strict=True))

    def decode(self, encoded: Tensor, items: Tensor | None = None) -> Tensor:
        r"""Returns the scores :math:`s_{ui}` of items.

        Args:
            encoded: The vectors of users, as :obj:`encode` returns them.
            items: The items, of shape :math:`(I)`, or those of each user, of shape
                :math:`(B, I)` (default: all).

        Returns:
            Scores of shape :math:`(B, I)`.
        """
        first, *rest = self.decode_parts(encoded, items).values()
        return sum(rest, start=first)
