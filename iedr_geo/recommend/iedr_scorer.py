"""Scores of a whole catalogue by IEDR, and their parts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from iedr_geo.data import FeatureGraphs
from iedr_geo.data.schema import Side
from iedr_geo.nn import IEDR
from iedr_geo.nn.blocks import blocks
from iedr_geo.nn.dense import linear

ENCODED = 16_384  # Graphs that are encoded at a time.
SCORED = 4096  # Items whose hidden layer stays in the cache.

Groups = Iterable[tuple[int, int, int]]  # A context, and where its rows begin and end.


@dataclass(frozen=True)
class Readouts:
    """Readouts and pointwise terms, of shapes :math:`(N, F)` and :math:`(N)`."""

    vector: Tensor
    pointwise: Tensor

    def __getitem__(self, index: Tensor | slice) -> Readouts:
        return Readouts(self.vector[index], self.pointwise[index])

    def __len__(self) -> int:
        return len(self.vector)


class IEDRScorer:
    r"""Scores items for users in a context without a forward pass for each item.

    An item's readout depends on neither user nor context and is computed once. In a
    context, the item generator's first layer, multiplied by the context, meets the whole
    catalogue; the users' factors are folded into its last layer:

    .. math::
        \mathbf{w} = (\mathbf{W}_{in} + \mathbf{W}_{ex})^{\top}
        (\mathbf{o}^u_{in} + \mathbf{o}^u_{ex})

    is all that the hidden layer of an item is multiplied with.

    Args:
        model: The model, in evaluation mode.
        users: The feature graphs of the users.
        items: The feature graphs of the items.
    """

    def __init__(self, model: IEDR, users: FeatureGraphs, items: FeatureGraphs) -> None:
        self.model = model
        self._graphs = {'user': users, 'item': items}

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return next(self.model.parameters()).device

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of a score."""
        parts = ('intrinsic', 'extrinsic', 'cross')
        return parts if self.model.pointwise is None else (*parts, 'pointwise')

    def encode(self, side: str, graphs: FeatureGraphs) -> Readouts:
        """Encodes graphs of one side, some at a time."""
        graphs = graphs.to(self.device)
        rows = torch.arange(len(graphs), device=self.device)
        parts = [
            self.model.encode_graphs(side, graphs.batch(chunk))
            for chunk in rows.split(ENCODED)
        ]
        vectors, pointwise = zip(*parts, strict=True)
        return Readouts(torch.cat(vectors), torch.cat(pointwise))

    @property
    def factors(self) -> tuple[str, ...]:
        """The names of the factors."""
        return ('intrinsic', 'extrinsic')

    @cached_property
    def users(self) -> Readouts:
        """The readouts of all users."""
        return self.encode('user', self._graphs['user'])

    @cached_property
    def items(self) -> Readouts:
        """The readouts of all items."""
        return self.encode('item', self._graphs['item'])

    def factor(
        self, side: Side, readouts: Readouts, context: Readouts, name: str
    ) -> Tensor:
        """Returns the intrinsic or extrinsic factors of users or items in contexts."""
        factors = self.model.generators[side](readouts.vector, context.vector)
        return getattr(factors, name)

    def scores(
        self, user: Readouts, contexts: Readouts, context_row: Tensor, items: Readouts
    ) -> Tensor:
        """Returns the scores of all items for users, each in a context.

        Args:
            user: The users.
            contexts: The contexts.
            context_row: The context of each user, sorted, of shape :math:`(N)`.
            items: The items.

        Returns:
            Scores of shape :math:`(N, I)`.
        """
        own = contexts[context_row]
        vector = sum(self.model.generators['user'](user.vector, own.vector))
        out = vector.new_empty(len(user), len(items))
        distinct, counts = torch.unique_consecutive(context_row, return_counts=True)
        generator = self.model.generators['item']
        fill = self._fill_folded
        if generator.kind not in ('mlp', 'residual') or generator.combine != 'product':
            fill = self._fill
        ends = counts.cumsum(0).tolist()
        groups = zip(distinct.tolist(), [0, *ends], ends, strict=False)
        fill(out, vector, contexts.vector, groups, items.vector)
        if self.model.pointwise is not None:
            out += (user.pointwise + own.pointwise).unsqueeze(1) + items.pointwise
        return out

    def _fill(
        self, out: Tensor, vector: Tensor, contexts: Tensor, groups: Groups, item: Tensor
    ) -> None:
        """Scores by the factors of all items in each context."""
        generator = self.model.generators['item']
        for context, start, end in groups:
            for rows in blocks(len(item), SCORED):
                factors = sum(generator(item[rows], contexts[context]))
                out[start:end, rows] = vector[start:end] @ factors.t()

    def _fill_folded(
        self, out: Tensor, vector: Tensor, contexts: Tensor, groups: Groups, item: Tensor
    ) -> None:
        """The same, with the last layer folded into the users."""
        generator: Any = self.model.generators['item']
        first, last = generator.mlp.lins
        channels = generator.channels
        residual = generator.kind == 'residual'
        folded = vector @ (last.weight[:channels] + last.weight[channels:])
        constant = vector @ (last.bias[:channels] + last.bias[channels:])
        weights, biases = first.weight[:, :channels], first.bias.expand(len(contexts), -1)
        if residual:
            # The second sums of items and context enter the first layer as they are.
            of_items, of_contexts = first.weight[:, channels:].split(channels, dim=1)
            biases = biases + contexts[:, channels:] @ of_contexts.t()
            out.copy_(vector @ item[:, channels:].t())
        for context, start, end in groups:
            weight = weights * contexts[context, :channels]
            at = constant[start:end]
            if residual:
                weight = torch.cat([weight, of_items], dim=1)
                at = at + vector[start:end] @ contexts[context, channels:]
            for rows in blocks(len(item), SCORED):
                hidden = linear(item[rows], weight, biases[context]).relu_()
                part = out[start:end, rows]
                if residual:
                    part += torch.addmm(at.unsqueeze(1), folded[start:end], hidden.t())
                else:
                    torch.addmm(at.unsqueeze(1), folded[start:end], hidden.t(), out=part)

    def split(
        self, user: Readouts, item: Readouts, context: Readouts
    ) -> dict[str, Tensor]:
        """Returns the parts of the scores of triples, each of shape :math:`(N)`."""
        user_in, user_ex = self.model.generators['user'](user.vector, context.vector)
        item_in, item_ex = self.model.generators['item'](item.vector, context.vector)
        parts = {
            'intrinsic': (user_in * item_in).sum(dim=1),
            'extrinsic': (user_ex * item_ex).sum(dim=1),
            'cross': (user_in * item_ex + user_ex * item_in).sum(dim=1),
        }
        if self.model.pointwise is not None:
            parts['pointwise'] = user.pointwise + item.pointwise + context.pointwise
        return parts
