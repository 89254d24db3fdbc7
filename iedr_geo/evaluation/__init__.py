"""How well a model ranks."""

from iedr_geo.evaluation.evaluate import (
    DEFAULT_METRICS,
    Evaluation,
    evaluate_candidates,
    evaluate_catalogue,
)

__all__ = ['DEFAULT_METRICS', 'Evaluation', 'evaluate_candidates', 'evaluate_catalogue']
