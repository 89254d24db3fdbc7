"""Negatives: never what is excluded, and everything else alike."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from clicks import columns, edges
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from iedr_geo.data import (
    BipartiteGraph,
    PopularityMarginSampler,
    PopularityNegativeSampler,
    UniformNegativeSampler,
)

NUM_ITEMS = 9


def build(has, popularity=(1,) * NUM_ITEMS, device='cpu', **arguments):
    """Returns the graph of users that have some items each."""
    user, item = columns((u, i) for u, items in enumerate(has) for i in items)
    size = len(has), len(popularity)
    arguments['popularity'] = torch.tensor(popularity)
    return BipartiteGraph(user, item, *size, **arguments).to(device)


def sample(sampler, graph, positives, seed=0):
    """Returns the negatives of pairs of user and item."""
    user, item = (ids.contiguous().to(graph.device) for ids in columns(positives))
    generator = torch.Generator(graph.device).manual_seed(seed)
    negatives = sampler.sample(graph, user, item, generator)
    assert negatives.dtype == torch.long and negatives.device == graph.device
    assert negatives.shape == (len(user), sampler.num_negatives)
    return list(map(tuple, negatives.tolist()))


def check_law(drawn, law):
    """Checks draws against the probability of each value that there is."""
    assert abs(sum(law.values()) - 1) < 1e-9
    count = Counter(drawn)
    assert set(count) <= {value for value, share in law.items() if share > 0}
    observed = [count[value] for value in law]
    expected = [share * len(drawn) for share in law.values()]
    assert min(expected) > 5  # What the approximation by chi-square needs.
    if len(law) > 1:
        assert chisquare(observed, expected).pvalue > 1e-3


# Uniformly.


@given(
    st.lists(st.sets(st.integers(0, 6), min_size=1), min_size=1, max_size=4),
    st.none() | st.sets(st.integers(0, 6)),
    st.sampled_from(['positive', 'seen']),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_never_what_is_excluded(has, catalogue, exclude, number, seed):
    """Positives and what users have may exist or not; two more items are nobody's."""
    limits, exists = {}, set(range(NUM_ITEMS))
    if catalogue is not None:
        exists = catalogue | {7, 8}
        limits['catalogue'] = torch.tensor(sorted(exists))
    graph = build(has, **limits)
    positives = [(user, item) for user, items in enumerate(has) for item in items]
    sampler = UniformNegativeSampler(number, exclude)
    for (user, item), row in zip(
        positives, sample(sampler, graph, positives, seed), strict=True
    ):
        assert set(row) <= exists - (has[user] if exclude == 'seen' else {item})
    every = build(has, catalogue=torch.arange(NUM_ITEMS))  # As if there were none.
    expected = sample(sampler, build(has), positives, seed)
    assert sample(sampler, every, positives, seed) == expected


CATALOGUE = torch.tensor([1, 3, 4, 5, 7])


@pytest.mark.parametrize(
    ('exclude', 'positives', 'excluded'),
    [
        ('positive', [1, 4, 7], [{1}, {4}, {7}]),
        ('positive', [0, 6, 8], [set()] * 3),  # Not in the catalogue.
        ('seen', [0, 4], [{3}, {3, 4}]),
    ],
)
def test_law_of_a_catalogue(exclude, positives, excluded, device):
    graph = build([[i, 3] for i in positives], device=device, catalogue=CATALOGUE)
    sampler = UniformNegativeSampler(2000, exclude)
    for row, wrong in zip(
        sample(sampler, graph, list(enumerate(positives))), excluded, strict=True
    ):
        allowed = set(CATALOGUE.tolist()) - wrong
        check_law(row, {item: 1 / len(allowed) for item in allowed})
        # Of independent draws, neighbours agree as often as chance has it.
        agree = sum(a == b for a, b in pairwise(row)) / 1999
        assert agree == pytest.approx(1 / len(allowed), abs=0.04)


def test_draws_of_recorded_runs():
    """Without a catalogue, a number is drawn and the positive skipped."""
    generator = torch.Generator().manual_seed(3)
    share = torch.rand((3, 5), generator=generator, dtype=torch.double)
    others = [[i for i in range(9) if i != item] for item in (0, 4, 8)]
    expected = [
        tuple(others[row][int(8 * number)] for number in numbers)
        for row, numbers in enumerate(share.tolist())
    ]
    graph, positives = build([[0], [4], [8]]), [(0, 0), (1, 4), (2, 8)]
    assert sample(UniformNegativeSampler(5), graph, positives, 3) == expected


# By popularity.


def test_in_proportion_to_popularity(device):
    popularity = [5, 1, 0, 3, 8, 0, 2]
    has = [[0, 4], [], [0, 1, 3, 4, 6], [1, 2, 3, 4, 5, 6]]
    laws = [
        {1: 1 / 6, 3: 3 / 6, 6: 2 / 6},
        {item: p / 19 for item, p in enumerate(popularity) if p > 0},
        {2: 1 / 2, 5: 1 / 2},  # What is left has no popularity.
        {0: 1.0},
    ]
    graph = build(has, popularity, device)
    # The item of the positive has no say, be it the user's or not.
    positives = [(user, 4) for user in range(4)]
    rows = sample(PopularityNegativeSampler(3), graph, positives * 3000)
    for user, law in enumerate(laws):
        for column in zip(*rows[user::4], strict=True):
            check_law(column, law)
        # The negatives of a row are drawn independently.
        pairs = {(a, b): law[a] * law[b] for a in law for b in law}
        check_law([row[:2] for row in rows[user::4]], pairs)


# With a margin, against rows that are drawn one by one.


def pools(graph, user, item, sampler):
    """Returns the probability and the items of each pool of a positive."""
    popularity = graph.popularity.tolist()
    seen = graph.positives(user).tolist()
    left = [i for i in graph.existing.tolist() if i not in seen]
    p = popularity[item]
    limit = p / 2 if sampler.lower == 'half' else p - sampler.margin
    above = [i for i in left if popularity[i] > p + sampler.margin]
    below = [i for i in left if popularity[i] < limit]
    if len(above) >= sampler.min_pool and len(below) >= sampler.min_pool:
        return [(0.5, above), (0.5, below)]
    if len(above) >= sampler.min_pool:
        return [(1.0, above)]
    if len(below) >= sampler.num_negatives:
        return [(1.0, below)]
    return [(1.0, left)]


def law_of_rows(graph, user, item, sampler):
    """Returns the probability of each row of negatives."""
    rows = {(): 1.0}
    for _ in range(sampler.num_negatives):
        longer = Counter()
        for row, share in rows.items():
            for chance, pool in pools(graph, user, item, sampler):
                rest = [i for i in pool if i not in row]
                for i in rest:
                    longer[(*row, i)] += share * chance / len(rest)
        rows = longer
    return rows


MARGIN_POPULARITY = [0, 1, 1, 3, 4, 6, 9, 9, 11, 15, 16]
LIKES = [[4], [6, 7, 3], [9, 8, 2], [0, 1, 2, 5], [0, 1, 2, 3, 4, 5, 8]]
LIKED = LIKES, MARGIN_POPULARITY, [(0, 4), (1, 6), (2, 9), (1, 5), (3, 5), (3, 8), (4, 8)]
# In turn: two above, so all below; none above; two below, so all above; none below; two
# above and two below, which do for a row; two and one: all; none and one: all.
FEW = [[6], [8], [3], [0], [4, 2, 3], [4, 1, 2, 3], [5, 7, 8, 0, 1, 2]]
FALL_BACKS = [(user, items[0]) for user, items in enumerate(FEW)]
FALL_BACK = FEW, [1, 1, 3, 4, 30, 32, 35, 90, 91], FALL_BACKS
ENOUGH = [[0, 2, 4]], [1, 2, 3, 4, 5, 6], [(0, 0)]  # As many as are wanted.


@pytest.mark.parametrize(
    ('log', 'sampler', 'num_pools'),
    [
        (LIKED, PopularityMarginSampler(2, 3, 2), {1, 2}),
        (LIKED, PopularityMarginSampler(2, 2.5, 3), {1, 2}),
        (LIKED, PopularityMarginSampler(2, 2.5, 2, 'margin'), {1, 2}),
        (LIKED, PopularityMarginSampler(2, 3, 3, 'margin'), {1, 2}),
        (FALL_BACK, PopularityMarginSampler(2, 10, 3), {1}),
        (ENOUGH, PopularityMarginSampler(3, 40, 3), {1}),
        (ENOUGH, PopularityMarginSampler(3, 0, 3), {1}),
    ],
)
def test_law_with_a_margin(log, sampler, num_pools, device):
    has, popularity, positives = log
    # One more item does not exist.
    catalogue = torch.arange(len(popularity))
    graph = build(has, [*popularity, 5], catalogue=catalogue).to(device)
    rows = sample(sampler, graph, positives * 2000)
    for place, (user, item) in enumerate(positives):
        law = law_of_rows(graph, user, item, sampler)
        check_law(rows[place :: len(positives)], law)
    # That was one pool for some of the positives and two for others.
    assert {len(pools(graph, *positive, sampler)) for positive in positives} == num_pools


def test_popularity_of_the_catalogue():
    graph = build([[3]], [1, 5, 5, 5, 9, 9], catalogue=torch.tensor([0, 2, 3, 5]))
    rows = sample(PopularityNegativeSampler(1), graph, [(0, 3)] * 3000)
    check_law(rows, {(0,): 1 / 15, (2,): 5 / 15, (5,): 9 / 15})


# A margin and a pool by what the graph is.

TEN = [[i] for i in range(10)], [3, 1, 4, 1, 5, 9, 2, 6, 5, 3]
MANY = [[i] for i in range(100)], [10 * i for i in range(100)]


@pytest.mark.parametrize(
    ('log', 'arguments', 'margin', 'min_pool'),
    [
        (TEN, {'margin': 0.5, 'min_pool': 0.25}, 4, 3),  # 1 1 2 3 3 | 4 5 5 6 9
        (TEN, {'margin': 0.01, 'min_pool': 0.01}, 1, 2),  # What two negatives need.
        (TEN, {'margin': 0.99, 'min_pool': 5}, 9, 5),
        (TEN, {'margin': 1, 'min_pool': 0.25}, 1, 3),  # A click, no quantile.
        (TEN, {'margin': 0, 'min_pool': 2}, 0, 2),
        (TEN, {}, 5, 2),  # The quantile: there are not forty items.
        (TEN, {'margin': 3}, 3, 2),
        (TEN, {'min_pool': 4}, 5, 4),
        (MANY, {}, 720, 2),  # Items 0 to 55 alone are behind forty others.
        (MANY, {'min_pool': 2}, 40, 2),  # 0 to 93 are behind two.
    ],
)
def test_what_is_decided(log, arguments, margin, min_pool, device):
    sampler, graph = PopularityMarginSampler(2, **arguments), build(*log, device)
    decided = sampler.for_graph(graph)
    assert decided == PopularityMarginSampler(2, margin, min_pool)
    assert decided.for_graph(graph) is decided
    expected = sample(decided.at(0.9), graph, edges(graph) * 9)
    assert sample(sampler.at(0.9), graph, edges(graph) * 9) == expected


# By part: the normal or the intervened edges.

PART = PopularityMarginSampler(2, margin=3, min_pool=2, exclude='part')


@given(
    st.lists(st.sets(st.integers(0, 10), max_size=6), min_size=4, max_size=4),
    st.lists(st.booleans(), min_size=24, max_size=24),
    st.integers(0, 99),
)
def test_only_what_is_of_the_own_part_is_left_out(has, marks, seed):
    """As if there were no other edges, but with the popularity of them all. What is no
    edge is drawn for as in the normal part.
    """
    marks = torch.tensor(marks[: sum(map(len, has))], dtype=torch.bool)
    graph = build(has, MARGIN_POPULARITY, intervened=marks)
    for mark in (False, True):
        part = graph.subgraph(graph.intervened == mark)
        rows = edges(part) * 5
        if not mark:
            rows += [(u, i) for u in range(4) for i in range(11) if i not in has[u]]
        expected = sample(replace(PART, exclude='seen'), part, rows, seed)
        assert sample(PART, graph, rows, seed) == expected


def test_both_parts_at_once(device):
    marks = torch.tensor([True, False, True, False, False, True])
    graph = build([[0, 3, 8], [2, 4, 8]], [1] * 11, intervened=marks).to(device)
    rows = sample(PART, graph, edges(graph) * 100)
    for place, own in enumerate([{0, 8}, {3}, {0, 8}, {2, 4}, {2, 4}, {8}]):
        drawn = {item for row in rows[place::6] for item in row}
        assert drawn == set(range(11)) - own


# All of them.

SAMPLERS = [
    UniformNegativeSampler(3),
    UniformNegativeSampler(3, exclude='seen'),
    PopularityNegativeSampler(3),
    PopularityMarginSampler(3, 2, 3),
    PopularityMarginSampler(3, 2, 3, exclude='part'),
    PopularityMarginSampler(3),
]


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_generator_decides(sampler):
    graph = build(LIKES, MARGIN_POPULARITY)
    positives = [(user, item) for user, items in enumerate(LIKES) for item in items]
    before = torch.get_rng_state()
    one, two, other = (sample(sampler, graph, positives * 5, seed) for seed in (7, 7, 8))
    assert one == two != other
    assert torch.equal(torch.get_rng_state(), before)
    # Rows that are equal do not draw alike.
    assert len(set(one[:: len(positives)])) > 1
    # Without one, torch's global state does.
    torch.manual_seed(3)
    drawn = [sampler.sample(graph, graph.user, graph.item) for _ in range(2)]
    torch.manual_seed(3)
    assert torch.equal(sampler.sample(graph, graph.user, graph.item), drawn[0])
    assert not torch.equal(*drawn)


@pytest.mark.parametrize('sampler', SAMPLERS)
def test_no_rows(sampler, device):
    assert sample(sampler, build(LIKES, MARGIN_POPULARITY, device), []) == []
    # Not even if nothing is left for somebody.
    assert sample(sampler, build([[0, 1, 2], []], [0] * 3, device), []) == []


def test_curriculum_shrinks_the_margin():
    assert PART.at(0.5).at(0.5) == replace(PART, factor=0.25)
    graph = build(LIKES, MARGIN_POPULARITY)
    rows = sample(PART.at(0.25), graph, edges(graph) * 5)  # 3 clicks, a quarter of them.
    assert rows == sample(replace(PART, margin=4, factor=0.1875), graph, edges(graph) * 5)


SEEN = UniformNegativeSampler(2, exclude='seen')
MARGIN = PopularityMarginSampler(2, min_pool=3)


@pytest.mark.parametrize(
    ('sampler', 'message'),
    [
        (SEEN, "'bob' has all 3 items: no negative is left with exclude='seen'"),
        (PopularityNegativeSampler(2), "'bob' has all 3 items: no negative is left$"),
        (MARGIN, "'bob' has all 3 items: too few are left for 2 different negatives"),
        (replace(MARGIN, num_negatives=3), "'eve' has all but 2 of the 3 items: .* 3 "),
    ],
)
@pytest.mark.parametrize('catalogue', [None, torch.tensor([0, 2, 4])])
def test_too_few_items(sampler, message, catalogue):
    """Nobody is asked for who has too few, unless there is a positive of theirs."""
    has = [[0], [0, 1, 2]] if catalogue is None else [[0, 1], [0, 3, 2, 4]]
    arguments = {'user_ids': ['eve', 'bob'], 'catalogue': catalogue}
    graph = build(has, [1] * (3 if catalogue is None else 5), **arguments)
    positives = [(0, 0), (1, 2)] if 'bob' in message else [(0, 0)]
    with pytest.raises(ValueError, match=message):
        sample(sampler, graph, positives)
    rows = sample(replace(sampler, num_negatives=1), graph, [(0, 0)] * 60)
    assert {item for (item,) in rows} == ({1, 2} if catalogue is None else {2, 4})


@pytest.mark.parametrize('exclude', ['positive', 'seen'])
def test_catalogue_of_one_item(exclude):
    for graph in (build([[0]], [1]), build([[0]], catalogue=torch.tensor([1]))):
        with pytest.raises(ValueError, match='at least two items'):
            sample(UniformNegativeSampler(1, exclude), graph, [(0, 0)])


@pytest.mark.parametrize(
    ('cls', 'arguments', 'message'),
    [
        (UniformNegativeSampler, {'exclude': 'part'}, "one of .*'context' .*'part'"),
        (PopularityNegativeSampler, {'exclude': 'positive'}, "one of 'seen', 'context' "),
        (PopularityMarginSampler, {'margin': -0.5}, r'not be negative \(got -0\.5\)'),
        (PopularityMarginSampler, {'min_pool': 3}, 'pool of 3 items does not hold 4 neg'),
        (PopularityMarginSampler, {'lower': 'third'}, "'half' or 'margin'.*'third'"),
        (PopularityMarginSampler, {'exclude': 'all'}, "one of 'seen', 'part', .*'all'"),
        (PopularityMarginSampler, {'margin': float('nan')}, r'not be negative \(got nan'),
        (PopularityMarginSampler, {'min_pool': 0}, 'pool of 0 items does not hold 4'),
    ],
)
def test_bad_arguments(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)
