"""SDRL against its equations on dense matrices."""

import pytest
import torch
from clicks import NUM_ITEMS, NUM_USERS

from iedr_geo.analysis import class_probe, value_probe
from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import PlantedClicks
from iedr_geo.loader import UserBatch, UserLoader
from iedr_geo.nn import SDRL, SDRL_VARIANTS
from iedr_geo.scoring import Queries, scorer
from iedr_geo.training import BipartiteModule

SIZES = NUM_USERS, NUM_ITEMS
SMALL = {'internal': 3, 'external': 2, 'other': 1}
VARIANTS = {
    name: {k: SMALL.get(k, 4) for k in variant.get('blocks', SMALL)}
    for name, variant in SDRL_VARIANTS.items()
}
# Item 1 has none, item 5 but one that it alone has.
HAD = (0,), (), (0, 1), (1, 2), (2,), (3,), (0, 1, 2), (1,)
LABELS = torch.tensor([[label in had for label in range(4)] for had in HAD])


def make_graph(num_edges=17):
    """User 0 has no item, user 1 one without labels; item 0 has no user."""
    user = torch.randint(2, NUM_USERS, (num_edges,))
    item = torch.randint(1, NUM_ITEMS, (num_edges,))
    user[0] = item[0] = 1
    value = torch.randint(0, 11, (num_edges,)).double() / 2
    return BipartiteGraph(user, item, *SIZES, value=value, item_labels=LABELS)


def make(graph, blocks=SMALL, labels=LABELS, device='cpu', **kwargs):
    value = graph.value / 5
    model = SDRL(
        *SIZES, graph.edge_index, value, labels, blocks=blocks, hidden=5, **kwargs
    )
    for bias in model.parameters(recurse=False):
        torch.nn.init.normal_(bias)  # Zeros would hide what is left out.
    return model.double().to(device)


def dense(graph):
    ratings = torch.zeros(SIZES, dtype=torch.double)
    for user, item, value in zip(graph.user, graph.item, graph.value, strict=True):
        ratings[user, item] = value / 5
    return ratings


def codes_by_hand(side, x):
    """The blocks of each row, by name: their encoders one after the other."""
    weights, biases = side.first.weight.split(5), side.first.bias.split(5)
    layers = zip(side.codes.items(), weights, biases, strict=True)
    return {
        name: torch.tanh(x @ weight.t() + bias) @ code.weight.t() + code.bias
        for (name, code), weight, bias in layers
    }


def decoded(side, codes):
    code = torch.cat(list(codes.values()), dim=1)
    hidden = torch.tanh(code @ side.hidden.weight.t() + side.hidden.bias)
    return torch.sigmoid(hidden @ side.out.weight.t() + side.out.bias)


def bce(predicted, target):
    """Equation (10), with its minus sign."""
    terms = target * predicted.log() + (1 - target) * (1 - predicted).log()
    return -terms.mean()


def losses_by_hand(model, ratings, users, labels=LABELS):
    """The terms of the loss of some users: Equations (4) to (14) of the paper."""
    labels = labels.to(ratings)
    rows = ratings[users]
    user = codes_by_hand(model.user_side, rows)
    item = codes_by_hand(model.item_side, ratings.t())
    z_u, z_i = (torch.cat(list(codes.values()), dim=1) for codes in (user, item))
    recon = bce(decoded(model.user_side, user), rows)
    recon = recon + bce(decoded(model.item_side, item), ratings.t())
    recon = recon + bce(torch.sigmoid(z_u @ z_i.t() + model.bias), rows)
    internal = external = torch.zeros(()).to(recon)
    if 'internal' in user:
        sums = rows @ labels
        known = sums.sum(1) > 0
        of_user = sums[known] / sums[known].max(dim=1, keepdim=True).values
        some = labels.sum(1) > 0
        for head, code, wanted in (
            (model.item_head, item['internal'][some], labels[some]),
            (model.user_head, user['internal'][known], of_user),
        ):
            predicted = torch.sigmoid(code @ head.weight.t() + head.bias)
            internal = internal + (bce(predicted, wanted) if len(wanted) else 0)
    if 'external' in user:
        logits = user['external'] @ item['external'].t() + model.external_bias
        external = bce(torch.sigmoid(logits), rows)
    total = recon + model.internal_weight * internal + model.external_weight * external
    return recon, internal, external, total


def batch_of(graph, users):
    return next(iter(UserLoader(graph, len(users), torch.as_tensor(users))))


@pytest.mark.parametrize('variant', VARIANTS)
@pytest.mark.parametrize('users', [range(NUM_USERS), [4, 1, 2], [0], [1]], ids=str)
def test_losses_equal_the_equations(variant, users, device, assert_same):
    """Of all users, of some in any order, and of those of whom nothing is known."""
    graph, users = make_graph(), list(users)
    weights = {'internal_weight': 0.7, 'external_weight': 1.3}
    model = make(graph, VARIANTS[variant], device=device, **weights)
    batch = UserBatch(*(t.to(device) for t in batch_of(graph, users)[:3]))
    actual = model.losses(batch)
    expected = losses_by_hand(model, dense(graph).to(device), users, LABELS.to(device))
    parameters = list(model.parameters())
    for term, wanted in zip(actual, expected, strict=True):
        assert_same(term, wanted, parameters if wanted.requires_grad else (), 1e-10)
    lacking = {'internal', 'external'} - set(VARIANTS[variant])
    assert all(getattr(actual, name) == 0 for name in lacking)


def test_scores_are_logits_and_their_parts(device):
    graph = make_graph()
    model = make(graph, device=device)
    ratings = dense(graph).to(device)
    user = codes_by_hand(model.user_side, ratings)
    item = codes_by_hand(model.item_side, ratings.t())
    wanted = {name: user[name] @ item[name].t() for name in SMALL}
    wanted['bias'] = model.bias.expand(SIZES)
    users, items = torch.arange(NUM_USERS), torch.arange(NUM_ITEMS)
    made = scorer(model, graph.to(device))
    parts = made.split(Queries(users.to(device)), items.to(device))
    assert list(parts) == list(model.factor_columns) == [*SMALL, 'bias']
    for name, part in parts.items():
        torch.testing.assert_close(part, wanted[name], rtol=1e-10, atol=1e-10)
    total = sum(wanted.values())
    scores = model.score(users.unsqueeze(1).to(device), items.to(device))
    torch.testing.assert_close(scores, total)
    torch.testing.assert_close(made.scores(Queries(users.to(device))), total)


def test_order_of_items_means_nothing():
    """Items, categories and the rows that their weights are in, in another order."""
    graph, order = make_graph(), torch.randperm(NUM_ITEMS)
    model, place = make(graph), torch.empty(NUM_ITEMS, dtype=torch.long)
    place[order] = torch.arange(NUM_ITEMS)
    other = BipartiteGraph(graph.user, place[graph.item], *SIZES, value=graph.value)
    again = make(other, labels=LABELS[order])
    state = again.state_dict() | {k: v for k, v in model.named_parameters()}
    state['user_side.first.weight'] = model.user_side.first.weight[:, order]
    for name in ('weight', 'bias'):
        out = getattr(model.user_side.out, name)
        state[f'user_side.out.{name}'] = out[order]
    again.load_state_dict(state)
    users = list(range(NUM_USERS))
    pairs = zip(
        model.losses(batch_of(graph, users)),
        again.losses(batch_of(other, users)),
        strict=True,
    )
    for one, two in pairs:
        torch.testing.assert_close(one, two)
    [user, item], [same, moved] = model.embeddings(), again.embeddings()
    torch.testing.assert_close(user, same)
    torch.testing.assert_close(item[order], moved)


def test_withheld_labels_change_nothing():
    """Whatever they are, and they are not kept."""
    graph, mask = make_graph(), torch.arange(NUM_ITEMS) % 3 > 0
    changed = LABELS ^ ~mask.unsqueeze(1)
    one, two = (make(graph, labels=x, label_mask=mask) for x in (LABELS, changed))
    two.load_state_dict(one.state_dict() | {'item_labels': two.item_labels})
    batch = batch_of(graph, list(range(NUM_USERS)))
    assert one.losses(batch).total == two.losses(batch).total
    seen = LABELS * mask.unsqueeze(1)
    assert torch.equal(one.item_labels, seen.double())
    expected = losses_by_hand(one, dense(graph), batch.user, seen)
    torch.testing.assert_close(one.losses(batch).internal, expected[1])


def test_one_category_and_no_values():
    """Without values all ratings are one, and users who have the category have all."""
    graph = make_graph()
    label = LABELS[:, :1]
    model = SDRL(
        *SIZES, graph.edge_index, item_labels=label, blocks=SMALL, hidden=5
    ).double()
    graph.value = torch.full_like(graph.value, 5)
    batch = batch_of(graph, list(range(NUM_USERS)))
    expected = losses_by_hand(model, dense(graph), batch.user, label)
    for term, wanted in zip(model.losses(batch), expected, strict=True):
        torch.testing.assert_close(term, wanted)


def test_seeds_and_training():
    """Trained by the module in batches of all users; the same seed gives the same."""
    graph = make_graph(40)
    totals = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = make(graph).float()
        module = BipartiteModule(model, graph, batch_size=NUM_USERS, seed=seed)
        batches = list(module.train_dataloader())
        assert len(batches) == 1 and len(batches[0].user) == NUM_USERS - 1
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        run = []
        for _ in range(60):
            loss = model.losses(batches[0]).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.append(loss.item())
        totals.append(run)
    assert totals[0] == totals[1] != totals[2]
    assert totals[0][-1] < 0.7 * totals[0][0]
    before = model.embeddings()[0]
    model.reset_parameters()
    assert not torch.equal(model.embeddings()[0], before)
    assert model.bias == model.external_bias == 0


def test_planted_categories():
    """Only the internal block knows them, only what had to be told has the clicks."""
    data = PlantedClicks(300, 120, 9000, num_categories=3)
    graph, category = data.graph, data.graph.item_labels.long().argmax(1)
    model = SDRL(
        graph.num_users,
        graph.num_items,
        graph.edge_index,
        item_labels=graph.item_labels,
        blocks={'internal': 8, 'external': 8},
        hidden=32,
    )
    batch = next(iter(UserLoader(graph, graph.num_users)))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        model.losses(batch).total.backward()
        optimizer.step()
    item = model.embeddings()[1].detach()
    internal, external = (
        class_probe(item[:, model.factor_columns[name]], category)
        for name in ('internal', 'external')
    )
    assert internal.value > 0.95 and external.value < external.chance + 0.1
    appeal = torch.from_numpy(data.appeal)
    assert value_probe(item[:, model.factor_columns['external']], appeal).value > 0.8


def test_another_graph_is_refused():
    graph = make_graph()
    other = graph.subgraph(torch.arange(1, graph.num_edges))
    with pytest.raises(ValueError, match=r'SDRL has \d+ edges, not the \d+ of the tr'):
        BipartiteModule(make(graph), other)


EDGES = torch.tensor([[0, 0, 1], [0, 1, 1]])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'edge_index': EDGES.flip(1)}, 'sorted by user, then item, and each be there'),
        ({'edge_index': EDGES[:, [0, 0, 1]]}, 'each be there once'),
        ({'edge_index': EDGES + 1}, 'between 2 users and 2 items'),
        ({'value': torch.tensor([1.0, 5.0, 3.0])}, r'scaled to \[0, 1\].*1.0 to 5.0'),
        ({'value': torch.tensor([1.0, float('nan'), 1])}, r'scaled to \[0, 1\]'),
        ({'value': torch.ones(2)}, r'shape \(3,\), one for each edge \(got \(2,\)'),
        ({'item_labels': None}, "pass `item_labels`, or `blocks` without 'internal'"),
        ({'item_labels': torch.ones(3, 2)}, r'shape \(2, C\) \(got \(3, 2\)\)'),
        ({'item_labels': torch.zeros(2, 2)}, 'No item has a category that the model'),
        ({'label_mask': torch.zeros(2).bool()}, 'No item has a category that the'),
        ({'label_mask': torch.ones(2)}, r'`label_mask` must be boolean.*float32'),
        ({'label_mask': torch.ones(1).bool()}, r'of shape \(2\) .*of shape \(1,\)'),
        ({'blocks': {}}, '`blocks` must be sizes by name'),
        ({'blocks': {'other': 0}}, '`blocks` must be sizes by name'),
        ({'blocks': {'bias': 3}}, "none of which is 'bias'"),
    ],
)
def test_bad_arguments(change, message):
    arguments = {'edge_index': EDGES, 'item_labels': torch.eye(2), **change}
    with pytest.raises(ValueError, match=message):
        SDRL(2, 2, **arguments)


def test_defaults_and_variants():
    edges, labels = make_graph().edge_index, LABELS
    for name, variant in SDRL_VARIANTS.items():
        model = SDRL(*SIZES, edges, item_labels=labels, **variant)
        user, item = model.embeddings()
        assert (model.channels, user.shape, item.shape) == (
            129,
            (NUM_USERS, 129),
            (NUM_ITEMS, 129),
        )
        assert hasattr(model, 'user_head') == ('internal' in model.blocks), name
    model = SDRL(*SIZES, edges, item_labels=labels)
    assert model.factor_columns == {
        'internal': slice(0, 64),
        'external': slice(64, 96),
        'other': slice(96, 128),
        'bias': slice(128, 129),
    }
    assert str(model) == (
        "SDRL(6, 8, blocks={'internal': 64, 'external': 32, 'other': 32}, hidden=256)"
    )


def test_the_bias_is_a_part_and_no_factor():
    """It is the same for all users and items, and tells nothing of any."""
    graph = make_graph()
    made = scorer(make(graph), graph)
    assert made.parts == ('internal', 'external', 'other', 'bias')
    assert made.factor_names == made.parts[:-1]
