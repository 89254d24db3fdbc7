"""Training of any model with Lightning."""

from iedr_geo.training.bipartite_module import BipartiteModule
from iedr_geo.training.divergence import DivergenceError
from iedr_geo.training.fit import TrainingResult, fit
from iedr_geo.training.interaction_module import InteractionModule
from iedr_geo.training.schedule import CosineRate, PlateauRate, RateSchedule
from iedr_geo.training.training_module import TrainingModule

__all__ = [
    'BipartiteModule',
    'CosineRate',
    'DivergenceError',
    'InteractionModule',
    'PlateauRate',
    'RateSchedule',
    'TrainingModule',
    'TrainingResult',
    'fit',
]
