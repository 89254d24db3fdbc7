"""Both steps of Algorithm 1 on a batch, as the benchmarks time them."""

import torch

from iedr_geo.nn import BCEObjective


def two_steps(model, batch, main, estimator=None, precision=None):
    """Takes the step of the estimator, if there is one, and that of the rest."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, precision, enabled=precision is not None):
        encoded = model.encode(batch)
        if estimator is not None:
            loss = model.estimator_loss(encoded)
            estimator.zero_grad()
            loss.backward()
            estimator.step()
        loss = BCEObjective()(encoded.logits, batch.y)
        loss = loss + sum(model.extra_losses(batch, encoded).values())
    main.zero_grad()
    loss.backward()
    main.step()
