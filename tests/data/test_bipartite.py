"""The graph of users and items against sets, dense matrices and NetworkX."""

from collections import Counter

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array, coo_matrix, csr_matrix

from iedr_geo.data import (
    BipartiteGraph,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    intervened_split,
)

U, I = 5, 6  # noqa: E741
PAIRS = [
    (3, 1),
    (0, 2),
    (3, 0),
    (0, 5),
    (1, 2),
    (3, 5),
]  # Users 2, 4 and items 3, 4 lack.
LOGS = st.lists(st.tuples(st.integers(0, U - 1), st.integers(0, I - 1)), max_size=20)


def columns(pairs):
    return torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)


def build(pairs, num_users=U, num_items=I, **arguments):
    return BipartiteGraph(*columns(pairs), num_users, num_items, **arguments)


def edges(graph):
    return list(zip(graph.user.tolist(), graph.item.tolist(), strict=True))


# Edges.


@given(st.lists(st.tuples(st.integers(0, U - 1), st.integers(0, I - 1), st.booleans())))
def test_edges(rows):
    marks = torch.tensor([mark for *_, mark in rows], dtype=torch.bool)
    graph = build([row[:2] for row in rows], intervened=marks)
    assert edges(graph) == sorted({row[:2] for row in rows})
    assert graph.num_edges == len(edges(graph))
    assert graph.intervened.tolist() == [(*pair, True) in rows for pair in edges(graph)]


def test_small_integers_as_ids():
    """Their products, by which pairs are told apart, would overflow."""
    user = torch.tensor([50_000, 3], dtype=torch.int32)
    item = torch.tensor([60_000, 2], dtype=torch.int32)
    graph = BipartiteGraph(user, item, 50_001, 60_001)
    assert edges(graph) == [(3, 2), (50_000, 60_000)]
    assert graph.contains(user, item).tolist() == [True, True]


@given(LOGS)
def test_degrees_and_positives(pairs):
    graph = build(pairs)
    of_user = [sorted({i for u, i in pairs if u == user}) for user in range(U)]
    of_item = [{u for u, i in pairs if i == item} for item in range(I)]
    assert graph.user_degree.tolist() == [len(items) for items in of_user]
    assert graph.item_degree.tolist() == [len(users) for users in of_item]
    assert [graph.positives(user).tolist() for user in range(U)] == of_user
    assert graph.ptr.tolist() == np.cumsum([0, *map(len, of_user)]).tolist()


@given(LOGS)
def test_edge_index(pairs):
    edge_index = build(pairs).edge_index.validate()
    assert edge_index.sparse_size() == (U, I)
    assert edge_index.is_sorted_by_row and not edge_index.is_undirected
    assert list(map(tuple, edge_index.t().tolist())) == sorted(set(pairs))


@given(LOGS)
def test_contains(pairs):
    dense = torch.zeros(U, I, dtype=torch.bool)
    for pair in pairs:
        dense[pair] = True
    graph, user, item = build(pairs), torch.arange(U), torch.arange(I)
    assert torch.equal(graph.contains(user[:, None], item), dense)
    assert torch.equal(graph.contains(user, item[:, None, None]), dense.t()[:, None])
    assert torch.equal(graph.contains(user[1], item), dense[1])
    assert graph.contains(user[:0], item[0]).shape == (0,)
    assert graph.contains(user[4], item[5]).shape == ()


def test_no_edges():
    graph = build([])
    assert (graph.num_edges, graph.ptr.tolist()) == (0, [0] * (U + 1))
    assert graph.positives(2).numel() == 0
    assert graph.popularity.tolist() == [0] * I
    assert graph.adjacency()[0].shape == (2, 0)
    assert graph.adjacency(self_loops=True)[1].tolist() == [1.0] * (U + I)


def test_no_nodes():
    graph = build([], 0, 0)
    assert graph.num_edges == 0 and graph.ptr.tolist() == [0]
    assert graph.popularity.shape == graph.unseen.total.shape == (0,)
    assert graph.adjacency()[0].shape == (2, 0)


def test_repr():
    assert str(build(PAIRS)) == 'BipartiteGraph(num_users=5, num_items=6, num_edges=6)'


# Popularity and what users do not have.


def test_popularity():
    """Users count, not interactions, unless it is given."""
    graph = build([*PAIRS, (3, 1), (3, 1)])
    assert graph.popularity.tolist() == [1, 1, 2, 0, 0, 2]
    given = torch.tensor([7, 7, 0, 3, 0, 7], dtype=torch.int32)
    graph = build(PAIRS, popularity=given)
    assert graph.popularity.tolist() == [7, 7, 0, 3, 0, 7]
    assert graph.popularity.dtype == torch.long
    assert graph.item_degree.tolist() == [1, 1, 2, 0, 0, 2]


@given(LOGS, st.lists(st.integers(0, 3), min_size=I, max_size=I))
def test_unseen(pairs, popularity):
    graph = build(pairs, popularity=torch.tensor(popularity))
    order = sorted(range(I), key=lambda item: (popularity[item], item))
    assert graph.by_popularity.tolist() == order
    for user in range(U):
        left = [item for item in order if (user, item) not in pairs]
        long = [item for item in left for _ in range(popularity[item])]
        for unseen, expected in (
            (graph.unseen, left),
            (graph.unseen_by_popularity, long),
        ):
            assert unseen.total[user] == len(expected)
            place = torch.arange(len(expected))
            assert unseen.at(torch.full_like(place, user), place).tolist() == expected


@given(LOGS)
def test_fewest_unseen(pairs):
    """Users without edges have no positives to draw for."""
    user, left = build(pairs).fewest_unseen
    degree = Counter(user for user, _ in set(pairs))
    assert left == I - max(degree.values(), default=0)
    assert I - degree[user] == left


CATALOGUES = st.sets(st.integers(0, I - 1), min_size=1)


@given(LOGS, CATALOGUES, st.lists(st.integers(0, 3), min_size=I, max_size=I))
def test_unseen_of_a_catalogue(pairs, catalogue, popularity):
    graph = build(
        pairs,
        popularity=torch.tensor(popularity),
        catalogue=torch.tensor(list(catalogue)),
    )
    assert graph.existing.tolist() == sorted(catalogue)
    order = [item for item in graph.by_popularity.tolist() if item in catalogue]
    for user in range(U):
        left = [item for item in order if (user, item) not in pairs]
        long = [item for item in left for _ in range(popularity[item])]
        for unseen, expected in (
            (graph.unseen, left),
            (graph.unseen_by_popularity, long),
        ):
            assert unseen.total[user] == len(expected)
            place = torch.arange(len(expected))
            assert unseen.at(torch.full_like(place, user), place).tolist() == expected
    assert graph.fewest_unseen[1] == min(graph.unseen.total.tolist())


def test_catalogue_stays(device):
    graph = build(PAIRS, catalogue=torch.tensor([5, 1, 2, 5]))  # In any order.
    for other in (graph.to(device), graph.subgraph(graph.user == 3), graph.to('cpu')):
        assert other.existing.tolist() == other.catalogue.tolist() == [1, 2, 5]
    assert graph.to(device).existing.device.type == device.type
    core = graph.core(1)  # Without items 3 and 4.
    assert core.item_ids[core.existing.numpy()].tolist() == [1, 2, 5]
    assert build(PAIRS).core(1).existing.tolist() == [0, 1, 2, 3]
    for part in intervened_split(build(PAIRS * 2, catalogue=graph.catalogue), 0.7, 0.9):
        assert part.existing.tolist() == [1, 2, 5]


# Adjacency.


@pytest.mark.parametrize('self_loops', [False, True])
@given(LOGS)
def test_adjacency(self_loops, pairs):
    a = np.zeros((U + I, U + I))
    for user, item in pairs:
        a[user, U + item] = a[U + item, user] = 1
    if self_loops:
        a += np.eye(U + I)
    degree = a.sum(axis=1)
    root = np.divide(1, np.sqrt(degree), out=np.zeros(U + I), where=degree > 0)
    expected = np.diag(root) @ a @ np.diag(root)

    edge_index, weight = build(pairs).adjacency(self_loops)
    edge_index.validate()  # Sorted by row, in range, and undirected, as it claims.
    assert edge_index.sparse_size() == (U + I, U + I)
    assert edge_index.is_sorted_by_row and edge_index.is_undirected
    listed = list(map(tuple, edge_index.t().tolist()))
    assert listed == sorted(set(listed))  # By column, too: as PyG's own sort leaves it.
    assert len(listed) == np.count_nonzero(a)
    dense = np.zeros_like(a)
    dense[tuple(edge_index.numpy())] = weight.numpy()
    np.testing.assert_allclose(dense, expected, rtol=1e-6)
    np.testing.assert_array_equal(dense, dense.T)


def test_kept():
    """What derives from the edges is computed once."""
    graph = build(PAIRS)
    plain, looped = graph.adjacency(), graph.adjacency(self_loops=True)
    assert graph.adjacency()[0] is plain[0] and graph.adjacency(False)[1] is plain[1]
    assert graph.adjacency(True)[0] is looped[0] is not plain[0]
    for name in ('edge_index', 'unseen', 'unseen_by_popularity', 'by_popularity', 'ptr'):
        assert getattr(graph, name) is getattr(graph, name)


# Parts of the graph.


def test_subgraph():
    marks = torch.tensor([True, False, True, False, False, True])
    graph = build(PAIRS, intervened=marks, user_ids=list('abcde'), item_ids=range(6))
    by_mask = graph.subgraph(graph.user == 3)
    by_number = graph.subgraph(torch.tensor([5, 3, 4]))
    for part in (by_mask, by_number):
        assert edges(part) == [(3, 0), (3, 1), (3, 5)]
        assert part.intervened.tolist() == [True, True, True]
        assert (part.num_users, part.num_items) == (U, I)
        assert part.popularity.tolist() == [1, 1, 2, 0, 0, 2]
        assert part.item_degree.tolist() == [1, 1, 0, 0, 0, 1]
        assert list(part.user_ids) == list('abcde')
    normal = graph.subgraph(~graph.intervened)
    assert edges(normal) == [(0, 2), (0, 5), (1, 2)] and not normal.intervened.any()
    assert edges(graph) == sorted(PAIRS)


def by_name(graph):
    """Returns the edges, with the ids of users and items in the place of numbers."""
    return {(graph.user_ids[user], graph.item_ids[item]) for user, item in edges(graph)}


@given(LOGS, st.integers(0, 3))
def test_core_in_one_pass(pairs, k):
    of_item = Counter(item for _, item in set(pairs))
    left = [pair for pair in set(pairs) if of_item[pair[1]] >= k]
    of_user = Counter(user for user, _ in left)
    left = {pair for pair in left if of_user[pair[0]] >= k}
    if left:
        core = build(pairs).core(k)
        assert by_name(core) == left
        assert core.num_users == len({user for user, _ in left})
        assert core.num_items == len({item for _, item in left})
    else:
        with pytest.raises(ValueError, match=f'users and items of {k} edges'):
            build(pairs).core(k)


@given(LOGS, st.integers(0, 3))
def test_core_repeated(pairs, k):
    network = nx.Graph(((0, user), (1, item)) for user, item in pairs)
    left = {(min(e)[1], max(e)[1]) for e in nx.k_core(network, k).edges}
    if left:
        assert by_name(build(pairs).core(k, repeat=True)) == left
    else:
        with pytest.raises(ValueError, match='No edge is left'):
            build(pairs).core(k, repeat=True)


def test_core_renumbers():
    """Item 0 goes; hence user 0; hence item 1 has too few, which one pass leaves."""
    pairs = [(0, 0), (0, 1), (2, 1), (2, 3), (4, 3), (4, 5), (2, 5)]
    marks = torch.tensor([False] * 5 + [True] * 2)
    graph = build(
        pairs,
        intervened=marks,
        popularity=torch.full((I,), 9),
        user_ids=list('abcde'),
        item_ids=pd.Index([10, 11, 12, 13, 14, 15]),
    )
    core = graph.core(2)
    assert edges(core) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2)]
    assert (list(core.user_ids), list(core.item_ids)) == (['c', 'e'], [11, 13, 15])
    assert core.intervened.tolist() == [False, False, True, False, True]
    assert core.popularity.tolist() == [1, 2, 2]  # Counted anew.
    core = graph.core(2, repeat=True)
    assert edges(core) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert (list(core.user_ids), list(core.item_ids)) == (['c', 'e'], [13, 15])


# Devices.


def test_to_drops_what_was_kept():
    """No value may stay behind: the meta device stands for any other one."""
    graph = build(
        PAIRS, intervened=torch.ones(6, dtype=torch.bool), user_ids=list('abcde')
    )
    before = (
        graph.adjacency(),
        graph.edge_index,
        graph.unseen,
        graph.ptr,
        graph.item_degree,
    )
    graph.contains(graph.user, graph.item)
    moved = graph.to('meta')
    tensors = {n: v for n, v in vars(moved).items() if isinstance(v, torch.Tensor)}
    assert set(tensors) == {'user', 'item', 'popularity', 'intervened'}
    assert {tensor.device.type for tensor in tensors.values()} == {'meta'}
    assert set(vars(moved)) - set(tensors) == {
        *('num_users', 'num_items', 'catalogue', 'user_ids', 'item_ids')
    }
    assert moved.user_ids == list('abcde') and moved.num_items == I
    # The graph itself is as it was.
    assert graph.device.type == 'cpu' and graph.adjacency()[0] is before[0][0]
    assert graph.edge_index is before[1] and graph.unseen is before[2]


def test_to_the_same_device():
    graph = build(PAIRS)
    assert graph.to('cpu') is graph.to(torch.device('cpu')) is graph


def test_on_another_device(device):
    graph = build(PAIRS)
    graph.adjacency(), graph.unseen
    moved = graph.to(device)
    assert moved.to(device) is moved
    assert moved.device.type == device.type
    user, item = torch.arange(U, device=device)[:, None], torch.arange(I, device=device)
    assert moved.contains(user, item).nonzero().tolist() == [
        list(p) for p in edges(graph)
    ]
    for self_loops in (False, True):
        for one, two in zip(
            graph.adjacency(self_loops), moved.adjacency(self_loops), strict=True
        ):
            assert two.device.type == device.type
            torch.testing.assert_close(torch.Tensor(one), torch.Tensor(two.cpu()))
    assert moved.unseen.total.tolist() == graph.unseen.total.tolist()
    core = moved.core(2)
    assert core.device.type == device.type and by_name(core) == by_name(graph.core(2))
    assert edges(moved.subgraph(moved.user == 3)) == [(3, 0), (3, 1), (3, 5)]


# Where graphs come from.


def test_from_pandas():
    """Ids are numbered as they first come."""
    log = pd.DataFrame({'who': ['b', 'a', 'b', 'b'], 'what': [30, 7, 7, 30]})
    graph = BipartiteGraph.from_pandas(log, user='who', item='what')
    assert (graph.num_users, graph.num_items) == (2, 2)
    assert (list(graph.user_ids), list(graph.item_ids)) == (['b', 'a'], ['30', '7'])
    assert by_name(graph) == {('b', '30'), ('a', '7'), ('b', '7')}
    assert graph.popularity.tolist() == [1, 2]


def test_from_pandas_with_tables():
    """Whose order counts, and whose further rows are nodes."""
    graph = BipartiteGraph.from_pandas(
        pd.DataFrame({'user': ['b', 'a'], 'item': [30, 7]}),
        users=pd.DataFrame({'user': ['z', 'a', 'b'], 'age': [1, 2, 3]}),
        items=pd.DataFrame({'item': [7, 8, 30, 9]}),
    )
    assert (graph.num_users, graph.num_items) == (3, 4)
    assert list(graph.user_ids) == ['z', 'a', 'b']
    assert list(graph.item_ids) == ['7', '8', '30', '9']
    assert edges(graph) == [(1, 0), (2, 2)]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'users': {'user': ['a', 'c']}}, "'user'.*absent from the user table.*: b$"),
        ({'items': {'item': [30, 8]}}, "'item'.*absent from the item table.*: 7$"),
        ({'users': {'user': ['a', 'b', 'a']}}, 'user table holds an id twice: a'),
        ({'items': {'thing': [7, 30]}}, "item table has no column 'item'.*thing"),
        (
            {'interactions': {'user': ['a', 'b']}},
            "interactions table has no column 'item'",
        ),
        ({'interactions': {'user': [], 'item': []}}, 'interactions table is empty'),
        ({'interactions': {'user': ['a', None], 'item': [7, 7]}}, 'no id in row 1'),
    ],
)
def test_bad_tables(change, message):
    tables = {'interactions': {'user': ['b', 'a'], 'item': [30, 7]}, **change}
    tables = {name: pd.DataFrame(table) for name, table in tables.items()}
    with pytest.raises(ValueError, match=message):
        BipartiteGraph.from_pandas(**tables)


@pytest.mark.parametrize('kind', [coo_matrix, coo_array, csr_matrix])
def test_from_scipy(kind):
    data = np.array([2.0, 0.0, -1.0, 5.0])
    place = np.array([2, 0, 0, 2]), np.array([1, 0, 3, 0])
    matrix = kind((data, place), shape=(4, 5))
    assert matrix.nnz == 4  # The explicit zero is there.
    graph = BipartiteGraph.from_scipy(matrix)
    assert edges(graph) == [(0, 3), (2, 0), (2, 1)]
    assert (graph.num_users, graph.num_items) == (4, 5)
    assert graph.user.dtype == graph.item.dtype == torch.long
    assert graph.popularity.tolist() == [1, 1, 0, 1, 0]


@pytest.fixture
def dataset():
    log = pd.DataFrame(
        [('b', 0, 1), ('a', 2, 0), ('b', 2, 1), ('b', 2, 0), ('a', 1, 1), ('b', 0, 1)],
        columns=['user', 'item', 'like'],
    )
    return InteractionDataset.from_pandas(
        log.assign(day='mo'),
        users=pd.DataFrame({'user': ['z', 'a', 'b']}),
        items=pd.DataFrame({'item': range(4)}),
        schema=FeatureSchema(*[[Categorical(name)] for name in ('user', 'item', 'day')]),
        label='like',
    )


def test_from_dataset(dataset):
    """Rows with the label 0 are no edges; without labels, all rows are."""
    graph = BipartiteGraph.from_dataset(dataset)
    assert edges(graph) == [(1, 1), (2, 0), (2, 2)]
    assert (graph.num_users, graph.num_items) == (3, 4)
    assert list(graph.user_ids) == ['z', 'a', 'b']
    assert list(graph.item_ids) == ['0', '1', '2', '3']
    unlabelled = dataset[:]
    unlabelled.y = None
    assert edges(BipartiteGraph.from_dataset(unlabelled)) == [
        *[(1, 1), (1, 2), (2, 0), (2, 2)]
    ]


def test_from_parts_of_a_dataset(dataset):
    parts = dataset[[0, 1]], dataset[[2]], dataset[[5]]
    assert edges(BipartiteGraph.from_dataset(*parts)) == [(2, 0), (2, 2)]
    parts[1].y = None
    assert edges(BipartiteGraph.from_dataset(dataset[[1]], parts[1])) == [(2, 2)]


def test_catalogue_of_the_first_dataset(dataset):
    first = dataset[[0, 1]]
    assert BipartiteGraph.from_dataset(first).catalogue is None
    first.catalogue = torch.tensor([0, 2, 3])
    graph = BipartiteGraph.from_dataset(first, dataset)
    assert graph.existing.tolist() == [0, 2, 3]
    assert BipartiteGraph.from_dataset(dataset, first).existing.tolist() == [0, 1, 2, 3]


# Wrong arguments.


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'user': [5, 0]}, r'User ids must be from 0 to less than 5 \(got 0 to 5\)'),
        ({'item': [6, 1]}, r'Item ids must be from 0 to less than 6 \(got 1 to 6\)'),
        ({'user': [0, -1]}, r'User ids .* \(got -1 to 0\)'),
        ({'user': [0.0, 1.0]}, r'User ids must be integers.*float32 of shape \(2,\)'),
        ({'item': [True, False]}, r'Item ids must be integers.*torch\.bool'),
        ({'item': [[0], [1]]}, r'Item ids must be .* of shape \(E\).*\(2, 1\)'),
        ({'item': [1]}, r'\(got 2 users and 1 items\)'),
        ({'popularity': [1] * 5}, r'of shape \(6\).*\(got shape \(5,\)\)'),
        ({'popularity': [[1] * 6]}, r'of shape \(6\).*\(got shape \(1, 6\)\)'),
        ({'popularity': [0, 1, -1, 0, 0, 0]}, '`popularity` must .* not be negative'),
        ({'popularity': [0.2, 0.3, 0.0, 0.1, 0.1, 0.3]}, '`popularity` must '),
        ({'intervened': [True]}, r'boolean, of shape \(2,\) .*of shape \(1,\)'),
        ({'intervened': [1, 0]}, r'boolean.*torch\.int64'),
        ({'catalogue': [0, 6]}, r'Catalogue ids must be from 0 to less than 6.*0 to 6\)'),
        ({'catalogue': [True] * 6}, r'Catalogue ids must be integers.*torch\.bool'),
        ({'user_ids': list('abcd')}, 'There are 5 users, but 4 user_ids'),
        ({'item_ids': range(7)}, 'There are 6 items, but 7 item_ids'),
    ],
)
def test_bad_arguments(change, message):
    arguments = {'user': [0, 1], 'item': [1, 2], **change}
    arguments = {
        name: value if name.endswith('_ids') else torch.tensor(value)
        for name, value in arguments.items()
    }
    with pytest.raises(ValueError, match=message):
        BipartiteGraph(num_users=U, num_items=I, **arguments)
