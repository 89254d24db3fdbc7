"""Means over lists and over groups of them, and their bootstrap intervals."""

import numpy as np
import pandas as pd
import pytest

from iedr_geo.evaluation import Evaluation

METRICS = ['ndcg@10', 'recall@10']


def make_evaluation(num_lists: int, seed: int = 0, every: int = 0) -> Evaluation:
    """Random metrics; where :obj:`every` is given, each so many-th list is empty."""
    draws = np.random.default_rng(seed)
    per_list = pd.DataFrame(
        {
            'user': [f'u{i}' for i in range(num_lists)],
            'context': np.arange(num_lists) * 1000,
            'ndcg@10': draws.beta(2, 1, size=num_lists),
            'recall@10': draws.integers(2, size=num_lists).astype(float),
        }
    )
    if every:
        per_list.loc[::every, METRICS] = np.nan
    return Evaluation({}, per_list)


def assert_interval(row: pd.Series, values: pd.Series | np.ndarray, z: float) -> None:
    """With many lists, the bootstrap is the standard error of the mean."""
    margin = z * np.std(values, ddof=1) / len(values) ** 0.5
    assert row['mean'] == pytest.approx(np.mean(values), rel=1e-12)
    assert row['mean'] - row['low'] == pytest.approx(margin, rel=0.1)
    assert row['high'] - row['mean'] == pytest.approx(margin, rel=0.1)


def test_intervals():
    evaluation = make_evaluation(800)
    one = evaluation.confidence_intervals(level=0.9)
    assert one.index.tolist() == METRICS
    for name in METRICS:
        assert_interval(one.loc[name], evaluation.per_list[name], z=1.6449)
    pd.testing.assert_frame_equal(one, evaluation.confidence_intervals(level=0.9))
    other = evaluation.confidence_intervals(level=0.9, seed=4)
    assert (one['mean'] == other['mean']).all() and (one['low'] != other['low']).any()
    assert_interval(
        evaluation.confidence_intervals().loc[METRICS[0]],
        evaluation.per_list[METRICS[0]],
        z=1.96,
    )
    equal = Evaluation({}, evaluation.per_list[:20].assign(**{'ndcg@10': 0.25}))
    assert (equal.confidence_intervals(num_samples=9).loc['ndcg@10'] == 0.25).all()


def test_lists_without_a_positive():
    """Neither their number nor their place matters, even if they are most of all; over
    all lists they count as zero.
    """
    evaluation = make_evaluation(5)
    empty = evaluation.per_list.copy()
    empty[METRICS] = np.nan
    mixed = pd.concat([empty, evaluation.per_list, *[empty] * 8], ignore_index=True)
    mixed = Evaluation({}, mixed)
    intervals = evaluation.confidence_intervals(num_samples=50)
    pd.testing.assert_frame_equal(mixed.confidence_intervals(num_samples=50), intervals)
    for lists in (mixed.per_list, mixed.per_list.drop(columns='context')):
        assert Evaluation({}, lists).over_all_lists == pytest.approx(
            {name: evaluation.per_list[name].sum() / 50 for name in METRICS}
        )


def test_difference_is_that_of_pairs():
    """Two models that fail on the same lists differ by more than each one's noise."""
    one, other = make_evaluation(300), make_evaluation(300)
    gain = 0.02 + 0.01 * np.random.default_rng(1).standard_normal(300)
    one.per_list['ndcg@10'] += gain
    other.per_list['mrr'] = 0.5  # Of one alone.
    difference = one.difference(other)
    assert difference.index.tolist() == METRICS
    row = difference.loc['ndcg@10']
    assert_interval(row, gain, z=1.96)
    back = other.difference(one).loc['ndcg@10', ['mean', 'low', 'high']]
    assert back.tolist() == pytest.approx([-row['mean'], -row['high'], -row['low']])
    assert (difference.loc['recall@10'] == 0).all()


def test_difference_needs_the_same_lists():
    """They are told apart by user and context, or by the user alone."""
    full = make_evaluation(30), make_evaluation(30, seed=1)
    one, other = (Evaluation({}, e.per_list.drop(columns='context')) for e in full)
    pd.testing.assert_frame_equal(
        one.difference(other, num_samples=50), full[0].difference(full[1], num_samples=50)
    )
    assert one.confidence_intervals(num_samples=9).index.tolist() == METRICS
    other.per_list.loc[3, 'user'] = 'someone else'
    turned = Evaluation({}, full[1].per_list.iloc[::-1].reset_index(drop=True))
    for mine, theirs, size in (
        (one, other, 30),
        (one, full[0], 30),
        (full[0], turned, 30),
        (full[0], make_evaluation(4), 4),
    ):
        with pytest.raises(ValueError, match=f'same lists.*30 and {size} lists'):
            mine.difference(theirs)


@pytest.mark.parametrize(
    'make',
    [
        list,
        np.array,
        lambda groups: pd.Series(groups, index=range(100, 60, -1)),  # By place.
        lambda groups: pd.Categorical(groups, categories=['z', 'x', 'never', 'y']),
    ],
)
def test_each_group_is_an_evaluation_of_its_own(make):
    evaluation = make_evaluation(40, every=9)
    groups = make([('x', 'y', 'x', 'z', 'x')[i % 5] for i in range(40)])
    table = evaluation.by(groups, level=0.9, num_samples=50, seed=3)
    order = 'zxy' if isinstance(groups, pd.Categorical) else 'xyz'
    assert table.index.tolist() == [(m, group) for m in METRICS for group in order]
    assert list(table) == ['lists', 'mean', 'low', 'high']
    for group in order:
        own = evaluation.per_list[[name == group for name in groups]]
        expected = Evaluation({}, own).confidence_intervals(0.9, 50, 3)
        for metric in METRICS:
            row = table.loc[metric].loc[group]
            assert row['lists'] == own[metric].notna().sum() < len(own)
            assert row[['mean', 'low', 'high']].tolist() == expected.loc[metric].tolist()


def test_groups_without_anything_to_be_found_and_without_a_label():
    evaluation = make_evaluation(10, every=9)
    groups = ['none', *[None] * 3, *['some'] * 5, 'none']  # Lists 0 and 9 are empty.
    table = evaluation.by(groups, num_samples=20).loc['ndcg@10']
    assert table['lists'].tolist() == [0, 5, 3]
    assert table.loc['none', ['mean', 'low', 'high']].isna().all()
    assert table.iloc[2]['mean'] == evaluation.per_list['ndcg@10'][1:4].mean()
    for size in (0, 9, 11):
        with pytest.raises(ValueError, match=rf'each of the 10 lists \(got {size}\)'):
            evaluation.by(['a'] * size)
