"""Losses for disentangled recommenders."""

from iedr_geo.nn.loss.contrastive import (
    ContextInvariantContrastiveLoss,
    ContrastiveDraws,
    DropoutContrastiveLoss,
)
from iedr_geo.nn.loss.mutual_information import BiCLUB

__all__ = [
    'BiCLUB',
    'ContextInvariantContrastiveLoss',
    'ContrastiveDraws',
    'DropoutContrastiveLoss',
]
