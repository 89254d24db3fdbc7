"""Splits of scores against means over contexts that are taken one by one."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch
from shop import Pairs, every_triple, make_graph, make_model, make_shop, row_of
from torch import Tensor

from iedr_geo.data import CandidateLists, InteractionDataset
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.nn import ContextPopularity, Popularity
from iedr_geo.recommend import ContextIgnoredWarning, Recommender
from iedr_geo.scoring import (
    CatalogueScorer,
    InteractionScorer,
    Queries,
    context_split,
    evaluating,
    scorer,
)

SHOP = make_shop()
SIZES = USERS, ITEMS, CONTEXTS = SHOP.num_users, SHOP.num_items, SHOP.num_contexts
TIGHT = {'rtol': 1e-10, 'atol': 1e-10}


class Wide(torch.nn.Module):
    """Knows features of all sides, and notes how many pairs it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        rows = SHOP.schema.num_embeddings
        self.embedding = torch.nn.Embedding(rows, 5, dtype=torch.double)
        self.asked = 0

    def forward(self, batch: Any) -> Tensor:
        self.asked += len(batch)
        sides = []
        for side in ('user', 'item', 'context'):
            graphs = getattr(batch, side)
            x = self.embedding(graphs.x)
            sums = x.new_zeros(graphs.num_graphs, 5).index_add(0, graphs.batch, x)
            sides.append(sums[getattr(batch, f'{side}_graph')])
        return sum(sides).tanh().prod(1) + (sides[0] * sides[1] * sides[2]).sum(1)


def models() -> dict[str, Any]:
    return {
        'own': Wide(),
        'residual': make_model(SHOP.schema, generator='residual').double(),
        'pointwise': make_model(SHOP.schema, pointwise=True).double(),
        'counted': ContextPopularity.fit(SHOP),
    }


def table_of(model: Any) -> Tensor:
    """The model's own scores, (U, I, C)."""
    with evaluating(model):
        return model(every_triple(SHOP)).double().view(SIZES)


def mean_over(table: Tensor, weights: list[float]) -> Tensor:
    """The mean over contexts, one after the other."""
    mean = torch.zeros(USERS, ITEMS, dtype=torch.double)
    for context, weight in enumerate(weights):
        mean += weight / sum(weights) * table[:, :, context]
    return mean


COUNTS = [SHOP.context.tolist().count(context) for context in range(CONTEXTS)]
QUERIES = Queries(
    torch.tensor([4, 2, 2, 0, 3, 2]), torch.tensor([3, 1, 1, 0, 2, 3]) % CONTEXTS
)
ASKED = [
    torch.arange(ITEMS),
    torch.tensor([9, 0, 4, 4, 11, 2]),
    torch.tensor([], dtype=torch.long),
    torch.tensor([[7, 7, 0], [1, 2, 3], [3, 2, 1], [4, 5, 11], [0, 0, 0], [9, 2, 7]]),
    torch.zeros(6, 0, dtype=torch.long),
]


def check(split: CatalogueScorer, table: Tensor, mean: Tensor) -> None:
    for items in ASKED * 2:
        each = items.expand(len(QUERIES), -1)
        whole = table[QUERIES.user, :, QUERIES.context].gather(1, each)
        wanted = mean[QUERIES.user].gather(1, each)
        parts = split.split(QUERIES, items)
        assert tuple(parts) == split.parts == ('intrinsic', 'extrinsic')
        if not whole.numel():
            assert parts['intrinsic'].shape == parts['extrinsic'].shape == whole.shape
            continue
        torch.testing.assert_close(parts['intrinsic'], wanted, **TIGHT)
        torch.testing.assert_close(parts['extrinsic'], whole - wanted, **TIGHT)
        torch.testing.assert_close(split.scores(QUERIES, items), whole, **TIGHT)
        parts['intrinsic'].fill_(torch.nan)  # Free to be overwritten.


@pytest.mark.parametrize('blocks', [{}, {'scores_at_once': 5}, {'scores_kept': 0}])
@pytest.mark.parametrize('name', models())
def test_intrinsic_is_the_mean_over_the_contexts_of_rows(name, blocks, monkeypatch):
    """Weighted by how often they occur, or as it is given; whatever is kept."""
    model, given = models()[name], [0.5, 0, 3, 0.25, 1, 1][:CONTEXTS]
    table = table_of(model)
    assert len(set(COUNTS)) > 1 and table.std(2).max() > 0.02
    for weights in (None, given, torch.tensor(given)):
        split = context_split(model, SHOP, weights=weights)
        for key, value in blocks.items():
            monkeypatch.setattr(split, key, value)
        check(split, table, mean_over(table, COUNTS if weights is None else given))
        assert split.standard_error == 0
        assert split.weights.sum() == pytest.approx(1)
    few = SHOP[:7]
    counts = [few.context.tolist().count(context) for context in range(CONTEXTS)]
    check(context_split(model, few), table, mean_over(table, counts))
    # Of a scorer, or of a split.
    made = context_split(InteractionScorer(model, SHOP), few)
    check(made, table, mean_over(table, counts))
    check(context_split(made, few), table, mean_over(table, counts))


def test_each_pair_is_computed_once():
    model = Wide()
    split, items = context_split(model, SHOP), torch.tensor([[3, 4], [4, 4], [3, 5]])
    queries = Queries(torch.tensor([2, 2, 0]), torch.tensor([0, 1, 0]))
    of_scores, pairs, contexts = (
        6,
        {(2, 3), (2, 4), (0, 3), (0, 5)},
        sum(map(bool, COUNTS)),
    )
    for new in (len(pairs), 0):
        model.asked = 0
        split.split(queries, items)
        assert model.asked == of_scores + new * contexts
    split.scores_kept, split._kept = USERS * ITEMS - 1, None
    for _ in range(2):
        model.asked = 0
        split.split(queries, items)
        assert model.asked == of_scores + len(pairs) * contexts
    model.asked = 0
    split.split(queries, torch.arange(ITEMS))
    assert model.asked == 3 * ITEMS + 2 * ITEMS * contexts  # Two users.


def test_intrinsic_does_not_depend_on_the_context_of_the_query():
    """To the last bit, and the mean of the other part is zero."""
    for model in models().values():
        split = context_split(model, SHOP)
        user, context = torch.cartesian_prod(
            torch.arange(USERS), torch.arange(CONTEXTS)
        ).unbind(1)
        parts = split.split(Queries(user, context), torch.arange(ITEMS))
        intrinsic, extrinsic = (
            part.view(USERS, CONTEXTS, ITEMS) for part in parts.values()
        )
        assert torch.equal(intrinsic, intrinsic[:, :1].expand_as(intrinsic))
        means = torch.einsum('uci,c->ui', extrinsic.double(), split.weights)
        torch.testing.assert_close(means, torch.zeros(USERS, ITEMS).double(), **TIGHT)


def test_a_score_without_context_has_no_extrinsic_part():
    for model in (
        Popularity.fit(SHOP),
        lambda batch: batch.user_id / (3 + batch.item_id),
    ):
        split = context_split(model, SHOP)
        parts = split.split(QUERIES, torch.arange(ITEMS))
        assert not parts['extrinsic'].any() and parts['intrinsic'].unique().numel() > 2
    with pytest.warns(ContextIgnoredWarning, match='do not depend on the context'):
        Recommender(split, SHOP).recommend(4, SHOP.context_frame.iloc[0])


def test_one_context():
    """All of the score is intrinsic in it."""
    weights = torch.eye(CONTEXTS)[2]
    split = context_split(Wide(), SHOP, weights=weights)
    assert split.contexts.tolist() == [2]
    parts = split.split(
        replace(QUERIES, context=torch.full((6,), 2)), torch.arange(ITEMS)
    )
    assert not parts['extrinsic'].any() and parts['intrinsic'].any()


def test_new_users_items_and_contexts_are_known_by_their_features():
    """The mean is over the known contexts all the same."""
    model, new = Wide(), torch.tensor([2, 0])
    split = context_split(model, SHOP)
    known = split.split(QUERIES, torch.arange(ITEMS))['intrinsic']
    graphs = {
        f'{side}s': getattr(SHOP, f'{side}s').select(new)
        for side in ('user', 'item', 'context')
    }
    user, item, context = torch.tensor(
        [[USERS, ITEMS, CONTEXTS], [USERS + 1, ITEMS + 1, CONTEXTS + 1]]
    ).unbind(1)
    alike = Queries(new, new), new
    wanted = {name: part.clone() for name, part in split.split(*alike).items()}
    for _ in range(2):
        parts = split.split(Queries(user, context, **graphs), item)
        for name, part in parts.items():
            torch.testing.assert_close(part, wanted[name], **TIGHT)
    # What was new is not kept as what is known.
    again = split.split(QUERIES, torch.arange(ITEMS))['intrinsic']
    assert torch.equal(known, again)


def test_separate_factors():
    """The split moves the mean of the extrinsic part to the intrinsic one: of factors
    that know no context, nothing else differs, and for a ranking only that mean does.
    """
    model = make_model(SHOP.schema, generator='separate', cross=False).double()
    own, split = scorer(model, SHOP), context_split(model, SHOP)
    user, context = torch.cartesian_prod(
        torch.arange(USERS), torch.arange(CONTEXTS)
    ).unbind(1)
    queries, items = Queries(user, context), torch.arange(ITEMS)
    own_parts, parts = own.split(queries, items), split.split(queries, items)
    extrinsic = own_parts['extrinsic'].view(USERS, CONTEXTS, ITEMS)
    mean = torch.einsum('uci,c->ui', extrinsic, split.weights)
    assert mean.abs().max() > 1e-3
    mean = mean.repeat_interleave(CONTEXTS, dim=0)
    moved = {'intrinsic': mean, 'extrinsic': -mean}
    for name, difference in moved.items():
        found = parts[name] - own_parts[name]
        torch.testing.assert_close(found, difference, **TIGHT)


def many_contexts() -> tuple[InteractionDataset, Tensor, Any]:
    """Rows in 240 contexts of very different frequency, and scores of all triples."""
    rows = pd.concat([SHOP.context_frame] * 40, ignore_index=True)
    size = len(rows)
    table = torch.randn(USERS, 1, 1) * torch.randn(size) + torch.randn(USERS, ITEMS, size)
    table = table.double()
    dataset = replace(
        SHOP,
        contexts=SHOP.contexts.select(torch.arange(size) % CONTEXTS),
        context=torch.arange(len(SHOP)) % size,
        context_frame=rows,
    )
    return dataset, table, lambda b: table[b.user_id, b.item_id, b.context_id]


def test_sample_converges_and_its_error_is_as_stated():
    dataset, table, model = many_contexts()
    size = dataset.num_contexts
    weights = 1 / (1 + torch.arange(size).double())[torch.randperm(size)]
    mean = (table * weights / weights.sum()).sum(2)
    queries, items = (
        Queries(torch.arange(USERS), torch.zeros(USERS).long()),
        torch.arange(ITEMS),
    )
    before = math.inf
    for number in (4, 16, 64):
        errors, stated, means = [], [], torch.zeros(USERS, ITEMS)
        for seed in range(60):
            split = context_split(model, dataset, number, weights, seed)
            assert len(split.contexts) <= number
            error = split.split(queries, items)['intrinsic'] - mean
            errors.append(error.square().mean())
            stated.append(split.standard_error**2)
            means += error / 60
        actual = float(torch.stack(errors).mean().sqrt())
        estimate = math.sqrt(sum(stated) / 60)
        assert estimate == pytest.approx(actual, rel=0.2)
        assert means.abs().mean() < 0.25 * actual  # It has no bias.
        assert actual < 0.6 * before
        before = actual
    exact = context_split(model, dataset, size, weights)
    assert len(exact.contexts) == size and exact.standard_error == 0
    parts = exact.split(queries, items)
    torch.testing.assert_close(parts['intrinsic'], mean, **TIGHT)


def test_sample_depends_on_the_seed_alone():
    dataset, _, model = many_contexts()
    weights = torch.ones(dataset.num_contexts)
    splits = [context_split(model, dataset, 20, weights, s) for s in (0, 0, 1)]
    contexts = [split.contexts.tolist() for split in splits]
    assert contexts[0] == contexts[1] != contexts[2]
    assert f'contexts={len(contexts[0])} of {len(weights)}' in repr(splits[0])
    assert f'standard_error={splits[0].standard_error:.3g})' in repr(splits[0])
    # Parts add up to the model's own scores whatever the sample is.
    parts = splits[2].split(QUERIES, torch.arange(ITEMS))
    torch.testing.assert_close(sum(parts.values()), splits[2].scores(QUERIES))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            {'weights': [1.0] * (CONTEXTS - 1)},
            rf'`weights` must be of shape \({CONTEXTS},\)',
        ),
        (
            {'weights': [1.0] * (CONTEXTS - 1) + [-0.5]},
            rf'context {CONTEXTS - 1} is -0.5',
        ),
        ({'weights': [math.nan] + [1.0] * (CONTEXTS - 1)}, 'context 0 is nan'),
        ({'weights': [math.inf] + [1.0] * (CONTEXTS - 1)}, 'context 0 is inf'),
        ({'weights': [0.0] * CONTEXTS}, '`weights` are all zero'),
        ({'data': SHOP[:0]}, '`weights` are all zero'),
        ({'num_contexts': 1}, '`num_contexts` must be at least 2'),
        ({'num_contexts': 2.5}, '`num_contexts` must be at least 2'),
        ({'model': Pairs(), 'data': make_graph()}, 'no contexts to split'),
        ({'model': scorer(Pairs(), make_graph()), 'data': SHOP}, 'no contexts to split'),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        context_split(**{'model': Wide(), 'data': SHOP} | arguments)


@pytest.mark.filterwarnings('ignore::iedr_geo.recommend.UnknownValueWarning')
def test_recommender(tmp_path):
    """A split is a scorer like any other."""
    model, (a, b) = Wide(), SHOP.context_frame.iloc[[0, 1]].to_dict('records')
    split = context_split(model, SHOP)
    recommender, plain = Recommender(split, SHOP), Recommender(model, SHOP)
    assert recommender.parts == split.parts
    for user in (4, row_of(4) | {'town': 'x'}, {'town': 'y'}):
        table = recommender.recommend(user, a, 5)
        ours = plain.recommend(user, a, 5)
        pd.testing.assert_frame_equal(table[list(ours)], ours)
        total = table['intrinsic'] + table['extrinsic']
        assert total.tolist() == pytest.approx(table['score'].tolist())
        explanation = recommender.explain(user, 40, a)
        expected = plain.explain(user, 40, a)
        assert sum(explanation.parts.values()) == pytest.approx(explanation.score)
        pd.testing.assert_frame_equal(explanation.features, expected.features)
        changes = recommender.compare_contexts(user, a, b, 5)
        assert not changes['intrinsic_change'].any() and changes['extrinsic_change'].any()
        assert set(changes['factor']) == {'extrinsic'}
    strange = {'day': 'mon', 'gift': None}
    parts = [recommender.explain(4, 40, c).parts['intrinsic'] for c in (a, strange)]
    assert parts[0] == parts[1]
    with pytest.raises(ValueError, match='save a Recommender of its model'):
        recommender.save(tmp_path / 'split')
    # What to do: the rows of a saved recommender say no more how often contexts occur.
    plain.save(tmp_path / 'plain')
    loaded = Recommender.load(tmp_path / 'plain', Wide())
    again = context_split(loaded.model, loaded.data, weights=split.weights)
    assert recommender.explain(4, 40, a).parts == pytest.approx(
        Recommender(again, loaded.data).explain(4, 40, a).parts
    )


def test_evaluation():
    model = Wide()
    split, mean = context_split(model, SHOP), mean_over(table_of(model), COUNTS)

    def of_mean(batch: Any) -> Tensor:
        return mean[batch.user_id, batch.item_id]

    for part, wanted in (('intrinsic', of_mean), (None, model)):
        found = evaluate_catalogue(split, SHOP, [], part=part, progress=False)
        expected = evaluate_catalogue(wanted, SHOP, [], progress=False)
        assert found.metrics == pytest.approx(expected.metrics)
    lists = CandidateLists.sample(SHOP, 5)
    found = evaluate_candidates(split, SHOP, lists, progress=False)
    expected = evaluate_candidates(model, SHOP, lists, progress=False)
    assert found.metrics == expected.metrics
