"""Checks of a model, of a dataset or of a graph."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.loader import EdgeBatch, InteractionBatch, UserBatch, UserLoader
from iedr_geo.nn.contract import stands_for
from iedr_geo.scoring import Queries, device_of, reads_history, scorer
from iedr_geo.testing.properties import (
    check_alike,
    check_gradients,
    check_modes,
    check_output,
    check_same,
    checked_copy,
    trained_parameters,
)

NUM_ROWS, NUM_NEGATIVES = 12, 2


def check_interaction_model(
    model: torch.nn.Module, dataset: InteractionDataset, seed: int = 0
) -> None:
    r"""Checks that a model of an :class:`InteractionDataset` can be trained, evaluated
    and asked for recommendations.

    It is called as ``model(batch)`` with an :class:`InteractionBatch`. Of the methods
    that it may have besides, those are checked that it has.

    - The logits are a finite number for each row, of shape :math:`(B)`.
    - In evaluation, the same rows always have the same logits.
    - The order of the rows does not matter.
    - A row has the same logit alone as in a batch.
    - ``encode`` gives the same logits as a call, and parts, if any, that add up to them.
    - ``score_items``, and its gradients, are those of ``model(batch.cross(items))``.
    - The terms of ``extra_losses`` or ``losses`` are finite scalars.
    - In training, gradients reach all parameters; those of ``estimator_parameters`` are
      reached by ``estimator_loss``.
    - The scores by :func:`~iedr_geo.scoring.scorer`, and the sums of their parts, are the
      logits.
    - A call leaves training and evaluation modes as they are.
    - A copy that loads the state of the model has its logits.

    The checks are of a copy: the model itself stays as it is.

    Args:
        model: The model.
        dataset: Data that fit the model, at best no more than some hundred rows.
        seed: The seed of the rows and of what the model draws.

    Raises:
        AssertionError: If a property does not hold. The message says which.
    """
    with checked_copy(model, seed, double=False) as model:
        fresh, device = copy.deepcopy(model), device_of(model)
        dataset = dataset.to(device)
        batch = _draw_rows(dataset)

        def logits(rows: Tensor) -> Tensor:
            ids = (batch.user_id, batch.item_id, batch.context_id)
            some = InteractionBatch.from_ids(dataset, *(side[rows] for side in ids))
            out: Tensor = model(some)
            return out

        _check_logits(logits, 'logits', device)
        _check_encode(model, batch)
        _check_score_items(model, batch)
        encode = getattr(model, 'encode', lambda _: None)
        _check_terms(model, lambda: (model(batch), batch, encode(batch)))
        queries = Queries(batch.user_id, batch.context_id)
        _check_scorer(model, dataset, queries, batch.item_id, model(batch))
        _check_state(model, fresh, lambda one: one(batch))


def check_bipartite_model(
    model: torch.nn.Module, graph: BipartiteGraph, seed: int = 0
) -> None:
    r"""Checks that a model of a :class:`BipartiteGraph` can be trained, evaluated and
    asked for recommendations.

    It is called as ``model.score(user, item)``, or, if it makes users of their items, as
    ``model.decode(model.encode(batch), items)``, with a :class:`UserBatch`.

    - The scores of indices of any shapes that broadcast are those of the pairs.
    - They are finite. In evaluation, the same pairs always have the same scores.
    - The order of the pairs does not matter.
    - A pair has the same score alone as with others.
    - The terms of ``extra_losses`` or ``losses`` are finite scalars.
    - In training, gradients reach all parameters.
    - The scores by :func:`~iedr_geo.scoring.scorer`, and the sums of their parts, are the
      model's.
    - A call leaves training and evaluation modes as they are.
    - A copy that loads the state of the model has its scores.

    The checks are of a copy: the model itself stays as it is.

    Args:
        model: The model.
        graph: A graph that fits the model, at best no more than some hundred edges.
        seed: The seed of the pairs and of what the model draws.

    Raises:
        AssertionError: If a property does not hold. The message says which.
    """
    with checked_copy(model, seed, double=False) as model:
        fresh, device = copy.deepcopy(model), device_of(model)
        graph = graph.to(device)
        score: Any = _score_of(model, graph)
        edges = torch.randint(graph.num_edges, (NUM_ROWS,), device=device)
        user, item = graph.user[edges], graph.item[edges]
        items = torch.randint(graph.num_items, (NUM_ROWS, NUM_NEGATIVES), device=device)
        batch: Any = EdgeBatch(user, item, items, graph.intervened[edges])
        if getattr(model, 'batches', 'edges') == 'users':
            batch = next(iter(UserLoader(graph, NUM_ROWS)))

        _check_logits(lambda rows: score(user[rows], item[rows]), 'scores', device)
        _check_broadcasting(score, user, items)
        _check_terms(model, lambda: (score(user, item), batch, None))
        _check_scorer(model, graph, Queries(user), item, score(user, item))
        _check_state(model, fresh, lambda one: _score_of(one, graph)(user, item))


def _score_of(model: Any, graph: BipartiteGraph) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns what scores pairs: the model, or what it makes of the users of a graph."""
    if not reads_history(model):
        score: Callable[[Tensor, Tensor], Tensor] = model.score
        return score

    def of_histories(user: Tensor, item: Tensor) -> Tensor:
        user, item = torch.broadcast_tensors(user, item)
        batch = UserBatch.from_graph(graph, user.reshape(-1))
        scores: Tensor = model.decode(model.encode(batch), item.reshape(-1, 1))
        return scores.view(user.shape)

    return of_histories


def _draw_rows(dataset: InteractionDataset) -> InteractionBatch:
    """Returns some of the rows, in which every other item is any of the dataset."""
    device = dataset.user.device
    row = torch.randint(len(dataset), (NUM_ROWS,), device=device)
    items = torch.randint(dataset.num_items, (NUM_ROWS,), device=device)
    y = (torch.arange(NUM_ROWS, device=device) % 2).to(torch.get_default_dtype())
    item = torch.where(y == 1, dataset.item[row], items)
    return InteractionBatch.from_ids(
        dataset, dataset.user[row], item, dataset.context[row], y
    )


def _check_logits(logits: Callable[[Tensor], Tensor], name: str, device: Any) -> None:
    rows = torch.arange(NUM_ROWS, device=device)
    order = torch.randperm(NUM_ROWS, device=device)
    together = logits(rows)
    check_output(together, (NUM_ROWS,), f'The {name}')
    failure = f'In evaluation, the {name} of a second call differ'
    check_same(logits(rows), together, failure)
    failure = f'The {name} depend on the order of the rows'
    check_same(logits(order), together[order], failure)
    alone = torch.cat([logits(row) for row in rows.split(1)])
    check_same(alone, together, f'The {name} of rows in a batch differ from those alone')


def _check_encode(model: Any, batch: InteractionBatch) -> None:
    if not stands_for(model, 'encode', 'forward'):
        return
    encoded, logits = model.encode(batch), model(batch)
    check_same(encoded.logits, logits, 'The logits of `encode` are not those of a call')
    if getattr(encoded, 'parts', None):
        total = torch.stack(list(encoded.parts.values())).sum(dim=0)
        failure = 'The parts of `encode` do not add up to the logits'
        check_same(total, logits, failure)


def _check_score_items(model: Any, batch: InteractionBatch) -> None:
    if not stands_for(model, 'score_items', 'forward', 'encode'):
        return
    encoded = model.encode(batch) if hasattr(model, 'encode') else None
    items = torch.randperm(batch.item.num_graphs, device=batch.item_graph.device)
    actual = model.score_items(batch, items, encoded)
    expected = model(batch.cross(items)).view(NUM_ROWS, -1)
    names = 'Logits of `score_items` and `model(batch.cross(items))`'
    check_alike(actual, expected, [*trained_parameters(model).values()], names)


def _check_broadcasting(score: Any, user: Tensor, items: Tensor) -> None:
    user = user.unsqueeze(1)
    for shape, item in (('(U, I)', items), ('(I)', items[:, 0])):
        one, two = torch.broadcast_tensors(user, item)
        pairs = score(one.flatten(), two.flatten()).view_as(one)
        failure = f'Scores of users (U, 1) and items {shape} are not those of the pairs'
        check_same(score(user, item), pairs, failure)


def _terms(model: Any, batch: Any, encoded: Any) -> dict[str, Tensor]:
    """Returns what is minimised, or added to the loss of the prediction."""
    if hasattr(model, 'losses'):
        losses = model.losses(batch)
        if 'total' not in getattr(losses, '_fields', ()):
            raise AssertionError(
                '`losses` must return a named tuple with a field `total` (got '
                f'{type(losses).__name__})'
            )
        return dict(losses._asdict())
    if hasattr(model, 'extra_losses'):
        return dict(model.extra_losses(batch, encoded))
    return {}


def _check_terms(model: Any, call: Callable[[], tuple[Tensor, Any, Any]]) -> None:
    """Checks the losses and where their gradients and those of the logits arrive.

    Args:
        model: The model.
        call: Returns its logits, the batch and what it encoded.
    """
    model.train()
    logits, batch, encoded = call()
    terms = _terms(model, batch, encoded)
    for name, term in terms.items():
        check_output(term, (), f"The term '{name}' of the losses")
    rest = trained_parameters(model)
    estimator = {id(p) for p in getattr(model, 'estimator_parameters', list)()}
    own = {name: rest.pop(name) for name in list(rest) if id(rest[name]) in estimator}
    out = [terms['total']] if hasattr(model, 'losses') else [logits, *terms.values()]
    check_gradients(torch.cat([one.reshape(-1) for one in out]), {}, rest)
    if own:
        check_gradients(model.estimator_loss(encoded), {}, own)
    model.eval()
    check_modes(model, call)


def _check_scorer(
    model: Any, data: Any, queries: Queries, item: Tensor, logits: Tensor
) -> None:
    try:
        made = scorer(model, data)
    except ValueError as error:
        raise AssertionError(str(error)) from error
    pairs = item.unsqueeze(1)
    answers = {
        'scores of pairs': made.scores(queries, pairs),
        'scores of the catalogue': made.scores(queries).gather(1, pairs),
    }
    if made.parts:
        parts = made.split(queries, pairs).values()
        answers['sums of the parts'] = torch.stack(list(parts)).sum(dim=0)
    for name, scores in answers.items():
        failure = f'The {name} by {type(made).__name__} are not those of the model'
        check_same(scores.squeeze(1), logits.to(scores.dtype), failure)


def _check_state(
    model: torch.nn.Module, fresh: torch.nn.Module, call: Callable[[Any], Tensor]
) -> None:
    """Checks that a copy that was never called, once it has been, can load a state."""
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.add_(torch.randn_like(parameter))
    call(fresh)
    fresh.load_state_dict(model.state_dict())
    failure = 'With the state of the model, a copy differs'
    check_same(call(fresh), call(model), failure)
