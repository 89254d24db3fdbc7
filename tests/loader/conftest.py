from dataclasses import replace

import pytest
import torch
from shop import SALES, make_shop

from iedr_geo.data import BipartiteGraph, InteractionDataset

ROWS = 12  # Of five customers, of whom one has bought nothing and none everything.


@pytest.fixture(scope='session')
def dataset() -> InteractionDataset:
    """The first rows of the shop; the context of a row is its number."""
    sales = SALES[:ROWS]
    sales = sales.assign(day=sales.index, liked=sales.index % 3 > 0)
    return make_shop(sales, label='liked')


@pytest.fixture
def positives(dataset: InteractionDataset) -> InteractionDataset:
    """The same rows without labels."""
    positives = dataset[:]
    positives.y = None
    return positives


@pytest.fixture
def graph(positives: InteractionDataset) -> BipartiteGraph:
    """Their eleven edges, of which some are intervened."""
    graph = BipartiteGraph.from_dataset(positives)
    return replace(graph, intervened=torch.arange(graph.num_edges) % 3 == 1)
