"""Recommenders."""

from iedr_geo.nn.models.factor_generator import FactorGenerator, Factors
from iedr_geo.nn.models.iedr import (
    IEDR,
    IEDR_VARIANTS,
    Encoded,
    IEDRFactors,
    IEDRLosses,
)

__all__ = [
    'IEDR',
    'IEDR_VARIANTS',
    'Encoded',
    'FactorGenerator',
    'Factors',
    'IEDRFactors',
    'IEDRLosses',
]
