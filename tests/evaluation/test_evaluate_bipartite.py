"""Full rankings of users against every order of their items, in plain Python."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation import ScoredUsers, evaluate_bipartite, mark_items
from iedr_geo.metrics import MRR, NDCG, HitRatio, Recall
from iedr_geo.nn import DICE, MF, LightGCN

NUM_USERS, NUM_ITEMS = 8, 6
KS = (1, 3, 5)
METRICS = [metric(k) for metric in (Recall, HitRatio, NDCG, MRR) for k in KS]


class Tables:
    """Vectors of integers, whose scores are exact and often tie, and no module."""

    factors = {'left': slice(0, 1), 'right': slice(1, 3)}  # noqa: RUF012

    def __init__(self, device: torch.device | str = 'cpu') -> None:
        self.user = torch.randint(-1, 3, (NUM_USERS, 3), device=device).float()
        self.item = torch.randint(-1, 3, (NUM_ITEMS, 3), device=device).float()

    def embeddings(self) -> tuple[Tensor, Tensor]:
        return self.user, self.item


def graph(pairs, **kwargs) -> BipartiteGraph:
    user, item = torch.tensor(list(pairs), dtype=torch.long).view(-1, 2).unbind(1)
    return BipartiteGraph(user, item, NUM_USERS, NUM_ITEMS, **kwargs)


def value(metric: str, order: list[int], wanted: set[int], k: int) -> float:
    """The textbook value of one strict order."""
    hits = [rank for rank, item in enumerate(order[:k], start=1) if item in wanted]
    if metric == 'recall':
        return len(hits) / len(wanted)
    if metric == 'hit_ratio':
        return float(bool(hits))
    if metric == 'mrr':
        return 1 / hits[0] if hits else 0.0
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(wanted)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in hits) / best


def brute_force(
    scores: list[list[float]], held_out, seen, exists=range(NUM_ITEMS)
) -> pd.DataFrame:
    """The mean over all orders of a user's items that have scores descending."""
    rows = []
    for user in range(NUM_USERS):
        wanted = {i for u, i in held_out if u == user}
        hidden = {i for u, i in seen if u == user} - wanted
        hidden |= set(range(NUM_ITEMS)) - set(exists) - wanted
        left = [i for i in range(NUM_ITEMS) if i not in hidden]
        falling = sorted((scores[user][i] for i in left), reverse=True)
        orders = [
            order
            for order in itertools.permutations(left)
            if [scores[user][i] for i in order] == falling
        ]
        row = {'user': user}
        for metric in ('recall', 'hit_ratio', 'ndcg', 'mrr'):
            for k in KS:
                values = [value(metric, order, wanted, k) for order in orders if wanted]
                row[f'{metric}@{k}'] = np.mean(values) if wanted else math.nan
        rows.append(row)
    return pd.DataFrame(rows)


# User 0 has nothing to be found, user 1 has not seen anything, user 2 has seen all but
# what is to be found, and all of it is to be found by user 3. User 4 is to find again
# what it has seen, among others.
SEEN = [(0, 2), *((2, i) for i in (0, 1, 3, 5)), (3, 4), (4, 1), (4, 2), (5, 0), (6, 5)]
HELD_OUT = [(1, 2), (2, 2), (2, 4), *((3, i) for i in range(6)), (4, 1), (4, 5), (5, 1)]
HELD_OUT += [(6, 0), (6, 1), (6, 3), (7, 4)]


def assert_equal(evaluation, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        evaluation.per_list, expected, rtol=1e-12, check_dtype=False, check_names=False
    )
    names = [metric.name for metric in METRICS]
    assert list(evaluation.metrics) == names
    means = expected[names].mean()  # Without what is missing.
    assert evaluation.metrics == pytest.approx(means.to_dict(), rel=1e-12)
    over_all = expected[names].sum() / len(expected)
    assert evaluation.over_all_lists == pytest.approx(over_all.to_dict(), rel=1e-12)
    assert (over_all < means).all()


@pytest.mark.parametrize('factor', [None, 'left', 'right'])
@pytest.mark.parametrize('batch_size', [1, 13, 1 << 23])
def test_agrees_with_brute_force(factor, batch_size, device):
    """The graphs may be on another device than the model."""
    model = Tables(device)
    columns = slice(None) if factor is None else model.factors[factor]
    scores = (model.user[:, columns] @ model.item[:, columns].t()).tolist()
    tied = sum(len(set(row)) < NUM_ITEMS for row in scores)
    assert tied > NUM_USERS / 2
    result = evaluate_bipartite(
        model, graph(HELD_OUT), graph(SEEN), METRICS, factor, batch_size
    )
    expected = brute_force(scores, HELD_OUT, SEEN)
    assert_equal(result, expected)
    assert expected['recall@1'].isna().tolist() == [True] + [False] * 7


def test_only_the_catalogue_is_ranked(device):
    model, exists = Tables(device), [0, 1, 3, 4, 5]
    scores = (model.user @ model.item.t()).tolist()
    held_out = graph(HELD_OUT, catalogue=torch.tensor(exists))
    result = evaluate_bipartite(model, held_out, graph(SEEN), METRICS)
    expected = brute_force(scores, HELD_OUT, SEEN, exists)
    assert_equal(result, expected)
    assert not expected.equals(brute_force(scores, HELD_OUT, SEEN))
    with pytest.raises(ValueError, match='recall@6: the catalogue has only 5 items'):
        evaluate_bipartite(model, held_out, graph(SEEN), [Recall(6)])


def test_nothing_is_seen():
    model = Tables()
    scores = (model.user @ model.item.t()).tolist()
    result = evaluate_bipartite(model, graph(HELD_OUT), graph([]), METRICS)
    assert_equal(result, brute_force(scores, HELD_OUT, []))
    assert not result.per_list.equals(
        evaluate_bipartite(model, graph(HELD_OUT), graph(SEEN), METRICS).per_list
    )


def test_seen_items_to_be_found_stay():
    """All is seen, so that only what is to be found is left."""
    everything = [(u, i) for u in range(NUM_USERS) for i in range(NUM_ITEMS)]
    result = evaluate_bipartite(
        Tables(), graph([(0, 3), (5, 0), (5, 1)]), graph(everything), METRICS
    )
    assert result.per_list['mrr@1'].dropna().tolist() == [1, 1]
    assert result.per_list['recall@1'].dropna().tolist() == [1, 0.5]


@pytest.mark.parametrize('batch_size', [1, 100, 7000])
def test_batch_size_changes_nothing(batch_size):
    model = Tables()
    model.user = torch.randint(-9, 9, (70, 16)).float()
    model.item = torch.randint(-9, 9, (100, 16)).float()
    held_out, seen = (
        BipartiteGraph(torch.randint(60, (200,)), torch.randint(100, (200,)), 70, 100)
        for _ in range(2)
    )
    whole = evaluate_bipartite(model, held_out, seen)
    result = evaluate_bipartite(model, held_out, seen, batch_size=batch_size)
    pd.testing.assert_frame_equal(result.per_list, whole.per_list, check_exact=True)
    assert list(whole.metrics) == [
        *('recall@20', 'hit_ratio@20', 'ndcg@20'),
        *('recall@50', 'hit_ratio@50', 'ndcg@50'),
    ]
    assert whole.per_list['recall@20'].isna().sum() >= 10


@pytest.mark.parametrize('batch_size', [1, 11, 12, 18, 10_000])
def test_chunks(batch_size):
    model = Tables()
    users = torch.tensor([5, 0, 7, 2, 2])
    chunks = list(ScoredUsers(model, batch_size=batch_size).chunks(users))
    sizes = {1: [1] * 5, 11: [1] * 5, 12: [2, 2, 1], 18: [3, 2], 10_000: [5]}
    assert [len(chunk) for chunk, _ in chunks] == sizes[batch_size]
    assert torch.equal(torch.cat([chunk for chunk, _ in chunks]), users)
    scores = torch.cat([score for _, score in chunks])
    assert torch.equal(scores, model.user[users] @ model.item.t())


@pytest.mark.parametrize('users', [[], [0], [7, 2, 2, 4], range(8)])
def test_marks_what_users_have(users, device):
    marked = mark_items(graph(SEEN).to(device), torch.tensor(users).long().to(device))
    expected = [[(u, i) in SEEN for i in range(NUM_ITEMS)] for u in users]
    assert marked.dtype == torch.bool
    assert marked.shape == (len(users), NUM_ITEMS)
    assert marked.tolist() == expected


def test_lists_have_the_ids_of_users():
    names = [f'user {7 - i}' for i in range(NUM_USERS)]
    held_out = graph(HELD_OUT, user_ids=names)
    result = evaluate_bipartite(Tables(), held_out, graph(SEEN), METRICS)
    assert result.per_list['user'].tolist() == names
    assert 'recall@3 ' in str(result)


@pytest.mark.parametrize('kind', ['mf', 'lightgcn', 'dice'])
def test_models(kind, device):
    """Scores in float32 that no two items share."""
    seen = graph(SEEN)
    model = MF(NUM_USERS, NUM_ITEMS, 4)
    if kind == 'lightgcn':
        model = LightGCN(NUM_USERS, NUM_ITEMS, *seen.adjacency(), 4, dropout=0.5)
    if kind == 'dice':
        model = DICE(model, seen.popularity)
    model = model.to(device)
    for factor, columns in {None: slice(None), **model.factors}.items():
        with torch.no_grad():
            users, items = model.eval().embeddings()
        scores = (users[:, columns].double() @ items[:, columns].double().t()).tolist()
        model.train()
        result = evaluate_bipartite(model, graph(HELD_OUT), seen, METRICS, factor)
        assert_equal(result, brute_force(scores, HELD_OUT, SEEN))


class Watched(LightGCN):
    """Notes how it is asked for its vectors, and may have none."""

    fail = False

    def embeddings(self) -> tuple[Tensor, Tensor]:
        assert not torch.is_grad_enabled()
        assert not any(module.training for module in self.modules())
        if self.fail:
            raise RuntimeError('no vectors today')
        return super().embeddings()


def test_mode_and_gradients_are_restored(device):
    seen, held_out = graph(SEEN), graph(HELD_OUT)
    model = Watched(NUM_USERS, NUM_ITEMS, *seen.adjacency(), 4, dropout=0.5).to(device)
    model.item.eval()
    modes = [module.training for module in model.modules()]
    assert any(modes) and not all(modes)
    one, two = (evaluate_bipartite(model, held_out, seen, METRICS) for _ in range(2))
    pd.testing.assert_frame_equal(one.per_list, two.per_list, check_exact=True)
    assert [module.training for module in model.modules()] == modes
    model.fail = True
    with pytest.raises(RuntimeError, match='no vectors today'):
        evaluate_bipartite(model, held_out, seen, METRICS)
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled()


def test_arguments_are_left_as_they_were(device):
    model, held_out, seen = Tables(device), graph(HELD_OUT), graph(SEEN)
    before = model.user.clone(), model.item.clone()
    evaluate_bipartite(model, held_out, seen, METRICS)
    assert torch.equal(model.user, before[0])
    assert torch.equal(model.item, before[1])
    assert held_out.device.type == seen.device.type == 'cpu'


def test_progress(capsys):
    evaluate_bipartite(Tables(), graph(HELD_OUT), graph(SEEN), METRICS)
    assert capsys.readouterr().err == ''
    evaluate_bipartite(Tables(), graph(HELD_OUT), graph(SEEN), METRICS, progress=True)
    assert 'Ranking: 100%' in capsys.readouterr().err


def test_largest_k_is_the_catalogue():
    arguments = Tables(), graph(HELD_OUT), graph(SEEN)
    result = evaluate_bipartite(*arguments, [Recall(6)])
    assert result.metrics == {'recall@6': 1}
    with pytest.raises(ValueError, match='recall@7, ndcg@20: the catalogue has only 6'):
        evaluate_bipartite(*arguments, [Recall(7), MRR(6), NDCG(20)])


def test_bad_arguments():
    model, held_out, seen = Tables(), graph(HELD_OUT), graph(SEEN)
    with pytest.raises(ValueError, match='no edges to be found'):
        evaluate_bipartite(model, graph([]), seen, METRICS)
    with pytest.raises(ValueError, match=r"no factor 'up' \(it has: left, right\)"):
        evaluate_bipartite(model, held_out, seen, METRICS, 'up')
    with pytest.raises(ValueError, match=r"no factor 'up' \(it has: none\)"):
        evaluate_bipartite(MF(NUM_USERS, NUM_ITEMS), held_out, seen, METRICS, 'up')
    zero = torch.tensor([0])
    for size in ((NUM_USERS + 1, NUM_ITEMS), (NUM_USERS, NUM_ITEMS - 1)):
        other = BipartiteGraph(zero, zero, *size)
        message = f'8 users and 6 items, the {{}} graph {size[0]} and {size[1]}'
        with pytest.raises(ValueError, match=message.format('held-out')):
            evaluate_bipartite(model, other, seen, METRICS)
        with pytest.raises(ValueError, match=message.format('seen')):
            evaluate_bipartite(model, held_out, other, METRICS)


def test_scores_that_are_no_number_are_refused():
    model = Tables()
    model.user[1, 0] = torch.nan
    with pytest.raises(ValueError, match='scores are NaN'):
        evaluate_bipartite(model, graph(HELD_OUT), graph(SEEN), METRICS)
