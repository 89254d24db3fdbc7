"""Scores of a whole catalogue by IEDR, and their parts."""

from __future__ import annotations

from functools import cached_property
from itertools import product
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
from iedr_geo.scoring.agreement import check_schema
from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.queries import Queries
from iedr_geo.scoring.scorer import scorer
from iedr_geo.scoring.top_k import first_of


class _Readouts:
    """Readouts and pointwise terms of graphs, each computed when first asked for.

    Args:
        model: The model.
        side: Whose graphs they are.
        graphs: The graphs, on the device of the model.
        size: The number of graphs to encode at a time.
    """

    def __init__(self, model: IEDR, side: Side, graphs: FeatureGraphs, size: int) -> None:
        self.model, self.side, self.graphs, self.size = model, side, graphs, size
        self.done = torch.zeros(len(graphs), dtype=torch.bool, device=graphs.x.device)
        with evaluating(model):
            one = self._encode(torch.arange(min(1, len(graphs)), device=graphs.x.device))
        self.vector, self.pointwise = (
            part.new_empty(len(graphs), *part.shape[1:]) for part in one
        )
        self.new: WeakKeyDictionary[FeatureGraphs, _Readouts] = WeakKeyDictionary()

    def _encode(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return self.model.encode_graphs(self.side, self.graphs.batch(index))

    def all(self) -> tuple[Tensor, Tensor]:
        """Returns those of all graphs."""
        self._fill((~self.done).nonzero().view(-1))
        return self.vector, self.pointwise

    def _fill(self, missing: Tensor) -> None:
        for rows in blocks(len(missing), self.size):
            chunk = missing[rows]
            self.vector[chunk], self.pointwise[chunk] = self._encode(chunk)
            self.done[chunk] = True

    def __call__(
        self, index: Tensor, new: FeatureGraphs | None = None
    ) -> tuple[Tensor, Tensor]:
        """Returns readouts of shape :math:`(*, F)` and terms of shape :math:`(*)`.

        Args:
            index: The graphs, of any shape :math:`(*)`.
            new: Further graphs, whose numbers are those after the stored ones.
        """
        if new is None:
            self._fill(torch.unique(index[~self.done[index]]))
            return self.vector[index], self.pointwise[index]
        if new not in self.new:
            graphs = new.to(self.vector.device)
            self.new[new] = _Readouts(self.model, self.side, graphs, self.size)
        is_new = index >= len(self.graphs)
        vector, pointwise = self(index.masked_fill(is_new, 0))
        vector[is_new], pointwise[is_new] = self.new[new](
            index[is_new] - len(self.graphs)
        )
        return vector, pointwise


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

    factor_names = ('intrinsic', 'extrinsic')

    graphs_at_once = 1 << 14
    """The number of graphs that are encoded at a time."""

    items_at_once = 1 << 13
    """The number of items whose hidden layer is held at a time: it stays in the cache."""

    contexts_at_once = 1 << 9
    """The number of contexts whose hidden weights are held at a time."""

    def __init__(self, model: IEDR, dataset: InteractionDataset) -> None:
        size = model.embedding.num_embeddings
        check_schema(size, dataset.schema, 'The schema of the dataset')
        device = model.embedding.weight.device
        super().__init__(dataset, device)
        self.model = model
        self._readouts = {
            side: _Readouts(
                model, side, getattr(dataset, f'{side}s').to(device), self.graphs_at_once
            )
            for side in SIDES
        }
        self.parts = ('intrinsic', 'extrinsic')
        if model.cross:
            self.parts += ('cross',)
        if model.pointwise is not None:
            self.parts += ('pointwise',)

    @cached_property
    def _alike(self) -> Tensor | None:
        """For each item, the first that has the same features; nothing if none has."""
        content = self._readouts['item'].graphs.content()
        if int(content.max()) + 1 == len(content):
            return None
        return first_of(content)

    def _contexts(self, queries: Queries) -> tuple[Tensor, Tensor, Tensor]:
        """Returns readouts and terms of distinct contexts, and which each query has."""
        distinct, row = torch.unique(queries.get_context(), return_inverse=True)
        return *self._readouts['context'](distinct, queries.contexts), row

    def _users(self, queries: Queries) -> tuple[Factors, Tensor, Tensor, Tensor]:
        """Returns factors and terms of users, distinct contexts, and whose they are."""
        context, of_context, row = self._contexts(queries)
        user, pointwise = self._readouts['user'](queries.user, queries.users)
        factors = self.model.generators['user'](user, context[row])
        return factors, pointwise + of_context[row], context, row

    def scores(self, queries: Queries, items: Tensor | None = None) -> Tensor:
        """Returns the scores of items."""
        if items is not None and items.dim() == 2:
            return torch.stack(list(self.split(queries, items).values())).sum(0)
        queries, alike = queries.to(self.device), self._alike
        with evaluating(self.model):
            if items is None:
                item, pointwise = self._readouts['item'].all()
            else:
                items = items.to(self.device)
                item, pointwise = self._readouts['item'](items, queries.items)
                if alike is not None:
                    known = alike[items.clamp(max=self.num_items - 1)]
                    alike = first_of(torch.where(items < self.num_items, known, items))
            factors, of_query, context, row = self._users(queries)
            vectors = factors.meeting(self.model.cross)
            out = vectors.intrinsic.new_empty(len(row), len(item))
            if out.numel() == 0:
                return out
            order = row.argsort(stable=True)
            sizes = torch.bincount(row).tolist()
            chunks = blocks(len(sizes), self.contexts_at_once)
            lengths = [sum(sizes[some]) for some in chunks]
            parts = (x.split(lengths) for x in (out, *(v[order] for v in vectors)))
            for some, part, *users in zip(chunks, *parts, strict=True):
                self._fill(part, Factors(*users), context[some], sizes[some], item)
            if not torch.equal(order, torch.arange(len(order), device=order.device)):
                out = torch.empty_like(out).index_copy_(0, order, out)
            if self.model.pointwise is not None:
                out += of_query.unsqueeze(1) + pointwise
            # Rounding must not tell apart what is equal.
            return out if alike is None else out[:, alike]

    def _fill(
        self,
        out: Tensor,
        vectors: Factors,
        contexts: Tensor,
        sizes: list[int],
        item: Tensor,
    ) -> None:
        """Scores all items for users in some contexts.

        Args:
            out: The scores, of shape :math:`(Q, I)`, which are overwritten.
            vectors: What each user's items are multiplied with, those of a context
                together.
            contexts: The readouts of the contexts.
            sizes: The number of users in each context.
            item: The readouts of the items.
        """
        generator: Any = self.model.generators['item']
        chunks = blocks(len(item), self.items_at_once)
        if not stands_for(generator, 'fold', 'forward'):
            users = (vector.split(sizes) for vector in vectors)
            each = list(zip(contexts, *users, out.split(sizes), strict=True))
            for columns, (context, *pair, part) in product(chunks, each):
                factors = generator(item[columns], context)
                part[:, columns] = sum(
                    v @ f.t() for v, f in zip(pair, factors, strict=True)
                )
            return
        # The last layer is folded into the users.
        rows = torch.tensor(sizes, device=contexts.device)
        own = contexts.repeat_interleave(rows, dim=0, output_size=len(out))
        folded = generator.fold(vectors, own)
        weights, biases = generator.hidden(contexts)
        first, in_all = item[:, : weights.size(-1)], None
        if hasattr(generator, 'stable_hidden'):
            in_all = generator.stable_hidden(item)
        in_all = None if in_all is None else in_all.t().contiguous()
        # The bias is the weight of a feature that is one.
        weights = torch.cat([weights, biases.unsqueeze(-1)], dim=-1)
        highest = weights.size(-1) * _highest(weights) * max(_highest(first), 1.0)
        finite = highest < torch.finfo(item.dtype).max
        users = folded.weight.split(sizes)
        constants = folded.constant.unsqueeze(1).split(sizes)
        for columns in chunks:
            some = first[columns]
            some = torch.cat([some, some.new_ones(len(some), 1)], dim=1)
            parts = out[:, columns].split(sizes)
            for weight, user, constant, part in zip(
                weights, users, constants, parts, strict=True
            ):
                # Not kept: the next one is to lie where this one lay in the cache.
                hidden = linear(weight, some, None, in_all is None, finite)
                if in_all is not None:
                    hidden.add_(in_all[:, columns]).relu_()
                torch.addmm(constant, user, hidden, out=part)
        if folded.direct is not None:
            out += folded.direct @ item.t()
        if getattr(generator, 'context_free_intrinsic', False):
            # The same in all contexts.
            stable = generator.intrinsic(item, contexts[:1])
            out.addmm_(vectors.intrinsic, stable.t())

    def _split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the parts of the scores of a block."""
        items = items.expand(len(queries), -1)
        item, pointwise = self._readouts['item'](items, queries.items)
        user, of_query, contexts, row = self._users(queries)
        context = contexts[row].unsqueeze(1).expand(-1, items.size(1), -1)
        # In two dimensions, where products are the fastest.
        factors = self.model.generators['item'](item.flatten(0, 1), context.flatten(0, 1))
        of_items = Factors(*(f.unflatten(0, items.shape) for f in factors))
        of_users = Factors(*(f.unsqueeze(1) for f in user))
        parts = split_score(of_users, of_items, self.model.cross)
        if self.model.pointwise is not None:
            parts['pointwise'] = of_query.unsqueeze(1) + pointwise
        return parts

    def split(self, queries: Queries, items: Tensor) -> dict[str, Tensor]:
        """Returns the parts of the scores of items."""
        with evaluating(self.model):
            return self._in_blocks(self._split, self.parts, queries, items)

    def _factor(self, name: str, side: Side, queries: Queries, index: Tensor) -> Tensor:
        """Returns a factor of users or items in contexts."""
        with evaluating(self.model):
            context, _, row = self._contexts(queries)
            entity, _ = self._readouts[side](index, queries.graphs(side))
            factors = self.model.generators[side](entity, context[row])
            table: Tensor = getattr(factors, name)
            return table

    def vectors(self, side: Side) -> Tensor:
        """Returns the readouts of all users or items."""
        with evaluating(self.model):
            return self._readouts[side].all()[0]


def _highest(values: Tensor) -> float:
    """Returns the size of the largest number, NaN if there is one."""
    return float(values.abs().max()) if values.numel() else 0.0
