"""Evaluation of any model's rankings."""

from iedr_geo.evaluation.compare import compare
from iedr_geo.evaluation.evaluate import evaluate_candidates, evaluate_catalogue
from iedr_geo.evaluation.evaluation import Evaluation
from iedr_geo.evaluation.rankings import (
    DEFAULT_METRICS,
    GRAPH_METRICS,
    HISTORY_METRICS,
    CandidateRankings,
    CatalogueRankings,
    Rankings,
)

__all__ = [
    'DEFAULT_METRICS',
    'GRAPH_METRICS',
    'HISTORY_METRICS',
    'CandidateRankings',
    'CatalogueRankings',
    'Evaluation',
    'Rankings',
    'compare',
    'evaluate_candidates',
    'evaluate_catalogue',
]
