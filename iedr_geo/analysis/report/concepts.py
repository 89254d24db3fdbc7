"""The rows of a report on a model that knows of concepts of items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.analysis.measures.concept_agreement import (
    category_numbers,
    concept_agreement,
)
from iedr_geo.analysis.measures.independence import independence
from iedr_geo.analysis.report import study as common
from iedr_geo.analysis.report.study import Row, Study
from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import Concepts

MOST_CONFIDENT = 2  # Components of a user that are looked at, as in the paper's Figure 2.
ITSELF = 'itself'


class Assigned(NamedTuple):
    """What assignments of items to concepts are like.

    Args:
        sharpness: The mean over items of the largest probability.
        told_apart: The exponential of the mutual information of items and concepts, as a
            share of the number of concepts: 1 where each item is of one concept and all
            concepts have as many, near 0 where all are of the same or none is of any.
        largest: The share of the items that are of the largest concept.
    """

    sharpness: float
    told_apart: float
    largest: float

    @classmethod
    def of(cls, item: Tensor, prototype: Tensor, tau: float) -> Assigned:
        """Returns it for items and prototypes by the softmax of their similarities."""
        share = (item @ prototype.t() / tau).softmax(dim=1)
        count = torch.bincount(share.argmax(dim=1))
        entropies = torch.special.entr(torch.cat([share, share.mean(0)[None]])).sum(1)
        information = entropies[-1] - entropies[:-1].mean()
        return cls(
            float(share.amax(dim=1).mean()),
            float(information.exp()) / len(prototype),
            float(count.max()) / len(item),
        )


def concept_rows(
    study: Study,
    graph: BipartiteGraph,
    users: Tensor,
    items: Tensor,
    categories: Sequence[Any] | Tensor | None,
) -> Iterator[Row]:
    """Yields how far concepts are told apart.

    Args:
        study: The study.
        graph: The items of each user.
        users: The users that are looked at.
        items: The items that have an edge.
        categories: The category of each item, if they are known.
    """
    concepts = study.made.concepts()
    if concepts is None:
        if categories is not None:
            raise ValueError(
                'The `categories` of items are compared with the concepts of a model, '
                'and this model has none'
            )
        return
    alive = concepts.prototype.any(dim=1).cpu()
    # Of one concept there is nothing to tell apart.
    if int(alive.sum()) > 1:
        yield from _assignment_rows(study, concepts, items, alive)
    if categories is not None:
        yield from _category_rows(study, concepts, items, categories)
    user = study.factors('user', users)
    kept = [name for name, is_alive in zip(user, alive.tolist(), strict=True) if is_alive]
    vectors = torch.stack([user[name] for name in kept], dim=1)
    if len(kept) > 1:
        yield _nearness_row(study, concepts, alive, vectors, graph, users)
    if vectors.size(2) > 1:
        yield from _dimension_rows(study, dict(zip(kept, vectors.unbind(1), strict=True)))


def _assignment_rows(
    study: Study, concepts: Concepts, items: Tensor, alive: Tensor
) -> Iterator[Row]:
    """Yields what the assignment is like, beside that of as long vectors in random
    directions.
    """
    generator = study.generator()
    order = torch.randperm(len(items), generator=generator)[: study.num_samples]
    item = concepts.item.cpu().double()[items[order]]
    prototype = concepts.prototype.cpu().double()[alive]

    def in_random_directions(table: Tensor) -> Tensor:
        drawn = torch.randn(table.shape, generator=generator, dtype=table.dtype)
        return F.normalize(drawn, dim=1) * table.norm(dim=1, keepdim=True)

    found = Assigned.of(item, prototype, concepts.tau)
    draws = []
    for _ in range(common.NUM_DRAWS):
        drawn = in_random_directions(item), in_random_directions(prototype)
        draws.append(Assigned.of(drawn[0], drawn[1], concepts.tau))
    names = {
        'largest probability': 'high',
        'concepts told apart': 'high',
        'share of the largest concept': '',
    }
    each = zip(names.items(), found, np.transpose(draws), strict=True)
    for (name, wanted), value, chance in each:
        numbers = common.against(value, chance)
        yield Row('concepts', name, 'item', 'all', *numbers, wanted)


def _category_rows(
    study: Study, concepts: Concepts, items: Tensor, categories: Sequence[Any] | Tensor
) -> Iterator[Row]:
    """Yields how far concepts are categories, beside those of other items."""
    category = category_numbers(categories, len(concepts.item))[0][items]
    known = category >= 0
    nearest, category = concepts.nearest.cpu()[items][known], category[known]
    found = concept_agreement(nearest, category)
    generator = study.generator()
    draws = [
        concept_agreement(
            nearest, category[torch.randperm(len(category), generator=generator)]
        )
        for _ in range(common.NUM_DRAWS)
    ]
    for name, column in (('NMI with categories', 'nmi'), ('purity', 'purity')):
        chance = [getattr(draw, column) for draw in draws]
        numbers = common.against(getattr(found, column), chance)
        yield Row('concepts', name, 'item', 'all', *numbers, 'high')


def _nearness_row(
    study: Study,
    concepts: Concepts,
    alive: Tensor,
    vectors: Tensor,
    graph: BipartiteGraph,
    users: Tensor,
) -> Row:
    """Returns how often the vector of a user is nearest to the prototype of its concept,
    beside vectors that change places.
    """
    confidence = user_confidence(concepts, graph, users).cpu()[:, alive]
    size = min(MOST_CONFIDENT, confidence.size(1))
    concept = confidence.topk(size, dim=1).indices
    row = torch.arange(len(users)).unsqueeze(1)
    prototype = concepts.prototype.cpu().double()[alive]
    nearest = (vectors[row, concept] @ prototype.t()).argmax(dim=2).view(-1)
    concept, generator = concept.view(-1), study.generator()
    value = float((nearest == concept).double().mean())
    draws = []
    for _ in range(common.NUM_DRAWS):
        order = torch.randperm(len(concept), generator=generator)
        draws.append(float((nearest[order] == concept).double().mean()))
    error = (value * (1 - value) / len(concept)) ** 0.5
    numbers = common.against(value, draws, error)
    return Row('concepts', 'nearest to own prototype', 'user', 'all', *numbers, 'high')


def user_confidence(concepts: Concepts, graph: BipartiteGraph, users: Tensor) -> Tensor:
    """Returns how many items each user has of each concept, of shape :math:`(U, K)`."""
    device = concepts.assignment.device
    total = concepts.assignment.new_zeros(graph.num_users, concepts.assignment.size(1))
    user, item = graph.user.to(device), graph.item.to(device)
    return total.index_add(0, user, concepts.assignment[item])[users.to(device)]


def _dimension_rows(study: Study, tables: dict[str, Tensor]) -> Iterator[Row]:
    """Yields how correlated the dimensions of a concept are, beside those that have
    nothing to do with each other, and beside a dimension with itself.
    """
    generator, measure = study.generator(), ('concepts', 'correlation of dimensions')
    limits = []
    for name, table in tables.items():
        draws = []
        for _ in range(common.NUM_DRAWS):
            order = torch.rand(table.shape, generator=generator).argsort(dim=0)
            draws.append(1 - independence(table.gather(0, order)))
        numbers = common.against(1 - independence(table), draws)
        limits.append(numbers[1:3])
        yield Row(*measure, 'user', name, *numbers, 'low')
    yield Row(*measure, 'user', ITSELF, 1.0, *max(limits), wanted='high')
