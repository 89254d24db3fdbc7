"""The quality of groups of lists."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from iedr_geo.data import CandidateLists, cold_start_split, given_split
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import Evaluation, evaluate_candidates
from iedr_geo.metrics import NDCG, Recall
from iedr_geo.nn import IEDR

METRICS = ['recall@1', 'ndcg@3']


def make_evaluation(num_lists: int = 40) -> Evaluation:
    draws = np.random.default_rng(0)
    per_list = pd.DataFrame(
        {
            'user': [f'u{i % 7}' for i in range(num_lists)],
            'context': np.arange(num_lists),
            **{name: draws.random(num_lists) for name in METRICS},
        }
    )
    per_list.loc[::9, METRICS] = np.nan  # Nothing to be found.
    return Evaluation({}, per_list)


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
    evaluation = make_evaluation()
    groups = [('x', 'y', 'x', 'z', 'x')[i % 5] for i in range(40)]
    table = evaluation.by(make(groups), level=0.9, num_samples=50, seed=3)
    order = (
        ['z', 'x', 'y'] if isinstance(make(groups), pd.Categorical) else ['x', 'y', 'z']
    )
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
    evaluation = make_evaluation(10)
    groups = ['none', *[None] * 3, *['some'] * 5, 'none']  # Lists 0 and 9 are empty.
    table = evaluation.by(groups, num_samples=20).loc['ndcg@3']
    assert table['lists'].tolist() == [0, 5, 3]
    assert table.loc['none', ['mean', 'low', 'high']].isna().all()
    assert table.iloc[2]['mean'] == evaluation.per_list['ndcg@3'][1:4].mean()
    whole = evaluation.by([True] * 10)
    pd.testing.assert_frame_equal(
        whole.droplevel('group').drop(columns='lists'),
        evaluation.confidence_intervals(),
        check_names=False,
    )


@pytest.mark.parametrize('size', [0, 9, 11])
def test_a_label_for_each_list(size):
    with pytest.raises(ValueError, match=rf'each of the 10 lists \(got {size}\)'):
        make_evaluation(10).by(['a'] * size)


def test_new_and_known_users():
    """Rows, lists and what is new stand in one order."""
    data = PlantedFactors(num_users=40, num_items=30, num_interactions=600)
    cold = cold_start_split(data, 'user', 0.2, 0.2)
    names = np.full(len(data), 'train', dtype=object)
    names[np.random.default_rng(0).random(len(data)) < 0.2] = 'test'
    names[np.isin(data.user.numpy(), cold.valid.user.numpy())] = 'valid'
    names[np.isin(data.user.numpy(), cold.test.user.numpy())] = 'test'
    split = given_split(data, names)
    new = split.is_new('test', 'user')
    assert 0 < new.sum() < len(new)
    lists = CandidateLists.sample(split.test, 9)
    model = IEDR(data.schema.num_embeddings, 4, 8)
    result = evaluate_candidates(model, split.test, lists, [NDCG(5), Recall(3)])
    table = result.by(np.where(new, 'new', 'known'), num_samples=20)
    train = {data.user_ids[user] for user in split.train.user.tolist()}
    fresh = ~result.per_list['user'].isin(train)
    for metric in ('ndcg@5', 'recall@3'):
        values = result.per_list[metric]
        assert table.loc[(metric, 'new'), 'mean'] == values[fresh].mean()
        assert table.loc[(metric, 'known'), 'mean'] == values[~fresh].mean()
        assert table.loc[metric]['lists'].tolist() == [(~new).sum(), new.sum()]
