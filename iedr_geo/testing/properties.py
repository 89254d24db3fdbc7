"""Properties of any module: gradients arrive, modes stay, parameters are reset."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def checked_copy(
    module: torch.nn.Module, seed: int, double: bool = True
) -> Iterator[torch.nn.Module]:
    """Yields a copy in evaluation mode; what is drawn goes by the seed.

    The module, its gradients and the state of the random generators stay as they are.

    Args:
        module: The module.
        seed: The seed.
        double: If :obj:`True`, the copy is in float64.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        copied = copy.deepcopy(module).eval()
        yield copied.double() if double else copied


def trained_parameters(module: torch.nn.Module) -> dict[str, Tensor]:
    """Returns the parameters that are not frozen, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def check_same(
    actual: Tensor, expected: Tensor, failure: str, tol: float | None = None
) -> None:
    """Raises an error that says what failed, and by how much values differ."""
    if tol is None:
        tol = 1e-7 if expected.dtype == torch.double else 1e-4
    torch.testing.assert_close(
        actual,
        expected,
        rtol=tol,
        atol=tol,
        equal_nan=True,
        msg=lambda message: f'{failure}: {message}',
    )


def check_alike(
    actual: Tensor, expected: Tensor, tensors: Sequence[Tensor], names: str
) -> None:
    """Checks that two ways to a result give the same values and the same gradients.

    Args:
        actual: The result of the one.
        expected: The result of the other.
        tensors: The tensors that the gradients are of.
        names: The names of both in the message.
    """
    check_same(actual, expected, f'{names} differ')
    for grad, wanted in zip(
        gradients(actual, tensors), gradients(expected, tensors), strict=True
    ):
        tol = None if wanted.dtype == torch.double else 1e-3
        check_same(grad, wanted, f'{names} differ in a gradient', tol)


def check_evaluation(
    module: torch.nn.Module, call: Callable[[torch.dtype], Tensor], name: str
) -> None:
    """Checks that a second call gives the same, and one in single precision nearly so.

    Args:
        module: The module, in double precision and in evaluation.
        call: Returns its result, given inputs of a type.
        name: The name of the result in the message.
    """
    double = call(torch.double)
    failure = f'In evaluation, the {name} of a second call differ'
    check_same(call(torch.double), double, failure)
    module.float()
    single = call(torch.float)
    module.double()
    for out, dtype in ((single, torch.float), (double, torch.double)):
        if out.dtype != dtype:
            raise AssertionError(
                f'{name.capitalize()} of inputs in {dtype} are in {out.dtype}'
            )
    failure = f'{name.capitalize()} in single precision differ'
    check_same(single.double(), double, failure, tol=1e-3)


def check_training(
    module: torch.nn.Module,
    call: Callable[[], Tensor],
    inputs: Mapping[str, Tensor],
) -> None:
    """Checks gradients, modes, and that parameters can be reset.

    Args:
        module: The module, whose parameters are lost.
        call: Returns its result.
        inputs: The tensors it was given, by name.
    """
    module.train()
    check_gradients(call(), inputs, trained_parameters(module))
    check_modes(module, call)
    check_reset(module)


def check_output(out: object, shape: tuple[int, ...], name: str) -> None:
    """Checks that a result is a tensor of a shape, and finite."""
    if not isinstance(out, Tensor) or out.shape != shape:
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise AssertionError(f'{name} must be a tensor of shape {shape} (got {got})')
    if not out.isfinite().all():
        raise AssertionError(f'{name} must be finite (got {out})')


def check_gradients(
    out: Tensor, inputs: Mapping[str, Tensor], parameters: Mapping[str, Tensor]
) -> None:
    """Checks that a gradient reaches inputs and parameters, and what it is.

    Args:
        out: The result of a module.
        inputs: The tensors it was given, by name.
        parameters: Its parameters, by name.
    """
    named = parameters.items()
    wanted = {**inputs, **{f"the parameter '{name}'": p for name, p in named}}
    grads: tuple[Tensor | None, ...] = (None,) * len(wanted)
    if out.requires_grad:
        grads = torch.autograd.grad(
            out,
            list(wanted.values()),
            torch.randn_like(out),
            retain_graph=True,
            allow_unused=True,
        )
    for name, grad in zip(wanted, grads, strict=True):
        if grad is None or (name in inputs and not grad.any()):
            raise AssertionError(f'No gradient reaches {name}')
        if not grad.isfinite().all():
            raise AssertionError(f'The gradient of {name} is not finite (got {grad})')


def gradients(out: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns the gradients of a weighted sum, zero of what plays no part in it."""
    weight = torch.linspace(0.5, 1.5, out.numel(), dtype=out.dtype, device=out.device)
    grads: Sequence[Tensor | None] = [None] * len(tensors)
    if out.requires_grad:
        grads = torch.autograd.grad(out, tensors, weight.view_as(out), allow_unused=True)
    return [
        torch.zeros_like(tensor) if grad is None else grad
        for tensor, grad in zip(tensors, grads, strict=True)
    ]


def check_modes(module: torch.nn.Module, call: Callable[[], object]) -> None:
    """Checks that after a call, training is training and evaluation is evaluation."""
    for training in (True, False):
        module.train(training)
        call()
        for name, submodule in module.named_modules():
            if submodule.training != training:
                mode = 'training' if training else 'evaluation'
                raise AssertionError(
                    f"A call in {mode} mode switches '{name or 'the module'}' out of it"
                )


def check_reset(module: torch.nn.Module) -> None:
    """Checks that `reset_parameters`, if there is one, leaves no parameter out."""
    if not hasattr(module, 'reset_parameters'):
        return
    parameters = trained_parameters(module)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.fill_(torch.nan)
    module.reset_parameters()  # type: ignore[operator]
    for name, parameter in parameters.items():
        if not parameter.isfinite().all():
            raise AssertionError(f"`reset_parameters` leaves '{name}' as it was")
