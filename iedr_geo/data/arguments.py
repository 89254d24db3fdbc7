"""Checks of what kind of thing an argument is."""

from __future__ import annotations

from typing import Any

import numpy as np


def check_type(value: Any, name: str, *kinds: type) -> None:
    """Raises an error if an argument is of another class than it must be.

    Args:
        value: The argument.
        name: What it is called.
        kinds: The classes that it may be of.
    """
    if not isinstance(value, kinds):
        wanted = ' or '.join(kind.__name__ for kind in kinds)
        got = f'the class {value.__name__}' if isinstance(value, type) else None
        raise TypeError(
            f'`{name}` must be of the class {wanted} (got {got or type(value).__name__})'
        )


def check_count(count: Any, name: str, least: int = 1) -> None:
    """Raises an error if an argument is not an integer, or too small."""
    is_integer = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
    if not is_integer or count < least:
        raise ValueError(
            f'`{name}` must be at least {least} (got {count!r}), and an integer'
        )
