"""Checks of a generator of factors."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from iedr_geo.nn import ContextInvariantContrastiveLoss, Factors
from iedr_geo.nn.contract import stands_for
from iedr_geo.scoring import device_of
from iedr_geo.testing.properties import (
    check_gradients,
    check_modes,
    check_output,
    check_precision,
    check_reset,
    check_same,
    checked_copy,
    gradients,
    trained_parameters,
)

NUM_ROWS = 6


def check_generator(
    generator: torch.nn.Module,
    in_channels: int,
    out_channels: int | None = None,
    seed: int = 0,
) -> None:
    r"""Checks that a generator can stand in for :class:`~iedr_geo.nn.MLPGenerator`.

    It is called as ``generator(entity, context)`` and must have a method
    ``generator.intrinsic(entity, context)``, which the contrastive loss calls.

    - Factors are an :obj:`intrinsic` and an :obj:`extrinsic` one, each of shape
      :math:`(B, F_{out})`.
    - In evaluation, the same rows always have the same factors.
    - Factors are in the precision of the inputs, single or double.
    - What :obj:`intrinsic` returns, and its gradients, are those of the call.
    - A row has the same factors alone as in a batch.
    - Readouts and contexts broadcast.
    - With :obj:`intrinsic_layers`, if there are any, the contrastive loss and its
      gradients are the same as without.
    - With :obj:`hidden` and :obj:`fold`, if there are any, the products of vectors with
      the sums of both factors, and their gradients, are the same as without.
    - In training, gradients reach readouts, contexts and all parameters.
    - A call leaves training and evaluation modes as they are.
    - ``reset_parameters``, if there is one, resets all parameters.

    The checks are of a copy: the generator itself stays as it is.

    Args:
        generator: The generator.
        in_channels: Size of readouts and contexts.
        out_channels: Size of each factor (default: :obj:`in_channels`).
        seed: The seed of readouts, contexts and what the generator draws.

    Raises:
        AssertionError: If a property does not hold. The message says which.
    """
    out_channels = in_channels if out_channels is None else out_channels
    with checked_copy(generator, seed) as generator:
        rows = _draw_rows(in_channels, device_of(generator))
        _check_shape(generator, rows, out_channels)
        _check_determinism(generator, rows)
        _check_precision(generator, rows)
        _check_intrinsic(generator, rows)
        _check_single_rows(generator, rows)
        _check_broadcasting(generator, rows)
        _check_layers(generator, rows)
        _check_folded(generator, rows, out_channels)
        _check_gradients(generator, rows)
        check_modes(generator, lambda: generator(*rows))
        check_reset(generator)


class _Rows(NamedTuple):
    entity: Tensor
    context: Tensor


def _draw_rows(in_channels: int, device: torch.device) -> _Rows:
    tensors = torch.randn(2, NUM_ROWS, in_channels, dtype=torch.double)
    return _Rows(*(tensor.to(device).requires_grad_() for tensor in tensors))


def _both(factors: Factors) -> Tensor:
    return torch.stack([factors.intrinsic, factors.extrinsic])


def _check_shape(generator: torch.nn.Module, rows: _Rows, out_channels: int) -> None:
    factors = generator(*rows)
    for name in ('intrinsic', 'extrinsic'):
        if not hasattr(factors, name):
            raise AssertionError(
                f"Factors must have a field '{name}', as `Factors` has (got "
                f'{type(factors).__name__})'
            )
        shape = (NUM_ROWS, out_channels)
        check_output(getattr(factors, name), shape, f'The {name} factors')


def _check_determinism(generator: torch.nn.Module, rows: _Rows) -> None:
    once, again = generator(*rows), generator(*rows)
    failure = 'In evaluation, the factors of a second call differ'
    check_same(_both(again), _both(once), failure)


def _check_precision(generator: torch.nn.Module, rows: _Rows) -> None:
    double = _both(generator(*rows))
    single = _both(generator.float()(*(tensor.float() for tensor in rows)))
    generator.double()
    check_precision(single, double, 'Factors')


def _check_intrinsic(generator: torch.nn.Module, rows: _Rows) -> None:
    alone = generator.intrinsic(*rows)  # type: ignore[operator]
    wanted = generator(*rows).intrinsic
    check_same(alone, wanted, '`intrinsic` does not return the intrinsic factors')
    tensors = [*rows, *trained_parameters(generator).values()]
    pairs = zip(gradients(alone, tensors), gradients(wanted, tensors), strict=True)
    for grad, wanted_grad in pairs:
        check_same(grad, wanted_grad, 'Gradients through `intrinsic` differ')


def _check_single_rows(generator: torch.nn.Module, rows: _Rows) -> None:
    alone = [
        _both(generator(rows.entity[i : i + 1], rows.context[i : i + 1]))
        for i in range(NUM_ROWS)
    ]
    failure = 'Factors of rows in a batch differ from those alone'
    check_same(_both(generator(*rows)), torch.cat(alone, dim=1), failure)


def _check_broadcasting(generator: torch.nn.Module, rows: _Rows) -> None:
    # As in the contrastive loss: several users or items in the context of each row.
    entity = torch.stack([rows.entity, rows.entity.flip(0)], dim=1)
    context = rows.context.unsqueeze(1)
    table = generator(entity.flatten(0, 1), context.expand_as(entity).flatten(0, 1))
    wanted = Factors(*(factor.reshape(NUM_ROWS, 2, -1) for factor in table))
    failure = f'Readouts ({NUM_ROWS}, 2, F) and contexts ({NUM_ROWS}, 1, F) do not fit'
    check_same(_both(generator(entity, context)), _both(wanted), failure)
    alone = generator.intrinsic(entity, context)  # type: ignore[operator]
    check_same(alone, wanted.intrinsic, f'{failure} in `intrinsic`')


def _check_layers(generator: torch.nn.Module, rows: _Rows) -> None:
    layers = getattr(generator, 'intrinsic_layers', None)
    if layers is None or layers() is None:
        return
    tensors = [*rows, *trained_parameters(generator).values()]
    draws, results = None, []
    for fused in (True, False):
        loss = ContextInvariantContrastiveLoss(num_negatives=3, fused=fused)
        draws = draws or loss.draw(rows.context)
        out = loss(generator, *rows, draws=draws)
        results.append([out, *gradients(out, tensors)])
    for actual, wanted in zip(*results, strict=True):
        check_same(
            actual,
            wanted,
            'With `intrinsic_layers`, the contrastive loss or a gradient differs',
        )


def _check_folded(generator: Any, rows: _Rows, out_channels: int) -> None:
    if not stands_for(generator, 'fold', 'forward'):
        return
    vector = rows.entity.new_empty(NUM_ROWS, out_channels).normal_().requires_grad_()
    weight, bias = generator.hidden(rows.context)
    folded = generator.fold(vector, rows.context)
    hidden = torch.einsum('chf,if->cih', weight, rows.entity) + bias.unsqueeze(1)
    scores = torch.einsum('cih,ch->ci', hidden.relu(), folded.weight)
    scores = scores + folded.constant.unsqueeze(1)
    if folded.direct is not None:
        scores = scores + folded.direct @ rows.entity.t()
    factors = generator(rows.entity, rows.context.unsqueeze(1))
    both = factors.intrinsic + factors.extrinsic
    expected = torch.einsum('cf,cif->ci', vector, both)
    tensors = [vector, *rows, *trained_parameters(generator).values()]
    results = ([out, *gradients(out, tensors)] for out in (scores, expected))
    for actual, wanted in zip(*results, strict=True):
        failure = 'With `hidden` and `fold`, products with both factors or a gradient'
        check_same(actual, wanted, f'{failure} differ')


def _check_gradients(generator: torch.nn.Module, rows: _Rows) -> None:
    generator.train()
    inputs = {'the readouts': rows.entity, 'the contexts': rows.context}
    out = _both(generator(*rows))
    check_gradients(out, inputs, trained_parameters(generator))
    generator.eval()
