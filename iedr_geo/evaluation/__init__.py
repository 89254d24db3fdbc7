"""How well a model ranks."""

from iedr_geo.evaluation.evaluate import (
    Evaluation,
    evaluate_candidates,
    evaluate_catalogue,
)

__all__ = ['Evaluation', 'evaluate_candidates', 'evaluate_catalogue']
