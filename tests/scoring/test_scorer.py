"""Which scorer stands for a model, and what is refused."""

from collections.abc import Callable

import pytest
import torch
from shop import SALES, Pairs, make_graph, make_shop
from torch import Tensor

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import DICE, IEDR, MF
from iedr_geo.scoring import (
    CatalogueScorer,
    GraphScorer,
    IEDRScorer,
    InteractionScorer,
    Queries,
    VectorScorer,
    scorer,
)

SHOP, GRAPH = make_shop(), make_graph()
SMALL = BipartiteGraph(*torch.zeros(2, 1).long(), 1, 1)
SIZES = SHOP.num_users, SHOP.num_items, SHOP.num_contexts


def iedr(cls: type[IEDR] = IEDR) -> IEDR:
    return cls(SHOP.schema.num_embeddings, 4, 8, pointwise=True)


def mf(cls: type[MF] = MF) -> MF:
    return cls(*SIZES[:2], 4)


@pytest.mark.parametrize(
    'part', ['', 'embedding', 'encoders.item', 'generators.user.mlp', 'pointwise']
)
@pytest.mark.parametrize('kind', ['forward_pre', 'forward'])
def test_hooks_are_heard(part, kind):
    model, heard, queries = iedr(), [], Queries(*torch.zeros(2, 1).long())
    module = model.get_submodule(part)
    handle = getattr(module, f'register_{kind}_hook')(lambda *_: heard.append(0))
    made = scorer(model, SHOP)
    assert type(made) is InteractionScorer and made.parts == ()
    made.scores(queries)
    assert heard or part.endswith('mlp')  # Whose layers are read.
    handle.remove()
    assert type(scorer(model, SHOP)) is IEDRScorer


def test_a_hook_on_a_model_of_pairs_is_heard():
    model = DICE(mf(), GRAPH.popularity)
    before = scorer(model, GRAPH)
    model.backbone.item.register_forward_hook(lambda module, args, out: out + 1)
    after = scorer(model, GRAPH)
    assert (type(before), type(after)) == (VectorScorer, GraphScorer)
    zero = Queries(torch.zeros(1).long())
    assert not torch.allclose(before.scores(zero), after.scores(zero))


class Own(MF):
    """Has a scorer of its own, which does not say the same."""

    def forward(self, user, item):
        user, item = super().forward(user, item)
        return user, item + 1


class Lying(VectorScorer):
    def __init__(self, model, graph):
        super().__init__(model, graph)
        self.parts = ('whole',) if 'parts' in self.lie else ()

    def scores(self, queries, items=None):
        out = super().scores(queries, items)
        if 'shapes' in self.lie:
            out = out[:, 1:]
        elif items is None and 'mirrored' in self.lie:
            out = out.flip(1)
        elif items is None and 'its own' in self.lie:
            return vars(self).setdefault('table', out)
        elif 'scores' in self.lie or (
            'pairs' in self.lie and getattr(items, 'ndim', 1) > 1
        ):
            out[1, 2] += 1
        return out

    def split(self, queries, items):
        return {'whole': super().scores(queries, items) + 1}


@pytest.mark.parametrize(
    ('lie', 'message'),
    [
        ('scores', r'scores by Lying are not those of Own: user (\d) and item'),
        ('pairs', 'scores of pairs by Lying are not'),
        ('parts', 'parts by Lying are not'),
        ('shapes', r'scores by Lying must be of shape \(4, 8\) \(got \(4, 7\)\)'),
        ('mirrored', 'scores of the catalogue by Lying are not'),
        ('gives what is its own', 'scores of the catalogue by Lying are not'),
        ('', None),
    ],
)
def test_a_scorer_that_says_something_else_is_refused(lie, message):
    kind = type('Lying', (Lying,), {'lie': lie})
    scorer.register(Own, gives=('score', 'embeddings'))(kind)
    if message is None:
        assert type(scorer(mf(Own), GRAPH)) is kind
    else:
        with pytest.raises(ValueError, match=message):
            scorer(mf(Own), GRAPH)
    assert type(scorer(mf(), GRAPH)) is VectorScorer  # Others keep theirs.


class Both(Pairs):
    """Is a model of both kinds of data."""

    def forward(self, batch):
        return self.score(batch.user_id, batch.item_id)


class Tables(CatalogueScorer):
    """No more than a scorer has to have."""

    def __init__(self, model, data):
        super().__init__(data, torch.device('cpu'))
        self.table = model.table.detach()

    def scores(self, queries, items=None):
        rows = self.table[queries.user]
        if items is None:
            return rows
        return rows.gather(1, items.expand(len(queries), -1))


class PairScorer(GraphScorer):
    pass


def test_a_class_is_registered_for_each_kind_of_data():
    class Changed(Both):
        def forward(self, batch):
            return 3 * super().forward(batch)

    assert scorer.register(Both, gives=('forward',))(Tables) is Tables
    scorer.register(Both, gives=('score',))(PairScorer)
    made = scorer(Both(), SHOP)
    assert type(made) is Tables and type(scorer(Both(), GRAPH)) is PairScorer
    assert scorer(made, SHOP) is made
    assert type(scorer(Changed(), SHOP)) is InteractionScorer
    assert type(scorer(Changed(), GRAPH)) is PairScorer
    assert made.split(Queries(*torch.zeros(2, 1).long()), torch.arange(3)) == {}
    with pytest.raises(ValueError, match=r"no factor 'intrinsic' \(it has: none\)"):
        made.factor('intrinsic', 'user', Queries(torch.arange(1)), torch.arange(1))
    with pytest.raises(ValueError, match=r"no part 'cross' \(they have: none\)"):
        made.part('cross', Queries(torch.arange(1)))
    assert made.vectors('item') is made.seconds(10**9) is None
    assert repr(made) == 'Tables(num_users=5, num_items=12, parts=[])'
    for gives, message in (
        (('scores',), "must name 'forward' or 'score'"),
        (('score', 'scored'), "Both has no method 'scored'"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer.register(Both, gives=gives)


class Table:
    def score(self, user, item):
        return torch.zeros(3)


@pytest.mark.parametrize(
    ('make', 'data', 'message'),
    [
        (iedr, GRAPH, r'`score\(user, item\)`.*which IEDR does not'),
        (mf, SHOP, r'takes a batch; that of MF does not: .*item'),
        (Pairs, SHOP, r'`forward\(batch\)`, which Pairs does not'),
        (Table, SHOP, r'that of Table does not: .*not a callable'),
        (mf, SALES, r'or a BipartiteGraph \(got DataFrame\)'),
        (lambda: MF(4, 12, 4), GRAPH, '4 users .*12 items, the graph 5 and 12'),
        (iedr, make_shop(SALES[:1]), 'embeddings.* trained on another schema'),
        (lambda: VectorScorer(mf(), GRAPH), SMALL, '5 users .*12 .* data have 1 and 1'),
    ],
)
def test_what_does_not_fit(make, data, message):
    with pytest.raises((ValueError, TypeError), match=message):
        scorer(make(), data)


@pytest.mark.parametrize(
    ('make', 'data', 'message'),
    [
        (iedr, SHOP, 'need a context each'),
        (lambda: InteractionScorer(iedr(), SHOP), SHOP, 'need a context each'),
        (Table, GRAPH, r'\(1, 1\) with items of shape \(1, 12\)'),
    ],
)
def test_queries_and_answers_of_another_shape(make, data, message):
    zero = torch.zeros(1).long()
    with pytest.raises(ValueError, match=message):
        scorer(make(), data).scores(Queries(zero))
    made = scorer(lambda batch: batch.item_id.unsqueeze(1), SHOP)
    with pytest.raises(ValueError, match=r'each of the 12 rows .*shape \(12, 1\)'):
        made.scores(Queries(zero, zero))


WAYS: dict[str, Callable[..., Tensor]] = {
    'embedding': lambda model, ids, _: model.table(ids).squeeze(1),
    'end': lambda model, ids, _: model.table.weight[:-1][ids].squeeze(1),
    'count': lambda model, ids, _: model.count[ids],
    # Its last id has the score of what is new.
    'less': lambda model, ids, _: model.count[ids.clamp(min=0)] * (ids >= 0),
    'equal': lambda model, ids, _: model.table(ids.where(ids >= 0, 1)).squeeze(1),
    'graph': lambda _, ids, features: features,
}


class ById(torch.nn.Module):
    """Looks the ids of one side up in a table, in one way or another."""

    def __init__(self, side: str, way: str) -> None:
        super().__init__()
        self.side, self.way = side, way
        size = getattr(SHOP, f'num_{side}s')
        self.table = torch.nn.Embedding(size + 1, 1)
        self.register_buffer('count', torch.arange(size).flip(0))

    def forward(self, batch: InteractionBatch) -> Tensor:
        ids = getattr(batch, f'{self.side}_id')
        features = getattr(batch, self.side).x[getattr(batch, f'{self.side}_graph')]
        return WAYS[self.way](self, ids, features.float())


@pytest.mark.parametrize('side', ['user', 'item', 'context'])
@pytest.mark.parametrize('way', WAYS)
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


def test_a_new_user_and_a_new_item_at_once():
    """Each is asked about alone: of the other, an id is taken that there is."""
    zero = torch.zeros(1, dtype=torch.long)
    new = {'users': SHOP.users.select(zero), 'items': SHOP.items.select(zero)}
    queries = Queries(zero + SIZES[0], zero, **new)
    made = InteractionScorer(Both(), SHOP)
    with pytest.raises(ValueError, match='looks up the id of each user'):
        made.scores(queries, zero + SIZES[1])
