"""The ranking quality of a model, with its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


def _bootstrap(
    values: pd.DataFrame, level: float, num_samples: int, seed: int
) -> pd.DataFrame:
    values = values.dropna(how='all')
    if values.empty:
        return pd.DataFrame(np.nan, index=values.columns, columns=['mean', 'low', 'high'])
    draws = np.random.default_rng(seed)
    means = np.empty((num_samples, values.shape[1]))
    for i in range(num_samples):
        rows = draws.integers(len(values), size=len(values))
        means[i] = np.nanmean(values.to_numpy()[rows], axis=0)
    tail = (1 - level) / 2
    low, high = np.quantile(means, (tail, 1 - tail), axis=0)
    return pd.DataFrame(
        {'mean': values.mean(), 'low': low, 'high': high}, index=values.columns
    )


@dataclass(frozen=True)
class Evaluation:
    """The ranking quality of a model.

    Args:
        metrics: The value of each metric: the mean over lists, and the AUC over all rows.
        per_list: A row for each list, with its user, its context if it has one, and its
            metrics, which are missing where there is nothing to be found.
        lists_left_out: The number of lists with nothing to be found because their user
            has had all of it before.
        note: What else there is to know of the rankings, in sentences.
        strangers: The number of users of a graph who have nothing to be found and have
            had nothing: they have rows, but are of other parts of a split.
    """

    metrics: dict[str, float]
    per_list: pd.DataFrame
    lists_left_out: int = 0
    note: str = ''
    strangers: int = 0

    @property
    def _keys(self) -> list[str]:
        return [name for name in ('user', 'context') if name in self.per_list]

    @property
    def _values(self) -> pd.DataFrame:
        return self.per_list.drop(columns=self._keys)

    @property
    def over_all_lists(self) -> dict[str, float]:
        """The mean of each metric where lists with nothing to be found count as zero, but
        for those of :obj:`strangers`.
        """
        totals = self._values.sum() / max(1, len(self.per_list) - self.strangers)
        return {str(name): float(value) for name, value in totals.items()}

    def confidence_intervals(
        self, level: float = 0.95, num_samples: int = 2000, seed: int = 0
    ) -> pd.DataFrame:
        """Returns the mean of each metric of a list with its bootstrap interval.

        Lists without a positive count in neither.

        Args:
            level: The probability that the interval is to cover.
            num_samples: The number of times that the lists are drawn again.
            seed: The seed of the draws.
        """
        return _bootstrap(self._values, level, num_samples, seed)

    def by(
        self,
        groups: pd.Series | np.ndarray | Sequence[Any],
        level: float = 0.95,
        num_samples: int = 2000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Returns the mean of each metric with its bootstrap interval, by group of lists.

        For each metric the table has a row for each group, with the number of its lists
        in which there is something to be found, which alone count.

        Args:
            groups: The group of each list, in the order of :obj:`per_list`: a column, an
                array or a list of labels. A missing label is a group, too.
            level: The probability that an interval is to cover.
            num_samples: The number of times that the lists are drawn again.
            seed: The seed of the draws.

        Example:
            >>> new = np.where(split.is_new('test', 'user'), 'new', 'known')
            >>> result = evaluate_candidates(model, split.test, lists)
            >>> result.by(new)  # rows (metric, group); lists, mean, low, high
            >>> result.by(new).loc['ndcg@10']  # of new and of known users

        Raises:
            ValueError: If there are more or fewer labels than lists.
        """
        labels = pd.Series(groups).reset_index(drop=True)
        if len(labels) != len(self.per_list):
            raise ValueError(
                f'`groups` must have a label for each of the {len(self.per_list)} lists '
                f'(got {len(labels)})'
            )
        values = self._values.reset_index(drop=True)
        tables = {}
        for name, part in values.groupby(labels, observed=True, dropna=False):
            tables[name] = _bootstrap(part, level, num_samples, seed)
            tables[name].insert(0, 'lists', part.notna().sum())
        table: pd.DataFrame = pd.concat(tables, names=['group', 'metric']).swaplevel()
        return table.loc[list(values)]

    def difference(
        self,
        other: Evaluation,
        level: float = 0.95,
        num_samples: int = 2000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Returns by how much each metric of a list is higher than another model's, with
        its paired bootstrap interval: both models are seen on the same lists.

        A model is better beyond chance where the interval does not hold zero.

        Args:
            other: The other model's evaluation on the same lists.
            level: The probability that the interval is to cover.
            num_samples: The number of times that the lists are drawn again.
            seed: The seed of the draws.

        Raises:
            ValueError: If the two are not on the same lists.
        """
        if not self.per_list[self._keys].equals(other.per_list[other._keys]):
            raise ValueError(
                f'The evaluations must be of the same lists, in the same order (got '
                f'{len(self.per_list)} and {len(other.per_list)} lists)'
            )
        ours, theirs = self._values, other._values
        common = [name for name in ours if name in theirs]
        return _bootstrap(ours[common] - theirs[common], level, num_samples, seed)

    def __str__(self) -> str:
        values = '  '.join(f'{name} {value:.4f}' for name, value in self.metrics.items())
        return f'{values}\n{self.note}' if self.note else values
