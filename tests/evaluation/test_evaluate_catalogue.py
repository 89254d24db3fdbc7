"""Full rankings of both kinds of data against every order of their items."""

from __future__ import annotations

import copy
import math
from typing import Any

import pandas as pd
import pytest
import torch
from orders import expectation
from shop import every_triple, make_model
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.evaluation import DEFAULT_METRICS, GRAPH_METRICS, evaluate_catalogue
from iedr_geo.metrics import MRR, NDCG, HitRatio, Recall
from iedr_geo.nn import MF
from iedr_geo.scoring import scorer

NUM_USERS, NUM_ITEMS, NUM_CONTEXTS = 6, 9, 4
METRICS = [metric(k) for metric in (Recall, HitRatio, NDCG, MRR) for k in (1, 3, 4)]
NAMES = [metric.name for metric in METRICS]
SIZES = (NUM_USERS, NUM_ITEMS, NUM_CONTEXTS)
SUBSET = [0, 2, 3, 7]


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
    """Scores of which some tie, infinite ones among them."""
    table = torch.randint(7, SIZES).float()
    table[torch.rand(SIZES) < 0.05] = -torch.inf
    table[torch.rand(SIZES) < 0.05] = torch.inf
    return table


def graph_of(*parts: InteractionDataset, **kwargs: Any) -> BipartiteGraph:
    user = torch.cat([part.user for part in parts])
    item = torch.cat([part.item for part in parts])
    return BipartiteGraph(user, item, NUM_USERS, NUM_ITEMS, **kwargs)


def triples(data: InteractionDataset | BipartiteGraph) -> list[tuple[int, int, int]]:
    columns = [data.user.tolist(), data.item.tolist()]
    is_graph = isinstance(data, BipartiteGraph)
    columns.append([0] * len(columns[0]) if is_graph else data.context.tolist())
    y = getattr(data, 'y', None)
    columns.append([1] * len(columns[0]) if y is None else y.tolist())
    return [row[:3] for row in zip(*columns, strict=True) if row[3] == 1]


def brute_force(
    table: Tensor, held_out: Any, seen: list[tuple[int, int]]
) -> tuple[pd.DataFrame, int]:
    """The expected metrics of every list, and how many hinge on a tie."""
    wanted: dict[tuple[int, int], set[int]] = {}
    for user, item, context in triples(held_out):
        wanted.setdefault((user, context), set()).add(item)
    is_graph = isinstance(held_out, BipartiteGraph)
    lists = [(user, 0) for user in range(NUM_USERS)] if is_graph else sorted(wanted)
    exists = range(NUM_ITEMS)
    if held_out.catalogue is not None:
        exists = held_out.catalogue.tolist()
    rows, tied = [], 0
    for user, context in lists:
        found = wanted.get((user, context), set())
        left = [i for i in exists if (user, i) not in seen or i in found]
        left += [i for i in found if i not in left]
        scores = table[user, left, context].tolist()
        targets = [int(item in found) for item in left]
        values = [expectation(metric, scores, targets) for metric in METRICS]
        row = {'user': held_out.user_ids[user]}
        rows.append(row if is_graph else {**row, 'context': context})
        rows[-1] |= dict(zip(NAMES, values, strict=True))
        tied += len(set(scores)) < len(scores)
    return pd.DataFrame(rows), tied


def assert_same(evaluation, expected: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        evaluation.per_list,
        expected,
        rtol=1e-12,
        check_dtype=False,
        check_names=False,
        check_column_type=False,
        check_index_type=False,
    )
    means = expected[NAMES].mean()  # Without what is missing.
    assert evaluation.metrics == pytest.approx(means.to_dict(), rel=1e-12)


@pytest.mark.parametrize('catalogue', [None, SUBSET])
@pytest.mark.parametrize('seen', ['some', 'nothing', 'everything'])
@pytest.mark.parametrize('kind', ['graph', 'dataset', 'labelled', 'repeated use'])
def test_agrees_with_brute_force(dataset, labelled, table, kind, seen, catalogue, device):
    """What is to be found may have been seen, or be in no catalogue; a row may come
    twice, and some users have nothing to be found.
    """
    data = labelled if kind == 'labelled' else dataset
    held_out, log = data[60:], data[:60]
    held_out = held_out[held_out.user != 2]
    if catalogue is not None:
        assert not set(held_out.item.tolist()) <= set(catalogue)
        held_out.catalogue = torch.tensor(catalogue)
    held_out.exclude_seen = log.exclude_seen = kind != 'repeated use'
    everything = log[torch.zeros(NUM_USERS * NUM_ITEMS, dtype=torch.long)]
    pairs = torch.cartesian_prod(torch.arange(NUM_USERS), torch.arange(NUM_ITEMS))
    everything.user, everything.item = pairs.unbind(1)
    parts = {'some': [log[:20], log[20:]], 'nothing': [], 'everything': [everything]}
    had = [pair for part in parts[seen] for pair in zip(*pairs_of(part), strict=True)]
    asked: Any = parts[seen]
    if kind == 'graph':
        held_out = graph_of(
            held_out, catalogue=held_out.catalogue, user_ids=list('abcdef')
        )
        asked = graph_of(*asked) if asked else held_out.subgraph(held_out.user < 0)
    expected, tied = brute_force(table, held_out, had if kind != 'repeated use' else [])
    assert seen == 'everything' or tied
    assert expected['mrr@1'].isna().any() == (kind == 'graph')
    for model in (Table(table), scorer(Table(table), held_out)):
        result = evaluate_catalogue(model, held_out.to(device), asked, METRICS)
        assert_same(result, expected)
    over_all = expected[NAMES].fillna(0).mean().to_dict()
    assert result.over_all_lists == pytest.approx(over_all, rel=1e-12)


def pairs_of(rows: InteractionDataset) -> tuple[list[int], list[int]]:
    return rows.user.tolist(), rows.item.tolist()


class Halves(MF):
    """Vectors of small integers, with two parts."""

    def __init__(self) -> None:
        super().__init__(NUM_USERS, NUM_ITEMS, 4)
        for weight in self.parameters():
            weight.data = torch.randint(-1, 3, weight.shape).float()

    @property
    def factors(self) -> dict[str, slice]:
        return {'left': slice(0, 1), 'right': slice(1, 4)}


def test_a_part_alone_ranks(dataset, device):
    """Models of both kinds, whose scores are exact."""
    held_out, log = dataset[60:], dataset[:60]
    had = list(zip(*pairs_of(log), strict=True))
    halves = Halves()
    edges = graph_of(held_out)
    for part, columns in {None: slice(0, 4), **halves.factors}.items():
        vectors = [table[:, columns] for table in halves.embeddings()]
        table = (vectors[0] @ vectors[1].t()).detach().unsqueeze(2)
        model = copy.deepcopy(halves).to(device)
        result = evaluate_catalogue(model, edges, graph_of(log), METRICS, part=part)
        assert_same(result, brute_force(table, edges, had)[0])
    model = make_model(dataset.schema, exact=True, pointwise=True)
    encoded = model.encode(every_triple(dataset))
    for part, scores in {None: encoded.logits, **encoded.parts}.items():
        result = evaluate_catalogue(model, held_out, [log], METRICS, part=part)
        assert_same(result, brute_force(scores.view(SIZES), held_out, had)[0])
    with pytest.raises(ValueError, match=r"no part 'up' \(they have: intrinsic, ext.*po"):
        evaluate_catalogue(model, held_out, [log], METRICS, part='up')
    with pytest.raises(ValueError, match=r"no part 'up' \(they have: none\)"):
        evaluate_catalogue(Table(table), held_out, [log], METRICS, part='up')


def test_several_items_are_to_be_found_together(dataset):
    """A row that comes twice counts once."""
    rows = dataset[torch.zeros(4, dtype=torch.long)]
    rows.item = torch.tensor([2, 5, 5, 8])

    def by_item(batch):
        return batch.item_id

    result = evaluate_catalogue(by_item, rows, [], [Recall(1), Recall(4), MRR(1)])
    assert len(result.per_list) == 1
    assert list(result.metrics.values()) == pytest.approx([1 / 3, 2 / 3, 1])


@pytest.mark.parametrize('score', [lambda i: 1 + i.double() * 1e-12, lambda i: 2**40 + i])
def test_scores_keep_their_precision(dataset, score):
    row, log = dataset[:1], [dataset[:60]]
    row.item = torch.tensor([8])

    def model(batch):
        return score(batch.item_id)

    assert evaluate_catalogue(model, row, log, [Recall(1)]).metrics['recall@1'] == 1


def test_default_metrics():
    user, item = torch.tensor([0, 1, 1]), torch.tensor([3, 59, 2])
    edges = BipartiteGraph(user, item, 3, 60)
    result = evaluate_catalogue(MF(3, 60), edges, edges.subgraph(edges.user < 0))
    assert list(result.metrics) == [metric.name for metric in GRAPH_METRICS]
    assert list(result.metrics) == [
        *('recall@20', 'hit_ratio@20', 'ndcg@20'),
        *('recall@50', 'hit_ratio@50', 'ndcg@50'),
    ]
    assert [metric.name for metric in DEFAULT_METRICS] == [
        *('ndcg@5', 'ndcg@10', 'recall@5', 'recall@10'),
    ]
    assert 'recall@50 ' in str(result)


def test_largest_k_is_the_catalogue(dataset, table):
    model = Table(table.nan_to_num(posinf=9, neginf=-9))
    for data in (dataset, graph_of(dataset)):
        nothing = isinstance(data, BipartiteGraph) and data.subgraph(data.user < 0)
        seen = nothing or []
        assert evaluate_catalogue(model, data, seen, [Recall(9)]).metrics == {
            'recall@9': 1
        }
        with pytest.raises(ValueError, match=r'@10, .*: the catalogue has only 9 items'):
            evaluate_catalogue(model, data, seen, [NDCG(10), MRR(9), Recall(20)])
        small = copy.copy(data)
        small.catalogue = torch.tensor(SUBSET)
        with pytest.raises(ValueError, match=r'recall@5: the catalogue has only 4 items'):
            evaluate_catalogue(model, small, seen, [Recall(5)])


def test_bad_arguments(dataset, labelled, table):
    model, edges = Table(table), graph_of(dataset)
    for rows in (labelled[labelled.y == 0], dataset[:0]):
        with pytest.raises(ValueError, match='no positive rows'):
            evaluate_catalogue(model, rows, [], METRICS)
    with pytest.raises(ValueError, match='no edges to be found'):
        evaluate_catalogue(model, graph_of(dataset[:0]), edges, METRICS)
    with pytest.raises(ValueError, match='no metrics'):
        evaluate_catalogue(model, edges, edges, [])
    with pytest.raises(ValueError, match=r'pass the rows in which as `seen`'):
        evaluate_catalogue(model, dataset, metrics=METRICS)
    with pytest.raises(ValueError, match='`seen` is a sequence of datasets'):
        evaluate_catalogue(model, dataset, edges, METRICS)
    with pytest.raises(ValueError, match='`seen` is a graph'):
        evaluate_catalogue(model, edges, [dataset], METRICS)
    zero = torch.tensor([0])
    for size in ((NUM_USERS + 1, NUM_ITEMS), (NUM_USERS, NUM_ITEMS - 1)):
        other = BipartiteGraph(zero, zero, *size)
        message = f'6 users and 9 items, the seen graph {size[0]} and {size[1]}'
        with pytest.raises(ValueError, match=message):
            evaluate_catalogue(model, edges, other, METRICS)
        with pytest.raises(ValueError, match=f'graph {size[0]} and {size[1]}'):
            evaluate_catalogue(Halves(), other, other, [Recall(1)])
    model.table[edges.user[0], 3] = math.nan
    for data, seen in ((dataset, []), (edges, edges)):
        with pytest.raises(ValueError, match='scores are NaN'):
            evaluate_catalogue(model, data, seen, METRICS)


def test_computes_no_auxiliary_loss(dataset, monkeypatch):
    model = make_model(dataset.schema)

    def refuse(*args, **kwargs):
        raise AssertionError('an auxiliary loss at evaluation')

    for module in (model.contrastive, *model.disentangling.values()):
        monkeypatch.setattr(module, 'forward', refuse)
    assert evaluate_catalogue(model, dataset, [], METRICS).metrics['mrr@4'] > 0
