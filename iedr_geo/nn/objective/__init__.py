"""Losses that the prediction is trained by."""

from iedr_geo.nn.objective.bce import BCEObjective
from iedr_geo.nn.objective.bpr import BPRObjective
from iedr_geo.nn.objective.objective import Objective
from iedr_geo.nn.objective.score_items import score_items
from iedr_geo.nn.objective.softmax import SoftmaxObjective

__all__ = ['BCEObjective', 'BPRObjective', 'Objective', 'SoftmaxObjective', 'score_items']
