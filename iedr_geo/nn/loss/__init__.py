"""Losses for disentangled recommenders."""

from iedr_geo.nn.loss.bpr import bpr_loss
from iedr_geo.nn.loss.contrastive import (
    ContextInvariantContrastiveLoss,
    ContrastiveDraws,
    DropoutContrastiveLoss,
)
from iedr_geo.nn.loss.discrepancy import DistanceCorrelation, InverseL1, InverseL2
from iedr_geo.nn.loss.mutual_information import BiCLUB

__all__ = [
    'BiCLUB',
    'ContextInvariantContrastiveLoss',
    'ContrastiveDraws',
    'DistanceCorrelation',
    'DropoutContrastiveLoss',
    'InverseL1',
    'InverseL2',
    'bpr_loss',
]
