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

from iedr_geo.data import Categorical, DateTime, FeatureSchema, InteractionDataset, Vector
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
OWN = {'user': Chain(), 'item': Chain(), 'context': EDGES['weighted']['context']}


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
    recommender = Recommender(model, dataset)
    films = [str(film) for film in FILMS['film']]
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


def test_described_by_vectors():
    """A new one stands where one with the same features does, and is not warned of."""
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


@pytest.mark.parametrize('edges', ['composed', 'directed'])
def test_folder(edges, tmp_path):
    model, dataset = make(edges)
    recommender = Recommender(model.float(), dataset)
    recommender.save(tmp_path / 'one')
    Recommender.load(tmp_path / 'one').save(tmp_path / 'two')  # As often as one likes.
    loaded = Recommender.load(tmp_path / 'two')
    for guest in (3, {'town': 'x', 'taste': [1, 2]}):
        table = recommender.recommend(guest, CONTEXT)
        assert_frame_equal(loaded.recommend(guest, CONTEXT), table)
    expected = recommender.explain(3, NEW, CONTEXT)
    assert_frame_equal(loaded.explain(3, NEW, CONTEXT).pairs, expected.pairs)
    # The same features in the other direction are another model.
    if edges == 'directed':
        pairs = [(b, a, w) for a, b, w in DIRECTED['user'].pairs]
        turned = dataset.with_edges(user=FieldPairs(pairs, directed=True))
        score = Recommender(model, turned).score(3, NEW, CONTEXT)
        assert abs(score - expected.score) > 1e-6


def test_folder_with_a_transform_of_ones_own(tmp_path):
    """What the folder holds can be recommended; of what is new, one must be told."""
    dataset = make_cinema(OWN)
    recommender = Recommender(make_model(dataset.schema), dataset)
    recommender.save(tmp_path / 'one')
    Recommender.load(tmp_path / 'one').save(tmp_path / 'two')
    loaded = Recommender.load(tmp_path / 'two')
    rows = pd.DataFrame([{'guest': 1} | CONTEXT, {'guest': 7} | CONTEXT])
    calls = [
        lambda r: r.recommend_many(rows),
        lambda r: r.explain(3, 13, CONTEXT).pairs,
        lambda r: r.similar_items(13, CONTEXT),
        lambda r: r.embeddings('item', None),
    ]
    for call in calls:
        assert_frame_equal(call(loaded), call(recommender))
    for call in (
        lambda: loaded.score(3, NEW, CONTEXT),
        lambda: loaded.recommend({'town': 'x'}, CONTEXT),
        lambda: loaded.explain(3, NEW, CONTEXT),
    ):
        with pytest.raises(RuntimeError, match=r'built by Chain\(\).*give it again'):
            call()
    told = Recommender.load(tmp_path / 'two', edges=OWN)
    assert told.score(3, NEW, CONTEXT) == recommender.score(3, NEW, CONTEXT)
    with pytest.raises(ValueError, match=r"`edges` are of user, item.*\(got 'items'\)"):
        Recommender.load(tmp_path / 'two', edges={'items': OWN['item']})


@pytest.fixture(scope='module')
def timed() -> tuple[InteractionDataset, Recommender]:
    times = ['2024-02-29 23:59', '2024-03-01 06:00', '2024-03-02 13:00', None]
    log = pd.DataFrame({'user': [1, 2, 1, 3], 'item': list('abca'), 'time': times})
    schema = FeatureSchema(
        [Categorical('user')],
        [Categorical('item', min_count=2)],
        [DateTime('time', 'hour', boundaries=(6, 12, 18)), DateTime('time', 'weekend')],
    )
    dataset = InteractionDataset.from_pandas(log, None, None, schema)
    return dataset, Recommender(make_model(schema), dataset)


@pytest.mark.parametrize(
    ('time', 'context'),
    [
        ('2031-07-09 22:01:02.5', 0),
        (pd.Timestamp('2024-02-28 18:00'), 0),
        (np.datetime64('2024-04-05T11:59'), 1),
        ('2024-03-09T17:00:00+09:00', 2),
        (pd.Timestamp('2024-03-10 12:00', tz='Asia/Tokyo'), 2),
        (pd.NaT, 3),
        (float('nan'), 3),
    ],
)
def test_raw_times_are_what_fields_look_at(timed, time, context):
    dataset, recommender = timed
    batch = every_triple(dataset)
    rows = (batch.user_id == 0) & (batch.context_id == context)
    scores = recommender.model(batch)[rows]
    frame = pd.DataFrame({'user': [1], 'time': [time]})
    for table in (
        recommender.recommend(1, {'time': time}, exclude_seen=False),
        recommender.recommend_many(frame, exclude_seen=False),
    ):
        actual = table.set_index('item')['score'][list(dataset.item_ids)]
        np.testing.assert_allclose(actual, scores, atol=1e-5)


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
        user, time = rows.iloc[i]
        one = recommender.recommend(user, {'time': time}, 3, exclude_seen=False)
        part = many.iloc[3 * i : 3 * i + 3].reset_index(drop=True)
        assert part['item'].tolist() == one['item'].tolist()
        np.testing.assert_allclose(part['score'], one['score'], atol=1e-5)


def test_rare_values_are_unknown(timed):
    """They share the row of what is new, and a warning says so."""
    _, recommender = timed
    context = {'time': '2024-03-01 06:00'}
    often, rare, other = (recommender.score(1, item, context) for item in 'abc')
    assert rare == other != often
    for value in ('b', 'new'):
        message = f"not seen the value '{value}' of column 'item'"
        with pytest.warns(UnknownValueWarning, match=message):
            assert recommender.score(1, {'item': value}, context) == rare


def test_vectors_tell_contexts_apart():
    vectors = [[1.0, 0.0], [0.0, 2.0]]
    log = pd.DataFrame({'user': [1, 2], 'item': list('ab'), 'v': vectors})
    schema = FeatureSchema([Categorical('user')], [Categorical('item')], [Vector('v')])
    dataset = InteractionDataset.from_pandas(log, None, None, schema)
    recommender = Recommender(make_model(schema), dataset)
    for vector in ([0.0, 3.0], (0, 1), np.array([0, 0.5])):
        score = recommender.score(1, 'b', {'v': vector})
        assert score == recommender.score(1, 'b', {'v': [0.0, 2.0]})
        assert score != recommender.score(1, 'b', {'v': [1.0, 0.0]})
    rows = pd.DataFrame({'user': 1, 'v': [[0, 3], [1, 0], np.array([0.0, 1]), [1, 1]]})
    scores = recommender.recommend_many(rows, 1, exclude_seen=False)['score']
    assert scores[0] == scores[2] != scores[1]


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
