"""Early stopping, the best epoch, what a run leaves behind, and refusals."""

from __future__ import annotations

import os
import shutil
import warnings

import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback

from iedr_geo.data import UniformNegativeSampler
from iedr_geo.evaluation import Evaluation, evaluate_candidates
from iedr_geo.training import iedr_module

KEYS = {
    'epoch',
    *('loss', 'prediction', 'contrastive', 'disentangling', 'estimator'),
    *('ndcg@5', 'ndcg@10', 'recall@5', 'recall@10', 'auc'),
    *('seconds', 'training_seconds'),
}


@pytest.fixture
def script(monkeypatch):
    """Replaces the validation metrics of a run, and keeps its weights of each epoch."""

    def script(*values: float) -> list[dict[str, torch.Tensor]]:
        states: list[dict[str, torch.Tensor]] = []

        def scripted(model, rows, lists, metrics):
            value = values[len(states)]
            states.append({k: v.clone() for k, v in model.state_dict().items()})
            return Evaluation({'ndcg@10': value, 'auc': -value}, pd.DataFrame())

        monkeypatch.setattr(iedr_module, 'evaluate_candidates', scripted)
        return states

    return script


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
    make_module, run, tmp_path, script, assert_same_state, values, patience, max_epochs,
    epochs, best
):  # fmt: skip
    states = script(*values)
    result = run(make_module(), tmp_path, patience=patience, max_epochs=max_epochs)
    assert [epoch['ndcg@10'] for epoch in result.history] == list(values[:epochs])
    assert [epoch['epoch'] for epoch in result.history] == list(range(epochs))
    assert result.best_epoch == best
    assert_same_state(result.model.state_dict(), states[best])
    for name, epoch in (('last', epochs - 1), ('best', best)):
        checkpoint = torch.load(tmp_path / f'{name}.ckpt', weights_only=True)
        assert checkpoint['epoch'] == epoch
        state = {f'model.{key}': value for key, value in states[epoch].items()}
        assert_same_state(checkpoint['state_dict'], state)
    assert not torch.equal(*(s['embedding.weight'] for s in (states[0], states[1])))


def test_monitors_what_it_is_told_to(make_module, run, tmp_path, script):
    script(0.1, 0.2, 0.3)
    result = run(make_module(), tmp_path, monitor='auc', max_epochs=3)
    assert result.best_epoch == 0
    with pytest.raises(ValueError, match=r"'ndcg@3', which is none of .*ndcg@10.*, auc"):
        script(0.1)
        run(make_module(), tmp_path / 'other', monitor='ndcg@3')


def test_result(make_module, run, tmp_path, split, lists):
    """The model is the best epoch's: it has that epoch's metrics, and no dropout."""
    result = run(make_module(learning_rate=0.03), tmp_path, max_epochs=5)
    scores = [epoch['ndcg@10'] for epoch in result.history]
    assert result.best_epoch == scores.index(max(scores))
    assert not any(module.training for module in result.model.modules())
    again = evaluate_candidates(result.model, split.valid, lists).metrics
    best = result.history[result.best_epoch]
    assert {name: best[name] for name in again} == again
    seconds = sorted(epoch['seconds'] for epoch in result.history)
    assert result.seconds_per_epoch == seconds[2] > 0
    for epoch in result.history:
        assert 0 < epoch['training_seconds'] < epoch['seconds']


def test_history_holds_validation_alone(make_module, run, tmp_path, split, monkeypatch):
    """One evaluation an epoch, of the validation lists."""
    module, calls = make_module(), []

    def counting(model, rows, lists, metrics):
        calls.append((rows, lists))
        return evaluate_candidates(model, rows, lists, metrics)

    monkeypatch.setattr(iedr_module, 'evaluate_candidates', counting)
    result = run(module, tmp_path, max_epochs=3)
    assert calls == [(module.valid_rows, module.valid_lists)] * 3
    assert all(set(epoch) == KEYS for epoch in result.history)


def test_leaves_metrics_and_two_checkpoints(make_module, run, tmp_path):
    result = run(make_module(), tmp_path / 'a' / 'run', max_epochs=3)
    names = sorted(path.name for path in (tmp_path / 'a' / 'run').iterdir())
    assert names == ['best.ckpt', 'last.ckpt', 'metrics.csv']
    table = pd.read_csv(tmp_path / 'a' / 'run' / 'metrics.csv')
    pd.testing.assert_frame_equal(table, pd.DataFrame(result.history))


def test_is_saved_after_each_epoch(make_module, run, tmp_path, script):
    """Also after an epoch that is no improvement."""
    states = script(0.3, 0.2, 0.1)
    found = []

    class Reader(Callback):
        def on_train_epoch_start(self, trainer, module):
            if states:
                last = torch.load(tmp_path / 'last.ckpt', weights_only=True)
                best = torch.load(tmp_path / 'best.ckpt', weights_only=True)
                rows = len(pd.read_csv(tmp_path / 'metrics.csv'))
                found.append((last['epoch'], best['epoch'], rows))

    run(make_module(), tmp_path, max_epochs=3, callbacks=[Reader()])
    assert found == [(0, 0, 1), (1, 0, 2)]


@pytest.mark.parametrize('max_epochs', [2, 3])
def test_killed_before_the_best_epoch_was_kept(
    make_module, run, tmp_path, script, monkeypatch, assert_same_state, max_epochs
):
    """The last epoch was saved and is the best one, `best.ckpt` is still an older one."""
    states = script(0.1, 0.2, 0.15)
    copyfile = shutil.copyfile

    def fail(source, target):
        if len(states) == 2:
            raise RuntimeError('killed')
        return copyfile(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, 'copyfile', fail)
        with pytest.raises(RuntimeError, match='killed'):
            run(make_module(), tmp_path, max_epochs=max_epochs)
    assert torch.load(tmp_path / 'last.ckpt', weights_only=True)['epoch'] == 1
    assert torch.load(tmp_path / 'best.ckpt', weights_only=True)['epoch'] == 0
    result = run(make_module(), tmp_path, max_epochs=max_epochs, resume=True)
    assert len(states) == len(result.history) == max_epochs
    assert result.best_epoch == 1
    assert_same_state(result.model.state_dict(), states[1])
    assert len(pd.read_csv(tmp_path / 'metrics.csv')) == max_epochs


def test_checkpoints_hold_nothing_pickled(make_module, run, tmp_path):
    module = make_module(negatives=UniformNegativeSampler(2, 'seen', resample=True))
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


def test_trains_a_model_that_was_in_evaluation_mode(make_module, run, tmp_path):
    """As one that was loaded is; every epoch anew, as evaluation comes between."""
    modes = []

    class Reader(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            modes.extend(part.training for part in module.model.modules())

    module = make_module(model={'dropout': 0.5})
    module.eval()
    run(module, tmp_path, max_epochs=2, callbacks=[Reader()])
    assert modes and all(modes)


def test_second_run_of_a_module_has_a_history_of_its_own(make_module, run, tmp_path):
    module = make_module()
    run(module, tmp_path / 'one', max_epochs=2)
    result = run(module, tmp_path / 'two', max_epochs=3)
    assert [epoch['epoch'] for epoch in result.history] == [0, 1, 2]


def test_new_run_in_an_old_folder(
    make_module, run, tmp_path, assert_same_state, without_times
):
    """What is there is neither lost by oversight, nor counts once it may be lost."""
    run(make_module(learning_rate=0.1), tmp_path / 'old', max_epochs=4)
    before = (tmp_path / 'old' / 'last.ckpt').read_bytes()
    with pytest.raises(FileExistsError, match='old holds a run: pass resume=True'):
        run(make_module(), tmp_path / 'old', max_epochs=2)
    assert (tmp_path / 'old' / 'last.ckpt').read_bytes() == before
    one = run(make_module(), tmp_path / 'old', max_epochs=2, overwrite=True)
    two = run(make_module(), tmp_path / 'new', max_epochs=2)
    assert_same_state(one.model.state_dict(), two.model.state_dict())
    assert without_times(one.history) == without_times(two.history)
    assert len(pd.read_csv(tmp_path / 'old' / 'metrics.csv')) == 2
    assert torch.load(tmp_path / 'old/last.ckpt', weights_only=True)['epoch'] == 1


def test_prints_no_warning(make_module, run, tmp_path, capfd):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        run(make_module(), tmp_path, max_epochs=1)
        run(make_module(), tmp_path, max_epochs=2, resume=True)
    assert [str(warning.message) for warning in caught] == []
    assert 'Spec' not in capfd.readouterr().err


@pytest.fixture
def no_training(monkeypatch):
    def refuse(self, batch, batch_idx):
        raise AssertionError('training has started')

    monkeypatch.setattr(iedr_module.IEDRModule, 'training_step', refuse)


@pytest.mark.parametrize('place', ['file', 'file/run', 'file/deep/run'])
@pytest.mark.parametrize('resume', [True, False])
@pytest.mark.usefixtures('no_training')
def test_cannot_write(make_module, run, tmp_path, place, resume):
    """Below a regular file: permissions do not stop those who run tests as root."""
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=f'Cannot write the run to .*{place}: '):
        run(make_module(), tmp_path / place, resume=resume)
    assert (tmp_path / 'file').read_text() == ''


@pytest.mark.parametrize('share', [0.0, 0.3, 0.9])
def test_damaged_checkpoint(make_module, run, tmp_path, request, share):
    run(make_module(), tmp_path, max_epochs=1)
    path = tmp_path / 'last.ckpt'
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    before = path.read_bytes()
    request.getfixturevalue('no_training')
    with pytest.raises(ValueError, match=rf'{path} is damaged'):
        run(make_module(), tmp_path, resume=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize('damage', ['truncated', 'missing', 'foreign'])
def test_damaged_best_checkpoint(make_module, run, tmp_path, script, request, damage):
    """It is found out before training, as the best epoch may never come again."""
    script(0.3, 0.2)
    run(make_module(), tmp_path, max_epochs=2)
    path = tmp_path / 'best.ckpt'
    if damage == 'missing':
        path.unlink()
    elif damage == 'truncated':
        path.write_bytes(path.read_bytes()[:999])
    else:
        torch.save({'state_dict': {}}, path)
    request.getfixturevalue('no_training')
    with pytest.raises(ValueError, match=rf'{path} is damaged'):
        run(make_module(), tmp_path, resume=True, max_epochs=3)


@pytest.mark.parametrize(
    'content',
    [{'state_dict': {}, 'epoch': 3}, {'settings': 3}, {'settings': {}}, [1, 2], 'text'],
)
@pytest.mark.usefixtures('no_training')
def test_foreign_checkpoint(make_module, run, tmp_path, content):
    torch.save(content, tmp_path / 'last.ckpt')
    with pytest.raises(ValueError, match=r'last\.ckpt is (damaged|of a run with other)'):
        run(make_module(), tmp_path, resume=True)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.usefixtures('no_training')
def test_pickled_checkpoint_is_not_read(make_module, run, tmp_path):
    """A file that would run code when unpickled does not."""
    torch.save(Trap(tmp_path / 'trap'), tmp_path / 'last.ckpt')
    with pytest.raises(ValueError, match=r'last\.ckpt is damaged'):
        run(make_module(), tmp_path, resume=True)
    assert not (tmp_path / 'trap').exists()


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
        ({'negatives': UniformNegativeSampler(3)}, "'num_negatives': 2.* there"),
        ({'negatives': UniformNegativeSampler(2, 'seen')}, "'positive'.* there"),
        ({'model': {'contrastive_weight': 0.5}}, "'contrastive_weight': 0.1.* there"),
        ({'rows': 100}, 'rows: 160 there, 100 here'),
        ({'seed': 4, 'batch_size': 32}, 'batch_size: .*; seed: '),
    ],
)
def test_checkpoint_of_other_settings(
    make_module, run, tmp_path, split, request, change, message
):
    run(make_module(), tmp_path, max_epochs=1)
    if 'rows' in change:
        change = {'train': split.train[: change['rows']]}
    request.getfixturevalue('no_training')
    with pytest.raises(ValueError, match=rf'last\.ckpt is of a run.*\(.*{message}'):
        run(make_module(**change), tmp_path, resume=True)
