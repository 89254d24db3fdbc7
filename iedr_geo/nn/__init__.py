"""Layers, encoders, losses and models."""
# ruff: noqa: F403

from iedr_geo.nn import (
    conv,
    encoder,
    feature_embedding,
    generator,
    loss,
    models,
    objective,
)
from iedr_geo.nn.conv import *
from iedr_geo.nn.encoder import *
from iedr_geo.nn.feature_embedding import *
from iedr_geo.nn.generator import *
from iedr_geo.nn.loss import *
from iedr_geo.nn.models import *
from iedr_geo.nn.objective import *

__all__ = [
    *conv.__all__,
    *encoder.__all__,
    *feature_embedding.__all__,
    *generator.__all__,
    *loss.__all__,
    *models.__all__,
    *objective.__all__,
]
