"""Warnings that point at the line of the user."""

from __future__ import annotations

import sys
import warnings

# Of the others, what wraps or calls our methods.
PASSED_OVER = ('iedr_geo', 'lightning', 'torch', 'torch_geometric')


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns in the name of the line outside the package that led here."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals['__name__'].split('.')[0] in PASSED_OVER:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
