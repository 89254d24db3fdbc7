"""Reports of models of the graph whose factors are known to be disentangled, or not."""

from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from handmade import Handmade, value, verdicts
from vector_model import Tables

from iedr_geo.analysis import disentanglement_report, popularity_overlap, value_probe
from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import PlantedClicks, PlantedFactors
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.metrics import NDCG, Recall
from iedr_geo.nn import DICE, MF
from iedr_geo.scoring import scorer

report = partial(disentanglement_report, num_permutations=20)


@pytest.fixture(scope='module')
def clicks() -> SimpleNamespace:
    data = PlantedClicks(num_users=120, num_items=80, num_clicks=3000)
    train, _, test = data.split()
    arguments = train, test, 2000, 0, data.true_scores
    return SimpleNamespace(data=data, train=train, test=test, arguments=arguments)


@pytest.fixture
def dice(clicks) -> DICE:
    torch.manual_seed(0)
    size = clicks.train.num_users, clicks.train.num_items
    return DICE(MF(*size, 8), clicks.train.popularity)


def true_model(clicks: SimpleNamespace) -> Tables:
    """Scores that are the true ones: interest by one column for each item."""
    user, item = (torch.arange(n) for n in (clicks.train.num_users, 80))
    interest = clicks.data.true_scores(user[:, None], item).interest
    conformity = torch.zeros_like(interest)
    conformity[:, 0] = torch.from_numpy(clicks.data.sensitivity)
    appeal = torch.zeros(80, 80).double()
    appeal[:, 0] = torch.from_numpy(clicks.data.appeal)
    vectors = torch.cat([interest, conformity], 1), torch.cat([torch.eye(80), appeal], 1)
    return Tables(*vectors, 80, 'interest', 'conformity')


def test_disentangled_clicks(clicks):
    model = true_model(clicks)
    found = report(model, *clicks.arguments)
    separates = verdicts(found)
    assert separates['popularity', 'iou@20', 'score'] in ('partly', 'yes')
    assert separates['popularity', 'R^2 of log popularity', 'item'] == 'yes'
    assert separates['dependence', 'distance correlation', 'user'] == 'yes'
    for name in ('interest', 'conformity'):
        measure = f'correlation with {name}'
        assert value(found, measure, name) == pytest.approx(1)
        assert separates['truth', measure, 'score'] in ('partly', 'yes')
        assert value(found, f'variance of {name}', name) == pytest.approx(1)
    for part in (None, 'interest', 'conformity'):
        name = part or 'all'
        expected = popularity_overlap(model, clicks.train, 20, part)
        assert value(found, 'iou@20', name) == expected
        metrics = [NDCG(20), Recall(20)]
        ranking = evaluate_catalogue(model, clicks.test, clicks.train, metrics, part=part)
        for metric in ('ndcg@20', 'recall@20'):
            actual = value(found, metric, name)
            assert actual == pytest.approx(ranking.metrics[metric])
    popularity = found.table.query('measure == "iou@20"').iloc[0]
    assert popularity['baseline'] == pytest.approx(0.2, abs=0.05)
    assert 0 < popularity['limit'] - popularity['baseline'] < 0.1


def test_dice(clicks, dice, device):
    """Of vectors as they come: two halves that know nothing."""
    model = dice.to(device).train()
    found = report(model, *clicks.arguments)
    again = report(scorer(model, clicks.train), *clicks.arguments)
    pd.testing.assert_frame_equal(found.table, again.table)
    assert model.training
    # There is nothing to rank, and no truth.
    alone = report(model, clicks.train).table
    assert set(alone['group']) == {'dependence', 'popularity'}
    assert set(found.table['group']) == {'dependence', 'popularity', 'ranking', 'truth'}
    assert 'interest & conformity' in str(found)
    assert not found.separation.query('group == "truth"')['separates'].eq('yes').any()
    items = model.embeddings()[1].detach().cpu().double()
    kept = clicks.train.item_degree > 0
    target = clicks.train.popularity[kept].double().log1p()
    for part, columns in (('all', slice(None)), ('conformity', slice(4, 8))):
        probe = value_probe(items[kept, columns], target)
        actual = value(found, 'R^2 of log popularity', part)
        assert actual == pytest.approx(probe.value)


def test_model_with_score_alone(clicks, dice):
    """It has what needs no factors."""
    whole = report(dice, *clicks.arguments).table
    measures = ('iou', 'ndcg', 'recall', 'correlation', 'rank correlation')
    kept = (whole['factor'] == 'all') & whole['measure'].str.startswith(measures)
    kept &= ~whole['measure'].str.endswith('gain')
    expected = whole[kept].reset_index(drop=True)
    found = report(SimpleNamespace(score=dice.score), *clicks.arguments)
    assert found.notes == ('The model has no factors to tell apart',)
    pd.testing.assert_frame_equal(found.table, expected, atol=1e-5, rtol=1e-5)


def test_bad_input(clicks, dice):
    few = BipartiteGraph(torch.arange(3), torch.arange(3), 120, 80)
    data = PlantedFactors(num_users=20, num_items=20, num_interactions=200)
    made = scorer(Handmade(data, 'entangled'), data)
    small, graph = DICE(MF(5, 6, 4), torch.ones(6)), clicks.train
    for arguments, message in (
        ((dice, few), r'20 users with an edge are needed \(got 3\)'),
        ((small, graph), 'has 5 users and 6 items, the graph 120 and 80'),
        ((Handmade(data, ''), graph), 'with `score.*, which Handmade does not have'),
        ((made, graph), 'for 20 users and 20 items, the data have 120'),
        ((dice, graph, data), 'must be a BipartiteGraph'),
    ):
        with pytest.raises(ValueError, match=message):
            report(*arguments)
