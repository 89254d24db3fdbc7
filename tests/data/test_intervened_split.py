"""Draws by inverse popularity against the law that they follow."""

from itertools import permutations
from math import prod

import numpy as np
import pytest
import torch
from clicks import columns, edges
from scipy.stats import chisquare, entropy

from iedr_geo.data import BipartiteGraph, intervened_split
from iedr_geo.datasets import read_coo_split

DEGREES = [40, 1, 3, 0, 21, 9, 2]


def stars(degrees, **arguments):
    """Returns a graph of items of these degrees; users of low numbers have many."""
    pairs = ((user, item) for item, d in enumerate(degrees) for user in range(d))
    size = max(degrees, default=0) + 1, len(degrees)
    return BipartiteGraph(*columns(pairs), *size, **arguments)


def curve(degree, share, cap):
    """Returns the c with which min(cap, c / degree) is the share of the edges."""
    low, high = 0.0, float(max(degree))
    for _ in range(100):
        c = (low + high) / 2
        drawn = np.minimum(cap * np.array(degree), c).sum()
        low, high = (c, high) if drawn < share * sum(degree) else (low, c)
    return c


def drawn(split):
    """Returns the number of intervened edges of each item."""
    train = split.train.item_degree - split.train.popularity
    return train + split.valid.item_degree + split.test.item_degree


# What the parts are.


MODES = pytest.mark.parametrize('mode', ['probability', 'percentile'])


@MODES
def test_parts(mode, device):
    arguments = {'item_ids': list('abcdefg'), 'user_ids': range(100, 141)}
    graph, before = stars(DEGREES, **arguments).to(device), torch.get_rng_state()
    split = intervened_split(graph, cap_mode=mode)
    train, valid, test = split
    assert sorted(edges(train) + edges(valid) + edges(test)) == edges(graph)
    normal = train.parts[0]
    for part in split:
        assert (part.num_users, part.num_items) == (41, 7)
        assert [*part.item_ids, *part.user_ids] == [*'abcdefg', *range(100, 141)]
        # Popularity is what the model may know: neither intervened nor held out.
        assert torch.equal(part.popularity, normal.item_degree)
        assert part.device == part.popularity.device == graph.device
    assert train.intervened.any() and valid.intervened.all() and test.intervened.all()
    assert drawn(split).sum() == graph.num_edges - normal.num_edges
    # The seed decides, on every device alike; marks of the graph have no say.
    marked = stars(DEGREES, intervened=torch.ones(76, dtype=torch.bool))
    splits = [intervened_split(marked, cap_mode=mode, seed=seed) for seed in range(10)]
    read = [str([(edges(p), p.intervened.tolist()) for p in s]) for s in (split, *splits)]
    assert read[0] == read[1] and len(set(read)) == 10
    assert torch.equal(torch.get_rng_state(), before)


# Of the shares, the last is above the cap, which is a quantile here and no bound.
@pytest.mark.parametrize('share', [0.1, 0.41, 0.95])
@pytest.mark.parametrize(
    'parts', [(0.25, 0.25, 0.5), (0.2, 0.1, 0.7), (0, 0.5, 0.5), (0, 0, 1), (0.5, 0.5, 0)]
)
def test_sizes(parts, share):
    split = intervened_split(stars([30, 30, 40]), share, 0.9, 'percentile', parts)
    sizes = [int(split.train.intervened.sum()), *(p.num_edges for p in split[1:])]
    assert sum(sizes) == round(100 * share)
    for size, part in zip(sizes, parts, strict=True):
        assert size == pytest.approx(part * 100 * share, abs=1)
        assert size == 0 or part > 0


def test_parts_are_drawn_alike():
    """Whether an edge is drawn says nothing about the part that it comes to."""
    count = np.zeros(3)
    for seed in range(200):
        train, valid, test = intervened_split(stars([30, 9, 9]), 0.5, seed=seed)
        for place, graph in enumerate((train.subgraph(train.intervened), valid, test)):
            count[place] += graph.item_degree[1:].sum()
    assert chisquare(count, count.sum() * np.array([0.25, 0.25, 0.5])).pvalue > 1e-3


# How edges are drawn.


@pytest.mark.parametrize(
    ('share', 'cap'), [(0.4, 0.9), (0.15, 0.5), (0.5, 1), (0.02, 0.9)]
)
def test_law(share, cap):
    graph, runs = stars(DEGREES), 400
    c = curve(DEGREES, share, cap)
    degree = np.array(DEGREES)
    p = np.minimum(cap, c / degree.clip(1))
    assert (p * degree).sum() == pytest.approx(share * degree.sum())
    splits = [
        intervened_split(graph, share, cap, parts=(1, 0, 0), seed=seed).train
        for seed in range(runs)
    ]
    count = np.array([s.intervened.numpy() for s in splits])
    observed = np.bincount(graph.item, count.mean(axis=0), minlength=7) / degree.clip(1)
    error = np.sqrt(p * (1 - p) / (runs * degree.clip(1)))
    np.testing.assert_array_less(abs(observed - p * (degree > 0)), 4 * error + 1e-9)
    # Edges are drawn independently: so varies their number.
    spread = (p * (1 - p) * degree).sum()
    assert count.sum(axis=1).var() == pytest.approx(spread, rel=0.3)


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('share', [0.1, 0.3, 0.6, 0.7])
def test_share_equal_to_the_cap(share, seed):
    """Every edge is drawn with that probability then."""
    degree = np.random.default_rng(seed).integers(1, 300, 20)
    spread = np.sqrt(share * (1 - share) * degree.sum())
    count = drawn(intervened_split(stars(degree.tolist()), share, share)).sum()
    assert count == pytest.approx(share * degree.sum(), abs=4 * spread)


def in_turn(weight, number):
    """Returns the probability of each set of places that are drawn one by one."""
    law = {}
    for row in permutations(range(len(weight)), number):
        rest = [sum(weight) - sum(weight[i] for i in row[:k]) for k in range(number)]
        chance = prod(weight[i] / left for i, left in zip(row, rest, strict=True))
        law[frozenset(row)] = law.get(frozenset(row), 0) + chance
    return law


@pytest.mark.parametrize(
    ('cap', 'weight'),
    # Of the edges of items of 3 users, 2 users and 1 user: cut at nothing, at the fifth
    # of the six weights, and at the median.
    [
        (1, [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 1]),
        (0.8, [1 / 3, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 1 / 2]),
        (0.5, [1 / 3, 1 / 3, 1 / 3, 5 / 12, 5 / 12, 5 / 12]),
    ],
)
def test_law_of_percentiles(cap, weight):
    graph = stars([3, 2, 1])
    order = sorted(range(6), key=lambda edge: edges(graph)[edge][1])  # By item.
    law = in_turn(weight, 2)
    count = dict.fromkeys(law, 0)
    for seed in range(600):
        split = intervened_split(graph, 1 / 3, cap, 'percentile', (1, 0, 0), seed)
        places = split.train.intervened.nonzero().view(-1).tolist()
        count[frozenset(order.index(place) for place in places)] += 1
    expected = [600 * chance for chance in law.values()]
    assert chisquare(list(count.values()), expected).pvalue > 1e-3


# The report.


def test_report():
    split = intervened_split(stars(DEGREES))
    report = split.report()
    assert list(report.index) == ['normal', 'intervened', 'valid', 'test']
    assert list(report.columns) == ['edges', 'users', 'items', 'entropy']
    for name, part in zip(report.index, (*split.train.parts, *split[1:]), strict=True):
        users, items = zip(*edges(part), strict=True)
        row = report.loc[name]
        assert row['edges'] == len(users)
        assert (row['users'], row['items']) == (len({*users}), len({*items}))
        assert row['entropy'] == pytest.approx(entropy(np.bincount(items)))
    assert report['edges'].sum() == 76
    assert report['edges'].dtype == report['items'].dtype == int
    bare = intervened_split(stars(DEGREES), parts=(0, 0, 1)).report()
    assert bare.loc[['intervened', 'valid']].to_numpy().tolist() == [[0] * 4] * 2


# Wrong arguments.


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'share': 0}, r'`share` must be between 0 and 1.*\(got 0 and 0\.9\)'),
        ({'share': 1, 'cap': 1}, r'`share` must be .*\(got 1 and 1\)'),
        ({'cap': 0}, r'`cap` too.*\(got 0\.4 and 0\)'),
        ({'cap': 1.1}, r'\(got 0\.4 and 1\.1\)'),
        ({'share': 0.6, 'cap': 0.5}, r'share of 0\.6 cannot .* at most 0\.5'),
        ({'cap_mode': 'quantile'}, r"'probability' or 'percentile' \(got 'quantile'\)"),
        ({'parts': (0.5, 0.5)}, r'three shares that sum to 1 \(got \(0\.5, 0\.5\)\)'),
        ({'parts': (0.5, 0.6, -0.1)}, r'`parts`.*-0\.1'),
        ({'parts': (0.3, 0.3, 0.3)}, r'`parts`.*0\.3'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        intervened_split(stars(DEGREES), **arguments)


@MODES
@pytest.mark.parametrize('degrees', [[0, 0], [1, 1], []])
def test_too_few_edges(degrees, mode):
    message = f'part of the split is empty: {sum(degrees)} edges are too few'
    with pytest.raises(ValueError, match=message):
        intervened_split(stars(degrees), cap_mode=mode)


@pytest.mark.parametrize(
    ('share', 'parts', 'name'),
    [
        (0.95, (0.25, 0.25, 0.5), 'normal'),  # Ten of ten are drawn,
        (0.1, (0.25, 0.25, 0.5), 'validation'),  # one,
        (0.2, (0.45, 0.45, 0.1), 'test'),  # two.
    ],
)
def test_empty_part(share, parts, name):
    message = f'The {name} part of the split is empty: 10 edges are too few'
    with pytest.raises(ValueError, match=message):
        intervened_split(stars([7, 3]), share, cap_mode='percentile', parts=parts)


# The split of MovieLens-1M that the authors' script made.

OCTILES = [0.91, 0.90, 0.90, 0.90, 0.90, 0.73, 0.44, 0.15]


def by_octile(split):
    """Returns degrees and numbers of drawn edges of items, in classes of degree."""
    degree = sum(part.item_degree for part in split)
    order = degree.argsort(stable=True).tensor_split(8)
    return [(degree[own].numpy(), drawn(split)[own].numpy()) for own in order]


def check_curve(split):
    """Checks the share of drawn edges in each class of items."""
    c = curve(np.concatenate([degree for degree, _ in by_octile(split)]), 0.4, 0.9)
    for (degree, count), share in zip(by_octile(split), OCTILES, strict=True):
        p = np.minimum(0.9, c / degree)
        error = np.sqrt((p * (1 - p) * degree).sum()) / degree.sum()
        observed = count.sum() / degree.sum()
        assert abs(observed - (p * degree).sum() / degree.sum()) < 3 * error
        assert observed == pytest.approx(share, abs=0.005 + 3 * error)
    return c


def test_split_of_movielens(data_root):
    """All four parts together, split anew, give what was supplied but for chance."""
    movielens = read_coo_split(data_root / 'ml-1m-dice')
    assert check_curve(movielens) == pytest.approx(74.2, abs=0.05)
    user, item = (
        torch.cat([getattr(part, side) for part in movielens])
        for side in ('user', 'item')
    )
    train = movielens.train
    graph = BipartiteGraph(user, item, train.num_users, train.num_items)
    assert graph.num_edges == 212_247  # No part shares an edge with another.
    split = intervened_split(graph)
    check_curve(split)
    report, supplied = split.report(), movielens.report()
    for name, tolerance in (('edges', 0.01), ('items', 0.02), ('entropy', 0.005)):
        np.testing.assert_allclose(report[name], supplied[name], rtol=tolerance)
