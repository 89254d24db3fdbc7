"""The graph of users and items."""

from __future__ import annotations

import copy
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import coo_array
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import cumsum, to_undirected

from iedr_geo.data.arguments import check_type
from iedr_geo.data.fingerprint import (
    Fingerprint,
    Numbered,
    check_fits,
    digest,
    numbering,
)
from iedr_geo.data.tables import check_columns, check_names, match_ids, unique_ids
from iedr_geo.data.unseen import UnseenItems

if TYPE_CHECKING:
    from iedr_geo.data.interaction import InteractionDataset


MAX_REPEATED = 0.01
"""The share of interactions that repeat an earlier pair beyond which a log is one of
repeated use, unless the user says otherwise."""


def check_one_log(first: Numbered, *others: Numbered) -> None:
    """Raises an error if data do not number the same users and items alike."""
    for other in others:
        if not hasattr(other, 'fingerprint'):
            raise ValueError(
                f'`seen` has to be of datasets, not of {type(other).__name__}'
            )
        for one, two in ((first, other), (other, first)):
            kept = {side: one.fingerprint(side) for side in ('user', 'item')}
            check_fits(kept, two, 'These are no parts of one log')


def check_ids(ids: Tensor, count: int, side: str) -> None:
    """Raises an error if ids are not integers from 0 to less than a count."""
    check_type(ids, f'{side} ids', Tensor)
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


def _known_unique(ids: Any) -> bool:
    """Says of an index of text or of integers, which keeps it, whether no id recurs."""
    plain = isinstance(ids, pd.Index) and ids.inferred_type in ('string', 'integer')
    return plain and ids.is_unique


_DEFAULT: Any = None  # Until `__post_init__` has found it.


@dataclass(eq=False, repr=False)
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
        popularity: The clicks that each item counts for, integers of shape :math:`(I)`
            (default: its number of users, :obj:`item_degree`).
        intervened: :obj:`True` for each interaction that happened under a policy that
            showed all items alike, of shape :math:`(R)` (default: none did). An edge did
            if one of its interactions did.
        catalogue: The items that exist (default: all). Only they are negatives.
        user_ids: The id of each user in the user's own tables (default: the numbers).
            The name of an index is that of the column in tables of recommendations.
        item_ids: The id of each item, likewise.
        repeated: The share of interactions that repeat an earlier pair (default: it is
            counted). Parts of the graph keep it.
        exclude_seen: If :obj:`True`, items that a user has had are left out of full
            rankings, and are no targets there. :obj:`False` is for logs of repeated use
            (default: :obj:`False` where more than 1 % of the interactions repeat an
            earlier pair).

    Raises:
        ValueError: If an id is out of range, a shape does not fit, or an id of the user's
            own tables is missing or comes twice.
    """

    user: Tensor
    item: Tensor
    num_users: int
    num_items: int
    _: KW_ONLY
    popularity: Tensor = _DEFAULT
    intervened: Tensor = _DEFAULT
    catalogue: Tensor | None = None
    user_ids: pd.Index = _DEFAULT
    item_ids: pd.Index = _DEFAULT
    repeated: float = _DEFAULT
    exclude_seen: bool = _DEFAULT

    def __post_init__(self) -> None:
        user, item, num_items = self.user, self.item, self.num_items
        check_ids(user, self.num_users, 'user')
        check_ids(item, num_items, 'item')
        if user.shape != item.shape:
            raise ValueError(
                f'Each interaction has a user and an item (got {user.numel()} users and '
                f'{item.numel()} items)'
            )
        mark = self.intervened
        if mark is None:
            mark = torch.zeros_like(user, dtype=torch.bool)
        if mark.shape != user.shape or mark.dtype != torch.bool:
            raise ValueError(
                f'`intervened` must be boolean, of shape {tuple(user.shape)} (got '
                f'{mark.dtype} of shape {tuple(mark.shape)})'
            )
        pair, edge = torch.unique(user.long() * num_items + item, return_inverse=True)
        if self.repeated is None:
            self.repeated = (user.numel() - pair.numel()) / max(1, user.numel())
        if self.exclude_seen is None:
            self.exclude_seen = self.repeated <= MAX_REPEATED
        self.user = pair.div(num_items, rounding_mode='floor')
        self.item = pair - self.user * num_items
        self.intervened = torch.zeros_like(pair, dtype=torch.bool)
        self.intervened[edge[mark]] = True
        count = self.item_degree if self.popularity is None else self.popularity
        wrong = count.is_floating_point() or count.shape != (num_items,)
        if wrong or (count < 0).any():
            raise ValueError(
                f'`popularity` must be integers (got {count.dtype}) of shape '
                f'({num_items}) and not be negative (got shape {tuple(count.shape)})'
            )
        self.popularity = count.long()
        if self.catalogue is not None:
            check_ids(self.catalogue, num_items, 'catalogue')
            self.catalogue = torch.unique(self.catalogue)
        for side, size in (('user', self.num_users), ('item', num_items)):
            ids = getattr(self, f'{side}_ids')
            if ids is None:
                ids = pd.RangeIndex(size)
            elif len(ids) != size:
                raise ValueError(f'There are {size} {side}s, but {len(ids)} {side}_ids')
            elif not _known_unique(ids):
                unique_ids(pd.Series(list(ids), name=f'{side}_ids'), 'graph')
            # An index stays the same object, whose fingerprint is kept.
            index = ids if isinstance(ids, pd.Index) else pd.Index(ids)
            setattr(self, f'{side}_ids', index)

    @classmethod
    def from_pandas(
        cls,
        interactions: pd.DataFrame,
        user: str = 'user',
        item: str = 'item',
        users: pd.DataFrame | None = None,
        items: pd.DataFrame | None = None,
        exclude_seen: bool = _DEFAULT,
    ) -> BipartiteGraph:
        """Builds the graph of a log.

        Args:
            interactions: A row for each interaction.
            user: The column with the user's id, in all tables.
            item: The column with the item's id, in all tables.
            users: A row for each user (default: the users of the log).
            items: A row for each item (default: the items of the log).
            exclude_seen: As of a graph.

        Raises:
            ValueError: If a table is empty, lacks a column, has no or twice the same id,
                or if the log names an id that its table lacks.
        """
        check_names(user, item)
        check_columns(interactions, [user, item], 'interactions')
        _, _, user_ids, of_user = match_ids(interactions[user], users, 'user')
        _, _, item_ids, of_item = match_ids(interactions[item], items, 'item')
        graph = cls(
            of_user, of_item, len(user_ids), len(item_ids), exclude_seen=exclude_seen
        )
        graph.user_ids, graph.item_ids = user_ids, item_ids  # Known to be distinct.
        return graph

    @classmethod
    def from_scipy(cls, matrix: Any) -> BipartiteGraph:
        """Builds the graph of a sparse matrix of users by items.

        Args:
            matrix: A matrix or array of :mod:`scipy.sparse`. Values other than zero are
                interactions.

        Raises:
            ValueError: If one is NaN.
        """
        cells = coo_array(matrix) if hasattr(matrix, 'shape') else None
        if cells is None or len(cells.shape) != 2:
            raise ValueError(
                f'A graph is made of a sparse matrix of users by items (got '
                f'{type(matrix).__name__})'
            )
        wrong = np.flatnonzero(cells.data != cells.data)
        if len(wrong):
            raise ValueError(
                f'The matrix holds NaN in {len(wrong)} cells, the first of user '
                f'{cells.row[wrong[0]]} and item {cells.col[wrong[0]]}: a cell is an '
                f'interaction or zero'
            )
        user, item = (torch.from_numpy(index).long() for index in cells.nonzero())
        return cls(user, item, *cells.shape)

    @classmethod
    def from_dataset(cls, *datasets: InteractionDataset) -> BipartiteGraph:
        """Builds the graph of the positive rows of datasets.

        Args:
            *datasets: Parts of one log. The graph is on the device of the first, and has
                its catalogue and its :obj:`exclude_seen`.
        """
        from iedr_geo.data.interaction import InteractionDataset

        check_one_log(*datasets)
        for dataset in datasets:
            check_type(dataset, 'datasets', InteractionDataset)
        first = datasets[0]
        rows = [d if d.y is None else d[d.y == 1] for d in datasets]
        return cls(
            torch.cat([d.user.to(first.user.device) for d in rows]),
            torch.cat([d.item.to(first.user.device) for d in rows]),
            first.num_users,
            first.num_items,
            catalogue=first.catalogue,
            user_ids=first.own_ids('user'),
            item_ids=first.own_ids('item'),
            exclude_seen=first.exclude_seen,
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
        """The number of edges before each user, and of all, of shape :math:`(U + 1)`."""
        return cumsum(self.user_degree)

    @cached_property
    def edge_index(self) -> EdgeIndex:
        """The edges from users to items, of shape :math:`(2, E)`."""
        return EdgeIndex(
            torch.stack([self.user, self.item]),
            sparse_size=(self.num_users, self.num_items),
            sort_order='row',
        )

    def fingerprint(self, of: str, size: int | None = None) -> Fingerprint | None:
        """Returns what tells the numbers of this graph from those of others.

        Args:
            of: :obj:`'user'`, :obj:`'item'` or :obj:`'rows'`, the edges. There is nothing
                else.
            size: The number of users or items that count, the first ones (default: all).
        """
        if of == 'rows':
            edges = self.user, self.item, self.intervened, self.popularity, self.catalogue
            return Fingerprint(self.num_edges, digest(*edges))
        tables = {'user': self.user_ids, 'item': self.item_ids}
        return numbering(tables[of], size) if of in tables else None

    def adjacency(self, self_loops: bool = False) -> tuple[EdgeIndex, Tensor]:
        r"""Returns edges in both directions and their symmetrically normalised weights.

        Items are numbered after users, as PyG's models have them. An edge between nodes
        of degrees :math:`d_i` and :math:`d_j` weighs :math:`1 / \sqrt{d_i d_j}`.

        Args:
            self_loops: If :obj:`True`, every node has an edge to itself, which counts in
                its degree.

        Returns:
            Edges of shape :math:`(2, 2E)`, or :math:`(2, 2E + U + I)` with self-loops,
            sorted by row, and their weights.
        """
        size = self.num_users + self.num_items
        edges = torch.stack([self.user, self.item + self.num_users])
        if self_loops:
            nodes = torch.arange(size, device=self.device)
            edges = torch.cat([edges, nodes.expand(2, -1)], dim=1)
        edges, weight = gcn_norm(
            to_undirected(edges, num_nodes=size), num_nodes=size, add_self_loops=False
        )
        edge_index = EdgeIndex(
            edges, sparse_size=(size, size), sort_order='row', is_undirected=True
        )
        return edge_index, weight

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
        """Returns :obj:`True` for each pair that is an edge.

        Args:
            user: Users, of any shape.
            item: Items, of a shape that broadcasts with it.
        """
        pair = user.long() * self.num_items + item
        return self._pairs[torch.searchsorted(self._pairs, pair)] == pair

    @cached_property
    def _pairs(self) -> Tensor:
        """The edges as sorted numbers, and at the end one that is above all pairs."""
        above = torch.tensor([torch.iinfo(torch.long).max], device=self.device)
        return torch.cat([self.user * self.num_items + self.item, above])

    def subgraph(self, edges: Tensor) -> BipartiteGraph:
        """Returns the graph of some edges: nodes and their popularity stay.

        Args:
            edges: A mask or the numbers of the edges to keep.
        """
        return replace(
            self,
            user=self.user[edges],
            item=self.item[edges],
            intervened=self.intervened[edges],
        )

    @cached_property
    def parts(self) -> tuple[BipartiteGraph, BipartiteGraph]:
        """The graphs of the normal and of the intervened edges."""
        return self.subgraph(~self.intervened), self.subgraph(self.intervened)

    def among(self, users: Tensor, items: Tensor) -> BipartiteGraph:
        """Returns the edges between some users and some items, which are numbered anew.

        Popularity is counted anew.

        Args:
            users: Distinct users, in the order of their new numbers.
            items: Distinct items, in the order of their new numbers.
        """
        new_user, new_item = (
            kept.new_full((size,), -1).scatter(0, kept, torch.arange(len(kept)).to(kept))
            for kept, size in ((users, self.num_users), (items, self.num_items))
        )
        user, item = new_user[self.user], new_item[self.item]
        edges = (user >= 0) & (item >= 0)
        catalogue = self.catalogue
        if catalogue is not None:
            catalogue = torch.isin(items, catalogue).nonzero().view(-1)
        return BipartiteGraph(
            user[edges],
            item[edges],
            users.numel(),
            items.numel(),
            intervened=self.intervened[edges],
            catalogue=catalogue,
            user_ids=self.user_ids[users.cpu().numpy()],
            item_ids=self.item_ids[items.cpu().numpy()],
            repeated=self.repeated,
            exclude_seen=self.exclude_seen,
        )

    def core(self, min_degree: int, repeat: bool = False) -> BipartiteGraph:
        """Keeps items, then users, that have enough edges, and numbers them anew.

        Popularity is counted anew.

        Args:
            min_degree: The number of edges that a node needs.
            repeat: If :obj:`True`, goes on until all nodes that are left have enough (the
                *k-core*); otherwise once, as DICE's data were made.

        Raises:
            ValueError: If nothing is left.
        """
        edges = torch.arange(self.num_edges, device=self.device)
        while True:
            before = edges.numel()
            for ids in (self.item, self.user):
                degree = torch.bincount(ids[edges])
                edges = edges[degree[ids[edges]] >= min_degree]
            if not repeat or edges.numel() == before:
                break
        if edges.numel() == 0:
            raise ValueError(
                f'No edge is left: users and items of {min_degree} edges are too few'
            )
        # Whether an edge is left depends on its nodes alone.
        return self.among(self.user[edges].unique(), self.item[edges].unique())

    def to(self, device: torch.device | str) -> BipartiteGraph:
        """Returns the graph on another device."""
        if self.device == torch.empty(0, device=device).device:
            return self
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(getattr(type(self), name, None), cached_property):
                delattr(moved, name)
            elif isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={self.num_users}, '
            f'num_items={self.num_items}, num_edges={self.num_edges}, '
            f'repeated={self.repeated:.1%}, exclude_seen={self.exclude_seen})'
        )


def graph_of_queries(
    dataset: InteractionDataset,
) -> tuple[BipartiteGraph, Tensor, Tensor]:
    """Returns the items that each distinct pair of user and context, a query, has in the
    rows of a dataset; the query of each row; and the pairs' sorted numbers.

    Popularity stays that among users.
    """
    pair = dataset.user * dataset.num_contexts + dataset.context
    queries, query = torch.unique(pair, return_inverse=True)
    graph, pairs = BipartiteGraph.from_dataset(dataset), queries.cpu().numpy()
    graph = replace(
        graph,
        user=query,
        item=dataset.item,
        num_users=len(queries),
        intervened=_DEFAULT,
        user_ids=_DEFAULT,
    )
    user, context = np.divmod(pairs, dataset.num_contexts)
    graph.user_ids = pd.MultiIndex.from_arrays([dataset.user_ids[user], context])
    return graph, query, queries
