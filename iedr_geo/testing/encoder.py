"""Checks of an encoder of feature graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from iedr_geo.data import FeatureGraphs
from iedr_geo.scoring import device_of
from iedr_geo.testing.properties import (
    check_alike,
    check_evaluation,
    check_output,
    check_same,
    check_training,
    checked_copy,
    trained_parameters,
)

SIZES = (3, 1, 4, 2, 3)  # Of the graphs.
NUM_FEATURES = 6  # So few that graphs have some in common.


def check_encoder(
    encoder: torch.nn.Module,
    in_channels: int,
    out_channels: int | None = None,
    seed: int = 0,
) -> None:
    r"""Checks that an encoder can stand in for :class:`~iedr_geo.nn.SIGN`.

    It is called as ``encoder(x, edge_index, ptr, edge_weight=..., node_id=...,
    rows=...)``, of which the last three can be left out: see :meth:`SIGN.forward`. On
    complete graphs it must have these properties.

    - The readouts are of shape :math:`(G, F_{out})`.
    - In evaluation, the same graphs always have the same readouts.
    - Readouts are in the precision of the inputs, single or double.
    - The order of a graph's nodes does not matter.
    - Graphs that are alike have the same readout.
    - A graph has the same readout alone as in a batch.
    - Given :obj:`rows`, it returns the readout of the graph of each row.
    - With :obj:`node_id`, readouts and gradients are the same.
    - Edge weights of one change nothing.
    - In training, gradients reach the features and all parameters.
    - A call leaves training and evaluation modes as they are.
    - ``reset_parameters``, if there is one, resets all parameters.

    The checks are of a copy: the encoder itself stays as it is.

    Args:
        encoder: The encoder.
        in_channels: Size of the node features.
        out_channels: Size of the readouts (default: :obj:`in_channels`).
        seed: The seed of the features, the graphs and what the encoder draws.

    Raises:
        AssertionError: If a property does not hold. The message says which.
    """
    with checked_copy(encoder, seed) as encoder:
        graphs = _draw_graphs(in_channels, device_of(encoder))
        shape = (len(SIZES), out_channels or in_channels)
        check_output(graphs.encode(encoder), shape, 'What the encoder returns')
        check_evaluation(
            encoder,
            lambda dtype: graphs._replace(table=graphs.table.to(dtype)).encode(encoder),
            'readouts',
        )
        plain, fast = (
            partial(graphs.encode, encoder, shortcuts=shortcuts)
            for shortcuts in (False, True)
        )
        for encode in (plain, fast):
            _check_graphs(encode)
        tensors = [graphs.table, *trained_parameters(encoder).values()]
        check_alike(fast(), plain(), tensors, 'Readouts with and without `node_id`')
        rows = torch.tensor([0, 1, 2, 3, 4, 2], device=graphs.table.device)
        for call in (plain, partial(fast, rows=rows)):
            check_training(encoder, call, {'the node features': graphs.table})


class _Graphs(NamedTuple):
    """Complete graphs of features, and what the features are."""

    graphs: FeatureGraphs
    table: Tensor

    def encode(
        self,
        encoder: torch.nn.Module,
        ids: Sequence[int] = range(len(SIZES)),
        shortcuts: bool = False,
        weighted: bool = False,
        shuffled: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        """Encodes some graphs, with or without what saves time, and weights of one."""
        graphs = self.graphs
        if shuffled:
            begins = zip(graphs.ptr.tolist(), SIZES, strict=False)
            order = torch.cat([begin + torch.randperm(size) for begin, size in begins])
            graphs = FeatureGraphs(graphs.x[order], graphs.ptr)
        batch = graphs.batch(torch.tensor(ids))
        if shortcuts:
            kwargs['node_id'] = batch.x
        if weighted:
            kwargs['edge_weight'] = self.table.new_ones(batch.edge_index.size(1))
        out: Tensor = encoder(self.table[batch.x], batch.edge_index, batch.ptr, **kwargs)
        return out


def _draw_graphs(in_channels: int, device: torch.device) -> _Graphs:
    features = torch.cat([torch.randperm(NUM_FEATURES)[:size] for size in SIZES])
    ptr = torch.tensor([0, *SIZES]).cumsum(0)
    # Around one, as SIGN multiplies them.
    table = 1 + torch.randn(NUM_FEATURES, in_channels, dtype=torch.double)
    table = table.to(device).requires_grad_()
    return _Graphs(FeatureGraphs(features, ptr).to(device), table)


def _check_graphs(encode: Callable[..., Tensor]) -> None:
    readouts = encode()
    shuffled = encode(shuffled=True)
    check_same(shuffled, readouts, 'Readouts depend on the order of the nodes')
    first, _, second = encode([2, 0, 2])
    check_same(second, first, 'Readouts of two graphs that are alike differ')
    alone = torch.cat([encode([graph]) for graph in range(len(SIZES))])
    check_same(readouts, alone, 'Readouts in a batch differ from those alone')
    rows = torch.tensor([2, 0, 2, 4, 1, 1, 3], device=readouts.device)
    failure = 'Given `rows`, readouts are not those of the graphs of the rows'
    check_same(encode(rows=rows), readouts[rows], failure)
    weighted = encode(weighted=True)
    check_same(weighted, readouts, 'With edge weights of one, readouts differ')
