"""Scores by calling the model on pairs."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from iedr_geo.data import BipartiteGraph, FeatureGraphs, InteractionDataset
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn.contract import has_hooks, stands_for
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.queries import Queries

TRIED = 1 << 10  # Pairs by which the time is estimated.
ENCODED = 8  # Users, and items of each, whose parts must add up to the logits.
PROBED = 8  # Ids at the end of a table that a new one might be taken for.


CPU = torch.device('cpu')


def device_of(model: object, default: torch.device = CPU) -> torch.device:
    """Returns where parameters and buffers are; a default if there are none."""
    if isinstance(model, torch.nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return default


class _PairScorer(CatalogueScorer):
    """Scores by calling a model on blocks of pairs, which subclasses do."""

    pair_by_pair = True

    model: Any

    def _call(self, queries: Queries, items: Tensor) -> Tensor:
        """Returns the scores of a block, of shape :math:`(Q, I)`."""
        raise NotImplementedError

    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the scores of items, by the model's own words for each pair."""

        def call(queries: Queries, items: Tensor) -> dict[str, Tensor]:
            block = self._call(queries, items)
            # What is left out scores -inf.
            return {'score': block if block.is_floating_point() else block.double()}

        if items is None:
            items = torch.arange(self.num_items)
        with evaluating(self.model):
            return self._in_blocks(call, ['score'], queries, items)['score']

    def seconds(self, num_queries: int, num_items: int | None = None) -> float | None:
        """Returns about how long scoring will take, by scoring some pairs.

        What is one call of the model is not asked about.
        """
        each = self.num_items if num_items is None else num_items
        if num_queries * each <= self.pairs_at_once:
            return None
        width = min(TRIED, each)
        size = min(num_queries, TRIED // width), width
        row = torch.arange(size[0], device=self.device)
        items = torch.arange(size[0] * width, device=self.device).view(size)
        some = Queries(row % self.num_users, torch.zeros_like(row))
        self.scores(some, items % self.num_items)  # What is done once.
        start = time.perf_counter()
        self.scores(some, items % self.num_items)
        spent = time.perf_counter() - start
        return spent * (num_queries / size[0]) * (each / width)


class InteractionScorer(_PairScorer):
    """Scores by any model that maps an :class:`InteractionBatch` to logits.

    Has parts where the model's :obj:`encode` returns some that add up to the logits.

    Args:
        model: The model, or a function.
        dataset: Where the graphs of users, items and contexts are.

    Raises:
        ValueError: If the model takes something else than a batch.
    """

    def __init__(
        self, model: Callable[[InteractionBatch], Tensor], dataset: InteractionDataset
    ) -> None:
        device = device_of(model, dataset.user.device)
        super().__init__(dataset, device)
        _check_takes_a_batch(model)
        self.model = model
        self.dataset = dataset.to(device)
        self._handles_new: set[Side] = set()
        if stands_for(model, 'encode', 'forward') and not (
            isinstance(model, torch.nn.Module) and has_hooks(model)
        ):
            user, item, context = (
                torch.arange(ENCODED, device=device) * size // ENCODED
                for size in (self.num_users, self.num_items, dataset.num_contexts)
            )
            with evaluating(model):
                batch = self._batch(Queries(user, context), item)
                encoded = self.model.encode(batch)
            parts = getattr(encoded, 'parts', {})
            if parts and _add_up(parts, encoded.logits):
                self.parts = tuple(parts)
            named = getattr(getattr(encoded, 'factors', None), 'user', None)
            self.factor_names = tuple(getattr(named, '_fields', ()))

    def _graphs(
        self, side: Side, index: Tensor, new: FeatureGraphs | None
    ) -> tuple[Batch, Tensor]:
        """Returns the distinct graphs, and which of them each has."""
        stored: FeatureGraphs = getattr(self.dataset, f'{side}s')
        distinct, graph = torch.unique(index, return_inverse=True)
        if new is None:
            return stored.batch(distinct), graph
        is_new = distinct >= len(stored)
        graphs = new.to(self.device).select(distinct[is_new] - len(stored))
        if not is_new.all():
            graphs = stored.select(distinct[~is_new]).concatenate(graphs)
        batch = graphs.batch(torch.arange(len(graphs), device=self.device))
        batch.graph_id = distinct.masked_fill(is_new, -1)
        return batch, graph

    def _batch(self, queries: Queries, items: Tensor) -> InteractionBatch:
        """Returns a batch of all pairs of a block."""
        arguments: dict[str, Any] = {}
        user, context = queries.user.unsqueeze(1), queries.get_context().unsqueeze(1)
        for side, index in zip(SIDES, (user, items, context), strict=True):
            arguments[side], graph = self._graphs(side, index, queries.graphs(side))
            arguments[f'{side}_graph'] = graph.expand(
                len(queries), items.size(-1)
            ).flatten()
        return InteractionBatch(**arguments)

    def _checked_batch(self, queries: Queries, items: Tensor) -> InteractionBatch:
        """Returns a batch of which the model can be asked.

        Raises:
            ValueError: If something is new and the model takes its id, -1, for another's.
        """
        batch = self._batch(queries, items)
        for side in SIDES:
            if side in self._handles_new or queries.graphs(side) is None:
                continue
            new = (getattr(batch, f'{side}_id') < 0).nonzero().view(-1)[:1]
            if not new.numel():
                continue
            row, column = new // items.size(-1), new % items.size(-1)
            item = items.expand(len(queries), -1)[row, column].unsqueeze(1)
            if self._looks_up(side, self._batch(queries[row], item)):
                raise ValueError(
                    f'The model looks up the id of each {side}, and this {side} is new: '
                    f'its id is -1, for which `forward` must have an answer of its own'
                )
            self._handles_new.add(side)
        return batch

    def _looks_up(self, side: Side, row: InteractionBatch) -> bool:
        """Returns whether the id -1 is an error, or read from the end of a table.

        In the latter case, -1, -2 and so on are the last id, the one before and so on.
        """
        model, row = self.model, row.to('cpu')
        if isinstance(model, torch.nn.Module) and self.device.type != 'cpu':
            # An error on a device would end the process.
            model = copy.deepcopy(model).cpu()
        for other in SIDES:  # One side is asked about, with stored ones of the others.
            if other != side:
                others = getattr(row, other)
                others.graph_id = others.graph_id.clamp(min=0)
        graphs = getattr(row, side)
        size = len(getattr(self.dataset, f'{side}s'))

        def answer(number: int) -> Tensor:
            graphs.graph_id = torch.full_like(graphs.graph_id, number)
            with evaluating(model):
                logits: Tensor = model(row)
            return logits

        stored, new = [], []
        for step in range(1, min(PROBED, size) + 1):
            stored.append(answer(size - step))
            try:
                new.append(answer(-step))
            except (IndexError, RuntimeError):
                return step == 1
        table = torch.cat(stored)
        return torch.equal(torch.cat(new), table) and bool((table != table[0]).any())

    def _call(self, queries: Queries, items: Tensor) -> Tensor:
        batch = self._checked_batch(queries, items)
        logits: Tensor = self.model(batch)
        if logits.shape != (len(batch),):
            raise ValueError(
                f'The model must return a logit for each of the {len(batch)} rows of a '
                f'batch (got a tensor of shape {tuple(logits.shape)})'
            )
        return logits

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the parts of the scores that the model's :obj:`encode` returns."""

        def call(queries: Queries, items: Tensor) -> Any:
            return self.model.encode(self._checked_batch(queries, items)).parts

        if not self.parts:
            return {}
        with evaluating(self.model):
            return self._in_blocks(call, self.parts, queries, items)

    def _factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns a factor that the model's :obj:`encode` returns."""
        # Of a pair, whose other end does not matter.
        first = torch.zeros_like(index)
        user, item = (index, first) if side == 'user' else (first, index)
        with evaluating(self.model):
            batch = self._checked_batch(replace(queries, user=user), item.unsqueeze(1))
            factors = getattr(self.model.encode(batch).factors, side)
        factor: Tensor = getattr(factors, name)
        return factor


class GraphScorer(_PairScorer):
    """Scores by any model that scores pairs of users and items by their numbers.

    Args:
        model: The model, with :obj:`score(user, item)`.
        graph: The users and items.
    """

    def __init__(self, model: Any, graph: BipartiteGraph) -> None:
        device = device_of(model, graph.device)
        super().__init__(graph, device)
        if not hasattr(model, 'score'):
            raise ValueError(
                f'A BipartiteGraph needs a model with `score(user, item)`, or with '
                f'`encode` and `decode`, which {type(model).__name__} does not have'
            )
        self.model = model

    def _call(self, queries: Queries, items: Tensor) -> Tensor:
        items = torch.atleast_2d(items)
        score: Tensor = self.model.score(queries.user.unsqueeze(1), items)
        shape = len(queries), items.size(1)
        if score.shape != shape:
            raise ValueError(
                f'`score` must broadcast users of shape ({shape[0]}, 1) with items of '
                f'shape {tuple(items.shape)} (got scores of shape {tuple(score.shape)})'
            )
        return score


def _add_up(parts: dict[str, Tensor], logits: Tensor) -> bool:
    """Returns whether parts are those of logits, but for rounding."""
    table = torch.stack(list(parts.values())).double()
    scale = table.abs().sum(dim=0)
    return bool(((table.sum(dim=0) - logits).abs() <= 1e-2 * scale).all())


def _check_takes_a_batch(model: Any) -> None:
    call = model.forward if isinstance(model, torch.nn.Module) else model
    if getattr(call, '__func__', None) is torch.nn.Module.forward:
        raise ValueError(
            f'A dataset needs a model with `forward(batch)`, which '
            f'{type(model).__name__} does not have'
        )
    try:
        inspect.signature(call).bind(None)
    except TypeError as error:
        raise ValueError(
            f'A dataset needs a model whose `forward` takes a batch; that of '
            f'{type(model).__name__} does not: {error}'
        ) from error
    except ValueError:  # Some callables have no signature.
        return
