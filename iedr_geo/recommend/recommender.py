"""What a user should see, in which context, and by which factor."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.data.columns import token
from iedr_geo.data.schema import Side
from iedr_geo.data.tables import check_columns
from iedr_geo.nn.blocks import blocks
from iedr_geo.recommend.entities import (
    DatasetEntities,
    Entities,
    GraphEntities,
    Numbers,
)
from iedr_geo.recommend.explanation import Explanation, explain
from iedr_geo.recommend.model_folder import load_recommender, save_recommender
from iedr_geo.scoring import (
    CatalogueScorer,
    Queries,
    items_of,
    progress_bar,
    scorer,
    top_k,
)
from iedr_geo.scoring.catalogue_scorer import CELLS

VECTORS = 1 << 14  # Whose factors are held at a time.
TRIED = 8  # Rows, users, items and contexts that tell whether contexts matter.

Entity = Any
Context = Mapping[str, Any] | pd.Series


class ContextIgnoredWarning(UserWarning):
    """The context changes no list of a model."""


class Recommender:
    r"""Ranks the catalogue for a user, in a context, and splits each score.

    With intrinsic and extrinsic factors of a user and an item, the score of IEDR is

    .. math::
        \underbrace{\mathbf{o}^{u\top}_{in} \mathbf{o}^v_{in}}_{\text{intrinsic}} +
        \underbrace{\mathbf{o}^{u\top}_{ex} \mathbf{o}^v_{ex}}_{\text{extrinsic}} +
        \underbrace{\mathbf{o}^{u\top}_{in} \mathbf{o}^v_{ex} + \mathbf{o}^{u\top}_{ex}
        \mathbf{o}^v_{in}}_{\text{cross}} \; (+ \text{ pointwise terms}),

    and that of DICE the sum of interest and conformity. Other models have parts if their
    :obj:`encode` returns some. Nothing is sampled or approximated. Equal scores are in
    the order of the item table.

    Users and items are given by their ids, contexts by a value for each column. On an
    :class:`InteractionDataset`, which knows them by their features, an id that the tables
    lack stands for a user or an item of which nothing is known, and a mapping from
    columns to values for one that is new. Values that the model has not seen have an
    embedding of their own; a warning says so. Graphs know neither features nor contexts.

    Args:
        model: The trained model, with :obj:`forward(batch)` for a dataset or
            :obj:`score(user, item)` for a graph.
        data: Users and items, and by the rows or edges what each user has seen: an
            :class:`InteractionDataset` or the training graph.

    Example:
        >>> recommender = Recommender(model, dataset)
        >>> recommender.recommend('Ann', {'day': 'sat', 'with': 'friends'}, k=3)
    """

    def __init__(self, model: Any, data: InteractionDataset | BipartiteGraph) -> None:
        self.scorer: CatalogueScorer = scorer(model, data)
        if isinstance(model, CatalogueScorer):
            model = getattr(model, 'model', model)
        if isinstance(model, torch.nn.Module):
            model.eval()
        self.model, self.data = model, data
        self._entities: Entities
        if isinstance(data, InteractionDataset):
            self._entities = DatasetEntities(data)
        else:
            self._entities = GraphEntities(data)
        self._seen: BipartiteGraph | None = None
        self._uses_contexts: bool | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of a score, which add up to it."""
        return self.scorer.parts

    @property
    def item_name(self) -> str:
        """The name of the column of items in tables of recommendations."""
        return self._entities.name('item')

    def _candidates(self, candidates: Sequence[Entity] | None) -> Tensor | None:
        if candidates is None:
            return None
        known, name = self._entities.ids('item'), self._entities.name('item')
        ids = [token(candidate) for candidate in candidates]
        index = known.get_indexer(pd.Index(ids, dtype=object))
        if not ids:
            raise ValueError('There are no candidates')
        if (index < 0).any():
            strangers = [ids[i] for i in np.flatnonzero(index < 0)]
            raise ValueError(
                f"{len(strangers)} of {len(ids)} candidates are not in column '{name}' "
                f'of the item table, among them: {", ".join(strangers[:5])}'
            )
        if len(set(ids)) < len(ids):
            twice = pd.Series(ids)
            raise ValueError(
                f"The candidates hold '{twice[twice.duplicated()].iloc[0]}' twice"
            )
        # In the order of the table, which decides between equal scores.
        return torch.from_numpy(np.sort(index)).to(self.scorer.device)

    def _context(self, context: Context | None) -> Numbers | None:
        return self._entities.context({} if context is None else dict(context))

    def _queries(
        self,
        users: Sequence[Entity],
        context: Numbers | None,
        items: Numbers | None = None,
    ) -> Queries:
        """Returns users, in a context each or all in one."""
        user = self._entities.numbers('user', users)
        index = None
        if context is not None:
            index = context.number.expand(len(user.number))
        return Queries(
            user.number,
            index,
            user.new,
            None if context is None else context.new,
            None if items is None else items.new,
        ).to(self.scorer.device)

    def _hidden(
        self, users: Tensor, exclude_seen: bool | None, items: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """Returns what is left out: rows, and the place among the items of each."""
        if exclude_seen is None:
            exclude_seen = self._entities.exclude_seen
        if not exclude_seen:
            return None
        if self._seen is None:
            self._seen = self._entities.seen.to(self.scorer.device)
        return items_of(self._seen, users, items)

    def _rank(
        self,
        queries: Queries,
        k: int,
        exclude_seen: bool | None,
        candidates: Sequence[Entity] | None,
        progress: bool,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns the row of each recommendation, and the columns of the table."""
        _check_k(k)
        made, items = self.scorer, self._candidates(candidates)
        self._check_contexts()
        size = made.num_items if items is None else len(items)
        order = torch.arange(len(queries), device=made.device)
        if queries.context is not None:  # Rows in one context share what depends on it.
            order = torch.argsort(queries.context, stable=True)
        chunks = order.split(max(1, CELLS // max(1, size)))
        tables: list[dict[str, Tensor]] = []
        bar = progress_bar(chunks, 'Recommending', progress, made, len(queries), size)
        for rows in bar:
            some = queries[rows]
            hidden = self._hidden(some.user, exclude_seen, items)
            best, found = top_k(made.scores(some, items), k, hidden)
            item = found if items is None else items[found]
            # Where fewer are left, -1 stands for none.
            parts = made.split(some, item.clamp(min=0)) if made.parts else {}
            place, rank = (found >= 0).nonzero(as_tuple=True)
            columns = {'item': item, 'score': best, **parts}
            table = {name: values[place, rank] for name, values in columns.items()}
            tables.append({'row': rows[place], 'rank': rank + 1, **table})
        whole = {name: torch.cat([t[name] for t in tables]) for name in tables[0]}
        sort = torch.argsort(whole['row'], stable=True)
        numbers = {name: values[sort].cpu().numpy() for name, values in whole.items()}
        row, items_found = numbers.pop('row'), numbers.pop('item')
        ids = self._entities.ids('item')[items_found]
        return row, {self.item_name: ids, **numbers}

    def _check_contexts(self) -> None:
        """Warns, once, of a model whose lists are the same in every context."""
        data = self.data
        if not isinstance(data, InteractionDataset):
            return
        if min(data.num_items, data.num_contexts) < 2:
            return
        if self._uses_contexts is None:
            self._uses_contexts = _uses_contexts(self.scorer, data)
            if not self._uses_contexts:
                warnings.warn(
                    f'The scores of {type(self.model).__name__} do not depend on the '
                    f'context: contexts cannot change its lists',
                    ContextIgnoredWarning,
                    stacklevel=5,  # Of whoever asks, beyond `no_grad`.
                )

    @torch.no_grad()
    def recommend(
        self,
        user: Entity,
        context: Context | None = None,
        k: int = 10,
        exclude_seen: bool | None = None,
        candidates: Sequence[Entity] | None = None,
    ) -> pd.DataFrame:
        """Ranks the catalogue for a user in a context.

        Args:
            user: The user.
            context: A value for each context column, if the model knows contexts.
            k: How many items are wanted. Fewer come back if fewer are left.
            exclude_seen: Whether items that the user has had are left out (default: as
                the dataset says; with a bipartite model they are).
            candidates: The ids of the items to choose from (default: all). Others are not
                scored at all.

        Returns:
            A row for each item, best first: its id, rank, score and the parts of the
            score.

        Raises:
            ValueError: If :obj:`k` is less than 1, the context lacks a column or has one
                too many, or a candidate is not in the item table or comes twice.
        """
        queries = self._queries([user], self._context(context))
        _, columns = self._rank(queries, k, exclude_seen, candidates, progress=False)
        return pd.DataFrame(columns)

    @torch.no_grad()
    def recommend_many(
        self,
        rows: pd.DataFrame,
        k: int = 10,
        exclude_seen: bool | None = None,
        candidates: Sequence[Entity] | None = None,
        progress: bool = True,
    ) -> pd.DataFrame:
        """Ranks the catalogue for many users, each in a context of their own.

        Rows with the same context share what depends on it.

        Args:
            rows: A row for each ranking: the user's id and the context columns. Further
                columns play no part.
            k: As in :meth:`recommend`.
            exclude_seen: As in :meth:`recommend`.
            candidates: As in :meth:`recommend`, for all rows.
            progress: Whether to show a progress bar where it takes more than seconds.

        Returns:
            The tables of :meth:`recommend` one after the other. The first two columns are
            :obj:`row`, the label of the row in :obj:`rows`, and the user's id.
        """
        name = self._entities.name('user')
        names = list(self._entities.context_names)
        check_columns(rows, [name, *names], 'rows')
        contexts = self._entities.contexts(rows[names])
        queries = self._queries(rows[name].tolist(), contexts)
        row, columns = self._rank(queries, k, exclude_seen, candidates, progress)
        heads = {'row': rows.index[row], name: rows[name].to_numpy()[row]}
        return pd.DataFrame(heads | columns)

    @torch.no_grad()
    def score(
        self,
        user: Entity,
        item: Entity,
        context: Context | None = None,
        probability: bool = False,
    ) -> float:
        """Returns the score of an item for a user in a context.

        Args:
            user: The user.
            item: The item.
            context: As in :meth:`recommend`.
            probability: Whether to return its sigmoid: for a model that is trained on
                labels, the probability of a positive among its training rows.
        """
        items = self._entities.numbers('item', [item])
        queries = self._queries([user], self._context(context), items)
        score = self.scorer.scores(queries, items.number.to(self.scorer.device))
        return float(score.sigmoid() if probability else score)

    def _split(
        self, user: Entity, items: Numbers, context: Context | None
    ) -> dict[str, Tensor]:
        """Returns the score of items, as :obj:`'score'`, and its parts."""
        queries = self._queries([user], self._context(context), items)
        index = items.number.to(self.scorer.device)
        scores = {'score': self.scorer.scores(queries, index)}
        parts = self.scorer.split(queries, index)
        return {name: part[0].cpu() for name, part in (scores | parts).items()}

    @torch.no_grad()
    def explain(
        self, user: Entity, item: Entity, context: Context | None = None
    ) -> Explanation:
        """Says what an item's score is made of.

        Args:
            user: The user.
            item: The item.
            context: As in :meth:`recommend`.

        Returns:
            The score, its parts if it has any and, on a dataset, by how much it falls
            when a feature, or a pair of features, is left out.
        """
        items = self._entities.numbers('item', [item])
        parts = {
            name: float(part) for name, part in self._split(user, items, context).items()
        }
        score = parts.pop('score')
        entities = self._entities
        if not isinstance(entities, DatasetEntities):
            return Explanation(score, parts)
        numbers: dict[Side, Numbers | None] = {
            'user': entities.numbers('user', [user]),
            'item': items,
            'context': self._context(context),
        }
        graphs, ids = {}, {}
        for side, each in numbers.items():
            assert each is not None
            graphs[side] = entities.graph(side, each)
            number = int(each.number)
            ids[side] = number if number < len(entities.graphs(side)) else -1
        names = entities.data.schema.names()
        return explain(self.model, graphs, ids, names, parts, self.scorer.device)

    @torch.no_grad()
    def compare_contexts(
        self,
        user: Entity,
        a: Context,
        b: Context,
        k: int = 10,
        exclude_seen: bool | None = None,
    ) -> pd.DataFrame:
        """Says what changes for a user between two contexts, and by which factor.

        Args:
            user: The user.
            a: One context.
            b: The other.
            k: How many items count in each.
            exclude_seen: As in :meth:`recommend`.

        Returns:
            A row for each item in either top :obj:`k`: its ranks in both (missing where
            it is not in the top), what becomes of it (*enters*, *leaves*, *rises*,
            *falls*, *stays*), its scores in both and, where scores have parts, by how
            much each changes, and which changes most (:obj:`factor`).
        """
        known, name = self._entities.ids('item'), self.item_name
        ranks = [
            self.recommend(user, context, k, exclude_seen).set_index(name)['rank']
            for context in (a, b)
        ]
        union = ranks[1].index.union(ranks[0].index, sort=False)
        items = Numbers(torch.from_numpy(known.get_indexer(union)))
        before, after = (
            pd.DataFrame(self._split(user, items, c), index=union) for c in (a, b)
        )
        ranks = [rank.reindex(union) for rank in ranks]
        rise = (ranks[0] - ranks[1]).fillna(0)
        change = np.select(
            [ranks[0].isna(), ranks[1].isna(), rise > 0, rise < 0],
            ['enters', 'leaves', 'rises', 'falls'],
            'stays',
        )
        difference = (after - before)[list(self.parts)]
        columns = {
            'rank_a': ranks[0].astype('Int64'),
            'rank_b': ranks[1].astype('Int64'),
            'change': change,
            'score_a': before['score'],
            'score_b': after['score'],
            **{f'{part}_change': difference[part] for part in difference},
        }
        if self.parts:
            columns['factor'] = difference.abs().idxmax(axis=1)
        return pd.DataFrame(columns).rename_axis(name).reset_index()

    def similar_items(
        self,
        item: Entity,
        context: Context | None = None,
        k: int = 10,
        by: str | None = None,
    ) -> pd.DataFrame:
        """Returns the items whose factors in a context are most alike an item's.

        Args:
            item: The item.
            context: As in :meth:`recommend`.
            k: How many are wanted.
            by: Which factor counts, *e.g.*, :obj:`'extrinsic'` (default: the first, which
                is :obj:`'intrinsic'` or :obj:`'interest'`).

        Returns:
            Their ids and cosine similarities, the most alike first, without the item.
        """
        return self._similar('item', item, context, k, by)

    def similar_users(
        self,
        user: Entity,
        context: Context | None = None,
        k: int = 10,
        by: str | None = None,
    ) -> pd.DataFrame:
        """Returns the users whose factors in a context are most alike a user's.

        Args:
            user: The user.
            context: As in :meth:`recommend`.
            k: How many are wanted.
            by: As in :meth:`similar_items`.
        """
        return self._similar('user', user, context, k, by)

    @torch.no_grad()
    def _similar(
        self, side: Side, entity: Entity, context: Context | None, k: int, by: str | None
    ) -> pd.DataFrame:
        _check_k(k)
        names = self.scorer.factors
        if by is None and names:
            by = names[0]
        if by not in names:
            raise ValueError(
                f"The model has no factor '{by}' (it has: {', '.join(names) or 'none'})"
            )
        one = self._context(context)
        numbers = self._entities.numbers(side, [entity])
        new = {f'{side}s': numbers.new}
        wanted = self._factor(by, side, numbers.number, one, **new)
        known, name = self._entities.ids(side), self._entities.name(side)
        similarity = torch.cat(
            [
                F.cosine_similarity(self._factor(by, side, index, one), wanted)
                for index in torch.arange(len(known)).split(VECTORS)
            ]
        ).unsqueeze(0)
        own = numbers.number[numbers.number < len(known)].to(similarity.device)
        values, found = top_k(similarity, k, (torch.zeros_like(own), own))
        kept = found >= 0
        return pd.DataFrame(
            {
                name: known[found[kept].cpu().numpy()],
                'similarity': values[kept].cpu().numpy(),
            }
        )

    def _factor(
        self, name: str, side: Side, index: Tensor, context: Numbers | None, **new: Any
    ) -> Tensor:
        """Returns a factor of users or items, all in one context."""
        one = None if context is None else context.number.expand(len(index))
        contexts = None if context is None else context.new
        queries = Queries(index, one, contexts=contexts, **new)
        return self.scorer.factor(name, side, queries, index)

    @torch.no_grad()
    def embeddings(self, side: Side, context: Context | None = None) -> pd.DataFrame:
        """Returns the vectors and factors of all users or items, by their ids.

        Write it with ``to_parquet``, for instance.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.
            context: The context of the factors. On a dataset, there are none without it.

        Returns:
            A row for each user or item, by its id. The columns have two levels:
            :obj:`'readout'` or the name of the factor, and the number of the channel.

        Raises:
            ValueError: If the model has no such vectors.
        """
        if side not in ('user', 'item'):
            raise ValueError(f"`side` is 'user' or 'item' (got '{side}')")
        known, name = self._entities.ids(side), self._entities.name(side)
        in_contexts = context is not None or not self._entities.context_names
        tables = {}
        vectors = self.scorer.vectors(side)
        if vectors is not None:
            tables['vector'] = vectors
        if in_contexts:
            one, every = self._context(context), torch.arange(len(known))
            for factor in self.scorer.factors:
                tables[factor] = torch.cat(
                    [
                        self._factor(factor, side, every[rows], one)
                        for rows in blocks(len(every), VECTORS)
                    ]
                )
        frames = {key: pd.DataFrame(table.cpu().numpy()) for key, table in tables.items()}
        return pd.concat(frames, axis=1).set_axis(pd.Index(known, name=name))

    def export(
        self, folder: str | os.PathLike[str], context: Context | None = None
    ) -> None:
        """Writes :meth:`embeddings` as :obj:`users.parquet` and :obj:`items.parquet`.

        The columns are called, *e.g.*, :obj:`readout_0` and :obj:`intrinsic_31`. Needs
        pyarrow or another engine of pandas.

        Args:
            folder: Where to write.
            context: As in :meth:`embeddings`.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        sides: tuple[Side, ...] = ('user', 'item')
        for side in sides:
            table = self.embeddings(side, context)
            table.columns = table.columns.map('{0[0]}_{0[1]}'.format)
            table.reset_index().to_parquet(Path(folder) / f'{side}s.parquet', index=False)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the model with its users, its items and what each user has seen.

        A model of a class of one's own, or with a part of one's own, is written by its
        state: :meth:`load` needs such a model again.

        Args:
            folder: Where to write. An older model folder is replaced.

        Raises:
            ValueError: If the model is a function, which has no state.
            OSError: If the folder cannot be written, or holds anything but a model.
        """
        data = self.data
        if isinstance(self._entities, DatasetEntities):
            data = self._entities.catalogue()
        save_recommender(folder, self.model, data)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        model: torch.nn.Module | None = None,
        edges: Mapping[Side, Any] | None = None,
    ) -> Recommender:
        """Reads what :meth:`save` wrote, onto the CPU.

        Args:
            folder: The folder.
            model: A model like the one that was saved, whose state is replaced. Needed
                where the library does not know how to make it.
            edges: The transforms that build the edges of feature graphs, by side, where
                they are one's own: the folder has those of :mod:`iedr_geo.transforms`.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is damaged, does not fit the others or the model, or a
                model is needed.
        """
        return cls(*load_recommender(folder, model, edges))

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={self.scorer.num_users}, '
            f'num_items={self.scorer.num_items}, parts={list(self.parts)})'
        )


def _uses_contexts(made: CatalogueScorer, dataset: InteractionDataset) -> bool:
    """Returns whether the order of some items differs between some contexts.

    Where contexts are looked up, it does between those of rows, for the items of rows.
    """
    rows = _spread(len(dataset), TRIED)
    users, items, contexts = (
        torch.cat([getattr(dataset, side)[rows].cpu(), _spread(size, TRIED)]).unique()
        for side, size in (
            ('user', dataset.num_users),
            ('item', dataset.num_items),
            ('context', dataset.num_contexts),
        )
    )
    queries = Queries(users.repeat_interleave(len(contexts)), contexts.repeat(len(users)))
    scores = made.scores(queries, items.to(made.device)).double()
    scores = scores.view(len(users), len(contexts), len(items))
    leads = scores - scores[:, :, :1]
    change = (leads - leads[:, :1]).abs().max()
    return not bool(change <= 1e-6 * leads.abs().max())


def _spread(size: int, count: int) -> Tensor:
    """Returns some numbers less than a size, far apart."""
    return torch.linspace(0, size - 1, min(size, count), dtype=torch.float64).long()


def _check_k(k: int) -> None:
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f'`k` must be at least 1 (got {k}), and an integer')
