"""Datasets whose graphs have edges and vectors of their own: samples, changes, files."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from cinema import DIRECTED, EDGES, FIELDS, WEIGHTED, Nothing, make_cinema
from compare import assert_same_data
from torch_geometric.data import Batch
from torch_geometric.transforms import Compose

from iedr_geo.data import FeatureSchema, InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.transforms import Complete, FieldPairs, RemoveSelfLoops

pytestmark = pytest.mark.filterwarnings('ignore:.*graphs have no edges')
FOLLOW = [f'x_{side}' for side in FIELDS]


def assert_same_dataset(one: InteractionDataset, two: InteractionDataset) -> None:
    assert len(one) == len(two)
    for i in range(len(one)):
        assert_same_data(one[i], two[i])
    for side in FIELDS:
        graphs = getattr(one, f'{side}s'), getattr(two, f'{side}s')
        assert (graphs[0].edges is None) == (graphs[1].edges is None)


@pytest.mark.parametrize('edges', EDGES)
def test_edges_from_the_start_or_later(edges):
    drawn, later = make_cinema(EDGES[edges]), make_cinema().with_edges(**EDGES[edges])
    assert_same_dataset(drawn, later)
    assert drawn.schema.edges == later.schema.edges == EDGES[edges]
    # Whatever there was before, and new tables too.
    again = make_cinema(WEIGHTED).with_edges(**dict.fromkeys(FIELDS))
    assert_same_dataset(again, make_cinema())
    again = again.with_edges(**EDGES[edges])
    assert_same_dataset(again, drawn)
    context = again.schema.encode('context', again.context_frame)
    for i in range(len(context)):
        assert_same_data(context[i], drawn.contexts[i])


@pytest.mark.parametrize('edges', EDGES)
def test_batches_of_samples(edges, device):
    dataset = make_cinema(EDGES[edges])
    rows = [3, 0, 7, 7, 1]
    part = dataset.to(device)[rows]
    batch = InteractionBatch.from_ids(part, part.user, part.item, part.context, part.y)
    samples = [dataset[i] for i in rows]
    expected = Batch.from_data_list(samples, follow_batch=FOLLOW)
    assert_same_data(batch.expand().cpu(), expected)
    for data, sample in zip(batch.expand().cpu().to_data_list(), samples, strict=True):
        assert_same_data(data, sample)


def test_other_sides_stay_as_they_are():
    dataset = make_cinema(DIRECTED)
    changed = dataset.with_edges(item=RemoveSelfLoops())
    assert changed.users is dataset.users and changed.contexts is dataset.contexts
    assert list(changed.schema.edges) == list(FIELDS)
    assert isinstance(changed.schema.edges['item'], RemoveSelfLoops)
    assert isinstance(dataset.schema.edges['item'], FieldPairs)  # As it was.
    assert changed.schema.vocabulary == dataset.schema.vocabulary
    none = changed.with_edges(item=None)
    assert none.items.edges is None and list(none.schema.edges) == ['user', 'context']
    assert 'null' not in json.dumps(json.loads(none.schema.to_json())['edges'])


@pytest.mark.parametrize('transform', [None, RemoveSelfLoops()])
def test_no_such_side(transform: Any):
    with pytest.raises(ValueError, match=r"of user, item, context \(got 'items'\)"):
        make_cinema().with_edges(items=transform)
    with pytest.raises(ValueError, match=r"of user, item, context \(got 'items'\)"):
        make_cinema({'items': transform})


def test_no_such_field():
    with pytest.raises(
        ValueError, match=r"no field 'studio' \(there are: town, age, taste"
    ):
        make_cinema({'user': FieldPairs([('studio', 'town')])})


def test_graphs_without_edges_are_told_of():
    few = EDGES['some without']['item']
    with pytest.warns(UserWarning, match='3 of 5 item graphs have no edges'):
        changed = make_cinema().with_edges(item=few)
    assert (changed.items.edges.ptr.diff() == 0).sum() == 3
    with pytest.warns(UserWarning, match='4 of 4 user graphs have no edges'):
        make_cinema().with_edges(user=Nothing())


@pytest.mark.parametrize('edges', EDGES)
def test_file(edges, tmp_path):
    dataset = make_cinema(EDGES[edges])
    dataset.save(tmp_path / 'dataset.pt')
    loaded = InteractionDataset.load(tmp_path / 'dataset.pt')
    assert_same_dataset(loaded, dataset)
    assert loaded.schema.to_json() == dataset.schema.to_json()
    if edges in ('own', 'none'):
        with pytest.raises(
            RuntimeError, match=r'built by (Chain|Nothing)\(\).*give it again'
        ):
            loaded.schema.encode('context', loaded.context_frame)
        loaded = loaded.with_edges(**EDGES[edges])
        assert_same_dataset(loaded, dataset)
    context = loaded.schema.encode('context', loaded.context_frame)
    for i in range(len(context)):
        assert_same_data(context[i], dataset.contexts[i])


def test_to_networkx():
    """Edges carry their weights, from source to target."""
    graph = make_cinema(DIRECTED)[0].to_networkx()
    edges = {
        (one, two, data['weight'])
        for (side, one), (_, two), data in graph.edges(data=True)
        if side == 'user'
    }
    assert edges == {(2, 0, 1.0), (1, 0, 2.0)}
    complete = make_cinema()[0].to_networkx()
    assert {weight for *_, weight in complete.edges(data='weight')} == {1.0}


def test_json_of_a_schema():
    composed = {side: Compose([t, RemoveSelfLoops()]) for side, t in WEIGHTED.items()}
    schema = make_cinema({**composed, 'user': Complete()}).schema
    copied = FeatureSchema.from_json(schema.to_json())
    assert copied.to_json() == schema.to_json()
    text = schema.to_json()
    old = json.loads(text)
    del old['edges']
    for damaged in (
        json.dumps(old),  # Of an earlier version.
        text.replace('"Complete"', '"Incomplete"'),
        text.replace('"directed"', '"direct"'),
        json.dumps(old | {'edges': []}),
        json.dumps(old | {'edges': {'item': []}}),
        json.dumps(old | {'edges': {'item': {'FieldPairs': {'pairs': []}}}}),
        json.dumps(old | {'edges': {'place': {'Complete': {}}}}),
    ):
        assert damaged != text
        with pytest.raises(ValueError, match='not a schema in JSON'):
            FeatureSchema.from_json(damaged)


def test_fields_of_rows():
    dataset = make_cinema()
    for side, names in FIELDS.items():
        graphs, offsets = getattr(dataset, f'{side}s'), dataset.schema.offsets(side)
        fields = dataset.schema.fields_of(side, graphs.x)
        rows = {x for name in names for x in (offsets[name], offsets[name] + 1)}
        assert {int(dataset.schema.fields_of(side, torch.tensor(x))) for x in rows} == {
            0,
            1,
            2,
        }
        for x, field in zip(graphs.x.tolist(), fields.tolist(), strict=True):
            assert offsets[names[field]] <= x
            assert field == 2 or x < offsets[names[field + 1]]
