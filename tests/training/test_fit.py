"""Early stopping, the best epoch, what a run leaves behind, and refusals."""

from __future__ import annotations

import os
import shutil
import warnings

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback
from torch.optim import Adam
from torch.optim.optimizer import register_optimizer_step_post_hook

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.evaluation import evaluate_candidates
from iedr_geo.nn import MF, BPRObjective
from iedr_geo.training import BipartiteModule, PlateauRate, TrainingModule

KEYS = {
    'epoch',
    *('loss', 'prediction', 'contrastive', 'disentangling', 'estimator'),
    *('ndcg@5', 'ndcg@10', 'recall@5', 'recall@10', 'auc'),
    *('learning_rate', 'seconds', 'training_seconds'),
}


@pytest.mark.parametrize(
    ('values', 'patience', 'max_epochs', 'epochs', 'best'),
    [
        ((0.1, 0.3, 0.2, 0.3, 0.2, 0.9), 3, 9, 5, 1),  # A tie is no improvement.
        ((0.1, 0.3, 0.2, 0.2, 0.4, 0.1, 0.1, 0.1), 3, 9, 8, 4),
        ((0.5, 0.4, 0.9), 1, 9, 2, 0),
        ((0.1, 0.2, 0.3, 0.4), 1, 4, 4, 3),
        ((0.4, 0.3, 0.2), 5, 3, 3, 0),
        ((0.0, 0.0, 0.0), 2, 9, 3, 0),
    ],
)
def test_stops_and_keeps_the_best_epoch(
    make_clicks, run, tmp_path, script, assert_same_state, values, patience, max_epochs,
    epochs, best
):  # fmt: skip
    module = make_clicks('mf', schedule=None)
    states = script(module, *values)
    result = run(module, tmp_path, patience=patience, max_epochs=max_epochs)
    assert [epoch['recall@20'] for epoch in result.history] == list(values[:epochs])
    assert [epoch['epoch'] for epoch in result.history] == list(range(epochs))
    assert result.best_epoch == best
    assert_same_state(dict(result.model.state_dict()), states[best])
    for name, epoch in (('last', epochs - 1), ('best', best)):
        checkpoint = torch.load(tmp_path / f'{name}.ckpt', weights_only=True)
        assert checkpoint['epoch'] == epoch
        state = {f'model.{key}': value for key, value in states[epoch].items()}
        assert_same_state(dict(checkpoint['state_dict']), state)
    assert not torch.equal(*(s['user.weight'] for s in (states[0], states[1])))


def test_monitors_what_it_is_told_to(make_module, run, tmp_path, script):
    module = make_module()
    script(module, 0.1, 0.2, 0.3)
    result = run(module, tmp_path, monitor='auc', max_epochs=3)
    assert result.best_epoch == 0
    with pytest.raises(ValueError, match=r"'ndcg@3', which is none of .*ndcg@10.*, auc"):
        run(make_module(), tmp_path / 'other', monitor='ndcg@3')


def test_result(make_module, run, tmp_path, split, lists):
    """The model is the best epoch's: it has that epoch's metrics, and no dropout."""
    result = run(make_module(learning_rate=0.03), tmp_path / 'a' / 'run', max_epochs=5)
    scores = [epoch['ndcg@10'] for epoch in result.history]
    assert result.best_epoch == scores.index(max(scores))
    assert not any(module.training for module in result.model.modules())
    assert result.device == torch.device('cpu') == result.model.embedding.weight.device
    again = evaluate_candidates(result.model, split.valid, lists).metrics
    best = result.history[result.best_epoch]
    assert {name: best[name] for name in again} == again
    seconds = sorted(epoch['seconds'] for epoch in result.history)
    assert result.seconds_per_epoch == seconds[2] > 0
    for epoch in result.history:
        assert set(epoch) == KEYS
        assert 0 < epoch['training_seconds'] < epoch['seconds']
    names = sorted(path.name for path in (tmp_path / 'a' / 'run').iterdir())
    assert names == ['best.ckpt', 'last.ckpt', 'metrics.csv']
    table = pd.read_csv(tmp_path / 'a' / 'run' / 'metrics.csv')
    pd.testing.assert_frame_equal(table, pd.DataFrame(result.history))


def test_is_saved_after_each_epoch(make_clicks, run, tmp_path, script):
    """Also after an epoch that is no improvement."""
    module, found = make_clicks('mf'), []
    states = script(module, 0.3, 0.2, 0.1)

    class Reader(Callback):
        def on_train_epoch_start(self, trainer, module):
            if states:
                last = torch.load(tmp_path / 'last.ckpt', weights_only=True)
                best = torch.load(tmp_path / 'best.ckpt', weights_only=True)
                rows = len(pd.read_csv(tmp_path / 'metrics.csv'))
                found.append((last['epoch'], best['epoch'], rows))

    run(module, tmp_path, max_epochs=3, callbacks=[Reader()])
    assert found == [(0, 0, 1), (1, 0, 2)]


@pytest.mark.parametrize('max_epochs', [2, 3])
def test_killed_before_the_best_epoch_was_kept(
    make_clicks, run, tmp_path, script, monkeypatch, assert_same_state, max_epochs
):
    """The last epoch was saved and is the best one, `best.ckpt` is still an older one."""
    module = make_clicks('mf')
    states = script(module, 0.1, 0.2)
    copyfile = shutil.copyfile

    def fail(source, target):
        if len(states) == 2:
            raise RuntimeError('killed')
        return copyfile(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'copyfile', fail)
        with pytest.raises(RuntimeError, match='killed'):
            run(module, tmp_path, max_epochs=max_epochs)
    assert torch.load(tmp_path / 'last.ckpt', weights_only=True)['epoch'] == 1
    assert torch.load(tmp_path / 'best.ckpt', weights_only=True)['epoch'] == 0
    module = make_clicks('mf')
    script(module, 0.15)
    result = run(module, tmp_path, max_epochs=max_epochs, resume=True)
    assert len(result.history) == max_epochs
    assert result.best_epoch == 1
    assert_same_state(dict(result.model.state_dict()), states[1])
    assert len(pd.read_csv(tmp_path / 'metrics.csv')) == max_epochs


class Odd(MF):
    """Its arguments are of no type that JSON knows."""

    @property
    def config(self):
        return {'dtype': torch.float64, 'size': torch.Size([3]), 'module': self.user}


@pytest.mark.parametrize('kind', ['rows', 'clicks', 'odd'])
def test_checkpoints_hold_nothing_pickled(
    make_module, make_clicks, run, tmp_path, clicks, kind
):
    negatives = UniformNegativeSampler(2, 'seen', resample=True)
    object.__setattr__(negatives, 'weights', torch.ones(2))  # Of a sampler of one's own.
    if kind == 'odd':
        model = Odd(clicks.train.num_users, clicks.train.num_items, 4)
        schedule = PlateauRate()
        module = BipartiteModule(
            model, clicks.train, negatives=negatives, schedule=schedule
        )
    else:
        make = make_module if kind == 'rows' else make_clicks
        module = make(negatives=negatives)
    run(module, tmp_path, max_epochs=1)

    def leaves(value):
        if isinstance(value, dict):
            value = [*value.keys(), *value.values()]
        if isinstance(value, (list, tuple)):
            for entry in value:
                yield from leaves(entry)
        else:
            yield type(value)

    plain = {torch.Tensor, str, int, float, bool, type(None)}
    for name in ('last', 'best'):
        checkpoint = torch.load(tmp_path / f'{name}.ckpt', weights_only=True)
        assert set(leaves(dict(checkpoint))) <= plain
    run(module, tmp_path, max_epochs=2, resume=True)


def test_trains_a_model_that_was_in_evaluation_mode(make_module, run, tmp_path):
    """As one that was loaded is; every epoch anew, as evaluation comes between."""
    modes = []

    class Reader(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            modes.extend(part.training for part in module.model.modules())

    module = make_module(model={'dropout': 0.5})
    module.eval()
    run(module, tmp_path, max_epochs=2, callbacks=Reader())
    assert modes and all(modes)


def test_new_run_in_an_old_folder(
    make_clicks, run, tmp_path, assert_same_state, without_times
):
    """What is there is neither lost by oversight, nor counts once it may be lost."""
    module = make_clicks('mf', learning_rate=0.1)
    run(module, tmp_path / 'old', max_epochs=4)
    before = (tmp_path / 'old' / 'last.ckpt').read_bytes()
    with pytest.raises(FileExistsError, match='old holds a run: pass resume=True'):
        run(make_clicks('mf'), tmp_path / 'old', max_epochs=2)
    assert (tmp_path / 'old' / 'last.ckpt').read_bytes() == before
    one = run(make_clicks('mf'), tmp_path / 'old', max_epochs=2, overwrite=True)
    two = run(make_clicks('mf'), tmp_path / 'new', max_epochs=2)
    assert_same_state(one.model.state_dict(), two.model.state_dict())
    assert without_times(one.history) == without_times(two.history)
    assert len(pd.read_csv(tmp_path / 'old' / 'metrics.csv')) == 2
    assert torch.load(tmp_path / 'old/last.ckpt', weights_only=True)['epoch'] == 1
    # Nor does what the module has done before.
    again = run(module, tmp_path / 'again', max_epochs=2)
    assert [epoch['epoch'] for epoch in again.history] == [0, 1]


def test_prints_no_warning(make_clicks, run, tmp_path, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        run(make_clicks('mf'), tmp_path, max_epochs=1)
        run(make_clicks('mf'), tmp_path, max_epochs=2, resume=True)
    assert [str(warning.message) for warning in caught] == []
    assert 'Spec' not in capfd.readouterr().err


def plain_mf(clicks, **kwargs):
    torch.manual_seed(0)
    model = MF(clicks.train.num_users, clicks.train.num_items, 4)
    return BipartiteModule(
        model, clicks.train, objective=BPRObjective('batch'), batch_size=100, seed=3,
        weight_decay=0.0, betas=(0.9, 0.999), amsgrad=False, **kwargs
    )  # fmt: skip


def test_clips_and_accumulates(clicks, run, tmp_path):
    """As in a loop that does both by hand."""
    module = plain_mf(clicks)
    result = run(
        module,
        tmp_path,
        max_epochs=1,
        gradient_clip_val=0.02,
        accumulate_grad_batches=2,
    )
    expected = plain_mf(clicks)
    adam = Adam(expected.model.parameters(), lr=0.01)
    batches, norms = list(expected.train_dataloader()), []
    for i, batch in enumerate(batches):
        (expected._losses(batch, None)['loss'] / 2).backward()
        if i % 2 or i == len(batches) - 1:
            norm = torch.nn.utils.clip_grad_norm_(expected.model.parameters(), 0.02)
            norms.append(float(norm))
            adam.step()
            adam.zero_grad()
    assert max(norms) > 0.02
    for one, two in zip(result.model.parameters(), expected.model.parameters(),
                        strict=True):  # fmt: skip
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize('precision', ['32-true', 'bf16-mixed'])
@pytest.mark.parametrize('algorithm', ['norm', 'value'])
@pytest.mark.parametrize('weight', [0.0, 0.1])
def test_clips_every_main_step(make_module, run, tmp_path, weight, algorithm, precision):
    """With an estimator and without one."""
    module = make_module(model={'disentangling_weight': weight})
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
            norms.append(gradient.norm() if algorithm == 'norm' else gradient.max())

    hook = register_optimizer_step_post_hook(after_step)
    clipping = {'gradient_clip_val': 1e-3, 'gradient_clip_algorithm': algorithm}
    try:
        run(module, tmp_path, max_epochs=1, precision=precision, **clipping)
    finally:
        hook.remove()
    assert module.automatic_optimization == (weight == 0)
    assert len(norms) == len(module.train_dataloader())
    for norm in norms:
        assert float(norm) == pytest.approx(1e-3, rel=1e-2)


def test_an_estimator_takes_a_step_each_batch(make_module, run, tmp_path):
    with pytest.raises(ValueError, match=r'IEDR has an estimator.*raise the batch'):
        run(make_module(), tmp_path, accumulate_grad_batches=2)


@pytest.fixture
def no_training(monkeypatch):
    def refuse(self, batch, batch_idx):
        raise AssertionError('training has started')

    monkeypatch.setattr(TrainingModule, 'training_step', refuse)


@pytest.mark.parametrize('place', ['file', 'file/deep/run'])
@pytest.mark.parametrize('resume', [True, False])
@pytest.mark.usefixtures('no_training')
def test_cannot_write(make_clicks, run, tmp_path, place, resume):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=f'Cannot write the run to .*{place}: '):
        run(make_clicks('mf'), tmp_path / place, resume=resume)
    assert (tmp_path / 'file').read_text() == ''


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    'damage',
    [0.0, 0.3, 0.9, {'state_dict': {}, 'epoch': 3}, {'settings': 3}, {'settings': {}},
     [1, 2], 'text', 'trap'],
)  # fmt: skip
def test_damaged_checkpoint(make_clicks, run, tmp_path, request, damage):
    """Cut off, foreign, or one that would run code when unpickled."""
    path = tmp_path / 'last.ckpt'
    if isinstance(damage, float):
        run(make_clicks('mf'), tmp_path, max_epochs=1)
        path.write_bytes(path.read_bytes()[: int(damage * path.stat().st_size)])
    else:
        torch.save(Trap(tmp_path / 'trap') if damage == 'trap' else damage, path)
    before = path.read_bytes()
    request.getfixturevalue('no_training')
    with pytest.raises(ValueError, match=rf'{path} is (damaged|of a run with other)'):
        run(make_clicks('mf'), tmp_path, resume=True)
    assert path.read_bytes() == before
    assert not (tmp_path / 'trap').exists()


@pytest.mark.parametrize('damage', ['truncated', 'missing', 'foreign'])
def test_damaged_best_checkpoint(make_clicks, run, tmp_path, script, request, damage):
    """It is found out before training, as the best epoch may never come again."""
    module = make_clicks('mf')
    script(module, 0.3, 0.2)
    run(module, tmp_path, max_epochs=2)
    path = tmp_path / 'best.ckpt'
    if damage == 'missing':
        path.unlink()
    elif damage == 'truncated':
        path.write_bytes(path.read_bytes()[:999])
    else:
        torch.save({'state_dict': {}}, path)
    request.getfixturevalue('no_training')
    with pytest.raises(ValueError, match=rf'{path} is damaged'):
        again = make_clicks('mf')
        script(again, 0.3, 0.2, 0.1)
        run(again, tmp_path, resume=True, max_epochs=3)


@pytest.fixture(scope='module')
def saved(request, tmp_path_factory):
    """The folder of a run of one epoch."""
    return tmp_path_factory.mktemp('saved')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'seed': 4}, 'seed: 3 there, 4 here'),
        ({'batch_size': 32}, 'batch_size: 64 there, 32 here'),
        ({'learning_rate': 0.02}, 'learning_rate: 0.01 there, 0.02 here'),
        ({'weight_decay': 0.0}, 'weight_decay: 1e-05 there, 0.0 here'),
        ({'estimator_steps': 5}, 'estimator_steps: 1 there, 5 here'),
        ({'estimator_first': False}, 'estimator_first: True there, False here'),
        ({'group_negatives': True}, 'group_negatives: False there, True here'),
        ({'schedule': PlateauRate()}, "schedule: None there, .*'PlateauRate'"),
        ({'negatives': UniformNegativeSampler(3)}, "'num_negatives': 2.* there"),
        ({'negatives': UniformNegativeSampler(2, 'seen')}, "'positive'.* there"),
        ({'objective': BPRObjective()}, r'objective: .*BCEObjective.* there'),
        ({'model': {'contrastive_weight': 0.5}}, "'contrastive_weight': 0.1.* there"),
        ({'rows': 100}, 'rows: 160 there, 100 here'),
        ({'precision': 'bf16-mixed'}, "trainer: {} there, {'precision': 'bf16-mixed'}"),
        ({'seed': 4, 'batch_size': 32}, 'batch_size: .*; seed: |seed: .*; batch_size: '),
    ],
    ids=str,
)
def test_checkpoint_of_other_settings(
    make_module, run, saved, split, request, change, message
):
    if not (saved / 'last.ckpt').exists():
        run(make_module(), saved, max_epochs=1)
    change, trainer = dict(change), {}
    if 'rows' in change:
        change = {'train': split.train[: change['rows']]}
    if 'precision' in change:
        trainer['precision'] = change.pop('precision')
    request.getfixturevalue('no_training')
    with pytest.raises(ValueError, match=rf'last\.ckpt is of a run.*\(.*({message})'):
        run(make_module(**change), saved, resume=True, **trainer)
