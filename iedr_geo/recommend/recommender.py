"""Recommendations for users in contexts, and the factors behind them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from iedr_geo.data import BipartiteGraph, FeatureGraphs, InteractionDataset
from iedr_geo.data.arguments import check_count
from iedr_geo.data.schema import SIDES, Side
from iedr_geo.data.tables import check_columns
from iedr_geo.data.warning import warn_caller
from iedr_geo.nn.blocks import blocks
from iedr_geo.recommend.comparison import compare
from iedr_geo.recommend.context_use import ContextIgnoredWarning, ignores_contexts
from iedr_geo.recommend.control import check_has_concepts, control
from iedr_geo.recommend.entities import (
    DatasetEntities,
    Entities,
    GraphEntities,
    Numbers,
)
from iedr_geo.recommend.explanation import Explanation, explain
from iedr_geo.recommend.model_folder import load_recommender, save_recommender
from iedr_geo.recommend.visitors import check_takes_history, explain_history, histories
from iedr_geo.scoring import (
    CatalogueScorer,
    HistoryScorer,
    Queries,
    check_finite,
    items_of,
    names_of,
    progress_bar,
    scorer,
    top_k,
)

Entity = Any
Context = Mapping[str, Any] | pd.Series
Columns = Iterable[tuple[Any, Any]]


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
        rename: What tables call columns of ours, *e.g.*, ``{'score': 'our_score'}`` where
            the user's own id column is called :obj:`score`.

    Example:
        >>> recommender = Recommender(model, dataset)
        >>> recommender.recommend('Ann', {'day': 'sat', 'with': 'friends'}, k=3)
    """

    def __init__(
        self,
        model: Any,
        data: InteractionDataset | BipartiteGraph,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        self.rename = dict(rename or {})
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
        self._own = tuple(self._entities.own.values())
        self._contexts_tried = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of a score, which add up to it."""
        return self.scorer.parts

    @property
    def item_name(self) -> str:
        """The name of the column of items in tables of recommendations."""
        return self._entities.names['item']

    @cached_property
    def _seen(self) -> BipartiteGraph:
        """The items that users have seen, where the scores are."""
        seen = self.data
        if isinstance(seen, InteractionDataset):
            seen = BipartiteGraph.from_dataset(seen)
        return seen.to(self.scorer.device)

    @cached_property
    def _longest(self) -> int:
        """The number of items that a user has seen at most, or 1."""
        return max(1, int(self._seen.ptr.diff().max()))

    def _hidden(self, known: Tensor, items: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns what :func:`items_of` does, by users of whom all histories fit."""
        size = max(1, self.scorer.scores_at_once // self._longest)
        each = enumerate(known.split(size))
        found = [(i * size, *items_of(self._seen, some, items)) for i, some in each]
        return torch.cat([r + n for n, r, _ in found]), torch.cat([i for *_, i in found])

    def _context(self, context: Context | None) -> Numbers | None:
        return self._entities.context({} if context is None else dict(context))

    def _queries(
        self,
        number: Tensor,
        context: Numbers | None,
        new: Mapping[str, FeatureGraphs | None],
        had: Tensor | None = None,
    ) -> Queries:
        """Returns users, in a context each or all in one, and what is new, by side.

        Args:
            number: The users.
            context: The contexts.
            new: The graphs of what is new.
            had: What alone a single user has had, whose number then plays no part.
        """
        given = None
        if had is not None:
            number = torch.full_like(number, self.scorer.num_users)
            given = histories([had], self.scorer.num_items)
        index, new = None, dict(new)
        if context is not None:
            index, new['contexts'] = context.number.expand(len(number)), context.new
        queries = Queries(number, index, **new, histories=given)
        return queries.to(self.scorer.device)

    def _user(
        self, user: Entity, history: Sequence[Entity] | None
    ) -> tuple[Numbers, Tensor | None]:
        """Returns a user, and the items that alone the user is made of, if some are."""
        if history is None:
            return self._entities.numbers('user', [user]), None
        check_takes_history(self.scorer, self.model)
        had = self._entities.history(history)
        if user is None:
            return Numbers(torch.tensor([-1])), had
        return self._entities.numbers('user', [user]), had

    def _table(self, own: Columns, ours: Columns, copy: bool = True) -> pd.DataFrame:
        """Returns a table of the user's columns and then of ours, which are copied.

        Raises:
            ValueError: If two have one name.
        """
        pairs = [*own, *((self.rename.get(name, name), values) for name, values in ours)]
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"The table has two columns '{name}': call ours otherwise, e.g. "
                    f"Recommender(model, data, rename={{'{name}': 'our_{name}'}})"
                )
        return pd.DataFrame(dict(pairs), copy=copy)

    def _rank(
        self,
        queries: Queries,
        known: Tensor,
        k: int,
        exclude_seen: bool | None,
        candidates: Sequence[Entity] | None,
        progress: bool = False,
        rows_at_once: int | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray, Columns]]:
        """Returns row and item of each recommendation, and the columns beside them.

        Args:
            queries: Who is to be recommended something, and where.
            known: The stored user of each query, whose history counts, -1 for a new one.
            k: As in :meth:`recommend`.
            exclude_seen: As in :meth:`recommend`.
            candidates: As in :meth:`recommend`.
            progress: As in :meth:`recommend_many`.
            rows_at_once: The number of queries of which each is (default: all).
        """
        check_count(k, 'k')
        made, items, size = self.scorer, None, self.scorer.num_items
        if candidates is not None:
            items = self._entities.candidates(candidates).to(made.device)
            size = len(items)
        excludes = self._entities.exclude_seen if exclude_seen is None else exclude_seen
        each = blocks(len(queries), rows_at_once or len(queries))
        chunk = made.chunk_size(size)
        steps = range(sum(len(blocks(some.stop - some.start, chunk)) for some in each))
        bar = progress_bar(steps, 'Recommending', progress, made, len(queries), size)
        known = known.to(made.device)

        @torch.no_grad()  # It goes on after this function has ended.
        def ranked() -> Iterator[tuple[np.ndarray, np.ndarray, Columns]]:
            for some in each:
                row, *found = self._best(
                    queries[some], known[some], k, excludes, items, bar
                )
                yield row + some.start, *found
            next(bar, None)  # The last step has been taken.

        return ranked()

    def _best(
        self,
        queries: Queries,
        known: Tensor,
        k: int,
        excludes: bool,
        items: Tensor | None,
        bar: Iterator[int],
    ) -> tuple[np.ndarray, np.ndarray, Columns]:
        """Returns those of some queries, of which all but the results is in chunks."""
        made, size = self.scorer, self.scorer.num_items if items is None else len(items)
        order = torch.arange(len(queries), device=made.device)
        if queries.context is not None:  # Rows in one context share what depends on it.
            order = torch.argsort(queries.context, stable=True)
        width, whole = min(k, size), list[Tensor]()
        for rows, _ in zip(order.split(made.chunk_size(size)), bar, strict=False):
            some = queries[rows]
            hidden = self._hidden(known[rows], items) if excludes else None
            if hidden is not None and some.histories is not None:
                given = some.histories.to(made.device), some.user - made.num_users
                own = items_of(*given, items)
                hidden = torch.cat([hidden[0], own[0]]), torch.cat([hidden[1], own[1]])
            name = names_of(self._own, some.user, items)
            best, found = top_k(made.scores(some, items), k, hidden, name)
            # Where fewer are left, -1 stands for none.
            item = found if items is None else items[found].where(found >= 0, found)
            values = [item, best, *made.split(some, item.clamp(min=0)).values()]
            whole = whole or [
                value.new_empty((len(queries), width), device='cpu') for value in values
            ]
            rows = rows.cpu()
            for column, value in zip(whole, values, strict=True):
                column[rows] = value.cpu()
        kept = (whole[0] >= 0).view(-1).nonzero().view(-1)
        # One column after the other, for few are to be there twice.
        number, *scores = (whole.pop(0).view(-1)[kept].numpy() for _ in range(len(whole)))
        # Parts may be called as they like.
        names, rank = ('rank', 'score', *self.parts), (kept % width + 1).numpy()
        columns = list(zip(names, (rank, *scores), strict=True))
        return (kept // width).numpy(), number, columns

    def _check_contexts(self) -> None:
        """Warns, once, of a model whose lists are the same in every context."""
        if not self._contexts_tried:
            self._contexts_tried = True
            if ignores_contexts(self.scorer, self.data):
                warn_caller(
                    f'The scores of {type(self.model).__name__} do not depend on the '
                    f'context: contexts cannot change its lists',
                    ContextIgnoredWarning,
                )

    @torch.no_grad()
    def recommend(
        self,
        user: Entity | None = None,
        context: Context | None = None,
        k: int = 10,
        exclude_seen: bool | None = None,
        candidates: Sequence[Entity] | None = None,
        history: Sequence[Entity] | None = None,
    ) -> pd.DataFrame:
        """Ranks the catalogue for a user in a context.

        Args:
            user: The user (default: a visitor, of whom only the history is known).
            context: A value for each context column, if the model knows contexts.
            k: The number of items. Fewer come back if fewer are left.
            exclude_seen: If :obj:`True`, items that the user has had are left out
                (default: as the dataset says; with a bipartite model they are).
            candidates: The ids of the items to choose from (default: all). Others are not
                scored at all.
            history: The ids of the items by which alone the user is known, if the model
                makes users of their items, as auto-encoders do (default: what the user
                has had). They are left out as the items are that the user has had.

        Returns:
            A row for each item, best first: its id, rank, score and the parts of the
            score.

        Raises:
            ValueError: If :obj:`k` is less than 1, the context lacks a column or has one
                too many, a candidate is not in the item table or comes twice, a score is
                not finite, or two columns have one name.
        """
        self._check_contexts()
        asked = k, exclude_seen, candidates
        item, columns = self._top(user, context, *asked, history)
        return self._table([(self.item_name, self._own[1][item])], columns)

    def _top(
        self,
        user: Entity,
        context: Context | None,
        k: int,
        exclude_seen: bool | None,
        candidates: Sequence[Entity] | None = None,
        history: Sequence[Entity] | None = None,
    ) -> tuple[np.ndarray, Columns]:
        """Returns the numbers of the best items, and the columns beside them."""
        users, had = self._user(user, history)
        one = self._context(context)
        queries = self._queries(users.number, one, {'users': users.new}, had)
        asked = k, exclude_seen, candidates
        [(_, item, columns)] = self._rank(queries, users.stored, *asked)
        return item, columns

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
            progress: If :obj:`True`, a bar is shown where it takes more than seconds.

        Returns:
            The tables of :meth:`recommend` one after the other. The first two columns are
            :obj:`row`, the label of the row in :obj:`rows`, and the user's id as given.
        """
        self._check_contexts()
        [table] = self._many(rows, k, exclude_seen, candidates, progress)
        return table

    @torch.no_grad()
    def recommend_in_parts(
        self,
        rows: pd.DataFrame,
        k: int = 10,
        exclude_seen: bool | None = None,
        candidates: Sequence[Entity] | None = None,
        progress: bool = True,
        rows_at_once: int = 1 << 16,
    ) -> Iterator[pd.DataFrame]:
        """Ranks as :meth:`recommend_many` does, where the whole table were too large.

        Args:
            rows: As in :meth:`recommend_many`. All are read before one is ranked.
            k: As in :meth:`recommend`.
            exclude_seen: As in :meth:`recommend`.
            candidates: As in :meth:`recommend`, for all rows.
            progress: As in :meth:`recommend_many`.
            rows_at_once: The number of rows that a part is for. Those of a part share
                what depends on the context.

        Returns:
            The parts of the table of :meth:`recommend_many`, each made when it is asked
            for.

        Example:
            >>> for number, part in enumerate(recommender.recommend_in_parts(rows)):
            ...     part.to_parquet(f'lists/{number:05}.parquet')
        """
        check_count(rows_at_once, 'rows_at_once')
        self._check_contexts()
        return self._many(rows, k, exclude_seen, candidates, progress, rows_at_once)

    def _many(self, rows: pd.DataFrame, *asked: Any) -> Iterator[pd.DataFrame]:
        """Returns the tables of rows, checked, for what :meth:`_rank` is asked."""
        name = self._entities.names['user']
        names = list(self._entities.context_names)
        check_columns(rows, [name, *names], 'rows')
        label = self.rename.get('row', 'row')
        heads, rest = (label, name, self.item_name), ('rank', 'score', *self.parts)
        # Before the work is done, to be told of two columns of one name.
        self._table([(head, []) for head in heads], [(one, []) for one in rest])
        contexts = self._entities.contexts(rows[names])
        users = self._entities.numbers('user', [*rows[name].array])  # As they are.
        queries = self._queries(users.number, contexts, {'users': users.new})
        return (
            self._table(
                [
                    (label, rows.index[row]),
                    (name, rows[name].array[row]),
                    (self.item_name, self._own[1][item]),
                ],
                columns,
                copy=False,  # Nobody else has them.
            )
            for row, item, columns in self._rank(queries, users.stored, *asked)
        )

    @torch.no_grad()
    def score(
        self,
        user: Entity | None,
        item: Entity,
        context: Context | None = None,
        probability: bool = False,
        history: Sequence[Entity] | None = None,
    ) -> float:
        """Returns the score of an item for a user in a context.

        Args:
            user: The user; :obj:`None` for a visitor.
            item: The item.
            context: As in :meth:`recommend`.
            probability: If :obj:`True`, its sigmoid is returned: for a model trained on
                labels, the probability of a positive among its training rows.
            history: As in :meth:`recommend`.
        """
        items = self._entities.numbers('item', [item])
        score, _ = self._split(user, items, context, history=history)
        return float(score.sigmoid() if probability else score)

    def _split(
        self,
        user: Entity | None,
        items: Numbers,
        context: Context | None,
        split: bool = False,
        history: Sequence[Entity] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the scores of items and, if wanted, their parts."""
        (users, had), one = self._user(user, history), self._context(context)
        new = {'users': users.new, 'items': items.new}
        queries = self._queries(users.number, one, new, had)
        index = items.number.to(self.scorer.device)
        scores = self.scorer.scores(queries, index)
        check_finite(scores, names_of(self._own, queries.user, index))
        parts = self.scorer.split(queries, index) if split else {}
        return scores[0].cpu(), {name: part[0].cpu() for name, part in parts.items()}

    @torch.no_grad()
    def explain(
        self,
        user: Entity | None,
        item: Entity,
        context: Context | None = None,
        history: Sequence[Entity] | None = None,
    ) -> Explanation:
        """Explains the score of an item.

        Args:
            user: The user; :obj:`None` for a visitor.
            item: The item.
            context: As in :meth:`recommend`.
            history: As in :meth:`recommend`.

        Returns:
            The score, its parts if it has any and by how much it falls when something is
            left out: on a dataset a feature, or a pair of features; of a model that makes
            users of their items, an item that the user has had.
        """
        entities, items = self._entities, self._entities.numbers('item', [item])
        score, split = self._split(user, items, context, split=True, history=history)
        parts = {name: float(part) for name, part in split.items()}
        if isinstance(self.scorer, HistoryScorer):
            users, had = self._user(user, history)
            if had is None:
                had = self._seen.positives(int(users.number))
            table = explain_history(self.scorer, had, items.number, self._own[1])
            table = table.rename(columns={'item': self.item_name})
            return Explanation(float(score), parts, history=table)
        if not isinstance(entities, DatasetEntities):
            return Explanation(float(score), parts)
        numbers = entities.numbers('user', [user]), items, self._context(context)
        graphs = {
            side: entities.graph(side, each)
            for side, each in zip(SIDES, numbers, strict=True)
            if each is not None
        }
        schema = entities.data.schema
        return explain(self.model, graphs, schema, parts, self.scorer.device)

    @torch.no_grad()
    def compare_contexts(
        self,
        user: Entity,
        a: Context,
        b: Context,
        k: int = 10,
        exclude_seen: bool | None = None,
    ) -> pd.DataFrame:
        """Compares the lists of a user in two contexts, and says by which factor they
        change.

        Args:
            user: The user.
            a: One context.
            b: The other.
            k: The number of items that count in each.
            exclude_seen: As in :meth:`recommend`.

        Returns:
            A row for each item in either top :obj:`k`: its ranks in both (missing where
            it is not in the top), what becomes of it (*enters*, *leaves*, *rises*,
            *falls*, *stays*), its scores in both and, where scores have parts, by how
            much each changes, and which changes most (:obj:`factor`).
        """
        self._check_contexts()
        tops = [self._top(user, context, k, exclude_seen)[0] for context in (a, b)]
        ranks = [pd.Series(range(1, len(top) + 1), top, dtype=float) for top in tops]
        union = ranks[1].index.union(ranks[0].index, sort=False)
        items = Numbers(torch.tensor(union, dtype=torch.long))
        splits = [self._split(user, items, context, split=True) for context in (a, b)]
        table = compare(
            [rank.reindex(union) for rank in ranks],
            [pd.Series(score, union) for score, _ in splits],
            [pd.DataFrame(parts, union) for _, parts in splits],
        )
        ids = self.item_name, self._own[1][union]
        return self._table([ids], table.reset_index(drop=True).items())

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
            k: The number of results.
            by: The factor that counts, *e.g.*, :obj:`'extrinsic'` (default: the first,
                which is :obj:`'intrinsic'` or :obj:`'interest'`; of concepts, all
                together).

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
            k: The number of results.
            by: As in :meth:`similar_items`.
        """
        return self._similar('user', user, context, k, by)

    @torch.no_grad()
    def _similar(
        self, side: Side, entity: Entity, context: Context | None, k: int, by: str | None
    ) -> pd.DataFrame:
        check_count(k, 'k')
        if by is None and self.scorer.factor_names and self.scorer.concepts() is None:
            by = self.scorer.factor_names[0]
        own, one = self._entities.numbers(side, [entity]), self._context(context)
        ids, name = self._entities.own[side], self._entities.names[side]
        every = Numbers(torch.arange(len(ids)))
        similarity = F.cosine_similarity(
            self._factor(by, side, every, one), self._factor(by, side, own, one)
        ).unsqueeze(0)
        stored = own.stored[own.stored >= 0].to(similarity.device)
        values, found = top_k(
            similarity,
            k,
            (torch.zeros_like(stored), stored),
            lambda _, column: f"{side} '{ids[column]}'",
        )
        kept = found >= 0
        columns = [('similarity', values[kept].cpu().numpy())]
        return self._table([(name, ids[found[kept].cpu().numpy()])], columns)

    def _factor(
        self, name: str | None, side: Side, entities: Numbers, context: Numbers | None
    ) -> Tensor:
        """Returns a factor of users or items, all in one context."""
        if name is None and self.scorer.concepts() is not None:
            vectors: Any = self.scorer.vectors(side)
            return vectors[entities.number.to(self.scorer.device)]
        new = {f'{side}s': entities.new}
        queries = self._queries(entities.number, context, new)
        return self.scorer.factor(str(name), side, queries, entities.number)

    def control(
        self,
        item: Entity,
        dimension: int,
        steps: int = 5,
        gamma: float = 1.0,
        width: int = 16,
    ) -> pd.DataFrame:
        r"""Returns items like one, but for one dimension of their vectors, which rises
        from the first to the last (Section 2.4 of `Ma et al.
        <https://arxiv.org/abs/1910.14238>`_).

        The items are of the item's concept. The range of the dimension in which an item
        would still be of it is cut into as many parts as there are steps, with as many
        items of the concept in each; the list has one item from each part, those most
        alike in all other dimensions. What a dimension stands for, if anything, is for
        the user to find out: its values are those of :meth:`embeddings`.

        Args:
            item: The item.
            dimension: The number of the dimension, from 0.
            steps: The number of items. Fewer come back, with a warning, where the concept
                has fewer of different values.
            gamma: How much it counts, beside their likeness to the item, that the items
                are like each other.
            width: The number of lists that the search for the best one goes on with, item
                by item.

        Returns:
            A row for each item, by rising values: its id, the :obj:`value` of the
            dimension of its vector, which is of length one, and its :obj:`similarity` to
            the item, the cosine of all other dimensions. The item itself may be in it.

        Raises:
            ValueError: If the model has no concepts by cosines, there is no such
                dimension or item, or an argument is out of its range.
        """
        concepts = check_has_concepts(self.scorer.concepts(), self.model)
        check_count(dimension, 'dimension', 0)
        check_count(steps, 'steps')
        check_count(width, 'width')
        if not gamma >= 0:
            raise ValueError(f'`gamma` must be at least 0 (got {gamma})')
        size = concepts.item.size(1)
        if dimension >= size:
            raise ValueError(f'`dimension` must be below {size} (got {dimension})')
        number = int(self._entities.numbers('item', [item]).number)
        found = control(concepts, number, dimension, steps, gamma, width)
        names = ('value', 'similarity')
        columns = zip(names, (c.cpu().numpy() for c in found[1:]), strict=True)
        own = self._own[1][found.item.cpu().numpy()]
        return self._table([(self.item_name, own)], columns)

    @torch.no_grad()
    def embeddings(self, side: Side, context: Context | None = None) -> pd.DataFrame:
        """Returns the vectors and factors of all users or items, by their ids.

        Write it with ``to_parquet``, for instance.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.
            context: The context of the factors. On a dataset, there are none without it.

        Returns:
            A row for each user or item, by its id. The columns have two levels:
            :obj:`'vector'` or the name of the factor, and the number of the channel.

        Raises:
            ValueError: If the model has no such vectors.
        """
        if side not in ('user', 'item'):
            raise ValueError(f"`side` is 'user' or 'item' (got '{side}')")
        ids = self._entities.own[side]
        vectors, every = self.scorer.vectors(side), Numbers(torch.arange(len(ids)))
        tables = {} if vectors is None else {'vector': vectors}
        if context is not None or not self._entities.context_names:
            one = self._context(context)
            for factor in self.scorer.factor_names:
                tables[factor] = self._factor(factor, side, every, one)
        if not tables:
            raise ValueError(
                f'The model has no vectors of {side}s that its scores are made of'
            )
        for table in tables.values():
            check_finite(
                table, lambda row, _: f"{side} '{ids[row]}'", 'numbers in vectors'
            )
        frames = {key: pd.DataFrame(table.cpu().numpy()) for key, table in tables.items()}
        return pd.concat(frames, axis=1).set_axis(ids)

    def export(
        self, folder: str | os.PathLike[str], context: Context | None = None
    ) -> None:
        """Writes :meth:`embeddings` as :obj:`users.parquet` and :obj:`items.parquet`.

        The columns are called, *e.g.*, :obj:`vector_0` and :obj:`intrinsic_31`. Needs
        pyarrow or another engine of pandas.

        Args:
            folder: Where to write.
            context: As in :meth:`embeddings`.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        sides: tuple[Side, ...] = ('user', 'item')
        for side in sides:
            table = self.embeddings(side, context)
            ids, names = table.index, table.columns.map('{0[0]}_{0[1]}'.format)
            columns = table.set_axis(names, axis=1).reset_index(drop=True).items()
            whole = self._table([(self._entities.names[side], ids)], columns)
            whole.to_parquet(Path(folder) / f'{side}s.parquet', index=False)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the model with its users, its items and what each user has seen.

        A model of a class of one's own, or with a part of one's own, is written by its
        state: :meth:`load` needs such a model again.

        Args:
            folder: Where to write. An older model is replaced, as :func:`save_model`
                does.

        Raises:
            ValueError: If the model is a function, which has no state.
            OSError: If the folder cannot be written, or holds something and no model.
        """
        save_recommender(folder, self.model, self.data)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        model: torch.nn.Module | None = None,
        edges: Mapping[Side, Any] | None = None,
        rename: Mapping[str, str] | None = None,
        verify: bool = True,
    ) -> Recommender:
        """Reads what :meth:`save` wrote, onto the CPU.

        Args:
            folder: The folder.
            model: A model like the one that was saved, whose state is replaced. Needed
                where the library does not know how to make it.
            edges: The transforms that build the edges of feature graphs, by side, where
                they are one's own: the folder has those of :mod:`iedr_geo.transforms`.
            rename: What tables call columns of ours, as for the class.
            verify: If :obj:`True`, sizes and checksums of all files are compared.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is damaged, does not fit the others or the model, or a
                model is needed.
        """
        return cls(*load_recommender(folder, model, edges, verify), rename)

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_users={self.scorer.num_users}, '
            f'num_items={self.scorer.num_items}, parts={list(self.parts)})'
        )
