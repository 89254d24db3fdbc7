"""Early stopping, the best epoch, what a run leaves behind, and refusals."""

from __future__ import annotations

import os
import re
import shutil
import warnings

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils._pytree import tree_leaves
from training_runs import (
    CLICKS,
    LISTS,
    SIZE,
    SPLIT,
    assert_same,
    assert_same_result,
    clicks_module,
    files,
    load,
    rows_module,
    run,
    script,
)

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.nn import MF, BPRObjective
from iedr_geo.training import BipartiteModule, PlateauRate, TrainingModule


@pytest.mark.parametrize(
    ('values', 'patience', 'max_epochs', 'epochs', 'best'),
    [
        ((0.1, 0.3, 0.2, 0.3, 0.2, 0.9), 3, 9, 5, 1),  # A tie is no improvement.
        ((0.1, 0.3, 0.2, 0.2, 0.4, 0.1, 0.1, 0.1), 3, 9, 8, 4),
        ((0.1, 0.2, 0.3, 0.4), 1, 4, 4, 3),
        ((0.0, 0.0, 0.0), 2, 9, 3, 0),
    ],
)
def test_stops_and_keeps_the_best_epoch(
    tmp_path, values, patience, max_epochs, epochs, best
):
    module = clicks_module(schedule=None)
    states = script(module, *values)
    result = run(module, tmp_path, patience=patience, max_epochs=max_epochs)
    assert [epoch['recall@20'] for epoch in result.history] == list(values[:epochs])
    assert [epoch['epoch'] for epoch in result.history] == list(range(epochs))
    assert result.best_epoch == best
    assert_same(dict(result.model.state_dict()), states[best])
    for name, epoch in (('last', epochs - 1), ('best', best)):
        checkpoint = load(tmp_path, name)
        assert checkpoint['epoch'] == epoch
        state = {f'model.{key}': value for key, value in states[epoch].items()}
        assert_same(dict(checkpoint['state_dict']), state)
    assert not torch.equal(*(state['user.weight'] for state in states[:2]))


def test_result(tmp_path):
    """The model is the best epoch's: it has that epoch's metrics, and no dropout."""
    folder, modes = tmp_path / 'a' / 'run', []

    class Reader(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            modes.extend(part.training for part in module.model.modules())

    module = rows_module(learning_rate=0.03, model={'dropout': 0.1})
    module.eval()  # As a model that was loaded is.
    result = run(module, folder, max_epochs=3, callbacks=[Reader()])
    assert modes and all(modes)
    scores = [epoch['ndcg@10'] for epoch in result.history]
    assert result.best_epoch == scores.index(max(scores))
    assert not any(module.training for module in result.model.modules())
    assert result.device == torch.device('cpu') == result.model.embedding.weight.device
    again = evaluate_candidates(result.model, SPLIT.valid, LISTS).metrics
    best = result.history[result.best_epoch]
    assert {name: best[name] for name in again} == again
    seconds = sorted(epoch['seconds'] for epoch in result.history)
    assert result.seconds_per_epoch == seconds[1] > 0
    for epoch in result.history:
        assert 0 < epoch['training_seconds'] < epoch['seconds']
    assert files(folder) == ['best.ckpt', 'last.ckpt', 'metrics.csv']
    table = pd.read_csv(folder / 'metrics.csv')
    pd.testing.assert_frame_equal(table, pd.DataFrame(result.history))


def test_killed_before_the_best_epoch_was_kept(tmp_path, monkeypatch):
    """The last epoch was saved and is the best one, `best.ckpt` is still an older one."""
    module = clicks_module()
    states = script(module, 0.1, 0.2)
    copyfile = shutil.copyfile

    def fail(source, target):
        if len(states) == 2:
            raise RuntimeError('killed')
        return copyfile(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'copyfile', fail)
        with pytest.raises(RuntimeError, match='killed'):
            run(module, tmp_path, max_epochs=2)
    assert [load(tmp_path, name)['epoch'] for name in ('last', 'best')] == [1, 0]
    module = clicks_module()
    script(module)  # Nothing is left to do.
    result = run(module, tmp_path, max_epochs=2, resume=True)
    assert len(result.history) == len(pd.read_csv(tmp_path / 'metrics.csv')) == 2
    assert result.best_epoch == 1
    assert_same(dict(result.model.state_dict()), states[1])


class Odd(MF):
    """Its arguments are of no type that JSON knows."""

    @property
    def config(self):
        return {'dtype': torch.float64, 'size': torch.Size([3]), 'module': self.user}


def test_checkpoints_hold_nothing_pickled(tmp_path):
    negatives = UniformNegativeSampler(2, 'seen', resample=True)
    object.__setattr__(negatives, 'weights', torch.ones(2))  # Of a sampler of one's own.
    module = BipartiteModule(Odd(*SIZE, 4), CLICKS.train, negatives=negatives)
    run(module, tmp_path, max_epochs=1)
    plain = {torch.Tensor, str, int, float, bool, type(None)}
    for name in ('last', 'best'):
        assert set(map(type, tree_leaves(load(tmp_path, name)))) <= plain
    run(module, tmp_path, max_epochs=2, resume=True)


def test_new_run_in_an_old_folder(tmp_path, capfd):
    """What is there is neither lost by oversight, nor counts once it may be lost."""
    module = clicks_module(learning_rate=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        run(module, tmp_path / 'old', max_epochs=2)
        run(module, tmp_path / 'old', max_epochs=4, resume=True)
    assert [str(warning.message) for warning in caught] == []
    assert 'Spec' not in capfd.readouterr().err
    before = (tmp_path / 'old' / 'last.ckpt').read_bytes()
    with pytest.raises(FileExistsError, match='old holds a run: pass resume=True'):
        run(clicks_module(), tmp_path / 'old', max_epochs=2)
    assert (tmp_path / 'old' / 'last.ckpt').read_bytes() == before
    one = run(clicks_module(), tmp_path / 'old', max_epochs=2, overwrite=True)
    assert_same_result(one, run(clicks_module(), tmp_path / 'new', max_epochs=2))
    assert len(pd.read_csv(tmp_path / 'old' / 'metrics.csv')) == 2
    assert load(tmp_path / 'old')['epoch'] == 1
    # Nor does what the module has done before.
    again = run(module, tmp_path / 'again', max_epochs=2)
    assert [epoch['epoch'] for epoch in again.history] == [0, 1]


def test_estimators_take_a_step_each_batch(tmp_path):
    with pytest.raises(ValueError, match=r'IEDR has an estimator.*raise the batch'):
        run(rows_module(), tmp_path, accumulate_grad_batches=2)


@pytest.mark.parametrize(
    ('weight', 'algorithm', 'precision'),
    [
        (0.1, None, '32-true'),
        (0.1, 'value', 'bf16-mixed'),
        (0.0, 'norm', 'bf16-mixed'),
        pytest.param(0.0, 'value', '32-true', marks=pytest.mark.full),
    ],
)
def test_clips_every_main_step(tmp_path, weight, algorithm, precision):
    """With an estimator and without one."""
    module = rows_module(model={'disentangling_weight': weight})
    main = {id(p) for p in module.model.main_parameters()}
    norms = []

    def after_step(optimizer, args, kwargs):
        gradients = [
            p.grad.flatten()
            for p in optimizer.param_groups[0]['params']
            if p.grad is not None and id(p) in main
        ]
        if gradients:
            gradient = torch.cat(gradients)
            norms.append(gradient.max() if algorithm == 'value' else gradient.norm())

    hook = register_optimizer_step_post_hook(after_step)
    clipping = {'gradient_clip_val': 1e-3, 'gradient_clip_algorithm': algorithm}
    try:
        run(module, tmp_path, max_epochs=1, precision=precision, **clipping)
    finally:
        hook.remove()
    assert module.automatic_optimization == (weight == 0)
    assert len(norms) == len(module.train_dataloader())
    assert [float(norm) for norm in norms] == [pytest.approx(1e-3, rel=1e-2)] * len(norms)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(self, batch, batch_idx):
        raise AssertionError('training has started')

    monkeypatch.setattr(TrainingModule, 'training_step', refuse)


@pytest.mark.usefixtures('no_training')
def test_cannot_write(tmp_path):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    for path, resume in (('file', True), ('file/deep/run', False)):
        with pytest.raises(OSError, match=f'Cannot write the run to .*{path}: '):
            run(clicks_module(), tmp_path / path, resume=resume)
    assert (tmp_path / 'file').read_text() == ''


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


FOREIGN = 'no checkpoint of a run, or one of another version'


@pytest.mark.parametrize(
    ('name', 'damage', 'message'),
    [
        ('last', 0, 'damaged'),
        ('last', [1, 2], 'damaged'),
        ('last', 'trap', 'damaged'),
        ('last', {'format': 1, 'settings': {}}, FOREIGN),
        ('last', {'format': 3, 'settings': {}}, r'of a run with .* \(model: None'),
        ('best', None, 'damaged'),
        ('best', 999, 'damaged'),
        ('best', {'state_dict': {}, 'epoch': 3}, FOREIGN),
    ],
    ids=str,
)
def test_damaged_checkpoint(tmp_path, request, name, damage, message):
    """Cut off, foreign, missing, or one that would run code when unpickled. It is found
    out before training, as the best epoch may never come again.
    """
    path = tmp_path / f'{name}.ckpt'
    module = clicks_module()
    script(module, 0.3, 0.2)
    run(module, tmp_path, max_epochs=2)
    if damage is None:
        path.unlink()
    elif isinstance(damage, int):
        path.write_bytes(path.read_bytes()[:damage])
    else:
        torch.save(Trap(tmp_path / 'trap') if damage == 'trap' else damage, path)
    request.getfixturevalue('no_training')
    again = clicks_module()
    script(again, 0.1)
    advice = '' if 'model' in message else '.*overwrite=True'
    with pytest.raises(ValueError, match=f'{path} is {message}{advice}'):
        run(again, tmp_path, resume=True, max_epochs=3)
    assert not (tmp_path / 'trap').exists()


def test_checkpoint_of_other_settings(tmp_path):
    """All that differ are named, and no others."""
    run(rows_module(), tmp_path, max_epochs=1)
    other = rows_module(
        seed=4,
        batch_size=32,
        learning_rate=0.02,
        estimator_first=False,
        group_negatives=True,
        schedule=PlateauRate(),
        negatives=UniformNegativeSampler(3, 'seen'),
        objective=BPRObjective(),
        model={'contrastive_weight': 0.5},
    )
    with pytest.raises(ValueError, match=r'last\.ckpt is of a run with other') as error:
        run(other, tmp_path, resume=True, precision='bf16-mixed')
    for difference in (
        r"arguments: .*'contrastive_weight': 0\.1.* there, .*weight': 0\.5",
        'objective: .*BCEObjective.* there, .*BPRObjective.* here',
        r"negatives: .*'num_negatives': 2.*'positive'.* there, .*3.*'seen'",
        'batch_size: 64 there, 32 here',
        'learning_rate: 0.01 there, 0.02 here',
        "schedule: None there, .*'PlateauRate'",
        'estimator_first: True there, False here',
        'seed: 3 there, 4 here',
        'group_negatives: False there, True here',
        "trainer: {} there, {'precision': 'bf16-mixed'}",
    ):
        assert re.search(difference, str(error.value)), difference
    assert not re.search('betas|monitor|metrics', str(error.value))
