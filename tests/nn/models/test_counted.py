"""Baselines that count, against loops over rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn.models.context_popularity import ContextPopularity, PairCounts
from iedr_geo.nn.models.popularity import Popularity
from iedr_geo.nn.models.repeat import Repeat
from iedr_geo.testing import toy_dataset

MODELS = [Popularity, ContextPopularity, Repeat]
TOY = toy_dataset()
U, I, C = TOY.num_users, TOY.num_items, TOY.num_contexts  # noqa: E741
GRAPH = BipartiteGraph(TOY.user, TOY.item, U, I)
ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),  # Few, so that pairs recur; the last have no rows.
        st.sampled_from([0, 1, 2, I - 1]),
        st.integers(0, 1),
        st.booleans(),
    ),
    max_size=25,
)


def log(rows, labels=True):
    """A dataset of the toy's users, items and contexts."""
    data = TOY[torch.zeros(len(rows), dtype=torch.long)]
    table = torch.tensor(rows, dtype=torch.long).reshape(-1, 4)
    data.user, data.item, data.context, y = table.unbind(1)
    data.y = y.float() if labels else None
    return data


def all_triples(device='cpu'):
    """Every user, item and context, those without a row and the unknown ones too."""
    ids = [torch.arange(-1, size, device=device) for size in (U, I, C)]
    return torch.cartesian_prod(*ids).unbind(1)


class Ids:
    """What the models read of a batch."""

    def __init__(self, user, item, context):
        self.user_id, self.item_id, self.context_id = user, item, context


def reference(rows):
    """The scores of every triple by the three models, row by row."""
    had = [row[:3] for row in rows]

    def popularity(item):
        return sum(i == item for _, i, _ in had)

    def in_context(item, context):
        here = sum((i, c) == (item, context) for _, i, c in had)
        return here + popularity(item) / (len(had) + 1)

    different = {in_context(i, c) for i in range(I) for c in range(-1, C)}
    scores = []
    for user, item, context in zip(*(t.tolist() for t in all_triples()), strict=True):
        here = in_context(item, context)
        rank = sum(other <= here for other in different) / (len(different) + 1)
        mine = sum((u, i) == (user, item) for u, i, _ in had)
        scores.append((popularity(item), here, mine + rank))
    return torch.tensor(scores, dtype=torch.double).unbind(1)


@given(ROWS, st.booleans())
def test_rows(rows, labels):
    data = log(rows, labels)
    counted = [row for row in rows if row[3] or not labels]
    for model, expected in zip(MODELS, reference(counted), strict=True):
        scores = model.fit(data)(Ids(*all_triples()))
        torch.testing.assert_close(scores, expected, rtol=1e-14, atol=0)


@given(ROWS)
def test_graphs(rows):
    """A pair is one edge, however often it recurs, in no context."""
    pairs = sorted({row[:2] for row in rows})
    user, item = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    graph = BipartiteGraph(user, item, U, I)
    degree = [0, *(sum(i == item for _, i in pairs) for item in range(I))]
    ranks = sorted(set(degree[1:]))
    ids = torch.arange(-1, U).unsqueeze(1), torch.arange(-1, I)
    popularity, repeat = Popularity.fit(graph).score(*ids), Repeat.fit(graph).score(*ids)
    for u in range(-1, U):
        assert popularity[u + 1].tolist() == degree
        for i in range(-1, I):
            rank = sum(other <= degree[i + 1] for other in ranks) / (len(ranks) + 1)
            assert repeat[u + 1, i + 1] == ((u, i) in pairs) + rank


def test_contexts_are_needed():
    with pytest.raises(ValueError, match=r'BipartiteGraph has no contexts.*Popularity'):
        ContextPopularity.fit(GRAPH)


@pytest.mark.parametrize('model', MODELS)
def test_casting_leaves_integers_and_nothing_counted_is_alike(model):
    fitted, users, items = model.fit(TOY), torch.arange(U).unsqueeze(1), torch.arange(I)
    expected = fitted.score(users, items)
    assert torch.equal(fitted.half().score(users, items), expected)
    assert (model(I)(Ids(*all_triples())) == 0).all()
    assert f'num_items={I}' in str(fitted)


@pytest.mark.parametrize('model', MODELS)
def test_batches_and_pairs(model, device):
    data = TOY.to(device)
    fitted = model.fit(data)
    user, item, context = all_triples(device)
    known = (user >= 0) & (item >= 0) & (context >= 0)
    batch = InteractionBatch.from_ids(data, user[known], item[known], context[known])
    expected = fitted(Ids(user, item, context))
    assert torch.equal(fitted(batch), expected[known])
    # Pairs are in no context.
    table = expected.view(U + 1, I + 1, C + 1)[..., 0]
    users, items = (torch.arange(-1, size, device=device) for size in (U, I))
    assert torch.equal(fitted.score(users.unsqueeze(1), items), table)
    assert torch.equal(fitted.score(users, items.unsqueeze(1)), table.t())
    assert torch.equal(fitted.score(users, items[3]), table[:, 3])
    # Their order in memory is another; nothing warns of it.
    pairs = torch.stack(torch.meshgrid(users, items, indexing='ij')).transpose(1, 2)
    assert torch.equal(fitted.score(*pairs), table.t())
    assert fitted.score(users[1], items[3]).shape == ()
    assert fitted.score(users[:0], items[3]).shape == (0,)


def test_large_counts_keep_their_order():
    """Float32 has room for none of these differences."""
    count = 2**25
    popularity = torch.tensor([count, count + 1, count + 2, 7])
    edges = torch.tensor([[0, 0], [0, 1]])
    graph = BipartiteGraph(*edges, 1, 4, popularity=popularity)
    user, items = torch.tensor(0), torch.arange(4)
    model = Popularity.fit(graph)
    assert model.score(user, items).tolist() == graph.popularity.tolist()
    model.count.zero_()  # It is its own.
    assert graph.popularity.any()
    assert Repeat.fit(graph).score(user, items).argsort().tolist() == [3, 2, 0, 1]


def test_ids_of_few_bits():
    """Their products, by which pairs are told apart, would overflow."""
    pairs = PairCounts(60_000)
    left = torch.tensor([50_000, 3, 50_000], dtype=torch.int32)
    right = torch.tensor([59_999, 3, 59_999], dtype=torch.int32)
    pairs.fit(left, right)
    assert pairs(left, right).tolist() == [2, 1, 2]
    assert pairs.right.tolist() == [3, 59_999]
