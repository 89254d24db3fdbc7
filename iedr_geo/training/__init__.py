"""Training with Lightning."""

from iedr_geo.training.bipartite_module import BipartiteModule
from iedr_geo.training.fit import TrainingResult, fit
from iedr_geo.training.iedr_module import IEDRModule
from iedr_geo.training.training_module import TrainingModule

__all__ = ['BipartiteModule', 'IEDRModule', 'TrainingModule', 'TrainingResult', 'fit']
