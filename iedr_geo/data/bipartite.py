"""The graph of users and items."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import cumsum

from iedr_geo.data.tables import check_columns, match_ids
from iedr_geo.data.unseen import UnseenItems

if TYPE_CHECKING:
    from iedr_geo.data.interaction import InteractionDataset


def check_one_log(*datasets: InteractionDataset) -> None:
    """Raises an error if datasets do not number the same users and items alike."""
    first = datasets[0]
    for other in datasets[1:]:
        for name in ('user_ids', 'item_ids'):
            if not getattr(first, name).equals(getattr(other, name, None)):
                raise ValueError(
                    f'The datasets must be parts of one log: their {name} differ '
                    f'({first!r} and {other!r})'
                )


def check_ids(ids: Tensor, count: int, side: str) -> None:
    """Raises an error if ids are not integers from 0 to less than a count."""
    if ids.is_floating_point() or ids.dtype == torch.bool or ids.dim() != 1:
        raise ValueError(
            f'{side.capitalize()} ids must be integers of shape (E) (got {ids.dtype} of '
            f'shape {tuple(ids.shape)})'
        )
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < count:
        raise ValueError(
            f'{side.capitalize()} ids must be from 0 to less than {count} (got '
            f'{int(ids.min())} to {int(ids.max())})'
        )


class BipartiteGraph:
    r"""Users, items, and an edge for each pair of them that a log holds.

    Edges are sorted by user, then by item. A pair that recurs is one edge. Users without
    items and items without users are nodes all the same. What derives from the edges is
    computed when it is first asked for, on their device, and kept.

    Args:
        user: The user of each interaction, of shape :math:`(R)`.
        item: The item of each interaction, of shape :math:`(R)`.
        num_users: The number of users :math:`U`.
        num_items: The number of items :math:`I`.
        popularity: How often each item counts as clicked, integers of shape :math:`(I)`
            (default: by how many users, :obj:`item_degree`).
        intervened: Whether each interaction happened under a policy that showed all items
            alike, of shape :math:`(R)` (default: none did). An edge did if one of its
            interactions did.
        catalogue: The items that exist (default: all). Only they are negatives.
        user_ids: The id of each user in the user's own tables (default: the numbers).
        item_ids: The id of each item, likewise.

    Raises:
        ValueError: If an id is out of range, or a shape does not fit.
    """

    user: Tensor
    item: Tensor
    popularity: Tensor
    intervened: Tensor
    catalogue: Tensor | None

    def __init__(
        self,
        user: Tensor,
        item: Tensor,
        num_users: int,
        num_items: int,
        *,
        popularity: Tensor | None = None,
        intervened: Tensor | None = None,
        catalogue: Tensor | None = None,
        user_ids: Sequence[Any] | pd.Index | None = None,
        item_ids: Sequence[Any] | pd.Index | None = None,
    ) -> None:
        check_ids(user, num_users, 'user')
        check_ids(item, num_items, 'item')
        if user.shape != item.shape:
            raise ValueError(
                f'Each interaction has a user and an item (got {user.numel()} users and '
                f'{item.numel()} items)'
            )
        if intervened is None:
            intervened = torch.zeros_like(user, dtype=torch.bool)
        if intervened.shape != user.shape or intervened.dtype != torch.bool:
            raise ValueError(
                f'`intervened` must be boolean, of shape {tuple(user.shape)} (got '
                f'{intervened.dtype} of shape {tuple(intervened.shape)})'
            )
        self.num_users, self.num_items = num_users, num_items
        pair, inverse = torch.unique(
            user.long() * num_items + item.long(), return_inverse=True
        )
        self.user = pair.div(num_items, rounding_mode='floor')
        self.item = pair - self.user * num_items
        self.intervened = torch.zeros_like(pair, dtype=torch.bool)
        self.intervened[inverse[intervened]] = True
        if popularity is None:
            popularity = self.item_degree
        wrong = popularity.is_floating_point() or popularity.shape != (num_items,)
        if wrong or (popularity < 0).any():
            raise ValueError(
                f'`popularity` must be integers (got {popularity.dtype}) of shape '
                f'({num_items}) and not be negative (got shape '
                f'{tuple(popularity.shape)})'
            )
        self.popularity = popularity.long()
        if catalogue is not None:
            check_ids(catalogue, num_items, 'catalogue')
            catalogue = torch.unique(catalogue)
        self.catalogue = catalogue
        self.user_ids = pd.RangeIndex(num_users) if user_ids is None else user_ids
        self.item_ids = pd.RangeIndex(num_items) if item_ids is None else item_ids
        for ids, count, side in (
            (self.user_ids, num_users, 'user'),
            (self.item_ids, num_items, 'item'),
        ):
            if len(ids) != count:
                raise ValueError(f'There are {count} {side}s, but {len(ids)} {side}_ids')

    @classmethod
    def from_pandas(
        cls,
        interactions: pd.DataFrame,
        user: str = 'user',
        item: str = 'item',
        users: pd.DataFrame | None = None,
        items: pd.DataFrame | None = None,
    ) -> BipartiteGraph:
        """Builds the graph of a log.

        Args:
            interactions: A row for each interaction.
            user: The column with the user's id, in all tables.
            item: The column with the item's id, in all tables.
            users: A row for each user (default: the users of the log).
            items: A row for each item (default: the items of the log).

        Raises:
            ValueError: If a table is empty, lacks a column, has no or twice the same id,
                or if the log names an id that its table lacks.
        """
        check_columns(interactions, [user, item], 'interactions')
        _, user_ids, user_rows = match_ids(interactions[user], users, 'user')
        _, item_ids, item_rows = match_ids(interactions[item], items, 'item')
        return cls(
            user_rows,
            item_rows,
            len(user_ids),
            len(item_ids),
            user_ids=pd.Index(user_ids),
            item_ids=pd.Index(item_ids),
        )

    @classmethod
    def from_scipy(cls, matrix: Any) -> BipartiteGraph:
        """Builds the graph of a sparse matrix of users by items.

        Args:
            matrix: A matrix or array of :mod:`scipy.sparse`. Values other than zero are
                interactions.
        """
        coo = matrix.tocoo()
        kept = coo.data != 0
        return cls(
            torch.from_numpy(coo.row[kept]).long(),
            torch.from_numpy(coo.col[kept]).long(),
            *coo.shape,
        )

    @classmethod
    def from_dataset(cls, *datasets: InteractionDataset) -> BipartiteGraph:
        """Builds the graph of the positive rows of datasets.

        Args:
            *datasets: Parts of one log. The graph is on the device of the first, and has
                its catalogue.
        """
        check_one_log(*datasets)
        first = datasets[0]
        rows = [d if d.y is None else d[d.y == 1] for d in datasets]
        return cls(
            torch.cat([d.user.to(first.user.device) for d in rows]),
            torch.cat([d.item.to(first.user.device) for d in rows]),
            first.num_users,
            first.num_items,
            catalogue=first.catalogue,
            user_ids=first.user_ids,
            item_ids=first.item_ids,
        )

    @property
    def num_edges(self) -> int:
        """The number of distinct pairs of user and item."""
        return self.user.numel()

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.user.device

    @cached_property
    def user_degree(self) -> Tensor:
        """The number of items of each user, of shape :math:`(U)`."""
        return torch.bincount(self.user, minlength=self.num_users)

    @cached_property
    def item_degree(self) -> Tensor:
        """The number of users of each item, of shape :math:`(I)`."""
        return torch.bincount(self.item, minlength=self.num_items)

    @cached_property
    def ptr(self) -> Tensor:
        """Where the edges of each user begin, and the last end, :math:`(U + 1)`."""
        return cumsum(self.user_degree)

    @cached_property
    def edge_index(self) -> EdgeIndex:
        """The edges from users to items, of shape :math:`(2, E)`."""
        return EdgeIndex(
            torch.stack([self.user, self.item]),
            sparse_size=(self.num_users, self.num_items),
            sort_order='row',
        )

    @cached_property
    def _adjacency(self) -> dict[bool, tuple[EdgeIndex, Tensor]]:
        return {}

    def adjacency(self, self_loops: bool = False) -> tuple[EdgeIndex, Tensor]:
        r"""Returns edges in both directions and their symmetrically normalised weights.

        Items are numbered after users, as PyG's models have them. An edge between nodes
        of degrees :math:`d_i` and :math:`d_j` weighs :math:`1 / \sqrt{d_i d_j}`.

        Args:
            self_loops: Whether every node has an edge to itself, which counts in its
                degree.

        Returns:
            Edges of shape :math:`(2, 2E)`, or :math:`(2, 2E + U + I)` with self-loops,
            sorted by row, and their weights.
        """
        if self_loops not in self._adjacency:
            size = self.num_users + self.num_items
            item = self.item + self.num_users
            # By user; then by item, and the users of an item in their order.
            order = torch.argsort(self.item, stable=True)
            edge_index = torch.stack(
                [
                    torch.cat([self.user, item[order]]),
                    torch.cat([item, self.user[order]]),
                ]
            )
            edge_index, weight = gcn_norm(
                edge_index, num_nodes=size, add_self_loops=self_loops
            )
            if self_loops:  # They are at the end.
                order = torch.argsort(edge_index[0] * size + edge_index[1])
                edge_index, weight = edge_index[:, order], weight[order]
            edge_index = EdgeIndex(
                edge_index,
                sparse_size=(size, size),
                sort_order='row',
                is_undirected=True,
            )
            self._adjacency[self_loops] = edge_index, weight
        return self._adjacency[self_loops]

    @cached_property
    def by_popularity(self) -> Tensor:
        """The items from the least to the most popular, ties by number, :math:`(I)`."""
        return torch.argsort(self.popularity, stable=True)

    @cached_property
    def sorted_popularity(self) -> Tensor:
        """Their popularity in that order, float64, of shape :math:`(I)`."""
        return self.popularity[self.by_popularity].double()

    @cached_property
    def existing(self) -> Tensor:
        """The items that exist, sorted."""
        if self.catalogue is not None:
            return self.catalogue
        return torch.arange(self.num_items, device=self.device)

    def _unseen(self, weight: Tensor) -> UnseenItems:
        exists = torch.zeros_like(weight)
        exists[self.existing] = 1  # What weighs nothing is never drawn.
        return UnseenItems(
            self.user, self.item, self.num_users, self.by_popularity, weight * exists
        )

    @cached_property
    def unseen(self) -> UnseenItems:
        """The items that each user does not have, the least popular first."""
        return self._unseen(torch.ones_like(self.popularity))

    @cached_property
    def unseen_by_popularity(self) -> UnseenItems:
        """The same, each item as long as it is popular."""
        return self._unseen(self.popularity)

    @cached_property
    def fewest_unseen(self) -> tuple[int, int]:
        """The user to whom the fewest items are left, and how many."""
        user = int(self.unseen.total.argmin())
        return user, int(self.unseen.total[user])

    def positives(self, user: int) -> Tensor:
        """Returns the items of a user, sorted."""
        return self.item[self.ptr[user] : self.ptr[user + 1]]

    def contains(self, user: Tensor, item: Tensor) -> Tensor:
        """Returns whether pairs are edges.

        Args:
            user: Users, of any shape.
            item: Items, of a shape that broadcasts with it.
        """
        pair = user.long() * self.num_items + item
        if self.num_edges == 0:
            return torch.zeros_like(pair, dtype=torch.bool)
        place = torch.searchsorted(self._pairs, pair).clamp(max=self.num_edges - 1)
        return self._pairs[place] == pair

    @cached_property
    def _pairs(self) -> Tensor:
        return self.user * self.num_items + self.item

    def subgraph(self, edges: Tensor) -> BipartiteGraph:
        """Returns the graph of some edges: nodes and their popularity stay.

        Args:
            edges: A mask or the numbers of the edges to keep.
        """
        return BipartiteGraph(
            self.user[edges],
            self.item[edges],
            self.num_users,
            self.num_items,
            popularity=self.popularity,
            intervened=self.intervened[edges],
            catalogue=self.catalogue,
            user_ids=self.user_ids,
            item_ids=self.item_ids,
        )

    @cached_property
    def parts(self) -> tuple[BipartiteGraph, BipartiteGraph]:
        """The graphs of the normal and of the intervened edges."""
        return self.subgraph(~self.intervened), self.subgraph(self.intervened)

    def core(self, min_degree: int, repeat: bool = False) -> BipartiteGraph:
        """Keeps items, then users, that have enough edges, and numbers them anew.

        Popularity is counted anew.

        Args:
            min_degree: The number of edges that a node needs.
            repeat: Whether to go on until all nodes that are left have enough (the
                *k-core*), rather than once, as DICE's data were made.

        Raises:
            ValueError: If nothing is left.
        """
        user, item, intervened = self.user, self.item, self.intervened
        while True:
            before = user.numel()
            for side in (1, 0):
                ids = item if side else user
                kept = torch.bincount(ids)[ids] >= min_degree if ids.numel() else ids > 0
                user, item, intervened = user[kept], item[kept], intervened[kept]
            if not repeat or user.numel() == before:
                break
        if user.numel() == 0:
            raise ValueError(
                f'No edge is left: users and items of {min_degree} edges are too few'
            )
        users, user = torch.unique(user, return_inverse=True)
        items, item = torch.unique(item, return_inverse=True)
        catalogue = self.catalogue
        if catalogue is not None:
            catalogue = torch.isin(items, catalogue).nonzero().view(-1)
        return BipartiteGraph(
            user,
            item,
            users.numel(),
            items.numel(),
            intervened=intervened,
            catalogue=catalogue,
            user_ids=pd.Index(self.user_ids)[users.cpu().numpy()],
            item_ids=pd.Index(self.item_ids)[items.cpu().numpy()],
        )

    def to(self, device: torch.device | str) -> BipartiteGraph:
        """Returns the graph on another device."""
        if self.device == torch.empty(0, device=device).device:
            return self
        moved = copy.copy(self)
        for name in [
            name
            for name in vars(moved)
            if isinstance(getattr(type(self), name, None), cached_property)
        ]:
            del moved.__dict__[name]
        for name in ('user', 'item', 'popularity', 'intervened'):
            setattr(moved, name, getattr(self, name).to(device))
        if self.catalogue is not None:
            moved.catalogue = self.catalogue.to(device)
        return moved

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={self.num_users}, '
            f'num_items={self.num_items}, num_edges={self.num_edges})'
        )
