"""Recommenders."""

from iedr_geo.nn.models.biased import Biased
from iedr_geo.nn.models.bipartite import BipartiteModel, RankingLosses
from iedr_geo.nn.models.cause import CausE, CausELosses
from iedr_geo.nn.models.dice import DICE, DICELosses
from iedr_geo.nn.models.factor_generator import FactorGenerator, Factors
from iedr_geo.nn.models.iedr import (
    IEDR,
    IEDR_VARIANTS,
    Encoded,
    IEDRFactors,
    IEDRLosses,
)
from iedr_geo.nn.models.ips import IPS
from iedr_geo.nn.models.lightgcn import LightGCN
from iedr_geo.nn.models.mf import MF

__all__ = [
    'DICE',
    'IEDR',
    'IEDR_VARIANTS',
    'IPS',
    'MF',
    'Biased',
    'BipartiteModel',
    'CausE',
    'CausELosses',
    'DICELosses',
    'Encoded',
    'FactorGenerator',
    'Factors',
    'IEDRFactors',
    'IEDRLosses',
    'LightGCN',
    'RankingLosses',
]
