"""The IEDR model."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module, ModuleDict, Parameter
from torch_geometric.data import Batch

from iedr_geo.nn.blocks import checkpointed
from iedr_geo.nn.contract import has_hooks, stands_for
from iedr_geo.nn.distinct_pairs import distinct_pairs
from iedr_geo.nn.encoder import SIGN, BiInteractionEncoder, MeanEncoder, MLPEncoder
from iedr_geo.nn.feature_embedding import FeatureEmbedding
from iedr_geo.nn.generator import GENERATORS, Factors
from iedr_geo.nn.loss import (
    BiCLUB,
    ContextInvariantContrastiveLoss,
    DropoutContrastiveLoss,
)
from iedr_geo.nn.models.encoded import Encoded, IEDRFactors
from iedr_geo.nn.models.rebuild import Rebuildable

if TYPE_CHECKING:
    from iedr_geo.loader import InteractionBatch

SIDES = ('user', 'item', 'context')
ENTITIES = ('user', 'item')


ENCODERS: dict[str, Callable[[int, int, float, str], Module]] = {
    'sign': lambda channels, hidden, dropout, _: SIGN(channels, hidden, dropout=dropout),
    'mean': lambda *_: MeanEncoder(),
    'mlp': lambda channels, hidden, *_: MLPEncoder(channels, hidden),
    'bi': lambda channels, hidden, dropout, _: BiInteractionEncoder(dropout=dropout),
}
"""The encoders that :class:`IEDR` knows by name, each made from the size of embeddings,
the size of hidden layers, the dropout of messages and the side."""

HIDDEN = 1 << 22  # Values of the hidden layers of pairs that are held at a time.


def _one_a_side(
    sides: tuple[str, ...],
    module: str | Module,
    made_by_name: dict[str, Any],
    argument: str,
    *sizes: Any,
) -> ModuleDict:
    """Returns a module for each side: one that has a name, or copies of the one given."""
    if isinstance(module, Module):
        return ModuleDict({side: copy.deepcopy(module) for side in sides})
    if module not in made_by_name:
        raise ValueError(
            f'`{argument}` is a module of your own or one of '
            f"{', '.join(map(repr, made_by_name))} (got '{module}')"
        )
    return ModuleDict({side: made_by_name[module](*sizes, side) for side in sides})


_Graphs: TypeAlias = tuple[Batch, Tensor | None]
"""The graphs of one side, and the graph of each row unless each has one of its own."""


def _graphs_of(batch: InteractionBatch | Batch, side: str) -> _Graphs:
    """Returns the graphs of one side of a batch."""
    if not isinstance(batch, Batch):
        return getattr(batch, side), getattr(batch, f'{side}_graph')
    suffix = f'_{side}'
    names = [name for name in batch.keys() if name.endswith(suffix)]  # noqa: SIM118
    own = {name.removesuffix(suffix): batch[name] for name in names}
    return Batch(**own, ptr=batch[f'x_{side}_ptr']), None


def _node_id(graphs: Batch) -> Tensor | None:
    """Returns numbers of equal nodes, where graphs are of a store that knows them."""
    return graphs.get('node_id', graphs.x) if 'graph_id' in graphs else None


class IEDR(Rebuildable):
    r"""The Intrinsic-Extrinsic Disentangled Recommendation model from the `"Intrinsic and
    Extrinsic Factor Disentanglement for Recommendation in Various Context Scenarios"
    <https://doi.org/10.1145/3722553>`_ paper.

    Feature graphs become readouts :math:`\mathbf{u}, \mathbf{v}, \mathbf{c}`; two
    generators make intrinsic and extrinsic factors of users and items in a context, and

    .. math::
        \hat{y} = (\mathbf{o}^u_{in} + \mathbf{o}^u_{ex})^{\top}
        (\mathbf{o}^v_{in} + \mathbf{o}^v_{ex})

    is the logit (Section 5.1). The main step minimises the loss of the prediction,
    *e.g.*, :class:`BCEObjective`, and :meth:`extra_losses` (Section 5.3.2);
    :meth:`estimator_loss` is the loss of the step before it. Each of the two has
    parameters of its own: :meth:`main_parameters` and :meth:`estimator_parameters`.

    The ablations of the paper are constructor arguments; :obj:`IEDR_VARIANTS` names them.

    Args:
        num_embeddings (int): Rows of the embedding table:
            :obj:`schema.num_embeddings`.
        channels (int, optional): Size of embeddings, readouts and factors.
            (default: :obj:`32`)
        hidden_channels (int, optional): Size of all hidden layers.
            (default: :obj:`128`)
        encoder (str or torch.nn.Module, optional): :obj:`"sign"` (:class:`SIGN`),
            :obj:`"mean"` (*AVG*), :obj:`"mlp"`, :obj:`"bi"`, or a module that stands in
            for them, of which each side gets a copy, reset if it can be.
            (default: :obj:`"sign"`)
        generator (str or torch.nn.Module, optional): :obj:`"mlp"`
            (:class:`MLPGenerator`), :obj:`"linear"`, :obj:`"nonlinear"`
            (:class:`LinearGenerator`), :obj:`"split"` (:class:`SplitGenerator`),
            :obj:`"residual"` (:class:`ResidualGenerator`), :obj:`"separate"`
            (:class:`SeparateGenerator`), or a module, of which users and items get a
            copy, likewise. (default: :obj:`"mlp"`)
        combine (str, optional): The way readouts and contexts are combined by
            :obj:`"mlp"` and :obj:`"split"`: :obj:`"product"` or :obj:`"sum"`. Others say
            so themselves. (default: :obj:`"product"`)
        cross (bool, optional): If :obj:`False`, intrinsic factors meet intrinsic ones
            alone, and extrinsic factors extrinsic ones: every part of a logit is due to
            one cause (not in the paper). (default: :obj:`True`)
        dropout (float, optional): Dropout of SIGN's messages. The authors' scripts use
            :obj:`0.5`, the paper mentions none. (default: :obj:`0.0`)
        pointwise (bool, optional): If :obj:`True`, adds to the logit a learned number for
            each feature, as the authors' scripts do. (default: :obj:`False`)
        contrastive_weight (float, optional): :math:`\lambda_1`; :obj:`0.0` leaves the
            term out (*noCL*). (default: :obj:`0.1`)
        disentangling_weight (float, optional): :math:`\lambda_2`; :obj:`0.0` leaves the
            term out (*noDis*). (default: :obj:`0.1`)
        num_negatives (int, optional): Negatives of the contrastive loss in each of two
            contexts. (default: :obj:`40`)
        temperature (float, optional): Temperature of the contrastive loss.
            (default: :obj:`0.5`)
        contexts (str, optional): As in :class:`ContextInvariantContrastiveLoss`.
            (default: :obj:`"both"`)
        context_dropout (float, optional): Dropout of *NegGen2*; with a generator whose
            intrinsic factors see no context, that of the intrinsic factors.
            (default: :obj:`0.5`)
        contrastive_variant (str, optional): :obj:`"infonce"` or :obj:`"released"`.
            (default: :obj:`"infonce"`)
        mask_false_negatives (bool, optional): As in
            :class:`ContextInvariantContrastiveLoss`. (default: :obj:`False`)
        num_disentangling_negatives (int, optional): Negatives of :class:`BiCLUB`.
            (default: :obj:`5`)
        bidirectional (bool, optional): As in :class:`BiCLUB`. (default: :obj:`True`)
        halve (bool, optional): As in :class:`BiCLUB`. (default: :obj:`True`)

    Example:
        >>> model = IEDR(dataset.schema.num_embeddings)
        >>> logits = model(batch)
    """

    reads = ('vocabulary',)

    def __init__(
        self,
        num_embeddings: int,
        channels: int = 32,
        hidden_channels: int = 128,
        *,
        encoder: str | Module = 'sign',
        generator: str | Module = 'mlp',
        combine: str = 'product',
        cross: bool = True,
        dropout: float = 0.0,
        pointwise: bool = False,
        contrastive_weight: float = 0.1,
        disentangling_weight: float = 0.1,
        num_negatives: int = 40,
        temperature: float = 0.5,
        contexts: str = 'both',
        context_dropout: float = 0.5,
        contrastive_variant: str = 'infonce',
        mask_false_negatives: bool = False,
        num_disentangling_negatives: int = 5,
        bidirectional: bool = True,
        halve: bool = True,
    ) -> None:
        super().__init__()
        self._arguments = {
            name: value
            for name, value in locals().items()
            if name not in ('self', '__class__')
        }
        weights = contrastive_weight, disentangling_weight
        if not all(0 <= weight < math.inf for weight in weights):
            raise ValueError(
                f'The weights of the losses must not be negative or infinite (got '
                f'{contrastive_weight} and {disentangling_weight})'
            )
        if dropout > 0 and encoder not in ('sign', 'bi'):
            name = encoder if isinstance(encoder, str) else type(encoder).__name__
            raise ValueError(
                f"The encoder '{name}' has no messages to drop out, or does so itself"
            )
        sizes = channels, hidden_channels
        self.cross = cross
        self.contrastive_weight = contrastive_weight
        self.disentangling_weight = disentangling_weight
        # A module of one's own may draw as well.
        self._draws = dropout > 0 or isinstance(encoder, Module)
        table = partial(FeatureEmbedding, num_embeddings)
        # SIGN multiplies embeddings: around zero, products and gradients vanish.
        self.embedding = table(channels, mean=1.0)
        self.pointwise = table(1, std=0.01) if pointwise else None
        self.encoders = _one_a_side(SIDES, encoder, ENCODERS, 'encoder', *sizes, dropout)
        self.generators = _one_a_side(
            ENTITIES, generator, GENERATORS, 'generator', *sizes, combine
        )
        first = self.generators['user']
        further = getattr(first, 'further_embeddings', 0)
        self.direct = table(channels * further, std=0.1) if further else None
        context_free = getattr(first, 'context_free_intrinsic', False)
        if context_free and (
            contexts != 'both' or contrastive_variant != 'infonce' or mask_false_negatives
        ):
            raise ValueError(
                f'The contrastive loss of {type(first).__name__} looks at no context: '
                '`contexts`, `contrastive_variant` and `mask_false_negatives` have no '
                'meaning there'
            )
        self.contrastive: Module | None = None
        drawn = num_negatives, temperature
        if contrastive_weight > 0 and context_free:
            self.contrastive = DropoutContrastiveLoss(*drawn, context_dropout)
        elif contrastive_weight > 0:
            self.contrastive = ContextInvariantContrastiveLoss(
                *drawn,
                contexts,
                context_dropout,
                contrastive_variant,
                mask_false_negatives,
            )
        self.disentangling = ModuleDict()
        if disentangling_weight > 0:
            for side in ENTITIES:
                self.disentangling[side] = BiCLUB(
                    *sizes, num_disentangling_negatives, bidirectional, halve
                )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        modules: list[Any] = [self.embedding, self.pointwise, self.direct]
        for of_sides in (self.encoders, self.generators, self.disentangling):
            modules += of_sides.values()
        for module in modules:
            if hasattr(module, 'reset_parameters'):
                module.reset_parameters()

    @property
    def config(self) -> dict[str, Any] | None:
        """The constructor's arguments; nothing where one is a module."""
        modules = [self._arguments['encoder'], self._arguments['generator']]
        if any(isinstance(module, Module) for module in modules):
            return None
        return dict(self._arguments)

    def main_parameters(self) -> Iterator[Parameter]:
        """Returns all parameters but those of the mutual-information estimator."""
        for name, parameter in self.named_parameters():
            if not name.startswith('disentangling.'):
                yield parameter

    def estimator_parameters(self) -> Iterator[Parameter]:
        """Returns the parameters of the mutual-information estimator."""
        return self.disentangling.parameters()

    def _readouts(self, names: Sequence[str], sides: Sequence[_Graphs]) -> list[Tensor]:
        """Returns the readouts of the graphs, or rows, of each side."""
        features = self.embedding([graphs for graphs, _ in sides])
        readouts = [
            self.encoders[name](
                x,
                edge_index=graphs.edge_index,
                ptr=graphs.ptr,
                edge_weight=graphs.get('edge_weight'),
                node_id=_node_id(graphs),
                rows=rows,
            )
            for name, x, (graphs, rows) in zip(names, features, sides, strict=True)
        ]
        if self.direct is None:
            return readouts
        sums = _sums(self.direct, sides)
        return [torch.cat(pair, dim=1) for pair in zip(readouts, sums, strict=True)]

    def readouts(self, batch: InteractionBatch | Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the readouts of the users, items and contexts of the rows.

        Args:
            batch: An :class:`InteractionBatch`, whose distinct graphs and feature pairs
                are evaluated once; or the plain form, a :class:`Batch` of
                :class:`InteractionData` that follows :obj:`x_user`, :obj:`x_item` and
                :obj:`x_context`, which is evaluated edge by edge.
        """
        sides = [_graphs_of(batch, side) for side in SIDES]
        user, item, context = self._readouts(SIDES, sides)
        return user, item, context

    def node_features(self, graphs: Batch) -> Tensor:
        """Returns the features of the nodes of graphs, of shape :math:`(N, F)`.

        Args:
            graphs: As in :meth:`encode_graphs`.
        """
        return self.embedding(graphs)

    def encode_graphs(self, side: str, graphs: Batch) -> tuple[Tensor, Tensor]:
        """Returns the readouts and the pointwise terms of the graphs of one side.

        Args:
            side: :obj:`'user'`, :obj:`'item'` or :obj:`'context'`.
            graphs: Feature graphs, as :class:`FeatureGraphs` batches them.

        Returns:
            Readouts of shape :math:`(G, F)`, with the sums of :math:`n` further
            embeddings of the generator :math:`(G, F + nF)`, and terms of shape
            :math:`(G)`.
        """
        [out] = self._readouts([side], [(graphs, None)])
        if self.pointwise is None:
            return out, out.new_zeros(len(out))
        return out, self.pointwise.sums([graphs])[0].squeeze(1)

    def encode(self, batch: InteractionBatch | Batch) -> Encoded:
        """Encodes the graphs of a batch and generates factors and logits.

        Args:
            batch: As in :meth:`readouts`.
        """
        of_user, (items, rows), of_context = sides = [
            _graphs_of(batch, side) for side in SIDES
        ]
        # What draws does so for each row, others give distinct items one readout.
        each_row = rows is None or (self._draws and self.training)
        of_item = (items, rows if each_row else None)
        user, item, context = self._readouts(SIDES, [of_user, of_item, of_context])
        distinct = None
        if not each_row:
            distinct, item = item, item[rows]
        # The rows of one query have one user and context, unless each draws its own.
        each = 1 if each_row else getattr(batch, 'rows_per_query', 1)
        of_queries = self.generators['user'](user[::each], context[::each])
        factors = IEDRFactors(
            Factors(*(of_query.repeat_interleave(each, 0) for of_query in of_queries)),
            self.generators['item'](item, context),
        )
        if self.cross:
            products = torch.add(*factors.user) * torch.add(*factors.item)
        else:
            products = torch.add(*map(torch.mul, factors.user, factors.item))
        logits = products.sum(dim=-1)
        pointwise = None
        if self.pointwise is not None:
            pointwise = torch.stack(_sums(self.pointwise, sides)).sum(0).squeeze(1)
            logits = logits + pointwise
        return Encoded(
            user, item, context, factors, logits, pointwise, distinct, self.cross, each
        )

    def forward(self, batch: InteractionBatch | Batch) -> Tensor:
        """Returns the logits of a batch, of shape :math:`(B)`."""
        return self.encode(batch).logits

    def score_items(
        self, batch: InteractionBatch, items: Tensor, encoded: Encoded
    ) -> Tensor:
        """Returns the logits of every row of a batch with items of the batch.

        Items are encoded once. The last layer of their generator is folded with the
        factors of each row's user, so that a pair takes a hidden layer and one inner
        product.

        Args:
            batch: The batch.
            items: Item graphs of the batch, of shape :math:`(I)`.
            encoded: The result of :meth:`encode` for it.

        Returns:
            Logits of shape :math:`(B, I)`.
        """
        generator = self.generators['item']
        vectors = encoded.factors.user.meeting(self.cross)
        readout = encoded.distinct_item
        if readout is None:
            readout = self.encode_graphs('item', batch.item)[0]
        readout = readout[items]
        folds = stands_for(generator, 'fold', 'forward') and not has_hooks(generator)
        stable = folds and getattr(generator, 'context_free_intrinsic', False)
        in_all = None
        if folds and hasattr(generator, 'stable_hidden'):
            in_all = generator.stable_hidden(readout)  # type: ignore[operator]

        def score(rows: slice) -> Tensor:
            context = encoded.context[rows]
            some = Factors(*(vector[rows] for vector in vectors))
            if not folds:
                factors = generator(readout, context.unsqueeze(1))
                products = map(partial(torch.einsum, 'bf,bif->bi'), some, factors)
                return torch.add(*products)
            weight, bias = generator.hidden(context)  # type: ignore[operator]
            folded = generator.fold(some, context)  # type: ignore[operator]
            # One product for all rows: each has a hidden layer of its own.
            first = readout[:, : weight.size(-1)]
            hidden = F.linear(first, weight.flatten(0, 1), bias.flatten())
            hidden = hidden.view(len(readout), *bias.shape)
            hidden = hidden if in_all is None else hidden + in_all.unsqueeze(1)
            out = torch.einsum('ibh,bh->bi', hidden.relu(), folded.weight)
            out = out + folded.constant.unsqueeze(1)
            return out if folded.direct is None else out + folded.direct @ readout.t()

        size = max(1, HIDDEN // max(1, len(items) * self._arguments['hidden_channels']))
        logits = checkpointed(score, len(batch), size)
        if stable:
            own = generator.intrinsic(readout, encoded.context[:1])  # type: ignore[operator]
            logits = logits + vectors.intrinsic @ own.t()
        if self.pointwise is None:
            return logits
        of_rows = [_graphs_of(batch, side) for side in ('user', 'context')]
        *rows, item = _sums(self.pointwise, [*of_rows, (batch.item, None)])
        return logits + sum(rows) + item[items].t()

    def extra_losses(
        self, batch: InteractionBatch | Batch, encoded: Encoded
    ) -> dict[str, Tensor]:
        r"""Returns what is added to the loss of the prediction, :math:`\lambda_1
        (\mathcal{L}^u_{CICL} + \mathcal{L}^v_{CICL})` and :math:`\lambda_2
        (\mathcal{L}^u_{Dis} + \mathcal{L}^v_{Dis})`, by name.

        Rows with the same user and the same context, *e.g.*, a positive and its
        negatives, have the same contrastive loss but for its random draws: given an
        :class:`InteractionBatch`, it is taken once and counts for all of them. So for
        items.

        Args:
            batch: The batch.
            encoded: The result of :meth:`encode` for it.
        """
        losses: dict[str, Tensor] = {}
        if self.contrastive is not None:
            terms = [self._contrast(batch, encoded, side) for side in ENTITIES]
            losses['contrastive'] = self.contrastive_weight * sum(terms)
        if self.disentangling:
            terms = [bound(*factors) for bound, factors in self._bounds(encoded)]
            losses['disentangling'] = self.disentangling_weight * sum(terms)
        return losses

    def _contrast(
        self, batch: InteractionBatch | Batch, encoded: Encoded, side: str
    ) -> Any:
        if isinstance(self.contrastive, DropoutContrastiveLoss):
            return self.contrastive(getattr(encoded.factors, side).intrinsic)
        entity_id, rows, counts = getattr(batch, f'{side}_id'), None, None
        if not isinstance(batch, Batch):
            rows, _, counts = distinct_pairs(entity_id, batch.context_id)
        assert self.contrastive is not None
        return self.contrastive(
            self.generators[side],
            getattr(encoded, side),
            encoded.context,
            entity_id,
            rows=rows,
            row_weight=counts,
        )

    def estimator_loss(self, encoded: Encoded) -> Tensor:
        """Returns the loss of the estimator's step; no gradient reaches the factors.

        Args:
            encoded: The result of :meth:`encode`.
        """
        if not self.disentangling:
            raise ValueError('The model has no estimator: its disentangling weight is 0')
        losses = [
            bound.estimator_loss(*factors) for bound, factors in self._bounds(encoded)
        ]
        return torch.stack(losses).sum()

    def estimator_variance(self, encoded: Encoded) -> Tensor:
        """Returns the variance of the factors that the estimator predicts, to which its
        loss compares: it is the loss of predicting their means.

        Args:
            encoded: The result of :meth:`encode`.
        """
        bounds: Any = zip(self.disentangling.values(), encoded.factors, strict=True)
        terms = [bound.variance(*factors) for bound, factors in bounds]
        return torch.stack(terms).sum()

    def _bounds(self, encoded: Encoded) -> Iterator[tuple[Any, Factors]]:
        """Returns the bound of users and of items, and the factors that it is of: those
        of all rows or, where rows share a query, of one that is drawn for each query.
        """
        each, bounds = encoded.rows_per_query, self.disentangling.values()
        if each == 1:
            return zip(bounds, encoded.factors, strict=True)
        start = torch.arange(0, len(encoded.logits), each, device=encoded.logits.device)
        row = start + torch.randint(each, start.shape, device=start.device)
        some = [Factors(*(factor[row] for factor in side)) for side in encoded.factors]
        return zip(bounds, some, strict=True)


def _sums(table: FeatureEmbedding, sides: Sequence[_Graphs]) -> list[Tensor]:
    """Returns the sum over the nodes of the graph of each row, for each side."""
    of_graphs = table.sums([graphs for graphs, _ in sides])
    return [
        each if rows is None else each[rows]
        for (_, rows), each in zip(sides, of_graphs, strict=True)
    ]
