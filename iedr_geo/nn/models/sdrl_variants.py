"""The variants of SDRL."""

from __future__ import annotations

from typing import Any

SDRL_VARIANTS: dict[str, dict[str, Any]] = {
    'SDRL': {},
    'int+ext': {'blocks': {'internal': 64, 'external': 64}},
    'int+oth': {'blocks': {'internal': 64, 'other': 64}},
    'ext+oth': {'blocks': {'external': 64, 'other': 64}},
    'whole': {'blocks': {'whole': 128}},
}
"""Constructor arguments of the variants in the paper's experiments, by name. The loss of
a block that a variant lacks goes with it.
"""
