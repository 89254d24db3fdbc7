"""Training to the best epoch, with checkpoints to resume from."""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from filelock import FileLock, Timeout
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from iedr_geo.data.arguments import check_count, check_type
from iedr_geo.data.files import load_tensors, replacing, save_tensors
from iedr_geo.data.fingerprint import check_kept
from iedr_geo.training.training_module import FORMAT, TrainingModule

LAST, BEST, METRICS = 'last.ckpt', 'best.ckpt', 'metrics.csv'
NUMERICAL = (  # Arguments of the trainer that a run's numbers depend on.
    'accumulate_grad_batches',
    'check_val_every_n_epoch',
    'gradient_clip_algorithm',
    'gradient_clip_val',
    'limit_train_batches',
    'limit_val_batches',
    'precision',
    'val_check_interval',
)


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training run.

    Args:
        model: The model of the best epoch, in evaluation mode.
        history: The losses and validation metrics of each epoch.
        best_epoch: The epoch with the best validation metric, counted from 0.
        seconds_per_epoch: The median time of an epoch, validation included.
        device: The device on which the model was trained, and still is.
    """

    model: Any
    history: list[dict[str, float]]
    best_epoch: int
    seconds_per_epoch: float
    device: torch.device


class _WholeFiles(TorchCheckpointIO):
    """Checkpoints that are staged in their own folder, and read only if whole.

    Lightning stages them in the system's temporary folder.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        save_tensors(checkpoint, path)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return dict(load_tensors(path))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Holds a folder for one run, until that ends or its process dies."""
    owner = folder / '.owner'
    try:
        with FileLock(folder / '.lock', timeout=0):
            owner.write_text(f'process {os.getpid()} on {socket.gethostname()}')
            yield
    except Timeout:
        raise RuntimeError(
            f'{folder} is in use by another run, {owner.read_text()}: wait for its end, '
            f'or pass another folder'
        ) from None


class _RunFolder(Checkpoint):
    """Saves each epoch, keeps the best one, and stops when none improves any more.

    The history alone decides, so a resumed run decides as if it had never stopped.
    Lightning's own callbacks decide by a state of theirs: they forget the best epoch of a
    folder that has moved, and train a run that had stopped for another epoch.
    """

    def __init__(self, folder: Path, module: TrainingModule, patience: int) -> None:
        self.folder, self.module, self.patience = folder, module, patience

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        history = self.module.history
        if not history:
            return
        self._update(trainer)
        # A run that Lightning's early stopping had ended is not to train another epoch.
        trainer.should_stop |= any(
            callback.stopped_epoch > 0 or callback.stopping_reason.value != 0
            for callback in trainer.early_stopping_callbacks
            if isinstance(callback, EarlyStopping)
        )
        if self.module.best_epoch < len(history) - 1:
            _check_checkpoint(self.folder / BEST, self.module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.save_checkpoint(self.folder / LAST, weights_only=False)
        self._update(trainer)

    def _update(self, trainer: Trainer) -> None:
        history = self.module.history
        if trainer.is_global_zero:
            if self.module.best_epoch == len(history) - 1:
                with replacing(self.folder / BEST) as partial:
                    shutil.copyfile(self.folder / LAST, partial)
            pd.DataFrame(history).to_csv(self.folder / METRICS, index=False)
        # The last digits can differ between processes: the first one decides for all.
        since = int(trainer.strategy.broadcast(self.module.epochs_without_gain))
        trainer.should_stop |= since >= self.patience


def fit(
    module: TrainingModule,
    folder: str | os.PathLike[str],
    *,
    max_epochs: int = 200,
    patience: int = 10,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    **kwargs: Any,
) -> TrainingResult:
    """Trains until the validation metric stops improving.

    After each epoch the run is saved to :obj:`folder/last.ckpt`, the best one to
    :obj:`folder/best.ckpt`, each written under a temporary name and renamed. A run that
    was killed resumes at its last complete epoch, and equals one that was not.

    Args:
        module: The model and its data.
        folder: Where checkpoints and logs (:obj:`metrics.csv`) go. Processes on several
            machines must share it.
        max_epochs: The largest number of epochs.
        patience: The number of epochs without improvement after which to stop.
        resume: If :obj:`True`, the run in the folder goes on, if there is one.
        overwrite: If :obj:`True`, a run in the folder is deleted, unless it is resumed.
        progress: If :obj:`True`, a progress bar is shown.
        **kwargs: Further arguments of :class:`lightning.pytorch.Trainer`, *e.g.*,
            :obj:`accelerator`, :obj:`devices`, :obj:`precision`, :obj:`callbacks`,
            :obj:`gradient_clip_val` or :obj:`logger`, a :class:`TensorBoardLogger` for
            instance. Several devices train by data-parallel processes unless
            :obj:`strategy` says otherwise. With :obj:`fast_dev_run`, the folder is left
            as it is.

    Raises:
        FileExistsError: If the folder holds a run, which is neither to be resumed nor to
            be overwritten.
        ValueError: If the checkpoint to resume from is damaged, of another version of
            this library or of a run with other settings (names the file and the
            settings), or if gradients of a model with an estimator are to be accumulated.
        OSError: If the folder cannot be written to, *e.g.*, as the disk is full.
        RuntimeError: If another run is using the folder.
        SystemExit: If the process was told to end (SIGTERM). What the complete epochs
            have come to is saved.
    """
    check_type(module, 'module', TrainingModule)
    check_type(folder, 'folder', str, os.PathLike)
    folder = Path(folder)
    trial = bool(kwargs.get('fast_dev_run'))
    _check_arguments(max_epochs, kwargs.get('precision'))
    if not trial:
        _check_writable(folder)
    # The other processes of a run go by the first one.
    first = not trial and getattr(rank_zero_only, 'rank', 0) == 0
    with _held(folder) if first else nullcontext():
        trainer = _make_trainer(
            module,
            None if trial else _RunFolder(folder, module, patience),
            default_root_dir=folder,
            max_epochs=max_epochs,
            enable_progress_bar=progress,
            **kwargs,
        )
        # Only now, so that arguments that are refused delete no run.
        ckpt_path = None if trial else _begin(folder, resume, overwrite, first)
        if ckpt_path is not None:
            _check_checkpoint(ckpt_path, module)
        module.history = []
        module.train()
        with _ends_as_it_should(folder, module):
            trainer.fit(module, ckpt_path=ckpt_path, weights_only=True)
        device = trainer.strategy.root_device
        module.to(device)  # Lightning leaves it on the CPU.
        if not trial:
            best = load_tensors(folder / BEST)
            if first and best['history'] != module.history[: module.best_epoch + 1]:
                raise RuntimeError(f'{folder / BEST} is not of this run')
            module.load_state_dict(best['state_dict'])
    return TrainingResult(
        model=module.model.eval(),
        history=module.history,
        best_epoch=module.best_epoch,
        seconds_per_epoch=statistics.median(e['seconds'] for e in module.history),
        device=device,
    )


def _check_arguments(max_epochs: int, precision: Any) -> None:
    check_count(max_epochs, 'max_epochs')
    if precision in ('bf16-true', '16-true'):
        mixed = precision.replace('true', 'mixed')
        raise ValueError(
            f"Weights of 16 bits are too coarse to train: in the place of '{precision}', "
            f"pass precision='{mixed}', which keeps them in 32 bits"
        )


def _begin(folder: Path, resume: bool, overwrite: bool, first: bool) -> Path | None:
    """Returns the checkpoint that a run goes on from; deletes that of another run."""
    last = folder / LAST
    for stray in folder.glob('.*.partial') if first else ():  # Of one that was killed.
        stray.unlink()
    if last.exists() and resume:
        return last
    if last.exists() and not overwrite:
        raise FileExistsError(
            f'{folder} holds a run: pass resume=True to go on with it, or overwrite=True'
        )
    # Or else the old run would go on if this one was killed in its first epoch.
    for name in (LAST, BEST, METRICS) if first else ():
        (folder / name).unlink(missing_ok=True)
    return None


def _make_trainer(
    module: TrainingModule, run_folder: _RunFolder | None, **kwargs: Any
) -> Trainer:
    """Returns the trainer of a run, and lets the module know what it is told."""
    given = {name: kwargs[name] for name in NUMERICAL if kwargs.get(name) is not None}
    module.trainer_arguments = given
    if not module.automatic_optimization:
        if given.get('accumulate_grad_batches', 1) != 1:
            raise ValueError(
                f'{type(module.model).__name__} has an estimator, which takes a step '
                f'each batch: instead of `accumulate_grad_batches`, raise the batch size'
            )
        # Lightning does not clip for a module that steps by hand.
        module.clip_val = kwargs.pop('gradient_clip_val', None)
    if kwargs.get('accelerator', 'auto') == 'auto':  # Not MPS, which has no float64.
        kwargs['accelerator'] = 'gpu' if torch.cuda.is_available() else 'cpu'
    devices = kwargs.setdefault('devices', 1)
    one = devices in (1, '1') or (isinstance(devices, list) and len(devices) == 1)
    if not one or kwargs.get('num_nodes', 1) > 1:
        # A model need not use all of its parameters in every batch.
        kwargs.setdefault('strategy', 'ddp_find_unused_parameters_true')
    if module.rankings is None:
        kwargs['limit_val_batches'] = 0
    callbacks, plugins = (
        [*given] if isinstance(given, list | tuple) else [given] if given else []
        for given in (kwargs.pop('callbacks', None), kwargs.pop('plugins', None))
    )
    if run_folder is not None:  # Last, so that a checkpoint has what the others saw.
        callbacks.append(run_folder)
    defaults = {'logger': False, 'enable_model_summary': False, 'num_sanity_val_steps': 0}
    return Trainer(
        callbacks=callbacks, plugins=[*plugins, _WholeFiles()], **defaults | kwargs
    )


@contextmanager
def _ends_as_it_should(folder: Path, module: TrainingModule) -> Iterator[None]:
    """Lets a run end as other programs do, where Lightning has its own ways."""
    try:
        with warnings.catch_warnings():
            # Lightning's use of torch.
            warnings.filterwarnings('ignore', '.*LeafSpec.*is deprecated.*')
            # All processes log the same metrics, and each the losses of its own batches.
            warnings.filterwarnings('ignore', '.*sync_dist=True.*')
            yield
    except SIGTERMException:
        raise SystemExit(
            f'Told to end (SIGTERM) after {len(module.history)} complete epochs: '
            f'fit(..., resume=True) goes on with the run in {folder}'
        ) from None
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f'Cannot write the run to {folder}: {error}') from error


def _check_checkpoint(path: Path, module: TrainingModule) -> None:
    anew = 'pass overwrite=True to train anew, or another folder'
    try:
        checkpoint = dict(load_tensors(path))
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is damaged: {anew} ({error})') from error
    if checkpoint.get('format') != FORMAT:
        raise ValueError(
            f'{path} is no checkpoint of a run, or one of another version of this '
            f'library: {anew}'
        )
    different = [
        f'{name}: {checkpoint["settings"].get(name)!r} there, {value!r} here'
        for name, value in module.settings.items()
        if checkpoint['settings'].get(name) != value
    ]
    if different:
        raise ValueError(
            f'{path} is of a run with other settings ({"; ".join(different)})'
        )
    check_kept(
        checkpoint['fingerprints'],
        module.fingerprints,
        f'{path} is of a run on other data',
        f': {anew}',
    )
