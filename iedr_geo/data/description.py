"""What a dataset holds, and what of it will hurt."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from iedr_geo.data.columns import MISSING, RESERVED, UNKNOWN, Column, Numerical
from iedr_geo.data.interaction import InteractionDataset
from iedr_geo.data.schema import SIDES, Side


@dataclass(frozen=True)
class Description:
    """What a dataset holds. Printing it prints all of it.

    Args:
        title: The numbers of rows, users, items and contexts.
        fields: A row for each field: its side, kind, number of values, how many of them
            the graphs have (:obj:`present`), how many stand in a single row of the log
            (:obj:`once`), the shares of graphs (contexts: of rows) in which it is missing
            or unknown, and the mean and largest number of its nodes in a graph.
        graphs: A row for each side: the number of graphs, and the smallest, mean and
            largest number of nodes, and of edges.
        warnings: What will hurt, and what to do about it.
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
        graphs = getattr(dataset, f'{side}s')
        self.side, self.column = side, column
        self.first = dataset.schema.offsets(side)[column.name]
        assert dataset.schema.vocabulary is not None
        self.values = dataset.schema.vocabulary[side][column.name]
        size = graphs.ptr.diff()
        graph = torch.arange(len(graphs)).repeat_interleave(size)
        end = self.first + RESERVED + len(self.values)
        own = (graphs.x >= self.first) & (graphs.x < end)
        self.graph, self.code = graph[own], graphs.x[own] - self.first
        self.value = None if graphs.value is None else graphs.value[own]
        self.nodes = torch.bincount(self.graph, minlength=len(graphs))
        # How many rows of the log have each graph.
        self.rows = torch.bincount(getattr(dataset, side), minlength=len(graphs))

    def share(self, code: int) -> float:
        """Returns the share of graphs, or of rows with a context, with one code."""
        weight = torch.ones_like(self.rows) if self.side != 'context' else self.rows
        return float(weight[self.graph[self.code == code]].sum() / weight.sum())

    @property
    def counts(self) -> Tensor:
        """The number of rows of the log that have each value."""
        counts = torch.zeros(RESERVED + len(self.values), dtype=torch.long)
        counts.index_add_(0, self.code, self.rows[self.graph])
        return counts[RESERVED:]

    def summary(self) -> dict[str, object]:
        """Returns the row of the table of fields."""
        present = int((torch.unique(self.code) >= RESERVED).sum())
        numbers = self.column.is_number
        return {
            'side': self.side,
            'field': self.column.name,
            'kind': self.column.kind,
            'values': len(self.values),
            'present': present,
            'once': 0 if numbers else int((self.counts == 1).sum()),
            'missing': self.share(MISSING),
            'unknown': self.share(UNKNOWN),
            'nodes_mean': float(self.nodes.double().mean()),
            'nodes_max': int(self.nodes.max()),
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
        row: dict[str, object] = {'side': side, 'graphs': len(store)}
        for name, sizes in (('nodes', nodes), ('edges', edges)):
            row |= {
                f'{name}_min': int(sizes.min()),
                f'{name}_mean': float(sizes.double().mean()),
                f'{name}_max': int(sizes.max()),
            }
        graphs.append(row)
    title = (
        f'{len(dataset):,} rows, {dataset.num_users:,} users, {dataset.num_items:,} '
        f'items, {dataset.num_contexts:,} distinct contexts'
    )
    return Description(
        title,
        pd.DataFrame([field.summary() for field in fields]),
        pd.DataFrame(graphs),
        [*_of_log(dataset, fields), *(w for f in fields for w in _of_field(dataset, f))],
    )


def _of_log(dataset: InteractionDataset, fields: list[_Field]) -> list[str]:
    """Returns what hurts in the log as a whole."""
    warnings = []
    rows = len(dataset)
    counts = torch.bincount(dataset.context)
    alone = int((counts == 1).sum())
    if rows > 1 and alone > rows / 2:
        most = max((f for f in fields if f.side == 'context'), key=_distinct)
        warnings.append(
            f'{alone:,} of {rows:,} rows have a context that no other row has: nothing '
            f"is learned of it as a whole. '{most.column.name}' has the most values "
            f'({_distinct(most):,}): coarsen it, e.g. with Bucketized or DateTime'
        )
    for side in ('user', 'item'):
        own = torch.bincount(getattr(dataset, side))
        single = int((own == 1).sum())
        if single > int((own > 0).sum()) / 2:
            warnings.append(
                f'{single:,} of {int((own > 0).sum()):,} {side}s have a single row of '
                f'the log'
            )
    for side in ('user', 'item'):
        content = getattr(dataset, f'{side}s').content()
        alike = int((torch.bincount(content)[content] > 1).sum())
        own_id = getattr(dataset, f'{side}_name')
        names = [f.column.name for f in fields if f.side == side]
        if alike and own_id not in names:
            warnings.append(
                f'{alike:,} of {len(content):,} {side}s have the same features as '
                f'another and cannot be told from it: add the id, '
                f"Categorical('{own_id}'), unless that is meant"
            )
    return warnings


def _distinct(field: _Field) -> int:
    """Returns how many different contents a field has in the log."""
    used = field.rows[field.graph] > 0
    if field.column.is_number and field.value is not None:
        return int(torch.unique(field.value[used]).numel())
    return int(torch.unique(field.code[used]).numel())


def _of_field(dataset: InteractionDataset, field: _Field) -> list[str]:
    """Returns what hurts in one field."""
    name, side = field.column.name, field.side
    what = f"{side.capitalize()} field '{name}'"
    warnings = []
    missing = field.share(MISSING)
    if missing > 0.5:
        warnings.append(f'{what} is missing in {missing:.0%}')
    constant = int(torch.unique(field.code).numel()) == 1
    if field.column.is_number and field.value is not None:
        constant &= int(torch.unique(field.value).numel()) == 1
    if constant and len(field.rows) > 1 and field.column.kind != 'vector':
        warnings.append(f'{what} has one value alone: it tells nothing apart, drop it')
    if isinstance(field.column, Numerical) and field.value is not None:
        numbers = field.value[field.code >= RESERVED]
        largest = float(numbers.abs().max()) if numbers.numel() else 0.0
        is_id = name in (dataset.user_name, dataset.item_name) or (
            numbers.numel() > 20
            and bool((numbers == numbers.round()).all())
            and torch.unique(numbers).numel() == numbers.numel()
        )
        if is_id:
            warnings.append(
                f'{what} looks like an id, but is a Numerical: as a number, 1,000 is '
                f"close to 1,001. Use Categorical('{name}')"
            )
        elif largest > 10:
            warnings.append(
                f'{what} holds numbers up to {largest:,.0f}, by which embeddings are '
                f'multiplied: bring them to a scale near one, or use Bucketized'
            )
    elif not field.column.is_number and side != 'user' and len(field.values) > 10:
        once = int((field.counts == 1).sum())
        own_id = name == dataset.item_name and side == 'item'
        if once > len(field.values) / 2 and not own_id:
            warnings.append(
                f'{what}: {once:,} of {len(field.values):,} values stand in a single row '
                f'of the log, too little to learn from: pass `min_count`, or coarsen it'
            )
    if side == 'context':
        warnings += _of_leak(dataset, field, what)
    return warnings


def _of_leak(dataset: InteractionDataset, field: _Field, what: str) -> list[str]:
    """Returns whether a context tells what is to be found."""
    if int(field.nodes.max()) > 1:
        return []
    code = field.code[dataset.context]
    if field.column.is_number and field.value is not None:
        code = torch.unique(field.value, return_inverse=True)[1][dataset.context]
    targets = {'item': dataset.item}
    if dataset.y is not None:
        targets['label'] = dataset.y.long()
    warnings = []
    for name, target in targets.items():
        table = pd.DataFrame({'code': code.numpy(), 'target': target.numpy()})
        sizes = table.groupby('code')['target'].transform('size')
        table = table[sizes > 1]
        if len(table) < max(20, len(dataset) / 2):
            continue
        pairs = table.groupby(['code', 'target']).size()
        right = pairs.groupby(level='code').max().sum() / len(table)
        base = table['target'].value_counts(normalize=True).iloc[0]
        if right > 0.95 and right - base > 0.2:
            warnings.append(
                f'{what} tells the {name} in {right:.0%} of rows (its most frequent one '
                f'alone: {base:.0%}): is it known before the choice is made? If not, it '
                f'leaks the answer, leave it out'
            )
    return warnings
