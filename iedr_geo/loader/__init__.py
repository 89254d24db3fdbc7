"""From datasets to batches."""

from iedr_geo.loader.interaction_batch import InteractionBatch
from iedr_geo.loader.interaction_loader import InteractionLoader

__all__ = ['InteractionBatch', 'InteractionLoader']
