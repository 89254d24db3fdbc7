"""Every scorer of every model against the model's own answer for every pair."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch
from changed import changed, of_result
from shop import Pairs, every_triple, make_graph, make_shop
from torch import Tensor
from torch_geometric.nn import MLP

from iedr_geo import nn
from iedr_geo.data import Bucketized, Categorical, FeatureSchema, InteractionDataset
from iedr_geo.loader import InteractionBatch, UserBatch
from iedr_geo.scoring import (
    CatalogueScorer,
    GraphScorer,
    HistoryScorer,
    IEDRScorer,
    InteractionScorer,
    Queries,
    VectorScorer,
    evaluating,
    reads_history,
    scorer,
)
from iedr_geo.scoring.top_k import first_of

SHOP, GRAPH = make_shop(), make_graph()
SIZES = SHOP.num_users, SHOP.num_items, SHOP.num_contexts
MANY = 3_003
GIVEN = ['forward', 'encode', 'encode_graphs', 'readouts']
TIGHT = {'rtol': 1e-10, 'atol': 1e-10}


class Encoded(NamedTuple):
    logits: Tensor
    parts: dict[str, Tensor]
    factors: nn.IEDRFactors


class Own(torch.nn.Module):
    """Has parts and factors of its own, and a vector for what is new."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(n + 1, 3) for n in SIZES)
        self.dropout = torch.nn.Dropout(0.5)

    def encode(self, batch: InteractionBatch) -> Encoded:
        ids = (batch.user_id, batch.item_id, batch.context_id)
        user, item, context = (
            self.dropout(table(torch.where(i < 0, n, i)))
            for table, i, n in zip(self.tables, ids, SIZES, strict=True)
        )
        parts = {'taste': (user * item).sum(1), 'mood': (context * item).sum(1)}
        factors = nn.IEDRFactors(
            nn.Factors(user, user * context), nn.Factors(item, -item)
        )
        return Encoded(sum(parts.values()), parts, factors)

    def forward(self, batch: InteractionBatch) -> Tensor:
        return self.encode(batch).logits


class OwnGenerator(torch.nn.Module):
    """Has nothing but `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = MLP([4, 5, 8], norm=None, act='tanh')

    def forward(self, entity: Tensor, context: Tensor) -> nn.Factors:
        entity, context = torch.broadcast_tensors(entity, context)
        flat = self.mlp((entity * context).flatten(0, -2))
        return nn.Factors(*flat.view(*entity.shape[:-1], 8).chunk(2, dim=-1))


class Shifted(nn.MLPGenerator):
    """Changes `forward` and leaves `fold` as it was."""

    def forward(self, entity: Tensor, context: Tensor) -> nn.Factors:
        intrinsic, extrinsic = super().forward(entity, context)
        return nn.Factors(intrinsic, extrinsic.tanh() + 1)


class OwnEncoder(torch.nn.Module):
    """Sums nodes, each of whose rows it may be asked for on its own."""

    def forward(self, x: Tensor, *, ptr: Tensor, rows: Tensor | None, **_: Any) -> Tensor:
        sums = torch.segment_reduce(x, 'sum', offsets=ptr)
        return sums if rows is None else sums[rows]


class Encode(nn.IEDR):
    def encode(self, batch):
        encoded = super().encode(batch)
        return encoded._replace(logits=batch.item_id - encoded.logits)


class Vectors(nn.MF):
    """Changes what `score` and `embeddings` are both made of."""

    def forward(self, user, item):
        user, item = super().forward(user, item)
        return user.exp(), item


def overriding(cls: type, name: str) -> type:
    """A subclass with a method of its own."""
    return changed(cls, name, of_result(lambda out: out))


def iedr(cls: type[nn.IEDR] = nn.IEDR, **kwargs: Any) -> Callable[[], nn.IEDR]:
    return lambda: cls(SHOP.schema.num_embeddings, 4, 8, **kwargs)


def with_own(model: Any, name: str, method: Callable[..., Tensor]) -> Any:
    setattr(model, name, method)
    return model


def mf(cls: type[nn.MF] = nn.MF) -> nn.MF:
    return cls(*SIZES[:2], 4, std=1)


def by_ids(batch: InteractionBatch) -> Tensor:
    return batch.user_id * 100 + batch.item_id - 7 * batch.context_id


MODELS: dict[tuple[str, type[CatalogueScorer]], dict[str, Callable[[], Any]]] = {
    ('rows', IEDRScorer): {
        'mlp sign': iedr(pointwise=True),
        'linear mean': iedr(generator='linear', encoder='mean', pointwise=True),
        'nonlinear mlp': iedr(generator='nonlinear', encoder='mlp', pointwise=True),
        'split sign': iedr(generator='split', pointwise=True),
        'residual sign': iedr(generator='residual', pointwise=True),
        'residual bi': iedr(generator='residual', encoder='bi'),
        'separate': iedr(generator='separate', cross=False, pointwise=True),
        'without cross terms': iedr(cross=False),
        'sum': iedr(combine='sum'),
        'split sum': iedr(generator='split', combine='sum'),
        'dropout': iedr(dropout=0.5),
        'own generator': iedr(generator=OwnGenerator()),
        'shifted generator': iedr(generator=Shifted(4, 8)),
        'own encoder': iedr(encoder=OwnEncoder()),
        'other losses': iedr(overriding(nn.IEDR, 'extra_losses')),
    },
    ('rows', InteractionScorer): {
        'plain': iedr(pointwise=True),  # As the faster one.
        'own': Own,
        'function': lambda: by_ids,
        'Popularity': lambda: nn.Popularity.fit(SHOP),
        'ContextPopularity': lambda: nn.ContextPopularity.fit(SHOP),
        'Repeat': lambda: nn.Repeat.fit(SHOP),
        'Encode': iedr(Encode),
        **{name: iedr(overriding(nn.IEDR, name)) for name in GIVEN},
        'changed': lambda: with_own(iedr()(), 'forward', by_ids),
    },
    ('edges', VectorScorer): {
        'MF': mf,
        'LightGCN': lambda: nn.LightGCN(*SIZES[:2], *GRAPH.adjacency(), 4, dropout=0.5),
        'DICE': lambda: nn.DICE(mf(), GRAPH.popularity),
        'IPS': lambda: nn.IPS(mf(), GRAPH.popularity),
        'CausE': lambda: nn.CausE(mf()),
        'Biased': lambda: nn.Biased(mf()),
        'Vectors': lambda: mf(Vectors),
    },
    ('edges', HistoryScorer): {
        'MacridVAE': lambda: nn.MacridVAE(SIZES[1], 3, 4),
        'MultDAE': lambda: nn.MultDAE(SIZES[1], 4),
        'MultVAE': lambda: nn.MultVAE(SIZES[1], 3, 4),
    },
    ('edges', GraphScorer): {
        'own': Pairs,
        'Popularity': lambda: nn.Popularity.fit(GRAPH),
        'Repeat': lambda: nn.Repeat.fit(GRAPH),
        'score': lambda: mf(overriding(nn.MF, 'score')),
        'embeddings': lambda: mf(overriding(nn.MF, 'embeddings')),
        'changed': lambda: with_own(mf(), 'score', lambda user, item: user + 3 * item),
    },
}
CASES = [(*key, name) for key, models in MODELS.items() for name in models]


def make(kind: str, wanted: Any, name: str) -> tuple[Any, Any, CatalogueScorer]:
    """Returns a model in double precision, its data and what `scorer` chooses."""
    model, data = MODELS[kind, wanted][name](), SHOP if kind == 'rows' else GRAPH
    if isinstance(model, torch.nn.Module):
        for parameter in model.double().parameters():
            if not parameter.any():  # The biases.
                torch.nn.init.normal_(parameter)
    made = wanted(model, data) if name == 'plain' else scorer(model, data)
    assert type(made) is wanted
    return model, data, made


def answers(model: Any, data: Any) -> Tensor:
    """The model's own answers, (U, I, C), where a graph has a single context."""
    with evaluating(model):
        if isinstance(data, InteractionDataset):
            return model(every_triple(data)).view(SIZES)
        if reads_history(model):  # A user at a time.
            batches = [
                UserBatch.from_graph(data, u) for u in torch.arange(SIZES[0])[:, None]
            ]
            return torch.cat([model.decode(model.encode(b)) for b in batches]).unsqueeze(
                -1
            )
        pairs = torch.cartesian_prod(*map(torch.arange, SIZES[:2]))
        scores = [model.score(user, item) for user, item in pairs]
        return torch.stack(scores).view(*SIZES[:2], 1)


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


def check_scores(model: Any, data: Any, made: CatalogueScorer) -> None:
    table = answers(model, data)
    assert len(table.unique()) > 1
    assert (made.num_users, made.num_items) == SIZES[:2]
    for user, context in ASKED:
        queries, row, column = ask(data, user, context)
        expected = table[row, :, column].double()
        some, each = [9, 0, 4, 4, 11, 2], torch.randint(SIZES[1], (len(row), 5))
        for items, wanted in (
            (None, expected),
            (torch.tensor(some), expected[:, some]),
            (torch.tensor([], dtype=torch.long), expected[:, :0]),
            (each, expected.gather(1, each)),
        ):
            for _ in range(2):
                scores = made.scores(queries, items)
                assert scores.shape == wanted.shape
                torch.testing.assert_close(scores.double(), wanted, **TIGHT)
                scores.fill_(torch.nan)  # Free to be overwritten.


@pytest.mark.parametrize(('kind', 'wanted', 'name'), CASES)
def test_scores_are_the_models_own(kind, wanted, name):
    check_scores(*make(kind, wanted, name))


@pytest.mark.parametrize('name', ['mlp sign', 'nonlinear mlp'])
@pytest.mark.parametrize(
    ('kind', 'size'), [(IEDRScorer, 1), (IEDRScorer, 5), (InteractionScorer, 7)]
)
def test_blocks(kind, size, name):
    """Whatever the sizes of what is computed at a time."""
    sizes = 'graphs_at_once', 'items_at_once', 'contexts_at_once', 'pairs_at_once'
    small = type('Small', (kind,), dict.fromkeys(sizes, size))
    model, data, _ = make('rows', IEDRScorer, name)
    made = small(model, data)
    check_scores(model, data, made)
    check_parts_and_factors(model, data, made)
    assert made.chunk_size() == made.chunk_size(0) == size
    made.pairs_at_once, made.scores_at_once = 1 << 16, size
    assert [made.chunk_size(), made.chunk_size(2)] == [1, max(1, size // 2)]


def check_parts_and_factors(model: Any, data: Any, made: CatalogueScorer) -> None:
    """They are those that the model's own pass over a batch has."""
    queries, row, column = ask(data, *ASKED[0])
    items = torch.tensor([3, 3, 0, 11])
    parts = made.split(queries, items)
    assert tuple(parts) == made.parts
    with pytest.raises(ValueError, match=r"no factor 'up' \(it has: "):
        made.factor('up', 'user', queries, row)
    with pytest.raises(ValueError, match=r"no part 'up' \(they have: "):
        made.part('up', queries)
    if not made.parts:
        return
    total = made.scores(queries, items)
    torch.testing.assert_close(sum(parts.values()), total, **TIGHT)
    assert torch.equal(made.part(None, queries), made.scores(queries))
    each = made.split(queries, items.expand(len(row), -1))
    for name, values in parts.items():
        torch.testing.assert_close(each[name], values, **TIGHT)
        torch.testing.assert_close(made.part(name, queries)[:, items], values, **TIGHT)
    user, item = row.repeat_interleave(4), items.repeat(6)
    with evaluating(model):
        if reads_history(model):
            encoded = model.encode(UserBatch.from_graph(data, row[:1]))
            for name, values in model.decode_parts(encoded, items).items():
                torch.testing.assert_close(parts[name][:1], values, **TIGHT)
            return
        if data is SHOP:
            batch = InteractionBatch.from_ids(
                data, user, item, column.repeat_interleave(4)
            )
            encoded = model.encode(batch)
            for name, values in encoded.parts.items():
                torch.testing.assert_close(parts[name].flatten(), values, **TIGHT)
            vectors, factors = encoded[:2], [side._asdict() for side in encoded.factors]
        else:  # The columns of the model's vectors.
            vectors = model(user, item)
            factors = [
                {
                    name: vector[:, columns]
                    for name, columns in model.factor_columns.items()
                }
                for vector in vectors
            ]
    pairs = queries[torch.arange(len(row)).repeat_interleave(4)]
    for side, index, vector, tables in zip(
        ('user', 'item'), (user, item), vectors, factors, strict=True
    ):
        assert tuple(tables) == made.factor_names
        for name, table in tables.items():
            factor = made.factor(name, side, pairs, index)
            torch.testing.assert_close(factor, table, **TIGHT)
        if not isinstance(made, InteractionScorer):
            torch.testing.assert_close(made.vectors(side)[index], vector, **TIGHT)


@pytest.mark.parametrize(('kind', 'wanted', 'name'), CASES)
def test_parts_and_factors(kind, wanted, name):
    check_parts_and_factors(*make(kind, wanted, name))


NEW = {
    f'{side}s': getattr(SHOP, f'{side}s').select(torch.tensor(which))
    for side, which in (('user', [2, 0]), ('item', [7, 0, 3]), ('context', [4, 1]))
}


@pytest.mark.parametrize('sides', [('users',), ('items',), ('contexts',), tuple(NEW)])
@pytest.mark.parametrize(
    ('kind', 'name'),
    [
        (IEDRScorer, 'mlp sign'),
        (IEDRScorer, 'residual sign'),
        (InteractionScorer, 'plain'),
        (InteractionScorer, 'own'),
        (InteractionScorer, 'Repeat'),
    ],
)
def test_what_is_new_is_known_by_its_features(kind, name, sides):
    """As in a batch that is made of graphs by hand, whose ids say that they are new."""
    model, _, made = make('rows', kind, name)
    new = {side: NEW[side] for side in sides}
    sizes, arguments = [], {}
    for side in ('user', 'item', 'context'):
        stored = getattr(SHOP, f'{side}s')
        arguments[side], number = stored, torch.arange(len(stored))
        if more := new.get(f'{side}s'):
            arguments[side] = stored.concatenate(more)
            number = torch.cat([number, number.new_full((len(more),), -1)])
        arguments[f'{side}_id'] = number
        sizes.append(len(number))
    index = torch.cartesian_prod(*map(torch.arange, sizes)).unbind(1)
    for side, graph in zip(('user', 'item', 'context'), index, strict=True):
        arguments[f'{side}_graph'] = graph
    with evaluating(model):
        table = model(InteractionBatch.from_graphs(**arguments)).view(sizes)
    user, context = torch.cartesian_prod(*map(torch.arange, sizes[::2])).unbind(1)
    order = torch.randperm(len(user))
    for rows in (order, order[:3], (user < SIZES[0]).nonzero()[:4, 0]):
        queries = Queries(user, context, **new)[rows]
        assert ' new' in repr(queries) and len(queries) == len(rows)
        expected = table[queries.user, :, queries.context]
        items = torch.randint(sizes[1], (len(rows), 4))
        each = expected.gather(1, items)
        for wanted, got in (
            (expected[:, : SIZES[1]], made.scores(queries)),
            (expected, made.scores(queries, torch.arange(sizes[1]))),
            (each, made.scores(queries, items)),
            (each, sum(made.split(queries, items).values()) if made.parts else each),
        ):
            torch.testing.assert_close(got, wanted, **TIGHT)


@pytest.fixture(scope='module')
def large() -> InteractionDataset:
    """Many items, of which few have features of their own."""
    items = pd.DataFrame({'item': range(MANY)})
    items['shelf'] = [f's{i % 60}' for i in range(MANY)]
    items['price'] = [i * 7 % 100 for i in range(MANY)]
    log = pd.DataFrame({'user': [0, 1, 2], 'item': [0, 1, 2], 'day': ['a', 'b', 'a']})
    columns = [Categorical('shelf'), Bucketized('price', num_buckets=5)]
    schema = FeatureSchema([Categorical('user')], columns, [Categorical('day')])
    return InteractionDataset.from_pandas(log, log[['user']], items, schema)


@pytest.mark.parametrize('generator', ['mlp', 'nonlinear', 'split', 'residual'])
def test_single_precision(large, generator, device):
    """Another order of sums costs little; items with the same features tie."""
    size = large.schema.num_embeddings
    model = nn.IEDR(size, generator=generator, pointwise=True).to(device)
    small = type('Small', (IEDRScorer,), {'items_at_once': 1000})
    user, context = torch.cartesian_prod(torch.arange(3), torch.arange(2)).unbind(1)
    scores = small(model, large).scores(Queries(user, context))
    assert scores.device.type == device.type and scores.dtype == torch.float
    with evaluating(model):
        expected = model(every_triple(large).to(device))
    expected = expected.view(3, MANY, 2).transpose(1, 2).reshape(6, -1)
    assert (scores - expected).abs().max() < 1e-5 * expected.abs().max()
    alike = large.items.content().to(device)
    assert len(alike.unique()) < MANY / 5
    assert torch.equal(scores, scores[:, first_of(alike)])


def test_coarse_precision():
    model = iedr(encoder='mean')().bfloat16()
    assert scorer(model, SHOP).scores(Queries(*torch.zeros(2, 1).long())).shape == (1, 12)


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
    model = mf()
    made = scorer(model, GRAPH)
    queries = Queries(torch.tensor([0, 3]))
    before = made.scores(queries)
    torch.nn.init.zeros_(model.item.weight)
    assert torch.equal(made.scores(queries), before)
