"""Training to the best epoch, with checkpoints to resume from."""

from __future__ import annotations

import os
import statistics
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from iedr_geo.nn import IEDR
from iedr_geo.training.iedr_module import IEDRModule


@dataclass(frozen=True)
class TrainingResult:
    """What a training run leaves behind.

    Args:
        model: The model of the best epoch, in evaluation mode.
        history: The losses and validation metrics of each epoch.
        best_epoch: The epoch with the best validation metric, counted from 0.
        seconds_per_epoch: The median time of an epoch, validation included.
    """

    model: IEDR
    history: list[dict[str, float]]
    best_epoch: int
    seconds_per_epoch: float


def fit(
    module: IEDRModule,
    folder: str | os.PathLike[str],
    *,
    max_epochs: int = 200,
    patience: int = 10,
    monitor: str = 'ndcg@10',
    resume: bool = False,
    progress: bool = True,
    **kwargs: Any,
) -> TrainingResult:
    """Trains until the validation metric stops improving.

    After each epoch the run is saved to :obj:`folder/last.ckpt`, the best one to
    :obj:`folder/best.ckpt`, each written under a temporary name and renamed. A run that
    was killed resumes at its last complete epoch, and equals one that was not.

    Args:
        module: What to train, and on what.
        folder: Where checkpoints and logs (:obj:`metrics.csv`) go.
        max_epochs: The largest number of epochs.
        patience: The number of epochs without improvement after which to stop.
        monitor: The validation metric that decides.
        resume: Whether to go on from :obj:`folder/last.ckpt` if there is one.
        progress: Whether to show a progress bar.
        **kwargs: Further arguments of :class:`lightning.pytorch.Trainer`, *e.g.*,
            :obj:`accelerator`, :obj:`devices`, :obj:`strategy`, :obj:`precision` or
            :obj:`logger`. More than one process needs
            ``strategy='ddp_find_unused_parameters_true'``.

    Raises:
        ValueError: If the checkpoint to resume from is damaged, or of a run with other
            settings. Names the file and the settings.
        OSError: If the folder cannot be written to.
    """
    folder = Path(folder)
    _check_writable(folder)
    last = folder / 'last.ckpt'
    ckpt_path = last if resume and last.exists() else None
    if ckpt_path is not None:
        _check_checkpoint(ckpt_path, module)
    best = ModelCheckpoint(
        folder,
        filename='best',
        monitor=monitor,
        mode='max',
        save_last=True,
        save_on_train_epoch_end=True,
        enable_version_counter=False,
    )
    stopping = EarlyStopping(
        monitor, mode='max', patience=patience, check_on_train_epoch_end=True
    )
    kwargs.setdefault('accelerator', 'auto')
    kwargs.setdefault('devices', 1)
    kwargs.setdefault('logger', CSVLogger(folder, name='', version=''))
    trainer = Trainer(
        default_root_dir=folder,
        max_epochs=max_epochs,
        callbacks=[stopping, best, *kwargs.pop('callbacks', [])],
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        **kwargs,
    )
    with warnings.catch_warnings():
        # Batches are built faster than a worker could hand them over.
        warnings.filterwarnings('ignore', '.*does not have many workers.*')
        warnings.filterwarnings('ignore', '.*exists and is not empty.*')
        trainer.fit(module, ckpt_path=ckpt_path, weights_only=True)
    state = torch.load(best.best_model_path, map_location='cpu', weights_only=True)
    prefix = 'model.'
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in state['state_dict'].items()
        if name.startswith(prefix)
    }
    module.model.load_state_dict(weights)
    return TrainingResult(
        model=module.model.eval(),
        history=module.history,
        best_epoch=int(state['epoch']),
        seconds_per_epoch=statistics.median(e['seconds'] for e in module.history),
    )


def _check_writable(folder: Path) -> None:
    probe = folder / '.writable'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f'Cannot write the run to {folder}: {error}') from error


def _check_checkpoint(path: Path, module: IEDRModule) -> None:
    try:
        checkpoint = torch.load(path, map_location='cpu', weights_only=True)
        settings = checkpoint['settings']
    except Exception as error:
        raise ValueError(
            f'{path} is damaged or no checkpoint of an IEDR run: {error}'
        ) from error
    different = [
        f'{name}: {settings.get(name)!r} there, {value!r} here'
        for name, value in module.settings.items()
        if settings.get(name) != value
    ]
    if different:
        raise ValueError(
            f'{path} is of a run with other settings ({"; ".join(different)})'
        )
