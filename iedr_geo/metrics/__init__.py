"""Ranking and classification metrics, exact under tied scores."""

from iedr_geo.metrics.classification import AUC
from iedr_geo.metrics.ranked_lists import RankedLists
from iedr_geo.metrics.ranking import (
    MRR,
    NDCG,
    HitRatio,
    ListAUC,
    RankingMetric,
    Recall,
    TruncatedRecall,
)

__all__ = [
    'AUC',
    'MRR',
    'NDCG',
    'HitRatio',
    'ListAUC',
    'RankedLists',
    'RankingMetric',
    'Recall',
    'TruncatedRecall',
]
