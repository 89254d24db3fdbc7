"""IEDR: one model on two forms of a batch, against formulas, and trained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from pairs import distinct_rows_and_counts
from torch import Tensor
from torch_geometric.data import Batch

from iedr_geo.data import (
    Bucketized,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import (
    IEDR,
    IEDR_VARIANTS,
    SIGN,
    BCEObjective,
    ContrastiveDraws,
    LinearGenerator,
    MeanEncoder,
    MLPGenerator,
    ResidualGenerator,
    SplitGenerator,
    dense,
)
from iedr_geo.nn.models.iedr import distinct_pairs
from runs import assert_same_gradients, assert_same_run, gradients, run

FOLLOW = ['x_user', 'x_item', 'x_context']
# The first row twice, users and contexts with several items, and all labels.
ROWS = [0, 1, 2, 0, 3, 5, 4, 6]


@pytest.fixture(scope='module')
def dataset() -> InteractionDataset:
    """Users with numbers, items of 1 to 3 nodes, two of them alike, and contexts."""
    users = pd.DataFrame(
        {
            'user': ['a', 'b', 'c', 'd'],
            'age': [1.5, None, -2.0, 1.5],
            'income': [0.5, 0.0, 1.5, 1.5],
            'town': ['x', 'x', 'y', 'x'],
        }
    )
    items = pd.DataFrame(
        {'item': [1, 2, 3, 4, 5], 'tags': ['p|q', 'p', '', 'q|r|p', 'q|p']}
    )
    log = pd.DataFrame(
        {
            'user': list('abcabda'),
            'item': [1, 2, 3, 4, 1, 5, 3],
            'day': list('mtwmmtm'),
            'hour': [1, 5, 3, 1, 2, 9, 1],
            'bought': [1, 0, 0, 0, 1, 1, 0],
        }
    )
    schema = FeatureSchema(
        # No ids: users and items share many of their nodes.
        [Numerical('age'), Numerical('income'), Categorical('town')],
        [MultiCategorical('tags', '|')],
        [Categorical('day'), Bucketized('hour', (2, 4))],
    )
    return InteractionDataset.from_pandas(log, users, items, schema, label='bought')


def as_batch(dataset: InteractionDataset, rows: list[int]) -> InteractionBatch:
    index = torch.tensor(rows, device=dataset.user.device)
    assert dataset.y is not None
    return InteractionBatch.from_ids(
        dataset,
        dataset.user[index],
        dataset.item[index],
        dataset.context[index],
        dataset.y[index],
    )


def as_samples(dataset: InteractionDataset, rows: list[int]) -> Batch:
    return Batch.from_data_list([dataset[i] for i in rows], follow_batch=FOLLOW)


def make(dataset: InteractionDataset, **kwargs: Any) -> IEDR:
    torch.manual_seed(0)
    kwargs = {'channels': 4, 'hidden_channels': 8, 'num_negatives': 3} | kwargs
    return IEDR(dataset.schema.num_embeddings, **kwargs).double()


VARIANTS = {**IEDR_VARIANTS, 'residual': {'generator': 'residual', 'pointwise': True}}
every_variant = pytest.mark.parametrize('variant', VARIANTS)


@pytest.mark.parametrize('rows', [ROWS, [3]], ids=['batch', 'one row'])
@pytest.mark.parametrize('train', [True, False], ids=['train', 'eval'])
@every_variant
def test_distinct_graphs_equal_rows_of_their_own(
    variant, train, rows, dataset, device, monkeypatch
):
    # Rows that are contrasted once draw once, which rows of their own do not.
    monkeypatch.setattr(
        'iedr_geo.nn.models.iedr.distinct_pairs', lambda *ids: (None, None)
    )
    model = make(dataset, **VARIANTS[variant]).train(train).to(device)
    batch = as_batch(dataset.to(device), rows)
    fast = run(model, batch)
    assert fast['logits'].device.type == device.type
    if len(rows) > 1:  # Or equal gradients would say nothing.
        for name in ('embedding', 'encoders.user', 'encoders.item', 'encoders.context'):
            mine = [g for n, g in fast['total'].items() if n.startswith(name)]
            assert all(g.abs().max() > 1e-6 for g in mine), name
    assert_same_run(run(model, batch.expand()), fast, tol=1e-10)
    samples = as_samples(dataset, rows).to(device)
    assert_same_run(run(model, samples), fast, tol=1e-10)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@every_variant
def test_devices_agree(variant, dataset):
    # What they draw differs, so everything is compared that is not drawn.
    kwargs = VARIANTS[variant] | {'contrastive_weight': 0.0}
    model = make(dataset, **kwargs).eval()
    expected = run(model, as_batch(dataset, [3]))  # Its own negative, drawn or not.
    actual = run(model.to('cuda'), as_batch(dataset.to('cuda'), [3]))
    assert_same_run(actual, expected, tol=1e-9)
    logits = model(as_batch(dataset.to('cuda'), ROWS)).cpu()
    torch.testing.assert_close(logits, model.cpu()(as_batch(dataset, ROWS)))


def dot(a: Tensor, b: Tensor) -> Tensor:
    return sum(a[f] * b[f] for f in range(len(a)))


@pytest.mark.aggregation
@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'combine': 'sum', 'pointwise': True},
        {'encoder': 'mean', 'generator': 'linear'},
        {'encoder': 'mlp', 'generator': 'nonlinear', 'pointwise': True},
        {'encoder': 'bi', 'generator': 'split'},
        {'generator': 'residual', 'pointwise': True},
    ],
    ids=str,
)
def test_logits_equal_formula(
    kwargs, dataset, device, aggregation, assert_same, perceptron
):
    model = make(dataset, **kwargs).to(device)

    def embeddings(side: str, entity: int) -> tuple[list[Tensor], Tensor, Tensor]:
        graphs = getattr(dataset, f'{side}s')
        nodes, pointwise, direct = [], 0.0, 0.0
        for n in range(int(graphs.ptr[entity]), int(graphs.ptr[entity + 1])):
            value = 1.0 if graphs.value is None else graphs.value[n].item()
            nodes.append(value * model.embedding.weight[graphs.x[n]])
            if model.pointwise is not None:
                pointwise = pointwise + value * model.pointwise.weight[graphs.x[n], 0]
            if model.direct is not None:
                direct = direct + value * model.direct.weight[graphs.x[n]]
        return nodes, pointwise, direct

    def readout(side: str, nodes: list[Tensor]) -> Tensor:
        encoder, kind = model.encoders[side], model.config['encoder']
        if kind in ('mean', 'mlp'):
            mean = sum(nodes) / len(nodes)
            return perceptron(encoder.mlp, mean) if kind == 'mlp' else mean
        products = [a * b for a in nodes for b in nodes]
        if kind == 'sign':
            products = [perceptron(encoder.conv.nn, product) for product in products]
        return sum(products) / len(nodes) ** 2

    def factor(side: str, u: Tensor, c: Tensor) -> Tensor:
        """The sum of the intrinsic and the extrinsic factor."""
        generator, kind = model.generators[side], model.config['generator']
        if kind == 'residual':
            (u, direct), (c, of_context) = u.chunk(2), c.chunk(2)
            out = perceptron(generator.mlp, torch.cat([u * c, direct, of_context]))
            return out[: len(u)] + out[len(u) :] + direct + of_context
        combined = u * c if model.config['combine'] == 'product' else u + c
        if kind == 'split':
            return perceptron(generator.intrinsic_mlp, u) + perceptron(
                generator.extrinsic_mlp, combined
            )
        if kind == 'mlp':
            out = perceptron(generator.mlp, combined)
        else:
            out = generator.linear.weight @ torch.cat([u, c]) + generator.linear.bias
            out = out.clamp(min=0) if kind == 'nonlinear' else out
        return out[: len(u)] + out[len(u) :]

    logits = []
    for row in ROWS:
        readouts, pointwise = {}, 0.0
        for side in ('user', 'item', 'context'):
            nodes, terms, direct = embeddings(side, int(getattr(dataset, side)[row]))
            readouts[side] = readout(side, nodes)
            if model.direct is not None:
                readouts[side] = torch.cat([readouts[side], direct])
            pointwise = pointwise + terms
        u, v, c = readouts.values()
        logits.append(dot(factor('user', u, c), factor('item', v, c)) + pointwise)
    batch = as_batch(dataset.to(device), ROWS)
    tensors = list(model.main_parameters())
    assert_same(model(batch), torch.stack(logits), tensors)
    assert_same(model(batch.expand()), torch.stack(logits), tensors)


@every_variant
def test_order_of_rows_is_no_matter(variant, dataset):
    model = make(dataset, **VARIANTS[variant]).eval()
    order = torch.randperm(len(ROWS)).tolist()
    torch.testing.assert_close(
        model(as_batch(dataset, [ROWS[i] for i in order])),
        model(as_batch(dataset, ROWS))[order],
    )


def test_a_row_does_not_depend_on_its_batch(dataset):
    model = make(dataset)
    logits = model(as_batch(dataset, ROWS))
    for i, row in enumerate(ROWS):
        torch.testing.assert_close(model(as_batch(dataset, [row])), logits[i : i + 1])


def test_sides_share_embeddings_and_context_but_no_network(dataset):
    model = make(dataset)
    # Section 5.1: f_u, f_v, f_c and both generators have parameters of their own.
    modules = [*model.encoders.values(), *model.generators.values()]
    modules += model.disentangling.values()
    assert len(modules) == 7
    parameters = [p for module in modules for p in module.parameters()]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert len(list(model.parameters())) == len(parameters) + 1  # One table.
    encoded = model.encode(as_batch(dataset, ROWS))
    for side, readout in (('user', encoded.user), ('item', encoded.item)):
        factors = model.generators[side](readout, encoded.context)
        for actual, expected in zip(getattr(encoded.factors, side), factors, strict=True):
            torch.testing.assert_close(actual, expected)


@every_variant
def test_parts_add_up_to_the_logits(variant, dataset):
    model, batch = make(dataset, **VARIANTS[variant]).eval(), as_batch(dataset, ROWS)
    encoded = model.encode(batch)
    assert torch.equal(model(batch), encoded.logits)
    user, item = encoded.factors
    expected = {
        'intrinsic': torch.stack(
            [dot(*row) for row in zip(user[0], item[0], strict=True)]
        ),
        'extrinsic': torch.stack(
            [dot(*row) for row in zip(user[1], item[1], strict=True)]
        ),
    }
    parts = encoded.parts
    for name, part in expected.items():
        torch.testing.assert_close(parts[name], part)
    assert ('pointwise' in parts) == (model.pointwise is not None)
    torch.testing.assert_close(sum(parts.values()), encoded.logits)


@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'generator': 'split'},
        {'mask_false_negatives': True, 'contrastive_variant': 'released'},
        {'bidirectional': False, 'halve': False},
        {'contrastive_weight': 0.0},
        {'disentangling_weight': 0.0},
    ],
    ids=str,
)
def test_terms_of_the_loss(kwargs, dataset):
    kwargs = {'contrastive_weight': 0.3, 'disentangling_weight': 0.7} | kwargs
    model, batch = make(dataset, **kwargs), as_batch(dataset, ROWS)
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
            entity_id = getattr(dataset, side)[ROWS]
            rows, counts = distinct_rows_and_counts(entity_id, dataset.context[ROWS])
            expected['contrastive'] += 0.3 * model.contrastive(
                model.generators[side],
                getattr(encoded, side),
                encoded.context,
                entity_id,
                rows=rows,
                row_weight=counts,
            )
    for side in ('user', 'item'):
        if kwargs['disentangling_weight']:
            bound = model.disentangling[side](*getattr(encoded.factors, side))
            expected['disentangling'] += 0.7 * bound
    assert losses.keys() == {n for n in expected if kwargs[f'{n}_weight'] > 0}
    for name, loss in losses.items():
        assert loss.shape == () and loss != 0
        torch.testing.assert_close(loss, expected[name])


def test_masks_the_negatives_of_the_same_user(dataset):
    # Rows 0 and 3 have the same user: without other negatives, none are left for the
    # user side, while the items differ.
    rows, kwargs = [0, 3], {'mask_false_negatives': True, 'disentangling_weight': 0.0}
    model = make(dataset, contexts='sample', **kwargs)
    assert dataset.user[0] == dataset.user[3]
    assert dataset.item[0] != dataset.item[3]
    batch = as_batch(dataset, rows)
    model.contrastive.num_negatives = 20  # Surely not all of them the row itself.
    losses = model.extra_losses(batch, model.encode(batch))
    parameters = list(model.generators.parameters())
    grads = torch.autograd.grad(losses['contrastive'], parameters, allow_unused=True)
    of_user = len(list(model.generators['user'].parameters()))
    assert all((grad == 0).all() for grad in grads[:of_user])
    assert any((grad != 0).any() for grad in grads[of_user:])


@pytest.mark.parametrize(
    ('one', 'two'),
    [
        ([], []),
        ([3], [0]),
        ([2, 2, 2], [7, 7, 7]),
        ([4, 0, 3, 1], [0, 1, 2, 2]),
        ([0, 1, 0, 2, 1, 0], [5, 0, 5, 5, 0, 0]),
        ([i * i % 7 for i in range(200)], [i * i % 11 for i in range(200)]),
        ([10**9, 0, 10**9], [10**9 - 1, 10**9, 10**9 - 1]),
    ],
)
def test_distinct_pairs(one, two, device):
    pairs = list(zip(one, two, strict=True))
    rows, counts = distinct_pairs(
        torch.tensor(one, dtype=torch.long, device=device),
        torch.tensor(two, dtype=torch.long, device=device),
    )
    assert rows.dtype == counts.dtype == torch.long
    # The first row that has it, so that results depend on the seed alone.
    assert dict(zip(rows.tolist(), counts.tolist(), strict=True)) == {
        pairs.index(pair): pairs.count(pair) for pair in pairs
    }
    assert len(rows) == len(set(pairs))


@pytest.mark.parametrize('variant', ['infonce', 'released'])
def test_rows_with_the_same_pair_count_as_often(variant, dataset, monkeypatch):
    # Given the same draws for equal rows, it is no matter whether the loss is taken for
    # all rows, for distinct ones, or if each row comes twice.
    model = make(
        dataset,
        contrastive_weight=1.0,
        contrastive_variant=variant,
        mask_false_negatives=True,
    )
    loss = model.contrastive
    twice = [row for row in ROWS for _ in range(2)]
    draws: list[ContrastiveDraws] = []  # One for each side.
    expected = 0.0
    batch = as_batch(dataset, ROWS)
    encoded = model.encode(batch)
    for side in ('user', 'item'):
        entity_id = getattr(batch, f'{side}_id')
        pairs = torch.stack([entity_id, batch.context_id])
        distinct, inverse = pairs.unique(dim=1, return_inverse=True)
        assert distinct.size(1) < len(ROWS)
        draws.append(loss.draw(encoded.context, distinct.size(1)))
        expected = expected + loss(
            model.generators[side],
            getattr(encoded, side),
            encoded.context,
            entity_id,
            ContrastiveDraws(*(draw[inverse] for draw in draws[-1])),
        )
    for rows in (ROWS, twice):
        each = len(rows) // len(ROWS)
        left = iter(draws)

        def draw(context: Tensor, num_rows: int, left=left, each=each) -> Any:
            drawn = next(left)
            assert num_rows == len(drawn.permuted)
            return drawn._replace(
                permutation=each * drawn.permutation,
                negative=each * drawn.negative,
                other_negative=each * drawn.other_negative + (each - 1),  # Or the second.
            )

        monkeypatch.setattr(loss, 'draw', draw)
        batch = as_batch(dataset, rows)
        actual = model.extra_losses(batch, model.encode(batch))['contrastive']
        torch.testing.assert_close(actual, expected)
        assert_same_gradients(
            gradients(model, actual), gradients(model, expected), tol=1e-10
        )


@pytest.mark.parametrize('dtype', [torch.double, torch.float], ids=str)
@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'combine': 'sum', 'mask_false_negatives': True},
        {'generator': 'residual'},
        IEDR_VARIANTS['released'],
    ],
    ids=['IEDR', 'sum', 'residual', 'released'],
)
def test_fast_ways_equal_plain_ones(kwargs, dtype, dataset, device, monkeypatch):
    model = make(dataset, contrastive_weight=1.0, **kwargs).to(dtype).to(device)
    batch = as_batch(dataset.to(device), ROWS)
    fast = run(model, batch)
    model.contrastive.fused = False
    monkeypatch.setattr(dense, '_ONEDNN', {})
    assert_same_run(run(model, batch), fast, 1e-10 if dtype == torch.double else 1e-4)


def test_ablations_have_nothing_of_what_they_leave_out(dataset):
    def names(**kwargs: Any) -> set[str]:
        return {name for name, _ in make(dataset, **kwargs).named_parameters()}

    full = names()
    assert {name.split('.')[0] for name in full} == {
        'embedding',
        'encoders',
        'generators',
        'disentangling',
    }
    for variant in ('noDis', 'noCIED'):
        model = make(dataset, **VARIANTS[variant])
        kept = {name for name in full if not name.startswith('disentangling.')}
        assert names(**VARIANTS[variant]) == kept
        assert list(model.estimator_parameters()) == []
    for variant in ('noCL', 'noCIED'):
        assert make(dataset, **IEDR_VARIANTS[variant]).contrastive is None
    assert names(**IEDR_VARIANTS['vCLUB']) == {
        name for name in full if '.to_intrinsic.' not in name
    }
    model, batch = make(dataset, **IEDR_VARIANTS['noCIED']), as_batch(dataset, ROWS)
    assert model.extra_losses(batch, model.encode(batch)) == {}


def test_variants_are_those_of_the_paper(dataset):
    # Tables 5, 7, 10 and 11, by what each of them changes.
    def changed(variant: str) -> dict[str, Any]:
        default = make(dataset).config
        config = make(dataset, **VARIANTS[variant]).config
        return {name: v for name, v in config.items() if v != default[name]}

    of_the_scripts = {'released', 'dropout'}
    assert {name: changed(name) for name in {*IEDR_VARIANTS} - of_the_scripts} == {
        'IEDR': {},
        'noDis': {'disentangling_weight': 0.0},
        'noCL': {'contrastive_weight': 0.0},
        'noCIED': {'contrastive_weight': 0.0, 'disentangling_weight': 0.0},
        'vCLUB': {'bidirectional': False},
        'NegGen1': {'contexts': 'sample'},
        'NegGen2': {'contexts': 'dropout'},
        'AVG': {'encoder': 'mean'},
        'MLP': {'encoder': 'mlp'},
        'BI': {'encoder': 'bi'},
        'Linear': {'generator': 'linear'},
        'Nonlinear': {'generator': 'nonlinear'},
        'IEDR_sp': {'generator': 'split', 'context_dropout': 0.1},
    }


def test_arguments_reach_the_parts(dataset):
    model = make(
        dataset,
        dropout=0.3,
        combine='sum',
        num_negatives=7,
        temperature=0.9,
        contexts='sample',
        context_dropout=0.2,
        contrastive_variant='released',
        mask_false_negatives=True,
        num_disentangling_negatives=9,
        bidirectional=False,
        halve=False,
    )
    bi = make(dataset, encoder='bi', dropout=0.3)
    for encoder in [*model.encoders.values(), *bi.encoders.values()]:
        assert encoder.conv.dropout == 0.3
    for generator in model.generators.values():
        assert generator.combine == 'sum'
    loss = model.contrastive
    assert (loss.num_negatives, loss.temperature, loss.contexts) == (7, 0.9, 'sample')
    assert (loss.dropout, loss.variant) == (0.2, 'released')
    assert loss.mask_false_negatives
    for bound in model.disentangling.values():
        assert (bound.num_negatives, bound.bidirectional) == (9, False)
    split = make(dataset, generator='split', temperature=0.9, context_dropout=0.2)
    loss = split.contrastive
    assert (loss.num_negatives, loss.temperature, loss.dropout) == (3, 0.9, 0.2)
    # The defaults: Table 10, and the sizes of Section 7.1.
    model = IEDR(10)
    assert model.embedding.weight.shape == (10, 32)
    assert model.encoders['user'].conv.nn.channel_list == [32, 128, 32]
    assert model.generators['item'].mlp.channel_list == [32, 128, 64]
    assert model.disentangling['user'].to_intrinsic.channel_list == [32, 128, 32]
    assert (model.contrastive.num_negatives, model.contrastive.temperature) == (40, 0.5)
    assert model.disentangling['item'].num_negatives == 5


MODULES = [
    ({'encoder': 'sign'}, {'encoder': SIGN(4, 8)}),
    ({'dropout': 0.5}, {'encoder': SIGN(4, 8, dropout=0.5)}),
    ({'encoder': 'mean'}, {'encoder': MeanEncoder()}),
    ({'combine': 'sum'}, {'generator': MLPGenerator(4, 8, 'sum')}),
    ({'generator': 'nonlinear'}, {'generator': LinearGenerator(4, relu=True)}),
    ({'generator': 'split'}, {'generator': SplitGenerator(4, 8)}),
    ({'generator': 'residual'}, {'generator': ResidualGenerator(4, 8)}),
]


@pytest.mark.parametrize(('named', 'own'), MODULES, ids=[str(m[0]) for m in MODULES])
def test_modules_are_copied_for_each_side(named, own, dataset):
    model, other = make(dataset, **named), make(dataset, **own)
    other.load_state_dict(model.state_dict())
    batch = as_batch(dataset, ROWS)
    assert_same_run(run(other, batch), run(model, batch), tol=0)
    assert_same_run(run(other.eval(), batch), run(model.eval(), batch), tol=0)
    [module] = own.values()
    copies = [*other.encoders.values(), *other.generators.values(), module]
    parameters = [p for copy in copies for p in copy.parameters()]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert model.config is not None and other.config is None


def test_modules_that_draw_do_so_for_each_row(dataset):
    """Also where rows share a graph."""
    model = make(dataset, encoder=SIGN(4, 8, dropout=0.5))
    encoded = model.encode(as_batch(dataset, [0] * 3))
    for readout in encoded[:3]:
        assert (readout[0] != readout[1]).any() and (readout[1] != readout[2]).any()


@every_variant
def test_each_step_has_parameters_of_its_own(variant, dataset):
    model = make(dataset, **VARIANTS[variant])
    main = {id(p) for p in model.main_parameters()}
    estimator = {id(p) for p in model.estimator_parameters()}
    assert main.isdisjoint(estimator)
    assert main | estimator == {id(p) for p in model.parameters()}
    batch = as_batch(dataset, ROWS)
    encoded = model.encode(batch)
    prediction = BCEObjective()(encoded.logits, batch.y)
    total = prediction + sum(model.extra_losses(batch, encoded).values())
    total.backward(retain_graph=True)
    for parameter in model.parameters():
        assert (parameter.grad is not None) == (id(parameter) in main)
    if not estimator:
        with pytest.raises(ValueError, match='no estimator'):
            model.estimator_loss(encoded)
        return
    model.zero_grad()
    loss = model.estimator_loss(encoded)
    bounds = model.disentangling
    torch.testing.assert_close(
        loss,
        bounds['user'].estimator_loss(*encoded.factors.user)
        + bounds['item'].estimator_loss(*encoded.factors.item),
    )
    loss.backward()
    for parameter in model.parameters():
        assert (parameter.grad is not None) == (id(parameter) in estimator)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        ({'encoder': 'gcn'}, "`encoder`.*'sign', 'mean', 'mlp', 'bi' .*'gcn'"),
        ({'generator': 'cubic'}, "`generator`.*'mlp', .*'residual' .*'cubic'"),
        ({'combine': 'max'}, "'max'"),
        ({'contexts': 'none'}, "'none'"),
        ({'contrastive_variant': 'double'}, "'double'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        IEDR(10, **kwargs)


def test_seed_decides(dataset):
    runs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        model = IEDR(dataset.schema.num_embeddings, 4, 8, dropout=0.5)
        batch = as_batch(dataset, ROWS)
        torch.manual_seed(seed)
        encoded = model.encode(batch)
        losses = model.extra_losses(batch, encoded)
        runs.append([*model.parameters(), encoded.logits, *losses.values()])
    assert all(map(torch.equal, runs[0], runs[1]))
    assert not any(map(torch.equal, runs[0], runs[2]))


def test_first_parameters():
    model = IEDR(1_000, 32, pointwise=True)
    for weight, mean, std in [
        (model.embedding.weight, 1.0, 1.0),
        (model.pointwise.weight, 0.0, 0.01),
    ]:
        deviation = std / weight.numel() ** 0.5
        assert weight.mean().item() == pytest.approx(mean, abs=5 * deviation)
        assert weight.std().item() == pytest.approx(std, abs=5 * deviation)
    before = [p.clone() for p in model.parameters()]
    model.reset_parameters()
    assert all((p != q).any() for p, q in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize('expand', [False, True])
@every_variant
def test_mixed_precision(variant, expand, dataset, device):
    sizes = {'channels': 32, 'hidden_channels': 128, 'num_negatives': 10}
    model = make(dataset, **sizes, **VARIANTS[variant]).float().eval().to(device)
    batch = as_batch(dataset.to(device), ROWS)
    batch = batch.expand() if expand else batch
    exact = run(model, batch)
    with torch.autocast(device.type, torch.bfloat16):
        rounded = run(model, batch)
    # bfloat16 has 8 bits, and a logit is the end of a chain of some ten products. Its
    # own terms can cancel.
    scale = {name: exact[name].abs().max() for name in ('readouts', 'factors', 'losses')}
    u_in, u_ex, v_in, v_ex = exact['factors'].chunk(4, dim=1)
    scale['logits'] = ((u_in + u_ex) * (v_in + v_ex)).abs().sum(dim=1).max()
    for name in scale:
        difference = (rounded[name].float() - exact[name]).abs().max()
        assert difference < 0.1 * scale[name], name
    for name in ('total', 'estimator'):
        ours, wanted = [], []
        for parameter, grad in exact.get(name, {}).items():
            assert (grad is None) == (rounded[name][parameter] is None)
            if grad is not None:
                ours.append(rounded[name][parameter].flatten())
                wanted.append(grad.flatten())
        if wanted:
            apart = torch.cat(ours) - torch.cat(wanted)
            assert apart.norm() < 0.25 * torch.cat(wanted).norm()


def train(model: IEDR, batch: InteractionBatch, steps: int) -> Callable[[], float]:
    """Trains both steps, and returns what then evaluates the prediction loss."""
    main = torch.optim.Adam(model.main_parameters(), lr=1e-3)
    estimator = torch.optim.Adam(model.estimator_parameters(), lr=1e-3)
    for _ in range(steps):
        encoded = model.encode(batch)
        estimator.zero_grad()
        model.estimator_loss(encoded).backward()
        estimator.step()
        main.zero_grad()
        loss = BCEObjective()(encoded.logits, batch.y)
        (loss + sum(model.extra_losses(batch, encoded).values())).backward()
        main.step()

    @torch.no_grad()
    def evaluate() -> float:
        return BCEObjective()(model.eval()(batch), batch.y).item()

    return evaluate


def test_learns_what_depends_on_user_item_and_context(device):
    # Bought if an odd number of the three are odd: no two of them tell anything.
    log = pd.DataFrame(
        [(u, v, c, (u + v + c) % 2) for u in range(4) for v in range(4) for c in (0, 1)],
        columns=['user', 'item', 'day', 'bought'],
    )
    schema = FeatureSchema(
        [Categorical('user')], [Categorical('item')], [Categorical('day')]
    )
    rows = InteractionDataset.from_pandas(log, None, None, schema, label='bought')
    batch = as_batch(rows.to(device), list(range(len(log))))
    torch.manual_seed(0)
    model = IEDR(schema.num_embeddings, 16, 64, num_negatives=5).to(device)
    # Half of the labels are one: who knows no more has a loss of log 2.
    assert train(model, batch, steps=100)() < 0.25 * math.log(2)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'contrastive_weight': -1.0}, 'must not be negative'),
        ({'disentangling_weight': -1.0}, 'must not be negative'),
        ({'dropout': 1.0}, r'\[0, 1\)'),
        ({'generator': 'split', 'context_dropout': 2.0}, r'\[0, 1\)'),
        ({'encoder': 'mean', 'dropout': 0.5}, "'mean' has no messages"),
        ({'encoder': MeanEncoder(), 'dropout': 0.5}, "'MeanEncoder' has no messages"),
        ({'generator': 'split', 'contexts': 'sample'}, 'looks at no context'),
        ({'generator': 'split', 'mask_false_negatives': True}, 'looks at no context'),
    ],
)
def test_arguments_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        IEDR(10, **arguments)
