"""Transforms as text: what is read draws the edges of what was written."""

import json

import pytest
from cinema import FIELDS, Chain, make_cinema
from compare import assert_same_data
from torch_geometric.transforms import Compose, ToUndirected

from iedr_geo.transforms import Complete, FieldPairs, RemoveSelfLoops
from iedr_geo.transforms.serialization import (
    OwnTransform,
    transform_from_dict,
    transform_to_dict,
)


def copy_of(transform):
    return transform_from_dict(json.loads(json.dumps(transform_to_dict(transform))))


PAIRS = FieldPairs([('studio', 'genres', 0.5), ('genres', 'genres')])


@pytest.mark.parametrize(
    'transform',
    [
        Complete(),
        RemoveSelfLoops(),
        PAIRS,
        FieldPairs([('genres', 'studio'), ('studio', 'poster', 2)], directed=True),
        Compose([PAIRS, RemoveSelfLoops()]),
        Compose([Compose([RemoveSelfLoops()]), PAIRS]),
        Compose([]),
    ],
    ids=repr,
)
def test_round_trip(transform):
    dataset = make_cinema()
    fields = dataset.schema.fields_of('item', dataset.items.x)
    one, two = (
        dataset.items.with_edges(t, field=fields, field_names=FIELDS['item'])
        for t in (transform, copy_of(transform))
    )
    assert repr(copy_of(transform)) == repr(transform)
    assert (one.edges is None) == (two.edges is None)
    for i in range(len(one)):
        assert_same_data(one[i], two[i])
    assert copy_of(RemoveSelfLoops('edge_attr')).attr == 'edge_attr'


@pytest.mark.parametrize(
    ('transform', 'name'),
    [
        (Chain(), 'Chain()'),
        (ToUndirected(), 'ToUndirected()'),
        # What a subclass does is not known, nor what has the name of another.
        (type('Fewer', (FieldPairs,), {})([('a', 'b')]), 'Fewer(1 pairs, directed=Fals'),
        (type('Twice', (Compose,), {})([PAIRS]), 'Twice'),
        (type('Complete', (Chain,), {})(), 'Complete()'),
    ],
)
def test_what_is_ones_own(transform, name):
    """Its name alone is kept, however often it is written, and where it stands."""
    copied = copy_of(copy_of(transform))
    assert isinstance(copied, OwnTransform) and copied.name.startswith(name)
    inner = copy_of(Compose([PAIRS, transform])).transforms
    assert isinstance(inner[0], FieldPairs) and isinstance(inner[1], OwnTransform)
    message = rf'(?s)built by {name.split("(")[0]}.*give it again.*Recommender\.load'
    for part in (copied, inner[1]):
        with pytest.raises(RuntimeError, match=message):
            part(make_cinema().items.batch(make_cinema().item[:1]))
