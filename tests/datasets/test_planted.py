"""Planted data must follow their own truth: draws, factors, features."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from iedr_geo.datasets.planted import CONTEXTS, MAX_CELLS, MIN_RECORDS, Planted, plant

Array = NDArray[Any]


@pytest.fixture(scope='module')
def data() -> Planted:
    return plant()


def every_context() -> pd.DataFrame:
    return pd.DataFrame(itertools.product(*CONTEXTS.values()), columns=list(CONTEXTS))


def rows_of(data: Planted, records: pd.DataFrame) -> tuple[Array, Array]:
    users = pd.Index(data.users['user']).get_indexer(pd.Index(records['user']))
    items = pd.Index(data.items['item']).get_indexer(pd.Index(records['item']))
    return users, items


def explained(factor: Array, feature: Array) -> float:
    """Return the share of the variance of a factor that lies between groups."""
    values = pd.DataFrame(factor.reshape(len(factor), -1).astype(float))
    within = values - values.groupby(feature).transform('mean')
    return float(1 - within.var().sum() / values.var().sum())


def test_seed() -> None:
    one, two, other = (plant(30, 20, 500, seed=seed) for seed in (7, 7, 8))
    for table in ('users', 'items', 'interactions'):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(two, table))
        assert not getattr(one, table).equals(getattr(other, table))
    for name, value in vars(one.truth).items():
        assert np.array_equal(value, getattr(two.truth, name)), name
        if not np.isscalar(value):
            assert not np.array_equal(value, getattr(other.truth, name)), name


def test_tables_belong_together(data: Planted) -> None:
    sizes = {(500, 300, 20_000): data}
    for size in ((1, 2, MIN_RECORDS), (5, 2, 5 * MIN_RECORDS), (1, 40, 5000)):
        sizes[size] = plant(*size)
    for size, planted in sizes.items():
        tables = (planted.users, planted.items, planted.interactions)
        assert tuple(map(len, tables)) == size
        assert not any(table.isna().any(axis=None) for table in tables)
        counts = planted.interactions['user'].value_counts()
        assert len(counts) == size[0] and counts.min() >= MIN_RECORDS
    counts = data.interactions['user'].value_counts()
    assert counts.mean() > 1.1 * counts.median()  # Few users are very active.
    assert data.users['user'].is_unique and data.items['item'].is_unique
    assert 0.9 < data.truth.popularity.max() / (1.2 * math.log(100)) <= 1
    assert data.interactions['user'].isin(data.users['user']).all()
    assert data.interactions['item'].isin(data.items['item']).all()
    for name, values in CONTEXTS.items():
        assert set(data.interactions[name]) == set(values)
    assert data.items['price'].dtype == float
    assert (data.items['price'] > 0).all()
    for tags in data.items['tags']:
        assert isinstance(tags, list)
        assert 1 <= len(tags) <= 3
        assert len(set(tags)) == len(tags)
    assert set(data.items['tags'].map(len)) == {1, 2, 3}


def test_time_follows_the_calendar_and_increases() -> None:
    # More records than seconds to choose from, were they not kept apart.
    data = plant(2, 5, 200_000)
    records = data.interactions
    steps = records.groupby('user')['time'].diff().dropna()
    assert (steps > 0).all()
    assert records['user'].is_monotonic_increasing
    day = records['time'] // 86_400 % 7
    slot = records['time'] % 86_400 // (86_400 // len(CONTEXTS['daytime']))
    for name, codes in (('weekday', day), ('daytime', slot)):
        # Only a tie at the very end of a slot may move on into the next.
        agree = np.array(CONTEXTS[name])[codes] == records[name]
        assert agree.mean() > 0.999, name


def test_scores_by_their_definition(data: Planted) -> None:
    """One user, item and context at a time, of users and contexts in any order."""
    rng, truth = np.random.default_rng(0), data.truth
    users, items = rng.integers(500, size=200), rng.integers(300, size=200)
    contexts = every_context().sample(200, replace=True, random_state=0)
    intrinsic, extrinsic = [], []
    for user, item, context in zip(users, items, contexts.itertuples(), strict=True):
        away = min(
            math.dist(anchors[truth.user_taste[user]], truth.item_position[item])
            for anchors in truth.tastes
        )
        intrinsic.append(7 * math.exp(-(away**2) / (2 * 0.15**2)))
        segment = truth.user_segment[user]
        daytime, weekday, place, company = (
            values.index(getattr(context, name)) for name, values in CONTEXTS.items()
        )
        wanted = truth.function_need[segment, daytime, place]
        around = abs(truth.item_function[item] - wanted)
        fit = {0: 1, 1: 0.4, 7: 0.4}.get(around, 0) - 1.8 / 8
        tier = truth.tier_need[segment, int(weekday > 4), company]
        use, spend = truth.user_sensitivity[user]
        extrinsic.append(
            4 * (use * fit + spend * ((truth.item_tier[item] == tier) - 1 / 4))
        )
    np.testing.assert_allclose(data.intrinsic_scores(users, items), intrinsic)
    np.testing.assert_allclose(
        data.extrinsic_scores(users, items, contexts), extrinsic, atol=1e-12
    )
    expected = np.add(intrinsic, extrinsic) + truth.popularity[items]
    np.testing.assert_allclose(data.scores(users, items, contexts), expected)
    # Broadcast, and as chances of the whole catalogue.
    everything = data.scores(users[:, None], np.arange(300), contexts)
    np.testing.assert_allclose(everything[np.arange(200), items], expected)
    chances = np.exp(everything) / np.exp(everything).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(data.probabilities(users, contexts), chances)


def test_extrinsic_varies_with_context_and_averages_to_zero(data: Planted) -> None:
    contexts, catalogue = every_context(), np.arange(300)
    for user in range(20):
        users = np.full((len(contexts), 1), user)
        extrinsic = data.extrinsic_scores(users, catalogue, contexts)
        assert extrinsic.shape == (len(contexts), 300)
        assert (extrinsic.std(axis=0) > 0).all()
        assert np.abs(extrinsic.mean(axis=0)).max() < 1e-9


def test_users_differ_in_the_same_context(data: Planted) -> None:
    """Also where they share tastes."""
    for one in (data, plant(60, 50, 600, max_tastes=5)):
        size = len(one.users), len(one.items)
        users = np.arange(size[0])[:, None]
        context = every_context().iloc[[17] * size[0]]
        extrinsic = one.extrinsic_scores(users, np.arange(size[1]), context)
        assert len(np.unique(extrinsic, axis=0)) == size[0]
        # Segments want different things; sensitivity alone would keep the order.
        assert len(np.unique(extrinsic.argmax(axis=1))) > 1
        intrinsic = one.intrinsic_scores(users, np.arange(size[1]))
        tastes = np.unique(one.truth.user_taste)
        assert len(np.unique(intrinsic, axis=0)) == len(tastes)
    assert tastes.tolist() == list(range(5))
    assert len(np.unique(data.truth.user_taste)) == 500


def misfit(hits: Array, chances: Array, cells: Array) -> tuple[float, float]:
    """Return the mean squared z-score of counts by cell, and its tolerance."""
    _, cell = np.unique(cells, axis=0, return_inverse=True)
    cell = cell.ravel()  # NumPy 2.0.0 gave it a second axis
    count = cell.max() + 1
    surplus = np.zeros((count, hits.shape[1]))
    variance = np.zeros_like(surplus)
    np.add.at(surplus, cell, hits - chances)
    np.add.at(variance, cell, chances * (1 - chances))
    enough = variance >= 5
    squares = surplus[enough] ** 2 / variance[enough]
    return float(squares.mean()), float(6 * np.sqrt(2 / len(squares)))


@pytest.mark.parametrize(
    ('max_cells', 'max_tastes', 'temperature'),
    [(1, 2, 1.0), (1, 9, 0.2), (MAX_CELLS, 9, 1.0), (MAX_CELLS, 2, 0.2)],
)
def test_choices_follow_the_probabilities(
    max_cells: int, max_tastes: int, temperature: float
) -> None:
    """Counts of one (user, context) are multinomial with the true chances."""
    data = plant(
        3,
        15,
        20_000,
        seed=3,
        intrinsic_weight=2.0,
        extrinsic_weight=1.0,
        popularity_weight=0.5,
        temperature=temperature,
        max_tastes=max_tastes,
        max_cells=max_cells,
    )
    records = data.interactions
    users, items = rows_of(data, records)
    hits = np.eye(15)[items]
    chances = data.probabilities(users, records)
    contexts = records[list(CONTEXTS)]
    codes = np.stack([pd.factorize(contexts[name])[0] for name in CONTEXTS], axis=1)
    everything = np.column_stack([users, codes])
    for columns in ([0], [0, 1, 3], [0, 2, 4], [0, 1, 2, 3, 4]):
        found, tolerance = misfit(hits, chances, everything[:, columns])
        assert abs(found - 1) < tolerance, columns


def test_weights_of_zero_remove_a_part() -> None:
    data = plant(20, 30, 500, intrinsic_weight=0, extrinsic_weight=0, popularity_weight=0)
    users, _ = rows_of(data, data.interactions)
    assert np.allclose(data.probabilities(users, data.interactions), 1 / 30)


@pytest.mark.parametrize(
    ('table', 'feature', 'factor'),
    [
        ('users', 'age_group', lambda truth: truth.tastes[0][truth.user_taste, :1]),
        ('users', 'occupation', lambda truth: truth.tastes[0][truth.user_taste]),
        ('users', 'household', lambda truth: np.eye(3)[truth.user_segment]),
        ('items', 'category', lambda truth: np.eye(8)[truth.item_function]),
        ('items', 'tags', lambda truth: np.eye(8)[truth.item_function]),
        ('items', 'tags', lambda truth: truth.item_position),
        ('items', 'price', lambda truth: truth.item_tier),
    ],
)
def test_features_tell_something_but_not_all(
    data: Planted, table: str, feature: str, factor: Any
) -> None:
    truth = factor(data.truth)
    column = getattr(data, table)[feature].explode()
    values = column.to_numpy()
    if feature == 'price':
        values = pd.qcut(values, 10, labels=False)
    owner = column.index.to_numpy()
    found = explained(truth[owner], values)
    rng = np.random.default_rng(0)
    chance = [explained(rng.permutation(truth)[owner], values) for _ in range(50)]
    assert found > np.mean(chance) + 6 * np.std(chance)
    assert found < 0.9


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('num_users', 0),
        ('num_items', 1),
        ('num_interactions', MIN_RECORDS * 500 - 1),
        ('seed', -1),
        ('intrinsic_weight', -0.5),
        ('extrinsic_weight', float('nan')),
        ('popularity_weight', float('inf')),
        ('temperature', 0.0),
        ('temperature', float('nan')),
        ('max_tastes', 0),
    ],
)
def test_bad_arguments_are_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f'`{name}` must be .*got {value}'):
        plant(**{name: value})  # type: ignore[arg-type]


def test_bad_contexts_are_named(data: Planted) -> None:
    contexts = every_context().iloc[:2]
    with pytest.raises(ValueError, match='2 rows for 3 users'):
        data.extrinsic_scores(np.arange(3), np.arange(3), contexts)
    with pytest.raises(ValueError, match="place has no value 'moon'"):
        data.extrinsic_scores(
            np.arange(2), np.arange(2), contexts.assign(place=['home', 'moon'])
        )
