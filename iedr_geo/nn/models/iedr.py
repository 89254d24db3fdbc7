"""The IEDR model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Parameter
from torch_geometric.data import Batch
from torch_geometric.utils import segment

from iedr_geo.nn.encoder import SIGN, BiInteractionEncoder, MeanEncoder, MLPEncoder
from iedr_geo.nn.loss import (
    BiCLUB,
    ContextInvariantContrastiveLoss,
    DropoutContrastiveLoss,
)
from iedr_geo.nn.models.factor_generator import FactorGenerator, Factors
from iedr_geo.transforms.complete import is_complete

if TYPE_CHECKING:
    from iedr_geo.loader import InteractionBatch

SIDES = ('user', 'item', 'context')


class IEDRFactors(NamedTuple):
    """The factors of the users and items of a batch, in their contexts."""

    user: Factors
    item: Factors


class Encoded(NamedTuple):
    """One pass over a batch: readouts, factors and logits of its rows.

    Args:
        user: Readouts of the users, of shape :math:`(B, F)`; with
            :obj:`generator="residual"` and the sums of the second embeddings,
            :math:`(B, 2F)`.
        item: Readouts of the items, likewise.
        context: Readouts of the contexts, likewise.
        factors: The factors of users and items.
        logits: The logits, of shape :math:`(B)`.
    """

    user: Tensor
    item: Tensor
    context: Tensor
    factors: IEDRFactors
    logits: Tensor


class IEDRLosses(NamedTuple):
    """The terms of the main step's loss, before weighting, and their weighted sum."""

    prediction: Tensor
    contrastive: Tensor
    disentangling: Tensor
    factors: IEDRFactors
    total: Tensor


IEDR_VARIANTS: dict[str, dict[str, Any]] = {
    'IEDR': {},
    'noDis': {'disentangling_weight': 0.0},
    'noCL': {'contrastive_weight': 0.0},
    'noCIED': {'contrastive_weight': 0.0, 'disentangling_weight': 0.0},
    'vCLUB': {'bidirectional': False},
    'NegGen1': {'contexts': 'sample'},
    'NegGen2': {'contexts': 'dropout'},
    'AVG': {'encoder': 'mean'},
    'MLP': {'encoder': 'mlp'},
    'BI': {'encoder': 'bi'},
    'Linear': {'generator': 'linear'},
    'Nonlinear': {'generator': 'nonlinear'},
    'IEDR_sp': {'generator': 'split', 'context_dropout': 0.1},
    'dropout': {'dropout': 0.5, 'pointwise': True},
    'released': {
        'dropout': 0.5,
        'pointwise': True,
        'contrastive_variant': 'released',
        'halve': False,
    },
}
r"""Constructor arguments of the variants in the paper's experiments, by name.

:obj:`"dropout"` adds to the paper's losses what the authors' scripts do and the paper
does not mention: message dropout and pointwise terms. :obj:`"released"` has the scripts'
losses as well: the double softmax, no one half.
"""


def distinct_pairs(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a row of each distinct pair, and how many rows have it."""
    if one.numel() == 0:
        return one, one
    pair = one * (two.max() + 1) + two
    _, inverse, counts = torch.unique(pair, return_inverse=True, return_counts=True)
    rows = torch.arange(pair.numel(), device=pair.device)
    first = torch.zeros_like(counts).scatter_reduce(
        0, inverse, rows, 'amin', include_self=False
    )
    return first, counts


class _Side(NamedTuple):
    x: Tensor
    edge_index: Tensor
    ptr: Tensor
    value: Tensor | None
    edge_weight: Tensor | None
    vectors: dict[int, Tensor]
    node_id: Tensor | None = None
    rows: Tensor | None = None
    complete: bool = False

    @property
    def graphs(self) -> dict[str, Any]:
        """What an encoder is to know of the graphs, besides the features of nodes."""
        names = ('edge_index', 'ptr', 'edge_weight', 'node_id', 'rows', 'complete')
        return {name: getattr(self, name) for name in names}


def _vectors(batch: Batch, suffix: str = '') -> dict[int, Tensor]:
    """Returns the vectors of a batch by the embedding row of their nodes."""
    names = [name for name in batch.keys() if name.startswith('vector_')]  # noqa: SIM118
    rows = {name.removeprefix('vector_').removesuffix(suffix): name for name in names}
    return {int(row): batch[name] for row, name in rows.items() if row.isdigit()}


def _of_graphs(graphs: Batch, rows: Tensor | None = None) -> _Side:
    """Returns the graphs of one side as :class:`FeatureGraphs` batches them."""
    return _Side(
        graphs.x,
        graphs.edge_index,
        graphs.ptr,
        graphs.get('value'),
        graphs.get('edge_weight'),
        _vectors(graphs),
        graphs.get('node_id', graphs.x),
        rows,
        is_complete(graphs),
    )


def _side(batch: InteractionBatch | Batch, side: str) -> _Side:
    """Returns the graphs of one side: one a row or, with `rows`, each distinct one."""
    if not isinstance(batch, Batch):
        return _of_graphs(getattr(batch, side), getattr(batch, f'{side}_graph'))
    return _Side(
        batch[f'x_{side}'],
        batch[f'edge_index_{side}'],
        batch[f'x_{side}_ptr'],
        batch.get(f'value_{side}'),
        batch.get(f'edge_weight_{side}'),
        _vectors(batch, f'_{side}'),
    )


def _look_up(table: torch.nn.Embedding, sides: list[_Side]) -> list[Tensor]:
    """Returns the features of the nodes of each side.

    A node is its embedding row, times its value if it has one; or a vector times its row
    and the rows after it.
    """
    # At once: the gradient of each lookup is as large as the whole table.
    rows = table(torch.cat([side.x for side in sides]))
    parts = []
    for side, z in zip(sides, rows.split([s.x.numel() for s in sides]), strict=True):
        if side.value is not None:
            z = z * side.value.to(z.dtype).unsqueeze(1)
        for row, vector in side.vectors.items():
            weight = table.weight[row : row + vector.size(1)]
            node = (side.x == row).nonzero().view(-1)
            z = z.index_copy(0, node, (vector.to(weight.dtype) @ weight).to(z.dtype))
        parts.append(z)
    return parts


def _sums(table: torch.nn.Embedding, sides: list[_Side]) -> list[Tensor]:
    """Returns the sum over the nodes of the graph of each row, for each side."""
    out = []
    for side, nodes in zip(sides, _look_up(table, sides), strict=True):
        each = segment(nodes, side.ptr, reduce='sum')
        out.append(each if side.rows is None else each[side.rows])
    return out


class IEDR(torch.nn.Module):
    r"""The Intrinsic-Extrinsic Disentangled Recommendation model from the `"Intrinsic and
    Extrinsic Factor Disentanglement for Recommendation in Various Context Scenarios"
    <https://doi.org/10.1145/3722553>`_ paper.

    Feature graphs become readouts :math:`\mathbf{u}, \mathbf{v}, \mathbf{c}`; two
    generators make intrinsic and extrinsic factors of users and items in a context, and

    .. math::
        \hat{y} = (\mathbf{o}^u_{in} + \mathbf{o}^u_{ex})^{\top}
        (\mathbf{o}^v_{in} + \mathbf{o}^v_{ex})

    is the logit (Section 5.1). :meth:`losses` is the main step's loss (Section 5.3.2),
    :meth:`estimator_loss` that of the step before it. Each of the two has parameters of
    its own: :meth:`main_parameters` and :meth:`estimator_parameters`.

    The ablations of the paper are constructor arguments; :obj:`IEDR_VARIANTS` names them.

    Args:
        num_embeddings (int): Rows of the embedding table:
            :obj:`schema.num_embeddings`.
        channels (int, optional): Size of embeddings, readouts and factors.
            (default: :obj:`32`)
        hidden_channels (int, optional): Size of all hidden layers.
            (default: :obj:`128`)
        encoder (str, optional): :obj:`"sign"`, :obj:`"mean"` (*AVG*), :obj:`"mlp"` or
            :obj:`"bi"`. (default: :obj:`"sign"`)
        generator (str, optional): As :obj:`kind` of :class:`FactorGenerator`. With
            :obj:`"residual"`, features have second embeddings, whose sum over a side is
            what its factors are added to. (default: :obj:`"mlp"`)
        combine (str, optional): As in :class:`FactorGenerator`.
            (default: :obj:`"product"`)
        dropout (float, optional): Dropout of SIGN's messages. The authors' scripts use
            :obj:`0.5`, the paper mentions none. (default: :obj:`0.0`)
        pointwise (bool, optional): Whether to add to the logit a learned number for each
            feature, as the authors' scripts do. (default: :obj:`False`)
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
        context_dropout (float, optional): Dropout of *NegGen2*; with
            :obj:`generator="split"`, that of the intrinsic factors.
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

    def __init__(
        self,
        num_embeddings: int,
        channels: int = 32,
        hidden_channels: int = 128,
        *,
        encoder: str = 'sign',
        generator: str = 'mlp',
        combine: str = 'product',
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
        self.config = {
            name: value
            for name, value in locals().items()
            if name not in ('self', '__class__')
        }
        if contrastive_weight < 0 or disentangling_weight < 0:
            raise ValueError(
                f'The weights of the losses must not be negative (got '
                f'{contrastive_weight} and {disentangling_weight})'
            )
        if dropout > 0 and encoder not in ('sign', 'bi'):
            raise ValueError(f"The encoder '{encoder}' has no messages to drop out")
        if generator == 'split' and (
            contexts != 'both' or contrastive_variant != 'infonce' or mask_false_negatives
        ):
            raise ValueError(
                "The contrastive loss of generator='split' looks at no context: "
                '`contexts`, `contrastive_variant` and `mask_false_negatives` have no '
                'meaning there'
            )
        self.contrastive_weight = contrastive_weight
        self.disentangling_weight = disentangling_weight

        def make_encoder() -> torch.nn.Module:
            if encoder == 'sign':
                return SIGN(channels, hidden_channels, dropout=dropout)
            if encoder == 'mean':
                return MeanEncoder()
            if encoder == 'mlp':
                return MLPEncoder(channels, hidden_channels)
            if encoder == 'bi':
                return BiInteractionEncoder(dropout=dropout)
            raise ValueError(
                f"`encoder` is 'sign', 'mean', 'mlp' or 'bi' (got '{encoder}')"
            )

        self.embedding = torch.nn.Embedding(num_embeddings, channels)
        self.pointwise = torch.nn.Embedding(num_embeddings, 1) if pointwise else None
        self.direct: torch.nn.Embedding | None = None
        if generator == 'residual':
            self.direct = torch.nn.Embedding(num_embeddings, channels)
        self.encoders = torch.nn.ModuleDict({side: make_encoder() for side in SIDES})
        self.generators = torch.nn.ModuleDict(
            {
                side: FactorGenerator(channels, hidden_channels, generator, combine)
                for side in ('user', 'item')
            }
        )
        self.contrastive: (
            ContextInvariantContrastiveLoss | DropoutContrastiveLoss | None
        ) = None
        if contrastive_weight > 0 and generator == 'split':
            self.contrastive = DropoutContrastiveLoss(
                num_negatives, temperature, context_dropout
            )
        elif contrastive_weight > 0:
            self.contrastive = ContextInvariantContrastiveLoss(
                num_negatives,
                temperature,
                contexts,
                context_dropout,
                contrastive_variant,
                mask_false_negatives,
            )
        self.disentangling = torch.nn.ModuleDict()
        if disentangling_weight > 0:
            for side in ('user', 'item'):
                self.disentangling[side] = BiCLUB(
                    channels,
                    hidden_channels,
                    num_disentangling_negatives,
                    bidirectional,
                    halve,
                )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        # SIGN multiplies embeddings: around zero, products and gradients vanish.
        torch.nn.init.normal_(self.embedding.weight, mean=1.0, std=1.0)
        if self.pointwise is not None:
            torch.nn.init.normal_(self.pointwise.weight, std=0.01)
        if self.direct is not None:
            torch.nn.init.normal_(self.direct.weight, std=0.1)
        for modules in (self.encoders, self.generators, self.disentangling):
            for module in modules.values():
                if hasattr(module, 'reset_parameters'):
                    module.reset_parameters()  # type: ignore[operator]

    def main_parameters(self) -> Iterator[Parameter]:
        """Returns all parameters but those of the mutual-information estimator."""
        for name, parameter in self.named_parameters():
            if not name.startswith('disentangling.'):
                yield parameter

    def estimator_parameters(self) -> Iterator[Parameter]:
        """Returns the parameters of the mutual-information estimator."""
        return self.disentangling.parameters()

    def readouts(self, batch: InteractionBatch | Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the readouts of the users, items and contexts of the rows.

        Args:
            batch: An :class:`InteractionBatch`, whose distinct graphs and feature pairs
                are evaluated once; or the plain form, a :class:`Batch` of
                :class:`InteractionData` that follows :obj:`x_user`, :obj:`x_item` and
                :obj:`x_context`, which is evaluated edge by edge.
        """
        sides = [_side(batch, side) for side in SIDES]
        readouts = []
        for name, side, z in zip(
            SIDES, sides, _look_up(self.embedding, sides), strict=True
        ):
            readouts.append(self.encoders[name](z, **side.graphs))
        if self.direct is not None:
            sums = _sums(self.direct, sides)
            readouts = [
                torch.cat(pair, dim=1) for pair in zip(readouts, sums, strict=True)
            ]
        user, item, context = readouts
        return user, item, context

    def node_features(self, graphs: Batch) -> Tensor:
        """Returns the features of the nodes of graphs, of shape :math:`(N, F)`.

        Args:
            graphs: As in :meth:`encode_graphs`.
        """
        return _look_up(self.embedding, [_of_graphs(graphs)])[0]

    def encode_graphs(self, side: str, graphs: Batch) -> tuple[Tensor, Tensor]:
        """Returns the readouts and the pointwise terms of the graphs of one side.

        Args:
            side: :obj:`'user'`, :obj:`'item'` or :obj:`'context'`.
            graphs: Feature graphs, as :class:`FeatureGraphs` batches them.

        Returns:
            Readouts of shape :math:`(G, F)`, or :math:`(G, 2F)` with
            :obj:`generator="residual"`, and terms of shape :math:`(G)`.
        """
        one = _of_graphs(graphs)
        [x] = _look_up(self.embedding, [one])
        out = self.encoders[side](x, **one.graphs)
        if self.direct is not None:
            out = torch.cat([out, *_sums(self.direct, [one])], dim=1)
        if self.pointwise is None:
            return out, out.new_zeros(len(out))
        return out, _sums(self.pointwise, [one])[0].squeeze(1)

    def encode(self, batch: InteractionBatch | Batch) -> Encoded:
        """Encodes the graphs of a batch and generates factors and logits.

        Args:
            batch: As in :meth:`readouts`.
        """
        user, item, context = self.readouts(batch)
        factors = IEDRFactors(
            self.generators['user'](user, context),
            self.generators['item'](item, context),
        )
        logits = (
            (factors.user.intrinsic + factors.user.extrinsic)
            * (factors.item.intrinsic + factors.item.extrinsic)
        ).sum(dim=-1)
        if self.pointwise is not None:
            sides = [_side(batch, side) for side in SIDES]
            logits = logits + torch.stack(_sums(self.pointwise, sides)).sum(0).squeeze(1)
        return Encoded(user, item, context, factors, logits)

    def forward(self, batch: InteractionBatch | Batch) -> Tensor:
        """Returns the logits of a batch, of shape :math:`(B)`."""
        return self.encode(batch).logits

    def factors(self, batch: InteractionBatch | Batch) -> IEDRFactors:
        """Returns the factors of the users and items of a batch."""
        return self.encode(batch).factors

    def losses(
        self, batch: InteractionBatch | Batch, encoded: Encoded | None = None
    ) -> IEDRLosses:
        r"""Returns the loss of the main step,
        :math:`\mathcal{L}_{RP} + \lambda_1 (\mathcal{L}^u_{CICL} +
        \mathcal{L}^v_{CICL}) + \lambda_2 (\mathcal{L}^u_{Dis} + \mathcal{L}^v_{Dis})`.

        Rows with the same user and the same context, *e.g.*, a positive and its
        negatives, have the same contrastive loss but for its random draws: given an
        :class:`InteractionBatch`, it is taken once and counts for all of them. So for
        items.

        Args:
            batch: A batch with labels.
            encoded: What :meth:`encode` returned for it, to save a second pass.
        """
        if batch.y is None:
            raise ValueError('The loss needs a batch with labels `y`')
        encoded = self.encode(batch) if encoded is None else encoded
        prediction = F.binary_cross_entropy_with_logits(
            encoded.logits, batch.y.to(encoded.logits.dtype)
        )
        zero = prediction.new_zeros(())
        contrastive, disentangling = zero, zero
        for side, readout, factors in zip(
            ('user', 'item'), encoded[:2], encoded.factors, strict=True
        ):
            if isinstance(self.contrastive, DropoutContrastiveLoss):
                contrastive = contrastive + self.contrastive(factors.intrinsic)
            elif self.contrastive is not None:
                entity_id, rows, counts = getattr(batch, f'{side}_id'), None, None
                if not isinstance(batch, Batch):
                    rows, counts = distinct_pairs(entity_id, batch.context_id)
                contrastive = contrastive + self.contrastive(
                    self.generators[side],
                    readout,
                    encoded.context,
                    entity_id,
                    rows=rows,
                    row_weight=counts,
                )
            if side in self.disentangling:
                disentangling = disentangling + self.disentangling[side](*factors)
        total = (
            prediction
            + self.contrastive_weight * contrastive
            + self.disentangling_weight * disentangling
        )
        return IEDRLosses(prediction, contrastive, disentangling, encoded.factors, total)

    def estimator_loss(self, factors: IEDRFactors) -> Tensor:
        """Returns the loss of the estimator's step; no gradient reaches the factors.

        Args:
            factors: What :meth:`factors` or :meth:`encode` returned.
        """
        if not self.disentangling:
            raise ValueError('The model has no estimator: its disentangling weight is 0')
        losses = [
            self.disentangling[side].estimator_loss(  # type: ignore[operator]
                *getattr(factors, side)
            )
            for side in ('user', 'item')
        ]
        return torch.stack(losses).sum()
