"""How well a model ranks."""

from iedr_geo.evaluation.bipartite import (
    BIPARTITE_METRICS,
    ScoredUsers,
    evaluate_bipartite,
    mark_items,
)
from iedr_geo.evaluation.evaluate import (
    DEFAULT_METRICS,
    evaluate_candidates,
    evaluate_catalogue,
)
from iedr_geo.evaluation.evaluation import Evaluation, evaluating

__all__ = [
    'BIPARTITE_METRICS',
    'DEFAULT_METRICS',
    'Evaluation',
    'ScoredUsers',
    'evaluate_bipartite',
    'evaluate_candidates',
    'evaluate_catalogue',
    'evaluating',
    'mark_items',
]
