"""Planted outings must follow their own truth: draws, factors, contexts."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import chi2, norm

from iedr_geo.datasets import PlantedFactors, PlantedOutings
from iedr_geo.datasets.outings import Outings, plant_outings
from iedr_geo.datasets.planting import MAX_CELLS
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.metrics import NDCG
from iedr_geo.nn import IEDR
from iedr_geo.recommend import Recommender

CONTEXTS = ['temperature', 'wind', 'time']


@pytest.fixture(scope='module')
def data() -> PlantedOutings:
    return PlantedOutings(num_users=60, num_items=40, num_interactions=1500)


def rows_of(data: Outings) -> tuple[np.ndarray, np.ndarray]:
    log = data.interactions
    return tuple(
        pd.Index(getattr(data, f'{side}s')[side]).get_indexer(pd.Index(log[side]))
        for side in ('user', 'item')
    )


def scores_of_contexts(data: Outings) -> np.ndarray:
    """Returns where in its range each context is, as a normal score."""
    log = data.interactions
    hour = (log['time'] - log['time'].dt.normalize()) / pd.Timedelta(days=1)
    ranges = (log['temperature'] + 10) / 40, (hour + 0.5 / 86_400), log['wind'] / 50
    return norm.ppf(np.stack(ranges, axis=1))


def test_seed():
    one, two, other = (plant_outings(30, 20, 500, seed=seed) for seed in (7, 7, 8))
    for name, value in vars(one).items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(value, getattr(two, name))
            assert not value.equals(getattr(other, name)), name
        elif not np.isscalar(value):
            assert np.array_equal(value, getattr(two, name)), name
            assert not np.array_equal(value, getattr(other, name)), name


def test_scores_by_their_definition():
    """One user, item and context at a time."""
    data = plant_outings(30, 20, 500, intrinsic_weight=3.0, extrinsic_weight=0.5)
    rng = np.random.default_rng(0)
    users, items = rng.integers(30, size=200), rng.integers(20, size=200)
    contexts = data.interactions[CONTEXTS].sample(200, random_state=0)
    intrinsic, extrinsic = [], []
    grid = (np.arange(40_000) + 0.5) / 40_000
    for user, item, context in zip(users, items, contexts.itertuples(), strict=True):
        topic, best = data.item_topic[item], 0.0
        for worth, interest in zip((1, 0.8, 0.6), data.user_interests[user], strict=True):
            path, other = (
                [(t // 9,), (t // 9, t // 3), (t // 9, t // 3, t)]
                for t in (topic, interest)
            )
            best = max(best, worth * len({*path} & {*other}) / 3)
        excess = max(0, data.item_cost[item] - data.user_budget[user])
        intrinsic.append(3 * (best - excess))

        def fit(warmth, hour, wind, item=item):
            late = np.abs(hour - data.item_hour[item])
            late = np.minimum(late, 24 - late) / 6
            away = np.abs(warmth - data.item_temperature[item]) / 12
            too_windy = np.maximum(0, wind - data.item_wind[item]) / 20
            return np.maximum(0, 1 - away), np.maximum(0, 1 - late), -too_windy

        time = context.time
        hour = time.hour + time.minute / 60 + time.second / 3600
        here = fit(context.temperature, hour, context.wind)
        # What is typical, by adding up contexts that are equally common.
        typical = [one.mean() for one in fit(40 * grid - 10, 24 * grid, 50 * grid)]
        gain = [a - b for a, b in zip(here, typical, strict=True)]
        extrinsic.append(0.5 * np.dot(data.user_minds[user], gain))
    np.testing.assert_allclose(data.intrinsic_scores(users, items), intrinsic, atol=1e-12)
    found = data.extrinsic_scores(users, items, contexts)
    np.testing.assert_allclose(found, extrinsic, atol=1e-6)
    expected = np.add(intrinsic, extrinsic) + data.item_appeal[items]
    everything = data.scores(users[:, None], np.arange(20), contexts)
    np.testing.assert_allclose(everything[np.arange(200), items], expected, atol=1e-6)
    with pytest.raises(ValueError, match='3 rows for 2 users'):
        data.extrinsic_scores(users[:2], items[:2], contexts[:3])


@pytest.mark.parametrize('correlation', [0.0, 0.5])
def test_extrinsic_averages_to_zero_over_the_log(correlation):
    """Of every user and item, over the contexts of all users: they are uniform, however
    they belong to users.
    """
    data = plant_outings(1000, 10, 20_000, correlation=correlation)
    log = data.interactions
    for user in range(3):
        rows = np.full((len(log), 1), user)
        extrinsic = data.extrinsic_scores(rows, np.arange(10), log)
        assert (extrinsic.std(axis=0) > 0.1).all()
        # Contexts of a user are no independent draws; users are.
        means = pd.DataFrame(extrinsic).groupby(log['user'].to_numpy()).sum()
        error = means.std() * math.sqrt(len(means)) / len(log)
        assert (np.abs(extrinsic.mean(axis=0)) < 4.5 * error).all()


@pytest.mark.parametrize('max_cells', [1000, MAX_CELLS])
def test_choices_follow_the_probabilities(max_cells):
    """Choices, repeats and noise each have the law that is stated."""
    shares = {'repeat': 0.3, 'noise': 0.2}
    data = plant_outings(
        3,
        12,
        6_000,
        seed=3,
        intrinsic_weight=2.0,
        extrinsic_weight=1.0,
        max_cells=max_cells,
        **shares,
    )
    users, items = rows_of(data)
    chances = data.probabilities(users, data.interactions)
    assert np.allclose(chances.sum(axis=1), 1)
    exact = {'choice': chances, 'noise': np.full_like(chances, 1 / 12)}
    warm = data.interactions['temperature'].to_numpy() > 10
    early = data.interactions['time'].dt.hour.to_numpy() < 12
    for origin, expected in exact.items():
        squares, cells = 0.0, 0
        for user in range(3):
            for group in range(4):
                rows = (users == user) & (2 * warm + early == group)
                rows &= data.origin == origin
                hits = np.bincount(items[rows], minlength=12)
                variance = (expected * (1 - expected))[rows].sum(axis=0)
                enough = variance > 5
                gap = hits - expected[rows].sum(axis=0)
                squares += (gap[enough] ** 2 / variance[enough]).sum()
                cells += enough.sum()
        assert cells > 60 and abs(squares / cells - 1) < 6 * math.sqrt(2 / cells)
    # The truth of choices is not that of noise.
    assert chances.std(axis=1).mean() > 0.05


def test_shares():
    data = plant_outings(100, 50, 20_000, repeat=0.3, noise=0.2)
    for origin, share in (('repeat', 0.3), ('noise', 0.2), ('choice', 0.5)):
        found = (data.origin == origin).mean()
        assert abs(found - share) < 5 * math.sqrt(share / 20_000) + 100 / 20_000
    users, items = rows_of(data)
    had: set[tuple[int, int]] = set()
    for user, item, origin in zip(users, items, data.origin, strict=True):
        assert origin != 'repeat' or (user, item) in had
        had.add((user, item))
    # Without repeats and noise, all are choices; with repeats alone, one item a user.
    assert {*plant_outings(9, 20, 200, repeat=0, noise=0).origin} == {'choice'}
    users, items = rows_of(plant_outings(9, 20, 200, repeat=1, noise=0))
    assert len({*zip(users, items, strict=True)}) == 9


def test_noise_alone_is_uniform():
    _, items = rows_of(plant_outings(50, 40, 20_000, repeat=0, noise=1))
    counts = np.bincount(items, minlength=40)
    squares = ((counts - 500) ** 2 / 500).sum()
    assert chi2.ppf(1e-4, 39) < squares < chi2.ppf(1 - 1e-4, 39)


@pytest.mark.parametrize('correlation', [0.0, 0.6, 1.0])
def test_users_and_contexts_are_correlated_as_asked(correlation):
    data = plant_outings(1000, 10, 20_000, correlation=correlation)
    users, _ = rows_of(data)
    scores = scores_of_contexts(data)
    assert abs(scores.mean()) < 0.1 and abs(scores.std() - 1) < 0.05
    for field in range(3):
        found = np.corrcoef(scores[:, field], data.user_home[users, field])[0, 1]
        assert abs(found - correlation) < 0.03
        others = np.corrcoef(scores[:, field], data.user_home[users, field - 1])[0, 1]
        assert abs(others) < 0.1
    # Within users varies what is left: at 0, as much as of rows that are no one's.
    table = pd.DataFrame(scores)
    within = (table - table.groupby(users).transform('mean')).var()
    np.testing.assert_allclose(within, (1 - correlation**2) * 0.95, atol=0.03)


def test_dataset(data):
    """Rows are those of the tables, and so are their true scores."""
    log = data.planted.interactions
    assert (data.num_users, data.num_items, len(data)) == (60, 40, 1500)
    assert data.user_ids[data.user.numpy()].tolist() == log['user'].tolist()
    assert data.item_ids[data.item.numpy()].tolist() == log['item'].tolist()
    users, items = rows_of(data.planted)
    expected = data.planted.scores(users, items, log)
    scores = data.true_scores(data.user, data.item, data.context)
    assert torch.equal(sum(scores), torch.from_numpy(expected))
    assert not data.exclude_seen
    train, valid, test, order = data.split()
    assert order == 'time' and (len(train), len(valid), len(test)) == (1380, 60, 60)
    # A context of one's own may hold any numbers.
    recommender = Recommender(IEDR(data.schema.num_embeddings, 4).eval(), data)
    context = {'temperature': 21.5, 'wind': 3, 'time': '2024-06-01T12:30'}
    assert len(recommender.recommend('u3', context, k=5)) == 5


def test_oracle():
    """Both parts help, and popularity does not suffice."""
    gain = {}
    data = PlantedOutings()
    train, _, test, _ = data.split()
    lists = data.candidates('test')
    counts = torch.bincount(train.item, minlength=data.num_items).double()

    def scores(batch):
        return data.true_scores(batch.user_id, batch.item_id, batch.context_id)

    for name, model in {
        'oracle': lambda batch: sum(scores(batch)),
        'intrinsic': lambda batch: scores(batch).intrinsic,
        'extrinsic': lambda batch: scores(batch).extrinsic,
        'popularity': lambda batch: counts[batch.item_id],
    }.items():
        result = evaluate_candidates(model, test, lists, [NDCG(10)])
        gain[name] = result.metrics['ndcg@10']
    assert 0.65 < gain['oracle'] < 0.85 and gain['popularity'] < 0.3
    for part in ('intrinsic', 'extrinsic'):
        assert gain['oracle'] - 0.15 > gain[part] > gain['popularity'] + 0.1


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('num_users', 0),
        ('num_items', 1),
        ('num_interactions', 3999),
        ('seed', -1),
        ('intrinsic_weight', -0.5),
        ('extrinsic_weight', math.nan),
        ('popularity_weight', math.inf),
        ('correlation', 1.1),
        ('repeat', -0.1),
        ('noise', 0.95),
    ],
)
def test_bad_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=f'`{name}` must be from .*got {value}'):
        PlantedOutings(**{name: value})


def test_worlds_share_their_shape():
    """What serves one serves the other."""
    one, two = PlantedFactors(10, 8, 100), PlantedOutings(10, 8, 100)
    rows = torch.arange(3)
    for data in (one, two):
        scores = data.true_scores(rows, rows, rows)
        assert scores._fields == ('intrinsic', 'extrinsic', 'popularity')
        assert len(data.candidates('valid', 5)) == 10
