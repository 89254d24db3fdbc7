"""Tiny runs of both kinds of module, and whether two of them are the same."""

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten_with_path

from iedr_geo.data import CandidateLists, PopularityMarginSampler
from iedr_geo.datasets import PlantedClicks, PlantedFactors
from iedr_geo.evaluation import Evaluation, Rankings
from iedr_geo.evaluation.rankings import Ranked
from iedr_geo.metrics import Recall
from iedr_geo.nn import DICE, IEDR, MF, LightGCN, MacridVAE
from iedr_geo.training import (
    BipartiteModule,
    InteractionModule,
    TrainingModule,
    TrainingResult,
    fit,
)

PLANTED = PlantedFactors(num_users=20, num_items=12, num_interactions=200)
SPLIT = PLANTED.split()
LISTS = CandidateLists.sample(SPLIT.valid, num_negatives=8)
CLICKS = PlantedClicks(num_users=60, num_items=50, num_clicks=900).split()
SIZE = CLICKS.train.num_users, CLICKS.train.num_items
METRICS = [Recall(5), Recall(20)]
TIMES = ['seconds', 'training_seconds']


def rows_module(cls=InteractionModule, **kwargs) -> InteractionModule:
    """A module of a tiny IEDR, with the same initial weights every time."""
    torch.manual_seed(0)
    arguments = {'num_negatives': 4, **kwargs.pop('model', {})}
    model = IEDR(PLANTED.schema.num_embeddings, 8, 16, **arguments)
    data = kwargs.pop('train', SPLIT.train), *kwargs.pop('valid', (SPLIT.valid, LISTS))
    kwargs = {'batch_size': 64, 'learning_rate': 0.01, 'seed': 3, **kwargs}
    return cls(model, *data, **kwargs)


def clicks_module(kind: str = 'mf', **kwargs) -> BipartiteModule:
    """A module of a tiny model of clicks: MF, LightGCN, DICE or MacridVAE, of which
    some items are drawn.
    """
    torch.manual_seed(0)
    train = CLICKS.train
    model = MF(*SIZE, channels=8)
    if 'lightgcn' in kind:  # Dropout, so that all randomness of an epoch is at stake.
        model = LightGCN(*SIZE, *train.adjacency(), channels=8, dropout=0.2)
    if 'dice' in kind:
        model = DICE(model, train.popularity)
    if kind == 'macrid':
        model = MacridVAE(SIZE[1], 3, 8, num_sampled=20)
        kwargs |= {'negatives': None}
    arguments = {
        'negatives': PopularityMarginSampler(2, margin=5, min_pool=4),
        'batch_size': 64,
        'metrics': METRICS,
        'monitor': 'recall@20',
        'seed': 3,
    }
    return BipartiteModule(
        model, train, *kwargs.pop('valid', [CLICKS.valid]), **arguments | kwargs
    )


def make_module(kind: str, **kwargs) -> TrainingModule:
    if kind == 'rows':
        return rows_module(**kwargs)
    return clicks_module(kind, **kwargs)


def run(module: TrainingModule, folder, **kwargs) -> TrainingResult:
    """Trains quietly, on the CPU unless told otherwise."""
    return fit(module, folder, **{'progress': False, 'accelerator': 'cpu', **kwargs})


class Scripted(Rankings):
    """Metrics that are given, in the place of those of a module; keeps its weights."""

    def __init__(self, module: TrainingModule, values: Sequence[float]) -> None:
        self.module, self.values = module, values
        self.states: list[dict[str, Tensor]] = []

    @property
    def names(self) -> list[str]:
        return [self.module.monitor, 'auc']

    def data_for(self, model):
        return self.module.valid

    def chunks(self, rank: int = 0, world: int = 1) -> list[Tensor]:
        return [torch.zeros(1)]

    def rank(self, scorer, lists) -> Ranked:
        return Ranked(lists, lists)

    def evaluation(self, ranked) -> Evaluation:
        state = self.module.model.state_dict()
        self.states.append({name: tensor.clone() for name, tensor in state.items()})
        value = self.values[len(self.states) - 1]
        return Evaluation({self.module.monitor: value, 'auc': -value}, pd.DataFrame())


def script(module: TrainingModule, *values: float) -> list[dict[str, Tensor]]:
    """Replaces the validation metrics of a module; returns its weights of each epoch."""
    module.rankings = Scripted(module, values)
    return module.rankings.states


def files(folder: Path) -> list[str]:
    """The files of a run, but for those by which it holds its folder."""
    return sorted({path.name for path in folder.iterdir()} - {'.lock', '.owner'})


def load(folder: Path, name: str = 'last') -> dict:
    return dict(torch.load(folder / f'{name}.ckpt', weights_only=True))


def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """A history without what differs between two equal runs."""
    return [{k: v for k, v in epoch.items() if k not in TIMES} for epoch in history]


def assert_same(one, two) -> None:
    """Compares nested values bit for bit."""
    (leaves, spec), (others, other) = map(tree_flatten_with_path, (one, two))
    assert spec == other
    for (path, leaf), (_, wanted) in zip(leaves, others, strict=True):
        assert type(leaf) is type(wanted), path
        equal = torch.equal if torch.is_tensor(leaf) else lambda a, b: a == b
        assert equal(leaf, wanted), path


def assert_same_result(one: TrainingResult, two: TrainingResult) -> None:
    assert_same(one.model.state_dict(), two.model.state_dict())
    assert without_times(one.history) == without_times(two.history)
    assert one.best_epoch == two.best_epoch


def assert_same_run(one: Path, two: Path) -> None:
    """Compares the folders of two runs: weights, optimizers, progress and history."""
    assert files(one) == ['best.ckpt', 'last.ckpt', 'metrics.csv']
    for name in ('last', 'best'):
        checkpoints = [load(folder, name) for folder in (one, two)]
        for checkpoint in checkpoints:
            checkpoint['history'] = without_times(checkpoint['history'])
            assert set(checkpoint) >= {'state_dict', 'optimizer_states', 'loops'}
        assert_same(*checkpoints)
    tables = [
        pd.read_csv(folder / 'metrics.csv').drop(columns=TIMES) for folder in (one, two)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


PLACES = {
    'training_step': (TrainingModule, 'training_step'),
    'save': (torch, 'save'),
    'copyfile': (shutil, 'copyfile'),
    'replace': (os, 'replace'),
}


def die_at(name: str, call: int) -> None:
    """Makes the call a process's last. What it was writing is left half written."""
    owner, attribute = PLACES[name]
    function, calls = getattr(owner, attribute), 0

    def wrapped(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls < call:
            return function(*args, **kwargs)
        if name in ('save', 'copyfile'):
            function(*args, **kwargs)
            path = args[1] if isinstance(args[1], Path) else args[1].name
            os.truncate(path, os.path.getsize(path) // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, wrapped)


def run_or_die(folder: Path, max_epochs: int, kill: tuple[str, int] | None = None):
    """Trains DICE in a process of its own, which may be killed from within."""
    torch.set_num_threads(1)
    if kill:
        die_at(*kill)
    # By this seed the second epoch is better than the first, which the tests need.
    run(clicks_module('dice', seed=3), folder, max_epochs=max_epochs, resume=True)
