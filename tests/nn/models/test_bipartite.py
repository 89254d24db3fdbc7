"""What all models of users and items have in common."""

from collections.abc import Callable

import pytest
import torch
from clicks import (
    BACKBONES,
    NUM_ITEMS,
    NUM_USERS,
    POPULARITY,
    make_backbone,
    random_batch,
    random_graph,
    vectors_by_hand,
)

from iedr_geo.loader import EdgeBatch
from iedr_geo.nn import DICE, IPS, MF, Biased, BipartiteModel, CausE
from iedr_geo.nn.models.bipartite import Vectors
from iedr_geo.testing import check_bipartite_model

OVER: dict[str, Callable[[MF], BipartiteModel]] = {
    'alone': lambda backbone: backbone,
    'Biased': Biased,
    'Biased user': lambda backbone: Biased(backbone, item=False),
    'Biased item': lambda backbone: Biased(backbone, user=False),
    'CausE': CausE,
    'DICE': lambda backbone: DICE(backbone, POPULARITY),
    'IPS': lambda backbone: IPS(backbone, POPULARITY),
}

every_model = pytest.mark.parametrize('over', OVER)
every_backbone = pytest.mark.parametrize('backbone', BACKBONES)


def make(over: str, backbone: str, graph=None, **kwargs) -> BipartiteModel:
    graph = random_graph() if graph is None else graph
    model = OVER[over](make_backbone(backbone, graph, **kwargs)).double()
    for bias in (getattr(model, 'user_bias', None), getattr(model, 'item_bias', None)):
        if bias is not None:
            torch.nn.init.normal_(bias.weight)
    return model


@every_model
@every_backbone
def test_vectors_and_scores(over, backbone, device, assert_same):
    """Those of the backbone, and biases."""
    graph = random_graph()
    model = make(over, backbone, graph).to(device)
    inner = next(part for part in model.modules() if isinstance(part, MF))
    users, items = vectors_by_hand(inner, graph)
    table = users @ items.t()
    if over.startswith('Biased'):
        if model.user_bias is not None:
            table = table + model.user_bias.weight
        if model.item_bias is not None:
            table = table + model.item_bias.weight.t()
    else:
        for one, two in zip(model.embeddings(), (users, items), strict=True):
            assert_same(one, two, tol=1e-12)
    tensors = list(model.parameters())
    one, two = model.embeddings()
    assert one.shape == (NUM_USERS, model.channels)
    assert two.shape == (NUM_ITEMS, model.channels)
    assert_same(one @ two.t(), table, tensors, 1e-12)
    for of_users, of_items in [
        ((), ()),
        ((5, 1), (7,)),
        ((5, 1), (5, 3)),
        ((0, 1), (4,)),
    ]:
        user = torch.randint(NUM_USERS, of_users, device=device)
        item = torch.randint(NUM_ITEMS, of_items, device=device)
        expected = table[user, item]
        some = tensors if expected.numel() else []
        assert_same(model.score(user, item), expected, some, 1e-12)
        assert torch.equal(model(user, item)[0], one[user])
        assert torch.equal(model(user, item)[1], two[item])


@every_model
@every_backbone
def test_is_a_model_of_a_graph(over, backbone):
    graph = random_graph(40)
    graph.intervened[::3] = True
    check_bipartite_model(make(over, backbone, graph).float(), graph)


@every_model
@every_backbone
def test_ids_out_of_range(over, backbone):
    """A user's number too large must not give an item's vector."""
    model = make(over, backbone)
    for user, item in ((NUM_USERS, 0), (-1, 0), (0, NUM_ITEMS), (0, -1)):
        with pytest.raises(IndexError):
            model.score(torch.tensor([user]), torch.tensor([item]))


def total(model: BipartiteModel, batch: EdgeBatch) -> torch.Tensor:
    if hasattr(model, 'losses'):
        assert model.losses(batch)._fields[-1] == 'total'
        return model.losses(batch).total
    return sum(model.extra_losses(batch).values(), torch.zeros(()).double())


@every_model
@every_backbone
def test_regularisation_equals_loops(over, backbone, device, assert_same):
    """Of the tables, not of what is propagated; rows count as often as they occur."""
    model, batch = make(over, backbone, l2=0.3).to(device), random_batch(device=device)
    inner = next(part for part in model.modules() if isinstance(part, MF))
    inner.l2 = 0.0
    assert inner.extra_losses(batch) == {}
    without = total(model, batch)
    inner.l2 = 0.3
    squares = 0.0
    for row, user in enumerate(batch.user.tolist()):
        squares = squares + (inner.user.weight[user] ** 2).sum()
        for item in (int(batch.item[row]), *batch.negative[row].tolist()):
            squares = squares + (inner.item.weight[item] ** 2).sum()
    penalty = 0.15 * squares / len(batch.user)
    parameters = list(model.parameters())
    assert_same(total(model, batch), without + penalty, parameters, 1e-12)
    assert (inner.extra_losses(batch)['regularization'] - penalty).abs() < 1e-12


@every_model
def test_reset_parameters(over):
    model = make(over, 'MF', std=0.1)
    before = [p.clone() for p in model.parameters()]
    model.reset_parameters()
    for one, (name, two) in zip(before, model.named_parameters(), strict=True):
        assert (one != two).all()
        assert (two == 0).all() if 'bias' in name else 0.02 < two.std() < 0.3
    # A model around a backbone leaves it as it is, and begins without biases.
    backbone = make_backbone('MF', random_graph(), std=0.1)
    pretrained = [p.clone() for p in backbone.parameters()]
    model = OVER[over](backbone).double()
    assert all(map(torch.equal, pretrained, backbone.parameters()))
    users, items = model.embeddings()
    torch.testing.assert_close(users @ items.t(), pretrained[0] @ pretrained[1].t())


class Own(BipartiteModel):
    """Has nothing but vectors."""

    def __init__(self, inner: MF) -> None:
        super().__init__()
        self.inner, self.channels = inner, inner.channels
        self.num_users, self.num_items = inner.num_users, inner.num_items

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> Vectors:
        return self.inner(user, item)


@pytest.mark.parametrize('over', ['DICE', 'IPS', 'Biased'])
def test_any_model_can_be_a_backbone(over):
    inner, batch = make_backbone('MF', random_graph()), random_batch()
    model, same = OVER[over](Own(inner)).double(), OVER[over](inner).double()
    assert torch.equal(total(model, batch), total(same, batch))
    assert all(map(torch.equal, model.embeddings(), same.embeddings()))
    assert model.config is None


def test_models_with_losses_are_no_backbones():
    for over in ('Biased', 'CausE', 'DICE', 'IPS'):
        with pytest.raises(ValueError, match=r'IPS has losses of its own.*no backbone'):
            OVER[over](make('IPS', 'MF'))


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda mf: DICE(mf, POPULARITY[:7]), r'shape \(8\) \(got \(7,\)\)'),
        (lambda mf: DICE(mf, POPULARITY.unsqueeze(1)), r'shape \(8\) \(got \(8, 1\)\)'),
        (lambda mf: DICE(Biased(mf), POPULARITY), r'halves \(got 7 channels\)'),
        (lambda mf: DICE(mf, POPULARITY, discrepancy='no'), "dcor, l1, l2 .*'no'"),
        (lambda mf: IPS(mf, POPULARITY[:7]), r'shape \(8\) \(got \(7,\)\)'),
        (lambda mf: IPS(mf, POPULARITY, 'CN'), "plain, c, cn, cnsr .*'CN'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make(MF(NUM_USERS, NUM_ITEMS, 5 if 'halves' in message else 4))
