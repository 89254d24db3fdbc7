from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from iedr_geo.data import CandidateLists, Split
from iedr_geo.datasets import PlantedFactors
from iedr_geo.nn import IEDR
from iedr_geo.training import IEDRModule, TrainingResult, fit

MakeModule = Callable[..., IEDRModule]


@pytest.fixture(scope='session')
def planted() -> PlantedFactors:
    return PlantedFactors(num_users=20, num_items=12, num_interactions=200)


@pytest.fixture(scope='session')
def split(planted: PlantedFactors) -> Split:
    return planted.split()


@pytest.fixture(scope='session')
def lists(split: Split) -> CandidateLists:
    return CandidateLists.sample(split.valid, num_negatives=8)


@pytest.fixture
def make_module(
    planted: PlantedFactors, split: Split, lists: CandidateLists
) -> MakeModule:
    """Makes a module of a tiny model, with the same initial weights every time."""

    def make_module(**kwargs) -> IEDRModule:
        torch.manual_seed(0)
        arguments = {'num_negatives': 4, **kwargs.pop('model', {})}
        model = IEDR(planted.schema.num_embeddings, 8, 16, **arguments)
        train = kwargs.pop('train', split.train)
        kwargs = {'batch_size': 64, 'learning_rate': 0.01, 'seed': 3, **kwargs}
        return IEDRModule(model, train, split.valid, lists, **kwargs)

    return make_module


@pytest.fixture
def run() -> Callable[..., TrainingResult]:
    """Trains quietly, on the CPU unless told otherwise."""

    def run(module: IEDRModule, folder, **kwargs) -> TrainingResult:
        return fit(module, folder, **{'progress': False, 'accelerator': 'cpu', **kwargs})

    return run


@pytest.fixture
def without_times() -> Callable[[list[dict[str, float]]], list[dict[str, float]]]:
    """A history without what differs between two equal runs."""

    def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
        times = ('seconds', 'training_seconds')
        return [{k: v for k, v in epoch.items() if k not in times} for epoch in history]

    return without_times


@pytest.fixture
def assert_same_state() -> Callable[[dict, dict], None]:
    """Compares state dicts bit for bit."""

    def assert_same_state(one: dict, two: dict) -> None:
        assert list(one) == list(two)
        for name, tensor in one.items():
            assert torch.equal(tensor, two[name]), name

    return assert_same_state
