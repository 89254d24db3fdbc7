"""Scores of a whole catalogue by IEDR, and their parts."""

from __future__ import annotations

from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from iedr_geo.data import FeatureGraphs, InteractionDataset
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.nn import IEDR, Factors
from iedr_geo.nn.blocks import blocks
from iedr_geo.nn.contract import stands_for
from iedr_geo.nn.dense import linear
from iedr_geo.nn.models.encoded import split_score
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.plain import PAIRS
from iedr_geo.scoring.queries import Queries
from iedr_geo.scoring.scorer import scorer
from iedr_geo.scoring.top_k import first_of

ENCODED = 16_384  # Graphs that are encoded at a time.
SCORED = 8192  # Items whose hidden layer stays in the cache.
CONTEXTS = 512  # Whose hidden weights are held at a time.


class _Readouts:
    """Readouts and pointwise terms of graphs, each computed when first asked for."""

    def __init__(self, model: IEDR, side: Side, graphs: FeatureGraphs) -> None:
        self.model, self.side, self.graphs = model, side, graphs
        self.done = torch.zeros(len(graphs), dtype=torch.bool, device=graphs.x.device)
        self.vector: Tensor | None = None
        self.pointwise = torch.zeros(len(graphs), device=graphs.x.device)

    def _fill(self, missing: Tensor) -> None:
        for chunk in missing.split(ENCODED):
            vector, pointwise = self.model.encode_graphs(
                self.side, self.graphs.batch(chunk)
            )
            if self.vector is None:
                self.vector = vector.new_empty(len(self.graphs), vector.size(1))
                self.pointwise = self.pointwise.to(pointwise.dtype)
            self.vector[chunk], self.pointwise[chunk] = vector, pointwise
            self.done[chunk] = True

    def __call__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Returns readouts of shape :math:`(*, F)` and terms of shape :math:`(*)`."""
        missing = index[~self.done[index]]
        if missing.numel():
            self._fill(torch.unique(missing))
        if self.vector is None:  # Nothing was ever asked for.
            self._fill(torch.zeros_like(self.done[:1], dtype=torch.long))
        assert self.vector is not None
        return self.vector[index], self.pointwise[index]

    def all(self) -> tuple[Tensor, Tensor]:
        """Returns those of all graphs."""
        missing = (~self.done).nonzero().view(-1)
        if missing.numel():
            self._fill(missing)
        assert self.vector is not None
        return self.vector, self.pointwise


@scorer.register(IEDR, gives=('forward', 'encode', 'encode_graphs', 'readouts'))
class IEDRScorer(CatalogueScorer):
    r"""Scores items for users in a context without a forward pass for each item.

    An item's readout depends on neither user nor context and is computed once. In a
    context, the item generator's hidden layer meets the whole catalogue; the users'
    factors are folded into its last layer:

    .. math::
        \mathbf{w} = (\mathbf{W}_{in} + \mathbf{W}_{ex})^{\top}
        (\mathbf{o}^u_{in} + \mathbf{o}^u_{ex})

    is all that the hidden layer of an item is multiplied with. Items with the same
    features have the same score.

    Args:
        model: The model.
        dataset: Its users, items and contexts.

    Raises:
        ValueError: If the model was trained on another schema.
    """

    factors = ('intrinsic', 'extrinsic')
    has_readouts = True

    def __init__(self, model: IEDR, dataset: InteractionDataset) -> None:
        if dataset.schema.num_embeddings != model.embedding.num_embeddings:
            raise ValueError(
                f'The schema of the dataset has {dataset.schema.num_embeddings} '
                f'embeddings, the model {model.embedding.num_embeddings}: it was trained '
                f'on another schema'
            )
        device = model.embedding.weight.device
        super().__init__(dataset.num_users, dataset.num_items, device)
        self.model = model
        self._stored = {
            side: _Readouts(model, side, getattr(dataset, f'{side}s').to(device))
            for side in SIDES
        }
        self._new: dict[Side, WeakKeyDictionary[FeatureGraphs, _Readouts]] = {
            side: WeakKeyDictionary() for side in SIDES
        }
        self.parts = ('intrinsic', 'extrinsic', 'cross')
        if model.pointwise is not None:
            self.parts += ('pointwise',)

    @cached_property
    def _alike(self) -> Tensor | None:
        """For each item, the first that has the same features; nothing if none has."""
        content = self._stored['item'].graphs.content()
        if int(content.max()) + 1 == len(content):
            return None
        return first_of(content)

    def _readouts(
        self, side: Side, index: Tensor, new: FeatureGraphs | None
    ) -> tuple[Tensor, Tensor]:
        """Returns readouts and pointwise terms of users, items or contexts."""
        stored = self._stored[side]
        if new is None:
            return stored(index)
        if new not in self._new[side]:
            self._new[side][new] = _Readouts(self.model, side, new.to(self.device))
        of_new = self._new[side][new]
        size = len(stored.graphs)
        known = index < size
        if not known.any():
            return of_new(index - size)
        vector, pointwise = stored(index.clamp(max=size - 1))
        is_new = ~known
        vector[is_new], pointwise[is_new] = of_new(index[is_new] - size)
        return vector, pointwise

    def _query(self, queries: Queries) -> tuple[Factors, Tensor, Tensor, Tensor]:
        """Returns factors and terms of users, distinct contexts, and whose they are."""
        if queries.context is None:
            raise ValueError('Queries of a dataset need a context each')
        distinct, row = torch.unique(queries.context, return_inverse=True)
        context, of_context = self._readouts('context', distinct, queries.contexts)
        user, pointwise = self._readouts('user', queries.user, queries.users)
        factors = self.model.generators['user'](user, context[row])
        return factors, pointwise + of_context[row], context, row

    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the scores of items."""
        with evaluating(self.model):
            queries = queries.to(self.device)
            items = None if items is None else items.to(self.device)
            if items is not None and items.dim() == 2:
                return torch.stack(list(self.split(queries, items).values())).sum(0)
            if items is None:
                item, pointwise = self._stored['item'].all()
                alike = self._alike
            else:
                item, pointwise = self._readouts('item', items, queries.items)
                alike = None if self._alike is None else self._first(items)
            factors, of_query, context, row = self._query(queries)
            vector = factors.intrinsic + factors.extrinsic
            out = vector.new_empty(len(vector), len(item))
            if out.numel() == 0:
                return out
            order = row.argsort(stable=True)
            ends = torch.bincount(row, minlength=len(context)).cumsum(0).tolist()
            groups = list(zip([0, *ends[:-1]], ends, strict=True))
            generator = self.model.generators['item']
            folds = stands_for(generator, 'fold', 'forward')
            fill = self._fill_folded if folds else self._fill
            fill(out, vector[order], context, groups, item)
            if not torch.equal(order, torch.arange(len(order), device=order.device)):
                out = torch.empty_like(out).index_copy_(0, order, out)
            if self.model.pointwise is not None:
                out += of_query.unsqueeze(1) + pointwise
            # Rounding must not tell apart what is equal.
            return out if alike is None else out[:, alike]

    def _first(self, items: Tensor) -> Tensor:
        size = self.num_items
        alike = self._alike
        assert alike is not None
        return first_of(
            torch.where(items < size, alike[items.clamp(max=size - 1)], items)
        )

    def _fill(
        self,
        out: Tensor,
        vector: Tensor,
        contexts: Tensor,
        groups: list[tuple[int, int]],
        item: Tensor,
    ) -> None:
        """Scores by the factors of all items in each context."""
        generator = self.model.generators['item']
        for context, (start, end) in zip(contexts, groups, strict=True):
            for rows in blocks(len(item), SCORED):
                factors: Any = sum(generator(item[rows], context))
                out[start:end, rows] = vector[start:end] @ factors.t()

    def _fill_folded(
        self,
        out: Tensor,
        vector: Tensor,
        contexts: Tensor,
        groups: list[tuple[int, int]],
        item: Tensor,
    ) -> None:
        """The same, with the last layer folded into the users."""
        for some in blocks(len(groups), CONTEXTS):
            start, end = groups[some][0][0], groups[some][-1][1]
            sizes = [end - start for start, end in groups[some]]
            self._fill_some(
                out[start:end], vector[start:end], contexts[some], sizes, item
            )

    def _fill_some(
        self,
        out: Tensor,
        vector: Tensor,
        contexts: Tensor,
        sizes: list[int],
        item: Tensor,
    ) -> None:
        generator: Any = self.model.generators['item']
        rows = torch.tensor(sizes, device=contexts.device)
        own = contexts.repeat_interleave(rows, dim=0, output_size=len(vector))
        folded = generator.fold(vector, own)
        weights, biases = generator.hidden(contexts)
        # The bias is the weight of a feature that is one.
        weights = torch.cat([weights, biases.unsqueeze(-1)], dim=-1)
        highest = weights.size(-1) * _highest(weights) * max(_highest(item), 1.0)
        finite = highest < torch.finfo(item.dtype).max
        users = folded.weight.split(sizes)
        constants = folded.constant.unsqueeze(1).split(sizes)
        for columns in blocks(len(item), SCORED):
            some = item[columns]
            some = torch.cat([some, some.new_ones(len(some), 1)], dim=1)
            parts = out[:, columns].split(sizes)
            each = zip(weights.unbind(), users, constants, parts, strict=True)
            for weight, user, constant, part in each:
                if not len(weight):
                    part.copy_(constant.expand_as(part))
                    continue
                # Not kept: the next one is to lie where this one lay in the cache.
                torch.addmm(
                    constant, user, linear(weight, some, None, True, finite), out=part
                )
        if folded.direct is not None:
            out += folded.direct @ item.t()

    def _split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        item, pointwise = self._readouts('item', items, queries.items)
        user, of_query, contexts, row = self._query(queries)
        context = contexts[row].unsqueeze(1).expand(-1, items.size(1), -1)
        # In two dimensions, where products are the fastest.
        factors = self.model.generators['item'](item.flatten(0, 1), context.flatten(0, 1))
        of_items = Factors(*(f.unflatten(0, items.shape) for f in factors))
        parts = split_score(Factors(*(f.unsqueeze(1) for f in user)), of_items)
        if self.model.pointwise is not None:
            parts['pointwise'] = of_query.unsqueeze(1) + pointwise
        return parts

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the parts of the scores of items."""
        with evaluating(self.model):
            queries, items = queries.to(self.device), items.to(self.device)
            if items.dim() == 1:
                items = items.expand(len(queries), -1)
            size = max(1, PAIRS // max(1, items.size(1)))
            parts = [
                self._split(queries[rows], items[rows])
                for rows in blocks(max(1, len(queries)), size)
            ]
            return {name: torch.cat([p[name] for p in parts]) for name in self.parts}

    def factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns a factor of users or items in contexts."""
        if name not in self.factors:
            return super().factor(name, side, queries, index)
        if queries.context is None:
            raise ValueError('Factors are of users or items in contexts')
        with evaluating(self.model):
            queries, index = queries.to(self.device), index.to(self.device)
            vector, _ = self._readouts(side, index, queries.graphs(side))
            assert queries.context is not None
            distinct, row = torch.unique(queries.context, return_inverse=True)
            context, _ = self._readouts('context', distinct, queries.contexts)
            factors = self.model.generators[side](vector, context[row])
            table: Tensor = getattr(factors, name)
            return table

    def readouts(self, side: Side) -> Tensor:
        """Returns the readouts of all users or items."""
        with evaluating(self.model):
            return self._stored[side].all()[0]


def _highest(x: Tensor) -> float:
    """Returns the highest absolute value, NaN if there is one."""
    return max(map(abs, torch.stack(x.aminmax()).tolist())) if x.numel() else 0.0
