"""Scores by calling the model on pairs."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from torch import Tensor
from torch_geometric.data import Batch

from iedr_geo.data import BipartiteGraph, FeatureGraphs, InteractionDataset
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn.blocks import blocks
from iedr_geo.nn.contract import has_hooks, stands_for
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.queries import Queries

PAIRS = 1 << 16  # That the model is given at a time.
TRIED = 1 << 10  # Pairs by which the time is estimated.


def device_of(model: object, default: torch.device) -> torch.device:
    """Returns where a model is; a default where that is not said."""
    if isinstance(model, torch.nn.Module):
        for tensor in (*model.parameters(), *model.buffers()):
            return tensor.device
    return default


class _PairScorer(CatalogueScorer):
    """Scores pairs in blocks of a bounded size; subclasses call the model."""

    def _call(self, queries: Queries, items: Tensor) -> Tensor:
        """Returns the scores of a block, of shape :math:`(Q, I)`."""
        raise NotImplementedError

    def _blocks(self, num_queries: int, num_items: int) -> Iterator[tuple[slice, slice]]:
        width = min(num_items, PAIRS)
        for rows in blocks(num_queries, max(1, PAIRS // max(1, width))):
            for columns in blocks(num_items, max(1, width)):
                yield rows, columns

    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the scores of items, by the model's own words for each pair."""
        if items is None:
            items = torch.arange(self.num_items, device=self.device)
        queries = queries.to(self.device)
        out = torch.empty(len(queries), items.size(-1), device=self.device)
        for rows, columns in self._blocks(*out.shape):
            part = items[columns] if items.dim() == 1 else items[rows, columns]
            block = self._call(queries[rows], part)
            if out.dtype != block.dtype:
                out = out.to(block.dtype)
            out[rows, columns] = block
        return out

    def seconds(self, num_queries: int, num_items: int | None = None) -> float:
        """Returns about how long scoring will take, by scoring some pairs."""
        size = self.num_items if num_items is None else num_items
        items = torch.arange(min(TRIED, size), device=self.device) % self.num_items
        some = torch.zeros(1, dtype=torch.long, device=self.device)
        self.scores(Queries(some, some), items)  # What is done once.
        start = time.perf_counter()
        self.scores(Queries(some, some), items)
        each = (time.perf_counter() - start) / len(items)
        return each * num_queries * size


class InteractionScorer(_PairScorer):
    """Scores by any model that maps an :class:`InteractionBatch` to logits.

    Has parts where the model's :obj:`encode` returns them.

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
        super().__init__(dataset.num_users, dataset.num_items, device)
        _check_takes_a_batch(model)
        self.model: Any = model
        self.dataset = dataset.to(device)
        self._handles_new: dict[str, bool] = {}
        if stands_for(model, 'encode', 'forward') and not (
            isinstance(model, torch.nn.Module) and has_hooks(model)
        ):
            first = torch.zeros(1, dtype=torch.long, device=device)
            with evaluating(model):
                encoded = cast(Any, model).encode(
                    self._batch(Queries(first, first), first)
                )
            self.parts = tuple(getattr(encoded, 'parts', ()))
            named = getattr(getattr(encoded, 'factors', None), 'user', None)
            self.factors = tuple(getattr(named, '_fields', ()))

    def _graphs(
        self, side: Side, index: Tensor, new: FeatureGraphs | None
    ) -> tuple[Batch, Tensor]:
        """Returns the distinct graphs, and which of them each has."""
        stored: FeatureGraphs = getattr(self.dataset, f'{side}s')
        distinct, graph = torch.unique(index, return_inverse=True)
        if new is None:
            return stored.batch(distinct), graph
        known = distinct[distinct < len(stored)]
        graphs = new.to(self.device).select(distinct[len(known) :] - len(stored))
        ids = torch.cat([known, known.new_full((len(graphs),), -1)])
        if len(known):
            graphs = stored.select(known).concatenate(graphs)
        batch = graphs.batch(torch.arange(len(graphs), device=self.device))
        batch.graph_id = ids
        return batch, graph

    def _batch(self, queries: Queries, items: Tensor) -> InteractionBatch:
        if queries.context is None:
            raise ValueError('Queries of a dataset need a context each')
        user, user_graph = self._graphs('user', queries.user, queries.users)
        item, item_graph = self._graphs('item', items, queries.items)
        context, context_graph = self._graphs(
            'context', queries.context, queries.contexts
        )
        if items.dim() == 1:
            rows = item_graph[:1].expand(len(queries))
            batch = InteractionBatch(user, item, context, user_graph, rows, context_graph)
            return batch.cross(item_graph)
        each = items.size(1)
        return InteractionBatch(
            user,
            item,
            context,
            user_graph.repeat_interleave(each),
            item_graph.flatten(),
            context_graph.repeat_interleave(each),
        )

    def _call(self, queries: Queries, items: Tensor) -> Tensor:
        with evaluating(self.model):
            batch = self._batch(queries, items)
            self._check_new(batch)
            logits: Tensor = self.model(batch)
        if logits.shape != (len(batch),):
            raise ValueError(
                f'The model must return a logit for each of the {len(batch)} rows of a '
                f'batch (got a tensor of shape {tuple(logits.shape)})'
            )
        return logits.view(len(queries), -1)

    def _check_new(self, batch: InteractionBatch) -> None:
        """Refuses what is new where the model takes its id of -1 for another's."""
        for side in SIDES:
            if side in self._handles_new:
                continue
            new = (getattr(batch, side).graph_id < 0).nonzero().view(-1)
            if not new.numel():
                continue
            rows = (getattr(batch, f'{side}_graph') == new[0]).nonzero().view(-1)[:1]
            if not rows.numel():
                continue
            if not self._tells_apart(side, batch[rows], new[0]):
                raise ValueError(
                    f'The model looks up the id of each {side}, and this {side} is new: '
                    f'its id is -1, for which `forward` must have an answer of its own'
                )
            self._handles_new[side] = True

    def _tells_apart(self, side: Side, row: InteractionBatch, graph: Tensor) -> bool:
        """Returns whether the id -1 is neither an error nor read from the end of a table.

        In the latter case the answer is that of the last id, but not that of others.
        """
        model, row = self.model, row.to('cpu')
        if isinstance(model, torch.nn.Module) and self.device.type != 'cpu':
            model = copy.deepcopy(
                model
            ).cpu()  # An error on a device would end the process.
        graphs = getattr(row, side)
        size = len(getattr(self.dataset, f'{side}s'))
        answers = []
        try:
            for number in (-1, size - 1, 0):
                ids = graphs.graph_id.clone()
                ids[graph] = number
                graphs.graph_id = ids
                with evaluating(model):
                    answers.append(model(row))
        except (IndexError, RuntimeError):
            return False
        unknown, last, other = answers
        return size == 1 or not torch.equal(unknown, last) or torch.equal(last, other)

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the parts of the scores that the model's :obj:`encode` returns."""
        if not self.parts:
            return {}
        queries = queries.to(self.device)
        size = len(queries), items.size(-1)
        out = {name: torch.empty(size, device=self.device) for name in self.parts}
        for rows, columns in self._blocks(*size):
            part = items[columns] if items.dim() == 1 else items[rows, columns]
            with evaluating(self.model):
                batch = self._batch(queries[rows], part)
                self._check_new(batch)
                parts = self.model.encode(batch).parts
            for name, values in parts.items():
                out[name][rows, columns] = values.view(-1, part.size(-1))
        return out

    def factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns a factor that the model's :obj:`encode` returns."""
        if name not in self.factors:
            return super().factor(name, side, queries, index)
        # Of a pair, whose other end does not matter.
        queries, index = queries.to(self.device), index.to(self.device)
        if side == 'user':
            other = torch.zeros_like(index)
            pairs = Queries(index, queries.context, queries.users, queries.contexts)
        else:
            other = index
            pairs = Queries(
                torch.zeros_like(index),
                queries.context,
                contexts=queries.contexts,
                items=queries.items,
            )
        parts = []
        for rows in blocks(len(index), PAIRS):
            with evaluating(self.model):
                batch = self._batch(pairs[rows], other[rows].unsqueeze(1))
                factors = getattr(self.model.encode(batch).factors, side)
            parts.append(getattr(factors, name))
        return torch.cat(parts)


class GraphScorer(_PairScorer):
    """Scores by any model that scores pairs of users and items by their numbers.

    Args:
        model: The model, with :obj:`score(user, item)`.
        graph: The users and items.
    """

    def __init__(self, model: Any, graph: BipartiteGraph) -> None:
        device = device_of(model, graph.device)
        super().__init__(graph.num_users, graph.num_items, device)
        self.model = model

    def _call(self, queries: Queries, items: Tensor) -> Tensor:
        if items.dim() == 1:
            items = items.unsqueeze(0)
        with evaluating(self.model):
            score: Tensor = self.model.score(queries.user.unsqueeze(1), items)
        shape = len(queries), items.size(1)
        if score.shape != shape:
            raise ValueError(
                f'`score` must broadcast users of shape ({shape[0]}, 1) with items of '
                f'shape {tuple(items.shape)} (got scores of shape {tuple(score.shape)})'
            )
        return score


def _check_takes_a_batch(model: Any) -> None:
    call = model.forward if isinstance(model, torch.nn.Module) else model
    try:
        inspect.signature(call).bind(None)
    except TypeError as error:
        raise ValueError(
            f'A dataset needs a model whose `forward` takes a batch; that of '
            f'{type(model).__name__} does not: {error}'
        ) from error
    except ValueError:  # Some callables have no signature.
        return
