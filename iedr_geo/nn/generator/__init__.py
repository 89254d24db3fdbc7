"""From a readout and a context to intrinsic and extrinsic factors."""

from __future__ import annotations

from collections.abc import Callable

from iedr_geo.nn.generator.factors import FactorGenerator, Factors
from iedr_geo.nn.generator.linear import LinearGenerator
from iedr_geo.nn.generator.mlp import MLPGenerator
from iedr_geo.nn.generator.residual import ResidualGenerator
from iedr_geo.nn.generator.separate import SeparateGenerator
from iedr_geo.nn.generator.split import SplitGenerator

GENERATORS: dict[str, Callable[[int, int, str, str], FactorGenerator]] = {
    'mlp': lambda channels, hidden, combine, _: MLPGenerator(channels, hidden, combine),
    'linear': lambda channels, *_: LinearGenerator(channels),
    'nonlinear': lambda channels, *_: LinearGenerator(channels, relu=True),
    'split': lambda channels, hidden, combine, _: SplitGenerator(
        channels, hidden, combine
    ),
    'residual': lambda channels, hidden, *_: ResidualGenerator(channels, hidden),
    'separate': lambda channels, hidden, _, side: SeparateGenerator(
        channels, hidden, side
    ),
}
"""The generators that :class:`IEDR` knows by name, each made from the size of factors,
the size of hidden layers, how a readout and a context are combined, and the side."""

__all__ = [
    'FactorGenerator',
    'Factors',
    'LinearGenerator',
    'MLPGenerator',
    'ResidualGenerator',
    'SeparateGenerator',
    'SplitGenerator',
]
