"""The rows of a report on a model of the graph of users and items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from iedr_geo.analysis.measures.popularity_overlap import popularity_overlap
from iedr_geo.analysis.measures.probes import value_probe
from iedr_geo.analysis.report import study as common
from iedr_geo.analysis.report.concepts import concept_rows
from iedr_geo.analysis.report.study import Row, Study, recovery_rows
from iedr_geo.data import BipartiteGraph
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import NDCG, Recall
from iedr_geo.scoring import Queries, VectorScorer

NUM_RANDOM, MAX_POPULAR, MAX_ITEMS = 5, 50, 100
WANTED = {'conformity': 'high', 'interest': 'low'}


def graph_rows(
    study: Study,
    graph: BipartiteGraph,
    held_out: BipartiteGraph | None,
    categories: Sequence[Any] | Tensor | None = None,
) -> Iterator[Row]:
    """Yields rows of users and items with an edge: the others were never trained."""
    made, generator = study.made, study.generator()

    def drawn(ids: Tensor, most: int) -> Tensor:
        return ids[torch.randperm(len(ids), generator=generator)[:most]]

    with_edge = []
    for side in common.SIDES:
        ids = getattr(graph, f'{side}_degree').cpu().nonzero().view(-1)
        if len(ids) < common.MIN_ROWS:
            raise ValueError(
                f'At least {common.MIN_ROWS} {side}s with an edge are needed (got '
                f'{len(ids)})'
            )
        some = drawn(ids, min(common.MAX_ENTITIES, study.num_samples))
        yield from study.dependence_rows(study.factors(side, some), side)
        with_edge.append(ids)
    users = drawn(with_edge[0], study.num_samples)
    yield from concept_rows(study, graph, users, with_edge[1], categories)
    random = [_random_scorer(graph, generator, made.device) for _ in range(NUM_RANDOM)]
    yield from _popularity_rows(study, graph, random, with_edge[1])
    if held_out is not None:
        k = min(20, graph.num_items)
        ranked = held_out, graph, (NDCG(k), Recall(k))
        found = {
            part or 'all': evaluate_catalogue(made, *ranked, part=part).per_list
            for part in (None, *made.parts)
        }
        draws = [evaluate_catalogue(other, *ranked).metrics for other in random]
        chance = {name: [draw[name] for draw in draws] for name in draws[0]}
        yield from study.ranking_rows(found, chance)
    if study.truth is not None:
        users = drawn(with_edge[0], common.MAX_LISTS)
        items = drawn(with_edge[1], MAX_ITEMS)
        index = torch.arange(len(users)).repeat_interleave(len(items))
        user, item = users[index], items.repeat(len(users))
        scores = study.scores(Queries(user), item)
        yield from recovery_rows(study, scores, index, user, item)


def _random_scorer(
    graph: BipartiteGraph, generator: torch.Generator, device: torch.device
) -> VectorScorer:
    """Returns a scorer by vectors that know nothing."""
    user, item = (
        torch.randn(size, 32, generator=generator).to(device)
        for size in (graph.num_users, graph.num_items)
    )
    model = SimpleNamespace(embeddings=lambda: (user, item), factor_columns={})
    return VectorScorer(cast(Any, model), graph)


def _popularity_rows(
    study: Study, graph: BipartiteGraph, random: Sequence[VectorScorer], items: Tensor
) -> Iterator[Row]:
    """Yields what rankings and the factors of some items know of popularity."""
    made, k = study.made, max(1, min(MAX_POPULAR, graph.num_items // 4))
    draws = [popularity_overlap(other, graph, k) for other in random]
    for part in (None, *made.parts):
        numbers = common.against(popularity_overlap(made, graph, k, part), draws)
        name = part or 'all'
        yield Row('popularity', f'iou@{k}', 'score', name, *numbers, WANTED.get(name, ''))
    tables = study.factors('item', items)
    if tables:
        tables = {'all': torch.cat([*tables.values()], dim=1), **tables}
    target = graph.popularity.cpu()[items].double().log1p()
    label = 'R^2 of log popularity'
    for name, table in tables.items():
        probe = value_probe(table, target, seed=study.seed)
        wanted = WANTED.get(name, '')
        yield Row('popularity', label, 'item', name, *probe[:4], wanted)
