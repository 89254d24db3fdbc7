"""Tables of a cinema with a column of every type, and what their cells say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

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
from iedr_geo.data.schema import Side

TABLES = {
    'users': pd.DataFrame(
        {
            'user': [31, 4, 15, 9, 26],
            'age': [0.5, 1.0, None, -2.0, 0.5],
            'income': [1, 2, 3, 4, 2],
            'town': ['x', 'y', None, 'x', 'z'],
            'joined': pd.to_datetime(
                ['2020-01-04', '2020-02-03', None, '2021-05-05', '2020-01-06']
            ),
            'taste': [[1.0, 0.0], [0.0, 2.0], None, [3.0, 4.0], [0.0, 0.0]],
        }
    ),
    'items': pd.DataFrame(
        {
            'item': ['a', 'b', 'c', 'd', 'e', 'f'],
            'genres': ['p|q', 'p', '', None, 'q| r |q', 'p|q'],
            'tags': [['k'], [], None, ['k', 'l'], ['l'], ['k']],
            'price': [3.0, 8.0, 9.0, None, 1.0, 3.0],
            'made': [1.0e9, 1.1e9, None, 1.2e9, 0.0, 1.0e9],
            'cover': [[1.0, 0, 1], [0, 1, 0], None, [2, 1, 1], [0, 0, 3], [1, 0, 1]],
        }
    ),
    'log': pd.DataFrame(
        {
            'user': [31, 4, 15, 9, 9, 31, 4, 26],
            'item': ['b', 'a', 'd', 'a', 'c', 'e', 'b', 'b'],
            'day': ['mon', 'tue', None, 'mon', 'sat', 'mon', 'tue', 'tue'],
            'when': [
                *('2020-01-01T10', '2020-01-04', None, '2020-01-01T23:59'),
                *('2020-01-05', '2020-01-01T10:30', '2020-01-04', '2020-01-02T07'),
            ],
            'heat': [1.0, 2.0, None, -3.0, 1.0, 1.0, 2.0, 2.0],
            'with': [['m'], None, ['m', 'n'], [], ['n'], ['m'], None, ['o']],
            'liked': [0, 1, 1, 0, 1, 1, 1, 1],
            'time': [8, 3, 5, 2, 1, 7, 6, 4],
        }
    ),
}
FRAME: dict[Side, str] = {'user': 'users', 'item': 'items', 'context': 'log'}


def make_schema(**kwargs: Any) -> FeatureSchema:
    return FeatureSchema(
        user=[
            Categorical('user'),
            Numerical('age'),
            Bucketized('income', (2, 3)),
            Categorical('town', min_count=2),
            DateTime('joined', 'weekday'),
            Vector('taste'),
        ],
        item=[
            Categorical('item'),
            MultiCategorical('genres', '|'),
            MultiCategorical('tags', min_count=2),
            Bucketized('price', num_buckets=2),
            DateTime('made', 'month', cyclic=True, unit='s'),
            Vector('cover', normalize=False),
        ],
        context=[
            Categorical('day'),
            DateTime('when', 'hour', boundaries=(6, 12)),
            DateTime('when', 'weekend'),
            Numerical('heat'),
            MultiCategorical('with'),
        ],
        **kwargs,
    )


def build(
    tables: Mapping[str, Any], schema: FeatureSchema | None = None, **kwargs: Any
) -> InteractionDataset:
    arguments = {'label': 'liked', 'time': 'time'} | kwargs
    return InteractionDataset.from_pandas(
        tables['log'],
        tables['users'],
        tables['items'],
        make_schema() if schema is None else schema,
        **arguments,
    )


def decode(graphs: FeatureGraphs, schema: FeatureSchema) -> list[list[tuple]]:
    """Lists for each graph what its nodes say: a name and a value or a vector."""
    names, rows = schema.names(), []
    for i in range(len(graphs)):
        graph = graphs[i]
        value = graph.get('value', torch.ones(graph.num_nodes)).tolist()
        vectors = {
            int(name.removeprefix('vector_')): iter(vector.tolist())
            for name, vector in graph
            if name.startswith('vector_')
        }
        row = []
        for x, number in zip(graph.x.tolist(), value, strict=True):
            meaning = next(vectors[x]) if x in vectors else number
            row.append((names[x], meaning))
        assert all(next(rest, None) is None for rest in vectors.values())
        rows.append(row)
    return rows


def _missing(cell: Any) -> bool:
    return pd.api.types.is_scalar(cell) and pd.isna(cell)


def _text(cell: Any) -> str:
    if isinstance(cell, (float, np.floating)):
        return str(int(cell) if float(cell).is_integer() else float(cell))
    return str(cell)


def _several(column: MultiCategorical, cell: Any) -> list[str]:
    if _missing(cell):
        return []
    if isinstance(cell, (set, frozenset)):
        cell = sorted(cell, key=_text)
    elif not pd.api.types.is_list_like(cell):
        cell = [cell] if column.separator is None else _text(cell).split(column.separator)
    texts = [_text(value).strip() for value in cell if not _missing(value)]
    return list(dict.fromkeys(text for text in texts if text))


def _moment(column: DateTime, cell: Any) -> pd.Timestamp:
    try:
        return pd.Timestamp(float(cell), unit=column.unit)
    except (TypeError, ValueError):  # A date, or text of one.
        return pd.Timestamp(cell)


def _time(column: DateTime, moment: pd.Timestamp) -> list[tuple]:
    if column.part == 'weekend':
        return [(('workday', 'weekend')[moment.day_of_week >= 5], 1.0)]
    if column.cyclic:
        angle = 2 * math.pi * (moment.month - 1) / 12
        return [('sin', math.sin(angle)), ('cos', math.cos(angle))]
    if column.boundaries is None:
        return [(moment.day_name().lower(), 1.0)]
    place = sum(moment.hour >= boundary for boundary in column.boundaries)
    return [(('0-5', '6-11', '12-23')[place], 1.0)]


def _nodes(column: Any, cell: Any, known: list[str]) -> list[tuple]:
    """Says what the nodes of a cell are, by the definition of the column's type."""
    if isinstance(column, MultiCategorical):
        values = [(text, 1.0) for text in _several(column, cell)]
    elif _missing(cell):
        values = []
    elif isinstance(column, Categorical):
        values = [(_text(cell), 1.0)]
    elif isinstance(cell, str) and cell in ('', 'nan'):
        values = []
    elif isinstance(column, DateTime):
        values = _time(column, _moment(column, cell))
    elif isinstance(column, Vector):
        numbers = [float(number) for number in cell]
        length = math.hypot(*numbers) if column.normalize else 1.0
        values = [('<vector>', [number / (length or 1.0) for number in numbers])]
    elif isinstance(column, Numerical):
        values = [(column.name, float(cell))]
    else:
        values = [([low for low in known if float(low) <= float(cell)][-1], 1.0)]
    labels = dict(zip(known, column.labels(known), strict=True))
    named = [
        (f'{column.name}={labels.get(text, "<unknown>")}', meaning)
        for text, meaning in values
    ]
    return named or [(f'{column.name}=<missing>', 1.0)]


def expected(side: Side, frame: pd.DataFrame, schema: FeatureSchema) -> list[list[tuple]]:
    """Says what :func:`decode` must return, cell by cell."""
    cells = {name: frame[name].astype(object).tolist() for name in schema.sources(side)}
    return [
        [
            node
            for column in schema.columns(side)
            for node in _nodes(
                column, cells[column.column][row], schema.vocabulary[side][column.name]
            )
        ]
        for row in range(len(frame))
    ]
