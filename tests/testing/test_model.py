"""Models that are right pass; each of those that are not fails at its property."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch_geometric.utils import segment

from iedr_geo.data import BipartiteGraph
from iedr_geo.nn import (
    DICE,
    IEDR,
    IEDR_VARIANTS,
    IPS,
    MF,
    SIGN,
    Biased,
    CausE,
    ContextPopularity,
    LightGCN,
    LinearGenerator,
    MeanEncoder,
    Popularity,
    Repeat,
)
from iedr_geo.scoring import GraphScorer, InteractionScorer, scorer
from iedr_geo.testing import check_bipartite_model, check_interaction_model, toy_dataset

TOY = toy_dataset()
GRAPH = BipartiteGraph(TOY.user, TOY.item, TOY.num_users, TOY.num_items)
SIZES = TOY.num_users, TOY.num_items
SIZE = TOY.schema.num_embeddings
SIDES = ('user', 'item', 'context')


class Encoded(NamedTuple):
    parts: dict[str, Tensor]

    @property
    def logits(self) -> Tensor:
        return sum(self.parts.values())


class Own(torch.nn.Module):
    """Means of embeddings, which is right: the wrong ones change one thing."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(SIZE, 4)
        self.guess = torch.nn.Linear(1, 1)

    def vectors(self, batch: Any, side: str) -> Tensor:
        graphs = getattr(batch, side)
        return segment(self.table(graphs.x), graphs.ptr, 'mean')

    def encode(self, batch: Any) -> Encoded:
        sides = (self.vectors(batch, s)[getattr(batch, f'{s}_graph')] for s in SIDES)
        user, item, context = sides
        return Encoded({'taste': (user * item).sum(1), 'moment': (context * item).sum(1)})

    def forward(self, batch: Any) -> Tensor:
        return self.encode(batch).logits

    def score_items(self, batch: Any, items: Tensor, encoded: Encoded) -> Tensor:
        user = self.vectors(batch, 'user')[batch.user_graph]
        context = self.vectors(batch, 'context')[batch.context_graph]
        return (user + context) @ self.vectors(batch, 'item')[items].t()

    def extra_losses(self, batch: Any, encoded: Encoded) -> dict[str, Tensor]:
        return {'l2': 0.1 * self.table.weight.square().mean()}

    def estimator_parameters(self) -> Any:
        return self.guess.parameters()

    def estimator_loss(self, encoded: Encoded) -> Tensor:
        return self.guess(encoded.logits.detach().unsqueeze(1)).square().mean()


class Column(Own):
    def forward(self, batch):
        return super().forward(batch).unsqueeze(1)


class Infinite(Own):
    def encode(self, batch):
        return Encoded({'taste': super().encode(batch).logits / 0})


class Noise(Own):
    def encode(self, batch):
        logits = super().encode(batch).logits
        return Encoded({'taste': logits + torch.randn_like(logits)})


class Positions(Own):
    def encode(self, batch):
        logits = super().encode(batch).logits
        return Encoded({'taste': logits * torch.arange(1, 1 + len(logits))})


class MixesRows(Own):
    def encode(self, batch):
        logits = super().encode(batch).logits
        return Encoded({'taste': logits - logits.mean()})


class OtherEncode(Own):
    def encode(self, batch):
        return Encoded({'taste': 2 * super().encode(batch).logits})

    def forward(self, batch):
        return Own.encode(self, batch).logits


class OtherScoreItems(Own):
    def score_items(self, batch, items, encoded):
        return super().score_items(batch, items.flip(0), encoded)


class DetachedScoreItems(Own):
    def score_items(self, batch, items, encoded):
        return super().score_items(batch, items, encoded).detach()


class VectorTerm(Own):
    def extra_losses(self, batch, encoded):
        return {'l2': encoded.logits.square()}


class NaNTerm(Own):
    def extra_losses(self, batch, encoded):
        return {'l2': 0 * encoded.logits.log().mean() + torch.nan}


class Unnamed(Own):
    def losses(self, batch):
        return (self(batch).mean(),)


class UnusedParameter(Own):
    def __init__(self) -> None:
        super().__init__()
        self.unused = torch.nn.Linear(4, 1)


class NotOfTheLoss(Own):
    """Logits reach the table, but what is minimised does not."""

    class Losses(NamedTuple):
        total: Tensor

    def losses(self, batch):
        return self.Losses(self(batch).detach().mean())


class UnusedEstimator(Own):
    def estimator_loss(self, encoded):
        return encoded.logits.mean()


class SwitchesModes(Own):
    def encode(self, batch):
        self.table.eval()
        return super().encode(batch)


class PartsOfSomethingElse(Own):
    def encode(self, batch):
        encoded = super().encode(batch)
        return PartsOfSomethingElse.Wrong(encoded.logits, encoded.parts['taste'])

    class Wrong(NamedTuple):
        logits: Tensor
        taste: Tensor

        @property
        def parts(self) -> dict[str, Tensor]:
            return {'taste': self.taste}


class WronglyScored(Own):
    pass


@scorer.register(WronglyScored, gives=('forward',))
class WrongScorer(InteractionScorer):
    """Right of what is compared when a scorer is made, wrong of the whole catalogue."""

    def scores(self, queries, items=None):
        scores = super().scores(queries, items)
        return scores if items is not None else scores.flip(1)


class Stale(Own):
    """Keeps the vectors that it has made in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple, Tensor] = {}

    def vectors(self, batch, side):
        if self.training:
            return super().vectors(batch, side)
        key = (side, *getattr(batch, side).graph_id.tolist())
        self.kept.setdefault(key, super().vectors(batch, side).detach())
        return self.kept[key]


WRONG = {
    Column: r'The logits must be a tensor of shape \(12,\) \(got \(12, 1\)\)',
    Infinite: 'The logits must be finite',
    Noise: 'In evaluation, the logits of a second call differ',
    Positions: 'The logits depend on the order of the rows',
    MixesRows: 'The logits of rows in a batch differ from those alone',
    OtherEncode: 'The logits of `encode` are not those of a call',
    OtherScoreItems: '`score_items` gives other logits than `model',
    DetachedScoreItems: 'Gradients through `score_items` differ',
    VectorTerm: r"The term 'l2' of the losses must be .* \(got \(12,\)\)",
    NaNTerm: "The term 'l2' of the losses must be finite",
    Unnamed: '`losses` must return a named tuple with a field `total`',
    UnusedParameter: "No gradient reaches the parameter 'unused.weight'",
    NotOfTheLoss: "No gradient reaches the parameter 'table.weight'",
    UnusedEstimator: "No gradient reaches the parameter 'guess.weight'",
    SwitchesModes: "A call in training mode switches 'table' out of it",
    PartsOfSomethingElse: 'The parts of `encode` do not add up to the logits',
    WronglyScored: 'The scores of the catalogue by WrongScorer are not those',
    Stale: 'With the state of the model, a copy differs',
}
RIGHT = {
    **{name: lambda v=v: IEDR(SIZE, 4, 8, **v) for name, v in IEDR_VARIANTS.items()},
    'residual': lambda: IEDR(SIZE, 4, 8, generator='residual'),
    'modules': lambda: IEDR(
        SIZE, 4, encoder=SIGN(4, 8, dropout=0.5), generator=LinearGenerator(4)
    ),
    'mean': lambda: IEDR(SIZE, 4, encoder=MeanEncoder(), pointwise=True),
    'Popularity': lambda: Popularity.fit(TOY),
    'ContextPopularity': lambda: ContextPopularity.fit(TOY),
    'Repeat': lambda: Repeat.fit(TOY),
    'own': Own,
    'double': lambda: Own().double(),
}


@pytest.mark.parametrize('name', RIGHT)
def test_right_models_of_a_dataset(name, device):
    check_interaction_model(RIGHT[name]().to(device), TOY)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('make', WRONG)
def test_wrong_models_of_a_dataset(make, seed):
    with pytest.raises(AssertionError, match='^' + WRONG[make]):
        check_interaction_model(make(), TOY, seed)


class OwnVectors(torch.nn.Module):
    """Products of vectors, which is right: the wrong ones change one thing."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = (torch.nn.Embedding(size, 4) for size in SIZES)

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return (self.user(user) * self.item(item)).sum(-1)


class SumsOverItems(OwnVectors):
    """Right of pairs alone."""

    def score(self, user, item):
        return (self.user(user) * self.item(item)).sum(1)


class Repeats(OwnVectors):
    """Of users and items that broadcast, takes them in the order of a table."""

    def score(self, user, item):
        if user.dim() == 2 and user.size(1) == 1:
            user = user.flip(0)
        return super().score(user, item)


class CatalogueOnly(OwnVectors):
    def score(self, user, item):
        scores = super().score(user, item)
        return scores.flip(1) if user.dim() == 2 and item.dim() == 1 else scores


class NoiseInScores(OwnVectors):
    def score(self, user, item):
        scores = super().score(user, item)
        return scores + torch.randn_like(scores)


class PositionsInScores(OwnVectors):
    def score(self, user, item):
        scores = super().score(user, item)
        return scores * torch.arange(1, 1 + len(scores)) if scores.dim() == 1 else scores


class MixesPairs(OwnVectors):
    def score(self, user, item):
        scores = super().score(user, item)
        return scores - scores.mean() if scores.dim() == 1 else scores


class VectorLoss(OwnVectors):
    def extra_losses(self, batch, encoded=None):
        return {'norm': self.item(batch.candidates).square().sum(-1)}


class UnusedVectors(OwnVectors):
    def __init__(self) -> None:
        super().__init__()
        self.second = torch.nn.Embedding(SIZES[1], 4)


class SwitchesVectors(OwnVectors):
    def score(self, user, item):
        self.user.eval()
        return super().score(user, item)


class ScoredInstead(OwnVectors):
    pass


@scorer.register(ScoredInstead, gives=('score',))
class OtherGraphScorer(GraphScorer):
    def scores(self, queries, items=None):
        scores = super().scores(queries, items)
        return scores if items is not None else scores.flip(1)


class StaleVectors(OwnVectors):
    kept: Tensor | None = None

    def score(self, user, item):
        if self.training:
            return super().score(user, item)
        if self.kept is None:
            self.kept = (self.user.weight @ self.item.weight.t()).detach()
        return self.kept[user, item]


class FoldIn(OwnVectors):
    """Is given the items of users, as auto-encoders are."""

    batches = 'users'

    class Losses(NamedTuple):
        norm: Tensor
        total: Tensor

    def losses(self, batch):
        logits = self.user(batch.user) @ self.item.weight.t()
        shares = logits.log_softmax(dim=1)[batch.row, batch.item]
        norm = self.item.weight.square().mean()
        return self.Losses(norm, norm - shares.mean())


WRONG_OF_GRAPHS = {
    NoiseInScores: 'In evaluation, the scores of a second call differ',
    PositionsInScores: 'The scores depend on the order of the rows',
    MixesPairs: 'The scores of rows in a batch differ from those alone',
    SumsOverItems: r'Scores of users \(U, 1\) and items \(U, I\) are not those',
    Repeats: r'Scores of users \(U, 1\) and items \(U, I\) are not those',
    CatalogueOnly: r'Scores of users \(U, 1\) and items \(I\) are not those',
    VectorLoss: r"The term 'norm' of the losses must be .* \(got \(12, 3\)\)",
    UnusedVectors: "No gradient reaches the parameter 'second.weight'",
    SwitchesVectors: "A call in training mode switches 'user' out of it",
    ScoredInstead: 'The scores of the catalogue by OtherGraphScorer are not those',
    StaleVectors: 'With the state of the model, a copy differs',
}
RIGHT_OF_GRAPHS = {
    'MF': lambda: MF(*SIZES, 4, l2=0.1),
    'LightGCN': lambda: LightGCN(*SIZES, *GRAPH.adjacency(), 4, dropout=0.5),
    'Biased': lambda: Biased(MF(*SIZES, 4)),
    'DICE': lambda: DICE(MF(*SIZES, 4), GRAPH.popularity),
    'IPS': lambda: IPS(MF(*SIZES, 4), GRAPH.popularity),
    'CausE': lambda: CausE(MF(*SIZES, 4)),
    'Popularity': lambda: Popularity.fit(GRAPH),
    'Repeat': lambda: Repeat.fit(GRAPH),
    'own': OwnVectors,
    'of users': FoldIn,
}


@pytest.mark.parametrize('name', RIGHT_OF_GRAPHS)
def test_right_models_of_a_graph(name, device):
    check_bipartite_model(RIGHT_OF_GRAPHS[name]().to(device), GRAPH)


@pytest.mark.parametrize('seed', [0, 1])
@pytest.mark.parametrize('make', WRONG_OF_GRAPHS)
def test_wrong_models_of_a_graph(make, seed):
    with pytest.raises(AssertionError, match='^' + WRONG_OF_GRAPHS[make]):
        check_bipartite_model(make(), GRAPH, seed)


@pytest.mark.parametrize('make', [Own, OwnVectors, MixesRows])
def test_leaves_everything_as_it_was(make):
    model = make().train()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    check, data = check_interaction_model, TOY
    if make is OwnVectors:
        check, data = check_bipartite_model, GRAPH
    try:
        check(model, data)
    except AssertionError:
        assert make is MixesRows
    assert torch.equal(torch.get_rng_state(), random)
    assert all(module.training for module in model.modules())
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())
