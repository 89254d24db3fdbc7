"""Checks of a generator of factors."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from iedr_geo.nn import ContextInvariantContrastiveLoss, Factors
from iedr_geo.nn.contract import stands_for
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
    with checked_copy(generator, seed) as generator:
        sides = torch.randn(2, NUM_ROWS, in_channels, dtype=torch.double)
        sides = sides.to(device_of(generator))
        rows = _Rows(*(side.requires_grad_() for side in sides.unbind()))

        def call(dtype: torch.dtype = torch.double) -> Tensor:
            return _both(generator(*(side.to(dtype) for side in rows)))

        _check_shape(generator, rows, out_channels or in_channels)
        check_evaluation(generator, call, 'factors')
        _check_intrinsic(generator, rows)
        _check_single_rows(generator, rows)
        _check_broadcasting(generator, rows)
        _check_layers(generator, rows)
        _check_folded(generator, rows, out_channels or in_channels)
        inputs = {'the readouts': rows.entity, 'the contexts': rows.context}
        check_training(generator, call, inputs)


class _Rows(NamedTuple):
    entity: Tensor
    context: Tensor


def _both(factors: Factors) -> Tensor:
    return torch.stack([factors.intrinsic, factors.extrinsic])


def _tensors(generator: torch.nn.Module, rows: _Rows) -> list[Tensor]:
    return [*rows, *trained_parameters(generator).values()]


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


def _check_intrinsic(generator: Any, rows: _Rows) -> None:
    alone, wanted = generator.intrinsic(*rows), generator(*rows).intrinsic
    tensors = _tensors(generator, rows)
    check_alike(alone, wanted, tensors, 'What `intrinsic` returns and the factors')


def _check_single_rows(generator: torch.nn.Module, rows: _Rows) -> None:
    pairs = zip(*(side.split(1) for side in rows), strict=True)
    alone = torch.cat([_both(generator(*pair)) for pair in pairs], dim=1)
    failure = 'Factors of rows in a batch differ from those alone'
    check_same(_both(generator(*rows)), alone, failure)


def _check_broadcasting(generator: Any, rows: _Rows) -> None:
    # As in the contrastive loss: several users or items in the context of each row.
    entity = torch.stack([rows.entity, rows.entity.flip(0)], dim=1)
    context = rows.context.unsqueeze(1)
    table = generator(entity.flatten(0, 1), context.expand_as(entity).flatten(0, 1))
    wanted = Factors(*(factor.reshape(NUM_ROWS, 2, -1) for factor in table))
    failure = f'Readouts ({NUM_ROWS}, 2, F) and contexts ({NUM_ROWS}, 1, F) do not fit'
    check_same(_both(generator(entity, context)), _both(wanted), failure)
    alone = generator.intrinsic(entity, context)
    check_same(alone, wanted.intrinsic, f'{failure} in `intrinsic`')


def _check_layers(generator: torch.nn.Module, rows: _Rows) -> None:
    layers = getattr(generator, 'intrinsic_layers', None)
    if layers is None or layers() is None:
        return
    ways = [
        ContextInvariantContrastiveLoss(num_negatives=3, fused=fused)
        for fused in (True, False)
    ]
    draws = ways[0].draw(rows.context)
    fused, plain = (loss(generator, *rows, draws=draws) for loss in ways)
    names = 'The contrastive losses with and without `intrinsic_layers`'
    check_alike(fused, plain, _tensors(generator, rows), names)


def _check_folded(generator: Any, rows: _Rows, out_channels: int) -> None:
    if not stands_for(generator, 'fold', 'forward'):
        return
    shape = (2, NUM_ROWS, out_channels)
    vectors = Factors(*rows.entity.new_empty(shape).normal_().requires_grad_())
    weight, bias = generator.hidden(rows.context)
    folded = generator.fold(vectors, rows.context)
    first = rows.entity[:, : weight.size(-1)]
    hidden = torch.einsum('chf,if->cih', weight, first) + bias.unsqueeze(1)
    if hasattr(generator, 'stable_hidden'):
        in_all = generator.stable_hidden(rows.entity)
        hidden = hidden if in_all is None else hidden + in_all
    scores = torch.einsum('cih,ch->ci', hidden.relu(), folded.weight)
    scores = scores + folded.constant.unsqueeze(1)
    if folded.direct is not None:
        scores = scores + folded.direct @ rows.entity.t()
    factors = generator(rows.entity, rows.context.unsqueeze(1))
    products = [*map(partial(torch.einsum, 'cf,cif->ci'), vectors, factors)]
    if getattr(generator, 'context_free_intrinsic', False):
        products, vectors = products[1:], vectors._replace(intrinsic=rows.context)
    expected = torch.stack(products).sum(0)
    names = 'Products with both factors, with and without `hidden` and `fold`,'
    check_alike(scores, expected, [*vectors, *_tensors(generator, rows)], names)
