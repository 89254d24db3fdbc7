"""Recommenders of graphs with edges, vectors and times of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import DIRECTED, EDGES, FILMS, GUESTS, TABLES, Chain, build, make_cinema
from pandas.testing import assert_frame_equal
from shop import every_triple, make_model, parts_of

from iedr_geo.data import InteractionDataset
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender, UnknownValueWarning
from iedr_geo.transforms import FieldPairs

LOG = TABLES['log']
pytestmark = [
    pytest.mark.filterwarnings('ignore:.*graphs have no edges'),
    # Without edges, it has none but zeros.
    pytest.mark.filterwarnings('ignore::iedr_geo.recommend.ContextIgnoredWarning'),
]
CONTEXT = {'time': pd.Timestamp('2024-03-02 06:45'), 'with': 'friends'}
NEW = {'studio': 't', 'genres': 'q|p', 'poster': [2.0, -1.0, 0.5]}
OWN = {'user': Chain(), 'item': Chain(), 'context': EDGES['weighted']['context']}


def make(edges: str, **kwargs: Any) -> tuple[IEDR, InteractionDataset]:
    dataset = make_cinema(EDGES.get(edges, OWN))
    return make_model(dataset.schema, pointwise=True, **kwargs).double(), dataset


@pytest.mark.parametrize(
    ('edges', 'encoder'), [*((name, 'sign') for name in EDGES), ('weighted', 'bi')]
)
def test_recommends_what_the_model_says(edges, encoder):
    model, dataset = make(edges, encoder=encoder)
    batch = every_triple(dataset).expand()
    sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
    columns = {'score': model(batch)} | parts_of(model, batch)
    recommender = Recommender(model, dataset)
    films = FILMS['film'].tolist()
    contexts = dataset.context_frame.to_dict('records')
    assert {*recommender.parts, 'score'} == {*columns}
    for user, context in ((0, 0), (0, 3), (1, 1), (2, 2), (2, 3), (3, 4)):
        guest = GUESTS['guest'][user]
        table = recommender.recommend(guest, contexts[context], 5, exclude_seen=False)
        assert sorted(table['film']) == films and table['score'].is_monotonic_decreasing
        for name, column in columns.items():
            expected = pd.Series(column.view(sizes)[user, :, context].tolist(), films)
            wanted = expected[table['film']].to_numpy()
            np.testing.assert_allclose(table[name], wanted, atol=1e-10)


def test_described_by_columns():
    """A new one stands where one with the same features does, and is not warned of."""
    model, dataset = make('weighted')
    recommender = Recommender(model, dataset)
    for film, features in zip(FILMS['film'], FILMS.to_dict('records'), strict=True):
        del features['film']
        new = recommender.score(3, features, CONTEXT)
        assert new == pytest.approx(recommender.score(3, film, CONTEXT), abs=1e-10)
    with pytest.raises(ValueError, match="'poster' holds vectors of length 2"):
        recommender.score(3, NEW | {'poster': [1, 2]}, CONTEXT)
    guest = {'town': 'y', 'taste': torch.tensor([0.0, -7.0])}
    known = recommender.recommend(1, CONTEXT, exclude_seen=False)
    assert_frame_equal(recommender.recommend(guest, CONTEXT), known)
    # By the column, whatever fields it has.
    dataset = build(TABLES)
    recommender, log = Recommender(make_model(dataset.schema), dataset), TABLES['log']
    context = log[['with', 'time', 'heat', 'snacks']].iloc[1]
    guest = TABLES['users'].iloc[0].to_dict() | {'joined': '2020-01-11 12:00'}
    assert recommender.score(guest, 11, context) == recommender.score(3, 11, context)
    with pytest.raises(ValueError, match=r"'joined.weekday' \(it has: guest, age, inc"):
        recommender.score({'joined.weekday': 'monday'}, 11, context)


@pytest.mark.parametrize('edges', ['weighted', 'complete'])
def test_known_by_id(edges):
    """What is not said of one in the tables is as it is there; the id is no field."""
    model, dataset = make(edges)
    recommender = Recommender(model, dataset)
    changes = [{}, {'town': 'y'}, {'age': -1.5}, {'taste': [1, 2]}, {'town': None}]
    tops = set()
    for guest, row in zip(GUESTS['guest'], GUESTS.to_dict('records'), strict=True):
        had = LOG.query('guest == @guest and liked == 1')['film']
        left = FILMS['film'][~FILMS['film'].isin(had)]
        for change in changes:
            features = {name: (row | change)[name] for name in ('town', 'age', 'taste')}
            wanted = recommender.recommend(features, CONTEXT, candidates=left)
            for one in ({'guest': guest} | change, row | change):
                assert_frame_equal(recommender.recommend(one, CONTEXT), wanted)
            tops.add(wanted['score'][0])
        assert_frame_equal(
            recommender.recommend(guest, CONTEXT), recommender.recommend(row, CONTEXT)
        )
    assert len(tops) > 8
    film = FILMS.drop(columns='film').iloc[3].to_dict() | {'genres': 'q'}
    found = recommender.score(3, {'film': 13, 'genres': 'q'}, CONTEXT)
    assert found == pytest.approx(recommender.score(3, film, CONTEXT), abs=1e-10)
    for missing in (None, np.nan, pd.NA):
        with pytest.warns(
            UnknownValueWarning, match='item table has no id (None|nan|<NA>)'
        ):
            recommender.score(3, missing, CONTEXT)


@pytest.mark.parametrize(
    'ask',
    [
        lambda r: r.recommend('Zoe', CONTEXT),
        lambda r: r.recommend({'guest': 'Zoe', 'town': 'x'}, CONTEXT),
        lambda r: r.score('Zoe', 13, CONTEXT),
        lambda r: r.recommend_many(pd.DataFrame([{'guest': 'Zoe'} | CONTEXT])),
        lambda r: r.similar_users('Zoe', CONTEXT),
    ],
)
def test_an_id_that_is_no_field_and_not_in_the_table(ask):
    recommender = Recommender(*make('complete'))
    with pytest.warns(
        UnknownValueWarning, match="user table has no id 'Zoe' in .*'guest'"
    ):
        ask(recommender)


@pytest.mark.parametrize('edges', ['composed', 'directed', 'ours'])
def test_folder(edges, tmp_path):
    """Of what is new, one must be told by which transform of one's own it is built."""
    model, dataset = make(edges)
    recommender = Recommender(model, dataset)
    recommender.save(tmp_path / 'one')
    Recommender.load(tmp_path / 'one').save(tmp_path / 'two')  # As often as one likes.
    loaded = Recommender.load(tmp_path / 'two')
    rows = pd.DataFrame([{'guest': 1} | CONTEXT, {'guest': 7} | CONTEXT])
    stored = [
        lambda r: r.recommend_many(rows),
        lambda r: r.explain(3, 13, CONTEXT).pairs,
        lambda r: r.similar_items(13, CONTEXT),
        lambda r: r.embeddings('item', None),
    ]
    new = [
        lambda r: r.recommend({'town': 'x', 'taste': [1, 2]}, CONTEXT),
        lambda r: r.explain(3, NEW, CONTEXT).pairs,
    ]
    if edges == 'ours':
        for call in new:
            with pytest.raises(RuntimeError, match=r'built by Chain\(\).*give it again'):
                call(loaded)
        with pytest.raises(ValueError, match=r"`edges` are of user, .*\(got 'items'\)"):
            Recommender.load(tmp_path / 'two', edges={'items': Chain()})
        for call in stored:
            assert_frame_equal(call(loaded), call(recommender))
        loaded = Recommender.load(tmp_path / 'two', edges=OWN)
    for call in stored + new:
        assert_frame_equal(call(loaded), call(recommender))
    # The same features in the other direction are another model.
    if edges == 'directed':
        pairs = [(b, a, w) for a, b, w in DIRECTED['user'].pairs]
        turned = dataset.with_edges(user=FieldPairs(pairs, directed=True))
        changed = Recommender(model, turned).score(3, NEW, CONTEXT)
        assert abs(changed - recommender.score(3, NEW, CONTEXT)) > 1e-6
