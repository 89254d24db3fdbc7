"""Which scorer stands for a model, and what is refused."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import torch
from shop import every_triple, make_graph, make_model, make_shop
from torch import Tensor

from iedr_geo.data import Categorical, FeatureSchema, InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import DICE, IEDR, MF, Popularity, Repeat
from iedr_geo.scoring import (
    CatalogueScorer,
    GraphScorer,
    IEDRScorer,
    InteractionScorer,
    Queries,
    VectorScorer,
    evaluating,
    scorer,
)

SHOP, GRAPH = make_shop(), make_graph()
SIZES = SHOP.num_users, SHOP.num_items, SHOP.num_contexts


def by_rows(model: IEDR, wanted: type[CatalogueScorer]) -> Tensor:
    """Checks scorer and scores on a dataset."""
    made = scorer(model, SHOP)
    assert type(made) is wanted
    user, context = torch.cartesian_prod(*map(torch.arange, SIZES[::2])).unbind(1)
    scores = made.scores(Queries(user, context)).view(SIZES[0], SIZES[2], SIZES[1])
    with evaluating(model):
        expected = model(every_triple(SHOP)).view(SIZES).transpose(1, 2)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    if made.parts:
        parts = made.split(Queries(user, context), torch.arange(SIZES[1]))
        total = sum(parts.values()).view_as(expected)
        torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)
    return scores


def by_pairs(model: Any, wanted: type[CatalogueScorer]) -> Tensor:
    """Checks scorer and scores on a graph."""
    made = scorer(model, GRAPH)
    assert type(made) is wanted
    scores = made.scores(Queries(torch.arange(SIZES[0])))
    with evaluating(model):
        pairs = torch.cartesian_prod(*map(torch.arange, SIZES[:2])).unbind(1)
        expected = model.score(*pairs).view(SIZES[:2])
    torch.testing.assert_close(scores, expected)
    return scores


class Forward(IEDR):
    def forward(self, batch):
        return 1 - 2 * super().forward(batch)


class Encode(IEDR):
    def encode(self, batch):
        encoded = super().encode(batch)
        return encoded._replace(logits=batch.item_id - encoded.logits)


class EncodeGraphs(IEDR):
    def encode_graphs(self, side, graphs):
        vector, pointwise = super().encode_graphs(side, graphs)
        return vector + 1, pointwise


class Readouts(IEDR):
    def readouts(self, batch):
        return super().readouts(batch)


class Renamed(IEDR):
    def extra_losses(self, batch, encoded):
        return {}


class Score(MF):
    def score(self, user, item):
        return -super().score(user, item) + item


class Embeddings(MF):
    def embeddings(self):
        user, item = super().embeddings()
        return user + 1, item


class Vectors(MF):
    """Changes what `score` and `embeddings` are both made of."""

    def forward(self, user, item):
        user, item = super().forward(user, item)
        return user.exp(), item


def iedr(cls: type[IEDR] = IEDR, **kwargs: Any) -> IEDR:
    return cls(SHOP.schema.num_embeddings, 4, 8, pointwise=True, **kwargs)


@pytest.mark.parametrize('cls', [Forward, Encode, EncodeGraphs, Readouts])
def test_a_model_of_rows_that_overrides_speaks_for_itself(cls):
    model = iedr(cls)
    own = by_rows(model, InteractionScorer)
    model.__class__ = IEDR
    same = torch.allclose(own, by_rows(model, IEDRScorer), rtol=1e-4, atol=1e-5)
    assert same == (cls in (EncodeGraphs, Readouts))  # That nothing else goes by.


@pytest.mark.parametrize('cls', [Score, Embeddings])
def test_a_model_of_pairs_that_overrides_speaks_for_itself(cls):
    by_pairs(cls(*SIZES[:2], 4), GraphScorer)


def test_what_else_a_subclass_changes_makes_no_difference():
    by_rows(iedr(Renamed), IEDRScorer)
    by_pairs(Vectors(*SIZES[:2], 4), VectorScorer)


def test_overrides_of_an_instance():
    model = iedr()
    model.forward = lambda batch: batch.item_id.float()
    by_rows(model, InteractionScorer)
    assert scorer(model, SHOP).parts == ()
    pairs = MF(*SIZES[:2], 4)
    pairs.score = lambda user, item: (user + item).float()
    by_pairs(pairs, GraphScorer)


@pytest.mark.parametrize(
    'part', ['', 'embedding', 'encoders.item', 'generators.user.mlp', 'pointwise']
)
@pytest.mark.parametrize('before', [True, False])
def test_hooks_are_heard(part, before):
    model = iedr()
    module, heard = model.get_submodule(part), []
    register = (
        module.register_forward_pre_hook if before else module.register_forward_hook
    )
    handle = register(lambda *_: heard.append(0))
    by_rows(model, InteractionScorer)
    assert heard or part.endswith('mlp')  # Whose layers are read.
    handle.remove()
    by_rows(model, IEDRScorer)


def test_a_hook_on_a_model_of_pairs_is_heard():
    model = DICE(MF(*SIZES[:2], 4, std=1), GRAPH.popularity)
    before = by_pairs(model, VectorScorer)
    model.backbone.item.register_forward_hook(lambda module, args, out: out + 1)
    assert not torch.allclose(by_pairs(model, GraphScorer), before)


class Liar(MF):
    """Has a scorer that does not say the same."""


class Registered(IEDR):
    """Has a scorer of its own."""


class RegisteredOnce(Registered):
    """Has what its parent's scorer stands for changed."""

    def forward(self, batch):
        return 3 * super().forward(batch)


class LyingScorer(VectorScorer):
    lie = 'scores'

    def scores(self, queries, items=None):
        out = super().scores(queries, items)
        pairs = items is not None and items.dim() == 2
        if self.lie == 'scores' or (self.lie == 'pairs' and pairs):
            out[1, 2] += 1
        return out

    def split(self, queries, items):
        return {'whole': super().scores(queries, items) + 1}


@pytest.mark.parametrize(
    ('lie', 'message'),
    [
        ('scores', r'scores by LyingScorer are not those of Liar: user (\d) and item'),
        ('pairs', 'scores of pairs by LyingScorer are not'),
        ('parts', 'parts by LyingScorer are not'),
    ],
)
def test_a_scorer_that_says_something_else_is_refused(lie, message, monkeypatch):
    monkeypatch.setattr(LyingScorer, 'lie', lie)

    @scorer.register(Liar, gives=('score', 'embeddings'))
    def make(model, graph):
        made = LyingScorer(model, graph)
        made.parts = ('whole',) if lie == 'parts' else ()
        return made

    with pytest.raises(ValueError, match=message):
        scorer(Liar(*SIZES[:2], 4), GRAPH)
    by_pairs(MF(*SIZES[:2], 4), VectorScorer)  # Others keep theirs.


def test_an_own_scorer_is_used_where_it_stands_for_the_model():
    class Tables(CatalogueScorer):
        def __init__(self, model, dataset):
            super().__init__(*SIZES[:2], torch.device('cpu'))
            with evaluating(model):
                self.table = model(every_triple(dataset)).view(SIZES)

        def scores(self, queries, items=None):
            rows = self.table[queries.user, :, queries.context]
            if items is None:
                return rows
            return rows.gather(1, items.expand(len(queries), -1))

    assert scorer.register(Registered, gives=('forward', 'encode'))(Tables) is Tables
    model = iedr(Registered)
    by_rows(model, Tables)
    by_rows(iedr(RegisteredOnce), InteractionScorer)
    assert type(scorer(iedr(), SHOP)) is IEDRScorer
    made = scorer(model, SHOP)
    assert made.split(Queries(*torch.zeros(2, 1).long()), torch.arange(3)) == {}
    with pytest.raises(ValueError, match=r"no factor 'intrinsic' \(it has: none\)"):
        made.factor('intrinsic', 'user', Queries(torch.arange(1)), torch.arange(1))
    assert made.vectors('item') is None
    assert made.seconds(10**9) is None
    assert repr(made) == 'Tables(num_users=5, num_items=12, parts=[])'
    with pytest.raises(ValueError, match="must name 'forward' or 'score'"):
        scorer.register(Registered, gives=('encode',))


def test_a_scorer_in_the_place_of_a_model():
    made = scorer(iedr(), SHOP)
    assert scorer(made, SHOP) is made
    other = make_shop()
    other.items = other.items.select(torch.arange(9))
    with pytest.raises(ValueError, match='5 users and 12 items, the data have 5 and 9'):
        scorer(made, other)


class OnlyScore(torch.nn.Module):
    def score(self, user, item):
        return (user + item).float()


class Table:
    def score(self, user, item):
        return torch.zeros(3)


def test_model_and_data_of_different_kinds():
    rows, pairs = iedr(), MF(*SIZES[:2], 4)
    with pytest.raises(ValueError, match=r'`score\(user, item\)`, which IEDR does not'):
        scorer(rows, GRAPH)
    with pytest.raises(ValueError, match=r'takes a batch; that of MF does not: .*item'):
        scorer(pairs, SHOP)
    with pytest.raises(ValueError, match=r'`forward\(batch\)`, which OnlyScore does not'):
        scorer(OnlyScore(), SHOP)
    with pytest.raises(ValueError, match=r'that of Table does not: .*not a callable'):
        scorer(Table(), SHOP)
    with pytest.raises(TypeError, match=r'or a BipartiteGraph \(got DataFrame\)'):
        scorer(pairs, pd.DataFrame())
    with pytest.raises(ValueError, match='4 users and 12 items, the graph 5 and 12'):
        scorer(MF(4, 12, 4), GRAPH)
    for made in (scorer(rows, SHOP), InteractionScorer(rows, SHOP)):
        with pytest.raises(ValueError, match='need a context each'):
            made.scores(Queries(torch.arange(2)))


def test_another_schema():
    schema = FeatureSchema(
        [Categorical('customer')], [Categorical('tags')], [Categorical('day')]
    )
    other = InteractionDataset.from_pandas(
        pd.DataFrame({'customer': [1], 'article': [2], 'day': ['mon']}),
        pd.DataFrame({'customer': [1]}),
        pd.DataFrame({'article': [2], 'tags': ['p']}),
        schema,
        user='customer',
        item='article',
    )
    with pytest.raises(ValueError, match='trained on another schema'):
        scorer(make_model(SHOP.schema), other)


def test_answers_of_another_shape():
    queries = Queries(*torch.zeros(2, 1).long())
    made = scorer(lambda batch: batch.item_id.unsqueeze(1), SHOP)
    with pytest.raises(ValueError, match=r'each of the 12 rows .*shape \(12, 1\)'):
        made.scores(queries)
    with pytest.raises(ValueError, match=r'\(1, 1\) with items of shape \(1, 12\)'):
        scorer(Table(), GRAPH).scores(Queries(torch.zeros(1).long()))


class ById(torch.nn.Module):
    """Looks the ids of one side up in a table, in one way or another."""

    def __init__(self, side: str, way: str) -> None:
        super().__init__()
        self.side, self.way = side, way
        size = getattr(SHOP, f'num_{side}s')
        self.size, self.table = size, torch.nn.Embedding(size + 1, 1)
        self.register_buffer('count', torch.arange(size).flip(0))

    def forward(self, batch: InteractionBatch) -> Tensor:
        ids = getattr(batch, f'{self.side}_id')
        if self.way == 'embedding':
            return self.table(ids).squeeze(1)
        if self.way == 'end':
            return self.table.weight[:-1][ids].squeeze(1)
        if self.way == 'count':
            return self.count[ids]
        if self.way == 'less':  # Its last id has the score of what is new.
            return torch.where(ids < 0, 0, self.count[ids.clamp(min=0)])
        if self.way == 'equal':
            return self.table(torch.where(ids == -1, self.size, ids)).squeeze(1)
        return getattr(batch, self.side).x[getattr(batch, f'{self.side}_graph')].float()


@pytest.mark.parametrize('side', ['user', 'item', 'context'])
@pytest.mark.parametrize('way', ['embedding', 'end', 'count', 'less', 'equal', 'graph'])
def test_ids_of_what_is_new(way, side):
    """A table's last row, or an error, is no answer for what is new."""
    made = scorer(ById(side, way), SHOP)
    size = {'user': 5, 'item': 12, 'context': 6}
    new = {f'{side}s': getattr(SHOP, f'{side}s').select(torch.tensor([2, 0]))}
    numbers = {name: torch.tensor([1, 0]) for name in size}
    numbers[side] = torch.tensor([1, size[side] + 1])
    queries = Queries(numbers['user'], numbers['context'], **new)
    assert made.scores(queries[:1], numbers['item'][:1]).shape == (1, 1)
    if way in ('embedding', 'end', 'count'):
        message = f'looks up the id of each {side}, and this {side} is new'
        for items in (numbers['item'], numbers['item'].expand(2, 2)):
            with pytest.raises(ValueError, match=message):
                made.scores(queries, items)
    else:
        scores = made.scores(queries, numbers['item'])
        assert way != 'less' or 0 in scores


def test_an_error_of_the_model_is_its_own():
    def broken(batch):
        raise RuntimeError('no score today')

    new = SHOP.users.select(torch.tensor([2]))
    queries = Queries(torch.tensor([5]), torch.tensor([0]), users=new)
    with pytest.raises(RuntimeError, match='no score today'):
        scorer(broken, SHOP).scores(queries)


@pytest.mark.parametrize('cls', [Popularity, Repeat])
def test_counted_models_know_nothing_of_what_is_new(cls):
    """Also where that is all that they know of the last user and the last item."""
    train = SHOP[(SHOP.item != SIZES[1] - 1) & (SHOP.user != SIZES[0] - 1)]
    new = {'users': SHOP.users, 'items': SHOP.items, 'contexts': SHOP.contexts}
    made = scorer(cls.fit(train), SHOP)
    queries = Queries(torch.tensor([5, 0]), torch.tensor([6, 0]), **new)
    stranger, known = made.scores(queries, torch.tensor([12, 0])).tolist()
    assert stranger[0] == known[0] < stranger[1] <= known[1]


class Pairwise(torch.nn.Module):
    """A score of its own for each pair of a graph, as a table."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(GRAPH.num_users, GRAPH.num_items))

    def score(self, user, item):
        return self.weight[user, item]


class Mirrored(GraphScorer):
    def scores(self, queries, items=None):
        out = super().scores(queries, items)
        return out.flip(1) if items is None else out


class Given(GraphScorer):
    """Gives the table of the model out of its hands."""

    def scores(self, queries, items=None):
        if items is None:
            return self.model.weight.data[int(queries.user[0]) :][: len(queries)]
        return super().scores(queries, items)


@pytest.mark.parametrize('factory', [Mirrored, Given])
def test_the_whole_catalogue_is_compared_as_well(factory):
    class Own(Pairwise):
        pass

    scorer.register(Own, gives=('score',))(factory)
    with pytest.raises(
        ValueError, match=f'The scores of the catalogue by {factory.__name__}'
    ):
        scorer(Own(), GRAPH)


def test_a_class_is_registered_for_each_kind_of_data():
    class Both(Pairwise):
        def forward(self, batch):
            return self.weight[batch.user_id % len(self.weight), 0]

    class Rows(InteractionScorer):
        pass

    class Pairs(GraphScorer):
        pass

    scorer.register(Both, gives=('forward',))(Rows)
    scorer.register(Both, gives=('score',))(Pairs)
    assert type(scorer(Both(), GRAPH)) is Pairs
    assert type(scorer(Both(), make_shop())) is Rows
    with pytest.raises(ValueError, match="Both has no method 'scored'"):
        scorer.register(Both, gives=('score', 'scored'))


def test_a_new_user_and_a_new_item_at_once():
    """Each is asked about alone: of the other, an id is taken that there is."""
    shop = make_shop()

    class Ids(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.user = torch.nn.Embedding(shop.num_users, 2)
            self.item = torch.nn.Embedding(shop.num_items, 2)

        def forward(self, batch):
            return (self.user(batch.user_id) * self.item(batch.item_id)).sum(dim=1)

    new = {'users': shop.users.select(torch.tensor([0]))}
    new['items'] = shop.items.select(torch.tensor([0]))
    zero = torch.zeros(1, dtype=torch.long)
    queries = Queries(zero + shop.num_users, zero, **new)
    with pytest.raises(ValueError, match='looks up the id of each user'):
        scorer(Ids(), shop).scores(queries, zero + shop.num_items)
