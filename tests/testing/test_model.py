"""Models that are right pass; each of those that are not fails at its property."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from changed import adds_unused, assert_left_as_it_was, changed, of_result
from every_model import ON_DATASETS, ON_GRAPHS, Distance
from torch import Tensor
from torch_geometric.utils import segment

from iedr_geo.data import BipartiteGraph, InteractionDataset
from iedr_geo.nn import IEDR, MeanEncoder
from iedr_geo.scoring import GraphScorer, InteractionScorer, scorer
from iedr_geo.testing import check_bipartite_model, check_interaction_model, toy_dataset

TOY = toy_dataset()
GRAPH = BipartiteGraph(TOY.user, TOY.item, TOY.num_users, TOY.num_items)
SIZE = TOY.schema.num_embeddings
SIDES = ('user', 'item', 'context')


class Encoded(NamedTuple):
    parts: dict[str, Tensor]

    @property
    def logits(self) -> Tensor:
        return sum(self.parts.values())


class Own(torch.nn.Module):
    """Means of embeddings, which is right: the wrong ones change one thing."""

    def __init__(self, data: InteractionDataset) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(data.schema.num_embeddings, 4)
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


class Total(NamedTuple):
    total: Tensor


def logits(change):
    return of_result(lambda out: Encoded({'taste': change(out.logits)}))


def noise(out):
    return out + torch.randn_like(out)


def positions(out):
    return out * torch.arange(1, 1 + len(out))


def positions_of_pairs(out):
    return positions(out) if out.dim() == 1 else out


def switches_modes(self, call, *args):
    self.table.eval()
    return call(*args)


def other_encode(self, call, batch):
    return Own.encode(self, batch).logits


def parts_of_something_else(out):
    return SimpleNamespace(logits=out.logits, parts={'taste': out.parts['taste']})


def kept_vectors(self, call, batch, side):
    """Keeps the vectors that it has made in evaluation."""
    if self.training:
        return call(batch, side)
    kept = vars(self).setdefault('kept', {})
    key = (side, *getattr(batch, side).graph_id.tolist())
    kept.setdefault(key, call(batch, side).detach())
    return kept[key]


def kept_scores(self, call, user, item):
    if self.training:
        return call(user, item)
    pairs = torch.arange(TOY.num_users).unsqueeze(1), torch.arange(TOY.num_items)
    return vars(self).setdefault('kept', call(*pairs).detach())[user, item]


def wrong_order(self, call, user, item):
    """Of users and items that broadcast, takes them in the order of a table."""
    return call(user.flip(0) if user.dim() == 2 and user.size(1) == 1 else user, item)


def wrong_catalogue(self, call, user, item):
    scores = call(user, item)
    return scores.flip(1) if user.dim() == 2 and item.dim() == 1 else scores


class Scored(Own):
    pass


class ScoredDistance(Distance):
    pass


def flipped(self, call, queries, items=None):
    """Right of what is compared when a scorer is made, wrong of the whole catalogue."""
    scores = call(queries, items)
    return scores if items is not None else scores.flip(1)


for model, base, method in (
    (Scored, InteractionScorer, 'forward'),
    (ScoredDistance, GraphScorer, 'score'),
):
    scorer.register(model, gives=(method,))(changed(base, 'scores', flipped))


WRONG = [
    (Own, 'forward', of_result(lambda out: out.unsqueeze(1)),
     r'The logits must be a tensor of shape \(12,\) \(got \(12, 1\)\)'),
    (Own, 'encode', logits(lambda out: out / 0), 'The logits must be finite'),
    (Own, 'encode', logits(noise), 'In evaluation, the logits of a second call differ'),
    (Own, 'encode', logits(positions), 'The logits depend on the order of the rows'),
    (Own, 'encode', logits(lambda out: out - out.mean()),
     'The logits of rows in a batch differ from those alone'),
    (changed(Own, 'forward', other_encode), 'encode', logits(lambda out: 2 * out),
     'The logits of `encode` are not those of a call'),
    (Own, 'score_items',
     lambda self, call, batch, items, encoded: call(batch, items.flip(0), encoded),
     'Logits of `score_items` and `model.*` differ:'),
    (Own, 'score_items', of_result(Tensor.detach),
     'Logits of `score_items` and `model.*` differ in a gradient:'),
    (Own, 'extra_losses', lambda self, call, _, encoded: {'l2': encoded.logits.square()},
     r"The term 'l2' of the losses must be .* \(got \(12,\)\)"),
    (Own, 'losses', lambda self, call, batch: (self(batch).mean(),),
     '`losses` must return a named tuple with a field `total`'),
    (Own, '__init__', adds_unused, "No gradient reaches the parameter 'unused.weight'"),
    # Logits reach the table, but what is minimised does not.
    (Own, 'losses', lambda self, call, batch: Total(self(batch).detach().mean()),
     "No gradient reaches the parameter 'table.weight'"),
    (Own, 'estimator_loss', lambda self, call, encoded: encoded.logits.mean(),
     "No gradient reaches the parameter 'guess.weight'"),
    (Own, 'encode', switches_modes,
     "A call in training mode switches 'table' out of it"),
    (Own, 'encode', of_result(parts_of_something_else),
     'The parts of `encode` do not add up to the logits'),
    (Scored, 'extra_repr', of_result(str), 'The scores of the catalogue by .* are not'),
    (Own, 'vectors', kept_vectors, 'With the state of the model, a copy differs'),
    (Distance, 'score', of_result(positions_of_pairs),
     'The scores depend on the order of the rows'),
    (Distance, 'score', wrong_order,
     r'Scores of users \(U, 1\) and items \(U, I\) are not those'),
    (Distance, 'score', wrong_catalogue,
     r'Scores of users \(U, 1\) and items \(I\) are not those'),
    (Distance, 'extra_losses',
     lambda self, call, batch, _: {'l2': self.item(batch.candidates).sum(-1)},
     r"The term 'l2' of the losses must be .* \(got \(12, 3\)\)"),
    (ScoredDistance, 'extra_repr', of_result(str),
     'The scores of the catalogue by .* are not those'),
    (Distance, 'score', kept_scores, 'With the state of the model, a copy differs'),
]  # fmt: skip
RIGHT = {
    **ON_DATASETS,
    'modules': lambda _: IEDR(SIZE, 4, encoder=MeanEncoder(), pointwise=True),
    'own': Own,
    'double': lambda data: Own(data).double(),
}


def check(model, seed=0):
    if hasattr(model, 'score'):
        check_bipartite_model(model, GRAPH, seed)
    else:
        check_interaction_model(model, TOY, seed)


@pytest.mark.parametrize('name', RIGHT)
def test_right_models_of_a_dataset(name, device):
    check_interaction_model(RIGHT[name](TOY).to(device), TOY)


@pytest.mark.parametrize('name', ON_GRAPHS)
def test_right_models_of_a_graph(name, device):
    check_bipartite_model(ON_GRAPHS[name](GRAPH).to(device), GRAPH)


@pytest.mark.parametrize(('base', 'method', 'change', 'message'), WRONG)
def test_wrong_models(base, method, change, message):
    data = GRAPH if issubclass(base, Distance) else TOY
    for seed in (0, 1):
        with pytest.raises(AssertionError, match=f'^{message}'):
            check(changed(base, method, change)(data), seed)


@pytest.mark.parametrize('make', [Own, changed(*WRONG[4][:3])])
def test_leaves_everything_as_it_was(make):
    assert_left_as_it_was(make(TOY), check)
    assert_left_as_it_was(Distance(GRAPH), check)
