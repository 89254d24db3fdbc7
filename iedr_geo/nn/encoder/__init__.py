"""From feature graphs to readouts."""

from iedr_geo.nn.encoder.mean import MeanEncoder, MLPEncoder
from iedr_geo.nn.encoder.sign import SIGN, BiInteractionEncoder

__all__ = ['SIGN', 'BiInteractionEncoder', 'MLPEncoder', 'MeanEncoder']
