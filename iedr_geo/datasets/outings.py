"""Outings with known intrinsic and extrinsic factors, drawn by a known rule.

What a user likes whatever the context (intrinsic) is a matter of descent: topics
are the leaves of a tree, and an outing appeals by how many of its ancestors it
shares with the best of the user's interests, less what it costs over the user's
budget. What a context makes a user want (extrinsic) is a matter of numbers: every
outing has an ideal temperature and an ideal hour, and a wind up to which it can
be enjoyed, and users differ in how much they mind each. Nothing here multiplies
embeddings or passes through a network, and nothing of it is a distance in a plane
or a table, as the rule of :func:`plant` is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr

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

# A tree of 4 branches of 3 subjects of 3 topics each; topic t is of subject t // 3.
_BRANCHING = (4, 3, 3)
_TOPICS = math.prod(_BRANCHING)
# What the first, the second and the third interest of a user are worth.
_INTEREST = np.array([1.0, 0.8, 0.6])
# Degrees Celsius, and kilometres an hour: all of the range are equally common.
COLDEST, HOTTEST, CALMEST, WINDIEST = -10.0, 30.0, 0.0, 50.0
# How far from its ideal temperature and hour an outing still is worth something, and
# how much more wind than it stands takes as much off.
_DEGREES, _HOURS, _WIND = 12.0, 6.0, 20.0
_REGIONS = 5
_SEASONS = 4
_DAYS = 364


def shared_ancestry(one: Ints, two: Ints) -> Floats:
    """Returns the share of the steps from the root that topics have in common."""
    steps = [one // 9 == two // 9, one // 3 == two // 3, one == two]
    return np.sum(np.broadcast_arrays(*steps), axis=0) / len(steps)


def window(away: Floats, reach: float) -> Floats:
    """Returns 1 where nothing is away, less in proportion, and 0 from the reach on."""
    return np.maximum(0, 1 - np.abs(away) / reach)


def mean_window(ideal: Floats, least: float, most: float, reach: float) -> Floats:
    """Returns the mean of a :func:`window` about an ideal, where all numbers of a range
    are equally common.
    """

    def area(room: Floats) -> Floats:
        room = np.minimum(room, reach)
        return room - room**2 / (2 * reach)

    return (area(ideal - least) + area(most - ideal)) / (most - least)


@dataclass(frozen=True, eq=False)
class Outings(PlantedTables):
    """Planted outings: observed tables, and the truth behind them.

    Attributes:
        origin: What each interaction came from: ``'choice'``, by the scores,
            ``'repeat'``, of an earlier interaction of the user, or ``'noise'``.
        user_interests: Three topics of each user, the dearest first.
        user_budget: What each user is ready to spend, from 0 to 1.
        user_minds: How much each user minds temperature, hour and wind, from 0 (not
            at all) to 2, ``[num_users, 3]``.
        user_home: In which contexts each user tends to be: normal scores of the
            temperature, the hour and the wind, ``[num_users, 3]``.
        item_topic: The topic of each item, a leaf of the tree.
        item_cost: The cost of each item, from 0 to 1.
        item_temperature: The temperature that is ideal for each item.
        item_hour: The hour that is ideal for each item.
        item_wind: The wind from which each item is enjoyed less.
        item_appeal: The appeal of each item to everyone, as a score.
        intrinsic_weight: Score of an item of the dearest topic within the budget.
        extrinsic_weight: Gain of an item in its ideal temperature (or hour) over one
            that is out of it, for a user who minds it by 1.
    """

    origin: np.ndarray
    user_interests: Ints
    user_budget: Floats
    user_minds: Floats
    user_home: Floats
    item_topic: Ints
    item_cost: Floats
    item_temperature: Floats
    item_hour: Floats
    item_wind: Floats
    item_appeal: Floats
    intrinsic_weight: float
    extrinsic_weight: float

    @property
    def popularity(self) -> Floats:
        """The appeal of each item to everyone, as a score."""
        return self.item_appeal

    def intrinsic_scores(self, users: Ints, items: Ints) -> Floats:
        """Returns true intrinsic scores, broadcast over rows of the tables."""
        interests = np.moveaxis(self.user_interests[users], -1, 0)
        agreement = [
            worth * shared_ancestry(interest, self.item_topic[items])
            for worth, interest in zip(_INTEREST, interests, strict=True)
        ]
        excess = np.maximum(0, self.item_cost[items] - self.user_budget[users])
        return self.intrinsic_weight * (np.max(agreement, axis=0) - excess)

    def extrinsic_scores(
        self, users: Ints, items: Ints, contexts: pd.DataFrame
    ) -> Floats:
        """Returns true extrinsic scores, broadcast over rows of the tables.

        The mean of each over all contexts, which are equally common in the log as a
        whole, is taken off: no stable preference hides in them. Over the contexts of one
        user it is not zero where users and contexts are correlated.

        Args:
            users: Rows of users.
            items: Rows of items.
            contexts: Columns ``temperature``, ``wind`` and ``time``, one row per element
                of ``users``.

        Returns:
            Scores in the broadcast shape of ``users`` and ``items``.
        """
        users = np.asarray(users)
        check_contexts(users, contexts)
        temperature, wind, hour = (
            np.asarray(column, dtype=float).reshape(users.shape)
            for column in (
                contexts['temperature'],
                contexts['wind'],
                hour_of(contexts['time']),
            )
        )
        ideal, calm = self.item_temperature[items], self.item_wind[items]
        late = (hour - self.item_hour[items] + 12) % 24 - 12
        fits = (
            window(temperature - ideal, _DEGREES)
            - mean_window(ideal, COLDEST, HOTTEST, _DEGREES),
            window(late, _HOURS) - _HOURS / 24,
            (WINDIEST - calm) ** 2 / (2 * _WIND * (WINDIEST - CALMEST))
            - np.maximum(0, wind - calm) / _WIND,
        )
        minds = np.moveaxis(self.user_minds[users], -1, 0)
        return self.extrinsic_weight * np.sum(
            [mind * fit for mind, fit in zip(minds, fits, strict=True)], axis=0
        )


def hour_of(time: pd.Series) -> pd.Series:
    """Returns the hour of the day of each time, with its fraction."""
    time = pd.to_datetime(time)
    return (time - time.dt.normalize()) / pd.Timedelta(hours=1)


def plant_outings(
    num_users: int = 500,
    num_items: int = 300,
    num_interactions: int = 20_000,
    seed: int = 0,
    *,
    intrinsic_weight: float = 7.0,
    extrinsic_weight: float = 4.0,
    popularity_weight: float = 0.8,
    correlation: float = 0.5,
    repeat: float = 0.1,
    noise: float = 0.05,
    max_cells: int = MAX_CELLS,
) -> Outings:
    """Plants outings and draws interactions from them.

    A share of the interactions repeats an earlier one of the same user, any of them alike
    and whatever the context, another share is of any item; all others are drawn exactly
    from the softmax of the scores over the whole catalogue.

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
        correlation: How much the temperatures, hours and winds that a user is in are the
            user's own: their correlation, as normal scores, with the user's home. At 0,
            who is in which context is left to chance; at 1, a user is always in the same.
        repeat: The share of repeats of all interactions but a user's first.
        noise: The share of interactions with items that are drawn at random.
        max_cells: Bound on the entries of a temporary matrix.

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
        correlation=(correlation, 0, 1),
        repeat=(repeat, 0, 1),
        noise=(noise, 0, 1 - repeat),
        max_cells=(max_cells, 1, math.inf),
    )
    rng = np.random.default_rng(seed)
    topics = np.tile(np.arange(_TOPICS), (num_users, 1))
    interests = rng.permuted(topics, axis=1)[:, : len(_INTEREST)]
    budget, home = rng.random(num_users), rng.standard_normal((num_users, 3))
    topic, cost = rng.integers(_TOPICS, size=num_items), rng.random(num_items)
    ideal = rng.uniform(COLDEST, HOTTEST, num_items)
    calm = rng.uniform(CALMEST, WINDIEST, num_items)
    count = draw_counts(rng, num_users, num_interactions, num_interactions)
    user = np.arange(num_users).repeat(count)
    contexts = _draw_contexts(rng, user, home[user], correlation)
    users = _observe_users(rng, interests, budget, home)
    items = _observe_items(rng, topic, cost, ideal, calm)
    planted = Outings(
        users,
        items,
        contexts.assign(user=users['user'].array.take(user)),
        origin=_draw_origins(rng, user, repeat, noise),
        user_interests=interests,
        user_budget=budget,
        user_minds=rng.uniform(0, 2, (num_users, 3)),
        user_home=home,
        item_topic=topic,
        item_cost=cost,
        item_temperature=ideal,
        item_hour=rng.uniform(0, 24, num_items),
        item_wind=calm,
        item_appeal=draw_popularity(rng, num_items, popularity_weight),
        intrinsic_weight=intrinsic_weight,
        extrinsic_weight=extrinsic_weight,
    )
    item = _draw_items(rng, planted, user, max(1, max_cells // num_items))
    table = planted.interactions
    table.insert(0, 'user', table.pop('user'))
    table.insert(1, 'item', items['item'].array.take(item))
    return planted


def _draw_contexts(
    rng: Rng, user: Ints, home: Floats, correlation: float
) -> pd.DataFrame:
    """Returns contexts by user and time: of all users together, uniform."""
    noise = rng.standard_normal(home.shape)
    score = correlation * home + math.sqrt(1 - correlation**2) * noise
    warmth, hour, wind = ndtr(score).T
    day = rng.integers(_DAYS, size=len(user))
    seconds = 86_400 * day + np.floor(86_400 * hour).clip(max=86_399).astype(int)
    order = np.lexsort((seconds, user))
    start = pd.Timestamp('2024-01-01')
    return pd.DataFrame(
        {
            'temperature': (COLDEST + (HOTTEST - COLDEST) * warmth)[order],
            'wind': (CALMEST + (WINDIEST - CALMEST) * wind)[order],
            'time': start + pd.to_timedelta(seconds[order], unit='s'),
        }
    )


def _draw_origins(rng: Rng, user: Ints, repeat: float, noise: float) -> np.ndarray:
    """Returns what each interaction comes from: a first one repeats nothing."""
    level = rng.random(len(user))
    first = np.append(True, user[1:] != user[:-1])
    origin = np.where(level < noise, 'noise', 'choice')
    repeats = (level >= 1 - repeat) & ~first
    return np.where(repeats, 'repeat', origin)


def _draw_items(rng: Rng, planted: Outings, user: Ints, step: int) -> Ints:
    """Returns the item of each interaction."""
    num_items = len(planted.items)
    item = rng.integers(num_items, size=len(user))
    choices = np.flatnonzero(planted.origin == 'choice')
    for first in range(0, len(choices), step):
        rows = choices[first : first + step]
        chances = planted.probabilities(user[rows], planted.interactions.iloc[rows])
        steps = chances.cumsum(axis=1)
        level = rng.random(len(rows)) * steps[:, -1]
        item[rows] = (steps[:, :-1] <= level[:, None]).sum(axis=1)

    # A repeat points to an earlier row of the user, until that is none itself.
    rank = np.arange(len(user))
    start = np.searchsorted(user, user)
    earlier = start + np.floor(rng.random(len(user)) * (rank - start)).astype(int)
    source = np.where(planted.origin == 'repeat', earlier, rank)
    while (source != source[source]).any():
        source = source[source]
    return item[source]


def _observe_users(
    rng: Rng, interests: Ints, budget: Floats, home: Floats
) -> pd.DataFrame:
    """Returns the table of users: features that hint at interests, budget and home."""
    count = len(budget)
    hints = name_codes('subject', confuse(rng, interests // 3, _TOPICS // 3))
    lengths = rng.integers(1, 3, size=count)
    region = np.floor(_REGIONS * ndtr(home[:, 0])).astype(int)
    spending = 100 * np.exp(2 * budget + 0.3 * rng.standard_normal(count))
    return pd.DataFrame(
        {
            'user': [f'u{row}' for row in range(count)],
            'region': name_codes('region', confuse(rng, region, _REGIONS)),
            'spending': spending.round(2),
            'likes': [
                sorted({*row[:n]}) for row, n in zip(hints.tolist(), lengths, strict=True)
            ],
        }
    )


def _observe_items(
    rng: Rng, topic: Ints, cost: Floats, ideal: Floats, calm: Floats
) -> pd.DataFrame:
    """Returns the table of items: features that hint at all but the hour."""
    count = len(topic)
    blurred = ideal + 4 * rng.standard_normal(count)
    ends = np.linspace(COLDEST, HOTTEST, _SEASONS + 1)
    season = np.digitize(blurred, ends[1:-1])
    shelter = (calm - CALMEST) / (WINDIEST - CALMEST) + 0.2 * rng.standard_normal(count)
    price = 10 * np.exp(2 * cost + 0.3 * rng.standard_normal(count))
    return pd.DataFrame(
        {
            'item': [f'i{row}' for row in range(count)],
            'subject': name_codes('subject', confuse(rng, topic // 3, _TOPICS // 3)),
            'topic': name_codes('topic', confuse(rng, topic, _TOPICS)),
            'season': name_codes('season', season),
            'shelter': shelter.round(2),
            'price': price.round(2),
        }
    )
