"""From datasets and graphs to batches."""

from iedr_geo.loader.curriculum import Curriculum
from iedr_geo.loader.edge_loader import EdgeBatch, EdgeLoader
from iedr_geo.loader.interaction_batch import InteractionBatch
from iedr_geo.loader.interaction_loader import InteractionLoader
from iedr_geo.loader.user_loader import UserBatch, UserLoader

__all__ = [
    'Curriculum',
    'EdgeBatch',
    'EdgeLoader',
    'InteractionBatch',
    'InteractionLoader',
    'UserBatch',
    'UserLoader',
]
