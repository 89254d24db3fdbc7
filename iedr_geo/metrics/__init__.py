"""Ranking and classification metrics, exact under tied scores."""

from iedr_geo.metrics.classification import AUC
from iedr_geo.metrics.ranked_lists import RankedLists
from iedr_geo.metrics.ranking import (
    F1,
    MRR,
    NDCG,
    HitRatio,
    ListAUC,
    Precision,
    RankingMetric,
    Recall,
    TruncatedRecall,
)

__all__ = [
    'AUC',
    'F1',
    'MRR',
    'NDCG',
    'HitRatio',
    'ListAUC',
    'Precision',
    'RankedLists',
    'RankingMetric',
    'Recall',
    'TruncatedRecall',
]
