"""Schedule, curriculum and history of models of clicks."""

import json
import math

import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from iedr_geo.data import BipartiteGraph, PopularityMarginSampler
from iedr_geo.datasets import PlantedClicks
from iedr_geo.evaluation import evaluate_catalogue
from iedr_geo.loader import Curriculum, EdgeLoader
from iedr_geo.metrics import Recall
from iedr_geo.nn import DICE, MF
from iedr_geo.training import BipartiteModule, PlateauRate


def reference_rates(values, rate, patience, lowest):
    """The schedule in plain words: a tenth after more than `patience` bad epochs."""
    rates, best, bad = [rate], -math.inf, 0
    for value in values:
        if value > best * (1 + 1e-4) or best == -math.inf:
            best, bad = value, 0
        else:
            bad += 1
        if bad > patience:
            rate, bad = max(rate / 10, lowest), 0
        rates.append(rate)
    return rates


@pytest.mark.parametrize(
    ('values', 'epochs'),
    [
        # 1e-2 up to epoch 3, 1e-3 for three epochs, then two at 1e-4.
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4], 9),
        # A gain at the lowest rate begins the count anew.
        ([0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], 11),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 5),
    ],
)
def test_plateau_schedule(make_clicks, run, tmp_path, script, values, epochs):
    module = make_clicks(schedule=PlateauRate(patience=2))
    script(module, *values)
    result = run(module, tmp_path, patience=2, max_epochs=len(values))
    rates = reference_rates(values, 0.01, 2, 1e-4)
    found = [epoch['learning_rate'] for epoch in result.history]
    assert len(found) == epochs
    assert found == pytest.approx(rates[:epochs])
    assert result.best_epoch == values.index(max(values[:epochs]))


def test_history(make_clicks, run, tmp_path, clicks):
    result = run(make_clicks(), tmp_path, max_epochs=2)
    terms = {'click', 'interest', 'conformity', 'discrepancy', 'loss'}
    times = {'seconds', 'training_seconds'}
    names = {'epoch', *terms, 'recall@5', 'recall@20', 'learning_rate', *times}
    assert all(set(epoch) == names for epoch in result.history)
    metrics = [Recall(5), Recall(20)]
    again = evaluate_catalogue(
        result.model, clicks.valid, clicks.train, metrics=metrics
    ).metrics
    best = result.history[result.best_epoch]
    assert again == {name: best[name] for name in again}
    assert list(pd.read_csv(tmp_path / 'metrics.csv')['epoch']) == [0, 1]
    json.dumps(make_clicks().settings)


@pytest.mark.parametrize('every', ['epoch', 'step'])
def test_batches_are_the_loader_s(make_clicks, run, tmp_path, clicks, every):
    """Edges, negatives and curriculum: nothing but seed and epoch decides on them."""
    curriculum = Curriculum(0.9, every)
    module = make_clicks(curriculum=curriculum)
    batches = []
    losses = module.model.losses
    module.model.losses = lambda batch: batches.append(batch) or losses(batch)
    run(module, tmp_path, max_epochs=2)
    sampler = PopularityMarginSampler(2, margin=5, min_pool=4)
    arguments = {'shuffle': True, 'curriculum': curriculum, 'seed': 3}
    loader = EdgeLoader(clicks.train, 64, sampler, **arguments)
    expected = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        expected += list(loader)
    for one, two in zip(batches, expected, strict=True):
        assert torch.equal(one.user, two.user)
        assert torch.equal(one.negative, two.negative)
        assert one.curriculum == two.curriculum
    assert batches[0].curriculum == 1 > batches[-1].curriculum


def test_bad_arguments(clicks, run):
    train = clicks.train
    model = MF(train.num_users, train.num_items, channels=4)
    empty = train.subgraph(torch.zeros(train.num_edges, dtype=torch.bool))
    with pytest.raises(ValueError, match=r'validation part is empty.*valid=None'):
        BipartiteModule(model, train, empty)
    with pytest.raises(ValueError, match='training part is empty'):
        BipartiteModule(model, empty)
    with pytest.raises(ValueError, match=r'training part has 60 .*the model 3 and 4'):
        BipartiteModule(MF(3, 4), train)
    small = BipartiteGraph(torch.tensor([0]), torch.tensor([0]), 1, 3)
    with pytest.raises(ValueError, match=r"recall@50', which is none of recall@3$"):
        run(BipartiteModule(MF(1, 3), small, small, metrics=[Recall(3)]), 'nowhere')


def test_recovers_the_planted_causes(run, tmp_path):
    """What DICE calls interest follows true interest rather than conformity, and the
    other way round."""
    clicks = PlantedClicks(num_users=300, num_items=200, num_clicks=12_000)
    train = clicks.split().train
    size = train.num_users, train.num_items
    torch.manual_seed(0)
    # All weight on the causes: with the paper's, which decays, the click loss mixes them.
    model = DICE(MF(*size, channels=32, bound=0.25), train.popularity, alpha=1.0)
    arguments = {'batch_size': 256, 'curriculum': Curriculum()}
    sampler = PopularityMarginSampler(margin=20, min_pool=10)
    module = BipartiteModule(model, train, negatives=sampler, **arguments)
    result = run(module, tmp_path, max_epochs=8)
    with torch.no_grad():
        users, items = result.model.embeddings()
    user = torch.arange(size[0])[:, None]
    truth = clicks.true_scores(user, torch.arange(size[1]))
    correlation = {}
    for factor, columns in result.model.factors.items():
        score = users[:, columns] @ items[:, columns].t()
        correlation[factor] = [
            sum(spearmanr(s, t).statistic for s, t in zip(score, true, strict=True))
            / size[0]
            for true in truth
        ]
    interest, conformity = correlation['interest'], correlation['conformity']
    assert interest[0] > 0.2 > interest[1]
    assert conformity[1] > 0.7 > 0.3 > conformity[0]
