"""Reports of models whose factors are known to be disentangled, or not."""

from __future__ import annotations

import json
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib import pyplot as plt
from torch import Tensor
from vector_model import Tables

from iedr_geo.analysis import (
    DisentanglementReport,
    Probe,
    class_probe,
    disentanglement_report,
    popularity_overlap,
    value_probe,
)
from iedr_geo.analysis.report import report
from iedr_geo.data import (
    BipartiteGraph,
    Bucketized,
    CandidateLists,
    Categorical,
    FeatureSchema,
    InteractionDataset,
    MultiCategorical,
    Numerical,
)
from iedr_geo.datasets import PlantedClicks, PlantedFactors
from iedr_geo.evaluation import evaluate_candidates, evaluate_catalogue
from iedr_geo.loader import InteractionBatch
from iedr_geo.metrics import NDCG, Recall
from iedr_geo.nn import DICE, IEDR, MF, Encoded, Factors, IEDRFactors
from iedr_geo.scoring import InteractionScorer, scorer

matplotlib.use('Agg')
KEY = ['group', 'measure', 'side']
FIELDS = ('daytime', 'weekday', 'place', 'company')


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, 'NUM_PERMUTATIONS', 20)
    monkeypatch.setattr(report, 'NUM_SHUFFLES', 10)


@pytest.fixture
def without_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take most of the time."""
    probe = Probe(0.5, 0.5, 0.5, 0.5, 0.1)
    monkeypatch.setattr(report, 'class_probe', lambda *args, **kwargs: probe)


@pytest.fixture(scope='module')
def data() -> PlantedFactors:
    return PlantedFactors(num_users=60, num_items=50, num_interactions=1500)


@pytest.fixture(scope='module')
def lists(data: PlantedFactors) -> CandidateLists:
    return CandidateLists.sample(data[torch.arange(0, 1500, 25)], 20)


class Handmade:
    """Factors that are given for each user or item, and each field of a context.

    Args:
        data: What has the contexts.
        kind: `'disentangled'`: the intrinsic factor is of the user or item alone, the
            extrinsic one of the context alone. `'entangled'`: both are of both, each in
            directions of its own. `'constant'`: no factor ever changes, but for rounding.
    """

    def __init__(self, data: InteractionDataset, kind: str, channels: int = 8) -> None:
        generator = torch.Generator().manual_seed(3)

        def table(rows: int) -> Tensor:
            return torch.randn(rows, channels, generator=generator)

        self.kind = kind
        self.entities = {'user': table(data.num_users), 'item': table(data.num_items)}
        fields = table(data.schema.num_embeddings)[data.contexts.x.view(-1, 4)]
        self.contexts = fields.sum(1) / 2
        self.turns = [torch.linalg.qr(table(channels))[0] for _ in range(2)]

    def factors(self, side: str, entity: Tensor, context: Tensor) -> Factors:
        who, where = self.entities[side][entity], self.contexts[context]
        if self.kind == 'disentangled':
            return Factors(who, where)
        if self.kind == 'entangled':
            both = who + where
            return Factors(*(both @ turn for turn in self.turns))
        rounding = 1e-6 * (who + where)
        return Factors(3 + rounding, 3 + rounding)

    def encode(self, batch: InteractionBatch) -> Encoded:
        assert not torch.is_grad_enabled()
        user = self.factors('user', batch.user_id, batch.context_id)
        item = self.factors('item', batch.item_id, batch.context_id)
        logits = (sum(user) * sum(item)).sum(-1)
        return Encoded(user[0], item[0], item[1], IEDRFactors(user, item), logits)

    def __call__(self, batch: InteractionBatch) -> Tensor:
        return self.encode(batch).logits


class Oracle(Handmade):
    """Parts of scores that are the true ones, in columns of their own."""

    def __init__(self, data: PlantedFactors, swapped: bool = False) -> None:
        self.data, self.swapped = data, swapped

    def encode(self, batch: InteractionBatch) -> Encoded:
        users, rows = batch.user_id, torch.arange(len(batch))
        items = torch.arange(self.data.num_items)
        true = [
            self.data.true_scores(users, items[i].expand(len(users)), batch.context_id)
            for i in items
        ]
        each = [torch.stack([t[part] for t in true], 1) for part in (0, 1)]
        chosen = torch.zeros_like(each[0])
        chosen[rows, batch.item_id] = 1
        nothing = torch.zeros_like(chosen)
        user = Factors(torch.cat([each[0], nothing], 1), torch.cat([nothing, each[1]], 1))
        item = Factors(torch.cat([chosen, nothing], 1), torch.cat([nothing, chosen], 1))
        if self.swapped:
            user, item = Factors(*user[::-1]), Factors(*item[::-1])
        logits = (sum(user) * sum(item)).sum(-1)
        return Encoded(user[0], item[0], item[1], IEDRFactors(user, item), logits)


@pytest.fixture(scope='module')
def reports(data, lists) -> dict[str, DisentanglementReport]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, 'NUM_PERMUTATIONS', 50)
        return {
            kind: disentanglement_report(Handmade(data, kind), data, lists, 1000)
            for kind in ('disentangled', 'entangled')
        }


def value(found: DisentanglementReport, **key: str) -> float:
    """Returns the one value of the table that the key is of."""
    table = found.table
    for column, text in key.items():
        table = table[table[column] == text]
    [row] = table['value']
    return row


def verdicts(found: DisentanglementReport) -> dict[tuple[str, str, str], str]:
    return found.separation.set_index(KEY)['separates'].to_dict()


SEPARATE = [
    (group, measure.format(side=side), side)
    for side in ('user', 'item')
    for group, measures in {
        'invariance': ('cosine, same {side}', 'cosine, same context', 'auc'),
        'variance': ('due to {side}', 'due to context'),
        'probe': ('which {side}', *FIELDS),
        'dependence': ('distance correlation', 'mutual information'),
    }.items()
    for measure in measures
]


@pytest.mark.parametrize('key', SEPARATE, ids=', '.join)
def test_tells_disentangled_from_entangled(reports, key):
    """Every measure does, and none says so of an entangled model."""
    assert verdicts(reports['disentangled'])[key] == 'yes'
    assert verdicts(reports['entangled'])[key] == 'no'


def test_all_that_separates_is_listed(reports):
    for found in reports.values():
        listed = [key for key in verdicts(found) if key[0] not in ('truth', 'ranking')]
        assert sorted(listed) == sorted(SEPARATE)


def test_known_values_of_a_disentangled_model(reports):
    found = reports['disentangled']
    for side in ('user', 'item'):
        for factor, share, auc in (('intrinsic', 1, 1), ('extrinsic', 0, 0)):
            key = {'side': side, 'factor': factor}
            assert value(found, measure='auc', **key) == auc
            of_entity = value(found, measure=f'due to {side}', **key)
            of_context = value(found, measure='due to context', **key)
            of_both = value(found, measure=f'due to {side} and context', **key)
            assert (of_entity, of_context) == pytest.approx((share, 1 - share), abs=1e-6)
            assert of_both == pytest.approx(0, abs=1e-6)
        assert value(found, measure='daytime', side=side, factor='extrinsic') > 0.8


def test_table_has_every_measure_once(reports):
    table = reports['disentangled'].table
    assert not table.duplicated([*KEY, 'factor']).any()
    assert list(table['group'].unique()) == [
        'invariance',
        'variance',
        'probe',
        'dependence',
        'ranking',
        'truth',
    ]
    assert np.isfinite(table['value']).all()
    assert set(table['wanted']) == {'high', 'low', 'zero', ''}
    wanted = table[table['wanted'] != '']
    assert (wanted['limit'] >= wanted['baseline']).all()


@pytest.mark.usefixtures('without_probes')
def test_ranking_is_that_of_evaluate_candidates(data, lists):
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16, pointwise=True)

    def part(name: str, batch: InteractionBatch) -> Tensor:
        encoded = model.encode(batch)
        (u_in, u_ex), (v_in, v_ex) = encoded.factors
        parts = {
            'intrinsic': (u_in * v_in).sum(1),
            'extrinsic': (u_ex * v_ex).sum(1),
            'cross': (u_in * v_ex + u_ex * v_in).sum(1),
        }
        rest = encoded.logits - sum(parts.values())
        return {'all': encoded.logits, 'pointwise': rest, **parts}[name]

    found = disentanglement_report(model, data, lists, num_samples=50)
    wanted = dict.fromkeys(('intrinsic', 'extrinsic'), 'high')
    for name in ('all', 'intrinsic', 'extrinsic', 'cross', 'pointwise'):
        expected = evaluate_candidates(partial(part, name), data, lists)
        for metric in ('ndcg@10', 'auc'):
            row = found.table.query(
                'group == "ranking" and measure == @metric and factor == @name'
            ).iloc[0]
            assert row['value'] == pytest.approx(expected.metrics[metric], abs=1e-6)
            assert row['wanted'] == wanted.get(name, '')
    chance = found.table.query('group == "ranking" and measure == "auc"')
    assert chance['baseline'].to_numpy() == pytest.approx(0.5, abs=0.05)


@pytest.mark.usefixtures('without_probes')
@pytest.mark.parametrize('swapped', [False, True])
def test_true_scores_are_recovered(data, lists, swapped):
    """Those that are learned in each other's place are not told apart."""
    found = disentanglement_report(Oracle(data, swapped), data, lists, num_samples=50)
    names = ['extrinsic', 'intrinsic'] if swapped else ['intrinsic', 'extrinsic']
    for name, factor in zip(('intrinsic', 'extrinsic'), names, strict=True):
        for kind in ('correlation', 'rank correlation'):
            measure = f'{kind} with {name}'
            assert value(found, measure=measure, factor=factor) == pytest.approx(1)
            assert verdicts(found)['truth', measure, 'score'] in (
                ('no',) if swapped else ('partly', 'yes')
            )
        measure = f'variance of {name}'
        share = value(found, measure=measure, factor=name)
        assert share == pytest.approx(1) if not swapped else share < 0.2
        assert value(found, measure=measure, factor='all') == pytest.approx(1)
    assert value(found, measure='correlation with intrinsic', factor='cross') == 0
    gain = value(found, measure='ndcg@10, gain', factor='all')
    parts = [
        value(found, group='ranking', measure='ndcg@10', factor=factor)
        for factor in ('all', *names)
    ]
    assert gain == pytest.approx(parts[0] - max(parts[1:]))
    assert verdicts(found)['ranking', 'ndcg@10, gain', 'score'] == 'yes'


def within(values: Tensor, index: Tensor) -> list[np.ndarray]:
    return [values[index == i].numpy() for i in index.unique()]


@pytest.mark.usefixtures('without_probes')
def test_correlations_equal_loops_over_lists(data, lists):
    model = Handmade(data, 'entangled')
    index = lists.list_index
    rows = lists.user[index], lists.item, lists.context[index]
    with torch.no_grad():
        user, item = model.encode(InteractionBatch.from_ids(data, *rows)).factors
    learned = (user.extrinsic * item.extrinsic).sum(1).double()
    # Levels of lists do not matter; lists in which the spread is large do.
    true = learned + (user.intrinsic * item.extrinsic).sum(1).double() / 2
    true = true + torch.randn(len(index)) * learned.std() / 2
    true = true * (1 + index % 3) + 100 * index
    size = len(index) // len(lists)
    found = disentanglement_report(
        model, data, lists, num_samples=50, truth=lambda *ids: {'extrinsic': true}
    )
    for kind, form in (
        ('correlation', lambda x: x),
        ('rank correlation', lambda x: pd.Series(x).rank().to_numpy()),
    ):
        x, y = (
            np.stack([form(v) - form(v).mean() for v in within(values, index)])
            for values in (learned, true)
        )

        def correlation(x: np.ndarray, y: np.ndarray) -> float:
            return (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())

        row = found.table.query(
            f'measure == "{kind} with extrinsic" and factor == "extrinsic"'
        ).iloc[0]
        assert x.shape == (len(lists), size)
        assert row['value'] == pytest.approx(correlation(x, y))
        assert 0.5 < row['value'] < 0.95
        # Rows of each list are permuted, and lists are drawn again.
        draws = np.random.default_rng(0)
        permuted = [correlation(draws.permuted(x, axis=1), y) for _ in range(2000)]
        some = draws.integers(len(lists), size=(2000, len(lists)))
        again = [correlation(x[lists_of], y[lists_of]) for lists_of in some]
        assert row['limit'] == pytest.approx(
            np.quantile(np.abs(permuted), 0.95), rel=0.08
        )
        assert row['error'] == pytest.approx(np.std(again), rel=0.15)
        if kind == 'correlation':
            share = found.table.query('measure == "variance of extrinsic"')
            assert share['factor'].tolist() == ['extrinsic', 'all']
            own = share.iloc[0]
            assert own['value'] == pytest.approx(row['value'] ** 2)
            assert own['limit'] == pytest.approx(row['limit'] ** 2)
            assert own['error'] == pytest.approx(2 * row['value'] * row['error'])
    # The fit to all parts, list by list.
    (u_in, u_ex), (v_in, v_ex) = user, item
    products = u_in * v_in, u_ex * v_ex, u_in * v_ex + u_ex * v_in
    parts = torch.stack([product.sum(1) for product in products], 1).double()
    x = np.concatenate([v - v.mean(0) for v in within(parts, index)])
    y = np.concatenate([v - v.mean() for v in within(true, index)])
    weight = np.linalg.lstsq(x, y, rcond=None)[0]
    expected = 1 - ((y - x @ weight) ** 2).sum() / (y**2).sum()
    assert share.iloc[1]['value'] == pytest.approx(expected)
    assert expected > own['value'] + 0.02


@pytest.mark.usefixtures('without_probes')
def test_truth_of_a_subset_and_of_own_scores(data, lists):
    """A subset has its scores with it; those of others are given, under any name."""
    model = Handmade(data, 'entangled')
    subset = data[torch.arange(0, 1500, 2)]
    one = disentanglement_report(model, subset, lists, num_samples=50)

    def truth(user: Tensor, item: Tensor, context: Tensor) -> dict[str, Tensor]:
        return {
            'intrinsic': data.true_scores(user, item, context).intrinsic,
            'luck': item,
        }

    plain = InteractionDataset(
        **{name: getattr(subset, name) for name in (
            'users', 'items', 'contexts', 'user', 'item', 'context', 'schema',
            'user_ids', 'item_ids', 'context_frame')}
    )  # fmt: skip
    two = disentanglement_report(model, plain, lists, num_samples=50, truth=truth)
    three = disentanglement_report(model, plain, lists, num_samples=50)
    rows = one.table[one.table['measure'].str.endswith('intrinsic')]
    same = two.table[two.table['measure'].str.endswith('intrinsic')]
    pd.testing.assert_frame_equal(
        rows.reset_index(drop=True), same.reset_index(drop=True)
    )
    assert two.table['measure'].str.endswith('luck').any()
    assert not (three.table['group'] == 'truth').any()


def test_untrained_model(data):
    """Nothing is changed, and the same seed gives the same report."""
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16, dropout=0.5).train()
    model.encoders['user'].eval()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    one = disentanglement_report(model, data, num_samples=100, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert modes == [module.training for module in model.modules()]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    two = disentanglement_report(model, data, num_samples=100, seed=3)
    pd.testing.assert_frame_equal(one.table, two.table)
    for group in ('ranking', 'truth'):
        separation = one.separation.query(f'group == "{group}"')
        assert (separation['separates'] == 'no').all()


@pytest.mark.usefixtures('without_probes')
def test_batches_devices_and_scorers_make_no_difference(data, lists, monkeypatch, device):
    """A scorer is taken as it is, also the one that calls the model on pairs."""
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16)
    one = disentanglement_report(model, data, lists, num_samples=100)
    monkeypatch.setattr(report, 'BATCH_SIZE', 37)
    model = model.to(device)
    for other, dataset in (
        (model, data),
        (model, data.to(device)),
        (scorer(model, data), data),
        (InteractionScorer(model, data), data),
    ):
        found = disentanglement_report(other, dataset, lists, num_samples=100)
        keys = [*KEY, 'factor', 'wanted']
        assert found.table[keys].equals(one.table[keys])
        assert found.table['value'].to_numpy() == pytest.approx(
            one.table['value'].to_numpy(), abs=0.02
        )


def assert_of_the_whole(found: DisentanglementReport, of: DisentanglementReport) -> None:
    """A report has of another what needs no factors."""
    assert 'The model has no factors to tell apart' in found.notes
    assert 'Note: The model has no factors' in str(found)
    assert found.separation.empty
    measures = ('iou', 'ndcg', 'recall', 'auc', 'correlation', 'rank correlation')
    expected = of.table[
        (of.table['factor'] == 'all')
        & of.table['measure'].str.startswith(measures)
        & ~of.table['measure'].str.endswith('gain')
    ].reset_index(drop=True)
    pd.testing.assert_frame_equal(found.table, expected, atol=1e-5, rtol=1e-5)


def test_model_with_forward_alone(data, lists):
    """No contexts are drawn, of which there may be a single one."""
    torch.manual_seed(0)
    model = IEDR(data.schema.num_embeddings, 8, 16)
    arguments = lists, 50, 3
    whole = disentanglement_report(model, data, *arguments)
    found = disentanglement_report(lambda batch: model(batch), data, *arguments)
    assert set(found.table['group']) == {'ranking', 'truth'}
    assert_of_the_whole(found, whole)
    one_context = data[torch.zeros(30).long()]
    assert len(disentanglement_report(lambda batch: model(batch), one_context).table)


def test_factors_that_never_change(data, lists):
    """They are the same in all contexts, independent, and of no use."""
    found = disentanglement_report(
        Handmade(data, 'constant'), data, lists, num_samples=100
    )
    assert 'The intrinsic factor is the same for all users' in found.notes
    assert 'The extrinsic factor is the same for all items' in found.notes
    separates = verdicts(found)
    for (group, *_), verdict in separates.items():
        assert verdict == ('yes' if group == 'dependence' else 'no')
    table = found.table.set_index('measure')
    assert (table.loc['auc'].query('group == "invariance"')['value'] == 0.5).all()
    assert table.loc['due to user', 'value'].isna().all()
    assert 'NaN' not in found.to_json()
    assert 'nan' not in str(found)


def make_log(**kwargs) -> InteractionDataset:
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
    schema = FeatureSchema(
        user=[Categorical('user')],
        item=[Categorical('item')],
        context=[
            Categorical('place'),
            Categorical('always'),
            MultiCategorical('with'),
            Bucketized('hour', (6, 12, 18)),
            Numerical('heat'),
        ],
    )
    return InteractionDataset.from_pandas(log, None, None, schema, **kwargs)


class Weather(Handmade):
    """The extrinsic factor of a user is what the context is, as it is in its columns."""

    def __init__(self, dataset: InteractionDataset) -> None:
        frame = dataset.context_frame
        heat = torch.from_numpy(frame['heat'].fillna(0).to_numpy(dtype=float, copy=True))
        hour = torch.from_numpy(np.digitize(frame['hour'], (6, 12, 18)))
        self.heat = torch.cat([heat[:, None], torch.eye(4)[hour]], 1).float()
        self.user = torch.randn(dataset.num_users, 5)

    def encode(self, batch: InteractionBatch) -> Encoded:
        heat = self.heat[batch.context_id]
        user, item = Factors(self.user[batch.user_id], heat), Factors(heat, heat)
        logits = user.intrinsic[:, 0]
        return Encoded(*user, logits, IEDRFactors(user, item), logits)


def test_fields_of_all_kinds():
    """Numbers are predicted as numbers, where they are there; others are left out."""
    dataset = make_log(label='label')
    model = Weather(dataset)
    found = disentanglement_report(model, dataset, num_samples=400)
    probes = found.table.query('group == "probe" and side == "user"')
    assert set(probes['measure']) == {'which user', 'place', 'hour', 'heat'}
    values = probes.query('factor == "extrinsic"').set_index('measure')['value']
    assert values['hour'] == 1
    assert values['heat'] > 0.99
    assert values['place'] < 0.5
    assert "No probe predicts 'with': it has many values a row" in found.notes
    [always] = [note for note in found.notes if 'always' in note]
    assert always.startswith("No probe predicts 'always': Two classes at least")
    assert str(found).count('Note: ') == len(found.notes) == 2
    # Of rows with the label 1 alone, lists are made.
    assert value(found, measure='auc', group='ranking', factor='all') == pytest.approx(
        0.5, abs=0.1
    )


def test_json_round_trip(reports):
    found = reports['entangled']
    again = DisentanglementReport.from_json(found.to_json())
    pd.testing.assert_frame_equal(again.table, found.table, check_exact=True)
    assert again.notes == found.notes
    pd.testing.assert_frame_equal(again.separation, found.separation)
    rows = json.loads(found.to_json())['table']
    assert len(rows) == len(found.table)
    assert rows[0].keys() == set(found.table)
    noted = DisentanglementReport(found.table.iloc[:0], ('a', 'b'))
    again = DisentanglementReport.from_json(noted.to_json())
    assert again.notes == ('a', 'b')
    assert len(again.table) == 0


def test_text_says_how_to_read_it(reports):
    text = str(reports['disentangled'])
    lines = text.splitlines()
    for title, how in report.GROUPS.values():
        assert (title in lines) == (title != 'Popularity')
        if title in lines:
            start = ' '.join(lines[lines.index(title) + 1 :])
            assert start.startswith(how)
            assert 'Disentangled: ' in how
    [line] = [line for line in lines if line.startswith('item: auc')]
    assert line.split()[:5] == ['item:', 'auc', '1.000', '0.000', '0.500']
    assert line.split()[6:] == ['yes']
    assert max(map(len, lines)) < 110
    assert '-0.000' not in text
    assert 'nan' not in text


def test_plot(reports):
    found = reports['disentangled']
    ax = found.plot()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert len(labels) == len(found.table.groupby(KEY))
    assert 'probe, user: daytime' in labels
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend[:4] == ['baseline', 'limit', 'intrinsic', 'extrinsic']
    assert ax.yaxis_inverted()  # In the order of the table.
    points = {line.get_label(): line for line in ax.get_lines()}
    place = ax.get_yticks()[labels.index('invariance, item: auc')]
    x, y = points['extrinsic'].get_data()
    assert x[list(y).index(place)] == 0
    ax.figure.canvas.draw()
    _, mine = plt.subplots()
    assert found.plot(mine) is mine
    plt.close('all')


class Clicks(NamedTuple):
    data: PlantedClicks
    train: BipartiteGraph
    test: BipartiteGraph


@pytest.fixture(scope='module')
def clicks() -> Clicks:
    data = PlantedClicks(num_users=120, num_items=80, num_clicks=3000)
    train, _, test = data.split()
    return Clicks(data, train, test)


def of_clicks(user: Tensor, item: Tensor) -> Tables:
    return Tables(user, item, user.size(1) // 2, 'interest', 'conformity')


def true_model(clicks: Clicks) -> Tables:
    """Scores that are the true ones: interest by one column for each item."""
    size = clicks.train.num_users, clicks.train.num_items
    user, item = (torch.arange(n) for n in size)
    interest = clicks.data.true_scores(user[:, None], item).interest
    conformity = torch.zeros_like(interest)
    conformity[:, 0] = torch.from_numpy(clicks.data.sensitivity)
    appeal = torch.zeros(size[1], size[1]).double()
    appeal[:, 0] = torch.from_numpy(clicks.data.appeal)
    return of_clicks(
        torch.cat([interest, conformity], 1),
        torch.cat([torch.eye(size[1]).double(), appeal], 1),
    )


def test_disentangled_clicks(clicks):
    model = true_model(clicks)
    found = disentanglement_report(
        model, clicks.train, clicks.test, truth=clicks.data.true_scores
    )
    separates = verdicts(found)
    assert separates['popularity', 'iou@20', 'score'] in ('partly', 'yes')
    assert separates['popularity', 'R^2 of log popularity', 'item'] == 'yes'
    assert separates['dependence', 'distance correlation', 'user'] == 'yes'
    for name in ('interest', 'conformity'):
        measure = f'correlation with {name}'
        assert value(found, measure=measure, factor=name) == pytest.approx(1)
        assert separates['truth', measure, 'score'] in ('partly', 'yes')
        assert value(found, measure=f'variance of {name}', factor=name) == pytest.approx(
            1
        )
    for part in (None, 'interest', 'conformity'):
        key = {'factor': part or 'all'}
        expected = popularity_overlap(model, clicks.train, 20, part)
        assert value(found, measure='iou@20', **key) == expected
        ranking = evaluate_catalogue(
            model, clicks.test, clicks.train, [NDCG(20), Recall(20)], part=part
        )
        for metric in ('ndcg@20', 'recall@20'):
            actual = value(found, measure=metric, **key)
            assert actual == pytest.approx(ranking.metrics[metric])


def test_entangled_clicks(clicks):
    """Both halves are the same but for a rotation."""
    known = true_model(clicks)
    user, item = known.user[:, 40:120], known.item[:, 40:120]
    user, item = torch.cat([user, 0 * user], 1), torch.cat([item, 0 * item], 1)
    turn = torch.linalg.qr(torch.randn(160, 160).double())[0][:, :80]
    user, item = (
        table @ turn + 0.1 * torch.randn(len(table), 80) for table in (user, item)
    )
    model = of_clicks(
        torch.cat([user, user @ turn[:80]], 1), torch.cat([item, item @ turn[:80]], 1)
    )
    found = disentanglement_report(model, clicks.train, truth=clicks.data.true_scores)
    assert not (found.table['group'] == 'ranking').any()  # There is nothing to rank.
    for side in ('user', 'item'):
        for measure in ('distance correlation', 'mutual information'):
            assert verdicts(found)['dependence', measure, side] == 'no'


def test_dice(clicks, device):
    """Of vectors as they come: two halves that know nothing."""
    torch.manual_seed(0)
    size = clicks.train.num_users, clicks.train.num_items
    model = DICE(MF(*size, 8), clicks.train.popularity).to(device).train()
    arguments = clicks.train, clicks.test, 2000, 0, clicks.data.true_scores
    found = disentanglement_report(model, *arguments)
    again = disentanglement_report(scorer(model, clicks.train), *arguments)
    pd.testing.assert_frame_equal(found.table, again.table)
    assert model.training
    assert set(found.table['group']) == {'dependence', 'popularity', 'ranking', 'truth'}
    assert 'interest & conformity' in str(found)
    assert not found.separation.query('group == "truth"')['separates'].eq('yes').any()
    items = model.embeddings()[1].detach().cpu().double()
    kept = clicks.train.item_degree > 0
    target = clicks.train.popularity[kept].double().log1p()
    for part, columns in (('all', slice(None)), ('conformity', slice(4, 8))):
        probe = value_probe(items[kept, columns], target)
        actual = value(found, measure='R^2 of log popularity', factor=part)
        assert actual == pytest.approx(probe.value)


class Score:
    """The scores of a model, and nothing else of it."""

    def __init__(self, model: MF) -> None:
        self.model = model

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return self.model.score(user, item)


class Less(DICE):
    """Ranks the other way round."""

    def score(self, user: Tensor, item: Tensor) -> Tensor:
        return -super().score(user, item)


def test_model_with_score_alone(clicks):
    """Of a model that overrides its score, the vectors tell nothing."""
    size = clicks.train.num_users, clicks.train.num_items
    torch.manual_seed(0)
    model = Less(MF(*size, 8), clicks.train.popularity)
    negated = DICE(MF(*size, 8), clicks.train.popularity)
    negated.load_state_dict(model.state_dict())
    with torch.no_grad():
        negated.backbone.user.weight.neg_()
    arguments = clicks.train, clicks.test, 2000, 3, clicks.data.true_scores
    whole = disentanglement_report(negated, *arguments)
    for other in (model, Score(model), Score(negated)):
        found = disentanglement_report(other, *arguments)
        assert set(found.table['group']) == {'popularity', 'ranking', 'truth'}
        assert_of_the_whole(found, whole)


class Pair(NamedTuple):
    habit: Tensor
    mood: Tensor


class Named(Handmade):
    """Factors of names of their own, and scores that have no parts."""

    def encode(self, batch: InteractionBatch) -> Any:
        user, item = (Pair(*side) for side in super().encode(batch).factors)
        logits = (user.habit * item.habit).sum(-1)
        return SimpleNamespace(factors=IEDRFactors(user, item), logits=logits)


@pytest.mark.usefixtures('without_probes')
def test_factors_of_other_names(data, lists):
    """What they are is told, not what they are wanted to be."""
    found = disentanglement_report(Named(data, 'disentangled'), data, lists, 100)
    whole = disentanglement_report(Handmade(data, 'disentangled'), data, lists, 100)
    expected, actual = (
        each.table.query('group in ("invariance", "variance", "dependence")')
        for each in (whole, found)
    )
    factors = expected['factor'].replace({'intrinsic': 'habit', 'extrinsic': 'mood'})
    factors = factors.replace('intrinsic & extrinsic', 'habit & mood')
    assert actual['value'].tolist() == expected['value'].tolist()
    assert actual['factor'].tolist() == factors.tolist()
    assert set(found.separation['group']) == {'dependence'}
    assert set(found.table.query('group in ("ranking", "truth")')['factor']) == {'all'}


def test_bad_model_and_dataset(data, lists, clicks):
    model = Handmade(data, 'entangled')
    dice = DICE(MF(5, 6, 4), torch.ones(6))
    graph = clicks.train
    for arguments, message in (
        ((IEDR(7), data), r'has \d+ embeddings, the model 7: .* another schema'),
        ((dice, data), 'whose `forward` takes a batch; that of DICE'),
        ((model, graph), 'with `score.*, which Handmade does not have'),
        ((dice, graph), 'has 5 users and 6 items, the graph 120 and 80'),
        ((scorer(model, data), graph), 'for 60 users and 50 items, the data have 120'),
        ((model, data, clicks.test), r'must be CandidateLists \(got BipartiteGraph'),
        ((true_model(clicks), graph, lists), 'must be a BipartiteGraph'),
    ):
        with pytest.raises(ValueError, match=message):
            disentanglement_report(*arguments)
    with pytest.raises(TypeError, match=r'BipartiteGraph \(got list\)'):
        disentanglement_report(model, [1, 2])


@pytest.mark.usefixtures('without_probes')
def test_too_few_rows(data, lists, clicks):
    model = Handmade(data, 'entangled')
    few = data[torch.arange(19)]
    one_user = data[data.user == int(data.user.bincount().argmax())]
    one_context = data[torch.zeros(50).long()]
    some = torch.arange(3)
    no_lists = CandidateLists(
        lists.user[:1],
        lists.context[:1],
        lists.item[:9],
        lists.target[:9],
        lists.list_index[:9],
    )
    for dataset, arguments, message in (
        (few, {}, r'At least 20 rows are needed \(got 19\)'),
        (data, {'num_samples': 19}, r'`num_samples` must be at least 20 \(got 19\)'),
        (one_user, {}, r'Two users, items and contexts .*\(got 1, '),
        (one_context, {}, r'\(got 1, 1, 1\)'),
        (data[data.user < 3], {}, r'At least 5 users are needed \(got 3\)'),
        (data, {'lists': no_lists}, r'At least 2 lists are needed \(got 1\)'),
    ):
        with pytest.raises(ValueError, match=message):
            disentanglement_report(model, dataset, **arguments)
    graph = BipartiteGraph(some, some, 120, 80)
    with pytest.raises(ValueError, match=r'20 users with an edge are needed \(got 3\)'):
        disentanglement_report(true_model(clicks), graph)


@pytest.mark.usefixtures('without_probes')
def test_lists_and_truth_of_other_data(data, lists):
    model = Handmade(data, 'entangled')
    other = CandidateLists.sample(PlantedFactors(70, 60, 700), 5)
    with pytest.raises(ValueError, match=r'of other data: .* user \d+, the dataset 60'):
        disentanglement_report(model, data, other)
    with pytest.raises(ValueError, match=r"scores 'luck' .* \(1260,\) \(got \(3,\)\)"):
        disentanglement_report(
            model, data, lists, truth=lambda *ids: {'luck': torch.ones(3)}
        )


@pytest.mark.usefixtures('without_probes')
def test_factors_that_are_not_numbers(data, lists):
    model = Handmade(data, 'entangled')
    model.entities['item'][3, 1] = torch.nan
    with pytest.raises(ValueError, match=r'factors of the model .* not finite'):
        disentanglement_report(model, data, lists)


def test_probes_are_those_of_the_samples(data, lists):
    """Identities from the block, fields from the anchors."""
    model = Handmade(data, 'disentangled')
    found = disentanglement_report(model, data, lists, num_samples=400)
    samples = report.sample_contexts(data, 400)
    *_, block = samples.parts(samples.user)
    anchors = samples.context[:400]
    who = class_probe(model.entities['user'][block], block, 5)
    assert value(found, measure='which user', factor='intrinsic') == who.value
    place = data.context_frame['place'].astype('category').cat.codes.to_numpy(copy=True)
    where = class_probe(model.contexts[anchors], torch.from_numpy(place)[anchors])
    row = found.table.query(
        'measure == "place" and factor == "extrinsic" and side == "item"'
    ).iloc[0]
    assert row['value'] == pytest.approx(where.value, abs=0.01)
    assert row['baseline'] == where.chance
    assert row['error'] == pytest.approx(where.error, abs=1e-3)


def hand_written(*rows: tuple) -> dict[tuple[str, str, str], str]:
    """Verdicts of rows of a group, a measure, a value, a limit, an error, a wish."""
    table = pd.DataFrame(
        [
            (group, measure, 'user', f'factor {i}', value, 0.0, limit, error, wanted)
            for i, (group, measure, value, limit, error, wanted) in enumerate(rows)
        ],
        columns=[*KEY, 'factor', 'value', 'baseline', 'limit', 'error', 'wanted'],
    )
    return verdicts(DisentanglementReport(table))


@pytest.mark.parametrize(
    ('high', 'low', 'wanted', 'expected'),
    [
        ((0.9, 0.2, 0.01), (0.1, 0.2, 0.01), 'low', 'yes'),
        ((0.9, 0.2, 0.01), (0.3, 0.2, 0.01), 'low', 'partly'),  # The low one is high.
        ((0.15, 0.2, 0.01), (0.05, 0.2, 0.01), 'low', 'partly'),  # The high one is low.
        ((0.9, 0.2, 0.5), (0.1, 0.2, 0.0), 'low', 'no'),  # Noise.
        ((0.9, 0.2, 0.0), (0.1, 0.2, 0.5), 'low', 'no'),
        ((0.24, 0.2, 0.0), (0.2, 0.2, 0.0), 'low', 'no'),  # Next to nothing.
        ((0.26, 0.2, 0.0), (0.2, 0.2, 0.0), 'low', 'yes'),
        ((0.26, 0.2, np.nan), (0.2, 0.2, np.nan), 'low', 'yes'),
        ((0.1, 0.2, 0.01), (0.9, 0.2, 0.01), 'low', 'no'),  # The other way round.
        ((0.9, 0.2, 0.01), (-0.8, 0.2, 0.01), 'low', 'yes'),
        ((0.9, 0.2, 0.01), (-0.8, 0.2, 0.01), 'zero', 'partly'),
        ((0.7, 0.2, 0.01), (-0.8, 0.2, 0.01), 'zero', 'no'),
    ],
)
def test_verdict_on_two_factors(high, low, wanted, expected):
    rows = ('probe', 'm', *high, 'high'), ('probe', 'm', *low, wanted)
    assert hand_written(*rows) == {('probe', 'm', 'user'): expected}
    other = ('probe', 'm', 5.0, 0.0, 9.0, '')
    assert hand_written(other, *rows) == {('probe', 'm', 'user'): expected}


@pytest.mark.parametrize(
    ('group', 'measure', 'value', 'wanted', 'expected'),
    [
        ('dependence', 'm', 0.01, 'low', 'yes'),
        ('dependence', 'm', 0.04, 'low', 'partly'),
        ('dependence', 'm', 0.06, 'low', 'no'),
        ('ranking', 'm, gain', 0.06, 'high', 'yes'),
        ('ranking', 'm, gain', 0.04, 'high', 'no'),
        ('ranking', 'm', 0.9, 'high', None),  # Nothing that it were to differ from.
        ('truth', 'm', 0.9, 'high', None),
    ],
)
def test_verdict_on_one_value(group, measure, value, wanted, expected):
    found = hand_written((group, measure, value, 0.02, 0.01, wanted))
    assert found == ({} if expected is None else {(group, measure, 'user'): expected})


@pytest.mark.usefixtures('without_probes')
def test_seed_decides_all_draws(data):
    """Which rows, which lists, and what is left to chance."""
    model = Handmade(data, 'entangled')
    tables = [
        disentanglement_report(model, data, num_samples=100, seed=seed).table
        for seed in (3, 3, 4)
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    same = tables[0]['value'] == tables[2]['value']
    measured = tables[0]['group'] != 'probe'
    assert not same[measured & (tables[0]['measure'] != 'auc')].any()
    limits = tables[0]['group'].isin(['dependence', 'variance', 'ranking'])
    assert not (tables[0]['limit'] == tables[2]['limit'])[limits].any()


def test_lists_by_default(monkeypatch):
    """Of rows with the label 1, as many as there may be."""
    dataset = make_log(label='label')
    monkeypatch.setattr(report, 'MAX_LISTS', 150)
    lists = report._default_lists(dataset, seed=0)
    assert len(lists) == 150 < dataset.y.sum() < 250
    assert lists.list_index.bincount().tolist() == [25] * 150  # All of the 25 items.
