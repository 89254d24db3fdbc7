"""Planted data must follow their own truth: draws, factors, features."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from iedr_geo.datasets import planted
from iedr_geo.datasets.planted import CONTEXTS, MIN_RECORDS, Planted, plant

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
    factor = factor.reshape(len(factor), -1).astype(float)
    total = ((factor - factor.mean(axis=0)) ** 2).sum()
    codes = pd.factorize(feature)[0]
    within = sum(
        ((part - part.mean(axis=0)) ** 2).sum()
        for part in (factor[codes == code] for code in np.unique(codes))
    )
    return float(1 - within / total)


def test_same_seed_same_data() -> None:
    one, two = (plant(30, 20, 500, seed=7) for _ in range(2))
    for table in ('users', 'items', 'interactions'):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(two, table))
    for name, value in vars(one.factors).items():
        assert np.array_equal(value, getattr(two.factors, name)), name


def test_other_seed_other_data() -> None:
    one, two = (plant(30, 20, 500, seed=seed) for seed in (0, 1))
    for table in ('users', 'items', 'interactions'):
        assert not getattr(one, table).equals(getattr(two, table))
    assert not np.array_equal(one.factors.tastes, two.factors.tastes)
    assert not np.array_equal(one.factors.function_need, two.factors.function_need)


def test_tables_belong_together(data: Planted) -> None:
    assert (len(data.users), len(data.items)) == (500, 300)
    assert len(data.interactions) == 20_000
    assert data.users['user'].is_unique
    assert data.items['item'].is_unique
    assert data.interactions['user'].isin(data.users['user']).all()
    assert data.interactions['item'].isin(data.items['item']).all()
    assert data.context_columns == tuple(CONTEXTS)
    for name, values in CONTEXTS.items():
        assert set(data.interactions[name]) == set(values)
    assert not any(
        table.isna().any(axis=None)
        for table in (data.users, data.items, data.interactions)
    )
    assert data.items['price'].dtype == float
    assert (data.items['price'] > 0).all()
    for tags in data.items['tags']:
        assert isinstance(tags, list)
        assert 1 <= len(tags) <= 3
        assert len(set(tags)) == len(tags)
    assert set(data.items['tags'].map(len)) == {1, 2, 3}


def test_activity_is_skewed_above_a_minimum(data: Planted) -> None:
    counts = data.interactions['user'].value_counts()
    assert len(counts) == len(data.users)
    assert counts.min() >= MIN_RECORDS
    assert counts.mean() > counts.median()


@pytest.mark.parametrize(
    'sizes', [(1, 2, MIN_RECORDS), (5, 2, 5 * MIN_RECORDS), (1, 40, 5000)]
)
def test_smallest_sizes(sizes: tuple[int, int, int]) -> None:
    data = plant(*sizes)
    assert (len(data.users), len(data.items), len(data.interactions)) == sizes
    assert data.interactions['user'].value_counts().min() >= MIN_RECORDS


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


def test_intrinsic_is_distance_to_the_nearer_anchor(data: Planted) -> None:
    known = data.factors
    users = np.arange(50)
    scores = data.intrinsic_scores(users[:, None], np.arange(300))
    anchors = known.tastes[:, known.user_taste[users]]
    away = np.linalg.norm(anchors[:, :, None] - known.item_position, axis=-1)
    away = away.min(axis=0)
    for row in range(50):
        assert (np.diff(scores[row, np.argsort(away[row])]) <= 0).all()
    assert scores.min() >= 0
    assert scores.max() <= known.intrinsic_weight


def test_extrinsic_varies_with_context_and_averages_to_zero(data: Planted) -> None:
    contexts = every_context()
    catalogue = np.arange(len(data.items))
    for user in range(20):
        users = np.full((len(contexts), 1), user)
        extrinsic = data.extrinsic_scores(users, catalogue, contexts)
        assert extrinsic.shape == (len(contexts), len(catalogue))
        assert (extrinsic.std(axis=0) > 0).all()
        assert np.abs(extrinsic.mean(axis=0)).max() < 1e-9
        # The intrinsic part of the sum is the same in every context.
        rest = data.scores(users, catalogue, contexts) - extrinsic
        assert np.allclose(rest, rest[0])
        stable = data.intrinsic_scores(users[:1], catalogue) + data.factors.popularity
        assert np.allclose(rest, stable)


@pytest.mark.parametrize(('one', 'other'), [('daytime', 'place'), ('weekday', 'company')])
def test_context_fields_interact(data: Planted, one: str, other: str) -> None:
    """Second differences over two fields vanish if and only if they add up."""
    grid = pd.DataFrame(
        itertools.product(CONTEXTS[one], CONTEXTS[other]), columns=[one, other]
    )
    for name, values in CONTEXTS.items():
        if name not in grid:
            grid[name] = values[0]
    shape = len(CONTEXTS[one]), len(CONTEXTS[other])
    bent = []
    for user, item in itertools.product(range(10), range(20)):
        users, items = np.full(len(grid), user), np.full(len(grid), item)
        table = data.extrinsic_scores(users, items, grid).reshape(shape)
        bent.append(np.abs(np.diff(np.diff(table, axis=0), axis=1)).max())
    assert np.mean(np.array(bent) > 0.1) > 0.5


def test_users_differ_in_the_same_context(data: Planted) -> None:
    users = np.arange(len(data.users))[:, None]
    context = every_context().iloc[[17] * len(users)]
    extrinsic = data.extrinsic_scores(users, np.arange(300), context)
    assert len(np.unique(extrinsic, axis=0)) == len(users)
    # Segments want different things; sensitivity alone would keep the order.
    assert len(np.unique(extrinsic.argmax(axis=1))) > 1
    intrinsic = data.intrinsic_scores(users, np.arange(300))
    assert len(np.unique(intrinsic, axis=0)) == len(users)


def test_meeting_a_need_scores_best(data: Planted) -> None:
    known = data.factors
    contexts = every_context()
    for user in range(20):
        segment = known.user_segment[user]
        scores = data.extrinsic_scores(
            np.full((len(contexts), 1), user), np.arange(300), contexts
        )
        for row in range(0, len(contexts), 37):
            daytime, weekday, place, company = (
                CONTEXTS[name].index(contexts[name][row]) for name in CONTEXTS
            )
            function = known.function_need[segment, daytime, place]
            tier = known.tier_need[segment, int(weekday >= 5), company]
            meets = (known.item_function == function) & (known.item_tier == tier)
            if meets.any():
                assert scores[row, meets].min() > scores[row, ~meets].max()


def test_probabilities_are_the_softmax_of_the_scores(data: Planted) -> None:
    records = data.interactions.iloc[:200:10]
    users, _ = rows_of(data, records)
    chances = data.probabilities(users, records)
    assert np.allclose(chances.sum(axis=1), 1)
    scores = data.scores(users[:, None], np.arange(300), records)
    ratio = np.log(chances[:, 1:] / chances[:, :-1])
    assert np.allclose(ratio * data.factors.temperature, np.diff(scores, axis=1))


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


@pytest.mark.parametrize('temperature', [1.0, 0.2])
@pytest.mark.parametrize('max_tastes', [2, 9])
@pytest.mark.parametrize('bound', [1, planted._CELLS])
def test_choices_follow_the_probabilities(
    monkeypatch: pytest.MonkeyPatch, bound: int, max_tastes: int, temperature: float
) -> None:
    """Counts of one (user, context) are multinomial with the true chances."""
    monkeypatch.setattr(planted, '_CELLS', bound)
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

    # The check has teeth: the chances of other contexts or users do not pass.
    cells = everything[:, [0, 1, 3]]
    shuffled = contexts.sample(frac=1, random_state=0)
    for wrong in (
        data.probabilities(users, shuffled),
        data.probabilities((users + 1) % 3, records),
    ):
        found, tolerance = misfit(hits, wrong, cells)
        assert found - 1 > 2 * tolerance


def test_weights_of_zero_remove_a_part() -> None:
    data = plant(
        20,
        30,
        500,
        intrinsic_weight=0,
        extrinsic_weight=0,
        popularity_weight=0,
    )
    users, _ = rows_of(data, data.interactions)
    assert np.allclose(data.probabilities(users, data.interactions), 1 / 30)


def test_shared_tastes_leave_users_distinct() -> None:
    data = plant(60, 50, 600, max_tastes=5)
    assert np.unique(data.factors.user_taste).tolist() == list(range(5))
    users = np.arange(60)[:, None]
    context = every_context().iloc[[0] * 60]
    scores = data.scores(users, np.arange(50), context)
    assert len(np.unique(scores, axis=0)) == 60


@pytest.mark.parametrize(
    ('table', 'feature', 'factor'),
    [
        ('users', 'age_group', 'taste'),
        ('users', 'occupation', 'taste'),
        ('users', 'household', 'segment'),
        ('items', 'category', 'function'),
        ('items', 'tags', 'function'),
        ('items', 'tags', 'position'),
        ('items', 'price', 'tier'),
    ],
)
def test_features_tell_something_but_not_all(
    data: Planted, table: str, feature: str, factor: str
) -> None:
    known = data.factors
    truth = {
        'taste': known.tastes[0][known.user_taste],
        'segment': np.eye(3)[known.user_segment],
        'function': np.eye(8)[known.item_function],
        'position': known.item_position,
        'tier': known.item_tier,
    }[factor]
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


def gains(scores: Array) -> Array:
    """Return NDCG@10 per row of the candidate in the first column."""
    # Items of one function and tier tie in the extrinsic scores: rank midway.
    rank = (np.sign(scores[:, 1:] - scores[:, :1]) + 1).sum(axis=1) / 2
    return np.where(rank < 10, 1 / np.log2(rank + 2), 0)


def test_each_part_of_the_oracle_helps_and_popularity_does_not_suffice() -> None:
    results: dict[str, list[Array]] = {}
    for seed in range(3):
        data = plant(seed=seed)
        users, items = rows_of(data, data.interactions)
        last = data.interactions.groupby('user', sort=False).tail(1).index.to_numpy()
        seen = np.delete(items, last)
        rng = np.random.default_rng(seed)
        drawn = np.stack([rng.permutation(299)[:99] for _ in last])
        true = items[last][:, None]
        candidates = np.column_stack([true, drawn + (drawn >= true)])
        who = users[last][:, None]
        context = data.interactions.loc[last]
        for name, scores in (
            ('oracle', data.scores(who, candidates, context)),
            ('intrinsic', data.intrinsic_scores(who, candidates)),
            ('extrinsic', data.extrinsic_scores(who, candidates, context)),
            ('popularity', np.bincount(seen, minlength=300)[candidates]),
            ('chance', rng.random(candidates.shape)),
        ):
            results.setdefault(name, []).append(gains(scores))
    gain = {name: np.concatenate(parts) for name, parts in results.items()}
    for better, worse in (
        ('oracle', 'intrinsic'),
        ('oracle', 'extrinsic'),
        ('intrinsic', 'popularity'),
        ('extrinsic', 'popularity'),
        ('popularity', 'chance'),
    ):
        lead = gain[better] - gain[worse]
        error = lead.std() / np.sqrt(len(lead))
        assert lead.mean() > 5 * error, (better, worse)
    # What the data are made for: room to err above, and a task to learn below.
    assert 0.7 < gain['oracle'].mean() < 0.85
    assert gain['popularity'].mean() < 0.35


def test_both_parts_matter_alike(data: Planted) -> None:
    rng = np.random.default_rng(0)
    users, items = rng.integers(500, size=20_000), rng.integers(300, size=20_000)
    contexts = data.interactions.sample(frac=1, random_state=0)
    intrinsic = data.intrinsic_scores(users, items).var()
    extrinsic = data.extrinsic_scores(users, items, contexts).var()
    popularity = data.factors.popularity.var()
    total = intrinsic + extrinsic + popularity
    assert 0.3 < intrinsic / total < 0.7
    assert 0.3 < extrinsic / total < 0.7
    assert popularity < min(intrinsic, extrinsic)


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
    with pytest.raises(ValueError, match=f'{name} .*{value}'):
        plant(**{name: value})  # type: ignore[arg-type]


def test_bad_contexts_are_named(data: Planted) -> None:
    contexts = every_context().iloc[:2]
    with pytest.raises(ValueError, match='2 rows for 3 users'):
        data.extrinsic_scores(np.arange(3), np.arange(3), contexts)
    with pytest.raises(ValueError, match="place has no value 'moon'"):
        data.extrinsic_scores(
            np.arange(2), np.arange(2), contexts.assign(place=['home', 'moon'])
        )
