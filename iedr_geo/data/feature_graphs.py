"""A ragged store of complete feature graphs."""

from __future__ import annotations

import copy

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.utils import cumsum


def ragged_arange(ptr: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the elements of the segments :obj:`index`, in order, and their pointer.

    Args:
        ptr: Where each segment begins, and the end of the last, of shape
            :math:`(G + 1)`.
        index: The segments wanted, in any order and with repetition, of shape
            :math:`(B)`.
    """
    sizes = ptr[index + 1] - ptr[index]
    out_ptr = cumsum(sizes)
    shift = (ptr[index] - out_ptr[:-1]).repeat_interleave(sizes)
    return torch.arange(shift.numel(), device=ptr.device) + shift, out_ptr


def complete_edge_index(sizes: Tensor) -> Tensor:
    r"""Returns the edges of disjoint complete graphs, self-loops included.

    Edges are ordered by graph, then target, then source.

    Args:
        sizes: The number of nodes of each graph, of shape :math:`(G)`.

    Returns:
        Source and target of every edge, of shape :math:`(2, \sum_g n_g^2)`.
    """
    target = torch.arange(int(sizes.sum()), device=sizes.device)
    size = sizes.repeat_interleave(sizes)  # Of each node's graph.
    ptr = cumsum(sizes)
    target = target.repeat_interleave(size)
    source, _ = ragged_arange(
        ptr, torch.arange(sizes.numel(), device=sizes.device).repeat_interleave(sizes)
    )
    return torch.stack([source, target])


class FeatureGraphs:
    r"""The complete feature graphs of one side (users, items or contexts).

    Each node is one feature value; all ordered pairs of a graph's nodes are edges,
    self-loops included. The store holds the nodes alone and builds the graphs that
    are asked for.

    Args:
        x: The embedding row of each node, of shape :math:`(N)`.
        ptr: Where each graph's nodes begin, and the end of the last, of shape
            :math:`(G + 1)`.
        value: The factor of each node's embedding, of shape :math:`(N)`. :obj:`None`
            where all are one.

    Example:
        >>> graphs = FeatureGraphs(torch.tensor([4, 7, 7]), torch.tensor([0, 2, 3]))
        >>> graphs[0]
        Data(x=[2], edge_index=[2, 4], graph_id=[1])
        >>> graphs.batch(torch.tensor([1, 0, 1])).num_graphs
        3
    """

    def __init__(self, x: Tensor, ptr: Tensor, value: Tensor | None = None) -> None:
        if (ptr[1:] <= ptr[:-1]).any():
            empty = int((ptr[1:] <= ptr[:-1]).nonzero()[0])
            raise ValueError(f'A feature graph needs a node: graph {empty} has none')
        self.x = x
        self.ptr = ptr
        self.value = value
        self.node_id: Tensor | None = None
        if value is not None:
            # Equal rows with different values are different nodes to a message.
            values, place = torch.unique(value, return_inverse=True)
            key = x * values.numel() + place
            self.node_id = torch.unique(key, return_inverse=True)[1]

    def __len__(self) -> int:
        return self.ptr.numel() - 1

    def __getitem__(self, index: int) -> Data:
        if not -len(self) <= index < len(self):
            raise IndexError(f'Graph {index} of {len(self)}')
        data: Data = self.batch(torch.tensor([index % len(self)])).get_example(0)
        return data

    def batch(self, ids: Tensor) -> Batch:
        """Returns the graphs :obj:`ids` as one batch.

        Equal to ``Batch.from_data_list([graphs[i] for i in ids])``.

        Args:
            ids: The graphs, in any order and with repetition, of shape :math:`(B)`.
        """
        ids = ids.to(self.ptr.device)
        nodes, ptr = ragged_arange(self.ptr, ids)
        sizes = ptr.diff()
        tensors = {'x': self.x[nodes], 'edge_index': complete_edge_index(sizes)}
        slices = {'x': ptr, 'edge_index': cumsum(sizes * sizes)}
        if self.value is not None and self.node_id is not None:
            tensors |= {'value': self.value[nodes], 'node_id': self.node_id[nodes]}
            slices |= {'value': ptr, 'node_id': ptr}
        tensors['graph_id'] = ids
        slices['graph_id'] = torch.arange(ids.numel() + 1)
        return assemble(Data, tensors, slices, {'edge_index': ptr[:-1]}, ptr)

    def with_x(self, x: Tensor) -> FeatureGraphs:
        """Returns the store with other embedding rows, the rest of it shared.

        Args:
            x: The embedding row of each node, of shape :math:`(N)`.
        """
        changed = copy.copy(self)
        changed.x = x
        if self.node_id is not None:  # Nodes that were alike may not be any more.
            pair = torch.stack([x, self.node_id])
            changed.node_id = torch.unique(pair, dim=1, return_inverse=True)[1]
        return changed

    def to(self, device: torch.device | str) -> FeatureGraphs:
        """Returns the store on another device."""
        moved = FeatureGraphs.__new__(FeatureGraphs)
        for name, tensor in vars(self).items():
            setattr(moved, name, None if tensor is None else tensor.to(device))
        return moved

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({len(self)}, nodes={self.x.numel()})'


def assemble(
    cls: type[Data],
    tensors: dict[str, Tensor],
    slices: dict[str, Tensor],
    increments: dict[str, Tensor],
    ptr: Tensor,
) -> Batch:
    """Builds the batch that :meth:`Batch.from_data_list` would, from collated tensors.

    Args:
        cls: The type of the single graphs.
        tensors: The concatenated attributes, incremented where they need to be.
        slices: Where each graph's share of an attribute begins, and the last ends.
        increments: What was added to the shares of an attribute.
        ptr: Where each graph's nodes begin, and the last ends.
    """
    batch = Batch(_base_cls=cls)
    zeros = torch.zeros(ptr.numel() - 1, dtype=torch.long)
    for name, tensor in tensors.items():
        batch[name] = tensor
    batch.ptr = ptr
    batch.batch = torch.arange(ptr.numel() - 1, device=ptr.device).repeat_interleave(
        ptr.diff()
    )
    batch._num_graphs = ptr.numel() - 1
    batch._slice_dict = slices
    batch._inc_dict = {name: increments.get(name, zeros) for name in tensors}
    return batch
