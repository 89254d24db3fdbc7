"""Full ranking against brute force over all items."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import ndcg_score

from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import MRR, NDCG, HitRatio, Recall
from iedr_geo.nn import IEDR

METRICS = [NDCG(1), NDCG(3), Recall(2), Recall(9), HitRatio(2), MRR(9)]


def brute_force(table, rows, seen=None):
    """Ranks all items in a Python loop. No two scores are equal."""
    wanted: dict = {}
    labels = [1] * len(rows) if rows.y is None else rows.y.tolist()
    for user, item, context, y in zip(
        rows.user.tolist(), rows.item.tolist(), rows.context.tolist(), labels, strict=True
    ):
        if y == 1:
            wanted.setdefault((user, context), set()).add(item)
    had: set = set()
    if seen is not None and rows.exclude_seen:
        had = set(zip(seen.user.tolist(), seen.item.tolist(), strict=True))
    exists = range(rows.num_items) if rows.catalogue is None else rows.catalogue.tolist()
    result = []
    for (user, context), items in sorted(wanted.items()):
        ranking = [
            item
            for item in table[user, :, context].argsort(descending=True).tolist()
            if item in items or ((user, item) not in had and item in exists)
        ]
        places = [place for place, item in enumerate(ranking, 1) if item in items]
        targets = [int(item in items) for item in ranking]
        falling = list(range(len(ranking), 0, -1))
        row = {'user': rows.user_ids[user], 'context': context}
        for k in (1, 3):  # Padded: a ranking of a single item is beyond scikit-learn.
            row[f'ndcg@{k}'] = ndcg_score([[*targets, 0]], [[*falling, 0]], k=k)
        row['recall@2'] = sum(place <= 2 for place in places) / len(places)
        row['recall@9'] = 1.0
        row['hit_ratio@2'] = float(places[0] <= 2)
        row['mrr@9'] = 1 / places[0]
        result.append(row)
    return pd.DataFrame(result)


@pytest.mark.parametrize('exclude_seen', [True, False])
@pytest.mark.parametrize('with_seen', [True, False])
@pytest.mark.parametrize('batch_size', [1, 10, 10_000])
def test_agrees_with_brute_force(
    dataset, table, scorer, exclude_seen, with_seen, batch_size, device
):
    dataset.exclude_seen = exclude_seen
    rows, log = dataset[60:], dataset[:60]
    seen = log if with_seen else None
    expected = brute_force(table, rows, seen)
    hidden = brute_force(table, rows, None)
    assert expected.equals(hidden) != (exclude_seen and with_seen)
    assert len(expected) < len(rows)  # Some lists have several items to be found.
    result = evaluate_catalogue(
        scorer, rows.to(device), [seen] if seen else [], METRICS, batch_size=batch_size
    )
    pd.testing.assert_frame_equal(
        result.per_list, expected, rtol=1e-12, check_column_type=False, check_dtype=False
    )
    means = expected[[metric.name for metric in METRICS]].mean()
    assert result.metrics == pytest.approx(dict(means), rel=1e-12)


@pytest.mark.parametrize('with_seen', [True, False])
@pytest.mark.parametrize('batch_size', [10, 10_000])
def test_only_the_catalogue_is_ranked(
    dataset, table, scorer, with_seen, batch_size, device
):
    """Besides what is to be found; also when that was seen, or does not exist."""
    rows, log = dataset[60:], dataset[:60]
    whole = brute_force(table, rows, log if with_seen else None)
    rows.catalogue = torch.tensor([0, 2, 3, 7])
    assert not set(rows.item.tolist()) <= {0, 2, 3, 7}
    expected = brute_force(table, rows, log if with_seen else None)
    assert not expected.equals(whole)
    metrics = [metric for metric in METRICS if metric.k < 9]
    result = evaluate_catalogue(
        scorer, rows.to(device), [log] if with_seen else [], metrics, batch_size
    )
    pd.testing.assert_frame_equal(
        result.per_list,
        expected.drop(columns=['recall@9', 'mrr@9']),
        rtol=1e-12,
        check_column_type=False,
        check_dtype=False,
    )
    with pytest.raises(ValueError, match=r'recall@9, mrr@9: .* only 4 items'):
        evaluate_catalogue(scorer, rows, [], METRICS)


def test_only_positive_rows_are_to_be_found(labelled, table, scorer):
    expected = brute_force(table, labelled[60:], labelled[:60])
    result = evaluate_catalogue(scorer, labelled[60:], [labelled[:60]], METRICS)
    pd.testing.assert_frame_equal(
        result.per_list, expected, rtol=1e-12, check_column_type=False, check_dtype=False
    )


def test_item_to_be_found_stays_although_seen(dataset):
    """All items are seen, and only the one to be found is left: it comes first."""
    row = dataset[:1]
    everything = dataset[torch.zeros(9, dtype=torch.long)]
    everything.item = torch.arange(9)
    assert set(everything.user.tolist()) == set(row.user.tolist())

    def worst(batch):
        return -(batch.item_id == row.item).float()

    seen = [everything[:30], everything[30:]]
    result = evaluate_catalogue(worst, row, seen, [NDCG(1), Recall(1)])
    assert result.metrics == {'ndcg@1': 1, 'recall@1': 1}
    assert evaluate_catalogue(worst, row, [], [Recall(8)]).metrics['recall@8'] == 0


def test_what_others_have_seen_stays(dataset):
    """Another user's items are ranked, also where that user has the largest id."""
    row = dataset[:1]
    other = dataset[torch.zeros(9, dtype=torch.long)]
    other.item = torch.arange(9)
    for user in set(range(6)) - set(row.user.tolist()):
        other.user = torch.full((9,), user)

        def worst(batch):
            return -(batch.item_id == row.item).float()

        result = evaluate_catalogue(worst, row, [other], [Recall(8)])
        assert result.metrics['recall@8'] == 0


def test_several_items_for_one_user_and_context(dataset):
    """They are to be found together; a row that comes twice counts once."""
    rows = dataset[torch.zeros(4, dtype=torch.long)]
    rows.item = torch.tensor([2, 5, 5, 8])

    def by_item(batch):
        return batch.item_id.float()

    result = evaluate_catalogue(by_item, rows, [], [Recall(1), Recall(4), MRR(1)])
    assert len(result.per_list) == 1
    assert result.metrics['recall@1'] == pytest.approx(1 / 3)
    assert result.metrics['recall@4'] == pytest.approx(2 / 3)
    assert result.metrics['mrr@1'] == 1


def test_largest_k_is_the_catalogue(dataset, scorer):
    assert evaluate_catalogue(scorer, dataset, [], [Recall(9)]).metrics == {'recall@9': 1}
    message = r'ndcg@10, recall@10: the catalogue has only 9 items'
    with pytest.raises(ValueError, match=message):
        evaluate_catalogue(scorer, dataset)


def test_no_positive_rows(dataset, labelled, scorer):
    for rows in (labelled[labelled.y == 0], dataset[:0]):
        with pytest.raises(ValueError, match='no positive rows'):
            evaluate_catalogue(scorer, rows, metrics=[NDCG(1)])


def test_mode_is_restored(dataset, noisy, device):
    model = noisy().to(device)
    modes = [module.training for module in model.modules()]
    one, two = (evaluate_catalogue(model, dataset, [], METRICS) for _ in range(2))
    pd.testing.assert_frame_equal(one.per_list, two.per_list, check_exact=True)
    assert [module.training for module in model.modules()] == modes
    model.fail = True
    with pytest.raises(RuntimeError, match='no score today'):
        evaluate_catalogue(model, dataset, [], METRICS)
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


def test_scores_keep_their_precision(dataset):
    row = dataset[:1]
    row.item = torch.tensor([8])

    def nearly(batch):
        return 1 + batch.item_id.double() * 1e-12

    assert evaluate_catalogue(nearly, row, [], [Recall(1)]).metrics['recall@1'] == 1


def test_computes_no_auxiliary_loss(dataset, monkeypatch):
    model = IEDR(dataset.schema.num_embeddings, 4, 8)

    def refuse(*args, **kwargs):
        raise AssertionError('an auxiliary loss at evaluation')

    monkeypatch.setattr(model.contrastive, 'forward', refuse)
    for side in ('user', 'item'):
        monkeypatch.setattr(model.disentangling[side], 'forward', refuse)
    assert np.isfinite(evaluate_catalogue(model, dataset, [], METRICS).metrics['mrr@9'])


def test_seen_rows_are_asked_for(dataset, scorer):
    """A dataset that leaves out what was seen cannot be ranked without knowing what."""
    with pytest.raises(ValueError, match=r'pass the rows in which as `seen`'):
        evaluate_catalogue(scorer, dataset, metrics=METRICS)
