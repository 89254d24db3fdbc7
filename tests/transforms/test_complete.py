"""Complete graphs, whatever edges there were."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from iedr_geo.transforms import Complete

SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def by_hand(size: int) -> list[list[int]]:
    return [[source, target] for target in range(size) for source in range(size)]


@settings(max_examples=25)
@given(SIZES, st.booleans())
def test_single_graphs_and_a_batch(sizes: list[int], weighted: bool):
    graphs = []
    for size in sizes:
        data = Data(x=torch.arange(size), edge_index=torch.zeros(2, 1, dtype=torch.long))
        if weighted:
            data.edge_weight = torch.tensor([3.0])
        graphs.append(data)
    together = Complete()(Batch.from_data_list(graphs))
    assert 'edge_weight' not in together
    edges, first = [], 0
    for data, size in zip(graphs, sizes, strict=True):
        alone = Complete()(data)
        assert alone.edge_index.t().tolist() == by_hand(size)
        assert 'edge_weight' not in alone
        assert data.num_edges == 1 and ('edge_weight' in data) == weighted
        edges += [[source + first, target + first] for source, target in by_hand(size)]
        first += size
    assert together.edge_index.t().tolist() == edges


def test_graph_without_edges_or_features(device: torch.device):
    data = Complete()(Data(num_nodes=2))
    assert data.edge_index.t().tolist() == by_hand(2)
    data = Complete()(Data(x=torch.zeros(2, device=device)))
    assert data.edge_index.device.type == device.type
