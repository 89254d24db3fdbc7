"""Checks of an encoder of feature graphs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from iedr_geo.data import FeatureGraphs
from iedr_geo.scoring import device_of
from iedr_geo.testing.properties import (
    check_evaluation,
    check_gradients,
    check_modes,
    check_output,
    check_reset,
    check_same,
    checked_copy,
    gradients,
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
    out_channels = in_channels if out_channels is None else out_channels
    with checked_copy(encoder, seed) as encoder:
        graphs = _draw_graphs(in_channels, device_of(encoder))
        _check_shape(encoder, graphs, out_channels)
        check_evaluation(
            encoder,
            lambda dtype: graphs._replace(table=graphs.table.to(dtype)).encode(encoder),
            'readouts',
        )
        _check_node_order(encoder, graphs)
        _check_duplicates(encoder, graphs)
        _check_single_graphs(encoder, graphs)
        _check_rows(encoder, graphs)
        _check_shortcuts(encoder, graphs)
        _check_edge_weight(encoder, graphs)
        _check_gradients(encoder, graphs)
        check_modes(encoder, lambda: graphs.encode(encoder))
        check_reset(encoder)


class _Graphs(NamedTuple):
    """Complete graphs of features, and what the features are."""

    graphs: FeatureGraphs
    table: Tensor

    def encode(
        self,
        encoder: torch.nn.Module,
        ids: list[int] | None = None,
        shortcuts: bool = False,
        weighted: bool = False,
        **kwargs: Any,
    ) -> Tensor:
        """Encodes some graphs, with or without what saves time, and weights of one."""
        ids = list(range(len(SIZES))) if ids is None else ids
        batch = self.graphs.batch(torch.tensor(ids))
        if shortcuts:
            kwargs['node_id'] = batch.x
        if weighted:
            kwargs['edge_weight'] = self.table.new_ones(batch.edge_index.size(1))
        out: Tensor = encoder(self.table[batch.x], batch.edge_index, batch.ptr, **kwargs)
        return out

    def rows(self, *graphs: int) -> Tensor:
        return torch.tensor(graphs, device=self.table.device)


def _draw_graphs(in_channels: int, device: torch.device) -> _Graphs:
    features = torch.cat([torch.randperm(NUM_FEATURES)[:size] for size in SIZES])
    ptr = torch.tensor([0, *SIZES]).cumsum(0)
    # Around one, as SIGN multiplies them.
    table = 1 + torch.randn(NUM_FEATURES, in_channels, dtype=torch.double)
    table = table.to(device).requires_grad_()
    return _Graphs(FeatureGraphs(features, ptr).to(device), table)


def _check_shape(encoder: torch.nn.Module, graphs: _Graphs, out_channels: int) -> None:
    shape = (len(SIZES), out_channels)
    check_output(graphs.encode(encoder), shape, 'What the encoder returns')


def _check_node_order(encoder: torch.nn.Module, graphs: _Graphs) -> None:
    x, ptr = graphs.graphs.x, graphs.graphs.ptr
    begins = ptr[:-1].tolist()
    order = [b + torch.randperm(size) for b, size in zip(begins, SIZES, strict=True)]
    shuffled = graphs._replace(graphs=FeatureGraphs(x[torch.cat(order)], ptr))
    for shortcuts in (False, True):
        check_same(
            shuffled.encode(encoder, shortcuts=shortcuts),
            graphs.encode(encoder, shortcuts=shortcuts),
            'Readouts depend on the order of the nodes',
        )


def _check_duplicates(encoder: torch.nn.Module, graphs: _Graphs) -> None:
    first, _, second = graphs.encode(encoder, [2, 0, 2])
    check_same(second, first, 'Readouts of two graphs that are alike differ')


def _check_single_graphs(encoder: torch.nn.Module, graphs: _Graphs) -> None:
    for shortcuts in (False, True):
        together = graphs.encode(encoder, shortcuts=shortcuts)
        alone = [graphs.encode(encoder, [g], shortcuts) for g in range(len(SIZES))]
        check_same(
            together, torch.cat(alone), 'Readouts in a batch differ from those alone'
        )


def _check_rows(encoder: torch.nn.Module, graphs: _Graphs) -> None:
    rows = graphs.rows(2, 0, 2, 4, 1, 1, 3)
    for shortcuts in (False, True):
        check_same(
            graphs.encode(encoder, shortcuts=shortcuts, rows=rows),
            graphs.encode(encoder, shortcuts=shortcuts)[rows],
            'Given `rows`, readouts are not those of the graphs of the rows',
        )


def _check_shortcuts(encoder: torch.nn.Module, graphs: _Graphs) -> None:
    tensors = [graphs.table, *trained_parameters(encoder).values()]

    def evaluate(**kwargs: Any) -> list[Tensor]:
        out = graphs.encode(encoder, **kwargs)
        return [out, *gradients(out, tensors)]

    for actual, wanted in zip(evaluate(shortcuts=True), evaluate(), strict=True):
        check_same(actual, wanted, 'With `node_id`, readouts or gradients differ')


def _check_edge_weight(encoder: torch.nn.Module, graphs: _Graphs) -> None:
    plain = graphs.encode(encoder)
    check_same(
        graphs.encode(encoder, weighted=True),
        plain,
        'With edge weights of one, readouts differ',
    )
    check_same(
        graphs.encode(encoder, shortcuts=True, weighted=True),
        plain,
        'With edge weights of one and `node_id`, readouts differ',
    )


def _check_gradients(encoder: torch.nn.Module, graphs: _Graphs) -> None:
    encoder.train()
    rows = graphs.rows(0, 1, 2, 3, 4, 2)
    plain = graphs.encode(encoder)
    fast = graphs.encode(encoder, shortcuts=True, rows=rows)
    for out in (plain, fast):
        inputs = {'the node features': graphs.table}
        check_gradients(out, inputs, trained_parameters(encoder))
    encoder.eval()
