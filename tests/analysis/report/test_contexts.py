"""Reports of models whose factors are known to be disentangled, or not."""

import copy
import inspect
from collections import namedtuple
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from handmade import Handmade, value, verdicts
from scipy.stats import rankdata
from torch import Tensor

from iedr_geo.analysis import (
    DisentanglementReport,
    Probe,
    class_probe,
    disentanglement_report,
)
from iedr_geo.analysis.report import contexts
from iedr_geo.analysis.report.study import Study
from iedr_geo.data import (
    Bucketized,
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)
from iedr_geo.datasets import PlantedFactors
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import DICE, IEDR, MF, Factors, IEDRFactors
from iedr_geo.scoring import InteractionScorer, Queries, context_split, scorer

KEY = ['group', 'measure', 'side']
FIELDS = ('daytime', 'weekday', 'place', 'company')
report = partial(disentanglement_report, num_permutations=20)


@pytest.fixture
def without_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time."""
    probe = Probe(0.5, 0.5, 0.5, 0.1, 0.5)
    monkeypatch.setattr(contexts, 'class_probe', lambda *args, **kwargs: probe)


@pytest.fixture(scope='module')
def data() -> PlantedFactors:
    return PlantedFactors(num_users=40, num_items=30, num_interactions=1500)


@pytest.fixture(scope='module')
def lists(data: PlantedFactors) -> CandidateLists:
    return CandidateLists.sample(data[torch.arange(0, 1500, 25)], 20)


@pytest.fixture(scope='module')
def reports(data, lists) -> dict[str, DisentanglementReport]:
    kinds = 'disentangled', 'entangled'
    return {kind: report(Handmade(data, kind), data, lists, 400) for kind in kinds}


def test_tells_disentangled_from_entangled(reports):
    """Every measure does, and none says so of an entangled model."""
    separate = [
        (group, measure.format(side), side)
        for side in ('user', 'item')
        for group, measures in {
            'invariance': ('cosine, same {}', 'cosine, same context', 'auc'),
            'variance': ('due to {}', 'due to context'),
            'probe': ('which {}', *FIELDS),
            'dependence': ('distance correlation', 'mutual information, R^2'),
        }.items()
        for measure in measures
    ]
    for kind, expected in (('disentangled', 'yes'), ('entangled', 'no')):
        found = verdicts(reports[kind])
        found = {key: found[key] for key in found if key[0] not in ('truth', 'ranking')}
        assert found == dict.fromkeys(separate, expected)
    found = reports['disentangled']
    for side in ('user', 'item'):
        for factor, share in (('intrinsic', 1), ('extrinsic', 0)):
            shares = [
                value(found, f'due to {who}', factor, side)
                for who in (side, 'context', f'{side} and context')
            ]
            assert shares == pytest.approx([share, 1 - share, 0], abs=1e-6)
            assert value(found, 'auc', factor, side, 'invariance') == share
    table = found.table
    assert not table.duplicated([*KEY, 'factor']).any()
    groups = ['invariance', 'variance', 'probe', 'dependence', 'ranking', 'truth']
    assert list(table['group'].unique()) == groups
    assert np.isfinite(table['value']).all()
    wanted = table[table['wanted'] != '']
    assert (wanted['limit'] >= wanted['baseline']).all()
    cosine = table.query('measure == "cosine, same user"').iloc[0]
    assert abs(cosine['baseline']) < 0.1 < 8 * (cosine['limit'] - cosine['baseline'])


@pytest.mark.usefixtures('without_probes')
def test_ranking_is_that_of_evaluate_candidates(data, lists):
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16, pointwise=True)

    def part(name: str, batch: InteractionBatch) -> Tensor:
        encoded = model.encode(batch)
        return {'all': encoded.logits, **encoded.parts}[name]

    table = report(model, data, lists, num_samples=50).table
    table = table[table['group'] == 'ranking'].set_index(['measure', 'factor'])
    per_list = {}
    for name in ('all', 'intrinsic', 'extrinsic', 'cross', 'pointwise'):
        expected = evaluate_candidates(partial(part, name), data, lists)
        per_list[name] = expected.per_list['ndcg@10']
        for metric in ('ndcg@10', 'auc'):
            row = table.loc[metric, name]
            assert row['value'] == pytest.approx(expected.metrics[metric], abs=1e-6)
            assert row['wanted'] == ''
        error = per_list[name].sem()
        assert table.loc['ndcg@10', name]['error'] == pytest.approx(error, abs=1e-6)
    best = max(('intrinsic', 'extrinsic'), key=lambda name: per_list[name].mean())
    lead, gain = per_list['all'] - per_list[best], table.loc['ndcg@10, gain', 'all']
    expected = [lead.mean(), 0, 1.645 * lead.sem(), lead.sem()]
    assert gain[['value', 'baseline', 'limit', 'error']].tolist() == pytest.approx(
        expected, abs=1e-6
    )
    assert gain['wanted'] == 'high'
    chance = table.loc['auc', 'all']
    assert chance['baseline'] == pytest.approx(0.5, abs=0.05)
    assert 0 < chance['limit'] - chance['baseline'] < 0.1


@pytest.mark.usefixtures('without_probes')
def test_correlations_equal_loops_over_lists(data, lists):
    model, index = Handmade(data, 'entangled'), lists.list_index
    rows = lists.user[index], lists.item, lists.context[index]
    noise = torch.randn(data.num_users, data.num_items).double()

    def products(*ids: Tensor) -> Tensor:
        with torch.no_grad():
            user, item = model.encode(InteractionBatch.from_ids(data, *ids)).factors
        (u_in, u_ex), (v_in, v_ex) = user, item
        each = u_in * v_in, u_ex * v_ex, u_in * v_ex + u_ex * v_in
        return torch.stack([product.sum(1) for product in each], 1).double()

    def truth(user: Tensor, item: Tensor, context: Tensor) -> dict[str, Tensor]:
        _, own, cross = products(user, item, context).unbind(1)
        # Levels of lists do not matter; lists in which the spread is large do.
        values = own + cross / 2 + 3 * noise[user, item]
        return {'extrinsic': values * (1 + user % 3) + 100 * user}

    parts, true = products(*rows), truth(*rows)['extrinsic']
    learned = parts[:, 1]
    found = report(model, data, lists, 50, truth=truth)
    table = found.table.set_index(['measure', 'factor'])

    def within(values: Tensor, rank: bool = False) -> np.ndarray:
        """A row for each list."""
        each = [values[index == i].numpy() for i in index.unique()]
        each = [rankdata(values, axis=0) if rank else values for values in each]
        return np.stack([values - values.mean(0) for values in each])

    def correlation(x: np.ndarray, y: np.ndarray) -> float:
        return (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())

    for kind in ('rank correlation', 'correlation'):
        x, y = (within(values, kind[:4] == 'rank') for values in (learned, true))
        row = table.loc[f'{kind} with extrinsic', 'extrinsic']
        assert row['value'] == pytest.approx(correlation(x, y))
        assert 0.5 < row['value'] < 0.95
        # Items are taken for others, alike in all lists, and lists are drawn again.
        draws, permuted = np.random.default_rng(0), []
        for _ in range(300):
            others = torch.from_numpy(draws.permutation(data.num_items))[rows[1]]
            values = truth(rows[0], others, rows[2])['extrinsic']
            permuted.append(correlation(x, within(values, kind[:4] == 'rank')))
        limit = np.quantile(np.abs(permuted), 0.95)
        assert row['limit'] == pytest.approx(limit, rel=0.4)
        some = draws.integers(len(lists), size=(2000, len(lists)))
        again = [correlation(x[lists_of], y[lists_of]) for lists_of in some]
        assert row['error'] == pytest.approx(np.std(again), rel=0.15)
    wanted = table.loc['correlation with extrinsic', 'wanted'].to_dict()
    assert wanted == {
        'all': '',
        'intrinsic': 'zero',
        'extrinsic': 'high',
        'cross': 'zero',
    }
    share = table.loc['variance of extrinsic']
    assert share.index.tolist() == ['extrinsic', 'all']
    own = [row['value'] ** 2, row['limit'] ** 2, 2 * row['value'] * row['error']]
    actual = share.loc['extrinsic', ['value', 'limit', 'error']].tolist()
    assert actual == pytest.approx(own)
    # The fit to all parts.
    x, y = within(parts).reshape(-1, 3), within(true).reshape(-1)
    rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    expected = 1 - (rest**2).sum() / (y**2).sum()
    assert share.loc['all', 'value'] == pytest.approx(expected)
    assert expected > own[0] + 0.02


@pytest.mark.usefixtures('without_probes')
def test_truth_of_a_subset_and_of_own_scores(data, lists):
    """A subset has its scores with it; those of others are given, under any name."""
    model, subset = Handmade(data, 'entangled'), data[torch.arange(0, 1500, 2)]

    def truth(user: Tensor, item: Tensor, context: Tensor) -> dict[str, Tensor]:
        true = data.true_scores(user, item, context).intrinsic
        return {'intrinsic': true, 'luck': item}

    names = inspect.signature(InteractionDataset).parameters
    plain = InteractionDataset(**{name: getattr(subset, name) for name in names})
    one = report(model, subset, lists, 50).table
    two = report(model, plain, lists, 50, truth=truth).table
    three = report(model, plain, lists, 50).table
    tables = [table[table['measure'].str.endswith('intrinsic')] for table in (one, two)]
    pd.testing.assert_frame_equal(*(t.reset_index(drop=True) for t in tables))
    assert two['measure'].str.endswith('luck').any()
    assert not (three['group'] == 'truth').any()


@pytest.mark.usefixtures('without_probes')
def test_untrained_model(data):
    """Nothing is changed, and the seed decides all draws."""
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16, dropout=0.5).train()
    model.encoders['user'].eval()
    modes = [module.training for module in model.modules()]
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    one, two, other = (report(model, data, None, 100, seed) for seed in (3, 3, 4))
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [module.training for module in model.modules()]
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
    pd.testing.assert_frame_equal(one.table, two.table)
    separation = one.separation.query('group in ("ranking", "truth")')
    assert (separation['separates'] == 'no').all()
    # Which rows, which lists, and what is left to chance.
    group, measure = one.table['group'], one.table['measure']
    same = one.table[['value', 'limit']] == other.table[['value', 'limit']]
    own = (measure == 'distance correlation') & (one.table['wanted'] == 'high')  # Is 1.
    assert not same['value'][(group != 'probe') & (measure != 'auc') & ~own].any()
    left = group.isin(['dependence', 'ranking']) | (measure == 'due to context')
    assert not same['limit'][left].any()


@pytest.mark.usefixtures('without_probes')
def test_batches_devices_and_scorers_make_no_difference(data, lists, device):
    """A scorer is taken as it is, also the one that calls the model on pairs."""
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16)
    one = report(model, data, lists, num_samples=100).table
    model = model.to(device)
    keys = [*KEY, 'factor', 'wanted']
    for other, dataset in (
        (model, data.to(device)),
        (InteractionScorer(model, data), data),
    ):
        found = report(other, dataset, lists, num_samples=100).table
        assert found[keys].equals(one[keys])
        assert np.allclose(found['value'], one['value'], atol=0.02)
    study = Study(scorer(model, data), None, 50, 20, 0)
    queries, item = Queries(data.user[:90], data.context[:90]), data.item[:90]
    whole = study.scores(queries, item)
    for name, values in study.scores(queries, item, batch_size=37).items():
        assert torch.allclose(values, whole[name], atol=1e-5)


@pytest.mark.usefixtures('without_probes')
def test_model_with_forward_alone(data, lists):
    """It has what needs no factors. No contexts are drawn, of which there may be one."""
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16)
    whole = report(model, data, lists, 50, 3).table
    found = report(lambda batch: model(batch), data, lists, 50, 3)
    assert found.notes == ('The model has no factors to tell apart',)
    assert 'Note: The model has no factors' in str(found)
    assert found.separation.empty
    kept = whole['group'].isin(['ranking', 'truth']) & (whole['factor'] == 'all')
    kept &= ~whole['measure'].str.contains('gain|variance')
    expected = whole[kept].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.table, expected, atol=1e-5, rtol=1e-5)
    one_context = data[torch.zeros(30).long()]
    assert len(report(lambda batch: model(batch), one_context).table)


@pytest.mark.usefixtures('without_probes')
def test_factors_that_never_change(data, lists):
    """They are the same in all contexts, depend on nothing, and are of no use."""
    found = report(Handmade(data, 'constant'), data, lists, num_samples=100)
    for factor, side in (('intrinsic', 'user'), ('extrinsic', 'item')):
        assert f'The {factor} factor is the same for all {side}s' in found.notes
    assert {*verdicts(found).values()} == {'no'}
    table = found.table.set_index('measure')
    assert (table.loc['auc'].query('group == "invariance"')['value'] == 0.5).all()
    assert table.loc['due to user', 'value'].isna().all()
    assert 'nan' not in (found.to_json() + str(found)).lower()


def make_log() -> InteractionDataset:
    draws = np.random.default_rng(0)
    log = pd.DataFrame(
        {
            'user': draws.integers(30, size=400),
            'item': draws.integers(25, size=400),
            'place': draws.choice(['home', 'work', 'town'], 400),
            'always': 'same',
            'hour': draws.uniform(0, 24, 400).round(1),
            'heat': draws.normal(size=400).round(2),
            'with': [['Ann', 'Bob'][: 1 + i % 2] for i in range(400)],
            'label': draws.integers(2, size=400),
        }
    )
    log.loc[::10, 'heat'] = None
    context = [Categorical('place'), Categorical('always'), MultiCategorical('with')]
    context += [Bucketized('hour', (6, 12, 18)), Numerical('heat')]
    schema = FeatureSchema([Categorical('user')], [Categorical('item')], context)
    return InteractionDataset.from_pandas(log, None, None, schema, label='label')


class Weather(Handmade):
    """The extrinsic factor of a user is what the context is, as it is in its columns."""

    def __init__(self, dataset: InteractionDataset) -> None:
        frame = dataset.context_frame
        heat = torch.from_numpy(frame['heat'].fillna(0).to_numpy(dtype=float, copy=True))
        hour = torch.from_numpy(np.digitize(frame['hour'], (6, 12, 18)))
        self.heat = torch.cat([heat[:, None], torch.eye(4)[hour]], 1).float()
        self.user = torch.randn(dataset.num_users, 5)

    def factors(self, side: str, batch: InteractionBatch) -> Factors:
        heat = self.heat[batch.context_id]
        return Factors(self.user[batch.user_id] if side == 'user' else heat, heat)


def test_fields_of_all_kinds():
    """Numbers are predicted as numbers, where they are there; others are left out."""
    dataset = make_log()
    found = report(Weather(dataset), dataset, num_samples=400)
    probes = found.table.query('group == "probe" and side == "user"')
    values = probes.query('factor == "extrinsic"').set_index('measure')['value']
    assert set(values.index) == {'which user', 'place', 'hour', 'heat'}
    assert values['hour'] == 1 and values['heat'] > 0.99 and values['place'] < 0.5
    many, always = found.notes
    assert many == "No probe predicts 'with': it has many values a row"
    assert always.startswith("No probe predicts 'always': Two classes at least")
    assert str(found).count('Note: ') == 2
    # Of rows with the label 1 alone, lists are made.
    lists = contexts.default_lists(dataset, seed=0, max_lists=150)
    assert len(lists) == 150 < dataset.y.sum() < 250
    assert lists.list_index.bincount().tolist() == [25] * 150  # All of the 25 items.


Pair = namedtuple('Pair', ['habit', 'mood'])


class Named(Handmade):
    """Factors of names of their own, and scores that have no parts."""

    def encode(self, batch: InteractionBatch) -> Any:
        user, item = (Pair(*side) for side in super().encode(batch).factors)
        logits = (user.habit * item.habit).sum(-1)
        return SimpleNamespace(factors=IEDRFactors(user, item), logits=logits)


@pytest.mark.usefixtures('without_probes')
def test_factors_of_other_names(data, lists):
    """What they are is told, not what they are wanted to be."""
    found = report(Named(data, 'disentangled'), data, lists, 100)
    factors = set(found.table.query('group != "ranking" and group != "truth"')['factor'])
    assert factors == {'habit', 'mood', 'habit & mood'}
    assert set(found.separation['group']) == {'dependence'}
    assert set(found.table.query('group in ("ranking", "truth")')['factor']) == {'all'}


@pytest.mark.usefixtures('without_probes')
def test_bad_input(data, lists):
    model, bad = Handmade(data, 'entangled'), Handmade(data, 'entangled')
    bad.entities['item'][3, 1] = torch.nan
    one_user = data[data.user == int(data.user.bincount().argmax())]
    one_list = lists.user[:1], lists.context[:1], lists.item[:9], lists.target[:9]
    one_list = CandidateLists(*one_list, lists.list_index[:9])
    foreign = CandidateLists.sample(PlantedFactors(70, 60, 700), 5)
    dice = DICE(MF(5, 6, 4), torch.ones(6))

    def truth(*ids):
        return {'luck': torch.ones(3)}

    for arguments, message in (
        ((IEDR(7), data), r'has \d+ embeddings, the model 7: .* another schema'),
        ((dice, data), 'whose `forward` takes a batch; that of DICE'),
        ((model, data, data), r'must be CandidateLists \(got PlantedFactors'),
        ((model, data[torch.arange(19)]), r'At least 20 rows are needed \(got 19\)'),
        ((model, data, lists, 19), r'`num_samples` must be at least 20 \(got 19\)'),
        ((model, one_user), r'Two users, items and contexts .*\(got 1, '),
        ((model, data[torch.zeros(50).long()]), r'\(got 1, 1, 1\)'),
        ((model, data[data.user < 3]), r'At least 5 users are needed \(got 3\)'),
        ((model, data, one_list), r'At least 2 lists are needed \(got 1\)'),
        ((model, data, foreign), r'of other data: .* user \d+, the dataset 40'),
        (
            (model, data, lists, 50, 0, truth),
            r"scores 'luck' .* \(1260,\) \(got \(3,\)\)",
        ),
        ((bad, data, lists), r'factors of the model .* not finite'),
    ):
        with pytest.raises(ValueError, match=message):
            report(*arguments)
    with pytest.raises(TypeError, match=r'BipartiteGraph \(got list\)'):
        report(model, [1, 2])


def test_probes_are_those_of_the_samples(data, reports):
    """Identities from the block, fields from the anchors."""
    model, found = Handmade(data, 'disentangled'), reports['disentangled']
    samples = contexts.sample_contexts(data, 400)
    *_, block = samples.parts(samples.user)
    who = class_probe(model.entities['user'][block], block, 5)
    assert value(found, 'which user', 'intrinsic') == who.value
    anchors = samples.context[:400]
    place = data.context_frame['place'].astype('category').cat.codes.to_numpy(copy=True)
    where = class_probe(model.contexts[anchors], torch.from_numpy(place)[anchors])
    row = found.table.query('measure == "place" and factor == "extrinsic"').iloc[-1]
    assert row['value'] == pytest.approx(where.value, abs=0.01)
    assert row['baseline'] == where.chance
    assert row['error'] == pytest.approx(where.error, abs=1e-3)


def test_parts_without_factors(data, lists):
    """The split of a model has verdicts by its two parts: here, they are the truth."""
    split = context_split(Handmade(data, 'entangled'), data)

    def truth(user: Tensor, item: Tensor, context: Tensor) -> dict[str, Tensor]:
        true = split.split(Queries(user, context), item.unsqueeze(1))
        return {name: 3 * part.squeeze(1) for name, part in true.items()}

    found = report(split, data, lists, truth=truth)
    assert found.notes == ('The model has no factors to tell apart',)
    assert list(found.table['group'].unique()) == ['ranking', 'truth']
    for name in split.parts:
        assert value(found, f'correlation with {name}', name) == pytest.approx(1)
        assert value(found, f'variance of {name}', 'all') == pytest.approx(1)
    own = [key for key in verdicts(found) if key[0] == 'truth']
    assert len(own) == 4
