"""Evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def evaluating(model: object) -> Iterator[None]:
    """Switches all modules to evaluation, without gradients, and back.

    Tensors made meanwhile can be used in training afterwards, and precision is full, also
    inside Lightning's validation.
    """
    modules = list(model.modules()) if isinstance(model, torch.nn.Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            torch.autocast('cpu', enabled=False),
            torch.autocast('cuda', enabled=False),
        ):
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
