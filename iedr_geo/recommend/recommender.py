"""What a user should see, in which context, and by which factor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.data.columns import token
from iedr_geo.data.schema import Side
from iedr_geo.data.tables import check_columns
from iedr_geo.evaluation import evaluating, mark_items
from iedr_geo.nn import IEDR, BipartiteModel
from iedr_geo.recommend.explanation import Explanation
from iedr_geo.recommend.iedr_scorer import Readouts
from iedr_geo.recommend.iedr_source import IEDRSource
from iedr_geo.recommend.model_folder import load_recommender, save_recommender
from iedr_geo.recommend.top_k import first_of, top_k
from iedr_geo.recommend.vector_source import VectorSource

CELLS = 1 << 21  # Scores that are held at a time.

Entity = Any
Context = Mapping[str, Any] | pd.Series


class Recommender:
    r"""Ranks the catalogue for a user, in a context, and splits each score.

    With intrinsic and extrinsic factors of a user and an item, the score of IEDR is

    .. math::
        \underbrace{\mathbf{o}^{u\top}_{in} \mathbf{o}^v_{in}}_{\text{intrinsic}} +
        \underbrace{\mathbf{o}^{u\top}_{ex} \mathbf{o}^v_{ex}}_{\text{extrinsic}} +
        \underbrace{\mathbf{o}^{u\top}_{in} \mathbf{o}^v_{ex} + \mathbf{o}^{u\top}_{ex}
        \mathbf{o}^v_{in}}_{\text{cross}} \; (+ \text{ pointwise terms}),

    and that of DICE the sum of interest and conformity. Nothing is sampled or
    approximated. Equal scores are in the order of the item table.

    Users and items are given by their ids, contexts by a value for each column. With
    IEDR, which knows them by their features, an id that the tables lack stands for a user
    or an item of which nothing is known, and a mapping from columns to values for one
    that is new. Values that the model has not seen have an embedding of their own; a
    warning says so. Bipartite models know neither features nor contexts.

    Args:
        model: The trained model, an :class:`IEDR` or a model of the bipartite graph.
        data: For IEDR, its users and items with their features, and by the rows what
            each user has seen. For a bipartite model, the training graph.

    Example:
        >>> recommender = Recommender(model, dataset)
        >>> recommender.recommend('Ann', {'day': 'sat', 'with': 'friends'}, k=3)
    """

    _source: IEDRSource | VectorSource

    def __init__(
        self, model: IEDR | BipartiteModel, data: InteractionDataset | BipartiteGraph
    ) -> None:
        if isinstance(model, IEDR) and isinstance(data, InteractionDataset):
            self._source = IEDRSource(model, data)
        elif isinstance(model, BipartiteModel) and isinstance(data, BipartiteGraph):
            with evaluating(model):
                vectors = model.embeddings()
            self._source = VectorSource(*vectors, model.factors, data)
        else:
            raise TypeError(
                f'IEDR goes with an InteractionDataset, a bipartite model with a '
                f'BipartiteGraph (got {type(model).__name__} and {type(data).__name__})'
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of a score, which add up to it."""
        return self._source.parts

    @property
    def item_name(self) -> str:
        """The name of the column of items in tables of recommendations."""
        return self._source.known('item')[1]

    def _candidates(self, candidates: Sequence[Entity] | None) -> Tensor | None:
        if candidates is None:
            return None
        known, name = self._source.known('item')
        ids = [token(candidate) for candidate in candidates]
        place = known.get_indexer(pd.Index(ids, dtype=object))
        if not ids:
            raise ValueError('There are no candidates')
        if (place < 0).any():
            strangers = [ids[i] for i in np.flatnonzero(place < 0)]
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
        return torch.from_numpy(np.sort(place)).to(self._source.device)

    def _contexts(self, context: Context | None) -> Readouts:
        return self._source.context({} if context is None else dict(context))

    def _hidden(
        self, users: Tensor, exclude_seen: bool | None, items: Tensor | None
    ) -> Tensor | None:
        if exclude_seen is None:
            exclude_seen = self._source.exclude_seen
        if not exclude_seen:
            return None
        hidden = mark_items(self._source.seen, users.clamp(min=0))
        hidden &= (users >= 0).unsqueeze(1)  # A new user has seen nothing.
        return hidden if items is None else hidden[:, items]

    def _rank(
        self,
        users: Sequence[Entity],
        contexts: Readouts,
        context_row: Tensor,
        k: int,
        exclude_seen: bool | None,
        candidates: Sequence[Entity] | None,
        progress: bool = False,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Returns the row of each recommendation, and the columns of the table."""
        _check_k(k)
        source = self._source
        items = self._candidates(candidates)
        user = source.entities('user', users)
        readouts = source.items if items is None else source.items[items]
        place = torch.from_numpy(source.place('user', users)).to(source.device)
        alike = source.alike
        if alike is not None and items is not None:
            alike = first_of(alike[items])
        size = (len(users), min(k, len(readouts)))
        best = readouts.vector.new_empty(size)
        found = torch.empty(size, device=source.device, dtype=torch.long)
        order = torch.argsort(context_row, stable=True)
        chunks = order.split(max(1, CELLS // len(readouts)))
        for rows in tqdm(chunks, desc='Recommending', disable=not progress):
            scores = source.scores(user[rows], contexts, context_row[rows], readouts)
            if alike is not None:  # Rounding must not tell apart what is equal.
                scores = scores[:, alike]
            hidden = self._hidden(place[rows], exclude_seen, items)
            best[rows], found[rows] = top_k(scores, k, hidden)
        row, rank = (found >= 0).nonzero(as_tuple=True)
        item = found[row, rank] if items is None else items[found[row, rank]]
        own = contexts[context_row[row]]
        parts = source.split(user[row], source.items[item], own)
        known, name = source.known('item')
        return row.cpu().numpy(), {
            name: known[item.cpu().numpy()],
            'rank': rank.cpu().numpy() + 1,
            'score': best[row, rank].cpu().numpy(),
            **{part: value.cpu().numpy() for part, value in parts.items()},
        }

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
            candidates: The ids of the items to choose from (default: all).

        Returns:
            A row for each item, best first: its id, rank, score and the parts of the
            score.

        Raises:
            ValueError: If :obj:`k` is less than 1, the context lacks a column or has one
                too many, or a candidate is not in the item table or comes twice.
        """
        contexts = self._contexts(context)
        row = torch.zeros(1, dtype=torch.long, device=self._source.device)
        _, columns = self._rank([user], contexts, row, k, exclude_seen, candidates)
        return pd.DataFrame(columns)

    @torch.no_grad()
    def recommend_many(
        self,
        rows: pd.DataFrame,
        k: int = 10,
        exclude_seen: bool | None = None,
        candidates: Sequence[Entity] | None = None,
        progress: bool = False,
    ) -> pd.DataFrame:
        """Ranks the catalogue for many users, each in a context of their own.

        Rows with the same context share what depends on it.

        Args:
            rows: A row for each ranking: the user's id and the context columns. Further
                columns play no part.
            k: As in :meth:`recommend`.
            exclude_seen: As in :meth:`recommend`.
            candidates: As in :meth:`recommend`, for all rows.
            progress: Whether to show a progress bar.

        Returns:
            The tables of :meth:`recommend` one after the other. The first two columns are
            :obj:`row`, the label of the row in :obj:`rows`, and the user's id.
        """
        _, name = self._source.known('user')
        names = list(self._source.context_names)
        check_columns(rows, [name, *names], 'rows')
        context = rows[names]
        first, context_row = self._source.distinct_contexts(context)
        contexts = self._source.contexts(context.iloc[first])
        users = rows[name].tolist()
        arguments = (k, exclude_seen, candidates, progress)
        of_row = torch.from_numpy(context_row).to(self._source.device)
        row, columns = self._rank(users, contexts, of_row, *arguments)
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
        source = self._source
        user, item = source.entities('user', [user]), source.entities('item', [item])
        first = torch.zeros(1, dtype=torch.long, device=source.device)
        score = source.scores(user, self._contexts(context), first, item)
        return float(score.sigmoid() if probability else score)

    def _split(
        self, user: Entity, items: Readouts, context: Context | None
    ) -> pd.DataFrame:
        rows = torch.zeros(len(items), dtype=torch.long, device=self._source.device)
        users = self._source.entities('user', [user])[rows]
        parts = self._source.split(users, items, self._contexts(context)[rows])
        return pd.DataFrame({name: part.cpu() for name, part in parts.items()})

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
            The parts of the score and, with IEDR, by how much it falls when a feature, or
            a pair of features, is left out.
        """
        parts = self._split(user, self._source.entities('item', [item]), context)
        named = {str(name): float(part.iloc[0]) for name, part in parts.items()}
        if isinstance(self._source, VectorSource):
            return Explanation(self.score(user, item), named)
        return self._source.explain(user, item, _frame(context), named)

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
            *falls*, *stays*), its scores in both, by how much each part of the score
            changes, and which changes most (:obj:`factor`).
        """
        known, name = self._source.known('item')
        ranks = [
            self.recommend(user, context, k, exclude_seen).set_index(name)['rank']
            for context in (a, b)
        ]
        union = ranks[1].index.union(ranks[0].index, sort=False)
        place = torch.from_numpy(known.get_indexer(union)).to(self._source.device)
        items = self._source.items[place]
        before, after = (self._split(user, items, c).set_index(union) for c in (a, b))
        ranks = [rank.reindex(union) for rank in ranks]
        rise = (ranks[0] - ranks[1]).fillna(0)
        change = np.select(
            [ranks[0].isna(), ranks[1].isna(), rise > 0, rise < 0],
            ['enters', 'leaves', 'rises', 'falls'],
            'stays',
        )
        difference = after - before
        table = pd.DataFrame(
            {
                'rank_a': ranks[0].astype('Int64'),
                'rank_b': ranks[1].astype('Int64'),
                'change': change,
                'score_a': before.sum(axis=1),
                'score_b': after.sum(axis=1),
                **{f'{part}_change': difference[part] for part in difference},
                'factor': difference.abs().idxmax(axis=1),
            }
        )
        return table.rename_axis(name).reset_index()

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
        source = self._source
        _check_k(k)
        if by is None and source.factors:
            by = source.factors[0]
        if by not in source.factors:
            raise ValueError(
                f"The model has no factor '{by}' (it has: "
                f'{", ".join(source.factors) or "none"})'
            )
        readouts = source.users if side == 'user' else source.items
        one = self._contexts(context)
        wanted = source.factor(side, source.entities(side, [entity]), one, by)
        similarity = torch.cat(
            [
                F.cosine_similarity(source.factor(side, part, one, by), wanted)
                for part in (
                    readouts[start : start + CELLS // 128]
                    for start in range(0, len(readouts), CELLS // 128)
                )
            ]
        ).unsqueeze(0)
        [place] = source.place(side, [entity])
        hidden = torch.arange(len(readouts), device=source.device).unsqueeze(0) == place
        values, found = top_k(similarity, k, hidden)
        kept = found >= 0
        known, name = source.known(side)
        return pd.DataFrame(
            {
                name: known[found[kept].cpu().numpy()],
                'similarity': values[kept].cpu().numpy(),
            }
        )

    @torch.no_grad()
    def embeddings(self, side: Side, context: Context | None = None) -> pd.DataFrame:
        """Returns the readouts and factors of all users or items, by their ids.

        Write it with ``to_parquet``, for instance.

        Args:
            side: :obj:`'user'` or :obj:`'item'`.
            context: The context of the factors. With IEDR, there are none without it.

        Returns:
            A row for each user or item, by its id. The columns have two levels:
            :obj:`'readout'` or the name of the factor, and the number of the channel.
        """
        if side not in ('user', 'item'):
            raise ValueError(f"`side` is 'user' or 'item' (got '{side}')")
        source = self._source
        known, name = source.known(side)
        readouts = source.users if side == 'user' else source.items
        tables = {'readout': readouts.vector}
        if context is not None or not source.context_names:
            one = self._contexts(context)
            for factor in source.factors:
                tables[factor] = source.factor(side, readouts, one, factor)
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

        Args:
            folder: Where to write. An older model folder is replaced.
        """
        save_recommender(folder, self._source)

    @classmethod
    def load(
        cls,
        folder: str | os.PathLike[str],
        edges: Mapping[Side, Any] | None = None,
    ) -> Recommender:
        """Reads what :meth:`save` wrote, onto the CPU.

        Args:
            folder: The folder.
            edges: The transforms that build the edges of feature graphs, by side, where
                they are one's own: the folder has those of :mod:`iedr_geo.transforms`.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is damaged or does not fit the others.
        """
        recommender = cls.__new__(cls)
        recommender._source = load_recommender(folder, edges)
        return recommender

    def __repr__(self) -> str:
        users, items = (len(self._source.known(side)[0]) for side in ('user', 'item'))
        return (
            f'{self.__class__.__name__}(num_users={users}, num_items={items}, '
            f'parts={list(self.parts)})'
        )


def _check_k(k: int) -> None:
    if not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f'`k` must be at least 1 (got {k}), and an integer')


def _frame(context: Context | None) -> pd.DataFrame:
    """Returns a context as a table of one row."""
    if context is None:
        return pd.DataFrame(index=[0])
    return pd.DataFrame([dict(context)], dtype=object)
