"""The split against the published script, written out with pandas."""

import numpy as np
import pandas as pd
import pytest
import torch
from clicks import edges

from iedr_geo.data import BipartiteGraph, strong_generalisation_split
from iedr_geo.datasets import MovieLensLatestSmall


def script(log: pd.DataFrame, num_held_out: int, seed: int):
    """Splits columns of users and items as the preprocessing of Liang et al. (2018)."""
    count = log.groupby('user').size()
    log = log[log['user'].isin(count.index[count >= 5])]
    users = log.groupby('user').size().index
    np.random.seed(seed)
    users = users[np.random.permutation(users.size)]
    train = log[log['user'].isin(users[: -2 * num_held_out])]
    items = pd.unique(train['item'])

    def fold_in(own: pd.Index) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows = log[log['user'].isin(own) & log['item'].isin(items)]
        history, targets = [], [rows[:0]]
        np.random.seed(seed)
        for _, group in rows.groupby('user'):
            chosen = np.zeros(len(group), dtype=bool)
            if len(group) >= 5:
                size = int(0.2 * len(group))
                chosen[np.random.choice(len(group), size=size, replace=False)] = True
            history.append(group[~chosen])
            targets.append(group[chosen])
        return pd.concat(history), pd.concat(targets)

    valid = fold_in(users[-2 * num_held_out : -num_held_out])
    return users, items, [train, *valid, *fold_in(users[-num_held_out:])]


def flat(split) -> list[BipartiteGraph]:
    return [split.train, *split.valid, *split.test]


def pairs(graph: BipartiteGraph) -> list[tuple[int, int]]:
    """Returns the ids of each edge."""
    return [(graph.user_ids[u], graph.item_ids[i]) for u, i in edges(graph)]


def check(graph: BipartiteGraph, num_held_out: int, seed: int):
    """Checks a split against the script, and returns it."""
    split = strong_generalisation_split(graph, num_held_out, seed)
    log = pd.DataFrame(pairs(graph), columns=['user', 'item'])
    users, items, parts = script(log.astype(int), num_held_out, seed)
    for part, rows in zip(flat(split), parts, strict=True):
        assert sorted(users) == part.user_ids.astype(int).tolist()
        assert sorted(items) == part.item_ids.astype(int).tolist()
        found = [(int(user), int(item)) for user, item in pairs(part)]
        assert found == sorted(rows.itertuples(index=False, name=None))
        assert torch.equal(part.popularity, split.train.item_degree)
    return split


def sparse_graph(seed: int = 0, **arguments) -> BipartiteGraph:
    """Users of 2 to 13 items, many of them rare, in random order."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, 91)
    user = np.repeat(np.arange(60), rng.integers(2, 14, 60))
    drawn = [
        rng.choice(90, n, False, weight / weight.sum())
        for n in np.bincount(user, None, 60)
    ]
    item, order = np.concatenate(drawn), rng.permutation(len(user))
    return BipartiteGraph(
        torch.from_numpy(user[order]), torch.from_numpy(item[order]), 60, 90, **arguments
    )


@pytest.mark.parametrize('seed', range(5))
def test_published_script(seed):
    split = check(sparse_graph(seed), 12, seed)
    # Some users are left out, some items, and some users have too few to be found.
    assert split.train.num_users < 60 and split.train.num_items < 90
    held_out = [
        (history.user_degree, targets.user_degree) for history, targets in split[1:]
    ]
    assert any(((had > 0) & (found == 0)).any() for had, found in held_out)


def test_movielens(data_root):
    """The data that MacridVAE's paper calls ML-100k."""
    data = MovieLensLatestSmall(data_root / 'ml-latest-small', min_rating=4)
    split = check(BipartiteGraph.from_dataset(data), 50, 98765)
    parts = flat(split)
    assert (split.train.num_users, split.train.num_items) == (603, 5697)
    sizes = [part.num_edges for part in parts]
    assert sizes == [39_618, 5_149 - 1_008, 1_008, 3_155 - 609, 609]
    assert sum(sizes) == 47_922
    users = [int((part.user_degree > 0).sum()) for part in parts]
    assert users == [503, 50, 50, 50, 49]  # One has too few items for a target.


def test_parts(device):
    ids = {'user_ids': pd.Index(range(100, 160), name='reader'), 'item_ids': range(90)}
    catalogue, before = torch.arange(0, 90, 2), np.random.get_state()[1].tolist()
    graph = sparse_graph(**ids, catalogue=catalogue, exclude_seen=False).to(device)
    graph.intervened = graph.item % 3 == 0
    split = strong_generalisation_split(graph, 12)
    parts = flat(split)
    kept = [pair for part in parts for pair in pairs(part)]
    assert len(kept) == len(set(kept)) and set(kept) <= set(pairs(graph))
    users = [{user for user, _ in pairs(part)} for part in parts]
    assert not users[0] & (users[1] | users[3]) and not users[1] & users[3]
    assert users[2] <= users[1] and users[4] <= users[3]  # No target without a history.
    assert split.train.item_degree.min() == 1
    for part in parts:
        assert part.user_ids.name == 'reader' and part.device == graph.device
        assert part.exclude_seen  # What is in the history is not in the targets.
        assert all(item % 2 == 0 for item in part.item_ids[part.catalogue.cpu()])
        assert part.intervened.tolist() == [item % 3 == 0 for _, item in pairs(part)]
    # The seed decides, and draws from a state of its own.
    splits = [strong_generalisation_split(graph, 12, seed) for seed in range(5)]
    read = [str([pairs(part) for part in flat(one)]) for one in (split, *splits)]
    assert read[0] == read[1] and len(set(read)) == 5
    assert np.random.get_state()[1].tolist() == before


def test_share_and_least_number_of_items():
    split = strong_generalisation_split(sparse_graph(), 12, 3, 0.5, 8)
    for history, targets in split[1:]:
        size = history.user_degree + targets.user_degree
        expected = torch.where(size >= 8, size // 2, 0)
        assert torch.equal(targets.user_degree, expected)
    degree = sparse_graph().user_degree
    assert split.train.user_ids.tolist() == (degree >= 8).nonzero().view(-1).tolist()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'num_held_out': 30}, '`num_held_out` is too large: twice 30 of .* at least 5'),
        ({'min_items': 99}, '`num_held_out` is too large: twice 5 of 0 users'),
        ({'min_items': 0}, '`min_items` must be at least 1'),
        ({'seed': -1}, '`seed` must be at least 0'),
        ({'target_share': 0}, r'`target_share` must be between 0 and 1 \(got 0\)'),
        ({'target_share': 1.0}, '`target_share` must be between'),
        ({'target_share': np.nan}, '`target_share` must be between'),
        ({'target_share': 0.01}, 'The validation part has nothing to be found: .* 0.01'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        strong_generalisation_split(sparse_graph(), **{'num_held_out': 5, **arguments})
