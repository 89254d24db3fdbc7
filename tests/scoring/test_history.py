"""Vectors and concepts of models of histories, by the model's own words."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from iedr_geo.data import BipartiteGraph
from iedr_geo.loader import UserBatch
from iedr_geo.nn import MF, MacridVAE, MultDAE, MultVAE
from iedr_geo.recommend import Recommender
from iedr_geo.scoring import Queries, scorer

NUM_USERS, NUM_ITEMS = 12, 20


@pytest.fixture
def graph() -> BipartiteGraph:
    """Users 3, 7 and 11 have no items."""
    generator = torch.Generator().manual_seed(0)
    user = torch.randint(3, (60,), generator=generator) + 4 * torch.arange(60) % 12
    item = torch.randint(NUM_ITEMS, (60,), generator=generator)
    return BipartiteGraph(user, item, NUM_USERS, NUM_ITEMS)


@pytest.fixture
def macrid() -> MacridVAE:
    torch.manual_seed(0)
    return MacridVAE(NUM_ITEMS, 3, 4).train()


def encoded(model, graph) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model.encode(UserBatch.from_graph(graph, torch.arange(NUM_USERS)))


def test_factors_are_concepts(macrid, graph):
    made = scorer(macrid, graph)
    assert made.factor_names == made.parts == ('concept 0', 'concept 1', 'concept 2')
    users, items = torch.tensor([3, 7, 0, 7]), torch.tensor([19, 2, 2])
    found = [made.factor(n, 'user', Queries(users), users) for n in made.parts]
    of_items = [made.factor(n, 'item', Queries(items), items) for n in made.parts]
    concepts = made.concepts()
    assert macrid.training
    user = encoded(macrid, graph)
    item = F.normalize(macrid.item.weight.detach(), dim=1)
    share = macrid.assignment().detach()
    torch.testing.assert_close(torch.stack(found, 1), user[users])
    expected = share[items, :, None] * item[items, None]
    torch.testing.assert_close(torch.stack(of_items, 1), expected)
    torch.testing.assert_close(concepts.assignment, share)
    torch.testing.assert_close(concepts.item, item)
    prototype = F.normalize(macrid.prototype.detach(), dim=1)
    torch.testing.assert_close(concepts.prototype, prototype)
    assert concepts.on_sphere and concepts.tau == macrid.tau
    torch.testing.assert_close(concepts.nearest, (item @ prototype.t()).argmax(1))
    macrid.is_given_up[1] = True
    assert made.concepts().prototype.any(1).tolist() == [True, False, True]


@pytest.mark.parametrize('cls', [MacridVAE, MultDAE, MultVAE])
def test_vectors(cls, graph):
    """The scores are made of them, but for what items have alone."""
    model = cls(NUM_ITEMS, channels=4)
    made = scorer(model, graph)
    user, item = made.vectors('user'), made.vectors('item')
    torch.testing.assert_close(user, encoded(model, graph).flatten(1))
    scores = made.scores(Queries(torch.arange(NUM_USERS)))
    if cls is MacridVAE:
        products = user.view(NUM_USERS, -1, 4) @ item.t()
        share = made.concepts().assignment
        expected = (products.exp() * share.t()).sum(1)
    else:
        assert made.factor_names == () and made.concepts() is None
        expected = user @ item.t() + model.item_bias.weight.detach().t()
    torch.testing.assert_close(scores, expected)


def test_others_have_no_concepts(graph):
    assert scorer(MF(NUM_USERS, NUM_ITEMS, 4), graph).concepts() is None


def test_recommender(macrid, graph):
    recommender = Recommender(macrid, graph)
    names = ['vector', 'concept 0', 'concept 1', 'concept 2']
    for side, size in (('user', 12), ('item', 4)):
        table = recommender.embeddings(side)
        assert list(table.columns.get_level_values(0).unique()) == names
        assert table['vector'].shape[1] == size
    # By default whole vectors are compared; else those of a concept.
    user = encoded(macrid, graph)
    for by, vectors in ((None, user.flatten(1)), ('concept 1', user[:, 1])):
        table = recommender.similar_users(5, k=20, by=by)
        cosine = F.cosine_similarity(vectors, vectors[5:6]).numpy()
        expected = pd.Series(cosine).drop(5).round(5)
        expected = expected.sort_values(ascending=False, kind='stable')
        assert table['user'].astype(int).tolist() == expected.index.tolist()
    item = macrid.item.weight.detach()
    similarity = F.cosine_similarity(item, item[4:5]).numpy()
    table = recommender.similar_items(4, k=3)
    expected = pd.Series(similarity).drop(4).nlargest(3)
    assert table['item'].astype(int).tolist() == expected.index.tolist()
