"""Adam, also of tables whose gradients are sparse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch.nn import Embedding, EmbeddingBag, Parameter
from torch.optim import Adam, Optimizer, SparseAdam


def sparse_parameters(model: torch.nn.Module) -> list[Parameter]:
    """Returns the parameters of a model whose gradients are sparse: those of embeddings
    that say so.
    """
    tables = [m for m in model.modules() if isinstance(m, Embedding | EmbeddingBag)]
    return [cast(Parameter, table.weight) for table in tables if table.sparse]


def make_adam(
    parameters: Sequence[Parameter], sparse: Sequence[Parameter], **options: Any
) -> Optimizer:
    """Returns Adam for parameters, of which it moves sparse ones by the rows that a batch
    has alone.

    Args:
        parameters: All parameters.
        sparse: Those whose gradients are sparse.
        **options: The arguments of :class:`torch.optim.Adam`.

    Raises:
        ValueError: If some are sparse, and weight decay or AMSGrad are asked for, which
            would move all rows.
    """
    wanted = {id(parameter) for parameter in sparse}
    rows = [p for p in parameters if id(p) in wanted]
    if not rows:
        return Adam(parameters, **options)
    for name in ('weight_decay', 'amsgrad'):
        if options[name]:
            raise ValueError(
                f'`{name}` must be {options[name] * 0} where gradients are sparse (got '
                f'{options[name]}): it would move every row in every step'
            )
    rest = [p for p in parameters if id(p) not in wanted]
    kept = {name: options[name] for name in ('lr', 'betas')}
    return _Both([Adam(rest, **options), SparseAdam(rows, **kept)])


class _Both(Optimizer):
    """Several optimizers as one."""

    def __init__(self, parts: list[Optimizer]) -> None:
        groups = [group for part in parts for group in part.param_groups]
        super().__init__([{'params': group['params']} for group in groups], {})
        # The same dictionaries, so that a learning rate that is set is theirs.
        self.parts, self.param_groups = parts, groups

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes a step of each."""
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of each."""
        return {'parts': [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the state of each."""
        for part, state in zip(self.parts, state_dict['parts'], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]
