"""Recommenders of graphs with edges, vectors and times of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from cinema import DIRECTED, EDGES, FILMS, GUESTS, Chain, make_cinema
from pandas.testing import assert_frame_equal
from shop import every_triple, make_model, parts_of

from iedr_geo.data import (
    Categorical,
    DateTime,
    FeatureSchema,
    InteractionDataset,
    Vector,
)
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender, UnknownValueWarning
from iedr_geo.transforms import FieldPairs

pytestmark = [
    pytest.mark.filterwarnings('ignore:.*graphs have no edges'),
    # Without edges, it has none but zeros.
    pytest.mark.filterwarnings('ignore::iedr_geo.recommend.ContextIgnoredWarning'),
]
CONTEXT = {'time': pd.Timestamp('2024-03-02 06:45'), 'with': 'friends'}
NEW = {'studio': 't', 'genres': 'q|p', 'poster': [2.0, -1.0, 0.5]}


def make(edges: str, **kwargs: Any) -> tuple[IEDR, InteractionDataset]:
    dataset = make_cinema(EDGES[edges])
    return make_model(dataset.schema, pointwise=True, **kwargs).double(), dataset


@pytest.mark.parametrize(
    ('edges', 'encoder'), [*((name, 'sign') for name in EDGES), ('weighted', 'bi')]
)
def test_recommends_what_the_model_says(edges, encoder):
    model, dataset = make(edges, encoder=encoder)
    batch = every_triple(dataset).expand()
    sizes = dataset.num_users, dataset.num_items, dataset.num_contexts
    columns = {'score': model(batch)} | parts_of(model, batch)
    columns = {name: column.view(sizes) for name, column in columns.items()}
    recommender = Recommender(model, dataset)
    films = [str(film) for film in FILMS['film']]
    contexts = dataset.context_frame.to_dict('records')
    for user, place in ((0, 0), (0, 3), (1, 1), (2, 2), (2, 3), (3, 4)):
        guest, context = GUESTS['guest'][user], contexts[place]
        table = recommender.recommend(guest, context, 5, exclude_seen=False)
        assert sorted(table['film']) == films and table['score'].is_monotonic_decreasing
        assert {*recommender.parts, 'score'} == {*columns}
        for name, column in columns.items():
            expected = pd.Series(column[user, :, place].tolist(), films)
            wanted = expected[table['film']].to_numpy()
            np.testing.assert_allclose(table[name], wanted, atol=1e-10)


def test_new_film_with_a_vector():
    """It stands where one with the same features does, and is not warned of."""
    model, dataset = make('weighted')
    recommender = Recommender(model, dataset)
    for film, features in zip(FILMS['film'], FILMS.to_dict('records'), strict=True):
        del features['film']
        new = recommender.score(3, features, CONTEXT)
        assert new == pytest.approx(recommender.score(3, film, CONTEXT), abs=1e-10)
    other = recommender.score(3, NEW, CONTEXT)
    turned = recommender.score(3, NEW | {'poster': np.array([2.0, 1.0, 0.5])}, CONTEXT)
    assert abs(other - turned) > 1e-6
    with pytest.raises(ValueError, match="'poster' holds vectors of length 2"):
        recommender.score(3, NEW | {'poster': [1, 2]}, CONTEXT)
    guest = {'town': 'y', 'taste': torch.tensor([0.0, -7.0])}
    known = recommender.recommend(1, CONTEXT, exclude_seen=False)
    assert_frame_equal(recommender.recommend(guest, CONTEXT), known)


OWN = {'user': Chain(), 'item': Chain(), 'context': EDGES['weighted']['context']}


@pytest.mark.parametrize('edges', ['composed', 'directed', 'own'])
def test_folder(edges, tmp_path):
    model, dataset = make(edges)
    recommender = Recommender(model.float(), dataset)
    recommender.save(tmp_path / 'one')
    loaded = Recommender.load(tmp_path / 'one')
    loaded.save(tmp_path / 'two')  # As often as one likes.
    again = Recommender.load(tmp_path / 'two')
    for one in (loaded, again):
        assert_frame_equal(
            one.embeddings('item', None), recommender.embeddings('item', None)
        )
        if edges == 'own':
            with pytest.raises(RuntimeError, match='give it again'):
                one.recommend(3, CONTEXT)
            continue
        for guest in (3, 2, {'town': 'x', 'taste': [1, 2]}):
            table = recommender.recommend(guest, CONTEXT)
            assert_frame_equal(one.recommend(guest, CONTEXT), table)
        expected = recommender.explain(3, 12, CONTEXT)
        assert_frame_equal(one.explain(3, 12, CONTEXT).pairs, expected.pairs)
        assert one.score(3, NEW, CONTEXT) == recommender.score(3, NEW, CONTEXT)


def test_folder_with_a_transform_of_ones_own(tmp_path):
    """What the folder holds can be recommended; of what is new, one must be told."""
    dataset = make_cinema(OWN)
    recommender = Recommender(make_model(dataset.schema), dataset)
    recommender.save(tmp_path / 'model')
    loaded = Recommender.load(tmp_path / 'model')
    table = recommender.recommend(3, CONTEXT, exclude_seen=False)
    assert_frame_equal(loaded.recommend(3, CONTEXT, exclude_seen=False), table)
    rows = pd.DataFrame([{'guest': 1} | CONTEXT, {'guest': 7} | CONTEXT])
    assert_frame_equal(loaded.recommend_many(rows), recommender.recommend_many(rows))
    assert str(loaded.explain(3, 13, CONTEXT)) == str(recommender.explain(3, 13, CONTEXT))
    similar = recommender.similar_items(13, CONTEXT)
    assert_frame_equal(loaded.similar_items(13, CONTEXT), similar)
    for call in (
        lambda: loaded.score(3, NEW, CONTEXT),
        lambda: loaded.recommend({'town': 'x'}, CONTEXT),
        lambda: loaded.explain(3, NEW, CONTEXT),
    ):
        with pytest.raises(RuntimeError, match=r'built by Chain\(\).*give it again'):
            call()
    told = Recommender.load(tmp_path / 'model', edges=OWN)
    assert told.score(3, NEW, CONTEXT) == recommender.score(3, NEW, CONTEXT)
    with pytest.raises(ValueError, match=r"`edges` are of user, item.*\(got 'items'\)"):
        Recommender.load(tmp_path / 'model', edges={'items': OWN['item']})


@pytest.fixture(scope='module')
def timed() -> tuple[InteractionDataset, Recommender]:
    log = pd.DataFrame(
        {
            'user': [1, 2, 1, 3],
            'item': list('abca'),
            'time': ['2024-02-29 23:59', '2024-03-01 06:00', '2024-03-02 13:00', None],
        }
    )
    schema = FeatureSchema(
        [Categorical('user')],
        [Categorical('item', min_count=2)],
        [
            DateTime('time', 'hour', boundaries=(6, 12, 18)),
            DateTime('time', 'weekend'),
        ],
    )
    dataset = InteractionDataset.from_pandas(log, None, None, schema)
    return dataset, Recommender(make_model(schema), dataset)


@pytest.mark.parametrize(
    ('time', 'like'),
    [
        ('2031-07-09 22:01:02.5', '2024-02-29 23:59'),
        (pd.Timestamp('2024-02-28 18:00'), '2024-02-29 23:59'),
        (np.datetime64('2024-04-05T11:59'), '2024-03-01 06:00'),
        ('2024-03-09T17:00:00+09:00', '2024-03-02 13:00'),
        (pd.Timestamp('2024-03-10 12:00', tz='Asia/Tokyo'), '2024-03-02 13:00'),
        (pd.NaT, None),
        (float('nan'), None),
    ],
)
def test_raw_times_are_what_fields_look_at(timed, time, like):
    dataset, recommender = timed
    expected = recommender.recommend(1, {'time': like}, exclude_seen=False)
    actual = recommender.recommend(1, {'time': time}, exclude_seen=False)
    assert_frame_equal(actual, expected)
    rows = pd.DataFrame({'user': [1], 'time': [time]})
    many = recommender.recommend_many(rows, exclude_seen=False)
    assert_frame_equal(many[list(expected)], expected)
    place = dataset.context_frame['time'].tolist().index(like) if like else 3
    batch = every_triple(dataset)
    rows = (batch.user_id == 0) & (batch.context_id == place)
    scores = recommender.model(batch)[rows]
    table = actual.set_index('item')['score'][list(dataset.item_ids)]
    np.testing.assert_allclose(table, scores, atol=1e-5)


def test_many_rows_at_times_of_their_own(timed, monkeypatch):
    """A context is encoded once, however many minutes it has."""
    dataset, recommender = timed
    times = pd.date_range('2024-02-28', periods=300, freq='47min')
    rows = pd.DataFrame({'user': [1, 2, 3] * 100, 'time': times}, index=[0] * 300)
    rows.loc[rows['time'].dt.hour == 7, 'time'] = None
    encoded, encode = [], dataset.schema.encode

    def spy(side, frame):
        encoded.append(len(frame))
        return encode(side, frame)

    monkeypatch.setattr(dataset.schema, 'encode', spy)
    many = recommender.recommend_many(rows, 3, exclude_seen=False)
    hours = rows['time'].dropna()
    kinds = set(zip(hours.dt.hour // 6, hours.dt.day_of_week > 4, strict=True))
    assert encoded == [len(kinds) + 1]
    for i in range(0, 300, 37):
        one = recommender.recommend(
            rows['user'].iloc[i], {'time': rows['time'].iloc[i]}, 3, exclude_seen=False
        )
        part = many.iloc[3 * i : 3 * i + 3].reset_index(drop=True)
        assert part['item'].tolist() == one['item'].tolist()
        np.testing.assert_allclose(part['score'], one['score'], atol=1e-5)


def test_rare_values_are_unknown(timed):
    """They share the row of what is new, and a warning says so."""
    dataset, recommender = timed
    unknown = dataset.schema.offsets('item')['item']
    assert dataset.schema.vocabulary['item']['item'] == ['a']
    assert [dataset.items[i].x.item() - unknown for i in range(3)] == [2, 0, 0]
    context = {'time': '2024-03-01 06:00'}
    rare = recommender.score(1, 'b', context)
    assert (
        rare == recommender.score(1, 'c', context) != recommender.score(1, 'a', context)
    )
    for value in ('b', 'new'):
        message = f"not seen the value '{value}' of column 'item'"
        with pytest.warns(UnknownValueWarning, match=message):
            assert recommender.score(1, {'item': value}, context) == rare


def test_vectors_tell_contexts_apart():
    log = pd.DataFrame(
        {'user': [1, 2], 'item': list('ab'), 'v': [[1.0, 0.0], [0.0, 2.0]]}
    )
    schema = FeatureSchema([Categorical('user')], [Categorical('item')], [Vector('v')])
    dataset = InteractionDataset.from_pandas(log, None, None, schema)
    recommender = Recommender(make_model(schema), dataset)
    for vector in ([0.0, 3.0], (0, 1), np.array([0, 0.5])):
        score = recommender.score(1, 'b', {'v': vector})
        assert score == recommender.score(1, 'b', {'v': [0.0, 2.0]})
        assert score != recommender.score(1, 'b', {'v': [1.0, 0.0]})
    rows = pd.DataFrame(
        {'user': [1] * 4, 'v': [[0, 3], [1, 0], np.array([0.0, 1]), [1, 1]]}
    )
    many = recommender.recommend_many(rows, 1, exclude_seen=False)
    first, place = schema.distinct('context', rows)
    assert first.tolist() == [0, 1, 3] and place.tolist() == [0, 1, 0, 2]
    assert many['score'][0] == many['score'][2] != many['score'][1]


def test_directed_template_of_a_recommender():
    """The same features in the other direction are another model."""
    model, dataset = make('directed')
    turned = FieldPairs([(b, a, w) for a, b, w in DIRECTED['user'].pairs], directed=True)
    other = Recommender(model, dataset.with_edges(user=turned))
    scores = [r.score(3, 13, CONTEXT) for r in (Recommender(model, dataset), other)]
    assert abs(scores[0] - scores[1]) > 1e-6


def test_times_of_users_and_items():
    """Those who are new are described by the column, whatever fields it has."""
    users = pd.DataFrame({'user': [1, 2], 'since': ['2024-02-29', None]})
    log = pd.DataFrame({'user': [1, 2], 'item': list('ab'), 'day': list('xy')})
    schema = FeatureSchema(
        [DateTime('since', 'month'), DateTime('since', 'weekday', cyclic=True)],
        [Categorical('item')],
        [Categorical('day')],
    )
    dataset = InteractionDataset.from_pandas(log, users, None, schema)
    recommender = Recommender(make_model(schema), dataset)
    for user, since in ((1, '2001-02-22 12:00'), (2, None)):
        expected = recommender.score(user, 'a', {'day': 'x'})
        assert recommender.score({'since': since}, 'a', {'day': 'x'}) == expected
    assert recommender.score({}, 'a', {'day': 'x'}) == expected
    with pytest.raises(ValueError, match=r"no column 'since.month' \(it has: since\)"):
        recommender.score({'since.month': 'may'}, 'a', {'day': 'x'})
