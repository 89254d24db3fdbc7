"""From a readout and a context to intrinsic and extrinsic factors."""

from __future__ import annotations

from collections.abc import Callable

from iedr_geo.nn.generator.factors import FactorGenerator, Factors
from iedr_geo.nn.generator.linear import LinearGenerator
from iedr_geo.nn.generator.mlp import MLPGenerator
from iedr_geo.nn.generator.residual import ResidualGenerator
from iedr_geo.nn.generator.separate import SeparateGenerator
from iedr_geo.nn.generator.split import SplitGenerator

GENERATORS: dict[str, Callable[[int, int, str], FactorGenerator]] = {
    'mlp': MLPGenerator,
    'linear': lambda channels, *_: LinearGenerator(channels),
    'nonlinear': lambda channels, *_: LinearGenerator(channels, relu=True),
    'split': SplitGenerator,
    'residual': lambda channels, hidden, _: ResidualGenerator(channels, hidden),
    'separate': lambda channels, hidden, _: SeparateGenerator(channels, hidden),
}
"""The generators that :class:`IEDR` knows by name, each made from the size of factors,
the size of hidden layers and how a readout and a context are combined."""

__all__ = [
    'FactorGenerator',
    'Factors',
    'LinearGenerator',
    'MLPGenerator',
    'ResidualGenerator',
    'SeparateGenerator',
    'SplitGenerator',
]
