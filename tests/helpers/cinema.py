"""A cinema with every kind of node, and transforms that draw edges between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform, Compose

from iedr_geo.data import (
    Categorical,
    DateTime,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
    Vector,
)
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
TICKETS = pd.DataFrame(
    {
        'guest': [3, 1, 2, 3, 7, 1, 7, 2],
        'film': [10, 11, 12, 13, 10, 14, 12, 12],
        'time': pd.to_datetime(
            [
                '2024-02-29 23:59',
                '2024-03-02 06:00',
                '2024-03-02 06:30',  # As the one before.
                None,
                '2024-03-03 00:10',
                '2024-02-29 23:00',  # As the first.
                '2024-03-04 18:00',
                None,
            ]
        ),
        'with': ['friends', 'none', 'none', None, 'none', 'friends', 'none', 'friends'],
        'liked': [1, 0, 0, 1, 1, 0, 1, 0],
    }
)
FIELDS = {
    'user': ['town', 'age', 'taste'],
    'item': ['studio', 'genres', 'poster'],
    'context': ['time.hour.cyclic', 'time.weekday', 'with'],
}


def make_cinema(edges: dict[str, Any] | None = None, **kwargs: Any) -> InteractionDataset:
    schema = FeatureSchema(
        # No ids: guests share nodes, and so do films.
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
    return InteractionDataset.from_pandas(
        TICKETS, GUESTS, FILMS, schema, user='guest', item='film', label='liked', **kwargs
    )


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


def values_of(side: str, row: int) -> list[tuple[str, str | None, Any]]:
    """The nodes of a guest, a film or the context of a ticket, by the tables.

    Each is a field, a value (None: missing) and what its embedding is multiplied with.
    """
    if side == 'user':
        town, age, taste = GUESTS.loc[row, FIELDS[side]]
        nodes = [('town', town, 1.0)]
        nodes.append(('age', None, 1.0) if np.isnan(age) else ('age', 'age', age))
        unit = None if taste is None else np.array(taste) / np.linalg.norm(taste)
        nodes.append(('taste', None if taste is None else '<vector>', unit))
    elif side == 'item':
        studio, genres, poster = FILMS.loc[row, FIELDS[side]]
        nodes = [('studio', studio, 1.0)]
        nodes += [('genres', genre or None, 1.0) for genre in genres.split('|')]
        nodes.append(('poster', None if poster is None else '<vector>', poster))
    else:
        time, company = TICKETS.loc[row, ['time', 'with']]
        if pd.isna(time):
            nodes = [('time.hour.cyclic', None, 1.0), ('time.weekday', None, 1.0)]
        else:
            angle = 2 * np.pi * time.hour / 24
            nodes = [('time.hour.cyclic', 'sin', np.sin(angle))]
            nodes.append(('time.hour.cyclic', 'cos', np.cos(angle)))
            nodes.append(('time.weekday', f'{time:%A}'.lower(), 1.0))
        nodes.append(('with', company, 1.0))
    return [
        (field, None if pd.isna(value) else value, factor)
        for field, value, factor in nodes
    ]
