"""Several models on the same lists, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp

from iedr_geo.evaluation.evaluation import Evaluation

DIFFERENCE = {'mean': 'difference', 'low': 'difference_low', 'high': 'difference_high'}


def _p(ours: pd.Series, theirs: pd.Series) -> float:
    """The probability of a mean difference as large as this between equal models."""
    difference = (ours - theirs).dropna().to_numpy()
    if not difference.any():
        return 1.0
    if np.allclose(difference, difference[0], rtol=1e-9, atol=0):
        return float(2.0 ** (1 - len(difference)))
    return float(ttest_1samp(difference, 0).pvalue)


def _holm(p: pd.Series) -> pd.Series:
    """The p values of one family of tests, corrected; missing ones stay missing."""
    ranked = p.dropna().sort_values()
    remaining = np.arange(len(ranked), 0, -1)
    return (ranked * remaining).cummax().clip(upper=1).reindex(p.index)


def _common_metrics(
    evaluations: Mapping[str, Evaluation], metrics: Sequence[str] | None
) -> list[str]:
    names = {name: list(map(str, e._values)) for name, e in evaluations.items()}
    if metrics is None:
        first, *others = names.values()
        return [metric for metric in first if all(metric in other for other in others)]
    for metric, (name, own) in product(metrics, names.items()):
        if metric not in own:
            raise ValueError(
                f"The evaluation of '{name}' has no metric '{metric}' of a list (it has "
                f'{", ".join(own)})'
            )
    return list(metrics)


def compare(
    evaluations: Mapping[str, Evaluation],
    reference: str | None = None,
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    num_samples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Compares models on the same lists.

    Lists with nothing to be found count in no column. The AUC over all rows is no metric
    of a list, and not in the table.

    :obj:`p` is that of the paired t-test: how often two equally good models would differ
    as much. On many rankings it is wrong about as often as it says, like the
    randomisation test, which takes much longer, and unlike the Wilcoxon and sign tests
    (`"Inference at Scale" <https://arxiv.org/abs/2305.02461>`_). It is not for a handful
    of lists. Where no list differs, it is 1; where all :math:`n` differ by the same,
    which a t-test takes for certain, it is that of all signs being equal,
    :math:`2^{1 - n}`.

    :obj:`p_corrected` is Holm's: among the models of a metric, the probability that any
    is below some :math:`\alpha` by chance is at most :math:`\alpha`. It does not correct
    for looking at several metrics. Lists count as independent, and with many of them the
    smallest difference is beyond chance: look at its size first.

    Args:
        evaluations: The evaluation of each model, by its name.
        reference: The model that the others are compared with (default: the first).
        metrics: The metrics to compare by (default: those that all evaluations have, in
            the order of the first).
        level: The probability that an interval is to cover.
        num_samples: The number of times that the lists are drawn again.
        seed: The seed of the draws.

    Returns:
        A row for each metric and model, with its :obj:`mean` and bootstrap interval
        (:obj:`low`, :obj:`high`), by how much it is higher than the reference's
        (:obj:`difference`) with its paired interval (:obj:`difference_low`,
        :obj:`difference_high`), :obj:`p` and :obj:`p_corrected`. The last five are
        missing for the reference itself.

    Raises:
        ValueError: If there is no evaluation, the reference is none of them, one lacks a
            metric, or two are not on the same lists.

    Example:
        >>> models = {'popularity': Popularity.fit(split.train), 'iedr': iedr}
        >>> table = compare(
        ...     {n: evaluate_candidates(m, split.test, lists) for n, m in models.items()}
        ... )
        >>> table.loc['ndcg@10']  # a row for each model
    """
    if not evaluations:
        raise ValueError('There is no evaluation to compare')
    if reference is None:
        reference = next(iter(evaluations))
    elif reference not in evaluations:
        names = str(list(evaluations)).strip('[]')
        raise ValueError(f"The reference '{reference}' is none of {names}")
    metrics = _common_metrics(evaluations, metrics)
    base = evaluations[reference]
    tables = {}
    for name, evaluation in evaluations.items():
        tables[name] = evaluation.confidence_intervals(level, num_samples, seed)
        if name == reference:
            continue
        try:
            difference = evaluation.difference(base, level, num_samples, seed)
        except ValueError as error:
            raise ValueError(f"'{name}' and '{reference}': {error}") from error
        tables[name] = tables[name].join(difference.rename(columns=DIFFERENCE))
        for metric in metrics:
            p = _p(evaluation.per_list[metric], base.per_list[metric])
            tables[name].loc[metric, 'p'] = p
    rows = pd.MultiIndex.from_product(
        [metrics, list(evaluations)], names=['metric', 'model']
    )
    columns = [*DIFFERENCE, *DIFFERENCE.values(), 'p']
    table = pd.concat(tables).swaplevel().reindex(index=rows, columns=columns)
    table['p_corrected'] = table.groupby(level='metric')['p'].transform(_holm)
    return table
