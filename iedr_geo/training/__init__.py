"""Training with Lightning."""

from iedr_geo.training.fit import TrainingResult, fit
from iedr_geo.training.iedr_module import IEDRModule

__all__ = ['IEDRModule', 'TrainingResult', 'fit']
