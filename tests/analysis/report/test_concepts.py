"""Reports of models whose concepts are known to be told apart, or not."""

from functools import partial
from itertools import combinations

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from handmade import value, verdicts
from torch import Tensor
from torch.nn.functional import one_hot

from iedr_geo.analysis import (
    bias_corrected_distance_correlation,
    concept_agreement,
    disentanglement_report,
    independence,
)
from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import UserBatch
from iedr_geo.nn import MF, Concepts, MacridVAE, MultVAE
from iedr_geo.scoring import Queries, scorer

NUM_USERS, NUM_ITEMS, NUM_CONCEPTS, CHANNELS = 200, 90, 3, 6
CATEGORY = torch.arange(NUM_ITEMS) % NUM_CONCEPTS

report = partial(disentanglement_report, num_permutations=20, num_samples=150)


class Handmade:
    """A model of histories with the vectors that it is given.

    Args:
        user: Of users, of shape (U, K, F).
        item: Of items.
        prototype: Of concepts.
    """

    def __init__(self, user: Tensor, item: Tensor, prototype: Tensor) -> None:
        self.user, self.prototype = user, F.normalize(prototype, dim=-1)
        self.item = F.normalize(item, dim=-1)
        self.num_items, self.parts = len(item), tuple('abc')

    def encode(self, batch: UserBatch) -> Tensor:
        return self.user[batch.user]

    def item_vectors(self) -> Tensor:
        return self.item

    def concepts(self) -> Concepts:
        assignment = (self.item @ self.prototype.t() / 0.1).softmax(dim=1)
        return Concepts(self.item, self.prototype, assignment, 0.1, True)

    def decode_parts(self, encoded: Tensor, items: Tensor | None) -> dict[str, Tensor]:
        item = self.item if items is None else self.item[items]
        share = self.concepts().assignment
        share = (share if items is None else share[items]).expand(len(encoded), -1, -1)
        parts = share * (item @ encoded.transpose(1, 2)).exp()
        return dict(zip(self.parts, parts.unbind(2), strict=True))

    def decode(self, encoded: Tensor, items: Tensor | None) -> Tensor:
        return sum(self.decode_parts(encoded, items).values())


@pytest.fixture(scope='module')
def graph() -> BipartiteGraph:
    """Users with ten items of one category and five of another."""
    generator = torch.Generator().manual_seed(0)
    edges = []
    for user in range(NUM_USERS):
        first, second, _ = torch.randperm(3, generator=generator)
        for category, number in ((first, 10), (second, 5)):
            items = (category == CATEGORY).nonzero().view(-1)
            drawn = items[torch.randperm(len(items), generator=generator)[:number]]
            edges += [(user, int(item)) for item in drawn]
    return BipartiteGraph(*torch.tensor(edges).t(), NUM_USERS, NUM_ITEMS)


def unseen(graph: BipartiteGraph) -> BipartiteGraph:
    """A pair of each user that is not in the graph: the first."""
    had = torch.zeros(NUM_USERS, NUM_ITEMS)
    had[graph.user, graph.item] = 1
    user = torch.arange(NUM_USERS)
    return BipartiteGraph(user, had.argmin(dim=1), NUM_USERS, NUM_ITEMS)


def noise(*size: int, seed: int = 1) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def test_concepts_told_apart(graph):
    prototype = torch.eye(NUM_CONCEPTS, CHANNELS)
    item = prototype[CATEGORY] + 0.1 * noise(NUM_ITEMS, CHANNELS)
    user = prototype + 0.15 * noise(NUM_USERS, NUM_CONCEPTS, CHANNELS, seed=2)
    model = Handmade(user, item, prototype)
    found = report(model, graph, categories=CATEGORY)
    assert value(found, 'concepts told apart', 'all') == pytest.approx(1, abs=0.05)
    assert value(found, 'share of the largest concept', 'all') == pytest.approx(1 / 3)
    assert value(found, 'NMI with categories', 'all') == 1
    assert value(found, 'purity', 'all') == 1
    assert value(found, 'nearest to own prototype', 'all') == 1
    separates = verdicts(found)
    of_concepts = {key: said for key, said in separates.items() if key[0] == 'concepts'}
    assert len(of_concepts) == 6 and set(of_concepts.values()) == {'yes'}
    for measure in ('distance correlation', 'mutual information, R^2'):
        assert separates['dependence', measure, 'user'] == 'yes'
    rows = found.table.query('group == "concepts" and wanted == "high"')
    assert (rows['baseline'] < rows['limit']).all()
    assert 'Concepts' in str(found) and not found.notes


def test_concepts_that_are_one(graph):
    """All items are of the first concept; users have the same vector for each."""
    item = torch.eye(1, CHANNELS) + 0.1 * noise(NUM_ITEMS, CHANNELS)
    user = noise(NUM_USERS, 1, 1).repeat(1, NUM_CONCEPTS, CHANNELS)
    model = Handmade(user, item, torch.eye(NUM_CONCEPTS, CHANNELS))
    found = report(model, graph, categories=CATEGORY)
    assert value(found, 'share of the largest concept', 'all') == 1
    assert value(found, 'concepts told apart', 'all') == pytest.approx(1 / 3, abs=0.02)
    assert value(found, 'correlation of dimensions', 'a') == pytest.approx(1)
    separates = verdicts(found)
    for measure, side in (
        ('concepts told apart', 'item'),
        ('NMI with categories', 'item'),
        ('nearest to own prototype', 'user'),
        ('correlation of dimensions', 'user'),
    ):
        assert separates['concepts', measure, side] == 'no'
    assert separates['dependence', 'distance correlation', 'user'] == 'no'


def test_macrid_vae(graph, device):
    torch.manual_seed(0)
    model = MacridVAE(NUM_ITEMS, NUM_CONCEPTS, channels=CHANNELS).to(device).train()
    category = [None] * 20 + [f'genre {n}' for n in CATEGORY[20:]]
    held_out = unseen(graph)
    found = report(model, graph, held_out, categories=category)
    again = report(scorer(model, graph), graph, held_out, categories=category)
    pd.testing.assert_frame_equal(found.table, again.table)
    assert model.training
    groups = {'dependence', 'concepts', 'popularity', 'ranking'}
    assert set(found.table['group']) == groups

    made = scorer(model, graph)
    share = model.eval().assignment().detach().cpu()
    actual = value(found, 'largest probability', 'all')
    assert actual == pytest.approx(float(share.amax(1).mean()))
    agreement = concept_agreement(share[20:], CATEGORY[20:])
    actual = value(found, 'NMI with categories', 'all')
    assert actual == pytest.approx(agreement.nmi)
    # Vectors and nearness to prototypes, with all users as samples.
    found = report(model, graph, num_samples=500)
    queries = Queries(torch.arange(NUM_USERS))
    z = torch.stack(
        [made.factor(name, 'user', queries, queries.user) for name in model.parts],
        dim=1,
    )
    prototype = F.normalize(model.prototype.detach().cpu(), dim=1)
    confidence = one_hot(graph.user, NUM_USERS).t().float() @ share[graph.item]
    hits = []
    for user in range(NUM_USERS):
        for k in confidence[user].topk(2).indices:
            hits.append(bool((prototype @ z[user, k].cpu()).argmax() == k))
    actual = value(found, 'nearest to own prototype', 'all')
    assert actual == pytest.approx(sum(hits) / len(hits))
    for k, name in enumerate(model.parts):
        actual = value(found, 'correlation of dimensions', name)
        assert actual == pytest.approx(1 - independence(z[:, k]), abs=1e-5)

    # The most that the vectors of a concept depend on those of another.
    dependence = {
        frozenset(pair): bias_corrected_distance_correlation(z[:, pair[0]], z[:, pair[1]])
        for pair in combinations(range(NUM_CONCEPTS), 2)
    }
    for k, name in enumerate(model.parts):
        expected = max(each for pair, each in dependence.items() if k in pair)
        actual = value(found, 'distance correlation', name, 'user', 'dependence')
        assert actual == pytest.approx(expected, abs=1e-5)
    itself = value(found, 'distance correlation', 'itself', 'user', 'dependence')
    assert itself == pytest.approx(1)


def test_one_concept(graph):
    """There is nothing to tell apart but its dimensions."""
    found = report(MacridVAE(NUM_ITEMS, 1, 4), graph, categories=CATEGORY)
    measures = set(found.table.query('group == "concepts"')['measure'])
    assert measures == {'NMI with categories', 'purity', 'correlation of dimensions'}


def test_bad_categories(graph):
    model = MacridVAE(NUM_ITEMS, 2, 4)
    with pytest.raises(ValueError, match=r'each of the 90 items \(got 3, 3 of'):
        report(model, graph, categories=CATEGORY[:3])
    with pytest.raises(ValueError, match='got 90, 0 of them known'):
        report(model, graph, categories=[None] * NUM_ITEMS)
    for other in (MF(NUM_USERS, NUM_ITEMS, 4), MultVAE(NUM_ITEMS, 4, 4)):
        with pytest.raises(ValueError, match=r'`categories`.* this model has none'):
            report(other, graph, categories=CATEGORY)
