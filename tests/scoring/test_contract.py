"""Every scorer of every model against the model's own answer for every pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from shop import every_triple, make_graph, make_model, make_shop
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureGraphs,
    FeatureSchema,
    InteractionDataset,
)
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import (
    DICE,
    IEDR,
    IPS,
    MF,
    Biased,
    CausE,
    ContextPopularity,
    Factors,
    LightGCN,
    MLPGenerator,
    Popularity,
    Repeat,
)
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
from iedr_geo.scoring.top_k import first_of

SHOP, GRAPH = make_shop(), make_graph()
SIZES = SHOP.num_users, SHOP.num_items, SHOP.num_contexts
MANY = 17_003
TIGHT = {'rtol': 1e-10, 'atol': 1e-10}


class Own(torch.nn.Module):
    """A model with no more than `forward`, which has a vector for what is new."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(n + 1, 3) for n in SIZES)
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, batch: InteractionBatch) -> Tensor:
        ids = (batch.user_id, batch.item_id, batch.context_id)
        user, item, context = (
            table(torch.where(i < 0, n, i))
            for table, i, n in zip(self.tables, ids, SIZES, strict=True)
        )
        return self.dropout(user * item + context * item).sum(dim=1)


class OwnPairs:
    """No module, and no more than `score`."""

    def __init__(self) -> None:
        self.table = torch.randn(SIZES[:2], dtype=torch.double)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.table[user, item]


class OwnGenerator(torch.nn.Module):
    """Has nothing but `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = MLP([4, 5, 8], norm=None, act='tanh')

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        entity, context = torch.broadcast_tensors(entity, context)
        flat = self.mlp((entity * context).flatten(0, -2))
        return Factors(*flat.view(*entity.shape[:-1], 8).chunk(2, dim=-1))


class Shifted(MLPGenerator):
    """Changes `forward` and leaves `fold` as it was."""

    def forward(self, entity: Tensor, context: Tensor) -> Factors:
        intrinsic, extrinsic = super().forward(entity, context)
        return Factors(intrinsic, extrinsic.tanh() + 1)


class OwnEncoder(torch.nn.Module):
    """Sums nodes, each of whose rows it may be asked for on its own."""

    def forward(self, x: Tensor, *, ptr: Tensor, rows: Tensor | None, **_: Any) -> Tensor:
        sums = torch.segment_reduce(x, 'sum', offsets=ptr)
        return sums if rows is None else sums[rows]


def iedr(**kwargs: Any) -> Callable[[], torch.nn.Module]:
    return lambda: make_model(SHOP.schema, **kwargs)


def backbone() -> MF:
    return MF(*SIZES[:2], 4, std=1)


def by_ids(batch: InteractionBatch) -> Tensor:
    return batch.user_id * 100 + batch.item_id - 7 * batch.context_id


ROWS: dict[str, tuple[Callable[[], Any], type[CatalogueScorer]]] = {
    **{
        f'{generator} {encoder}': (
            iedr(generator=generator, encoder=encoder, pointwise=encoder != 'bi'),
            IEDRScorer,
        )
        for generator, encoder in [
            ('mlp', 'sign'),
            ('linear', 'mean'),
            ('nonlinear', 'mlp'),
            ('split', 'sign'),
            ('residual', 'sign'),
            ('residual', 'bi'),
        ]
    },
    'sum': (iedr(combine='sum'), IEDRScorer),
    'split sum': (iedr(generator='split', combine='sum'), IEDRScorer),
    'dropout': (iedr(dropout=0.5), IEDRScorer),
    'own generator': (iedr(generator=OwnGenerator()), IEDRScorer),
    'shifted generator': (iedr(generator=Shifted(4, 8)), IEDRScorer),
    'own encoder': (iedr(encoder=OwnEncoder()), IEDRScorer),
    'own': (Own, InteractionScorer),
    'function': (lambda: by_ids, InteractionScorer),
    'Popularity': (lambda: Popularity.fit(SHOP), InteractionScorer),
    'ContextPopularity': (lambda: ContextPopularity.fit(SHOP), InteractionScorer),
    'Repeat': (lambda: Repeat.fit(SHOP), InteractionScorer),
}
EDGES: dict[str, tuple[Callable[[], Any], type[CatalogueScorer]]] = {
    'MF': (backbone, VectorScorer),
    'LightGCN': (
        lambda: LightGCN(*SIZES[:2], *GRAPH.adjacency(), 4, dropout=0.5),
        VectorScorer,
    ),
    'DICE': (lambda: DICE(backbone(), GRAPH.popularity), VectorScorer),
    'IPS': (lambda: IPS(backbone(), GRAPH.popularity), VectorScorer),
    'CausE': (lambda: CausE(backbone()), VectorScorer),
    'Biased': (lambda: Biased(backbone()), VectorScorer),
    'own': (OwnPairs, GraphScorer),
    'Popularity': (lambda: Popularity.fit(GRAPH), GraphScorer),
    'Repeat': (lambda: Repeat.fit(GRAPH), GraphScorer),
}
CASES = [('rows', name) for name in ROWS] + [('edges', name) for name in EDGES]


def make(kind: str, name: str) -> tuple[Any, Any, CatalogueScorer]:
    """Returns a model in double precision, its data and what `scorer` chooses."""
    build, wanted = (ROWS if kind == 'rows' else EDGES)[name]
    model, data = build(), SHOP if kind == 'rows' else GRAPH
    if isinstance(model, torch.nn.Module):
        for parameter in model.double().parameters():
            if not parameter.any():  # The biases.
                torch.nn.init.normal_(parameter)
    made = scorer(model, data)
    assert type(made) is wanted
    return model, data, made


def answers(model: Any, data: Any) -> Tensor:
    """The model's own answers, (U, I, C), where a graph has a single context."""
    with evaluating(model):
        if isinstance(data, InteractionDataset):
            return model(every_triple(data)).view(SIZES)
        users, items = torch.arange(SIZES[0]), torch.arange(SIZES[1])
        return torch.stack(
            [
                torch.stack([model.score(user, item) for item in items.unbind()])
                for user in users.unbind()
            ]
        ).unsqueeze(2)


def ask(data: Any, user: list[int], context: list[int]) -> tuple[Queries, Tensor, Tensor]:
    """Queries, and where their answers are."""
    row, column = torch.tensor([user, context], dtype=torch.long).unbind()
    if data is GRAPH:
        return Queries(row), row, torch.zeros_like(column)
    return Queries(row, column), row, column


ASKED = [  # Contexts out of order, one that recurs, a query that comes twice.
    ([4, 2, 2, 0, 3, 2], [5, 1, 1, 0, 5, 3]),
    ([1], [2]),
    ([], []),
]


@pytest.mark.parametrize(('kind', 'name'), CASES)
def test_scores_are_the_models_own(kind, name):
    model, data, made = make(kind, name)
    table = answers(model, data)
    assert len(table.unique()) > 1
    assert (made.num_users, made.num_items) == SIZES[:2]
    for user, context in ASKED:
        queries, row, column = ask(data, user, context)
        expected = table[row, :, column].double()
        each = torch.randint(SIZES[1], (len(row), 5))
        for items, wanted in (
            (None, expected),
            (torch.tensor([9, 0, 4, 4, 11, 2]), expected[:, [9, 0, 4, 4, 11, 2]]),
            (torch.tensor([], dtype=torch.long), expected[:, :0]),
            (each, expected.gather(1, each)),
        ):
            scores = made.scores(queries, items)
            assert scores.shape == wanted.shape
            torch.testing.assert_close(scores.double(), wanted, **TIGHT)
            scores.fill_(torch.nan)  # Free to be overwritten.
            again = made.scores(queries, items).double()
            torch.testing.assert_close(again, wanted, **TIGHT)


@pytest.mark.parametrize(('kind', 'name'), CASES)
def test_parts_and_factors(kind, name):
    """They are those that the model's own pass over a batch has."""
    model, data, made = make(kind, name)
    queries, row, column = ask(data, *ASKED[0])
    items = torch.tensor([3, 3, 0, 11])
    parts = made.split(queries, items)
    assert tuple(parts) == made.parts
    if made.parts:
        wanted = made.scores(queries, items)
        torch.testing.assert_close(sum(parts.values()), wanted, **TIGHT)
        each = made.split(queries, items.expand(len(row), -1))
        for part, values in parts.items():
            torch.testing.assert_close(each[part], values, **TIGHT)
    if kind == 'rows' and made.parts:
        places = row.repeat_interleave(4), items.repeat(6), column.repeat_interleave(4)
        encoded = model.encode(InteractionBatch.from_ids(data, *places))
        for part, values in encoded.parts.items():
            torch.testing.assert_close(parts[part].flatten(), values, **TIGHT)
        for part in made.factors:
            for side, index in (('user', places[0]), ('item', places[1])):
                factor = made.factor(part, side, Queries(*places[::2]), index)
                own = getattr(getattr(encoded.factors, side), part)
                torch.testing.assert_close(factor, own, **TIGHT)
        for side, readouts in zip(('user', 'item'), encoded, strict=False):
            index = places[0] if side == 'user' else places[1]
            torch.testing.assert_close(made.vectors(side)[index], readouts, **TIGHT)
    elif made.parts:  # The columns of the model's vectors.
        vectors = dict(zip(('user', 'item'), model.embeddings(), strict=True))
        for part, columns in model.factors.items():
            for side, table in vectors.items():
                factor = made.factor(part, side, queries, torch.tensor([2, 0]))
                assert torch.equal(factor, table[[2, 0], columns])
    with pytest.raises(ValueError, match=r"no factor 'up' \(it has: "):
        made.factor('up', 'user', queries, row)


def test_the_plain_scorer_has_the_same_parts_and_factors():
    """Those that `encode` returns, where it is the faster one that is not used."""
    model = make_model(SHOP.schema, pointwise=True).double()
    fast, plain = scorer(model, SHOP), InteractionScorer(model, SHOP)
    assert (plain.parts, plain.factors) == (fast.parts, fast.factors)
    queries, row, _ = ask(SHOP, *ASKED[0])
    for items in (torch.tensor([3, 0, 3]), torch.arange(12).view(6, 2)):
        parts = plain.split(queries, items)
        for name, values in fast.split(queries, items).items():
            torch.testing.assert_close(parts[name], values, **TIGHT)
    for side in ('user', 'item'):
        for name in plain.factors:
            one, two = (s.factor(name, side, queries, row) for s in (fast, plain))
            torch.testing.assert_close(two, one, **TIGHT)


NEW: dict[str, FeatureGraphs] = {
    'users': SHOP.schema.encode(
        'user',
        pd.DataFrame(
            {
                'customer': [99, None],
                'age': [1.5, 0],
                'income': [None, 2],
                'town': ['y', 'nowhere'],
            },
            dtype=object,
        ),
    ),
    'items': SHOP.schema.encode(
        'item', pd.DataFrame({'tags': ['q|s', 'p', 'new'], 'price': [3, 100, None]})
    ),
    'contexts': SHOP.schema.encode(
        'context', pd.DataFrame({'day': ['fri', 'mon'], 'gift': [True, None]})
    ),
}


@pytest.mark.parametrize('sides', [('users',), ('items',), ('contexts',), tuple(NEW)])
@pytest.mark.parametrize('name', ['mlp sign', 'residual sign', 'own', 'Repeat', 'plain'])
def test_what_is_new_is_known_by_its_features(name, sides):
    """As in a batch that is made of graphs by hand, whose ids say that they are new."""
    model, _, made = make('rows', 'mlp sign' if name == 'plain' else name)
    if name == 'plain':
        made = InteractionScorer(model, SHOP)
    new = {side: NEW[side] for side in sides}
    stores, ids = [], []
    for side in ('users', 'items', 'contexts'):
        store = getattr(SHOP, side)
        number = torch.arange(len(store))
        if side in new:
            store = store.concatenate(new[side])
            number = torch.cat([number, number.new_full((len(new[side]),), -1)])
        stores.append(store)
        ids.append(number)
    sizes = [len(store) for store in stores]
    place = torch.cartesian_prod(*map(torch.arange, sizes)).unbind(1)
    names = ('user_id', 'item_id', 'context_id')
    batch = InteractionBatch.from_graphs(
        *stores, *place, **dict(zip(names, ids, strict=True))
    )
    with evaluating(model):
        table = model(batch).view(sizes)
    user, context = torch.cartesian_prod(*map(torch.arange, sizes[::2])).unbind(1)
    order = torch.randperm(len(user))
    for rows in (order, order[:3], (user < SIZES[0]).nonzero()[:4, 0]):
        queries = Queries(user, context, **new)[rows]
        assert ' new' in repr(queries) and len(queries) == len(rows)
        expected = table[queries.user, :, queries.context]
        items = torch.randint(sizes[1], (len(rows), 4))
        for wanted, got in (
            (expected[:, : SIZES[1]], made.scores(queries)),
            (expected, made.scores(queries, torch.arange(sizes[1]))),
            (expected.gather(1, items), made.scores(queries, items)),
        ):
            torch.testing.assert_close(got, wanted, **TIGHT)
        if made.parts:
            parts = made.split(queries, items)
            expected = expected.gather(1, items)
            torch.testing.assert_close(sum(parts.values()), expected, **TIGHT)


def test_single_precision(device):
    """Another order of sums costs little; items with the same features tie."""
    for name in ('mlp', 'split', 'residual'):
        model = make_model(SHOP.schema, generator=name, pointwise=True).to(device)
        made = scorer(model, SHOP)
        user, context = torch.cartesian_prod(torch.arange(5), torch.arange(6)).unbind(1)
        scores = made.scores(Queries(user, context)).view(5, 6, 12).transpose(1, 2)
        assert scores.device.type == device.type and scores.dtype == torch.float
        expected = model(every_triple(SHOP).to(device)).view(SIZES)
        assert (scores - expected).abs().max() < 1e-5 * expected.abs().max()
        alike = first_of(SHOP.items.content()).to(device)
        assert torch.equal(scores, scores[:, alike])


def test_coarse_precision():
    model = make_model(SHOP.schema, encoder='mean').bfloat16()
    assert scorer(model, SHOP).scores(Queries(*torch.zeros(2, 1).long())).shape == (1, 12)


@pytest.fixture(scope='module')
def large() -> InteractionDataset:
    """More items than any scorer encodes, scores or calls the model on at a time."""
    items = pd.DataFrame({'item': range(MANY)})
    items['shelf'] = [f's{i % 400}' for i in range(MANY)]
    items['price'] = [i * 7 % 1000 for i in range(MANY)]
    log = pd.DataFrame({'user': [0, 1, 2], 'item': [0, 1, 2], 'day': ['a', 'b', 'a']})
    schema = FeatureSchema(
        user=[Categorical('user')],
        item=[Categorical('shelf'), Bucketized('price', num_buckets=50)],
        context=[Categorical('day')],
    )
    return InteractionDataset.from_pandas(log, log[['user']], items, schema)


@pytest.mark.parametrize('plain', [False, True])
@pytest.mark.parametrize('generator', ['mlp', 'nonlinear'])
def test_blocks(large, generator, plain):
    model = make_model(large.schema, generator=generator, encoder='mean').double()
    made = InteractionScorer(model, large) if plain else scorer(model, large)
    queries = Queries(torch.tensor([2, 0, 1, 0, 2]), torch.tensor([1, 0, 1, 1, 0]))
    rows = queries.user.repeat_interleave(MANY), torch.arange(MANY).repeat(5)
    context = queries.context.repeat_interleave(MANY)
    expected = model(InteractionBatch.from_ids(large, *rows, context)).view(5, -1)
    torch.testing.assert_close(made.scores(queries), expected, **TIGHT)
    items = torch.randint(MANY, (70_000,))
    torch.testing.assert_close(
        made.scores(queries[:2], items), expected[:2, items], **TIGHT
    )
    parts = made.split(queries[:2], items)
    torch.testing.assert_close(sum(parts.values()), expected[:2, items], **TIGHT)


@pytest.mark.parametrize('generator', ['mlp', 'nonlinear', 'split'])
def test_items_with_the_same_features_tie(large, generator):
    """Wherever they stand in what is computed at a time."""
    made = scorer(IEDR(large.schema.num_embeddings, generator=generator), large)
    scores = made.scores(Queries(torch.tensor([2, 0, 1]), torch.tensor([1, 0, 1])))
    alike = large.items.content()
    assert len(alike.unique()) < MANY / 5
    assert torch.equal(scores, scores[:, first_of(alike)])


class Watched(Own):
    """Notes how it is asked, and may have no answer."""

    fail = False

    def forward(self, batch: InteractionBatch) -> Tensor:
        assert not torch.is_grad_enabled() and not self.training
        if self.fail:
            raise RuntimeError('no score today')
        return super().forward(batch)


def test_mode_and_gradients_are_restored(device):
    model = Watched().train().to(device)
    model.tables[0].eval()
    modes = [module.training for module in model.modules()]
    queries = Queries(*torch.zeros(2, 1).long())
    one, two = (scorer(model, SHOP).scores(queries) for _ in range(2))
    assert torch.equal(one, two)  # No dropout.
    assert [module.training for module in model.modules()] == modes
    made = scorer(model, SHOP)
    model.fail = True
    with pytest.raises(RuntimeError, match='no score today'):
        made.scores(queries)
    assert [module.training for module in model.modules()] == modes
    assert torch.is_grad_enabled() and model.tables[0].weight.grad is None
    assert SHOP.user.device.type == 'cpu'


def test_vectors_stay_when_training_goes_on():
    model = backbone()
    made = scorer(model, GRAPH)
    queries = Queries(torch.tensor([0, 3]))
    before = made.scores(queries)
    torch.nn.init.zeros_(model.item.weight)
    assert torch.equal(made.scores(queries), before)
