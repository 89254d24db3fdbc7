"""Negatives that replace the item of a positive."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from iedr_geo.data.arguments import check_count
from iedr_geo.data.bipartite import BipartiteGraph

Generator = torch.Generator | None


class NegativeSampler(Protocol):
    """A way to draw negatives. Every loader takes every sampler.

    The graph's left nodes are queries: users or, where the sampler has an attribute
    ``exclude`` that is ``'context'`` and the data have contexts, distinct pairs of user
    and context.

    A sampler may have a method ``at(curriculum: float) -> NegativeSampler``, the sampler
    to draw by when the :class:`~iedr_geo.loader.Curriculum` has come to a factor, and a
    method ``for_graph(graph: BipartiteGraph) -> NegativeSampler``, the sampler whose
    settings are those for a graph.
    """

    @property
    def num_negatives(self) -> int:
        """The number of negatives of each positive, :math:`K`."""

    @property
    def resample(self) -> bool:
        """:obj:`True` if every epoch has its own; otherwise the first's serve all."""

    def sample(
        self,
        graph: BipartiteGraph,
        query: Tensor,
        item: Tensor,
        generator: Generator = None,
    ) -> Tensor:
        """Draws negatives, on the device of the graph.

        Args:
            graph: The items that queries have.
            query: The query of each positive, of shape :math:`(B)`.
            item: The item of each positive, of shape :math:`(B)`.
            generator: The source of randomness, on the same device.

        Returns:
            Items, of shape :math:`(B, K)`.
        """


def for_graph(sampler: NegativeSampler, graph: BipartiteGraph) -> NegativeSampler:
    """Returns a sampler with the settings that it has for a graph."""
    decide = getattr(sampler, 'for_graph', None)
    decided: NegativeSampler = sampler if decide is None else decide(graph)
    return decided


def _draw_below(size: Tensor, generator: Generator) -> Tensor:
    """Draws integers from 0 to less than each size."""
    share = torch.rand(
        size.shape, generator=generator, dtype=torch.double, device=size.device
    )
    return torch.minimum((share * size).long(), size - 1)


def _check_left(graph: BipartiteGraph, query: Tensor, number: int, reason: str) -> None:
    if graph.fewest_unseen[1] >= number or query.numel() == 0:
        return  # Without a look at who is asked for, which would wait for the device.
    user = int(query[graph.unseen.total[query].argmin()])
    left, name = int(graph.unseen.total[user]), graph.user_ids[user]
    if left < number:
        has = 'all' if left == 0 else f'all but {left} of the'
        who = "'{}' has in context {}" if isinstance(name, tuple) else "'{}' has"
        who = who.format(*name) if isinstance(name, tuple) else who.format(name)
        raise ValueError(f'User {who} {has} {len(graph.existing)} items: {reason}')


class _Sampler(ABC):
    """The common part of the samplers below, which are dataclasses of their settings."""

    num_negatives: int
    exclude: str
    excludes: ClassVar[tuple[str, ...]] = ('seen', 'context')

    def __post_init__(self) -> None:
        check_count(self.num_negatives, 'num_negatives')
        if self.exclude not in self.excludes:
            names = "', '".join(self.excludes)
            raise ValueError(f"`exclude` is one of '{names}' (got '{self.exclude}')")

    def sample(
        self,
        graph: BipartiteGraph,
        query: Tensor,
        item: Tensor,
        generator: Generator = None,
    ) -> Tensor:
        """Draws negatives, as :class:`NegativeSampler` says.

        Raises:
            ValueError: If a query has too few items left to draw.
        """
        user = query.unsqueeze(1).expand(-1, self.num_negatives)
        return self._sample(graph, user, item, generator)

    @abstractmethod
    def _sample(
        self, graph: BipartiteGraph, user: Tensor, item: Tensor, generator: Generator
    ) -> Tensor:
        """Draws a negative for each entry of :obj:`user`, of shape :math:`(B, K)`."""


@dataclass(frozen=True)
class UniformNegativeSampler(_Sampler):
    r"""Draws negatives uniformly from the catalogue of the graph.

    Args:
        num_negatives: The number of negatives of each positive.
        exclude: The items that are no negatives: :obj:`'positive'`, the positive itself,
            :obj:`'seen'`, any item that the user has in the graph, or :obj:`'context'`,
            any that the user has in the same context, as in the text of the IEDR paper.
            Edges have no contexts: there it is :obj:`'seen'`.
        resample: If :obj:`True`, every epoch has negatives of its own. Otherwise those of
            the first epoch serve the whole run, as in the IEDR paper.
    """

    num_negatives: int = 2
    exclude: str = 'positive'
    resample: bool = False
    excludes: ClassVar[tuple[str, ...]] = ('positive', 'seen', 'context')

    def _sample(
        self, graph: BipartiteGraph, user: Tensor, item: Tensor, generator: Generator
    ) -> Tensor:
        catalogue, size = graph.existing, len(graph.existing)
        if size < 2:
            raise ValueError('Negatives need a catalogue of at least two items')
        if self.exclude != 'positive':
            reason = f"no negative is left with exclude='{self.exclude}'"
            _check_left(graph, user[:, 0], 1, reason)
            return graph.unseen.at(user, _draw_below(graph.unseen.total[user], generator))
        item = item.unsqueeze(1)
        first = torch.searchsorted(catalogue, item)
        exists = catalogue[first.clamp(max=size - 1)] == item
        drawn = _draw_below((size - exists.long()).expand_as(user), generator)
        return catalogue[drawn + (exists & (drawn >= first))]


@dataclass(frozen=True)
class PopularityNegativeSampler(_Sampler):
    r"""Draws items that the user does not have in proportion to their popularity.

    Where those that are left are of no popularity, they are drawn uniformly.

    Args:
        num_negatives: The number of negatives of each positive.
        resample: If :obj:`True`, every epoch has negatives of its own.
        exclude: The items that are no negatives: :obj:`'seen'` or :obj:`'context'`, as in
            :class:`UniformNegativeSampler`.
    """

    num_negatives: int = 4
    resample: bool = True
    exclude: str = 'seen'

    def _sample(
        self, graph: BipartiteGraph, user: Tensor, item: Tensor, generator: Generator
    ) -> Tensor:
        _check_left(graph, user[:, 0], 1, 'no negative is left')
        size = graph.unseen_by_popularity.total[user]
        some = size > 0
        uniform = graph.unseen.total[user]
        position = _draw_below(torch.where(some, size, uniform), generator)
        by_popularity = graph.unseen_by_popularity.at(user, position * some)
        return torch.where(some, by_popularity, graph.unseen.at(user, position * ~some))


@dataclass(frozen=True)
class PopularityMarginSampler(_Sampler):
    r"""Draws items that are clearly more or clearly less popular than the positive
    (*PNSM*, Section 3.3 of `Zheng et al. <https://doi.org/10.1145/3442381.3449788>`_).

    With :math:`p` the popularity of the positive, there are two pools of items that the
    user does not have: those above :math:`p + m` and those below
    :math:`p / 2`. A fair coin decides between them for each negative. If the first has
    fewer than :obj:`min_pool` items, all come from the second; else if the second has,
    all come from the first. If the second is then too small, they come from all that the
    user does not have. No item recurs in a row.

    Args:
        num_negatives: The number of negatives of each positive.
        margin: The margin :math:`m` in clicks or, between 0 and 1, the quantile of the
            popularity of the catalogue that is the margin. By default 40, as in the
            authors' code, where a margin and a pool of 40 leave a popular pool to more
            than 90 % of the items that are positives; else 0.72, which is what 40 clicks
            are in MovieLens-1M.
        min_pool: The number of items that a pool must have or, between 0 and 1, the share
            of the catalogue, but at least :obj:`num_negatives`. By default likewise 40 or
            0.02. :meth:`for_graph` tells what was decided.
        lower: The bound of the second pool: :obj:`'half'`, :math:`p / 2`, as in the
            authors' code, or :obj:`'margin'`, :math:`p - m`, as in the paper.
        exclude: The items of a user that are no negatives: :obj:`'seen'` or
            :obj:`'context'`, as in :class:`UniformNegativeSampler`, or :obj:`'part'`, as
            in the authors' code, those of the normal or those of the intervened edges, to
            whichever the positive belongs.
        resample: If :obj:`True`, every epoch has negatives of its own.
        factor: What the margin is multiplied by, *e.g.*, by a curriculum.
    """

    num_negatives: int = 4
    margin: float | None = None
    min_pool: float | None = None
    lower: str = 'half'
    exclude: str = 'seen'
    resample: bool = True
    factor: float = 1.0
    excludes: ClassVar[tuple[str, ...]] = ('seen', 'part', 'context')

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.margin is not None and not self.margin >= 0:
            raise ValueError(f'`margin` must not be negative (got {self.margin})')
        pool = self.min_pool
        if pool is not None and not (0 < pool < 1 or pool >= self.num_negatives):
            raise ValueError(
                f'A pool of {pool} items does not hold {self.num_negatives} negatives'
            )
        if self.lower not in ('half', 'margin'):
            raise ValueError(f"`lower` is 'half' or 'margin' (got '{self.lower}')")

    def at(self, curriculum: float) -> PopularityMarginSampler:
        """Returns the sampler whose margin is multiplied by a factor."""
        return replace(self, factor=self.factor * curriculum)

    def for_graph(self, graph: BipartiteGraph) -> PopularityMarginSampler:
        """Returns the sampler with the margin in clicks and the pool in items that it
        has for a graph.
        """
        own = self.margin, self.min_pool
        if not any(each is None or 0 < each < 1 for each in own):
            return self  # Without a look at the graph, which would wait for the device.
        popularity = graph.popularity[graph.existing].double().sort().values
        positive = graph.popularity[graph.item_degree > 0]
        for default in ((40.0, 40), (0.72, 0.02)):
            margin = default[0] if self.margin is None else self.margin
            pool = default[1] if self.min_pool is None else self.min_pool
            if 0 < margin < 1:  # A number that occurs, so that it is below 1 no more.
                margin = float(popularity.quantile(margin, interpolation='higher'))
            pool = math.ceil(pool * len(popularity)) if pool < 1 else pool
            pool = max(pool, self.num_negatives)
            above = torch.searchsorted(popularity, positive + margin, right=True)
            has_pool = len(popularity) - above >= pool
            if None not in own or has_pool.double().mean() > 0.9:
                break
        return replace(self, margin=margin, min_pool=pool)

    def _sample(
        self, graph: BipartiteGraph, user: Tensor, item: Tensor, generator: Generator
    ) -> Tensor:
        sampler = self.for_graph(graph)
        if self.exclude != 'part':
            return sampler._draw(graph, user, item, generator)
        normal, intervened = graph.parts
        mask = intervened.contains(user[:, 0], item)
        negative = torch.empty_like(user, dtype=torch.long)
        for part, rows in ((normal, ~mask), (intervened, mask)):
            negative[rows] = sampler._draw(part, user[rows], item[rows], generator)
        return negative

    def _draw(
        self, graph: BipartiteGraph, user: Tensor, item: Tensor, generator: Generator
    ) -> Tensor:
        """Draws from the pools of one graph."""
        assert self.margin is not None and self.min_pool is not None
        reason = f'too few are left for {self.num_negatives} different negatives'
        _check_left(graph, user[:, 0], self.num_negatives, reason)
        popularity = graph.sorted_popularity
        p = graph.popularity[item].double()
        margin = self.margin * self.factor
        below = p / 2 if self.lower == 'half' else p - margin
        above = torch.searchsorted(popularity, p + margin, right=True)
        below = torch.searchsorted(popularity, below)
        # The pools begin and end what the user does not have, in order of popularity.
        total = graph.unseen.total[user[:, 0]]
        first = graph.unseen.before(user[:, 0], above)
        num_above, num_below = total - first, graph.unseen.before(user[:, 0], below)
        enough_above, enough_below = (
            number >= self.min_pool for number in (num_above, num_below)
        )
        share = torch.where(enough_above, torch.where(enough_below, 0.5, 1.0), 0.0)
        # Neither pool serves: begin at the first item and end at the last.
        num_below = torch.where(num_below < self.num_negatives, total, num_below)
        coin = torch.rand(user.shape, generator=generator, device=user.device)
        use_above = coin < share.unsqueeze(1)
        begin = torch.where(use_above, first.unsqueeze(1), 0)
        size = torch.where(use_above, num_above.unsqueeze(1), num_below.unsqueeze(1))
        # What is in a pool already is skipped, in the order of the pool.
        drawn = torch.empty_like(begin)
        for column in range(self.num_negatives):
            same = begin[:, :column] == begin[:, column, None]
            taken = torch.where(same, drawn[:, :column], graph.num_items).sort().values
            left = size[:, column] - same.sum(dim=1)
            position = begin[:, column] + _draw_below(left, generator)
            for other in taken.unbind(dim=1):
                position = position + (position >= other)
            drawn[:, column] = position
        return graph.unseen.at(user, drawn)
