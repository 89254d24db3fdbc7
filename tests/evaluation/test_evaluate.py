"""Rankings of candidate lists and catalogues against every order of their items."""

import copy
import math
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from orders import expectation
from shop import every_triple, make_model, make_shop
from sklearn.metrics import roc_auc_score
from torch import Tensor

from iedr_geo.data import BipartiteGraph, CandidateLists, InteractionDataset
from iedr_geo.evaluation import (
    DEFAULT_METRICS,
    Evaluation,
    compare,
    evaluate_candidates,
    evaluate_catalogue,
)
from iedr_geo.metrics import MRR, NDCG, HitRatio, ListAUC, Recall
from iedr_geo.nn import MF
from iedr_geo.scoring import scorer

NUM_USERS, NUM_ITEMS, NUM_CONTEXTS = SIZES = (5, 12, 6)
METRICS = [metric(k) for metric in (Recall, HitRatio, NDCG, MRR) for k in (1, 3, 4)]
NAMES = [metric.name for metric in METRICS]
NO_TARGETS = pytest.mark.filterwarnings('ignore:.* seen and are no targets')
SUBSET = [0, 2, 3, 7, 10]


class Table:
    """A score for every user, item and context; a graph sees the first context."""

    def __init__(self, table: Tensor) -> None:
        self.table = table

    def __call__(self, batch) -> Tensor:
        table = self.table.to(batch.user_graph.device)
        return table[batch.user_id, batch.item_id, batch.context_id]

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.table.to(user.device)[user, item, 0]


@pytest.fixture
def table() -> Tensor:
    """Scores of which some tie."""
    return torch.randint(7, SIZES).float()


def by_item(score):
    """A model whose scores follow from items alone."""
    return lambda batch: score(batch.item_id)


def assert_same(evaluation: Evaluation, lists: list[tuple], **others: float) -> None:
    """Compares with scores and targets of each list, known by user and context."""
    expected = pd.DataFrame(
        [[expectation(m, scores, y) for m in METRICS] for _, scores, y in lists],
        columns=NAMES,
    )
    keys = ['user', 'context'][: len(lists[0][0])]
    assert list(evaluation.per_list) == [*keys, *NAMES]
    found = evaluation.per_list[keys].itertuples(index=False, name=None)
    assert list(found) == [key for key, *_ in lists]
    np.testing.assert_allclose(evaluation.per_list[NAMES], expected, rtol=1e-12)
    means = expected.mean().to_dict() | others  # Without what is missing.
    assert evaluation.metrics == pytest.approx(means, rel=1e-12)
    over_all = expected.fillna(0).mean().to_dict()
    assert evaluation.over_all_lists == pytest.approx(over_all, rel=1e-12)


def make_lists(*lists: tuple[int, int, list[tuple[int, int]]]) -> CandidateLists:
    """Makes lists of user, context, and items with targets; their rows are shuffled."""
    rows = [(i, *row) for i, (*_, content) in enumerate(lists) for row in content]
    index, item, target = torch.tensor(rows)[torch.randperm(len(rows))].t()
    user, context = torch.tensor([owner[:2] for owner in lists]).t()
    return CandidateLists(user, context, item, target, index)


RAGGED = [
    (4, 0, [(3, 1), (3, 0), (7, 0), (1, 0), (0, 0)]),  # 3 is sought, and a negative.
    (1, 3, [(2, 0), (8, 1)]),
    (1, 2, [(6, 0), (6, 0), (0, 1), (5, 0), (4, 0), (2, 0)]),
    (0, 1, [(1, 1), (2, 1), (3, 0), (4, 0), (8, 0), (11, 0), (6, 0)]),  # Two are sought.
    (3, 5, [(5, 0), (7, 0)]),  # Nothing is.
    (4, 3, [(5, 0), (7, 1), (1, 0)]),
    (0, 1, []),
]


def test_candidates_agree_with_brute_force(log, table, device):
    """Ties, items that recur, lists with nothing to be found and without rows."""
    lists = [
        (
            (log.own_ids('user')[u], c),
            [float(table[u, i, c]) for i, _ in rows],
            [y for _, y in rows],
        )
        for u, c, rows in RAGGED
    ]
    scores, targets = ([x for row in lists for x in row[i]] for i in (1, 2))
    finite = [max(-99.0, min(99.0, score)) for score in scores]
    auc = roc_auc_score(targets, finite)
    model, data = Table(table), log.to(device)
    for one in (model, scorer(model, data)):
        result = evaluate_candidates(one, data, make_lists(*RAGGED), METRICS)
        assert_same(result, lists, auc=auc)
    first = next(iter(result.metrics.items()))
    assert str(result).startswith(f'{first[0]} {first[1]:.4f}  recall@3 ')
    assert log.user.device.type == 'cpu'  # The caller's data stay where they were.
    assert list(evaluate_candidates(model, log, make_lists(*RAGGED)).metrics) == [
        *('ndcg@5', 'ndcg@10', 'recall@5', 'recall@10', 'auc')
    ]


@pytest.mark.parametrize('score', [lambda i: 1 + i.double() * 1e-12, lambda i: 2**40 + i])
def test_scores_keep_their_precision(log, score):
    """Scores that differ in double precision alone, or as large integers, are no tie."""
    lists = make_lists((0, 0, [(0, 0), (1, 1)]))
    result = evaluate_candidates(by_item(score), log, lists, [Recall(1)])
    assert result.metrics == {'recall@1': 1, 'auc': 1}
    row = log[:1]
    row.item = torch.tensor([NUM_ITEMS - 1])
    result = evaluate_catalogue(by_item(score), row, [], [Recall(1)])
    assert result.metrics['recall@1'] == 1


def graph_of(*parts: InteractionDataset, **kwargs: Any) -> BipartiteGraph:
    user = torch.cat([part.user for part in parts])
    item = torch.cat([part.item for part in parts])
    kwargs = {'exclude_seen': True} | kwargs
    return BipartiteGraph(user, item, NUM_USERS, NUM_ITEMS, **kwargs)


def pairs_of(*parts: InteractionDataset) -> list[tuple[int, int]]:
    return [
        pair for p in parts for pair in zip(p.user.tolist(), p.item.tolist(), strict=True)
    ]


def expected_lists(
    table: Tensor, held_out: Any, seen: list[tuple[int, int]]
) -> list[tuple]:
    """User, context, scores and targets of the list of each user in each context."""
    is_graph = isinstance(held_out, BipartiteGraph)
    wanted: dict[tuple[int, int], set[int]] = {}
    context = torch.zeros_like(held_out.user) if is_graph else held_out.context
    for row, pair in enumerate(pairs_of(held_out)):
        if getattr(held_out, 'y', None) is None or held_out.y[row] == 1:
            wanted.setdefault((pair[0], int(context[row])), set()).add(pair[1])
    exists = (
        range(NUM_ITEMS) if held_out.catalogue is None else held_out.catalogue.tolist()
    )
    lists = []
    for user, place in (
        [(user, 0) for user in range(NUM_USERS)] if is_graph else sorted(wanted)
    ):
        found = {i for i in wanted.get((user, place), ()) if (user, i) not in seen}
        items = [i for i in exists if (user, i) not in seen and i not in found] + [*found]
        ids = held_out.user_ids if is_graph else held_out.own_ids('user')
        key = (ids[user],) if is_graph else (ids[user], place)
        scores = [float(table[user, item, place]) for item in items]
        lists.append((key, scores, [int(item in found) for item in items]))
    return lists


KINDS = ('graph', 'dataset', 'labelled', 'repeated use')
CASES = [('some', None), ('some', SUBSET), ('nothing', None), ('everything', SUBSET)]


@pytest.mark.parametrize(('seen', 'catalogue'), CASES)
@pytest.mark.parametrize('kind', KINDS)
def test_catalogues_agree_with_brute_force(log, table, kind, seen, catalogue, device):
    """What is to be found may have been seen, which makes it no target, or be in no
    catalogue; a row may come twice, and some users have nothing to be found.
    """
    if kind == 'labelled':
        log.y = torch.randint(2, (80,)).float()
    held_out, log = log[60:], log[:60]
    held_out = held_out[held_out.user != 2]
    if catalogue is not None:
        assert not set(held_out.item.tolist()) <= set(catalogue)
        held_out.catalogue = torch.tensor(catalogue)
    held_out.exclude_seen = log.exclude_seen = kind != 'repeated use'
    others = torch.ones(NUM_USERS, NUM_ITEMS)
    others[held_out.user, held_out.item] = 0
    user, item = others.nonzero().unbind(1)
    everything = log[torch.zeros_like(user)]  # But what is to be found.
    everything.user, everything.item = user, item
    parts = {'some': [log[:20], log[20:]], 'nothing': [], 'everything': [everything]}
    asked: Any = parts[seen]
    had = [] if kind == 'repeated use' else pairs_of(*asked)
    if kind == 'graph':
        ids = {'user_ids': list('abcde')}
        held_out = graph_of(held_out, catalogue=held_out.catalogue, **ids)
        asked = graph_of(*asked) if asked else held_out.subgraph(held_out.user < 0)
    expected = expected_lists(table, held_out, had)
    tied = [len({*scores}) < len(scores) for _, scores, _ in expected]
    assert seen == 'everything' or any(tied)
    repeats = seen == 'some' and kind != 'repeated use'
    empty = sum(1 not in y for _, _, y in expected)
    if kind == 'graph':  # Lists are of all users.
        empty -= NUM_USERS - len(torch.unique(held_out.user))
    assert repeats or not empty
    for model in (Table(table), scorer(Table(table), held_out)):
        with pytest.warns(match='no targets') if repeats else nullcontext():
            result = evaluate_catalogue(model, held_out.to(device), asked, METRICS)
        assert_same(result, expected)
        assert result.lists_left_out == empty


@pytest.mark.parametrize('kind', ['graph', 'dataset'])
def test_what_was_seen_is_no_target(log, kind):
    """A model that only remembers is no better than one that knows nothing, and a tenth
    of known pairs in the held-out part changes no value of any model.
    """
    make = graph_of if kind == 'graph' else lambda *parts: parts[0]
    log.item = torch.arange(80) * 5 % NUM_ITEMS  # Row i and row i + 12 are of one item.
    log.user = torch.arange(80) // NUM_ITEMS % NUM_USERS
    train, test = log[:40], log[[*range(40, 60), 3, 17]]
    remembered, nothing = torch.zeros(2, *SIZES)
    remembered[train.user, train.item] = 1
    seen = graph_of(train) if kind == 'graph' else [train]
    results = []
    for table in (remembered, nothing, torch.rand(SIZES)):
        alone = evaluate_catalogue(Table(table), make(test[:20]), seen, METRICS)
        with pytest.warns(match=r'2 of 22 pairs to be found \(9.1%\) .*=False` may be'):
            results.append(evaluate_catalogue(Table(table), make(test), seen, METRICS))
        assert results[-1].metrics == pytest.approx(alone.metrics, rel=1e-12)
        assert results[-1].lists_left_out == 2 and not alone.lists_left_out
        assert 'are no targets; 2 of' in str(results[-1]) and not alone.note
    pd.testing.assert_frame_equal(results[0].per_list, results[1].per_list)
    difference = compare(dict(zip('abc', results, strict=True)))['difference']
    assert (difference.xs('b', level='model') == 0).all()
    with nullcontext():  # One in twenty is no reason to warn.
        evaluate_catalogue(Table(nothing), make(test[1:21]), seen, METRICS)
    with pytest.raises(
        ValueError, match=r'2 of 2 pairs to be found \(100.0%\) have been'
    ):
        evaluate_catalogue(Table(nothing), make(test[20:]), seen, METRICS)
    own = make(train)
    with pytest.raises(ValueError, match='is `seen` itself: a training part is no'):
        evaluate_catalogue(Table(nothing), own, own if kind == 'graph' else [own])


def test_graphs_of_repeated_use(log, table):
    """Nothing is left out where the log of either graph repeats pairs, unless told so."""
    edges, seen = graph_of(log[60:]), graph_of(log[:60], exclude_seen=None)
    expected = expected_lists(table, edges, [])
    free = graph_of(log[60:], exclude_seen=False)
    for held_out, had in ((edges, seen), (free, None), (free, graph_of(log[:60]))):
        result = evaluate_catalogue(Table(table), held_out, had, METRICS)
        assert_same(result, expected)
        assert 'ranked, too (exclude_seen=False; ' in str(result)
    parts = seen.subgraph(seen.user > 1), seen.subgraph(seen.user < 2)
    with pytest.warns(match='but no pair to be found is one of them'):
        evaluate_catalogue(Table(table), *parts, METRICS)


class Halves(MF):
    """Vectors of small integers, with two parts."""

    def __init__(self) -> None:
        super().__init__(NUM_USERS, NUM_ITEMS, 4)
        for weight in self.parameters():
            weight.data = torch.randint(-1, 3, weight.shape).float()

    @property
    def factor_columns(self) -> dict[str, slice]:
        return {'left': slice(0, 1), 'right': slice(1, 4)}


@NO_TARGETS
def test_a_part_alone_ranks(log, device):
    """Models of both kinds, whose scores are exact."""
    held_out, log = log[60:], log[:60]
    halves, edges = Halves(), graph_of(held_out)
    for part, columns in {None: slice(0, 4), **halves.factor_columns}.items():
        vectors = [table[:, columns] for table in halves.embeddings()]
        table = (vectors[0] @ vectors[1].t()).detach().unsqueeze(2)
        model = copy.deepcopy(halves).to(device)
        result = evaluate_catalogue(model, edges, graph_of(log), METRICS, part=part)
        assert_same(result, expected_lists(table, edges, pairs_of(log)))
    model = make_model(log.schema, exact=True, pointwise=True)
    encoded = model.encode(every_triple(log))
    for part, scores in {None: encoded.logits, **encoded.parts}.items():
        result = evaluate_catalogue(model, held_out, [log], METRICS, part=part)
        assert_same(result, expected_lists(scores.view(SIZES), held_out, pairs_of(log)))
    for one, names in ((model, 'intrinsic, ext.*po'), (Table(table), r'none\)')):
        with pytest.raises(ValueError, match=rf"no part 'up' \(they have: {names}"):
            evaluate_catalogue(one, held_out, [log], METRICS, part='up')


def test_default_metrics():
    user, item = torch.tensor([0, 1, 1]), torch.tensor([3, 59, 2])
    edges = BipartiteGraph(user, item, 3, 60)
    result = evaluate_catalogue(MF(3, 60), edges, edges.subgraph(edges.user < 0))
    assert list(result.metrics) == [
        *('recall@20', 'hit_ratio@20', 'ndcg@20'),
        *('recall@50', 'hit_ratio@50', 'ndcg@50'),
    ]
    result = evaluate_catalogue(by_item(Tensor.float), make_shop(), [])
    assert list(result.metrics) == [metric.name for metric in DEFAULT_METRICS]


def test_largest_k_is_the_catalogue(log, table):
    model = Table(table)
    for data, seen in ((log, []), (graph_of(log), graph_of(log[:0]))):
        found = evaluate_catalogue(model, data, seen, [Recall(12)]).metrics
        assert found == {'recall@12': 1}
        with pytest.raises(ValueError, match=r'@13, .*: the catalogue has only 12 items'):
            evaluate_catalogue(model, data, seen, [NDCG(13), MRR(12), Recall(20)])
        small = copy.copy(data)
        small.catalogue = torch.tensor(SUBSET)
        with pytest.raises(ValueError, match=r'recall@6: the catalogue has only 5 items'):
            evaluate_catalogue(model, small, seen, [Recall(6)])
        with pytest.raises(ValueError, match='list_auc is of candidate lists'):
            evaluate_catalogue(model, data, seen, [ListAUC()])


def test_bad_arguments(log, table):
    edges, none = graph_of(log), log[:0]
    labelled = log[:9]
    labelled.y = torch.zeros(9)
    zero = torch.tensor([0])
    wide, long = (BipartiteGraph(zero, zero, *size) for size in ((6, 12), (5, 11)))
    table[0, 0] = math.nan
    bad = "not finite, .* of item '40' for user '30': nan"
    for held_out, seen, metrics, message in (
        (labelled, [], METRICS, 'no positive rows'),
        (none, [], METRICS, 'no positive rows'),
        (graph_of(none), edges, METRICS, 'no edges to be found'),
        (edges, graph_of(none), [], 'no metrics'),
        (log, [], [], 'no metrics'),
        (log, None, METRICS, 'pass the rows in which as `seen`'),
        (edges, None, METRICS, 'pass the training graph as `seen`'),
        (log, edges, METRICS, '`seen` is a sequence of datasets'),
        (edges, [log], METRICS, '`seen` is a graph'),
        (edges, wide, METRICS, 'the users .* differ, 6 there and 5 here'),
        (edges, long, METRICS, 'the items .* differ, 12 there and 11 here'),
        (log, [], METRICS, bad),
        (edges, graph_of(none), METRICS, "item '0' for user '0': nan"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_catalogue(Table(table), held_out, seen, metrics)
    for other in (wide, long):
        message = f'graph {other.num_users} and {other.num_items}'
        with pytest.raises(ValueError, match=message):
            evaluate_catalogue(Halves(), other, other.subgraph(zero[:0]), [Recall(1)])
    broken = by_item(lambda item: torch.full(item.shape, torch.inf))
    with pytest.raises(ValueError, match=r"25 of 25 .* item '\w+' for user '\w+': inf"):
        evaluate_candidates(broken, log, make_lists(*RAGGED))
