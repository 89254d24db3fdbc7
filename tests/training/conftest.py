from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from iedr_geo.data import CandidateLists, PopularityMarginSampler, Split
from iedr_geo.datasets import PlantedClicks, PlantedFactors
from iedr_geo.evaluation import Evaluation, Rankings
from iedr_geo.evaluation.rankings import Ranked
from iedr_geo.metrics import Recall
from iedr_geo.nn import DICE, IEDR, MF, LightGCN
from iedr_geo.training import (
    BipartiteModule,
    InteractionModule,
    TrainingModule,
    TrainingResult,
    fit,
)

TIMES = ['seconds', 'training_seconds']


@pytest.fixture(scope='session')
def planted() -> PlantedFactors:
    return PlantedFactors(num_users=20, num_items=12, num_interactions=200)


@pytest.fixture(scope='session')
def split(planted: PlantedFactors) -> Split:
    return planted.split()


@pytest.fixture(scope='session')
def lists(split: Split) -> CandidateLists:
    return CandidateLists.sample(split.valid, num_negatives=8)


@pytest.fixture(scope='session')
def clicks() -> Split:
    return PlantedClicks(num_users=60, num_items=50, num_clicks=900).split()


@pytest.fixture
def make_module(
    planted: PlantedFactors, split: Split, lists: CandidateLists
) -> Callable[..., InteractionModule]:
    """Makes a module of a tiny IEDR, with the same initial weights every time."""

    def make_module(**kwargs) -> InteractionModule:
        torch.manual_seed(0)
        arguments = {'num_negatives': 4, **kwargs.pop('model', {})}
        model = IEDR(planted.schema.num_embeddings, 8, 16, **arguments)
        train = kwargs.pop('train', split.train)
        kwargs = {'batch_size': 64, 'learning_rate': 0.01, 'seed': 3, **kwargs}
        valid = kwargs.pop('valid', (split.valid, lists))
        return InteractionModule(model, train, *valid, **kwargs)

    return make_module


@pytest.fixture
def make_clicks(clicks: Split) -> Callable[..., BipartiteModule]:
    """Makes a module of a tiny model of clicks: MF, LightGCN or DICE."""

    def make_clicks(kind: str = 'dice', **kwargs) -> BipartiteModule:
        torch.manual_seed(0)
        train = clicks.train
        size = train.num_users, train.num_items
        model = MF(*size, channels=8)
        if 'lightgcn' in kind:  # Dropout, so that all randomness of an epoch is at stake.
            model = LightGCN(*size, *train.adjacency(), channels=8, dropout=0.2)
        if 'dice' in kind:
            model = DICE(model, train.popularity)
        arguments = {
            'negatives': PopularityMarginSampler(2, margin=5, min_pool=4),
            'batch_size': 64,
            'metrics': [Recall(5), Recall(20)],
            'monitor': 'recall@20',
            'seed': 3,
        }
        valid = kwargs.pop('valid', clicks.valid)
        return BipartiteModule(model, train, valid, **arguments | kwargs)

    return make_clicks


@pytest.fixture
def run() -> Callable[..., TrainingResult]:
    """Trains quietly, on the CPU unless told otherwise."""

    def run(module: TrainingModule, folder, **kwargs) -> TrainingResult:
        return fit(module, folder, **{'progress': False, 'accelerator': 'cpu', **kwargs})

    return run


class Scripted(Rankings):
    """Metrics that are given, in the place of those of a module; keeps its weights."""

    def __init__(self, module: TrainingModule, values: Sequence[float]) -> None:
        self.module, self.values = module, values
        self.states: list[dict[str, Tensor]] = []

    @property
    def names(self) -> list[str]:
        return [self.module.monitor, 'auc']

    def chunks(self, rank: int = 0, world: int = 1) -> list[Tensor]:
        return [torch.zeros(1)]

    def rank(self, scorer, lists) -> Ranked:
        return Ranked(lists, lists)

    def evaluation(self, ranked) -> Evaluation:
        state = self.module.model.state_dict()
        self.states.append({name: tensor.clone() for name, tensor in state.items()})
        value = self.values[len(self.states) - 1]
        metrics = {self.module.monitor: value, 'auc': -value}
        return Evaluation(metrics, pd.DataFrame())


@pytest.fixture
def script() -> Callable[..., list[dict[str, Tensor]]]:
    """Replaces the validation metrics of a module; returns its weights of each epoch."""

    def script(module: TrainingModule, *values: float) -> list[dict[str, Tensor]]:
        module.rankings = Scripted(module, values)
        return module.rankings.states

    return script


@pytest.fixture
def without_times() -> Callable[[list[dict[str, float]]], list[dict[str, float]]]:
    """A history without what differs between two equal runs."""

    def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
        return [{k: v for k, v in epoch.items() if k not in TIMES} for epoch in history]

    return without_times


def _compare(one, two, place: str = '') -> None:
    assert type(one) is type(two), place
    if isinstance(one, dict):
        assert list(one) == list(two), place
        for key in one:
            _compare(one[key], two[key], f'{place}/{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(two), place
        for i, pair in enumerate(zip(one, two, strict=True)):
            _compare(*pair, f'{place}/{i}')
    elif torch.is_tensor(one):
        assert torch.equal(one, two), place
    else:
        assert one == two, place


@pytest.fixture
def assert_same_state() -> Callable[[dict, dict], None]:
    """Compares nested values bit for bit."""
    return _compare


@pytest.fixture
def assert_same_run(without_times) -> Callable[[Path, Path], None]:
    """Compares the folders of two runs: weights, optimizers, progress and history."""

    def assert_same_run(one: Path, two: Path) -> None:
        names = sorted(path.name for path in one.iterdir())
        assert names == ['best.ckpt', 'last.ckpt', 'metrics.csv']
        for name in ('last', 'best'):
            checkpoints = [
                torch.load(folder / f'{name}.ckpt', weights_only=True)
                for folder in (one, two)
            ]
            for checkpoint in checkpoints:
                checkpoint['history'] = without_times(checkpoint['history'])
                assert set(checkpoint) >= {'state_dict', 'optimizer_states', 'loops'}
            _compare(*(dict(checkpoint) for checkpoint in checkpoints))
        tables = [
            pd.read_csv(folder / 'metrics.csv').drop(columns=TIMES)
            for folder in (one, two)
        ]
        pd.testing.assert_frame_equal(*tables, check_exact=True)

    return assert_same_run
