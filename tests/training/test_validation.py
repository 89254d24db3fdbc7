"""Validation is Lightning's: what it limits, and who sees the metrics."""

from __future__ import annotations

import optuna
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from optuna_integration import PyTorchLightningPruningCallback

from iedr_geo.datasets import PlantedClicks
from iedr_geo.evaluation import (
    CatalogueRankings,
    evaluate_candidates,
    evaluate_catalogue,
)
from iedr_geo.metrics import Recall
from iedr_geo.nn import MF
from iedr_geo.scoring import scorer
from iedr_geo.training import BipartiteModule

METRICS = [Recall(5), Recall(20)]
QUIET = {
    'accelerator': 'cpu',
    'logger': False,
    'enable_checkpointing': False,
    'enable_progress_bar': False,
    'enable_model_summary': False,
}


class SmallChunks(CatalogueRankings):
    def chunks(self, rank=0, world=1):
        return [part for c in super().chunks(rank, world) for part in c.split(8)]


class Reader(Callback):
    """Keeps what a callback sees when a validation ends, and what is true then."""

    def __init__(self, chunks: int, split):
        self.rankings = SmallChunks(split.valid, split.train, METRICS)
        self.lists = self.rankings.chunks()[:chunks]
        self.valid = split.valid
        self.seen: list[dict] = []
        self.expected: list[dict] = []

    def on_validation_end(self, trainer, module):
        if trainer.sanity_checking:
            return
        metrics = trainer.callback_metrics
        names = [metric.name for metric in METRICS]
        self.seen.append({name: float(metrics[name]) for name in names})
        made = scorer(module.model, self.valid)
        ranked = [self.rankings.rank(made, lists) for lists in self.lists]
        self.expected.append(self.rankings.evaluation(ranked).metrics)


@pytest.mark.parametrize('plain', [False, True], ids=['fit', 'Trainer'])
@pytest.mark.parametrize(
    ('arguments', 'epochs', 'share'),
    [
        ({}, [0, 1, 2, 3], 1.0),
        ({'check_val_every_n_epoch': 2}, [1, 3], 1.0),
        ({'limit_val_batches': 2}, [0, 1, 2, 3], 2),
        ({'limit_val_batches': 0.5}, [0, 1, 2, 3], 0.5),
        ({'limit_val_batches': 0}, [], 0),
        ({'fast_dev_run': True}, [0], 1),
    ],
    ids=str,
)
def test_limits(make_clicks, run, tmp_path, clicks, plain, arguments, epochs, share):
    module = make_clicks('mf')
    module.rankings = SmallChunks(clicks.valid, clicks.train, METRICS)
    total = len(module.rankings.chunks())
    assert total > 4
    reader = Reader(int(share * total) if isinstance(share, float) else share, clicks)
    number = 1 if 'fast_dev_run' in arguments else 4
    if plain:
        Trainer(max_epochs=4, callbacks=[reader], **QUIET, **arguments).fit(module)
    else:
        result = run(module, tmp_path, max_epochs=4, callbacks=reader, **arguments)
        measured = [e['recall@20'] for e in result.history if 'recall@20' in e]
        best = epochs[measured.index(max(measured))] if measured else number - 1
        assert result.best_epoch == best
    assert [epoch['epoch'] for epoch in module.history] == list(range(number))
    own = [{n: e[n] for n in ('recall@5', 'recall@20')} for e in module.history if
           'recall@20' in e]  # fmt: skip
    assert [e['epoch'] for e in module.history if 'recall@20' in e] == epochs
    assert reader.seen == [pytest.approx(metrics) for metrics in own]
    assert reader.expected == own
    assert len({metrics['recall@20'] for metrics in own}) > 1 or len(own) < 2


def test_fast_dev_run_leaves_a_folder_as_it_is(make_clicks, run, tmp_path):
    run(make_clicks(), tmp_path / 'run', max_epochs=1)
    before = (tmp_path / 'run' / 'last.ckpt').read_bytes()
    for resume in (False, True):
        result = run(make_clicks(), tmp_path / 'run', fast_dev_run=2, resume=resume)
        assert [epoch['epoch'] for epoch in result.history] == [0]
        assert not result.model.training
    run(make_clicks(), tmp_path / 'new', fast_dev_run=True)
    assert (tmp_path / 'run' / 'last.ckpt').read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ['run']


def test_callbacks_and_loggers_see_each_epoch(make_clicks, run, tmp_path, script):
    """A logger, Lightning's early stopping and optuna's pruning, all at once."""
    module = make_clicks()
    values = [0.1, 0.3, 0.2, 0.25, 0.9]
    script(module, *values)
    study = optuna.create_study(direction='maximize', pruner=optuna.pruners.NopPruner())
    trial = study.ask()
    result = run(
        module,
        tmp_path / 'run',
        max_epochs=9,
        callbacks=[
            PyTorchLightningPruningCallback(trial, 'recall@20'),
            EarlyStopping('recall@20', mode='max', patience=2),
        ],
        logger=CSVLogger(tmp_path / 'logs'),
        log_every_n_steps=1,
    )
    assert [epoch['recall@20'] for epoch in result.history] == values[:4]
    [logged] = (tmp_path / 'logs').rglob('metrics.csv')
    table = pd.read_csv(logged)
    assert table['recall@20'].dropna().tolist() == pytest.approx(values[:4])
    losses = [epoch['loss'] for epoch in result.history]
    assert table['loss'].dropna().tolist() == pytest.approx(losses)
    reported = study.trials[0].intermediate_values
    assert reported == pytest.approx(dict(enumerate(values[:4])))


def test_optuna_prunes(make_clicks, run, tmp_path, script):
    def objective(trial):
        module = make_clicks(learning_rate=trial.suggest_float('rate', 1e-3, 1e-2))
        script(module, 0.5, 0.4, 0.1, 0.5)
        callback = PyTorchLightningPruningCallback(trial, 'recall@20')
        folder = tmp_path / str(trial.number)
        run(module, folder, max_epochs=4, callbacks=[callback])

    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(lower=0.2))
    study.optimize(objective, n_trials=2)
    for trial in study.trials:
        assert trial.state == optuna.trial.TrialState.PRUNED
        assert list(trial.intermediate_values) == [0, 1, 2]


class Weighted(MF):
    """Weighs users by what the validation is the first to ask of the graph."""

    def __init__(self, graph):
        super().__init__(graph.num_users, graph.num_items, 4)
        self.graph = graph

    def extra_losses(self, batch, encoded=None):
        weighted = self.graph.ptr[:-1] * self.user.weight.sum(dim=1)
        return {'weighted': weighted.square().mean() / self.graph.num_edges}


@pytest.mark.parametrize('kind', ['rows', 'dice-lightgcn', 'weighted'])
def test_training_goes_on_after_lightning_s_inference_mode(
    make_module, make_clicks, run, tmp_path, assert_same_state, kind
):
    """What data cache while a trainer validates serves training, too."""

    def make():
        if kind == 'rows':
            return make_module()
        if kind == 'dice-lightgcn':
            return make_clicks(kind)
        train, valid, _ = PlantedClicks(
            num_users=60, num_items=50, num_clicks=900
        ).split()
        torch.manual_seed(0)
        return BipartiteModule(Weighted(train), train, valid)

    module = make()
    Trainer(**QUIET).validate(module, verbose=False)
    Trainer(max_epochs=2, num_sanity_val_steps=-1, **QUIET).fit(module)
    again = make()
    run(again, tmp_path, max_epochs=2)
    last = torch.load(tmp_path / 'last.ckpt', weights_only=True)
    assert_same_state(dict(module.state_dict()), dict(last['state_dict']))


@pytest.mark.parametrize('kind', ['rows', 'clicks'])
def test_without_validation(make_module, make_clicks, run, tmp_path, kind, recwarn):
    """All epochs are run, and the last model is the result: that of the best epoch, if
    there are as many, as validation changes nothing."""
    make = make_module if kind == 'rows' else make_clicks
    with_valid = run(make(), tmp_path / 'valid', max_epochs=3)
    epochs = with_valid.best_epoch + 1
    recwarn.clear()
    module = make(valid=()) if kind == 'rows' else make(valid=None)
    result = run(module, tmp_path / 'none', max_epochs=epochs, patience=1)
    assert [str(warning.message) for warning in recwarn.list] == []
    assert len(result.history) == epochs == result.best_epoch + 1
    assert module.monitors == [] and 'recall@5' not in result.history[0]
    for name, tensor in with_valid.model.state_dict().items():
        assert torch.equal(tensor, result.model.state_dict()[name]), name
    with pytest.raises(ValueError, match=r"'auc', which is none of no metrics"):
        run(module, tmp_path / 'none', monitor='auc')


def test_plain_validate(make_clicks, clicks):
    module = make_clicks()
    [metrics] = Trainer(**QUIET).validate(module, verbose=False)
    expected = evaluate_catalogue(
        module.model, clicks.valid, clicks.train, metrics=METRICS
    ).metrics
    assert metrics == pytest.approx(expected)
    assert module.history == []


def test_validation_is_in_full_precision(make_module, split, lists, run, tmp_path):
    """Whatever the steps are in, the metrics are those of the model that comes out."""
    result = run(make_module(), tmp_path, max_epochs=1, precision='bf16-mixed')
    again = evaluate_candidates(result.model, split.valid, lists).metrics
    assert {name: result.history[-1][name] for name in again} == again
