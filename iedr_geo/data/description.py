"""A description of a dataset, and warnings of what in it will hurt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from iedr_geo.data.arguments import check_type
from iedr_geo.data.columns import (
    MISSING,
    RESERVED,
    UNKNOWN,
    Column,
    DateTime,
    Numerical,
    Vector,
)
from iedr_geo.data.interaction import InteractionDataset
from iedr_geo.data.schema import SIDES, Side

MANY_EDGES = 10**6  # Of one graph.


@dataclass(frozen=True)
class Description:
    """The description of a dataset. Printing it prints all of it.

    Args:
        title: The numbers of rows, users, items and contexts, the share of rows that
            repeat an earlier pair of user and item, and whether seen items are left out.
        fields: A row for each field: its side, kind, number of values, how many of them
            the graphs have (:obj:`present`), how many stand in a single row of the log
            (:obj:`once`), the shares of users and items that have a row (contexts: of
            rows) in which it is missing or unknown, and the mean and largest number of
            its nodes in a graph.
        graphs: A row for each side: the number of graphs, and the smallest, mean and
            largest number of nodes, and of edges.
        warnings: Sentences on each thing that will hurt, and what to do about it.
    """

    title: str
    fields: pd.DataFrame
    graphs: pd.DataFrame
    warnings: list[str]

    def __str__(self) -> str:
        def table(frame: pd.DataFrame) -> str:
            return frame.to_string(index=False, float_format='{:.2f}'.format)

        warnings = [f'- {warning}' for warning in self.warnings] or ['- nothing found']
        parts = [self.title, table(self.fields), table(self.graphs)]
        return '\n\n'.join([*parts, '\n'.join(['What may hurt:', *warnings])])


class _Field:
    """The nodes of one field, and how the rows of the log use them."""

    def __init__(self, dataset: InteractionDataset, side: Side, column: Column) -> None:
        graphs, schema = getattr(dataset, f'{side}s'), dataset.schema
        assert schema.vocabulary is not None
        self.side, self.column = side, column
        self.values = schema.vocabulary[side][column.name]
        # How many rows of the log have each graph.
        self.rows = torch.bincount(getattr(dataset, side), minlength=len(graphs))
        graph = torch.arange(len(graphs)).repeat_interleave(graphs.ptr.diff())
        nodes = pd.DataFrame({'graph': graph, 'rows': self.rows[graph]})
        nodes['code'] = graphs.x.numpy() - schema.offsets(side)[column.name]
        nodes['value'] = 1.0 if graphs.value is None else graphs.value.numpy()
        self.nodes = nodes[nodes['code'].between(0, RESERVED + len(self.values) - 1)]
        # Nodes of the same content have the same number.
        self.content = self.nodes.groupby(['code', 'value']).ngroup()
        self.sizes = self.nodes.groupby('graph').size()
        counts = self.nodes.groupby('code')['rows'].sum()
        counts = counts[(counts.index >= RESERVED) & (counts > 0)]
        self.once, self.num_values = int((counts == 1).sum()), len(counts)
        self.num_used = self.content[self.nodes['rows'] > 0].nunique()

    def share(self, code: int) -> float:
        """Returns the share of rows, or of users or items with a row, with one code."""
        weight = self.rows if self.side == 'context' else self.rows > 0
        graphs = self.nodes.loc[self.nodes['code'] == code, 'graph'].unique()
        return float(weight[graphs].sum() / weight.sum())

    def summary(self) -> dict[str, object]:
        """Returns the row of the table of fields."""
        return {
            'side': self.side,
            'field': self.column.name,
            'kind': type(self.column).__name__,
            'values': len(self.values),
            'present': self.nodes['code'][self.nodes['code'] >= RESERVED].nunique(),
            'once': 0 if self.column.is_number else self.once,
            'missing': self.share(MISSING),
            'unknown': self.share(UNKNOWN),
            'nodes_mean': float(self.sizes.mean()),
            'nodes_max': int(self.sizes.max()),
        }


def describe(dataset: InteractionDataset) -> Description:
    """Describes fields, cardinalities, missing shares and the sizes of graphs.

    It warns of what will hurt: contexts that never repeat, ids as numbers, contexts that
    leak the answer, fields with one value, values too rare to learn from, numbers on a
    large scale, users or items that cannot be told apart.

    Args:
        dataset: The dataset, or a part of one.

    Example:
        >>> print(describe(dataset))
    """
    check_type(dataset, 'dataset', InteractionDataset)
    dataset = dataset.to('cpu')
    fields = [
        _Field(dataset, side, column)
        for side in SIDES
        for column in dataset.schema.columns(side)
    ]
    graphs = []
    for side in SIDES:
        store = getattr(dataset, f'{side}s')
        nodes = store.ptr.diff()
        edges = nodes.square() if store.edges is None else store.edges.ptr.diff()
        row: dict[str, Any] = {'side': side, 'graphs': len(store)}
        for name, sizes in (('nodes', nodes), ('edges', edges)):
            row[f'{name}_min'] = int(sizes.min())
            row[f'{name}_mean'] = float(sizes.double().mean())
            row[f'{name}_max'] = int(sizes.max())
        graphs.append(row)
    title = (
        f'{len(dataset):,} rows, {dataset.num_users:,} users, {dataset.num_items:,} '
        f'items, {len(torch.unique(dataset.context)):,} distinct contexts\n'
        f'{dataset.repeated:.1%} of positive rows repeat an earlier pair of user and '
        f'item, exclude_seen={dataset.exclude_seen}'
    )
    return Description(
        title,
        pd.DataFrame([field.summary() for field in fields]),
        pd.DataFrame(graphs),
        [
            *dataset.notes,
            *_of_log(dataset, fields),
            *(w for row in graphs for w in _of_graphs(row, fields)),
            *(w for field in fields for w in _of_field(dataset, field)),
        ],
    )


def _of_log(dataset: InteractionDataset, fields: list[_Field]) -> Iterator[str]:
    """Says what hurts in the log as a whole."""
    alone = int((torch.bincount(dataset.context) == 1).sum())
    if len(dataset) > 1 and alone > len(dataset) / 2:
        most = max((f for f in fields if f.side == 'context'), key=lambda f: f.num_used)
        yield (
            f'{alone:,} of {len(dataset):,} rows have a context that no other row has: '
            f"nothing is learned of it as a whole. '{most.column.name}' has the most "
            f'values ({most.num_used:,}): coarsen it, e.g. with Bucketized or DateTime'
        )
    for side in ('user', 'item'):
        rows = torch.bincount(getattr(dataset, side))
        single, all_with_rows = int((rows == 1).sum()), int((rows > 0).sum())
        if single > all_with_rows / 2:
            yield (
                f'{single:,} of {all_with_rows:,} {side}s have a single row of the log'
            )
        content = getattr(dataset, f'{side}s').content()
        alike = int((torch.bincount(content)[content] > 1).sum())
        own_id = getattr(dataset, f'{side}_name')
        names = [f.column.name for f in fields if f.side == side]
        if alike and own_id not in names:
            yield (
                f'{alike:,} of {len(content):,} {side}s have the same features as '
                f'another and cannot be told from it: add the id, '
                f"Categorical('{own_id}'), unless that is meant"
            )


def _of_graphs(row: dict[str, Any], fields: list[_Field]) -> Iterator[str]:
    """Says what hurts in the graphs of one side."""
    if row['edges_max'] >= MANY_EDGES:
        own = (f for f in fields if f.side == row['side'])
        most = max(own, key=lambda f: f.sizes.max())
        yield (
            f'{row["side"].capitalize()} graphs have up to {row["edges_max"]:,} edges: '
            f"'{most.column.name}' alone has up to {most.sizes.max():,} nodes in one. "
            f'Keep fewer of its values, e.g. with `min_count`, or draw fewer edges, e.g. '
            f'with FieldPairs'
        )


def _of_field(dataset: InteractionDataset, field: _Field) -> Iterator[str]:
    """Says what hurts in one field."""
    name, side, column = field.column.name, field.side, field.column
    what = f"{side.capitalize()} field '{name}'"
    missing = field.share(MISSING)
    if missing > 0.5:
        yield f'{what} is missing in {missing:.0%}'
    used = field.rows if side == 'context' else field.rows > 0
    if field.num_used == 1 < used.sum() and not isinstance(column, Vector):
        yield f'{what} has one value alone: it tells nothing apart, drop it'
    if isinstance(column, Numerical):
        numbers = field.nodes['value'][field.nodes['code'] >= RESERVED]
        different = numbers.is_unique and len(numbers) > 20
        if name in (dataset.user_name, dataset.item_name) or (
            different and numbers.equals(numbers.round())
        ):
            yield (
                f'{what} looks like an id, but is a Numerical: as a number, 1,000 is '
                f"close to 1,001. Use Categorical('{name}')"
            )
        elif numbers.abs().max() > 10:
            yield (
                f'{what} holds numbers up to {numbers.abs().max():,.0f}, by which '
                f'embeddings are multiplied: bring them to a scale near one, e.g. with '
                f'standardize=True, or use Bucketized'
            )
    elif not column.is_number and side != 'user' and field.num_values > 10:
        own_id = name == dataset.item_name and side == 'item'
        if field.once > field.num_values / 2 and not own_id:
            yield (
                f'{what}: {field.once:,} of {field.num_values:,} values stand in a '
                f'single row of the log, too little to learn from: pass `min_count`, or '
                f'coarsen it'
            )
    if side == 'context' and isinstance(column, DateTime) and column.unit:
        moments = column.moments(dataset.context_frame[column.column])
        last = moments.max()
        if moments.dtype.kind == 'M' and last < pd.Timestamp(1971, 1, 1, tz=last.tz):
            yield (
                f"{what} counts in unit='{column.unit}', by which all times are before "
                f'{last + pd.Timedelta(days=1):%Y-%m-%d}: is it a longer unit, such as s?'
            )
    if side == 'context' and field.sizes.max() == 1:
        content = field.content.to_numpy()[dataset.context]
        yield from _of_leak(dataset, content, what)


def _of_leak(
    dataset: InteractionDataset, content: np.ndarray, what: str
) -> Iterator[str]:
    """Says whether a context tells what is to be found."""
    targets = {'item': dataset.item}
    if dataset.y is not None:
        targets['label'] = dataset.y.long()
    for name, target in targets.items():
        table = pd.DataFrame({'content': content, 'target': target.numpy()})
        table = table[table.groupby('content')['target'].transform('size') > 1]
        if len(table) < max(20, len(dataset) / 2):
            continue
        right = table.value_counts().groupby('content').max().sum() / len(table)
        base = table['target'].value_counts(normalize=True).iloc[0]
        if right > 0.95 and right - base > 0.2:
            yield (
                f'{what} tells the {name} in {right:.0%} of rows (its most frequent one '
                f'alone: {base:.0%}): is it known before the choice is made? If not, it '
                f'leaks the answer, leave it out'
            )
