"""From datasets and graphs to batches."""

from iedr_geo.loader.bipartite_loader import BipartiteBatch, BipartiteLoader
from iedr_geo.loader.interaction_batch import InteractionBatch
from iedr_geo.loader.interaction_loader import InteractionLoader

__all__ = ['BipartiteBatch', 'BipartiteLoader', 'InteractionBatch', 'InteractionLoader']
