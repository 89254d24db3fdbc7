"""Layers, encoders, losses and models."""

from iedr_geo.nn.conv import SIGNConv
from iedr_geo.nn.encoder import SIGN, BiInteractionEncoder, MeanEncoder, MLPEncoder
from iedr_geo.nn.loss import (
    BiCLUB,
    ContextInvariantContrastiveLoss,
    ContrastiveDraws,
    DropoutContrastiveLoss,
)
from iedr_geo.nn.models import (
    IEDR,
    IEDR_VARIANTS,
    Encoded,
    FactorGenerator,
    Factors,
    IEDRFactors,
    IEDRLosses,
)

__all__ = [
    'IEDR',
    'IEDR_VARIANTS',
    'SIGN',
    'BiCLUB',
    'BiInteractionEncoder',
    'ContextInvariantContrastiveLoss',
    'ContrastiveDraws',
    'DropoutContrastiveLoss',
    'Encoded',
    'FactorGenerator',
    'Factors',
    'IEDRFactors',
    'IEDRLosses',
    'MLPEncoder',
    'MeanEncoder',
    'SIGNConv',
]
