"""Comparisons that several tests make."""

import torch
from torch_geometric.data import Batch, Data

from iedr_geo.data import InteractionDataset
from iedr_geo.data.schema import SIDES


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


def in_words(dataset: InteractionDataset) -> list[tuple]:
    """Returns all that each row says, whatever its numbers are: the ids of user and item,
    the names of the nodes of each side, the values of the item's, label and time.
    """
    names = dataset.schema.names()
    return [
        (
            dataset.own_ids('user')[data.user_id.item()],
            dataset.item_ids[data.item_id.item()],
            *(tuple(names[x] for x in data[f'x_{side}'].tolist()) for side in SIDES),
            tuple(data.value_item.tolist()) if 'value_item' in data else (),
            None if dataset.y is None else dataset.y[row].item(),
            None if dataset.time is None else dataset.time[row].item(),
        )
        for row, data in enumerate(dataset)
    ]
