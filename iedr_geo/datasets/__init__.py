"""Datasets, public and planted."""

from iedr_geo.datasets.frappe import Frappe
from iedr_geo.datasets.planted import plant
from iedr_geo.datasets.planted_factors import PlantedFactors, TrueScores

__all__ = ['Frappe', 'PlantedFactors', 'TrueScores', 'plant']
