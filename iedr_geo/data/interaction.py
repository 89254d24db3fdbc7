"""One sample as a graph of graphs, and a dataset that stores ids alone."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, cast

import networkx as nx
import numpy as np
import pandas as pd
import torch
from pandas.api.types import infer_dtype
from torch import Tensor
from torch_geometric.data import Data, Dataset

from iedr_geo.data.arguments import check_type
from iedr_geo.data.bipartite import MAX_REPEATED
from iedr_geo.data.columns.cells import plain
from iedr_geo.data.feature_graphs import FeatureGraphs
from iedr_geo.data.files import Source, load_tensors, name_of, save_tensors
from iedr_geo.data.fingerprint import Fingerprint, digest, numbering
from iedr_geo.data.schema import SIDES, FeatureSchema, Side
from iedr_geo.data.tables import (
    check_columns,
    check_names,
    match_ids,
    own_from_json,
    own_to_json,
    parse_labels,
    parse_times,
)
from iedr_geo.data.warning import warn_caller

ROWS = (*SIDES, 'y', 'time')  # The tensors that have a number for each row.
GRAPHS = ('users', 'items', 'contexts')


class InteractionData(Data):
    r"""One sample: the feature graphs of a user, an item and a context.

    Holds :obj:`x_user`, :obj:`edge_index_user`, :obj:`user_id`, the same for
    :obj:`item` and :obj:`context`, and :obj:`y` where the sample has a label. Sides
    with numerical fields hold a :obj:`value_user` as well, with weights of edges an
    :obj:`edge_weight_user`, and with a vector, that is times embedding row 7 and those
    after it, a :obj:`vector_7_user`. Collate with
    ``Batch.from_data_list(samples, follow_batch=['x_user', 'x_item', 'x_context'])``.
    """

    @classmethod
    def from_graphs(cls, graphs: Iterable[Data], y: Tensor | None) -> InteractionData:
        """Returns the sample of the graphs of a user, an item and a context."""
        data = cls(num_nodes=0)
        for side, graph in zip(SIDES, graphs, strict=True):
            data.num_nodes += graph.num_nodes
            for name, value in graph:
                if name == 'graph_id':
                    data[f'{side}_id'] = value
                elif name != 'node_id':
                    data[f'{name}_{side}'] = value
        if y is not None:
            data.y = y
        return data

    def __inc__(self, key: str, value: Any, *args: Any, **kwargs: Any) -> Any:
        if key.startswith('edge_index_'):
            return self[f'x_{key.removeprefix("edge_index_")}'].size(0)
        return 0

    def to_networkx(self, names: Sequence[str] | None = None) -> nx.DiGraph:
        """Returns the three graphs side by side, for inspection and drawing.

        Nodes are pairs of side and position and carry :obj:`side`, :obj:`feature`
        (the embedding row), :obj:`value` and, given names, :obj:`label`.

        Args:
            names: A name for each embedding row, as :meth:`FeatureSchema.names` gives.
        """
        graph = nx.DiGraph()
        for side in SIDES:
            features = self[f'x_{side}'].tolist()
            values = self.get(f'value_{side}', torch.ones(len(features))).tolist()
            for i, (feature, value) in enumerate(zip(features, values, strict=True)):
                label = {} if names is None else {'label': names[feature]}
                graph.add_node(
                    (side, i), side=side, feature=feature, value=value, **label
                )
            edges = self[f'edge_index_{side}'].t().tolist()
            weights = self.get(f'edge_weight_{side}', torch.ones(len(edges))).tolist()
            for (source, target), weight in zip(edges, weights, strict=True):
                graph.add_edge((side, source), (side, target), weight=weight)
        return graph


def _infer(column: pd.Series) -> pd.Series:
    """Finds a column's type, but makes no floating point numbers of integers."""
    if column.hasnans and infer_dtype(column) == 'integer':
        return column
    return column.infer_objects()


@dataclass(eq=False, repr=False)
class InteractionDataset(Dataset):
    r"""A log of interactions between users and items in contexts.

    Stores three ids a row, and each distinct user, item and context once. A row read
    with ``dataset[i]`` is an :class:`InteractionData`; ``dataset[mask]``,
    ``dataset[index]`` and slices are datasets that share the feature graphs. Build
    one with :meth:`from_pandas`.

    Args:
        users: The feature graphs of all users.
        items: The feature graphs of all items.
        contexts: The feature graphs of all distinct contexts.
        user: The user of each row, of shape :math:`(R)`.
        item: The item of each row, of shape :math:`(R)`.
        context: The context of each row, of shape :math:`(R)`.
        schema: The meaning of the embedding rows in the graphs.
        user_ids: The id of each user in the user's own tables, as text.
        item_ids: The id of each item in the user's own tables, as text.
        context_frame: The columns of each distinct context.
        y: The labels, of shape :math:`(R)`. :obj:`None` if all rows are positive.
        time: When each row happened, of shape :math:`(R)`.
        exclude_seen: If :obj:`True`, items that a user has had are left out of full
            rankings, and are no targets there. :obj:`False` is for logs of repeated use.
        user_name: The column with the user's id in the user's own tables.
        item_name: The column with the item's id, likewise.
        own_user_ids: The user's ids as in that column, which recommendations are given
            in (default: as text).
        own_item_ids: The item's ids, likewise.
        catalogue: The items that exist when the rows happen, sorted. Only they are drawn
            as negatives and ranked. :obj:`None` if all do.
        transform: Applied to each sample that is read.
        notes: Sentences on what is odd in the tables, for :func:`describe`.
    """

    users: FeatureGraphs
    items: FeatureGraphs
    contexts: FeatureGraphs
    user: Tensor
    item: Tensor
    context: Tensor
    _: KW_ONLY
    schema: FeatureSchema
    user_ids: pd.Index
    item_ids: pd.Index
    context_frame: pd.DataFrame
    y: Tensor | None = None
    time: Tensor | None = None
    exclude_seen: bool = True
    user_name: str = 'user'
    item_name: str = 'item'
    own_user_ids: pd.Index | None = None
    own_item_ids: pd.Index | None = None
    catalogue: Tensor | None = None
    transform: Any = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__init__(transform=self.transform)
        self.user_ids, self.item_ids = pd.Index(self.user_ids), pd.Index(self.item_ids)

    @classmethod
    def from_pandas(
        cls,
        interactions: pd.DataFrame,
        users: pd.DataFrame | None,
        items: pd.DataFrame | None,
        schema: FeatureSchema,
        *,
        user: str = 'user',
        item: str = 'item',
        label: str | None = None,
        time: str | None = None,
        exclude_seen: bool | None = None,
    ) -> InteractionDataset:
        """Builds a dataset from own tables.

        What the rows say decides, not their order or their labels, but for this: users
        and items are numbered as in their tables, or else, as are contexts, by their
        first rows in the log. Draws go by these numbers and by the order of the log, so
        equal seeds give equal runs only where all of them are equal; items of equal
        scores are in the order of their numbers.

        Args:
            interactions: A row for each interaction: user, item and the schema's
                context columns.
            users: A row for each user: the id and the schema's user columns.
                :obj:`None` if the id is the only column.
            items: A row for each item, likewise.
            schema: The fields of the three sides. Fitted on these tables unless it is
                fitted already.
            user: The column with the user's id, in both tables.
            item: The column with the item's id, in both tables.
            label: A column of the interactions with 0 and 1. Without one, all rows are
                positive and training draws negatives.
            time: A column of the interactions with numbers or dates, for splits by
                time. Without one, the order of the rows stands for it.
            exclude_seen: If :obj:`True`, items that a user has had are left out of full
                rankings, and are no targets there (default: :obj:`False` where more than
                1 % of the positive rows repeat an earlier pair of user and item, as
                :func:`describe` says).

        Raises:
            ValueError: If a table is empty, lacks or repeats a column, has no or twice
                the same id, if users and items are one column, or if the interactions
                name an id that its table lacks. The message names table, column and
                value.

        Warns:
            UserWarning: If a fitted schema does not know over half of a column.
        """
        check_names(user, item)
        check_type(schema, 'schema', FeatureSchema)
        context_columns = schema.sources('context')
        extra = [name for name in (label, time) if name is not None]
        check_columns(
            interactions, [user, item, *context_columns, *extra], 'interactions'
        )
        users, user_ids, own_users, of_user = match_ids(interactions[user], users, 'user')
        items, item_ids, own_items, of_item = match_ids(interactions[item], items, 'item')
        y = None if label is None else parse_labels(interactions[label])
        moment = None if time is None else parse_times(interactions[time])
        fitted = copy.copy(schema)
        if schema.vocabulary is None:
            counts: dict[Side, np.ndarray] = {
                'user': np.bincount(of_user, minlength=len(users)),
                'item': np.bincount(of_item, minlength=len(items)),
            }
            fitted.fit({'user': users, 'item': items, 'context': interactions}, counts)
        first, of_context = fitted.distinct('context', interactions)
        contexts = interactions[context_columns].iloc[first].reset_index(drop=True)
        graphs = (
            fitted.encode('user', users),
            fitted.encode('item', items),
            fitted.encode('context', contexts),
        )
        notes: list[str] = []
        if schema.vocabulary is not None:
            frames = (users, None), (items, None), (interactions, of_context)
            for side, (frame, of_row), made in zip(SIDES, frames, graphs, strict=True):
                notes += fitted.mostly_unknown(side, frame, made, of_row).values()
        for note in notes:
            warn_caller(note)
        # Last: tables with an error leave the schema as it was.
        schema.vocabulary = fitted.vocabulary
        dataset = cls(
            *graphs,
            of_user,
            of_item,
            torch.from_numpy(of_context),
            schema=schema,
            user_ids=user_ids,
            item_ids=item_ids,
            context_frame=contexts,
            y=y,
            time=moment,
            user_name=user,
            item_name=item,
            own_user_ids=own_users,
            own_item_ids=own_items,
            notes=tuple(notes),
        )
        if exclude_seen is None:
            exclude_seen = dataset.repeated <= MAX_REPEATED
        dataset.exclude_seen = exclude_seen
        return dataset

    def own_ids(self, side: Side) -> pd.Index:
        """Returns the ids of users or items as in the user's own tables.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.

        Returns:
            Ids of the type and spelling of their column, by its name.
        """
        ids: pd.Index = getattr(self, f'{side}_ids')
        own: pd.Index | None = getattr(self, f'own_{side}_ids')
        return (ids if own is None else own).rename(getattr(self, f'{side}_name'))

    @property
    def num_users(self) -> int:
        """The number of users, those without a row included."""
        return len(self.users)

    @property
    def num_items(self) -> int:
        """The number of items, those without a row included."""
        return len(self.items)

    @property
    def num_contexts(self) -> int:
        """The number of distinct contexts."""
        return len(self.contexts)

    @property
    def repeated(self) -> float:
        """The share of positive rows that repeat the user and item of an earlier one."""
        pair = self.user * self.num_items + self.item
        if self.y is not None:
            pair = pair[self.y == 1]
        return (len(pair) - len(torch.unique(pair))) / max(1, len(pair))

    def len(self) -> int:
        """Returns the number of rows."""
        return self.user.numel()

    def get(self, idx: int) -> InteractionData:
        """Returns one sample."""
        ids = (int(getattr(self, side)[idx]) for side in SIDES)
        stores = self.users, self.items, self.contexts
        graphs = (store[i] for store, i in zip(stores, ids, strict=True))
        y = None if self.y is None else self.y[idx].view(1)
        return InteractionData.from_graphs(graphs, y)

    def index_select(self, idx: Any) -> InteractionDataset:
        """Returns the rows :obj:`idx` as a dataset that shares the feature graphs."""
        if isinstance(idx, slice):
            start, stop = (
                round(bound * len(self)) if isinstance(bound, float) else bound
                for bound in (idx.start, idx.stop)
            )
            idx = np.arange(len(self))[start : stop : idx.step]
        if not isinstance(idx, Tensor):
            idx = torch.from_numpy(np.array(idx))
        if idx.numel() == 0:
            idx = idx.long()
        return self._changed(ROWS, lambda tensor: tensor[idx])

    def _changed(
        self, names: Sequence[str], change: Callable[[Any], Any]
    ) -> InteractionDataset:
        """Returns the dataset with some of its attributes changed, where it has them."""
        changed = copy.copy(self)
        for name in names:
            value = getattr(self, name)
            if value is not None:
                setattr(changed, name, change(value))
        return changed

    def fingerprint(self, of: str, size: int | None = None) -> Fingerprint:
        """Returns what tells the numbers of this dataset from those of others.

        Args:
            of: :obj:`'user'`, :obj:`'item'`, :obj:`'context'`, :obj:`'vocabulary'` or
                :obj:`'rows'`.
            size: The number of users, items or contexts that count, the first ones
                (default: all).
        """
        if of == 'vocabulary':
            return self.schema.fingerprint
        if of == 'rows':
            rows = (self.user, self.item, self.context, self.y, self.catalogue)
            for graphs in (self.users, self.items, self.contexts):
                # Numbers and vectors of features are in no vocabulary.
                nodes = torch.from_numpy(graphs.hashes().view(np.int64))
                rows += (nodes, *(graphs.edges or ()))
            return Fingerprint(len(self), digest(*rows))
        tables = {'user': self.user_ids, 'item': self.item_ids}
        return numbering(tables.get(of, self.context_frame), size)

    def with_edges(self, **edges: Any) -> InteractionDataset:
        """Returns the dataset with other edges in its feature graphs.

        Args:
            **edges: By side (:obj:`user`, :obj:`item`, :obj:`context`), the transform
                that builds the edges, as in :class:`FeatureSchema`; :obj:`None` for
                complete graphs. Sides that are not named stay as they are.

        Example:
            >>> fewer = dataset.with_edges(item=FieldPairs([('film', 'genres')]))
        """
        changed = copy.copy(self)
        every = cast(dict[Side, Any], {**self.schema.edges, **edges})
        changed.schema = replace(self.schema, edges=every)
        for side in SIDES:
            if side in edges:
                graphs = getattr(self, f'{side}s')
                setattr(changed, f'{side}s', changed.schema.build_edges(side, graphs))
        return changed

    def to(self, device: torch.device | str) -> InteractionDataset:
        """Returns the dataset with all its tensors on another device."""
        names = (*GRAPHS, *ROWS, 'catalogue')
        return self._changed(names, lambda tensors: tensors.to(device))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the dataset to a file of tensors and text (nothing is pickled)."""
        kept = (*ROWS, 'catalogue', 'exclude_seen', 'user_name', 'item_name')
        state: dict[str, Any] = {name: getattr(self, name) for name in (*kept, 'notes')}
        for name in GRAPHS:
            state[name] = getattr(self, name).state()
        state['schema'] = self.schema.to_json()
        state['ids'] = json.dumps([list(self.user_ids), list(self.item_ids)])
        for side in ('user', 'item'):
            ids = getattr(self, f'{side}_ids')
            state[f'own_{side}_ids'] = own_to_json(ids, self.own_ids(side))
        frame = self.context_frame.astype(object)
        content = frame.where(frame.notna(), None).to_dict('split', index=False)
        state['context_frame'] = json.dumps(content, default=plain)
        save_tensors(state, path)

    @classmethod
    def load(cls, path: Source, verify: bool = True) -> InteractionDataset:
        """Reads what :meth:`save` wrote.

        Args:
            path: The file, or one that is open.
            verify: If :obj:`True`, its checksums are compared.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged or holds no dataset.
        """
        state = load_tensors(path, verify)
        try:
            for name in GRAPHS:
                state[name] = FeatureGraphs.from_state(state[name])
            state['schema'] = FeatureSchema.from_json(state['schema'])
            state['user_ids'], state['item_ids'] = json.loads(state.pop('ids'))
            for side in ('user', 'item'):
                ids, own = pd.Index(state[f'{side}_ids']), f'own_{side}_ids'
                state[own] = own_from_json(ids, state[own])
            frame = pd.DataFrame(**json.loads(state.pop('context_frame')), dtype=object)
            return InteractionDataset(**state, context_frame=frame.apply(_infer))
        except Exception as error:
            raise ValueError(
                f'{name_of(path)} is damaged or holds no dataset: {error!r}'
            ) from error


torch.serialization.add_safe_globals([InteractionData])
