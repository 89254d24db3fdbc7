"""Scores of catalogues: one way for every model."""

from iedr_geo.scoring.catalogue_scorer import CatalogueScorer
from iedr_geo.scoring.context_split import ContextSplit, context_split
from iedr_geo.scoring.evaluating import evaluating
from iedr_geo.scoring.history import HistoryScorer, reads_history
from iedr_geo.scoring.iedr import IEDRScorer
from iedr_geo.scoring.plain import GraphScorer, InteractionScorer, device_of
from iedr_geo.scoring.progress import progress_bar
from iedr_geo.scoring.queries import Queries
from iedr_geo.scoring.scorer import scorer
from iedr_geo.scoring.top_k import check_finite, items_of, names_of, top_k
from iedr_geo.scoring.vectors import VectorScorer

__all__ = [
    'CatalogueScorer',
    'ContextSplit',
    'GraphScorer',
    'HistoryScorer',
    'IEDRScorer',
    'InteractionScorer',
    'Queries',
    'VectorScorer',
    'check_finite',
    'context_split',
    'device_of',
    'evaluating',
    'items_of',
    'names_of',
    'progress_bar',
    'reads_history',
    'scorer',
    'top_k',
]
