"""Comparisons that several tests make."""

import torch
from torch_geometric.data import Batch, Data


def assert_same_data(one: Data, two: Data) -> None:
    """Checks type and all attributes, and how a batch comes apart again."""
    assert type(one) is type(two)
    assert sorted(one.keys()) == sorted(two.keys())
    for name in one.keys():  # noqa: SIM118
        assert type(one[name]) is type(two[name]), name
        if isinstance(two[name], torch.Tensor):
            assert one[name].dtype == two[name].dtype, name
            assert torch.equal(one[name].cpu(), two[name].cpu()), name
        else:
            assert one[name] == two[name], name
    assert one.num_nodes == two.num_nodes
    if isinstance(one, Batch):
        assert one.num_graphs == two.num_graphs
        parts = one.to_data_list(), two.to_data_list()
        for i, (a, b) in enumerate(zip(*parts, strict=True)):
            assert_same_data(a, b)
            assert_same_data(one.get_example(i), b)
