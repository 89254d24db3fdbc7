"""Datasets whose graphs have edges and vectors of their own: samples, changes, files."""

from __future__ import annotations

import json

import pytest
import torch
from cinema import DIRECTED, EDGES, FIELDS, WEIGHTED, Nothing, make_cinema
from compare import assert_same_data
from torch_geometric.data import Batch

from iedr_geo.data import FeatureGraphs, InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.transforms import FieldPairs, RemoveSelfLoops

pytestmark = pytest.mark.filterwarnings('ignore:.*graphs have no edges')
every_kind = pytest.mark.parametrize('edges', EDGES)


def assert_same_graphs(one: FeatureGraphs, two: FeatureGraphs) -> None:
    assert (one.edges is None) == (two.edges is None)
    every = torch.arange(len(one))
    assert_same_data(one.batch(every), two.batch(every))


def assert_same_dataset(one: InteractionDataset, two: InteractionDataset) -> None:
    assert len(one) == len(two)
    for i in range(len(one)):
        assert_same_data(one[i], two[i])
    for side in FIELDS:
        assert_same_graphs(getattr(one, f'{side}s'), getattr(two, f'{side}s'))


@every_kind
def test_edges_from_the_start_or_later(edges):
    drawn, later = make_cinema(EDGES[edges]), make_cinema().with_edges(**EDGES[edges])
    assert drawn.schema.edges == later.schema.edges == EDGES[edges]
    # Whatever there was before, and new tables too.
    plain = make_cinema(WEIGHTED).with_edges(**dict.fromkeys(FIELDS))
    assert_same_dataset(plain, make_cinema())
    for dataset in (later, plain.with_edges(**EDGES[edges])):
        assert_same_dataset(dataset, drawn)
        contexts = dataset.schema.encode('context', dataset.context_frame)
        assert_same_graphs(contexts, drawn.contexts)


@every_kind
def test_batches_of_samples(edges, device):
    dataset = make_cinema(EDGES[edges])
    rows = [3, 0, 7, 7, 1]
    part = dataset.to(device)[rows]
    batch = InteractionBatch.from_ids(part, part.user, part.item, part.context, part.y)
    samples = [dataset[i] for i in rows]
    follow = [f'x_{side}' for side in FIELDS]
    expected = Batch.from_data_list(samples, follow_batch=follow)
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
    with pytest.raises(ValueError, match=r"of user, item, context \(got 'items'\)"):
        dataset.with_edges(items=None)


def test_graphs_without_edges_are_told_of():
    for transform, count, side in (
        (EDGES['some without']['item'], '3 of 5', 'item'),
        (Nothing(), '4 of 4', 'user'),
    ):
        with pytest.warns(UserWarning, match=f'{count} {side} graphs have no edges'):
            make_cinema().with_edges(**{side: transform})


@every_kind
def test_file(edges, tmp_path):
    dataset = make_cinema(EDGES[edges])
    dataset.save(tmp_path / 'dataset.pt')
    loaded = InteractionDataset.load(tmp_path / 'dataset.pt')
    assert_same_dataset(loaded, dataset)
    assert loaded.schema.to_json() == dataset.schema.to_json()
    if edges in ('own', 'none'):
        message = r'built by (Chain|Nothing)\(\).*give it again'
        with pytest.raises(RuntimeError, match=message):
            loaded.schema.encode('context', loaded.context_frame)
        loaded = loaded.with_edges(**EDGES[edges])
        assert_same_dataset(loaded, dataset)
    contexts = loaded.schema.encode('context', loaded.context_frame)
    assert_same_graphs(contexts, dataset.contexts)


def test_to_networkx():
    """Edges carry their weights, from source to target."""
    graph = make_cinema(DIRECTED)[0].to_networkx()
    edges = {
        (one, two, weight)
        for (side, one), (_, two), weight in graph.edges(data='weight')
        if side == 'user'
    }
    assert edges == {(2, 0, 1.0), (1, 0, 2.0)}
    complete = make_cinema()[0].to_networkx()
    assert {weight for *_, weight in complete.edges(data='weight')} == {1.0}
