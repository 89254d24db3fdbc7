"""Data with known intrinsic and extrinsic factors, drawn by a known rule.

What a user likes whatever the context (intrinsic) is a matter of distance in a
plane: the nearer an item to the nearer of the user's two anchors, the better.
What a context makes a user want (extrinsic) is read from tables: the time of
day and the place together call for a function, the kind of day and the company
together for a price tier, both by the segment of the user and with the user's
own sensitivity. Nothing here multiplies embeddings or passes through a network,
so a model that recovers the factors has not been handed its own form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from iedr_geo.datasets.planting import (
    MAX_CELLS,
    MIN_RECORDS,
    Floats,
    Ints,
    PlantedTables,
    Rng,
    check_contexts,
    check_ranges,
    confuse,
    draw_counts,
    draw_popularity,
    name_codes,
)

Codes = NDArray[np.int8]

CONTEXTS = {
    'daytime': ('morning', 'noon', 'evening', 'night'),
    'weekday': ('mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'),
    'place': ('home', 'work', 'outdoors', 'travel'),
    'company': ('alone', 'partner', 'family', 'friends'),
}
AGE_GROUPS = ('18-24', '25-34', '35-49', '50-64', '65+')
HOUSEHOLDS = ('single', 'shared', 'family')

_SEGMENTS = len(HOUSEHOLDS)
_FUNCTIONS = 8
_TIERS = 4
_OCCUPATIONS = 8
_STYLES = 12
# How far from an anchor an item still appeals; the plane is the unit square.
_REACH = 0.15
# By how far the function of an item is, around a circle, from the wanted one.
_FIT = np.array([1.0, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4])
# How often a context field takes the value that is the habit of the user.
_HABIT = 0.4
# Calendar: each day has as many slots as there are daytimes.
_WEEKS = 52
_SLOT_SECONDS = 6 * 3600


def nearness(anchors: Floats, position: Floats) -> Floats:
    """Returns how near the nearer of two anchors is, 1 where it is the position itself.

    Args:
        anchors: Pairs of anchors in the plane, of shape :math:`(2, *, 2)`.
        position: Positions in the plane, of a shape that broadcasts with an anchor's.
    """
    x, y = np.moveaxis(position, -1, 0)
    main, side = ((one[..., 0] - x) ** 2 + (one[..., 1] - y) ** 2 for one in anchors)
    return np.exp(np.minimum(main, side) / (-2 * _REACH**2))


@dataclass(frozen=True, eq=False)
class TrueFactors:
    """True factors of planted data; rows are positions in the tables.

    Attributes:
        tastes: Positions in the plane, ``[2, num_tastes, 2]``: the two anchors
            of each taste, of which the nearer to an item decides.
        user_taste: Taste of each user, a row of ``tastes[0]``.
        item_position: Position of each item in the same plane.
        user_segment: Segment of each user, which chooses the need tables.
        user_sensitivity: The weights of the need for a function and of the need for
            a price tier of each user, ``[num_users, 2]``.
        item_function: The use of each item, a point on a circle.
        item_tier: Price tier of each item.
        function_need: Function wanted, ``[segment, daytime, place]``.
        tier_need: Price tier wanted, ``[segment, weekend, company]``.
        popularity: Appeal of each item to everyone, as a score.
        intrinsic_weight: Score of an item that lies on an anchor.
        extrinsic_weight: Gain of an item that meets one need of a user of
            sensitivity 1 over one that does not.
        temperature: The divisor of scores before the softmax.
    """

    tastes: Floats
    user_taste: Ints
    item_position: Floats
    user_segment: Ints
    user_sensitivity: Floats
    item_function: Ints
    item_tier: Ints
    function_need: Ints
    tier_need: Ints
    popularity: Floats
    intrinsic_weight: float
    extrinsic_weight: float
    temperature: float

    def intrinsic(self, tastes: Ints, items: Ints) -> Floats:
        """Returns how much tastes are for items, broadcast over both."""
        anchors, position = self.tastes[:, tastes], self.item_position[items]
        return self.intrinsic_weight * nearness(anchors, position)

    def extrinsic(
        self, users: Ints, functions: Ints, tiers: Ints, contexts: Ints
    ) -> Floats:
        """Returns how well functions and tiers meet the needs of users.

        Every function and tier is wanted in equally many contexts and the fit
        is centred, so that over all contexts the scores of any user and item
        average to zero: no stable preference hides in them.

        Args:
            users: Rows of users.
            functions: Functions, broadcast against the users.
            tiers: Price tiers, broadcast against the users.
            contexts: Codes of the context fields on a last axis that is added
                to the shape of the users.

        Returns:
            Scores in the broadcast shape.
        """
        daytime, weekday, place, company = np.moveaxis(contexts, -1, 0)
        segment = self.user_segment[users]
        function = self.function_need[segment, daytime, place]
        tier = self.tier_need[segment, (weekday >= 5).astype(int), company]
        use, spend = np.moveaxis(self.user_sensitivity[users], -1, 0)
        fit = _FIT - _FIT.mean()
        return self.extrinsic_weight * (
            use * fit[(functions - function) % _FUNCTIONS]
            + spend * ((tiers == tier) - 1 / _TIERS)
        )


@dataclass(frozen=True, eq=False)
class Planted(PlantedTables):
    """Planted data: observed tables, and the truth behind them.

    Times are seconds since the start of a Monday; weekday and daytime follow the same
    calendar.

    Attributes:
        truth: The true factors.
    """

    truth: TrueFactors

    @property
    def popularity(self) -> Floats:
        """The appeal of each item to everyone, as a score."""
        return self.truth.popularity

    @property
    def temperature(self) -> float:
        """The divisor of scores before the softmax."""
        return self.truth.temperature

    def intrinsic_scores(self, users: Ints, items: Ints) -> Floats:
        """Returns true intrinsic scores, broadcast over rows of the tables."""
        return self.truth.intrinsic(self.truth.user_taste[users], items)

    def extrinsic_scores(
        self, users: Ints, items: Ints, contexts: pd.DataFrame
    ) -> Floats:
        """Returns true extrinsic scores; see :meth:`PlantedTables.extrinsic_scores`."""
        users = np.asarray(users)
        check_contexts(users, contexts)
        columns = [_encode(contexts[name], name) for name in CONTEXTS]
        codes = np.stack(columns, axis=-1).reshape(*users.shape, len(CONTEXTS))
        truth = self.truth
        function, tier = truth.item_function[items], truth.item_tier[items]
        return truth.extrinsic(users, function, tier, codes)


def plant(
    num_users: int = 500,
    num_items: int = 300,
    num_interactions: int = 20_000,
    seed: int = 0,
    *,
    intrinsic_weight: float = 7.0,
    extrinsic_weight: float = 4.0,
    popularity_weight: float = 1.2,
    temperature: float = 1.0,
    max_tastes: int = 2000,
    max_cells: int = MAX_CELLS,
) -> Planted:
    """Plants factors and draws interactions from them.

    Items are drawn exactly from the softmax over the whole catalogue at every
    size: extrinsic scores see an item only through its function and tier, so
    the choice splits into that of such a group, given user and context, and
    that of an item within it, given only the taste. Up to ``max_tastes`` users
    each have a taste of their own; beyond, tastes are shared, which bounds the
    work, while sensitivity, segment and habits still tell users apart.

    Args:
        num_users: Number of users.
        num_items: Number of items.
        num_interactions: Number of interactions; every user has at least
            ``MIN_RECORDS``.
        seed: Seed of all draws.
        intrinsic_weight: Scale of the intrinsic scores; 0 removes them.
        extrinsic_weight: Scale of the extrinsic scores; 0 removes them.
        popularity_weight: Scale of the popularity scores, by which a few items
            are popular and most are not; 0 removes them.
        temperature: The divisor of scores before the softmax.
        max_tastes: Bound on the number of distinct tastes.
        max_cells: Bound on the entries of a temporary matrix. With another one, other
            items are drawn.

    Returns:
        The tables with the factors behind them.

    Raises:
        ValueError: If an argument is out of its range.
    """
    check_ranges(
        num_users=(num_users, 1, math.inf),
        num_items=(num_items, 2, math.inf),
        num_interactions=(num_interactions, MIN_RECORDS * num_users, math.inf),
        seed=(seed, 0, math.inf),
        intrinsic_weight=(intrinsic_weight, 0, math.inf),
        extrinsic_weight=(extrinsic_weight, 0, math.inf),
        popularity_weight=(popularity_weight, 0, math.inf),
        max_tastes=(max_tastes, 1, math.inf),
    )
    if not 0 < temperature < math.inf:
        raise ValueError(f'`temperature` must be above 0 (got {temperature})')

    rng = np.random.default_rng(seed)
    num_tastes = min(num_users, max_tastes)
    truth = TrueFactors(
        tastes=rng.random((2, num_tastes, 2)),
        user_taste=rng.permutation(np.arange(num_users) % num_tastes),
        item_position=rng.random((num_items, 2)),
        user_segment=rng.integers(_SEGMENTS, size=num_users),
        user_sensitivity=rng.uniform(0.5, 1.5, (num_users, 2)),
        item_function=rng.integers(_FUNCTIONS, size=num_items),
        item_tier=rng.integers(_TIERS, size=num_items),
        function_need=rng.permuted(
            np.tile(np.arange(16) % _FUNCTIONS, (_SEGMENTS, 1)), axis=1
        ).reshape(_SEGMENTS, 4, 4),
        # A permutation for either kind of day: days of the week are not
        # equally many on both sides, and tiers must balance all the same.
        tier_need=rng.permuted(np.tile(np.arange(_TIERS), (_SEGMENTS, 2, 1)), axis=2),
        popularity=draw_popularity(rng, num_items, popularity_weight),
        intrinsic_weight=intrinsic_weight,
        extrinsic_weight=extrinsic_weight,
        temperature=temperature,
    )
    users = _observe_users(rng, truth)
    items = _observe_items(rng, truth)

    counts = draw_counts(rng, num_users, num_interactions, num_interactions)
    rows: Ints = np.repeat(np.arange(num_users), counts)
    contexts = _draw_contexts(rng, rows, num_users)
    rows, contexts, time = _put_in_order(rng, rows, contexts)
    chosen = _draw_items(rng, truth, rows, contexts, max_cells)
    columns = {'user': users['user'].array.take(rows)}
    columns['item'] = items['item'].array.take(chosen)
    for (name, values), codes in zip(CONTEXTS.items(), contexts.T, strict=True):
        columns[name] = pd.Series(values).array.take(codes)
    interactions = pd.DataFrame({**columns, 'time': time})
    return Planted(users, items, interactions, truth)


def _observe_users(rng: Rng, truth: TrueFactors) -> pd.DataFrame:
    """Returns the table of users: features that hint at taste and segment."""
    taste = truth.tastes[0][truth.user_taste]
    blurred = taste + 0.12 * rng.standard_normal(taste.shape)
    age = np.digitize(blurred[:, 0], (0.15, 0.4, 0.6, 0.85))
    occupation = _nearest(rng, taste, _OCCUPATIONS)
    household = confuse(rng, truth.user_segment, _SEGMENTS)
    return pd.DataFrame(
        {
            'user': [f'u{row}' for row in range(len(taste))],
            'age_group': np.array(AGE_GROUPS)[age],
            'occupation': name_codes('job', occupation),
            'household': np.array(HOUSEHOLDS)[household],
        }
    )


def _observe_items(rng: Rng, truth: TrueFactors) -> pd.DataFrame:
    """Returns the table of items: features that hint at all their factors."""
    count = len(truth.item_tier)
    hints = np.stack(
        [
            name_codes('style-', _nearest(rng, truth.item_position, _STYLES)),
            name_codes('for-', confuse(rng, truth.item_function, _FUNCTIONS)),
            name_codes('misc-', rng.integers(_STYLES, size=count)),
        ],
        axis=1,
    )
    price = 5 * 2.5 ** (truth.item_tier + 0.6 * rng.standard_normal(count))
    lengths = rng.integers(1, 4, size=count)
    category = confuse(rng, truth.item_function, _FUNCTIONS)
    shuffled = rng.permuted(hints, axis=1).tolist()
    return pd.DataFrame(
        {
            'item': [f'i{row}' for row in range(count)],
            'category': name_codes('category', category),
            'price': price.round(2),
            'tags': [tags[:n] for tags, n in zip(shuffled, lengths, strict=True)],
        }
    )


def _nearest(rng: Rng, places: Floats, count: int) -> Ints:
    """Returns the nearest of random landmarks as seen from blurred places."""
    blurred = places + 0.06 * rng.standard_normal(places.shape)
    away = ((blurred[:, None] - rng.random((count, 2))) ** 2).sum(axis=2)
    return away.argmin(axis=1)


def _draw_contexts(rng: Rng, users: Ints, num_users: int) -> Codes:
    """Returns context codes: the habit of the user, or what is common."""
    contexts = np.empty((len(users), len(CONTEXTS)), dtype=np.int8)
    for field, values in enumerate(CONTEXTS.values()):
        common = rng.dirichlet(np.full(len(values), 10.0))
        habit = rng.choice(len(values), num_users, p=common).astype(np.int8)
        drawn = rng.choice(len(values), len(users), p=common)
        habitual = rng.random(len(users)) < _HABIT
        contexts[:, field] = np.where(habitual, habit[users], drawn)
    return contexts


def _put_in_order(rng: Rng, users: Ints, contexts: Codes) -> tuple[Ints, Codes, Ints]:
    """Dates interactions in accord with their contexts, sorted by user and time."""
    daytime, weekday = contexts[:, 0], contexts[:, 1]
    slots = len(CONTEXTS['daytime'])
    day = 7 * rng.integers(_WEEKS, size=len(users)) + weekday
    time = (slots * day + daytime) * _SLOT_SECONDS
    time += rng.integers(_SLOT_SECONDS, size=len(users))
    # Twice the calendar apart, so that moving ties on cannot reach the next user.
    start = users * (2 * 7 * _WEEKS * slots * _SLOT_SECONDS)
    order = np.argsort(start + time)
    rank = np.arange(len(users))
    # Within a user, a tie moves on by a second: times increase strictly.
    time = np.maximum.accumulate((start + time)[order] - rank) + rank
    return users[order], contexts[order], time - start[order]


def _draw_items(
    rng: Rng, truth: TrueFactors, users: Ints, contexts: Codes, max_cells: int
) -> Ints:
    """Returns an item for each user and context, drawn by the softmax of scores.

    Works on blocks of tastes: memory is bounded, and each taste meets the
    catalogue once, however many users share it.
    """
    group = truth.item_function * _TIERS + truth.item_tier
    items = np.argsort(group, kind='stable')
    groups, starts, sizes = np.unique(group[items], return_index=True, return_counts=True)
    ends = starts + sizes
    slot = np.repeat(np.arange(len(groups)), sizes)

    taste = truth.user_taste[users]
    records = np.argsort(taste, kind='stable')
    num_tastes = truth.tastes.shape[1]
    load = max(len(items), len(groups) * len(records) // num_tastes)
    step = max(1, max_cells // load)
    chosen = np.empty(len(records), dtype=np.int64)
    for first in range(0, num_tastes, step):
        block = np.arange(first, min(first + step, num_tastes))
        logits = truth.intrinsic(block[:, None], items)
        logits += truth.popularity[items]
        logits /= truth.temperature
        # Each group by its own maximum, as the need may favour the one that
        # the taste all but excludes.
        top = np.maximum.reduceat(logits, starts, axis=1)
        weights = np.exp(logits - top[:, slot])
        mass = np.add.reduceat(weights, starts, axis=1)

        low, high = np.searchsorted(taste, (first, first + step), sorter=records)
        some = records[low:high]
        row = taste[some] - first
        who, where = users[some][:, None], contexts[some][:, None]
        appeal = truth.extrinsic(who, groups // _TIERS, groups % _TIERS, where)
        appeal /= truth.temperature
        appeal += (top + np.log(mass))[row]
        appeal -= appeal.max(axis=1, keepdims=True)
        steps = np.exp(appeal).cumsum(axis=1)
        level = rng.random(len(steps)) * steps[:, -1]
        pick = (steps[:, :-1] <= level[:, None]).sum(axis=1)

        # Over the block the distribution function rises by 1 with each group.
        weights /= mass[:, slot]
        rise = weights.cumsum(axis=1) + len(groups) * np.arange(len(block))[:, None]
        wanted = len(groups) * row + pick + rng.random(len(some))
        found = np.searchsorted(rise.ravel(), wanted, side='right')
        # Rounding at the seams must not lead into the next group.
        found = np.clip(found - len(items) * row, starts[pick], ends[pick] - 1)
        chosen[some] = items[found]
    return chosen


def _encode(values: pd.Series[str], field: str) -> Ints:
    """Returns the codes of the values of a context field."""
    codes = pd.Index(CONTEXTS[field]).get_indexer(pd.Index(values))
    if (codes < 0).any():
        unknown = values[codes < 0].iloc[0]
        raise ValueError(f'{field} has no value {unknown!r}')
    return codes
