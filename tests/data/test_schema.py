"""The fields of a schema, their rows of embeddings, and its text."""

import json
import tracemalloc

import pandas as pd
import pytest
import torch
from cinema import FRAME, TABLES, WEIGHTED, build, decode, make_cinema, make_schema
from torch_geometric.transforms import Compose

from iedr_geo.data import Categorical, FeatureSchema, MultiCategorical, Numerical
from iedr_geo.data.schema import SIDES
from iedr_geo.transforms import Complete, FieldPairs, RemoveSelfLoops


def test_fields_have_rows_of_their_own():
    # The same column and values on every side: still other rows.
    columns = [Categorical('f'), MultiCategorical('g', '|'), Numerical('h')]
    frame = pd.DataFrame({'f': ['a', 'b'], 'g': ['a|b', None], 'h': [1, 2]})
    schema = FeatureSchema(columns, columns, columns).fit(dict.fromkeys(SIDES, frame))
    unknown = pd.DataFrame({'f': ['z', None], 'g': ['z', None], 'h': [3, None]})
    one_side = [f'{f}={v}' for f in 'fg' for v in ('<unknown>', '<missing>', 'a', 'b')]
    one_side += ['h=<unknown>', 'h=<missing>', 'h=<number>']
    assert schema.names() == one_side * 3
    assert schema.num_embeddings == 3 * 11
    for start, side in zip((0, 11, 22), SIDES, strict=True):
        assert schema.offsets(side) == {'f': start, 'g': start + 4, 'h': start + 8}
        # All are in use but the unknown one of the numbers.
        rows = torch.cat([schema.encode(side, x).x for x in (frame, unknown)]).unique()
        wanted = [row for row in range(start, start + 11) if row != start + 8]
        assert rows.tolist() == wanted
        fields = schema.fields_of(side, torch.arange(start, start + 11))
        assert fields.tolist() == [0] * 4 + [1] * 4 + [2] * 3


def test_one_large_graph_costs_what_its_nodes_do():
    """Others are not filled up to its size."""
    tags = [['a'], [*map(str, range(1500))]] + [['b']] * 5000
    frame = pd.DataFrame({'tags': tags})
    schema = FeatureSchema(*[[MultiCategorical('tags')]] * 3)
    schema.fit(dict.fromkeys(SIDES, frame))
    graphs = schema.encode('item', frame)
    tracemalloc.start()
    assert graphs.content()[1:].unique().numel() == 2
    assert schema.distinct('item', frame)[0].tolist() == [0, 1, 2]
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()


def test_json():
    schema = make_schema()
    assert FeatureSchema.from_json(schema.to_json()) == schema
    build(TABLES, schema)
    schema.vocabulary['item']['genres'].append('ä"\n')
    copied = FeatureSchema.from_json(schema.to_json())
    assert copied == schema and copied.names() == schema.names()
    for side in SIDES:
        nodes = (decode(s.encode(side, TABLES[FRAME[side]]), s) for s in (schema, copied))
        assert next(nodes) == next(nodes)


def test_json_of_edges():
    composed = {side: Compose([t, RemoveSelfLoops()]) for side, t in WEIGHTED.items()}
    schema = make_cinema({**composed, 'user': Complete()}).schema
    text = schema.to_json()
    assert FeatureSchema.from_json(text).to_json() == text
    old = json.loads(text)
    del old['edges']
    pairs = {'item': {'FieldPairs': {'pairs': []}}}
    for damaged in (
        *('', text[:-20], 'null', '[]', '{}', '{"user": "f"}'),
        json.dumps(old),  # Of an earlier version.
        *(json.dumps(old | {'edges': edges}) for edges in ([], {'item': []}, pairs)),
        json.dumps(old | {'edges': {'place': {'Complete': {}}}}),
        text.replace('"Complete"', '"Incomplete"'),
        text.replace('"directed"', '"direct"'),
        text.replace('"kind": "Numerical"', '"kind": "Ordinal"'),
        text.replace('"column": "town"', '"name": "town"'),
        text.replace('"item": [', '"items": ['),
        text.replace('"vocabulary"', '"words"'),
    ):
        assert damaged != text
        with pytest.raises(ValueError, match='not a schema in JSON'):
            FeatureSchema.from_json(damaged)
    message = (
        r"item columns \['studio', 'x', 'poster'\].*\['studio', 'genres', 'poster'\]"
    )
    with pytest.raises(ValueError, match=message):
        FeatureSchema.from_json(text.replace('"genres": [', '"x": ['))


def test_not_fitted():
    schema = FeatureSchema([Categorical('a')], [Numerical('b')], [Categorical('c')])
    frame = pd.DataFrame({'a': ['x'], 'b': ['x'], 'c': ['x']})
    with pytest.raises(ValueError, match="'b'"):
        schema.fit(dict.fromkeys(SIDES, frame))
    for use in (
        lambda: schema.encode('user', frame),
        lambda: schema.distinct('user', frame),
        lambda: schema.names(),
        lambda: schema.offsets('user'),
        lambda: schema.num_embeddings,
    ):
        with pytest.raises(RuntimeError, match='not fitted'):
            use()


@pytest.mark.parametrize(
    ('columns', 'edges', 'message'),
    [
        ([], {}, 'no item column'),
        ([Categorical('f'), Numerical('f')], {}, "item column twice: .*'f'"),
        (['f'], {}, "'f' is no item column"),
        ([Categorical(0)], {}, 'is no item column'),
        ([Categorical('f')], {'item': 'FieldPairs'}, "item edges.*'FieldPairs'"),
        ([Categorical('f')], {'items': None}, r"of user, item, context \(got 'items'\)"),
    ],
)
def test_bad_schemas(columns: list, edges: dict, message: str):
    with pytest.raises(ValueError, match=message):
        FeatureSchema([Categorical('f')], columns, [Categorical('f')], edges)


@pytest.mark.parametrize(
    ('transform', 'message'),
    [
        (FieldPairs([('film', 'studio')]), "no field 'studio'.* are: film, genres, tags"),
        (lambda data: None, 'returns no graph, but None'),
        (lambda data: data.x, 'returns no graph, but tensor'),
    ],
)
def test_transforms_that_fail(transform, message: str):
    schema = make_schema(edges={'item': transform})
    with pytest.raises(ValueError, match=message):
        build(TABLES, schema)
    assert schema.vocabulary is None
