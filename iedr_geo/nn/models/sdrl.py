"""SDRL."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, ModuleDict, Parameter
from torch_geometric import EdgeIndex
from torch_geometric.utils.sparse import index2ptr, ptr2index

from iedr_geo.nn.loss.match_entropy import match_entropy
from iedr_geo.nn.models.bipartite import BipartiteModel, Vectors
from iedr_geo.nn.sparse import Compressed, sparse_product

if TYPE_CHECKING:
    from typing_extensions import Self

    from iedr_geo.data import BipartiteGraph
    from iedr_geo.loader import UserBatch

INTERNAL, EXTERNAL, BIAS = 'internal', 'external', 'bias'
BLOCKS = MappingProxyType({INTERNAL: 64, EXTERNAL: 32, 'other': 32})


class SDRLLosses(NamedTuple):
    """The terms of SDRL's loss, before weighting, and their weighted sum."""

    reconstruction: Tensor
    internal: Tensor
    external: Tensor
    total: Tensor


class _Side(torch.nn.Module):
    """The auto-encoder of a side: an encoder for each block, and one decoder."""

    def __init__(self, num_inputs: int, blocks: Mapping[str, int], hidden: int) -> None:
        super().__init__()
        # The first layers of all encoders are one, so that edges are read once.
        self.first = Linear(num_inputs, len(blocks) * hidden)
        self.codes = ModuleDict(
            {name: Linear(hidden, size) for name, size in blocks.items()}
        )
        self.hidden = Linear(sum(blocks.values()), hidden)
        self.out = Linear(hidden, num_inputs)

    def encode(self, rows: Compressed, transposed: Compressed) -> Tensor:
        """Returns the blocks of each row of a matrix, side by side."""
        sums = sparse_product(self.first.weight.t(), rows, transposed)
        hidden = (sums + self.first.bias).tanh().chunk(len(self.codes), dim=1)
        codes = zip(self.codes.values(), hidden, strict=True)
        return torch.cat([code(own) for code, own in codes], dim=1)

    def entropy(self, code: Tensor, rows: Compressed, transposed: Compressed) -> Tensor:
        """Returns the loss of the rows that are decoded."""
        hidden = self.hidden(code).tanh()
        vectors = _with_bias(hidden, self.out.weight, self.out.bias.unsqueeze(1))
        return match_entropy(*vectors, rows, transposed)


def _with_bias(left: Tensor, right: Tensor, bias: Tensor) -> Vectors:
    """Returns vectors whose inner products have the bias of the right one in them."""
    one = left.new_ones(len(left), 1)
    return (
        torch.cat([left, one], dim=1),
        torch.cat([right, bias.expand(len(right), 1)], dim=1),
    )


def _mean_of(loss: Tensor, rows: Tensor) -> Tensor:
    """Returns the mean loss of some rows, 0 if there are none."""
    return (loss.mean(dim=1) * rows).sum() / rows.sum().clamp(min=1)


class SDRL(BipartiteModel):
    r"""The model from the `"Semi-disentangled Representation Learning in Recommendation
    System" <https://arxiv.org/abs/2010.13282>`_ paper.

    An auto-encoder of users, whose input are their ratings :math:`\mathbf{R}` of all
    items, and one of items, whose input are the ratings by all users. Each has an encoder
    for each block of its code: the *internal* block also predicts categories, the
    *external* one alone also predicts the ratings, and the *other* one has what is left.
    With :math:`\text{BCE}` the mean binary cross-entropy over all entries, the loss is

    .. math::
        & \text{BCE}(\hat{\mathbf{U}}, \mathbf{R}) +
        \text{BCE}(\hat{\mathbf{I}}, \mathbf{R}^{\top}) +
        \text{BCE}(\sigma(\mathbf{Z}_U \mathbf{Z}_I^{\top} + b), \mathbf{R}) \\
        & + w_{\text{int}} \left( \text{BCE}(\hat{\mathbf{C}}_I, \mathbf{C}_I) +
        \text{BCE}(\hat{\mathbf{C}}_U, \mathbf{C}_U) \right)
        + w_{\text{ext}} \, \text{BCE}(\sigma(\mathbf{Z}_{U, \text{ext}}
        \mathbf{Z}_{I, \text{ext}}^{\top} + b_{\text{ext}}), \mathbf{R}).

    The categories of a user are :math:`\mathbf{R} \mathbf{C}_I`, divided by the largest
    of them. The score is the logit :math:`\langle \mathbf{z}_u, \mathbf{z}_i \rangle +
    b`: the sum of its blocks' inner products and of the bias, which is a column of the
    vectors.

    No row of ratings is ever dense, and losses are exact whatever the size of the data:
    see :func:`~iedr_geo.nn.loss.match_entropy.match_entropy`. A batch is of users, for
    whom it has the mean over all items; items are encoded whole. A batch of all users, as
    in the paper, is one of :obj:`batch_size=num_users`. Users and items without ratings
    have the vectors of empty rows. Items without categories, users who have rated no
    other, and users without ratings are in no mean over categories.

    .. note::
        The paper leaves open what encoders, decoders and heads are. Here, an encoder has
        a hidden layer with :math:`\tanh`, and so has a decoder; codes are linear, because
        sigmoid ones could not have the negative logits of unobserved pairs; a head is a
        linear layer. Equation (10) of the paper lacks its minus sign.

    Args:
        num_users (int): The number of users.
        num_items (int): The number of items.
        edge_index (torch.Tensor): The training edges from users to items, sorted by row
            and column, as :obj:`BipartiteGraph.edge_index`, of shape :math:`(2, E)`.
        value (torch.Tensor, optional): Their ratings, scaled to :math:`[0, 1]`, of shape
            :math:`(E)`. If :obj:`None`, all are one. (default: :obj:`None`)
        item_labels (torch.Tensor, optional): The categories of items, multi-hot, of shape
            :math:`(I, C)`, without which there is no internal block.
            (default: :obj:`None`)
        label_mask (torch.Tensor, optional): :obj:`True` for each item whose categories
            the model may see, of shape :math:`(I)`. If :obj:`None`, it sees all.
            (default: :obj:`None`)
        blocks (dict, optional): The size of each block by its name. A block of another
            name than :obj:`"internal"` and :obj:`"external"` has no loss of its own.
            (default: 64 internal, 32 external and 32 other)
        hidden (int, optional): The size of hidden layers. (default: :obj:`256`)
        internal_weight (float, optional): The weight :math:`w_{\text{int}}`.
            (default: :obj:`1`)
        external_weight (float, optional): The weight :math:`w_{\text{ext}}`.
            (default: :obj:`1`)

    Raises:
        ValueError: If edges are not sorted, values are not in range, shapes do not fit,
            or there is an internal block and no category to be seen.
    """

    arguments: ClassVar[tuple[str, ...]] = (
        'num_users',
        'num_items',
        'blocks',
        'hidden',
        'internal_weight',
        'external_weight',
    )
    batches = 'users'
    constants = (BIAS,)
    ptr: Tensor
    column: Tensor
    value: Tensor
    item_labels: Tensor | None

    def __init__(
        self,
        num_users: int,
        num_items: int,
        edge_index: Tensor,
        value: Tensor | None = None,
        item_labels: Tensor | None = None,
        label_mask: Tensor | None = None,
        blocks: Mapping[str, int] = BLOCKS,
        hidden: int = 256,
        internal_weight: float = 1.0,
        external_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.num_users, self.num_items = num_users, num_items
        self.blocks, self.hidden = dict(blocks), hidden
        self.internal_weight, self.external_weight = internal_weight, external_weight
        _check_blocks(self.blocks)
        if isinstance(edge_index, EdgeIndex):
            edge_index = edge_index.as_tensor()
        if value is None:
            value = torch.ones_like(edge_index[0], dtype=torch.get_default_dtype())
        _check_edges(edge_index, value, num_users, num_items)
        user, item = edge_index
        self.register_buffer('ptr', index2ptr(user, num_users))
        # Copies: loading a state must not change the graph's.
        self.register_buffer('column', item.clone())
        self.register_buffer('value', value.clone())
        labels = None
        if INTERNAL in self.blocks:
            labels = _seen_labels(item_labels, label_mask, num_items).to(value.dtype)
        self.register_buffer('item_labels', labels)
        self.user_side = _Side(num_items, self.blocks, hidden)
        self.item_side = _Side(num_users, self.blocks, hidden)
        self.bias = Parameter(torch.zeros(1))
        if EXTERNAL in self.blocks:
            self.external_bias = Parameter(torch.zeros(1))
        if labels is not None:
            size = self.blocks[INTERNAL]
            self.user_head = Linear(size, labels.size(1))
            self.item_head = Linear(size, labels.size(1))

    @property
    def channels(self) -> int:  # type: ignore[override]
        """The size of the vectors: all blocks and the bias."""
        return sum(self.blocks.values()) + 1

    @property
    def factor_columns(self) -> dict[str, slice]:
        """The columns of each block, and that of the bias."""
        columns, end = {}, 0
        for name, size in (self.blocks | {BIAS: 1}).items():
            columns[name] = slice(end, end + size)
            end += size
        return columns

    @classmethod
    def from_config(cls, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Self:
        """Makes a model of the edges of a state that can be loaded into it."""
        if state['ptr'].numel() != config['num_users'] + 1:
            raise ValueError(f'The edges are not of {config["num_users"]} users')
        edges = torch.stack([ptr2index(state['ptr']), state['column']])
        return cls(
            edge_index=edges,
            value=state['value'],
            item_labels=state.get('item_labels'),
            **config,
        )

    def reset_parameters(self) -> None:
        """Resets all learnable parameters."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()
        for bias in self.parameters(recurse=False):
            torch.nn.init.zeros_(bias)

    def check_graph(self, graph: BipartiteGraph) -> None:
        """Raises an error if the model has other edges than the training graph."""
        user = ptr2index(self.ptr)
        same = torch.equal(user, graph.user.to(user.device)) and torch.equal(
            self.column, graph.item.to(user.device)
        )
        if not same:
            raise ValueError(
                f'{type(self).__name__} has {len(user)} edges, not the {graph.num_edges} '
                f'of the training graph: make the model of `train.edge_index`'
            )

    @property
    def _ratings(self) -> Compressed:
        return Compressed(self.ptr, self.column, self.value)

    def encode_all(self) -> Vectors:
        """Returns the vectors of all users, :math:`(U, F)`, and items, :math:`(I, F)`."""
        of_users = self._ratings
        of_items = of_users.transposed(self.num_items)
        return _with_bias(
            self.user_side.encode(of_users, of_items),
            self.item_side.encode(of_items, of_users),
            self.bias,
        )

    def forward(self, user: Tensor, item: Tensor) -> Vectors:
        """Returns the vectors of users and items."""
        users, items = self.encode_all()
        return F.embedding(user, users), F.embedding(item, items)

    def losses(self, batch: UserBatch) -> SDRLLosses:
        """Returns the terms of the loss of some users, and the total."""
        whole, rows = self._ratings, self._rows(batch)
        users = rows, rows.transposed(self.num_items)
        items = whole.transposed(self.num_items), whole
        user, item = self.user_side.encode(*users), self.item_side.encode(*items)
        reconstruction = (
            self.user_side.entropy(user, *users)
            + self.item_side.entropy(item, *items)
            + match_entropy(*_with_bias(user, item, self.bias), *users)
        )
        internal = external = reconstruction.new_zeros(())
        columns = self.factor_columns
        if INTERNAL in self.blocks:
            own = columns[INTERNAL]
            internal = self._category_loss(user[:, own], item[:, own], rows)
        if EXTERNAL in self.blocks:
            own = columns[EXTERNAL]
            vectors = _with_bias(user[:, own], item[:, own], self.external_bias)
            external = match_entropy(*vectors, *users)
        total = (
            reconstruction
            + self.internal_weight * internal
            + self.external_weight * external
        )
        return SDRLLosses(reconstruction, internal, external, total)

    def _rows(self, batch: UserBatch) -> Compressed:
        """Returns the ratings of the users of a batch."""
        ptr = index2ptr(batch.row, len(batch.user))
        place = torch.arange(batch.row.numel(), device=ptr.device) - ptr[batch.row]
        edge = self.ptr[batch.user][batch.row] + place
        return Compressed(ptr, self.column[edge], self.value[edge])

    def _category_loss(self, user: Tensor, item: Tensor, rows: Compressed) -> Tensor:
        """Returns the loss of the categories of items and of users."""
        assert self.item_labels is not None
        of_item = self.item_labels
        of_user = rows.matmul(of_item)
        highest = of_user.amax(dim=1, keepdim=True)
        # Of whom nothing is known, the largest is 0.
        of_user = of_user / highest.clamp(min=torch.finfo(highest.dtype).tiny)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            return F.binary_cross_entropy_with_logits(logits, labels, reduction='none')

        return _mean_of(
            loss(self.item_head(item), of_item), of_item.any(dim=1)
        ) + _mean_of(loss(self.user_head(user), of_user), highest.squeeze(1) > 0)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}({self.num_users}, {self.num_items}, '
            f'blocks={self.blocks}, hidden={self.hidden})'
        )


def _check_blocks(blocks: Mapping[str, int]) -> None:
    if not blocks or BIAS in blocks or min(blocks.values()) < 1:
        raise ValueError(
            f"`blocks` must be sizes by name, none of which is '{BIAS}' (got {blocks})"
        )


def _check_edges(edges: Tensor, value: Tensor, num_users: int, num_items: int) -> None:
    user, item = edges
    if value.shape != user.shape:
        raise ValueError(
            f'`value` must be of shape {tuple(user.shape)}, one for each edge (got '
            f'{tuple(value.shape)})'
        )
    pair = user * num_items + item
    for ids, size in ((user, num_users), (item, num_items)):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < size:
            raise ValueError(
                f'The edges must be between {num_users} users and {num_items} items'
            )
    if (pair.diff() <= 0).any():
        raise ValueError(
            'The edges must be sorted by user, then item, and each be there once: see '
            'BipartiteGraph.edge_index'
        )
    if not ((value >= 0) & (value <= 1)).all():
        raise ValueError(
            f'`value` must be scaled to [0, 1], as in `graph.value / 5` (got values from '
            f'{float(value.min())} to {float(value.max())})'
        )


def _seen_labels(labels: Tensor | None, mask: Tensor | None, num_items: int) -> Tensor:
    """Returns the categories of items, of which those that are not seen have none."""
    if labels is None:
        raise ValueError(
            'The internal block is one of categories: pass `item_labels`, or `blocks` '
            f"without '{INTERNAL}'"
        )
    if labels.dim() != 2 or len(labels) != num_items:
        raise ValueError(
            f'`item_labels` must be of shape ({num_items}, C) (got {tuple(labels.shape)})'
        )
    if mask is not None:
        if mask.dtype != torch.bool or mask.shape != (num_items,):
            raise ValueError(
                f'`label_mask` must be boolean, of shape ({num_items}) (got {mask.dtype} '
                f'of shape {tuple(mask.shape)})'
            )
        labels = labels * mask.unsqueeze(1)
    if not labels.any():
        raise ValueError('No item has a category that the model may see')
    return labels
