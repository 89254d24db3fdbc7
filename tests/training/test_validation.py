"""Validation is Lightning's: what it limits, and who sees the metrics."""

import optuna
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from optuna_integration import PyTorchLightningPruningCallback
from training_runs import (
    CLICKS,
    LISTS,
    METRICS,
    SIZE,
    SPLIT,
    assert_same,
    clicks_module,
    load,
    make_module,
    rows_module,
    run,
    script,
)

from iedr_geo.datasets import PlantedClicks
from iedr_geo.evaluation import CatalogueRankings, evaluate_candidates, evaluate_catalogue
from iedr_geo.nn import IEDR, MF
from iedr_geo.scoring import scorer
from iedr_geo.training import BipartiteModule

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


@pytest.mark.parametrize(
    ('arguments', 'epochs', 'share'),
    [
        ({'check_val_every_n_epoch': 2}, [1, 3], 1.0),
        ({'limit_val_batches': 2}, [0, 1, 2, 3], 2),
        ({'limit_val_batches': 0.5}, [0, 1, 2, 3], 0.5),
        ({'limit_val_batches': 0}, [], 0),
        ({'fast_dev_run': True}, [0], 1),
    ],
    ids=str,
)
def test_limits(tmp_path, arguments, epochs, share):
    module = clicks_module()
    module.rankings = SmallChunks(CLICKS.valid, CLICKS.train, METRICS)
    chunks, expected = module.rankings.chunks(), []
    assert len(chunks) > 4
    chunks = chunks[: int(share * len(chunks)) if isinstance(share, float) else share]

    class Reader(Callback):
        def on_validation_end(self, trainer, module):
            made = scorer(module.model, CLICKS.valid)
            ranked = [module.rankings.rank(made, lists) for lists in chunks]
            expected.append(module.rankings.evaluation(ranked).metrics)

    result = run(module, tmp_path, max_epochs=4, callbacks=Reader(), **arguments)
    number = 1 if 'fast_dev_run' in arguments else 4
    assert [epoch['epoch'] for epoch in result.history] == list(range(number))
    measured = {
        epoch['epoch']: {metric.name: epoch[metric.name] for metric in METRICS}
        for epoch in result.history
        if 'recall@20' in epoch
    }
    assert list(measured) == epochs and list(measured.values()) == expected
    values = {epoch: metrics['recall@20'] for epoch, metrics in measured.items()}
    assert result.best_epoch == max(values, key=values.get, default=number - 1)


def test_fast_dev_run_leaves_a_folder_as_it_is(tmp_path):
    run(clicks_module(), tmp_path / 'run', max_epochs=1)
    before = (tmp_path / 'run' / 'last.ckpt').read_bytes()
    for folder, resume in (('run', False), ('run', True), ('new', False)):
        arguments = {'fast_dev_run': 2, 'resume': resume}
        result = run(clicks_module(), tmp_path / folder, **arguments)
        assert [epoch['epoch'] for epoch in result.history] == [0]
        assert not result.model.training
    assert (tmp_path / 'run' / 'last.ckpt').read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ['run']


def test_callbacks_and_loggers_see_each_epoch(tmp_path):
    """A logger, Lightning's early stopping and optuna's pruning, all at once."""
    module = clicks_module('dice')
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


def test_optuna_prunes(tmp_path):
    def objective(trial):
        module = clicks_module(learning_rate=trial.suggest_float('rate', 1e-3, 1e-2))
        script(module, 0.5, 0.4, 0.1, 0.5)
        callback = PyTorchLightningPruningCallback(trial, 'recall@20')
        run(module, tmp_path, max_epochs=4, callbacks=[callback])

    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(lower=0.2))
    study.optimize(objective, n_trials=1)
    [trial] = study.trials
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert list(trial.intermediate_values) == [0, 1, 2]


class Weighted(MF):
    """Weighs users by what the validation is the first to ask of the graph."""

    def __init__(self, graph):
        super().__init__(*SIZE, 4)
        self.graph = graph

    def extra_losses(self, batch, encoded=None):
        weighted = self.graph.ptr[:-1] * self.user.weight.sum(dim=1)
        return {'weighted': weighted.square().mean() / self.graph.num_edges}


@pytest.mark.parametrize('on_rows', [True, False])
def test_training_goes_on_after_lightning_s_inference_mode(tmp_path, on_rows):
    """What data cache while a trainer validates serves training, too."""

    def make():
        if on_rows:
            return rows_module()
        # Graphs of which nobody has asked anything.
        clicks = PlantedClicks(*SIZE, num_clicks=900).split()
        torch.manual_seed(0)
        return BipartiteModule(Weighted(clicks.train), clicks.train, clicks.valid)

    module = make()
    [metrics] = Trainer(**QUIET).validate(module, verbose=False)
    assert module.history == []
    if not on_rows:
        expected = evaluate_catalogue(module.model, CLICKS.valid, CLICKS.train)
        assert metrics == pytest.approx(expected.metrics)
    Trainer(max_epochs=2, num_sanity_val_steps=-1, **QUIET).fit(module)
    run(make(), tmp_path, max_epochs=2)
    assert_same(dict(module.state_dict()), dict(load(tmp_path)['state_dict']))


@pytest.mark.parametrize('kind', ['rows', 'dice'])
def test_without_validation(tmp_path, kind, recwarn):
    """All epochs are run, and the last model is the result: that of the best epoch, if
    there are as many, as validation changes nothing."""
    with_valid = run(make_module(kind), tmp_path / 'valid', max_epochs=3)
    epochs = with_valid.best_epoch + 1
    recwarn.clear()
    module = make_module(kind, valid=())
    result = run(module, tmp_path / 'none', max_epochs=epochs, patience=1)
    assert [str(warning.message) for warning in recwarn.list] == []
    assert len(result.history) == epochs == result.best_epoch + 1
    assert module.monitors == [] and 'recall@5' not in result.history[0]
    assert_same(with_valid.model.state_dict(), result.model.state_dict())
    module = make_module(kind, valid=())
    Trainer(max_epochs=1, **QUIET).fit(module)
    assert module.history[0]['loss'] == with_valid.history[0]['loss']


def test_mixed_precision(tmp_path, monkeypatch):
    """Steps run in bfloat16, weights and evaluation stay in single precision: the metrics
    are those of the model that comes out.
    """
    encode, dtypes = IEDR.encode, {True: set(), False: set()}

    def reading(self, batch):
        encoded = encode(self, batch)
        dtypes[torch.is_grad_enabled()].add(encoded.factors.user.intrinsic.dtype)
        return encoded

    monkeypatch.setattr(IEDR, 'encode', reading)
    half, full = (
        run(rows_module(), tmp_path / precision, max_epochs=2, precision=precision)
        for precision in ('bf16-mixed', '32-true')
    )
    assert dtypes == {True: {torch.bfloat16, torch.float32}, False: {torch.float32}}
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    for one, two in zip(half.history, full.history, strict=True):
        assert one['loss'] == pytest.approx(two['loss'], rel=0.02)
        assert one['loss'] != two['loss']
    again = evaluate_candidates(half.model, SPLIT.valid, LISTS).metrics
    best = half.history[half.best_epoch]
    assert {name: best[name] for name in again} == again
