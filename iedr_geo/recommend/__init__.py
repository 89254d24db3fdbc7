"""Trained models in use."""

from iedr_geo.recommend.context_use import ContextIgnoredWarning
from iedr_geo.recommend.entities import UnknownValueWarning
from iedr_geo.recommend.explanation import Explanation
from iedr_geo.recommend.model_folder import LoadedModel, load_model, save_model
from iedr_geo.recommend.recommender import Recommender
from iedr_geo.recommend.scoring_head import ScoringHead

__all__ = [
    'ContextIgnoredWarning',
    'Explanation',
    'LoadedModel',
    'Recommender',
    'ScoringHead',
    'UnknownValueWarning',
    'load_model',
    'save_model',
]
