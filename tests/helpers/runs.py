"""All that IEDR makes of a batch, to compare two ways to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Batch

from iedr_geo.loader import InteractionBatch
from iedr_geo.nn import IEDR, BCEObjective


def gradients(model: IEDR, loss: Tensor) -> dict[str, Tensor | None]:
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {name: p.grad for name, p in model.named_parameters()}


def assert_same_gradients(
    actual: dict[str, Tensor | None], expected: dict[str, Tensor | None], tol: float
) -> None:
    assert actual.keys() == expected.keys()
    for name, wanted in expected.items():
        grad = actual[name]
        if wanted is None or grad is None:
            assert grad is wanted, name
        else:
            torch.testing.assert_close(
                grad.cpu(), wanted.cpu(), rtol=tol, atol=tol, msg=f'{name}: {{}}'.format
            )


def run(model: IEDR, batch: InteractionBatch | Batch) -> dict[str, Any]:
    torch.manual_seed(1)
    encoded = model.encode(batch)
    losses = {'prediction': BCEObjective()(encoded.logits, batch.y)}
    losses |= model.extra_losses(batch, encoded)
    total = sum(losses.values())
    out = {
        'readouts': torch.cat(encoded[:3], dim=1),
        'factors': torch.cat([*encoded.factors.user, *encoded.factors.item], dim=1),
        'logits': encoded.logits,
        'losses': torch.stack([*losses.values(), total]),
        'total': gradients(model, total),
    }
    if model.disentangling:
        estimator = model.estimator_loss(encoded)
        out['losses'] = torch.cat([out['losses'], estimator.view(1)])
        out['estimator'] = gradients(model, estimator)
    return out


def assert_same_run(actual: dict[str, Any], expected: dict[str, Any], tol: float) -> None:
    for name in ('readouts', 'factors', 'logits', 'losses'):
        torch.testing.assert_close(
            actual[name].cpu(), expected[name].cpu(), rtol=tol, atol=tol
        )
    for name in ('total', 'estimator'):
        if name in expected:
            assert_same_gradients(actual[name], expected[name], tol)
