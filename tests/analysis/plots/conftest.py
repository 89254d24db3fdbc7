"""Models and data to draw pictures of."""

from collections.abc import Iterator

import matplotlib
import pytest
import torch

from iedr_geo.data import BipartiteGraph
from iedr_geo.datasets import PlantedFactors
from iedr_geo.nn import DICE, IEDR, MF

matplotlib.use('Agg')
import matplotlib.pyplot as plt


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close('all')


@pytest.fixture(scope='module')
def dataset() -> PlantedFactors:
    return PlantedFactors(num_users=10, num_items=8, num_interactions=90)


@pytest.fixture
def model(dataset: PlantedFactors) -> IEDR:
    return IEDR(dataset.schema.num_embeddings, 4, 8)


@pytest.fixture
def graph() -> BipartiteGraph:
    """Item 0 is the most popular, item 9 the least: it has no edge, item 8 the most."""
    pairs = [(user, item) for item in range(9) for user in range(item + 1)]
    popularity = torch.arange(10).flip(0) + 5
    return BipartiteGraph(*torch.tensor(pairs).t(), 11, 10, popularity=popularity)


@pytest.fixture
def dice(graph: BipartiteGraph) -> DICE:
    return DICE(MF(graph.num_users, graph.num_items, 8), graph.popularity)
