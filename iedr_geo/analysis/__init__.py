"""What a trained model has learned."""

from iedr_geo.analysis.popularity_overlap import popularity_overlap

__all__ = ['popularity_overlap']
