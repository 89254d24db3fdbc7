"""The graph of users and items against sets, dense matrices and NetworkX."""

from collections import Counter

import networkx as nx
import numpy as np
import pandas as pd
import pytest
import torch
from clicks import columns, dense_adjacency, edges
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array, coo_matrix, csr_matrix
from shop import SALES, make_shop

from iedr_geo.data import BipartiteGraph, MultiCategorical, intervened_split

U, I = 5, 6  # noqa: E741
# Users 2, 4 and items 3, 4 lack.
PAIRS = [(3, 1), (0, 2), (3, 0), (0, 5), (1, 2), (3, 5)]
MARKS = [True, False, True, False, False, True]  # Of the edges of user 3.
PAIR = st.tuples(st.integers(0, U - 1), st.integers(0, I - 1))
LOGS = st.lists(PAIR, max_size=20)
AS_THEY_ARE = 'user_ids', 'item_ids', 'repeated_value', 'label_names'


def build(pairs, num_users=U, num_items=I, **arguments):
    arguments = {
        name: value if name in AS_THEY_ARE else torch.as_tensor(value)
        for name, value in arguments.items()
    }
    return BipartiteGraph(*columns(pairs), num_users, num_items, **arguments)


def by_id(graph):
    """Returns the edges, with the ids of users and items in the place of numbers."""
    return {(graph.user_ids[user], graph.item_ids[item]) for user, item in edges(graph)}


# Edges.


@given(st.lists(st.tuples(PAIR, st.booleans()), max_size=20))
def test_against_sets(rows):
    pairs = sorted({pair for pair, _ in rows})
    marks = [mark for _, mark in rows] if rows else torch.zeros(0).bool()
    graph = build([pair for pair, _ in rows], intervened=marks)
    assert edges(graph) == pairs and graph.num_edges == len(pairs)
    assert graph.intervened.tolist() == [(pair, True) in rows for pair in pairs]

    for part, mark in zip(graph.parts, (False, True), strict=True):
        own = [pair for pair in pairs if ((pair, True) in rows) == mark]
        assert edges(part) == own and part.intervened.tolist() == [mark] * len(own)
        assert (part.num_users, part.num_items) == (U, I)
        assert torch.equal(part.popularity, graph.popularity)
        assert int(part.item_degree.sum()) == len(own)  # Not what was kept of the whole.
        numbers = (graph.intervened == mark).nonzero().view(-1).flip(0)
        assert edges(graph.subgraph(numbers)) == own

    dense = torch.zeros(U, I, dtype=torch.bool)
    for pair in pairs:
        dense[pair] = True
    user, item = torch.arange(U), torch.arange(I)
    assert graph.user_degree.tolist() == dense.sum(1).tolist()
    assert graph.item_degree.tolist() == dense.sum(0).tolist()
    assert torch.equal(graph.popularity, graph.item_degree)  # Users, not rows.
    assert graph.ptr.tolist() == [0, *dense.sum(1).cumsum(0).tolist()]
    for one in range(U):
        assert torch.equal(graph.positives(one), item[dense[one]])
    assert torch.equal(graph.contains(user[:, None], item), dense)
    assert torch.equal(graph.contains(user, item[:, None, None]), dense.t()[:, None])
    assert torch.equal(graph.contains(user[1], item), dense[1])
    assert graph.contains(user[:0], item[0]).shape == (0,)

    edge_index = graph.edge_index.validate()
    assert edge_index.sparse_size() == (U, I)
    assert edge_index.is_sorted_by_row and not edge_index.is_undirected
    assert list(map(tuple, edge_index.t().tolist())) == pairs
    # Users without edges have no positives to draw for.
    fewest, left = graph.fewest_unseen
    assert left == I - dense.sum(1).max() == I - dense[fewest].sum()


# Values and labels.


def values_of(graph):
    """Returns the value of each edge, with ids in the place of numbers."""
    users, items = graph.user_ids[graph.user.numpy()], graph.item_ids[graph.item.numpy()]
    return dict(zip(zip(users, items, strict=True), graph.value.tolist(), strict=True))


@given(st.lists(st.tuples(PAIR, st.integers(1, 3)), max_size=20))
def test_values_against_a_dictionary(rows):
    """Of a pair that recurs, the last one."""
    pairs, values = [pair for pair, _ in rows], [value for _, value in rows]
    ratings = torch.tensor(values, dtype=torch.double)
    graph, last = build(pairs, value=ratings), dict(rows)
    assert values_of(graph) == last and graph.value.dtype == torch.double
    assert all(graph.value[e] == last[pair] for e, pair in enumerate(edges(graph)))
    kept = torch.arange(graph.num_edges).flip(0)[::2]
    some = [pair for e, pair in enumerate(edges(graph)) if e in kept]
    assert values_of(graph.subgraph(kept)) == {pair: last[pair] for pair in some}
    if last:
        core = graph.core(1)
        assert values_of(core) == last and core.num_items <= I
    other = graph.transpose()
    assert (other.num_users, other.num_items) == (I, U)
    assert values_of(other) == {(i, u): value for (u, i), value in last.items()}
    assert edges(other) == sorted((i, u) for u, i in last)
    assert torch.equal(other.popularity, graph.user_degree)
    assert values_of(other.transpose()) == last

    different = len({*rows}) > len(last)
    if different:
        with pytest.raises(ValueError, match='comes with several values, among them'):
            build(pairs, value=ratings, repeated_value='error')
    else:
        assert values_of(build(pairs, value=ratings, repeated_value='error')) == last


def test_values_go_everywhere(device):
    labels = torch.eye(I).bool()
    graph = build(PAIRS, value=range(6), item_labels=labels, intervened=MARKS)
    assert graph.value.dtype == torch.float32 and graph.label_names == tuple('012345')
    moved = graph.to(device)
    assert moved.value.device.type == moved.item_labels.device.type == device.type
    both = {k: v for part in moved.parts for k, v in values_of(part.to('cpu')).items()}
    assert both == values_of(graph) == dict(zip(PAIRS, range(6), strict=True))
    for part in intervened_split(graph, 0.7, 0.9):
        assert values_of(part).items() <= both.items()
        assert part.item_labels is graph.item_labels
    core = graph.core(1)  # Without items 3 and 4.
    assert torch.equal(core.item_labels, labels[core.item_ids.tolist()])
    assert core.label_names == graph.label_names
    back = graph.transpose()
    assert back.intervened.tolist() == [
        graph.intervened[edges(graph).index((user, item))] for item, user in edges(back)
    ]
    assert back.item_labels is None and back.label_names == ()


def test_fingerprint_of_values_and_labels():
    """Whatever differs is found; a graph without either is as it always was."""
    labels = torch.eye(I).bool()
    several = [
        build(PAIRS),
        build(PAIRS, value=range(6)),
        build(PAIRS, value=range(1, 7)),
        build(PAIRS, item_labels=labels),
        build(PAIRS, item_labels=~labels),
    ]
    prints = [graph.fingerprint('rows') for graph in several]
    assert len({*prints}) == 5
    assert prints[0].digest == '67eda63ab00107e7'
    assert build(PAIRS, value=range(6)).fingerprint('rows') == prints[1]
    assert len({graph.fingerprint('item') for graph in several}) == 1


def test_small_integers_as_ids():
    """Their products, by which pairs are told apart, would overflow."""
    user = torch.tensor([50_000, 3], dtype=torch.int32)
    item = torch.tensor([60_000, 2], dtype=torch.int32)
    graph = BipartiteGraph(user, item, 50_001, 60_001)
    assert edges(graph) == [(3, 2), (50_000, 60_000)]
    assert graph.contains(user, item).tolist() == [True, True]


@pytest.mark.parametrize('size', [(U, I), (0, 0)])
def test_nothing(size):
    graph = build([], *size)
    assert (graph.num_edges, graph.ptr.tolist()) == (0, [0] * (size[0] + 1))
    assert graph.popularity.tolist() == [0] * size[1]
    assert graph.unseen.total.tolist() == [size[1]] * size[0]
    assert graph.adjacency()[0].shape == (2, 0)
    assert graph.adjacency(self_loops=True)[1].tolist() == [1.0] * sum(size)


# What users do not have.


@given(
    LOGS,
    st.none() | st.lists(st.integers(0, I - 1), min_size=1),
    st.lists(st.integers(0, 3), min_size=I, max_size=I),
)
def test_unseen(pairs, catalogue, popularity):
    exists = range(I) if catalogue is None else sorted(set(catalogue))
    limits = {} if catalogue is None else {'catalogue': catalogue}
    given_counts = torch.tensor(popularity, dtype=torch.int32)
    graph = build(pairs, popularity=given_counts, **limits)
    assert graph.popularity.tolist() == popularity
    assert graph.popularity.dtype == torch.long
    assert graph.existing.tolist() == list(exists)
    order = sorted(range(I), key=lambda item: (popularity[item], item))
    assert graph.by_popularity.tolist() == order
    assert graph.sorted_popularity.tolist() == sorted(popularity)
    for user in range(U):
        left = [i for i in order if (user, i) not in pairs and i in exists]
        long = [item for item in left for _ in range(popularity[item])]
        every = (graph.unseen, left), (graph.unseen_by_popularity, long)
        for unseen, expected in every:
            assert unseen.total[user] == len(expected)
            position = torch.arange(len(expected))
            drawn = unseen.at(torch.full_like(position, user), position)
            assert drawn.tolist() == expected
    assert graph.fewest_unseen[1] == min(graph.unseen.total.tolist())


def test_catalogue_stays(device):
    graph = build(PAIRS, catalogue=[5, 1, 2, 5])  # In any order.
    for other in (graph.to(device), graph.subgraph(graph.user == 3), graph.to('cpu')):
        assert other.existing.tolist() == other.catalogue.tolist() == [1, 2, 5]
    assert graph.to(device).existing.device.type == device.type
    core = graph.core(1)  # Without items 3 and 4.
    assert core.item_ids[core.existing.numpy()].tolist() == [1, 2, 5]
    assert build(PAIRS).core(1).existing.tolist() == [0, 1, 2, 3]
    for part in intervened_split(graph, 0.7, 0.9):
        assert part.existing.tolist() == [1, 2, 5]


# Adjacency.


@pytest.mark.parametrize('self_loops', [False, True])
@given(LOGS)
def test_adjacency(self_loops, pairs):
    graph = build(pairs)
    edge_index, weight = graph.adjacency(self_loops)
    edge_index.validate()  # Sorted by row, in range, and undirected, as it claims.
    assert edge_index.sparse_size() == (U + I, U + I)
    assert edge_index.is_sorted_by_row and edge_index.is_undirected
    expected = dense_adjacency(graph, self_loops)
    # Of each row by column, too: as PyG's own sort leaves it.
    assert edge_index.t().tolist() == expected.nonzero().tolist()
    weights = expected[expected > 0].float()
    torch.testing.assert_close(weight, weights, rtol=1e-6, atol=0)


# Parts of the graph.


def core_in_one_pass(pairs, k):
    of_item = Counter(item for _, item in pairs)
    left = [pair for pair in pairs if of_item[pair[1]] >= k]
    of_user = Counter(user for user, _ in left)
    return {pair for pair in left if of_user[pair[0]] >= k}


def core_repeated(pairs, k):
    network = nx.Graph(((0, user), (1, item)) for user, item in pairs)
    return {(min(e)[1], max(e)[1]) for e in nx.k_core(network, k).edges}


@pytest.mark.parametrize('core', [core_in_one_pass, core_repeated])
@given(LOGS, st.integers(0, 3))
def test_core(core, pairs, k):
    left, repeat = sorted(core(set(pairs), k)), core is core_repeated
    marks = torch.tensor([sum(pair) % 2 == 0 for pair in pairs], dtype=torch.bool)
    ids = {'user_ids': range(10, 10 + U), 'item_ids': pd.Index(range(20, 20 + I))}
    graph = build(pairs, intervened=marks, popularity=[9] * I, **ids)
    if not left:
        with pytest.raises(ValueError, match=f'No edge is left: users .* of {k} edges'):
            graph.core(k, repeat)
        return
    part = graph.core(k, repeat)
    users, items = (sorted(set(ids)) for ids in zip(*left, strict=True))
    assert part.user_ids.tolist() == [10 + user for user in users]
    assert part.item_ids.tolist() == [20 + item for item in items]
    assert edges(part) == [(users.index(u), items.index(i)) for u, i in left]
    assert (part.num_users, part.num_items) == (len(users), len(items))
    assert part.intervened.tolist() == [sum(pair) % 2 == 0 for pair in left]
    assert torch.equal(part.popularity, part.item_degree)  # Counted anew.


@given(LOGS, st.permutations(range(U)), st.permutations(range(I)))
def test_among(pairs, users, items):
    """In the order that they are named in, with or without edges."""
    users, items = users[:3], items[:4]
    part = build(pairs).among(torch.tensor(users), torch.tensor(items))
    kept = {(u, i) for u, i in pairs if u in users and i in items}
    assert edges(part) == sorted((users.index(u), items.index(i)) for u, i in kept)
    assert (part.user_ids.tolist(), part.item_ids.tolist()) == (users, items)


# Devices.


def test_to_drops_what_was_kept():
    """No value may stay behind: the meta device stands for any other one."""
    graph = build(PAIRS, intervened=MARKS, user_ids=list('abcde'))
    names = ('edge_index', 'unseen', 'unseen_by_popularity', 'by_popularity', 'ptr')
    before = {name: getattr(graph, name) for name in names}
    graph.contains(graph.user, graph.item)
    moved = graph.to('meta')
    tensors = {n: v for n, v in vars(moved).items() if isinstance(v, torch.Tensor)}
    assert set(tensors) == {'user', 'item', 'popularity', 'intervened'}
    assert {tensor.device.type for tensor in tensors.values()} == {'meta'}
    assert set(vars(moved)) - set(tensors) == {
        *('num_users', 'num_items', 'catalogue', 'user_ids', 'item_ids'),
        *('value', 'item_labels', 'label_names'),
        *('repeated', 'exclude_seen'),
    }
    assert list(moved.user_ids) == list('abcde') and moved.num_items == I
    # The graph itself is as it was, and has computed each of them once.
    assert graph.device.type == 'cpu'
    assert all(getattr(graph, name) is before[name] for name in names)
    assert str(moved) == (
        'BipartiteGraph(num_users=5, num_items=6, num_edges=6, repeated=0.0%, '
        'exclude_seen=True)'
    )


def test_on_another_device(device):
    graph = build(PAIRS)
    assert graph.to('cpu') is graph.to(torch.device('cpu')) is graph
    moved = graph.to(device)
    assert moved.to(device) is moved
    assert moved.device.type == device.type
    user, item = torch.arange(U, device=device)[:, None], torch.arange(I, device=device)
    found = moved.contains(user, item).nonzero()
    assert list(map(tuple, found.tolist())) == edges(graph)
    for self_loops in (False, True):
        pairs = zip(graph.adjacency(self_loops), moved.adjacency(self_loops), strict=True)
        for one, two in pairs:
            assert two.device.type == device.type
            torch.testing.assert_close(torch.Tensor(one), torch.Tensor(two.cpu()))
    assert moved.unseen.total.tolist() == graph.unseen.total.tolist()
    core = moved.core(2)
    assert core.device.type == device.type and by_id(core) == by_id(graph.core(2))
    assert edges(moved.subgraph(moved.user == 3)) == [(3, 0), (3, 1), (3, 5)]


# Where graphs come from.


def test_from_pandas():
    """Ids are numbered as they first come, or as in tables, which may have more."""
    log = pd.DataFrame({'who': ['b', 'a', 'b', 'b'], 'what': [30, 7, 7, 30]})
    graph = BipartiteGraph.from_pandas(log, user='who', item='what')
    assert (graph.num_users, graph.num_items) == (2, 2)
    assert (list(graph.user_ids), list(graph.item_ids)) == (['b', 'a'], [30, 7])
    assert by_id(graph) == {('b', 30), ('a', 7), ('b', 7)}
    assert graph.popularity.tolist() == [1, 2]
    users = pd.DataFrame({'who': ['z', 'a', 'b'], 'age': [1, 2, 3]})
    items = pd.DataFrame({'what': [7, 8, 30, 9]})
    more = BipartiteGraph.from_pandas(log, 'who', 'what', users, items)
    assert (more.num_users, more.num_items) == (3, 4)
    assert list(more.user_ids) == ['z', 'a', 'b']
    assert list(more.item_ids) == [7, 8, 30, 9] and more.item_ids.name == 'what'
    assert by_id(more) == by_id(graph)
    with pytest.raises(ValueError, match=r"two columns \(got 'who' for both"):
        BipartiteGraph.from_pandas(log, 'who', 'who')


def test_values_and_labels_from_pandas():
    log = pd.DataFrame({'user': [1, 2, 1], 'item': [7, 8, 7], 'stars': [3, 4.5, 1]})
    items = pd.DataFrame({'item': [9, 8, 7], 'kinds': ['b|a', None, 'c | a']})
    kinds = MultiCategorical('kinds', '|')
    graph = BipartiteGraph.from_pandas(log, items=items, value='stars', item_labels=kinds)
    assert values_of(graph) == {(1, 7): 1, (2, 8): 4.5}
    assert graph.label_names == ('a', 'b', 'c')
    of_item = [''.join(np.array(['a', 'b', 'c'])[row]) for row in graph.item_labels]
    assert of_item == ['ab', '', 'ac']
    common = MultiCategorical('kinds', '|', min_count=2)
    graph = BipartiteGraph.from_pandas(log, items=items, item_labels=common)
    assert graph.value is None and graph.label_names == ('a',)
    assert graph.item_labels.tolist() == [[True], [False], [True]]

    with pytest.raises(
        ValueError, match=r'several values.* 3\.0 in row 0 and 1\.0 in row 2'
    ):
        BipartiteGraph.from_pandas(log, value='stars', repeated_value='error')
    with pytest.raises(ValueError, match="in column 'kinds' of the item table: pass `it"):
        BipartiteGraph.from_pandas(log, item_labels=kinds)
    with pytest.raises(ValueError, match="item table has no column 'kinds'"):
        BipartiteGraph.from_pandas(log, items=items[['item']], item_labels=kinds)
    with pytest.raises(TypeError, match='`item_labels` must be of the class MultiCat'):
        BipartiteGraph.from_pandas(log, items=items, item_labels='kinds')
    for cells, message in (
        ([3, None, 1], "'stars' has no finite number in row 1"),
        ([3, 'many', 1], "'stars' must hold numbers: .*many"),
    ):
        with pytest.raises(ValueError, match=message):
            BipartiteGraph.from_pandas(log.assign(stars=cells), value='stars')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'users': {'user': ['a', 'c']}}, "'user'.*absent from the user table.*: b$"),
        ({'items': {'thing': [7, 30]}}, "item table has no column 'item'.*thing"),
        ({'interactions': {'user': ['a']}}, "interactions.* no column 'item'"),
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
    matrix = kind((data, ([2, 0, 0, 2], [1, 0, 3, 0])), shape=(4, 5))
    assert matrix.nnz == 4  # The explicit zero is there.
    graph = BipartiteGraph.from_scipy(matrix)
    assert edges(graph) == [(0, 3), (2, 0), (2, 1)]
    assert (graph.num_users, graph.num_items) == (4, 5)
    assert graph.user.dtype == graph.item.dtype == torch.long
    matrix.data[matrix.data < 0] = np.nan
    wrong = r'holds NaN in 1 cells, the first of user 0 and item 3: a cell'
    with pytest.raises(ValueError, match=wrong):
        BipartiteGraph.from_scipy(matrix)


def test_from_datasets():
    """Rows with the label 0 are no edges; without labels, all rows are."""
    dataset = make_shop(SALES.assign(liked=SALES.index % 3 == 0), label='liked')
    one, two, bare = dataset[:9], dataset[9:], dataset[9:]
    one.catalogue, bare.y = torch.tensor([0, 2, 3]), None
    for parts in ((dataset,), (one, two), (two, one), (one, bare)):
        graph = BipartiteGraph.from_dataset(*parts)
        rows = {
            (int(part.user[row]), int(part.item[row]))
            for part in parts
            for row in range(len(part))
            if part.y is None or part.y[row] == 1
        }
        assert edges(graph) == sorted(rows)
        assert (graph.num_users, graph.num_items) == (5, 12)
        for side in ('user', 'item'):
            ids, texts = getattr(graph, f'{side}_ids'), getattr(dataset, f'{side}_ids')
            assert ids.dtype == int and ids.name == getattr(dataset, f'{side}_name')
            assert [*map(str, ids)] == [*texts]
        exists = [0, 2, 3] if parts[0] is one else list(range(12))
        assert graph.existing.tolist() == exists  # The catalogue of the first.
    other = make_shop()
    other.item_ids = other.item_ids[::-1]
    with pytest.raises(ValueError, match=r'parts of one log: the items .* differ, 12 th'):
        BipartiteGraph.from_dataset(dataset, other)


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
        ({'popularity': [0, 1, -1, 0, 0, 0]}, '`popularity` must .* not be negative'),
        ({'popularity': [0.2, 0.3, 0.0, 0.1, 0.1, 0.3]}, '`popularity` must '),
        ({'intervened': [True]}, r'boolean, of shape \(2,\) .*of shape \(1,\)'),
        ({'intervened': [1, 0]}, r'boolean.*torch\.int64'),
        ({'value': [1.0]}, r'`value` must be of shape \(2,\) \(got \(1,\)\)'),
        ({'value': [1.0, float('nan')]}, r'not finite in row 1 \(1 rows in all'),
        ({'value': [1, 2], 'repeated_value': 'mean'}, "'last' or 'error'.*'mean'"),
        ({'item_labels': [[1.0]] * 6}, r'boolean, of shape \(6, C\).*float32'),
        ({'item_labels': [[True]]}, r'of shape \(6, C\).*shape \(1, 1\)'),
        ({'item_labels': [[True]] * 6, 'label_names': 'ab'}, 'are 1 labels.* 2 `label'),
        ({'label_names': 'ab'}, 'are `label_names`, but no `item_labels`'),
        ({'catalogue': [0, 6]}, r'Catalogue ids must be from 0 to less than 6.*0 to 6\)'),
        ({'user_ids': list('abcd')}, 'There are 5 users, but 4 user_ids'),
        ({'item_ids': range(7)}, 'There are 6 items, but 7 item_ids'),
        ({'user_ids': list('abcdb')}, "'user_ids' of the graph holds an id twice: b$"),
        ({'item_ids': pd.Index(list('aabbcd'))}, "'item_ids' .* an id twice: a, b$"),
        ({'user_ids': [1, 2, '1', 3, 4.0]}, "'user_ids' .* holds an id twice: 1$"),
        ({'user_ids': pd.Index([1, 2, None, 3, 4])}, "'user_ids' .* no id in row 2"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {'user': [0, 1], 'item': [1, 2], **change}
    arguments = {
        name: value if name in AS_THEY_ARE else torch.tensor(value)
        for name, value in arguments.items()
    }
    with pytest.raises(ValueError, match=message):
        BipartiteGraph(num_users=U, num_items=I, **arguments)
