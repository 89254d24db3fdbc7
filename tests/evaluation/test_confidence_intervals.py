"""Bootstrap intervals over lists."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from iedr_geo.evaluation import Evaluation


def make_evaluation(num_lists: int, seed: int = 0) -> Evaluation:
    draws = np.random.default_rng(seed)
    per_list = pd.DataFrame(
        {
            'user': [f'u{i}' for i in range(num_lists)],
            'context': np.arange(num_lists) * 1000,
            'ndcg@10': draws.beta(2, 1, size=num_lists),
            'recall@10': draws.integers(2, size=num_lists).astype(float),
        }
    )
    return Evaluation({}, per_list)


def test_agrees_with_the_normal_approximation():
    """With many lists, the bootstrap is the standard error of the mean."""
    evaluation = make_evaluation(800)
    intervals = evaluation.confidence_intervals(level=0.9)
    assert intervals.index.tolist() == ['ndcg@10', 'recall@10']
    for name in intervals.index:
        values = evaluation.per_list[name]
        margin = 1.6449 * values.std() / len(values) ** 0.5
        row = intervals.loc[name]
        assert row['mean'] == pytest.approx(values.mean(), rel=1e-12)
        assert row['low'] < row['mean'] < row['high']
        assert row['mean'] - row['low'] == pytest.approx(margin, rel=0.1)
        assert row['high'] - row['mean'] == pytest.approx(margin, rel=0.1)


def test_seed():
    evaluation = make_evaluation(50)
    one = evaluation.confidence_intervals(seed=3)
    pd.testing.assert_frame_equal(one, evaluation.confidence_intervals(seed=3))
    other = evaluation.confidence_intervals(seed=4)
    assert (one['mean'] == other['mean']).all()
    assert (one['low'] != other['low']).any()


def test_narrower_with_more_lists_and_a_lower_level():
    def width(evaluation: Evaluation, level: float) -> pd.Series:
        intervals = evaluation.confidence_intervals(level)
        return intervals['high'] - intervals['low']

    few = make_evaluation(60)
    many = Evaluation({}, pd.concat([few.per_list] * 16, ignore_index=True))
    # The same values sixteen times: a quarter of the width.
    ratio = width(many, 0.95) / width(few, 0.95)
    assert ratio.tolist() == pytest.approx([0.25, 0.25], rel=0.1)
    assert (width(few, 0.5) < width(few, 0.95)).all()


def test_lists_without_a_positive_do_not_count():
    """Neither their number nor their place matters, even if they are most of all."""
    evaluation = make_evaluation(5)
    empty = evaluation.per_list.copy()
    empty[['ndcg@10', 'recall@10']] = np.nan
    mixed = pd.concat([empty, evaluation.per_list, *[empty] * 8], ignore_index=True)
    pd.testing.assert_frame_equal(
        Evaluation({}, mixed).confidence_intervals(), evaluation.confidence_intervals()
    )


def test_equal_lists_have_no_width():
    per_list = make_evaluation(20).per_list.assign(**{'ndcg@10': 0.25, 'recall@10': 1.0})
    intervals = Evaluation({}, per_list).confidence_intervals()
    assert (intervals.loc['ndcg@10'] == 0.25).all()
    assert (intervals.loc['recall@10'] == 1).all()


def test_difference_is_that_of_pairs():
    """Two models that fail on the same lists differ by more than each one's noise."""
    one, other = make_evaluation(300), make_evaluation(300)
    draws = np.random.default_rng(1)
    gain = 0.02 + 0.01 * draws.standard_normal(300)
    one.per_list['ndcg@10'] += gain
    row = one.difference(other).loc['ndcg@10']
    margin = 1.96 * gain.std(ddof=1) / 300**0.5
    assert row['mean'] == pytest.approx(gain.mean(), rel=1e-12)
    assert row['mean'] - row['low'] == pytest.approx(margin, rel=0.1)
    assert row['high'] - row['mean'] == pytest.approx(margin, rel=0.1)
    back = other.difference(one).loc['ndcg@10']
    assert back[['mean', 'low', 'high']].tolist() == pytest.approx(
        [-row['mean'], -row['high'], -row['low']]
    )
    assert (one.difference(other).loc['recall@10'] == 0).all()


def test_difference_needs_the_same_lists():
    one, other = make_evaluation(5), make_evaluation(5)
    turned = Evaluation({}, other.per_list.iloc[::-1].reset_index(drop=True))
    with pytest.raises(ValueError, match=r'same lists.*5 and 5'):
        one.difference(turned)
    with pytest.raises(ValueError, match='5 and 4'):
        one.difference(make_evaluation(4))


def test_difference_of_common_metrics():
    one, other = make_evaluation(5), make_evaluation(5, seed=1)
    other.per_list['mrr'] = 0.5
    assert one.difference(other).index.tolist() == ['ndcg@10', 'recall@10']


def test_over_all_lists():
    """Lists with nothing to be found count as zero, where the mean leaves them out."""
    per_list = pd.DataFrame(
        {
            'user': [3, 1, 2, 0],
            'context': [9, 9, 9, 9],
            'recall@1': [1.0, np.nan, 0.5, np.nan],
            'mrr@1': [1.0, np.nan, 0.25, np.nan],
        }
    )
    expected = {'recall@1': 1.5 / 4, 'mrr@1': 1.25 / 4}
    for lists in (per_list, per_list.drop(columns='context')):
        evaluation = Evaluation({}, lists)
        assert evaluation.over_all_lists == expected
        assert evaluation.confidence_intervals()['mean'].tolist() == [0.75, 0.625]
        assert evaluation.per_list['recall@1'].isna().sum() == 2


def test_lists_without_context():
    """They are told apart by the user alone; the user is no metric."""
    full = make_evaluation(30), make_evaluation(30, seed=1)
    one, other = (Evaluation({}, e.per_list.drop(columns='context')) for e in full)
    pd.testing.assert_frame_equal(
        one.difference(other, num_samples=50), full[0].difference(full[1], num_samples=50)
    )
    assert one.confidence_intervals(num_samples=9).index.tolist() == [
        'ndcg@10',
        'recall@10',
    ]
    other.per_list.loc[3, 'user'] = 'someone else'
    with pytest.raises(ValueError, match='same lists'):
        one.difference(other)
    with pytest.raises(ValueError, match='same lists'):
        one.difference(full[0])
