"""A cinema with columns of every type, what their cells say, and edges between nodes."""

from __future__ import annotations

import calendar
import datetime
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

from iedr_geo.data import (
    Bucketized,
    Categorical,
    DateTime,
    FeatureGraphs,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    Vector,
)
from iedr_geo.data.columns import Column
from iedr_geo.data.schema import Side
from iedr_geo.transforms import Complete, FieldPairs, RemoveSelfLoops

GUESTS = pd.DataFrame(
    {
        'guest': [3, 1, 2, 7],
        'town': ['x', 'y', None, 'x'],
        'age': [0.5, None, -1.5, 0.5],
        'taste': [[3.0, 4.0], [0.0, -2.0], None, [3.0, 4.0]],
    }
)
# Two with the same poster, one without, one that is blank; one without a genre.
FILMS = pd.DataFrame(
    {
        'film': [10, 11, 12, 13, 14],
        'studio': ['s', 's', 't', 't', 's'],
        'genres': ['p|q', 'q', '', 'r|p|q', 'q'],
        'poster': [[1.0, 2.0, -1.0], [0.5, 0.0, 2.0], None, [1, 2, -1], [0, 0, 0]],
    }
)
TIMES = ['2024-02-29 23:59', '2024-03-02 06:00', '2024-03-02 06:30', None]
TIMES += ['2024-03-03 00:10', '2024-02-29 23:00', '2024-03-04 18:00', None]
# The contexts of the second and third are the same, as are those of the first and sixth.
TICKETS = pd.DataFrame(
    {
        'guest': [3, 1, 2, 3, 7, 1, 7, 2],
        'film': [10, 11, 12, 13, 10, 14, 12, 12],
        'time': pd.to_datetime(TIMES),
        'with': ['friends', 'none', 'none', None, 'none', 'friends', 'none', 'friends'],
        'liked': [1, 0, 0, 1, 1, 0, 1, 0],
    }
)
# With more columns, for `make_schema`.
TABLES = {
    'users': GUESTS.assign(
        income=[1, 2, 3, 2],
        joined=pd.to_datetime(['2020-01-04', '2020-02-03', None, '2021-05-05']),
    ),
    'items': FILMS.assign(
        tags=[['k'], [], None, ['k', 'l'], ['k']],
        price=[3.0, 8.0, None, 1.0, 3.0],
        made=[1.0e9, 1.1e9, None, 1.2e9, 0.0],
    ),
    'log': TICKETS.assign(
        heat=[1.0, 2.0, 2.0, None, -3.0, 1.0, 2.0, 2.0],
        snacks=[['m'], None, [], ['m', 'n'], [], ['m'], ['n'], ['o']],
        sold=[8, 3, 5, 2, 1, 7, 6, 4],
    ),
}
FRAME: dict[Side, str] = {'user': 'users', 'item': 'items', 'context': 'log'}
FIELDS = {
    'user': ['town', 'age', 'taste'],
    'item': ['studio', 'genres', 'poster'],
    'context': ['time.hour.cyclic', 'time.weekday', 'with'],
}


def make_schema(**kwargs: Any) -> FeatureSchema:
    """The schema of all columns, of every type."""
    return FeatureSchema(
        user=[
            Categorical('guest'),
            Numerical('age'),
            Bucketized('income', (2, 3)),
            Categorical('town', min_count=3),
            DateTime('joined', 'weekday'),
            Vector('taste'),
        ],
        item=[
            Categorical('film'),
            MultiCategorical('genres', '|'),
            MultiCategorical('tags', min_count=2),
            Bucketized('price', num_buckets=2),
            DateTime('made', 'month', cyclic=True, unit='s'),
            Vector('poster', normalize=False),
        ],
        context=[
            Categorical('with'),
            DateTime('time', 'hour', boundaries=(6, 12)),
            DateTime('time', 'weekend'),
            Numerical('heat'),
            MultiCategorical('snacks'),
        ],
        **kwargs,
    )


def build(
    tables: Mapping[str, Any], schema: FeatureSchema | None = None, **kwargs: Any
) -> InteractionDataset:
    names = {'user': 'guest', 'item': 'film', 'label': 'liked', 'time': 'sold'}
    return InteractionDataset.from_pandas(
        tables['log'],
        tables['users'],
        tables['items'],
        make_schema() if schema is None else schema,
        **names | kwargs,
    )


def make_cinema(edges: dict[str, Any] | None = None, **kwargs: Any) -> InteractionDataset:
    """The dataset of `FIELDS`: without ids, so that guests share nodes, as do films."""
    schema = FeatureSchema(
        [Categorical('town'), Numerical('age'), Vector('taste')],
        [
            Categorical('studio'),
            MultiCategorical('genres', '|'),
            Vector('poster', normalize=False),
        ],
        [
            DateTime('time', 'hour', cyclic=True),
            DateTime('time', 'weekday'),
            Categorical('with'),
        ],
        edges=edges or {},
    )
    return build(TABLES, schema, time=None, **kwargs)


class Chain(BaseTransform):
    """From each node to the next of its graph, later ones with more weight."""

    def forward(self, data: Data) -> Data:
        source, target = data.edge_index
        kept = target == source + 1
        first = data.ptr[data.batch[source]]
        data.edge_index = data.edge_index[:, kept]
        data.edge_weight = (0.5 + source - first)[kept]
        return data


class Nothing(BaseTransform):
    """No edges."""

    def forward(self, data: Data) -> Data:
        data.edge_index = data.edge_index[:, :0]
        return data


WEIGHTED = {
    'user': FieldPairs([('town', 'taste', 2.0), ('age', 'age', -0.5)]),
    'item': FieldPairs(
        [('studio', 'poster', 0.5), ('genres', 'genres', 3), ('poster',) * 2]
    ),
    'context': FieldPairs([('time.hour.cyclic', 'with', 0.25), ('time.weekday',) * 2]),
}
DIRECTED = {
    'user': FieldPairs([('taste', 'town'), ('age', 'town', 2)], directed=True),
    'item': FieldPairs([('genres', 'studio', 3), ('poster', 'studio')], directed=True),
    'context': FieldPairs([('with', 'time.hour.cyclic')], directed=True),
}
# What draws edges, by side.
EDGES: dict[str, dict[str, Any]] = {
    'complete': {},
    'loops removed': dict.fromkeys(FIELDS, RemoveSelfLoops()),
    'weighted': WEIGHTED,
    'directed': DIRECTED,
    'composed': {
        side: Compose([pairs, RemoveSelfLoops()]) for side, pairs in WEIGHTED.items()
    },
    'complete again': {
        side: Compose([pairs, Complete()]) for side, pairs in DIRECTED.items()
    },
    'own': dict.fromkeys(FIELDS, Chain()),
    'one side': {'item': WEIGHTED['item']},
    # Films of one genre have none.
    'some without': {
        'item': Compose([FieldPairs([('genres', 'genres')]), RemoveSelfLoops()])
    },
    'none': dict.fromkeys(FIELDS, Nothing()),
}


def column_of(cells: Any, dtype: Any = None) -> pd.DataFrame:
    """A table with one column, `f`, whose rows have labels that are no range."""
    return pd.DataFrame({'f': pd.Series(cells, dtype=dtype)}).add_prefix('', axis=0)


def fit(columns: Column | list[Column], frame: pd.DataFrame) -> FeatureSchema:
    """Fits columns as items, between two other sides."""
    columns = columns if isinstance(columns, list) else [columns]
    other, table = [Categorical('other')], pd.DataFrame({'other': ['o']})
    schema = FeatureSchema(other, columns, other)
    return schema.fit({'user': table, 'item': frame, 'context': table})


def decode(graphs: FeatureGraphs, schema: FeatureSchema) -> list[list[tuple]]:
    """Lists for each graph what its nodes say: a name and a value or a vector."""
    names, nodes = schema.names(), []
    factors = torch.ones(len(graphs.x)) if graphs.value is None else graphs.value
    vectors = {row: iter(table.tolist()) for row, table in graphs.vectors.items()}
    for x, factor in zip(graphs.x.tolist(), factors.tolist(), strict=True):
        nodes.append((names[x], next(vectors[x]) if x in vectors else factor))
    assert all(next(rest, None) is None for rest in vectors.values())
    return [nodes[start:end] for start, end in pairwise(graphs.ptr.tolist())]


def is_missing(cell: Any) -> bool:
    return pd.api.types.is_scalar(cell) and pd.isna(cell)


def text_of(cell: Any) -> str:
    """The text of a value, however it is spelled."""
    if isinstance(cell, torch.Tensor) and cell.dim() == 0:
        cell = cell.item()
    if isinstance(cell, Decimal) and cell == int(cell):
        return str(int(cell))
    if isinstance(cell, Decimal):
        return str(cell.normalize())
    if isinstance(cell, str) and re.fullmatch(r'-?\d+\.0', cell):
        return str(int(float(cell)))
    is_time = isinstance(cell, str) and re.fullmatch(r'\d{4}-\d\d-\d\d[T ]\d.*', cell)
    if is_time or isinstance(cell, (datetime.date, np.datetime64)):
        text = str(pd.Timestamp(cell))
        return text[:-9] if text.endswith(' 00:00:00') else text
    if isinstance(cell, (float, np.floating)):
        return str(int(cell) if float(cell).is_integer() else float(cell))
    return str(cell)


def _several(column: MultiCategorical, cell: Any, values: list[str]) -> list[str]:
    if not pd.api.types.is_list_like(cell):
        cell = text_of(cell).split(column.separator)
    texts = [text_of(value).strip() for value in cell if not is_missing(value)]
    return sorted(
        (text for text in dict.fromkeys(texts) if text),
        key=lambda text: values.index(text) if text in values else -1,
    )


def _part_of_time(column: DateTime, cell: Any) -> list[tuple]:
    try:
        moment = pd.Timestamp(float(cell), unit=column.unit)
    except (TypeError, ValueError):  # A date, or text of one.
        moment = pd.Timestamp(cell)
    number, first, last, words = {
        'hour': (moment.hour, 0, 23, range(24)),
        'weekday': (moment.weekday(), 0, 6, calendar.day_name),
        'weekend': (moment.isoweekday() > 5, 0, 1, ['workday', 'weekend']),
        'day': (moment.day, 1, 31, range(32)),
        'month': (moment.month, 1, 12, calendar.month_name),
    }[column.part]
    if column.cyclic:
        angle = 2 * math.pi * (number - first) / (last + 1 - first)
        return [('sin', math.sin(angle)), ('cos', math.cos(angle))]
    boundaries = column.boundaries or range(first + 1, last + 1)
    low = max([first, *(b for b in boundaries if b <= number)])
    high = min([last, *(b - 1 for b in boundaries if b > number)])
    ends = dict.fromkeys(str(words[end]).lower() for end in (low, high))
    return [('-'.join(ends), 1.0)]


def nodes_of(column: Any, cell: Any, values: list[str]) -> list[tuple]:
    """The nodes of a cell by the definition of its column's type: a value of the field
    (None: missing), and what its embedding is multiplied with.
    """
    is_text = isinstance(column, (Categorical, MultiCategorical))
    if is_missing(cell) or (not is_text and str(cell) in ('', 'nan')):
        nodes = []
    elif isinstance(column, MultiCategorical):
        nodes = [(text, 1.0) for text in _several(column, cell, values)]
    elif isinstance(column, Categorical):
        nodes = [(text_of(cell), 1.0)]
    elif isinstance(column, DateTime):
        nodes = _part_of_time(column, cell)
    elif isinstance(column, Vector):
        numbers = [float(number) for number in cell]
        length = math.hypot(*numbers) if column.normalize else 1.0
        nodes = [('<vector>', [number / (length or 1.0) for number in numbers])]
    elif isinstance(column, Numerical):
        nodes = [(column.name, float(cell))]
    else:
        nodes = [([low for low in values if float(low) <= float(cell)][-1], 1.0)]
    return nodes or [(None, 1.0)]


def expected(side: Side, frame: pd.DataFrame, schema: FeatureSchema) -> list[list[tuple]]:
    """Says what :func:`decode` must return, cell by cell."""
    rows: list[list[tuple]] = [[] for _ in range(len(frame))]
    for column in schema.columns(side):
        values = schema.vocabulary[side][column.name]
        labels = dict(zip(values, column.labels(values), strict=True))
        labels[None] = '<missing>'
        for row, cell in zip(rows, frame[column.column].astype(object), strict=True):
            for value, factor in nodes_of(column, cell, values):
                label = labels.get(value, '<unknown>')
                row.append((f'{column.name}={label}', factor))
    return rows


def values_of(side: Side, row: int) -> list[tuple[str, str | None, Any]]:
    """The nodes of a guest, a film or the context of a ticket: field, value, factor."""
    frame, schema = TABLES[FRAME[side]], make_cinema().schema
    return [
        (column.name, value, factor)
        for column in schema.columns(side)
        for value, factor in nodes_of(
            column, frame[column.column][row], schema.vocabulary[side][column.name]
        )
    ]


def assert_same_nodes(actual: list, wanted: list) -> None:
    for row, (one, two) in enumerate(zip(actual, wanted, strict=True)):
        assert [name for name, _ in one] == [name for name, _ in two], row
        for (name, value), (_, other) in zip(one, two, strict=True):
            np.testing.assert_allclose(value, other, 1e-6, 1e-6, err_msg=f'{row} {name}')


def assert_means(
    schema: FeatureSchema, frame: pd.DataFrame, same: pd.DataFrame | None = None
) -> list[list[tuple]]:
    """Checks the nodes of items against what their cells, or others, mean."""
    nodes = decode(schema.encode('item', frame), schema)
    frame = frame if same is None else same
    assert_same_nodes(nodes, expected('item', frame, schema))
    return nodes


def assert_means_what_tables_say(dataset: InteractionDataset, tables: dict) -> None:
    schema, log = dataset.schema, tables['log']
    for side, name in (('user', 'guest'), ('item', 'film')):
        frame = tables[FRAME[side]]
        nodes = decode(getattr(dataset, f'{side}s'), schema)
        assert_same_nodes(nodes, expected(side, frame, schema))
        ids = [text_of(cell) for cell in frame[name].astype(object)]
        assert list(getattr(dataset, f'{side}_ids')) == ids
        wanted = [text_of(cell) for cell in log[name].astype(object)]
        assert [ids[row] for row in getattr(dataset, side).tolist()] == wanted
    contexts = decode(dataset.contexts, schema)
    nodes = [contexts[context] for context in dataset.context.tolist()]
    assert_same_nodes(nodes, expected('context', log, schema))
    assert dataset.y.tolist() == [float(cell) for cell in log['liked']]
    moments = [float(cell) if isinstance(cell, str) else cell for cell in log['sold']]
    for one, a in zip(dataset.time.tolist(), moments, strict=True):
        for two, b in zip(dataset.time.tolist(), moments, strict=True):
            assert (one < two) == (a < b)
