"""Schedule, curriculum, stopping and resuming of bipartite models."""

import json
import math
from itertools import pairwise

import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from iedr_geo.data import (
    BipartiteGraph,
    PopularityMarginSampler,
    UniformNegativeSampler,
)
from iedr_geo.datasets import PlantedClicks
from iedr_geo.evaluation import Evaluation, evaluate_bipartite
from iedr_geo.loader import BipartiteLoader
from iedr_geo.metrics import Recall
from iedr_geo.nn import DICE, MF, LightGCN
from iedr_geo.training import BipartiteModule, bipartite_module, fit

METRICS = (Recall(5), Recall(50))


@pytest.fixture(scope='module')
def clicks():
    return PlantedClicks(num_users=60, num_items=50, num_clicks=900)


@pytest.fixture(scope='module')
def split(clicks):
    return clicks.split()


@pytest.fixture
def make_module(split):
    """Makes a module of a tiny DICE, with the same initial weights every time."""

    def make_module(backbone='mf', **kwargs):
        torch.manual_seed(0)
        train = split.train
        size = train.num_users, train.num_items
        if backbone == 'lightgcn':
            # Dropout, so that all randomness of an epoch is at stake.
            arguments = {'channels': 8, 'num_layers': 2, 'dropout': 0.2}
            model = LightGCN(*size, *train.adjacency(), **arguments)
        else:
            model = MF(*size, channels=8)
        sampler = PopularityMarginSampler(2, margin=5, min_pool=4)
        arguments = {
            'negatives': sampler,
            'batch_size': 64,
            'metrics': METRICS,
            'seed': 3,
        }
        return BipartiteModule(
            DICE(model, train.popularity), train, split.valid, **arguments | kwargs
        )

    return make_module


@pytest.fixture
def script(monkeypatch):
    """Replaces the validation metrics of a run."""

    def script(values):
        values = iter(values)

        def scripted(model, held_out, seen, metrics):
            return Evaluation({'recall@50': next(values)}, pd.DataFrame())

        monkeypatch.setattr(bipartite_module, 'evaluate_bipartite', scripted)

    return script


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
def test_plateau_schedule(make_module, run, tmp_path, script, values, epochs):
    script(values)
    module = make_module(rate_patience=2)
    result = run(module, tmp_path, patience=2, max_epochs=len(values))
    rates = reference_rates(values, 0.01, 2, 1e-4)
    found = [epoch['learning_rate'] for epoch in result.history]
    assert len(found) == epochs
    assert found == pytest.approx(rates[:epochs])
    assert result.best_epoch == values.index(max(values[:epochs]))


def test_the_rate_is_what_the_optimizer_takes(make_module, run, tmp_path, script):
    """At a rate of almost zero, nothing moves any more."""
    script([0.5, 0.4, 0.4, 0.4])
    arguments = {'learning_rate': 1e-2, 'min_rate': 1e-30, 'rate_patience': 0}
    module = make_module(weight_decay=0.0, **arguments)
    states = []
    take = module.on_train_epoch_end
    module.on_train_epoch_end = lambda: (
        states.append(module.model.backbone.user.weight.detach().clone()),
        take(),
    )
    run(module, tmp_path, patience=99, max_epochs=4)
    moved = [float((b - a).abs().max()) for a, b in pairwise(states)]
    assert moved[0] > 5e-3  # 0.01, several steps.
    assert moved[1] < moved[0] / 5
    assert moved[2] < moved[1] / 5


@pytest.mark.parametrize('backbone', ['mf', 'lightgcn'])
def test_resumed_run_equals_uninterrupted(
    make_module, run, tmp_path, without_times, assert_same_state, backbone
):
    whole = run(make_module(backbone), tmp_path / 'whole', max_epochs=4)
    run(make_module(backbone), tmp_path / 'cut', max_epochs=2)
    module = make_module(backbone)
    resumed = run(module, tmp_path / 'cut', max_epochs=4, resume=True)
    assert without_times(resumed.history) == without_times(whole.history)
    assert_same_state(resumed.model.state_dict(), whole.model.state_dict())
    other = run(make_module(backbone, seed=4), tmp_path / 'other', max_epochs=1)
    assert other.history[0]['total'] != whole.history[0]['total']


def test_refuses_a_run_with_other_settings(make_module, run, tmp_path):
    run(make_module(), tmp_path, max_epochs=1)
    with pytest.raises(ValueError, match=r'decay: 0\.9 there, 0\.5 here'):
        run(make_module(decay=0.5), tmp_path, max_epochs=2, resume=True)
    json.dumps(make_module().settings)


def test_history(make_module, run, tmp_path, split):
    module = make_module()
    result = run(module, tmp_path, max_epochs=2)
    terms = {'click', 'interest', 'conformity', 'discrepancy', 'total'}
    times = {'seconds', 'training_seconds'}
    names = {'epoch', *terms, 'recall@5', 'recall@50', 'learning_rate', *times}
    assert all(set(epoch) == names for epoch in result.history)
    again = evaluate_bipartite(result.model, split.valid, split.train, METRICS).metrics
    best = result.history[result.best_epoch]
    assert again == {name: best[name] for name in again}
    assert list(pd.read_csv(tmp_path / 'metrics.csv')['epoch']) == [0, 1]


def test_curriculum_reaches_loss_and_sampler(make_module, run, tmp_path, monkeypatch):
    """Margin and alpha of each batch, as the loss and the sampler see them."""
    seen = []
    sample = PopularityMarginSampler.sample

    def recording(self, graph, user, item, generator=None):
        seen.append(self.margin)
        return sample(self, graph, user, item, generator)

    monkeypatch.setattr(PopularityMarginSampler, 'sample', recording)
    module = make_module(decay=0.5)
    batches = []
    losses = module.model.losses
    module.model.losses = lambda batch: batches.append(batch) or losses(batch)
    run(module, tmp_path, max_epochs=3)
    per_epoch = len(seen) // 3
    margins = [5 * 0.5**epoch for epoch in range(3) for _ in range(per_epoch)]
    assert seen == margins
    assert [batch.curriculum for batch in batches] == [margin / 5 for margin in margins]


def test_epochs_have_negatives_of_their_own(make_module, run, tmp_path, split):
    module = make_module()
    drawn = []
    losses = module.model.losses
    module.model.losses = lambda batch: drawn.append(batch) or losses(batch)
    run(module, tmp_path, max_epochs=2)
    first, second = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    assert not torch.equal(first[0].user, second[0].user)
    # They are those of a loader with the same seed: nothing else decides.
    sampler = PopularityMarginSampler(2, margin=5, min_pool=4)
    arguments = {'shuffle': True, 'decay': 0.9, 'seed': 3}
    loader = BipartiteLoader(split.train, 64, sampler, **arguments)
    for epoch, batches in enumerate((first, second)):
        loader.set_epoch(epoch)
        for batch, expected in zip(batches, loader, strict=True):
            assert torch.equal(batch.negative, expected.negative)


def test_without_validation(split, run, tmp_path):
    """The rate is constant, all epochs are run, and the last model is the result."""
    train = split.train
    torch.manual_seed(0)
    model = MF(train.num_users, train.num_items, channels=4)
    negatives = UniformNegativeSampler(1, 'seen')
    module = BipartiteModule(model, train, negatives=negatives, batch_size=64)
    result = run(module, tmp_path, max_epochs=3, patience=1)
    assert len(result.history) == 3 and result.best_epoch == 2
    assert {epoch['learning_rate'] for epoch in result.history} == {0.01}
    assert module.monitors == []
    assert not any('recall' in name for name in result.history[0])
    last = torch.load(tmp_path / 'last.ckpt', weights_only=True)['state_dict']
    assert torch.equal(last['model.user.weight'], result.model.user.weight)


def test_bad_arguments(split):
    train = split.train
    model = MF(train.num_users, train.num_items, channels=4)
    empty = train.subgraph(torch.zeros(train.num_edges, dtype=torch.bool))
    with pytest.raises(ValueError, match=r'validation part is empty.*valid=None'):
        BipartiteModule(model, train, empty)
    with pytest.raises(ValueError, match='training part is empty'):
        BipartiteModule(model, empty)
    with pytest.raises(ValueError, match=r'training part has 60 .*the model 3 and 4'):
        BipartiteModule(MF(3, 4), train)
    with pytest.raises(ValueError, match="`decay_every` is 'epoch' or 'step'"):
        BipartiteModule(model, train, decay_every='year')
    small = BipartiteGraph(torch.tensor([0]), torch.tensor([0]), 1, 3)
    with pytest.raises(ValueError, match=r"recall@50', which is none of recall@5$"):
        module = BipartiteModule(MF(1, 3), small, small, metrics=[Recall(5)])
        fit(module, 'nowhere')


def test_recovers_the_planted_causes(run, tmp_path):
    """What DICE calls interest follows true interest rather than conformity, and the
    other way round."""
    clicks = PlantedClicks(num_users=300, num_items=200, num_clicks=12_000)
    train, valid, _ = clicks.split()
    size = train.num_users, train.num_items
    torch.manual_seed(0)
    # All weight on the causes: with the paper's, which decays, the click loss mixes them.
    model = DICE(MF(*size, channels=32, bound=0.25), train.popularity, alpha=1.0)
    arguments = {'batch_size': 256, 'metrics': METRICS, 'decay': 1.0}
    sampler = PopularityMarginSampler(margin=20, min_pool=10)
    module = BipartiteModule(model, train, valid, negatives=sampler, **arguments)
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
