"""Evaluation of candidate lists against loops, scikit-learn and closed forms."""

from __future__ import annotations

from math import log2

import numpy as np
import pandas as pd
import pytest
import torch
from orders import expectation
from shop import make_model
from sklearn.metrics import ndcg_score, roc_auc_score

from iedr_geo.data import CandidateLists
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.metrics import MRR, NDCG, HitRatio, Recall
from iedr_geo.scoring import scorer as make_scorer

DEFAULT = ['ndcg@5', 'ndcg@10', 'recall@5', 'recall@10']


def make_lists(rows, owners) -> CandidateLists:
    """Builds lists from (list, item, target) in any order and (user, context)."""
    index, item, target = torch.tensor(rows).t()
    user, context = torch.tensor(owners).t()
    return CandidateLists(user, context, item, target, index)


@pytest.fixture
def ragged() -> CandidateLists:
    """Ragged lists in shuffled rows; items repeat, and so does one to be found."""
    owners = [(4, 0), (1, 3), (1, 2), (0, 1), (5, 3)]
    contents = [
        [(3, 1), (3, 0), (7, 0), (1, 0), (0, 0)],  # 3 is to be found, and a negative.
        [(2, 0), (8, 1)],
        [(6, 0), (6, 0), (0, 1), (5, 0), (4, 0), (2, 0)],
        [(1, 1), (2, 1), (3, 0), (4, 0), (8, 0), (0, 0), (6, 0)],  # Two to be found.
        [(5, 0), (7, 1), (1, 0)],
    ]
    rows = [
        (i, item, target)
        for i, content in enumerate(contents)
        for item, target in content
    ]
    return make_lists([rows[i] for i in torch.randperm(len(rows)).tolist()], owners)


def loop(scorer_table, lists):
    """Yields scores and targets of each list, read row by row."""
    for i, (user, context) in enumerate(
        zip(lists.user.tolist(), lists.context.tolist(), strict=True)
    ):
        rows = [r for r in range(lists.item.numel()) if lists.list_index[r] == i]
        scores = [float(scorer_table[user, lists.item[r], context]) for r in rows]
        yield np.array(scores), np.array([int(lists.target[r]) for r in rows])


def test_agrees_with_a_loop_and_sklearn(dataset, ragged, table, scorer, device):
    metrics = [NDCG(1), NDCG(3), NDCG(10), Recall(1), Recall(2), Recall(10)]
    expected, all_scores, all_targets = [], [], []
    for scores, targets in loop(table, ragged):
        row = {f'ndcg@{k}': ndcg_score([targets], [scores], k=k) for k in (1, 3, 10)}
        row |= {m.name: expectation(m, scores, targets) for m in metrics[3:]}
        expected.append(row)
        all_scores += scores.tolist()
        all_targets += targets.tolist()
    expected = pd.DataFrame(expected)
    for model in (scorer, make_scorer(scorer, dataset.to(device))):
        result = evaluate_candidates(model, dataset.to(device), ragged, metrics)
        pd.testing.assert_frame_equal(
            result.per_list.drop(columns=['user', 'context']), expected, rtol=1e-12
        )
        assert result.metrics == pytest.approx(
            {**expected.mean(), 'auc': roc_auc_score(all_targets, all_scores)}, rel=1e-12
        )
    # Users go by the ids of the user's own tables: 3, 0, 5, 1, 4, 2.
    assert result.per_list['user'].tolist() == ['4', '0', '0', '3', '2']
    assert result.per_list['context'].tolist() == [0, 3, 2, 1, 3]
    assert str(result).startswith(f'ndcg@1 {result.metrics["ndcg@1"]:.4f}  ndcg@3 ')


def test_order_of_rows_does_not_matter(dataset, ragged, scorer):
    order = torch.randperm(ragged.item.numel())
    shuffled = CandidateLists(
        ragged.user,
        ragged.context,
        ragged.item[order],
        ragged.target[order],
        ragged.list_index[order],
    )
    one, two = (evaluate_candidates(scorer, dataset, x) for x in (ragged, shuffled))
    pd.testing.assert_frame_equal(one.per_list, two.per_list, check_exact=True)
    assert one.metrics == two.metrics


def test_all_scores_tied(dataset, device):
    """A constant model ranks at random: in expectation, not by luck of the order."""
    contents = {0: 10, 1: 10, 2: 25}
    rows = [(i, r % 9, int(r == 7)) for i, n in contents.items() for r in range(n)]
    lists = make_lists(rows, [(0, 0), (1, 1), (2, 2)])

    def constant(batch):
        return torch.full((len(batch),), 0.25, device=device)

    result = evaluate_candidates(constant, dataset.to(device), lists)
    for i, n in contents.items():
        for k in (5, 10):
            gain = sum(1 / log2(r + 1) for r in range(1, k + 1)) / n
            assert result.per_list[f'ndcg@{k}'][i] == pytest.approx(gain, rel=1e-12)
            assert result.per_list[f'recall@{k}'][i] == pytest.approx(k / n, rel=1e-12)
    assert result.metrics['auc'] == 0.5


def test_recurring_positive_ties_with_itself(dataset):
    """The item to be found comes twice, once as a negative: one order in two is right."""
    lists = make_lists([(0, 4, 1), (0, 4, 0), (0, 2, 0)], [(0, 0)])

    def by_item(batch):
        return batch.item_id.float()

    metrics = [Recall(1), Recall(2), NDCG(2), MRR(3), HitRatio(1)]
    result = evaluate_candidates(by_item, dataset, lists, metrics).metrics
    assert result['recall@1'] == result['hit_ratio@1'] == 0.5
    assert result['recall@2'] == 1
    assert result['ndcg@2'] == pytest.approx((1 + 1 / log2(3)) / 2, rel=1e-12)
    assert result['mrr@3'] == pytest.approx((1 + 1 / 2) / 2, rel=1e-12)
    assert result['auc'] == 0.75  # Half a win over itself, one over the other.


@pytest.mark.parametrize('score', [lambda i: 1 + i.double() * 1e-12, lambda i: 2**40 + i])
def test_scores_keep_their_precision(dataset, score):
    """Scores that differ in double precision alone, or as large integers, are no tie."""
    lists = make_lists([(0, 0, 0), (0, 1, 1)], [(0, 0)])

    def model(batch):
        return score(batch.item_id)

    result = evaluate_candidates(model, dataset, lists, [Recall(1)])
    assert result.metrics == {'recall@1': 1, 'auc': 1}


def test_list_without_a_positive_is_left_out_of_the_mean(dataset, scorer, ragged):
    owners = [*zip(ragged.user.tolist(), ragged.context.tolist(), strict=True), (0, 0)]
    user, context = torch.tensor([*owners, (2, 2)]).t()
    extra = torch.tensor([4, 5, 6])  # A list of negatives alone, and one without rows.
    lists = CandidateLists(
        user,
        context,
        torch.cat([ragged.item, extra]),
        torch.cat([ragged.target, torch.zeros(3, dtype=torch.long)]),
        torch.cat([ragged.list_index, torch.full((3,), 5)]),
    )
    without, result = (evaluate_candidates(scorer, dataset, x) for x in (ragged, lists))
    assert len(result.per_list) == len(lists) == 7
    assert result.per_list.loc[5:, DEFAULT].isna().all(axis=None)
    pd.testing.assert_frame_equal(result.per_list[:5], without.per_list)
    for name in DEFAULT:
        assert result.metrics[name] == without.metrics[name]


def test_a_model_ranks_as_its_plain_form(dataset, ragged, device):
    """Edge by edge, one row at a time."""
    model = make_model(dataset.schema).to(device)

    def plain(batch):
        return model(batch.expand())

    result = evaluate_candidates(model, dataset, ragged)
    expected = evaluate_candidates(plain, dataset.to(device), ragged)
    pd.testing.assert_frame_equal(result.per_list, expected.per_list, rtol=1e-6)
    assert dataset.user.device.type == 'cpu'  # The caller's data stay where they were.


def test_nan_scores_are_refused(dataset, ragged):
    def broken(batch):
        return torch.full((len(batch),), torch.nan)

    with pytest.raises(ValueError, match='23 of 23 scores are NaN'):
        evaluate_candidates(broken, dataset, ragged)
