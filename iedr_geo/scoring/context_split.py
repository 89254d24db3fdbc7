"""The split of any score into what holds over contexts and what the context adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from iedr_geo.data import InteractionDataset
from iedr_geo.data.arguments import check_count
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn.blocks import blocks
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.queries import Queries
from iedr_geo.scoring.scorer import scorer

CHEAPER = 64  # Times that a pair may cost what it does among all pairs of some items.
PROBED = 32  # Users, and items, by whose scores the error of a sample is estimated.


class ContextSplit(CatalogueScorer):
    r"""The scores of any model in two parts: their mean over contexts, and the rest.

    .. math::
        s(u, v, c) = \underbrace{\sum_{c'} p_{c'} \, s(u, v, c')}_{\text{intrinsic}} +
        \underbrace{s(u, v, c) - \sum_{c'} p_{c'} \, s(u, v, c')}_{\text{extrinsic}}

    :func:`context_split` makes one. Of a pair of user and item, the intrinsic part is the
    same in every context, and the mean of the extrinsic part over contexts is zero: by
    construction, whatever the model has learned. It has no factors.

    A pair costs as many scores of the model as there are contexts. Within a call each
    pair is computed once. It is kept for later calls where a score for all pairs of users
    and items takes no more numbers than :obj:`scores_kept`, 128 MiB in single precision;
    pairs of users or items that are new are not kept.

    A :class:`~iedr_geo.recommend.Recommender` of it cannot be saved. Save one of the
    model, and split the model again, with the same :obj:`weights`.

    Args:
        scorer: The scores.
        model: The model, or a function, that maps an :class:`InteractionBatch` to logits.
        data: Its users, items and contexts.
        weights: The weight :math:`p` of each context of the data, which add up to 1.
        draws: The contexts that stand for all, of shape :math:`(H, 2)`: two independent
            ones from each of :math:`H` strata of equal weight (default: none is drawn).
    """

    # It keeps no `model`: a `Recommender` would save that in its place.

    parts = ('intrinsic', 'extrinsic')

    scores_kept = 1 << 25
    """The number of intrinsic scores that are kept, at most."""

    weights: Tensor
    """The weight of each context of the data; they add up to 1."""

    contexts: Tensor
    """The contexts over which the mean is taken."""

    standard_error: float
    """The sampling error of intrinsic scores, in units of the score: the root of its mean
    square over pairs of users and items. Zero if no context with a weight is left out."""

    def __init__(
        self,
        scorer: CatalogueScorer,
        model: Any,
        data: InteractionDataset,
        weights: Tensor,
        draws: Tensor | None = None,
    ) -> None:
        super().__init__(data, scorer.device)
        self.scorer, self._call, self.weights = scorer, model, weights
        self._kept: Tensor | None = None
        drawn = weights.nonzero() if draws is None else draws
        contexts, place = torch.unique(drawn, return_inverse=True)
        shares = weights[contexts]
        if draws is not None:
            shares = torch.bincount(place.flatten()).double() / draws.numel()
        self.contexts = contexts.to(self.device)
        self._shares = shares.to(self.device)
        self.standard_error = 0.0 if draws is None else self._error(place)

    def _error(self, place: Tensor) -> float:
        """Returns the error, by the differences of what is drawn from one stratum.

        Args:
            place: Which of the contexts are drawn, of shape :math:`(H, 2)`.
        """
        generator = torch.Generator().manual_seed(0)
        user, item = (
            torch.randint(size, (PROBED,), generator=generator).to(self.device)
            for size in (self.num_users, self.num_items)
        )
        queries = Queries(user.repeat(len(self.contexts)), self._repeated(PROBED))
        scores = self.scorer.scores(queries, item).double()
        first, second = place.to(self.device).unbind(1)
        scores = scores.view(len(self.contexts), -1)
        # Of a stratum, the mean of two draws has a quarter of the square of their
        # difference as its variance, on average.
        squares = (scores[first] - scores[second]).square() / 4
        return float(squares.sum(0).mean().sqrt() / len(place))

    def _repeated(self, number: int, rows: slice = slice(None)) -> Tensor:
        """Returns each of some contexts so many times."""
        return self.contexts[rows].repeat_interleave(number)

    def __call__(self, batch: InteractionBatch) -> Tensor:
        """Returns the logits of the model, by which features are explained."""
        with evaluating(self._call):
            logits: Tensor = self._call(batch)
        return logits

    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the scores of the model as they are."""
        return self.scorer.scores(queries, items)

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the mean over contexts, and the rest of the scores."""
        queries, items = queries.to(self.device), items.to(self.device)
        with evaluating(self._call):
            scores = self.scorer.scores(queries, items)
            if not scores.numel():
                return dict.fromkeys(self.parts, scores)
            size = self.num_users, self.num_items
            if self._kept is None and size[0] * size[1] <= self.scores_kept:
                self._kept = scores.new_full(size, torch.nan)
            intrinsic = self._intrinsic(queries, items).to(scores.dtype)
            return {'intrinsic': intrinsic, 'extrinsic': scores - intrinsic}

    def _intrinsic(self, queries: Queries, items: Tensor) -> Tensor:
        """Returns the means of all pairs, of shape :math:`(Q, I)`, each computed once."""
        user, row = torch.unique(queries.user, return_inverse=True)
        users = Queries(user, users=queries.users, items=queries.items)
        if items.dim() == 1:
            return self._means(users, items)[row]
        item, column = torch.unique(items, return_inverse=True)
        pairs = row.unsqueeze(1) * len(item) + column
        pair, place = torch.unique(pairs, return_inverse=True)
        cheap = 0 if self.scorer.pair_by_pair else CHEAPER * len(pair)
        if len(user) * len(item) <= min(cheap, self.scores_at_once):
            return self._means(users, item).view(-1)[pairs]
        row, column = pair // len(item), pair % len(item)
        means = self._means(users[row], item[column].unsqueeze(1))
        return means.view(-1)[place]

    def _means(self, users: Queries, items: Tensor) -> Tensor:
        """Returns the means of items, or of those of each user; of what is kept if so."""
        if self._kept is None or users.users is not None or users.items is not None:
            return self._computed(users, items)
        place = users.user.unsqueeze(1), items
        missing = self._kept[place].isnan().any(dim=1).nonzero().view(-1)
        if len(missing):
            some, each = users[missing], items if items.dim() == 1 else items[missing]
            means = self._computed(some, each).to(self._kept.dtype)
            self._kept[some.user.unsqueeze(1), each] = means
        return self._kept[place]

    def _computed(self, users: Queries, items: Tensor) -> Tensor:
        """Returns the means of items, or of those of each user, by scoring in contexts.

        As many users as fit meet in one context, where they share what depends on it.
        """
        size = len(users), items.size(-1)
        means = torch.zeros(size, dtype=torch.double, device=self.device)
        at_once = self.chunk_size(size[1])
        for rows in blocks(size[0], at_once):
            some, each = users[rows], items if items.dim() == 1 else items[rows]
            for contexts in blocks(len(self.contexts), at_once // len(some)):
                shares = self._shares[contexts]
                queries = replace(
                    some,
                    user=some.user.repeat(len(shares)),
                    context=self._repeated(len(some), contexts),
                )
                all_of = each if each.dim() == 1 else each.repeat(len(shares), 1)
                scores = self.scorer.scores(queries, all_of).double()
                means[rows] += torch.tensordot(
                    shares, scores.view(len(shares), *means[rows].shape), 1
                )
        return means

    def seconds(self, num_queries: int, num_items: int | None = None) -> float | None:
        """Returns about how long the scores will take, without their parts."""
        return self.scorer.seconds(num_queries, num_items)

    def __repr__(self) -> str:
        occurring = int(self.weights.count_nonzero())
        return (
            f'{super().__repr__()[:-1]}, contexts={len(self.contexts)} of {occurring}, '
            f'standard_error={self.standard_error:.3g})'
        )


def context_split(
    model: Any,
    data: InteractionDataset,
    num_contexts: int = 512,
    weights: Tensor | Sequence[float] | None = None,
    seed: int = 0,
) -> ContextSplit:
    r"""Splits the scores of any model: the intrinsic part is their mean over contexts,
    the extrinsic part what the context adds to it.

    The mean is exact where :obj:`num_contexts` contexts at most have a weight. Otherwise,
    it is over a sample: of contexts in the order of their weights, two are drawn from
    each of :obj:`num_contexts / 2` strata of equal weight. Its mean is unbiased and its
    error stated, as :obj:`standard_error`. All users and items have the same sample, so
    that equal items stay equal.

    It is the control for models that have factors, as any scorer can be split: factors
    are worth what they add to it.

    Args:
        model: A model or function that maps an :class:`InteractionBatch` to logits, or a
            scorer of one.
        data: The rows whose contexts count, *e.g.*, the training rows, each as often as
            it is there, whatever its label.
        num_contexts: The number of contexts that are scored for each pair, at most.
        weights: The weight of each context of the data, of shape :math:`(C)` (default:
            the number of its rows).
        seed: The seed of the sample.

    Raises:
        ValueError: If the model knows no contexts, does not fit the data, there are fewer
            than two :obj:`num_contexts`, or weights are of another number than the
            contexts, negative, not finite or all zero.

    Example:
        >>> split = context_split(model, train)
        >>> Recommender(split, dataset).explain('Ann', 'Alien', {'day': 'sat'})
        >>> disentanglement_report(split, test, lists)
    """
    made = scorer(model, data)
    if made.fingerprints['context'] is None:
        raise ValueError(
            'There are no contexts to split the scores by: a split needs a model of an '
            'InteractionDataset'
        )
    check_count(num_contexts, 'num_contexts', 2)
    size = data.num_contexts
    if weights is None:
        weights = torch.bincount(data.context, minlength=size)
    weights = torch.as_tensor(weights).detach().cpu().double()
    if weights.shape != (size,):
        raise ValueError(
            f'`weights` must be of shape ({size},), one for each context of the data '
            f'(got {tuple(weights.shape)})'
        )
    wrong = (~(weights >= 0) | weights.isinf()).nonzero().view(-1).tolist()
    if wrong:
        raise ValueError(
            f'`weights` must be finite and not negative (that of context {wrong[0]} is '
            f'{float(weights[wrong[0]])})'
        )
    if not weights.any():
        raise ValueError(
            '`weights` are all zero: a mean needs a context that counts (by default, one '
            'with a row)'
        )
    weights = weights / weights.sum()
    draws = None
    if int(weights.count_nonzero()) > num_contexts:
        draws = _drawn(weights, num_contexts // 2, seed)
    if isinstance(model, CatalogueScorer):
        model = getattr(model, 'model', model)
    return ContextSplit(made, model, data, weights, draws)


def _drawn(weights: Tensor, num_strata: int, seed: int) -> Tensor:
    """Returns two contexts of each stratum of equal weight, of shape :math:`(H, 2)`.

    A context that fills a stratum, as the most frequent may, is drawn without an error.
    """
    order = weights.argsort(descending=True, stable=True)
    generator = torch.Generator().manual_seed(seed)
    places = torch.rand(num_strata, 2, dtype=torch.double, generator=generator)
    places = (places + torch.arange(num_strata).unsqueeze(1)) / num_strata
    index = torch.searchsorted(weights[order].cumsum(0), places, right=True)
    # Rounding may put the last place behind the last context that has a weight.
    return order[index.clamp(max=int(weights.count_nonzero()) - 1)]
