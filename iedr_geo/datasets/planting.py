"""What worlds with planted factors have in common."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import softmax

Floats = NDArray[np.float64]
Ints = NDArray[np.integer[Any]]
Rng = np.random.Generator

MIN_RECORDS = 8
# Bound on the entries of a temporary matrix: 8 MB in double precision.
MAX_CELLS = 1_000_000


def check_ranges(**ranges: tuple[float, float, float]) -> None:
    """Raises an error that names an argument that is not finite or out of its range.

    Args:
        **ranges: The value of each argument, and the least and the greatest it may have.
    """
    for name, (value, least, greatest) in ranges.items():
        if not least <= value <= greatest or value == math.inf:
            raise ValueError(f'`{name}` must be from {least} to {greatest} (got {value})')


def draw_counts(rng: Rng, num_users: int, total: int, most: int) -> Ints:
    """Returns the number of records of each user: few users are very active."""
    activity = rng.lognormal(sigma=0.8, size=num_users)
    count = np.full(num_users, MIN_RECORDS)
    while left := total - count.sum():
        weight = activity * (count < most)
        count = np.minimum(count + rng.multinomial(left, weight / weight.sum()), most)
    return count


def draw_popularity(rng: Rng, num_items: int, weight: float) -> Floats:
    """Returns the appeal of each item to everyone: a few items are popular."""
    # An exponential with its tail cut, or a few items of a large catalogue would
    # outdo all the rest.
    return -weight * np.log(rng.uniform(0.01, 1, num_items))


def draw_distinct(
    rng: Rng,
    scores: Callable[[Ints, Ints], tuple[Floats, ...]],
    count: Ints,
    num_items: int,
    max_cells: int,
) -> tuple[Ints, Ints]:
    """Returns users and items of as many records as each user has, none twice.

    The items with the highest sums of score and Gumbel noise are a draw without
    replacement by the softmax of the scores. Works on blocks of users, which bounds the
    memory.

    Args:
        rng: The generator.
        scores: Returns the parts of the score, broadcast over users and items.
        count: The number of records of each user.
        num_items: The number of items.
        max_cells: The bound on the entries of a temporary matrix.
    """
    items = np.arange(num_items)
    records = []
    step = max(1, max_cells // num_items)
    for first in range(0, len(count), step):
        users = np.arange(first, min(first + step, len(count)))
        keys = sum(scores(users[:, None], items)) + rng.gumbel(
            size=(len(users), num_items)
        )
        least = np.sort(keys, axis=1)[np.arange(len(users)), -count[users]]
        user, item = np.nonzero(keys >= least[:, None])
        records.append((users[user], item))
    user, item = map(np.concatenate, zip(*records, strict=True))
    return user, item


def name_codes(prefix: str, codes: Ints) -> NDArray[np.str_]:
    """Returns codes as values of a column."""
    return np.char.add(prefix, codes.astype(str))


def confuse(rng: Rng, codes: Ints, count: int) -> Ints:
    """Returns codes of which a quarter is replaced by any code."""
    noise = rng.integers(count, size=codes.shape)
    return np.where(rng.random(codes.shape) < 0.25, noise, codes)


@dataclass(frozen=True, eq=False)
class PlantedTables(ABC):
    """Observed tables, and the scores that items were drawn by.

    Attributes:
        users: ``user`` and what is observed of each user.
        items: ``item`` and what is observed of each item.
        interactions: ``user``, ``item``, the context columns and ``time``, by
            user and time.
    """

    users: pd.DataFrame
    items: pd.DataFrame
    interactions: pd.DataFrame

    @abstractmethod
    def intrinsic_scores(self, users: Ints, items: Ints) -> Floats:
        """Returns true intrinsic scores, broadcast over rows of the tables."""

    @abstractmethod
    def extrinsic_scores(
        self, users: Ints, items: Ints, contexts: pd.DataFrame
    ) -> Floats:
        """Returns true extrinsic scores, broadcast over rows of the tables.

        Args:
            users: Rows of users.
            items: Rows of items.
            contexts: Context columns, one row per element of ``users``.

        Returns:
            Scores in the broadcast shape of ``users`` and ``items``.
        """

    @property
    @abstractmethod
    def popularity(self) -> Floats:
        """The appeal of each item to everyone, as a score."""

    @property
    def temperature(self) -> float:
        """The divisor of scores before the softmax."""
        return 1.0

    def scores(self, users: Ints, items: Ints, contexts: pd.DataFrame) -> Floats:
        """Returns the scores items are drawn by: both parts and popularity.

        Args:
            users: Rows of users.
            items: Rows of items.
            contexts: Context columns, one row per element of ``users``.

        Returns:
            Scores in the broadcast shape of ``users`` and ``items``.
        """
        return (
            self.intrinsic_scores(users, items)
            + self.extrinsic_scores(users, items, contexts)
            + self.popularity[items]
        )

    def probabilities(self, users: Ints, contexts: pd.DataFrame) -> Floats:
        """Returns the true choice probabilities over the whole catalogue.

        Args:
            users: Rows of users, one axis.
            contexts: Context columns, one row per user.

        Returns:
            One row per user and one column per item; rows sum to 1.
        """
        catalogue = np.arange(len(self.items))
        scores = self.scores(np.asarray(users)[:, None], catalogue, contexts)
        chances: Floats = softmax(scores / self.temperature, axis=1)
        return chances


def check_contexts(users: Ints, contexts: pd.DataFrame) -> None:
    """Raises an error if there is not one context per user."""
    if len(contexts) != users.size:
        raise ValueError(f'contexts has {len(contexts)} rows for {users.size} users')
