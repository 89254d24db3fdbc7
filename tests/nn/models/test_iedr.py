"""IEDR: one model on two forms of a batch, against its formula, and its losses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from cinema import EDGES, FIELDS, make_cinema
from iedr_run import assert_same_run, features_by_hand, gradients, run
from torch import Tensor
from torch_geometric.data import Batch

from iedr_geo import nn
from iedr_geo.data import InteractionDataset
from iedr_geo.loader import InteractionBatch
from iedr_geo.testing import check_interaction_model

# Graphs without edges are what some of these tests are about.
pytestmark = pytest.mark.filterwarnings('ignore:.*graphs have no edges')

# The first row twice, users and contexts with several items, and all labels.
ROWS = [0, 1, 2, 3, 0, 4, 5, 6, 7]
VARIANTS = nn.IEDR_VARIANTS | {
    'residual': {'generator': 'residual', 'pointwise': True},
    'BI and dropout': {'encoder': 'bi', 'dropout': 0.3},
}
every_variant = pytest.mark.parametrize('variant', VARIANTS)


@pytest.fixture(scope='module')
def cinema() -> InteractionDataset:
    return make_cinema()


def make(dataset: InteractionDataset, **kwargs: Any) -> nn.IEDR:
    torch.manual_seed(0)
    kwargs = {'channels': 4, 'hidden_channels': 8, 'num_negatives': 3} | kwargs
    return nn.IEDR(dataset.schema.num_embeddings, **kwargs).double()


def as_batch(dataset: InteractionDataset, rows: list[int] = ROWS) -> InteractionBatch:
    part = dataset[rows]
    return InteractionBatch.from_ids(part, part.user, part.item, part.context, part.y)


@pytest.mark.parametrize(
    ('variant', 'edges', 'rows'),
    [
        *((variant, 'complete', ROWS) for variant in VARIANTS),
        *(('IEDR', edges, ROWS) for edges in EDGES),
        *((variant, 'own', ROWS) for variant in ('dropout', 'AVG', 'residual')),
        *((variant, 'some without', ROWS) for variant in ('BI and dropout', 'released')),
        *((variant, 'complete', [3]) for variant in ('IEDR', 'released')),
    ],
)
def test_distinct_graphs_equal_rows_of_their_own(
    variant, edges, rows, cinema, device, monkeypatch
):
    # Rows that are contrasted once draw once, which rows of their own do not.
    monkeypatch.setattr(
        'iedr_geo.nn.models.iedr.distinct_pairs', lambda *ids: (None,) * 3
    )
    dataset = cinema.with_edges(**EDGES[edges])
    model = make(dataset, **VARIANTS[variant]).to(device)
    batch = as_batch(dataset.to(device), rows)
    samples = [dataset[i] for i in rows]
    follow = [f'x_{side}' for side in FIELDS]
    plain = Batch.from_data_list(samples, follow_batch=follow).to(device)
    for train in (True, False):
        fast = run(model.train(train), batch)
        assert fast['logits'].device.type == device.type
        if len(rows) > 1 and edges != 'none':  # Or equal gradients would say nothing.
            parts = 'embedding', 'encoders.user', 'encoders.item', 'encoders.context'
            for part in parts:
                mine = [g for name, g in fast.items() if name.startswith(f'total {part}')]
                assert all(g.abs().max() > 1e-6 for g in mine), part
        assert_same_run(run(model, batch.expand()), fast, tol=1e-10)
        assert_same_run(run(model, plain), fast, tol=1e-10)


# The weight of the edge from the i-th node to the j-th, or none.
RULES: dict[str, Callable[[int, int], float | None]] = {
    'complete': lambda i, j: 1.0,
    'loops removed': lambda i, j: None if i == j else 1.0,
    'own': lambda i, j: 0.5 + i if j == i + 1 else None,
    'none': lambda i, j: None,
}


@pytest.mark.aggregation
@pytest.mark.parametrize(
    ('edges', 'kwargs'),
    [
        *((edges, {'encoder': name}) for edges in RULES for name in ('sign', 'bi')),
        ('own', {'encoder': 'bi', 'combine': 'sum', 'generator': 'split'}),
        ('complete', {'encoder': 'mean', 'generator': 'linear'}),
        ('complete', {'encoder': 'mlp', 'pointwise': True}),
        ('own', {'generator': 'residual', 'pointwise': True}),
        ('complete', {'generator': 'separate', 'cross': False, 'pointwise': True}),
    ],
    ids=str,
)
def test_equals_formula(
    edges, kwargs, cinema, device, aggregation, assert_same, perceptron
):
    """Nodes by the tables, readouts by double loops, factors, their sums."""
    cinema, rule = cinema.with_edges(**EDGES[edges]), RULES[edges]
    model, kind = make(cinema, **kwargs).to(device), kwargs.get('encoder', 'sign')

    def read(side: str, row: int) -> tuple[Tensor, Tensor]:
        """The readout and the pointwise term of a graph."""

        def nodes(table: nn.FeatureEmbedding) -> list[Tensor]:
            return [z for _, z in features_by_hand(table.weight, cinema, side, row)]

        z, encoder = nodes(model.embedding), model.encoders[side]
        if kind in ('mean', 'mlp'):
            out = sum(z) / len(z)
            out = perceptron(encoder.mlp, out) if kind == 'mlp' else out
        else:
            out = torch.zeros_like(z[0])
            for j, z_j in enumerate(z):
                ends = [(rule(i, j), z_j * z_i) for i, z_i in enumerate(z)]
                heard = [(w, x) for w, x in ends if w is not None]
                for w, x in heard:
                    message = perceptron(encoder.conv.nn, x) if kind == 'sign' else x
                    out = out + w * message / len(heard) / len(z)
        if model.direct is not None:
            out = torch.cat([out, sum(nodes(model.direct))])
        if model.pointwise is None:
            return out, out.new_zeros(1)
        return out, sum(nodes(model.pointwise))

    rows = [cinema.user[ROWS].tolist(), cinema.item[ROWS].tolist(), ROWS]
    readouts, terms = [], 0.0
    for side, column in zip(FIELDS, rows, strict=True):
        each = [read(side, row) for row in column]
        readouts.append(torch.stack([readout for readout, _ in each]))
        terms = terms + torch.cat([term for _, term in each])
    user, item = (
        model.generators[side](readout, readouts[2])
        for side, readout in zip(('user', 'item'), readouts, strict=False)
    )
    parts = {
        'intrinsic': (user.intrinsic * item.intrinsic).sum(1),
        'extrinsic': (user.extrinsic * item.extrinsic).sum(1),
        'cross': (user[0] * item[1] + user[1] * item[0]).sum(1),
    }
    if not model.cross:
        del parts['cross']
    if model.pointwise is not None:
        parts['pointwise'] = terms
    batch = as_batch(cinema.to(device))
    tables = model.embedding, model.pointwise, model.direct
    tensors = [table.weight for table in tables if table is not None]
    tensors = [] if edges == 'none' else tensors
    encoded = model.encode(batch)
    assert all(map(torch.equal, model.readouts(batch), encoded[:3]))
    for graphs in (batch.user, batch.item):
        assert torch.equal(model.node_features(graphs), model.embedding(graphs))
    # Values and vectors are stored in single precision.
    for actual, wanted in zip(encoded[:3], readouts, strict=True):
        assert_same(actual, wanted, tensors, 1e-6)
    assert_same(encoded.logits, sum(parts.values()), tensors, 1e-6)
    assert encoded.parts.keys() == parts.keys()
    for name, part in encoded.parts.items():
        assert_same(part, parts[name], tol=1e-6)


@every_variant
def test_is_a_model_of_a_dataset(variant, cinema):
    check_interaction_model(make(cinema, **VARIANTS[variant]), cinema)


def distinct_rows_and_counts(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first row of each distinct pair, and how many rows have the pair."""
    pairs = list(zip(one.tolist(), two.tolist(), strict=True))
    distinct = sorted(set(pairs))
    rows = [pairs.index(pair) for pair in distinct]
    return torch.tensor(rows), torch.tensor([pairs.count(pair) for pair in distinct])


@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'generator': 'split'},
        {'mask_false_negatives': True, 'contrastive_variant': 'released'},
        {'contrastive_weight': 0.0, 'bidirectional': False, 'halve': False},
        {'disentangling_weight': 0.0},
    ],
    ids=str,
)
def test_terms_of_the_loss(kwargs, cinema):
    """Distinct pairs count as often as they occur, plain rows each for itself."""
    kwargs = {'contrastive_weight': 0.3, 'disentangling_weight': 0.7} | kwargs
    model, fast = make(cinema, **kwargs), as_batch(cinema)
    for batch in (fast, fast.expand()):
        encoded = model.encode(batch)
        torch.manual_seed(1)
        losses = model.extra_losses(batch, encoded)
        expected = {'contrastive': 0.0, 'disentangling': 0.0}
        torch.manual_seed(1)
        for side in ('user', 'item'):
            intrinsic = getattr(encoded.factors, side).intrinsic
            if kwargs['contrastive_weight'] and kwargs.get('generator') == 'split':
                expected['contrastive'] += 0.3 * model.contrastive(intrinsic)
            elif kwargs['contrastive_weight']:
                entity_id = getattr(cinema, side)[ROWS]
                rows, counts = distinct_rows_and_counts(entity_id, cinema.context[ROWS])
                expected['contrastive'] += 0.3 * model.contrastive(
                    model.generators[side],
                    getattr(encoded, side),
                    encoded.context,
                    entity_id,
                    rows=rows if batch is fast else None,
                    row_weight=counts if batch is fast else None,
                )
        for side in ('user', 'item'):
            if kwargs['disentangling_weight']:
                bound = model.disentangling[side](*getattr(encoded.factors, side))
                expected['disentangling'] += 0.7 * bound
        assert losses.keys() == {n for n in expected if kwargs[f'{n}_weight'] > 0}
        for name, loss in losses.items():
            assert loss.shape == () and loss != 0
            torch.testing.assert_close(loss, expected[name])


@every_variant
def test_rows_of_one_query_share_its_factors(variant, cinema, device):
    model = make(cinema, **VARIANTS[variant]).to(device)
    shared = as_batch(cinema.to(device)).cross(torch.arange(3, device=device))
    alone = replace(shared, rows_per_query=1)
    assert shared.rows_per_query == 3
    drawn = model._draws  # Then each row draws for itself, in training.
    weight = torch.randn(len(shared), dtype=torch.double, device=device)
    for train in (True, False):
        runs = []
        for batch in (shared, alone):
            torch.manual_seed(1)
            encoded = model.train(train).encode(batch)
            runs.append(gradients(model, encoded.logits @ weight))
            runs[-1] |= {'factors': torch.cat([*encoded.factors.user], dim=1)}
        assert_same_run(*runs, tol=1e-10)
    encoded = model.train().encode(shared)
    assert encoded.rows_per_query == (1 if drawn else 3)
    if drawn or not model.disentangling:
        return
    # The bound is that of one row, drawn for each query.
    torch.manual_seed(1)
    loss = model.estimator_loss(encoded)
    torch.manual_seed(1)
    row = torch.arange(0, len(shared), 3) + torch.randint(3, (len(ROWS),))
    expected = [
        model.disentangling[side].estimator_loss(*(factor[row] for factor in factors))
        for side, factors in encoded.factors._asdict().items()
    ]
    torch.testing.assert_close(loss, sum(expected))


@every_variant
def test_each_step_has_parameters_of_its_own(variant, cinema):
    model, batch = make(cinema, **VARIANTS[variant]), as_batch(cinema)
    names = {parameter: name for name, parameter in model.named_parameters()}
    main, estimator = (
        {names[parameter] for parameter in parameters}
        for parameters in (model.main_parameters(), model.estimator_parameters())
    )
    assert estimator == {n for n in names.values() if n.startswith('disentangling.')}
    assert main == set(names.values()) - estimator
    assert bool(estimator) == (model.disentangling_weight > 0)
    assert (model.contrastive is None) == (model.contrastive_weight == 0)
    runs = run(model, batch)
    for step, mine in (('total', main), ('estimator', estimator)):
        prefix = f'{step} '
        reached = {n for n, g in runs.items() if n.startswith(prefix) and g is not None}
        assert reached == {prefix + name for name in mine}
    encoded = model.encode(batch)
    if not estimator:
        with pytest.raises(ValueError, match='no estimator'):
            model.estimator_loss(encoded)
        return
    bounds = [
        model.disentangling[side].estimator_loss(*getattr(encoded.factors, side))
        for side in ('user', 'item')
    ]
    torch.testing.assert_close(model.estimator_loss(encoded), sum(bounds))
    variances = [
        model.disentangling[side].variance(*getattr(encoded.factors, side))
        for side in ('user', 'item')
    ]
    torch.testing.assert_close(model.estimator_variance(encoded), sum(variances))


def test_arguments_reach_the_parts(cinema):
    drawn = {'num_negatives': 7, 'temperature': 0.9}
    contrast = {'contexts': 'sample', 'mask_false_negatives': True, **drawn}
    model = make(
        cinema, combine='sum', context_dropout=0.2, bidirectional=False, dropout=0.3,
        contrastive_variant='released', num_disentangling_negatives=9, **contrast,
    )  # fmt: skip
    bi = make(cinema, encoder='bi', dropout=0.3)
    for encoder in [*model.encoders.values(), *bi.encoders.values()]:
        assert encoder.conv.dropout == 0.3
    assert all(g.combine == 'sum' for g in model.generators.values())
    loss = model.contrastive
    assert {name: getattr(loss, name) for name in contrast} == contrast
    assert (loss.dropout, loss.variant) == (0.2, 'released')
    for bound in model.disentangling.values():
        assert (bound.num_negatives, bound.bidirectional) == (9, False)
    loss = make(cinema, generator='split', **drawn).contrastive
    assert (loss.num_negatives, loss.temperature, loss.dropout) == (7, 0.9, 0.5)
    # The defaults: Table 10, and the sizes of Section 7.1.
    model = nn.IEDR(10, pointwise=True)
    tables = model.embedding, model.pointwise, nn.IEDR(2, generator='residual').direct
    assert [(t.mean, t.std) for t in tables] == [(1, 1), (0, 0.01), (0, 0.1)]
    networks = [
        model.encoders['user'].conv.nn,
        model.generators['item'].mlp,
        model.disentangling['user'].to_intrinsic,
    ]
    last = [32, 64, 32]
    assert [n.channel_list for n in networks] == [[32, 128, size] for size in last]
    assert (model.contrastive.num_negatives, model.contrastive.temperature) == (40, 0.5)
    assert model.disentangling['item'].num_negatives == 5
    assert (model.contrastive_weight, model.disentangling_weight) == (0.1, 0.1)


@pytest.mark.parametrize(
    ('named', 'own'),
    [
        ({'dropout': 0.5}, {'encoder': nn.SIGN(4, 8, dropout=0.5)}),
        ({'encoder': 'mean'}, {'encoder': nn.MeanEncoder()}),
        ({'combine': 'sum'}, {'generator': nn.MLPGenerator(4, 8, 'sum')}),
        ({'generator': 'nonlinear'}, {'generator': nn.LinearGenerator(4, relu=True)}),
        ({'generator': 'residual'}, {'generator': nn.ResidualGenerator(4, 8)}),
    ],
    ids=lambda arguments: str([*arguments]),
)
def test_modules_are_copied_for_each_side(named, own, cinema):
    model, other = make(cinema, **named), make(cinema, **own)
    other.load_state_dict(model.state_dict())
    batch = as_batch(cinema)
    assert_same_run(run(other, batch), run(model, batch), tol=0)
    [module] = own.values()
    copies = [*other.encoders.values(), *other.generators.values(), module]
    parameters = [p for copy in copies for p in copy.parameters()]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert model.config is not None and other.config is None
    if named == {'dropout': 0.5}:  # Also rows that share a graph draw each its own.
        encoded = other.encode(as_batch(cinema, [0] * 3))
        for readout in encoded[:3]:
            assert (readout[0] != readout[1]).any() and (readout[1] != readout[2]).any()


def test_reset_parameters(cinema):
    model = make(cinema, generator='residual', pointwise=True)
    before = [p.clone() for p in model.parameters()]
    model.reset_parameters()
    pairs = zip(model.parameters(), before, strict=True)
    assert all((p != q).any() for p, q in pairs)


@pytest.mark.parametrize('expand', [False, True])
@pytest.mark.parametrize(
    'variant', ['IEDR', 'MLP', 'IEDR_sp', 'released', 'residual', 'separate']
)
def test_mixed_precision(variant, expand, cinema, device):
    sizes = {'channels': 32, 'hidden_channels': 128, 'num_negatives': 10}
    model = make(cinema, **sizes, **VARIANTS[variant]).float().eval().to(device)
    batch = as_batch(cinema.to(device))
    batch = batch.expand() if expand else batch
    exact = run(model, batch)
    with torch.autocast(device.type, torch.bfloat16):
        rounded = run(model, batch)
    # bfloat16 has 8 bits, and a logit is the end of a chain of some ten products. Its
    # own terms can cancel.
    u_in, u_ex, v_in, v_ex = exact['factors'].chunk(4, dim=1)
    terms = {**exact, 'logits': ((u_in + u_ex) * (v_in + v_ex)).abs().sum(dim=1)}
    for name in ('readouts', 'factors', 'losses', 'logits'):
        difference = (rounded[name].float() - exact[name]).abs().max()
        assert difference < 0.1 * terms[name].abs().max(), name
    for step in ('total ', 'estimator '):
        names = [n for n, g in exact.items() if n.startswith(step) and g is not None]
        ours, wanted = (
            torch.cat([way[name].flatten() for name in names]) for way in (rounded, exact)
        )
        assert (ours - wanted).norm() < 0.25 * wanted.norm()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'encoder': 'gcn'}, "`encoder`.*'sign', 'mean', 'mlp', 'bi' .*'gcn'"),
        ({'generator': 'cubic'}, "`generator`.*'mlp', .*'separate' .*'cubic'"),
        ({'combine': 'max'}, "'max'"),
        ({'contexts': 'none'}, "'none'"),
        ({'contrastive_variant': 'double'}, "'double'"),
        ({'contrastive_weight': -1.0}, 'must not be negative'),
        ({'disentangling_weight': -1.0}, 'must not be negative'),
        ({'dropout': 1.0}, r'\[0, 1\)'),
        ({'generator': 'split', 'context_dropout': 2.0}, r'\[0, 1\)'),
        ({'encoder': 'mean', 'dropout': 0.5}, "'mean' has no messages"),
        ({'encoder': nn.MeanEncoder(), 'dropout': 0.5}, "'MeanEncoder' has no messages"),
        ({'generator': 'split', 'contexts': 'sample'}, 'looks at no context'),
        ({'generator': 'split', 'mask_false_negatives': True}, 'looks at no context'),
        ({'generator': 'split', 'contrastive_variant': 'released'}, 'at no context'),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.IEDR(10, **arguments)
